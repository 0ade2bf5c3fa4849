//! whatsapp-rust's HTTP client over our sockets: uploads and the web version, one connection a request.
//!
//! Deliberately absent: redirects (WhatsApp's hosts send none that should be followed), cookies, a connection pool, and
//! downloads of media, which nobody here asks for.

use std::io::Read as _;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use async_trait::async_trait;
use async_tungstenite::tungstenite::http::Uri;
use futures_lite::io::AssertAsync;
use socket2::SockRef;
use wacore::net::{HttpClient, HttpRequest, HttpResponse, UploadBody};

use crate::config::{Endpoint, Proxy};
use crate::line::Schedule;
use crate::net::http::{Request, exchange, exchange_streaming};
use crate::net::{self, Link, Progress, Unstalled};
use crate::util::within;

/// For one request as a whole that is no upload: the web version, and the question how far an upload has come.
const TOTAL_MAX: Duration = Duration::from_secs(30);

/// An upload has all the time that it needs while its bytes are taken. A line that takes none for so long is dead, or
/// the server is; and so long the answer may take after the last byte.
const STALLED_AFTER: Duration = Duration::from_secs(30);

/// What an upload may have in the kernel's send buffer, which the kernel doubles for its own needs. All that lies there
/// is ahead of the session's pings in the queue of a slow uplink: at 256 kbit/s this is 4 s of it, where the kernel's
/// own choice of some megabytes would be minutes, and the line would be taken for dead. At 50 ms to the server it
/// allows 20 Mbit/s.
const UPLOAD_UNSENT_BYTES: usize = 64 << 10;

/// Answers are a page at most.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// Set by the exchange itself, or nothing that a caller has a say in.
const OUR_HEADERS: [&str; 4] = ["host", "content-length", "connection", "transfer-encoding"];

/// HTTP over the same proxy, tuning and deadlines as the session's line.
#[derive(Debug, Clone)]
pub struct SmolHttp {
    proxy: Option<Proxy>,
    schedule: Schedule,
    total: Duration,
    stalled_after: Duration,
}

impl SmolHttp {
    #[must_use]
    pub fn new(proxy: Option<Proxy>, schedule: Schedule) -> Self {
        Self {
            proxy,
            schedule,
            total: TOTAL_MAX,
            stalled_after: STALLED_AFTER,
        }
    }

    /// Another deadline for a request as a whole, at most the usual 30 s, and for an upload of which nothing passes.
    #[must_use]
    pub fn with_total(self, total: Duration) -> Self {
        Self {
            total: total.min(TOTAL_MAX),
            stalled_after: total.min(STALLED_AFTER),
            ..self
        }
    }

    async fn open(&self, target: &Endpoint) -> anyhow::Result<Link> {
        let progress = Progress::default();
        Ok(net::open(target, self.proxy.as_ref(), &self.schedule, &progress).await?)
    }

    async fn exchange(&self, request: HttpRequest) -> anyhow::Result<HttpResponse> {
        let (target, authority) = endpoint(&request.url)?;
        let link = self.open(&target).await?;
        let request = plain(request, target, &authority);
        let answer = exchange(link.stream, &request, ANSWER_BYTES_MAX)
            .await
            .with_context(|| format!("http: {} from {authority}", request.method))?;
        link.trial.worked();
        Ok(HttpResponse {
            status_code: answer.status,
            body: answer.body,
        })
    }

    async fn upload(&self, request: HttpRequest, body: UploadBody, length: u64) -> anyhow::Result<HttpResponse> {
        let (target, authority) = endpoint(&request.url)?;
        let link = self.open(&target).await?;
        if let Err(error) = SockRef::from(&link.socket).set_send_buffer_size(UPLOAD_UNSENT_BYTES) {
            log::debug!("http: the kernel keeps its own send buffer for an upload: {error}");
        }
        let request = plain(request, target, &authority);
        let stream = Unstalled::new(link.stream, self.stalled_after);
        // This thread does nothing else, so the file may hold it up.
        let body = AssertAsync::new(body.take(length));
        let answer = exchange_streaming(stream, &request, body, length, ANSWER_BYTES_MAX)
            .await
            .with_context(|| format!("http: an upload to {authority}"))?;
        link.trial.worked();
        let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(&answer.body).is_ok();
        if answer.status < 400 && !is_json {
            // Whoever has said this, a portal perhaps or a proxy, it was no media host; the library would take it for
            // one.
            bail!(
                "http: {authority} has answered an upload with {} and a page",
                answer.status
            );
        }
        Ok(HttpResponse {
            status_code: answer.status,
            body: answer.body,
        })
    }
}

