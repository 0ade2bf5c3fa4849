//! The WebSocket on top: upgrade and limits.

use std::sync::Arc;
use std::time::Duration;

use async_tungstenite::tungstenite::handshake::client::{Request, Response, generate_key};
use async_tungstenite::tungstenite::http::header::{HOST, ORIGIN, RETRY_AFTER};
use async_tungstenite::tungstenite::protocol::WebSocketConfig;
use async_tungstenite::tungstenite::{self, Error as WsError};
use async_tungstenite::{WebSocketStream, client_async_with_config};
use smol::net::TcpStream;

use super::suspects::Trial;
use super::{ConnectionStats, DialError, Link, Progress, Step, Stream, authority, bare_host, open, within};
use crate::config::{Endpoint, Proxy};
use crate::line::Schedule;

/// A Noise frame has a length of 24 bits, so no honest message is larger.
pub const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// What the web client sends; the server is the same for every kind of linked device.
const WEB_ORIGIN: &str = "https://web.whatsapp.com";

/// Most messages are a few hundred bytes; tungstenite would set aside 128 KiB.
const READ_BUFFER_BYTES: usize = 16 * 1024;

/// An upgraded connection.
#[derive(Debug)]
pub struct WsConn {
    pub ws: WebSocketStream<Stream>,
    /// The same socket once more, see [`Link::socket`].
    pub socket: TcpStream,
    pub stats: Arc<ConnectionStats>,
    /// Whether the address works, which the first message shows.
    pub(crate) trial: Trial,
}

/// Brings a WebSocket up: resolve, dial, proxy, TLS and upgrade, each with its own deadline from `schedule.steps`.
///
/// # Errors
/// The first step that failed. See [`DialError`].
pub async fn dial(target: &Endpoint, proxy: Option<&Proxy>, schedule: &Schedule) -> Result<WsConn, DialError> {
    dial_reporting(target, proxy, schedule, &Progress::default()).await
}

/// The same, and `progress` tells from outside which step it is at.
///
/// # Errors
/// As [`dial`].
pub async fn dial_reporting(
    target: &Endpoint,
    proxy: Option<&Proxy>,
    schedule: &Schedule,
    progress: &Progress,
) -> Result<WsConn, DialError> {
    // Judged before anything is dialled.
    request(target)?;
    let link = open(target, proxy, schedule, progress).await?;
    upgrade(link, target, proxy, schedule, progress).await
}

/// Makes a WebSocket of a connection to `target`.
pub(super) async fn upgrade(
    link: Link,
    target: &Endpoint,
    proxy: Option<&Proxy>,
    schedule: &Schedule,
    progress: &Progress,
) -> Result<WsConn, DialError> {
    let Link {
        stream,
        socket,
        stats,
        trial,
    } = link;
    let request = request(target)?;
    progress.enter(Step::Upgrade);
    let at = progress.place(target, proxy);
    let upgraded = within(Step::Upgrade, &at, schedule.steps.upgrade, async {
        match client_async_with_config(request, stream, Some(limits())).await {
            Ok((ws, _)) => Ok(ws),
            Err(WsError::Http(answer)) => Err(refusal(&at, &answer)),
            Err(err) => Err(DialError::Upgrade {
                at: at.clone(),
                detail: upgrade_words(&err),
            }),
        }
    })
    .await;
    match upgraded {
        Ok(ws) => {
            stats.on_upgrade();
            Ok(WsConn {
                ws,
                socket,
                stats,
                trial,
            })
        }
        Err(error) => {
            trial.failed(&error);
            Err(error)
        }
    }
}

fn limits() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        // One message, and the control frames that pile up behind it while it does not drain.
        .max_write_buffer_size(MESSAGE_BYTES_MAX + READ_BUFFER_BYTES)
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX))
}

fn request(target: &Endpoint) -> Result<Request, DialError> {
    let (scheme, default_port) = if target.tls { ("wss", 443) } else { ("ws", 80) };
    let at = authority(&target.host, target.port);
    // Browsers leave the scheme's own port out of Host, and some edges compare it literally.
    let host = match target.port == default_port {
        true => at.strip_suffix(&format!(":{default_port}")).unwrap_or(&at),
        false => &at,
    };
    let slash = if target.path.starts_with('/') { "" } else { "/" };
    Request::builder()
        .uri(format!("{scheme}://{host}{slash}{}", target.path))
        .header(HOST, host)
        .header(ORIGIN, WEB_ORIGIN)
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", generate_key())
        .body(())
        .map_err(|err| DialError::Forbidden {
            at: bare_host(&target.host).escape_debug().to_string(),
            why: format!("the endpoint is no url: {err}"),
        })
}

fn refusal(at: &str, answer: &Response) -> DialError {
    let retry_after = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    DialError::Status {
        at: at.to_owned(),
        status: answer.status().as_u16(),
        // Seconds only: a date would need a clock that is right.
        retry_after: retry_after
            .and_then(|text| text.trim().parse().ok())
            .map(Duration::from_secs),
    }
}

fn upgrade_words(err: &WsError) -> String {
    match err {
        WsError::Protocol(tungstenite::error::ProtocolError::HandshakeIncomplete) => {
            "the server hung up before it answered".to_owned()
        }
        _ => err.to_string().to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host_of(tls: bool, host: &str, port: u16) -> String {
        let target = Endpoint {
            tls,
            host: host.into(),
            port,
            path: "/ws/chat?a=b".into(),
        };
        let request = request(&target).unwrap();
        assert_eq!(request.uri().path_and_query().unwrap().as_str(), "/ws/chat?a=b");
        assert_eq!(request.headers()["origin"], "https://web.whatsapp.com");
        request.headers()["host"].to_str().unwrap().to_owned()
    }

    #[test]
    fn host_header_as_a_browser_writes_it() {
        assert_eq!(host_of(true, "web.whatsapp.com", 443), "web.whatsapp.com");
        assert_eq!(host_of(true, "web.whatsapp.com", 8443), "web.whatsapp.com:8443");
        assert_eq!(host_of(false, "127.0.0.1", 80), "127.0.0.1");
        assert_eq!(host_of(false, "127.0.0.1", 443), "127.0.0.1:443");
        assert_eq!(host_of(false, "::1", 7171), "[::1]:7171");
        assert_eq!(host_of(false, "[::1]", 80), "[::1]");
    }

    #[test]
    fn a_path_that_is_none_is_refused() {
        let target = Endpoint {
            tls: false,
            host: "127.0.0.1".into(),
            port: 80,
            path: "/a b\r\nX: y".into(),
        };
        let error = request(&target).unwrap_err();
        assert!(matches!(error, DialError::Forbidden { .. }), "{error}");
    }
}
