//! whatsapp-rust's HTTP client over our sockets: media and the web version, one connection a request.
//!
//! Deliberately absent: redirects (WhatsApp's hosts send none that should be followed), cookies, a connection pool, and
//! streaming bodies.

use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use async_trait::async_trait;
use async_tungstenite::tungstenite::http::Uri;
use wacore::net::{HttpClient, HttpRequest, HttpResponse};

use crate::config::{Endpoint, Proxy};
use crate::line::Schedule;
use crate::net::http::{Request, exchange};
use crate::net::{self, Progress};
use crate::util::within;

/// For one request as a whole. The library waits 20 s for the web version and longer for media.
const TOTAL_MAX: Duration = Duration::from_secs(30);

/// WhatsApp's own limit for media that is not a document lies at 64 MB.
const BODY_BYTES_MAX: usize = 64 << 20;

/// Set by the exchange itself, or nothing that a caller has a say in.
const OUR_HEADERS: [&str; 4] = ["host", "content-length", "connection", "transfer-encoding"];

/// HTTP over the same proxy, tuning and deadlines as the session's line.
#[derive(Debug, Clone)]
pub struct SmolHttp {
    proxy: Option<Proxy>,
    schedule: Schedule,
    total: Duration,
}

impl SmolHttp {
    #[must_use]
    pub fn new(proxy: Option<Proxy>, schedule: Schedule) -> Self {
        Self {
            proxy,
            schedule,
            total: TOTAL_MAX,
        }
    }

    /// Another deadline for a request as a whole, at most the usual 30 s.
    #[must_use]
    pub fn with_total(self, total: Duration) -> Self {
        Self {
            total: total.min(TOTAL_MAX),
            ..self
        }
    }

    async fn exchange(&self, request: HttpRequest) -> anyhow::Result<HttpResponse> {
        let (target, authority) = endpoint(&request.url)?;
        let link = net::open(&target, self.proxy.as_ref(), &self.schedule, &Progress::default()).await?;
        let headers = request.headers.into_iter().filter(|(name, _)| {
            let name = name.to_ascii_lowercase();
            !OUR_HEADERS.contains(&name.as_str())
        });
        let request = Request {
            method: request.method,
            headers: headers.collect(),
            target: target.path,
            body: request.body.map(Vec::from).unwrap_or_default(),
            authority: authority.clone(),
        };
        let answer = exchange(link.stream, &request, BODY_BYTES_MAX)
            .await
            .with_context(|| format!("http: {} from {authority}", request.method))?;
        link.trial.worked();
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
    let target = Endpoint {
        tls,
        host: authority.host().to_owned(),
        port: authority.port_u16().unwrap_or(if tls { 443 } else { 80 }),
        path: uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string),
    };
    Ok((target, authority.as_str().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

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