#[async_trait]
impl HttpClient for SmolHttp {
    /// Any status is an answer; `Err` means that there was none.
    async fn execute(&self, request: HttpRequest) -> anyhow::Result<HttpResponse> {
        let answer = within(self.total, self.exchange(request)).await;
        answer.unwrap_or_else(|| Err(anyhow!("http: no whole answer within {:?}", self.total)))
    }

    fn supports_upload_streaming(&self) -> bool {
        true
    }

    /// Called on a thread that may wait, by the library's own contract.
    fn execute_upload(&self, request: HttpRequest, body: UploadBody, length: u64) -> anyhow::Result<HttpResponse> {
        smol::block_on(self.upload(request, body, length))
    }
}

/// The library's request as one of ours.
fn plain(request: HttpRequest, target: Endpoint, authority: &str) -> Request {
    let headers = request.headers.into_iter().filter(|(name, _)| {
        let name = name.to_ascii_lowercase();
        !OUR_HEADERS.contains(&name.as_str())
    });
    Request {
        method: request.method,
        headers: headers.collect(),
        target: target.path,
        body: request.body.unwrap_or_default(),
        authority: authority.to_owned(),
    }
}

/// Takes a URL apart. It is never repeated in an error: media URLs carry tokens.
fn endpoint(url: &str) -> anyhow::Result<(Endpoint, String)> {
    let uri: Uri = url
        .parse()
        .map_err(|err| anyhow!("http: the url cannot be read: {err}"))?;
    let tls = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        _ => bail!("http: the url is neither http nor https"),
    };
    let authority = uri.authority().context("http: the url names no host")?;
    if authority.as_str().contains('@') {
        bail!("http: the url carries a user name");
    }
    // The library asks every media host by https; that of the lab speaks none.
    let tls = tls && !(cfg!(feature = "lab") && is_loopback(authority.host()));
    let target = Endpoint {
        tls,
        host: authority.host().to_owned(),
        port: authority.port_u16().unwrap_or(if tls { 443 } else { 80 }),
        path: uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string),
    };
    Ok((target, authority.as_str().to_owned()))
}

/// An address, not a name.
fn is_loopback(host: &str) -> bool {
    let address: Result<std::net::IpAddr, _> = net::bare_host(host).parse();
    address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_lab_build_takes_https_for_less_and_only_to_itself() {
        for (url, here) in [
            ("https://127.0.0.1:7373/mms/image/x", true),
            ("https://[::1]/mms/image/x", true),
            ("https://localhost/mms/image/x", false),
            ("https://mmg.example.org/mms/image/x", false),
        ] {
            let (target, _) = endpoint(url).unwrap();
            assert_eq!(target.tls, !(here && cfg!(feature = "lab")), "{url}");
        }
    }

    #[test]
    fn urls_are_taken_apart() {
        let (target, authority) = endpoint("https://mmg.example.org/v/t62?oh=1&oe=2#part").unwrap();
        assert_eq!(
            target,
            Endpoint {
                tls: true,
                host: "mmg.example.org".into(),
                port: 443,
                path: "/v/t62?oh=1&oe=2".into()
            }
        );
        assert_eq!(authority, "mmg.example.org");
        let (target, authority) = endpoint("http://[::1]:8080").unwrap();
        assert_eq!(
            (target.host.as_str(), target.port, target.path.as_str()),
            ("[::1]", 8080, "/")
        );
        assert_eq!(authority, "[::1]:8080");
    }

    #[test]
    fn other_urls_are_refused_without_being_repeated() {
        for url in [
            "ftp://secret.test/",
            "https://secret:token@host.test/",
            "secret",
            "https://secret .test/",
            "/secret",
        ] {
            let error = endpoint(url).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
