//! A tunnel through an HTTP CONNECT (RFC 9110, section 9.3.6) or SOCKS5 (RFC 1928, 1929) proxy.
//!
//! Names go to the proxy as they are: behind one, the local resolver is often blind.

use std::io;
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures_lite::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{ProxyError, authority, bare_host};
use crate::config::{Proxy, ProxyKind};

/// A proxy's answer to CONNECT, all headers together.
const HEAD_BYTES_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;

/// Asks `proxy`, already connected as `stream`, for a tunnel to `host:port`. Not a byte beyond its answer is read.
pub(super) async fn tunnel<S>(stream: &mut S, proxy: &Proxy, host: &str, port: u16) -> Result<(), ProxyError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match proxy.kind {
        ProxyKind::Http => connect(stream, proxy, host, port).await,
        ProxyKind::Socks5 => socks5(stream, proxy, host, port).await,
    }
}

impl From<io::Error> for ProxyError {
    fn from(err: io::Error) -> Self {
        match err.kind() {
            io::ErrorKind::UnexpectedEof => Self::Io("it hung up in the middle of its answer".into()),
            _ => Self::Io(err.to_string()),
        }
    }
}

async fn connect<S>(stream: &mut S, proxy: &Proxy, host: &str, port: u16) -> Result<(), ProxyError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let goal = authority(host, port);
    let mut request = format!("CONNECT {goal} HTTP/1.1\r\nHost: {goal}\r\n");
    if let Some((name, password)) = &proxy.user {
        if name.contains(':') {
            return Err(ProxyError::Unusable(
                "a user name with a colon cannot be said in basic auth".into(),
            ));
        }
        let credentials = BASE64.encode(format!("{name}:{password}"));
        request.push_str(&format!("Proxy-Authorization: Basic {credentials}\r\n"));
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;

    let (status, reason) = parse_answer(&read_head(stream).await?)?;
    match status {
        200..=299 => Ok(()),
        407 if proxy.user.is_some() => Err(ProxyError::AuthRefused),
        407 => Err(ProxyError::WantsAuth),
        _ => Err(ProxyError::Status { status, reason }),
    }
}

/// Reads up to the empty line, byte by byte: what follows belongs to the tunnel. It happens once a connection.
async fn read_head<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Vec<u8>, ProxyError> {
    let mut head = Vec::with_capacity(256);
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == HEAD_BYTES_MAX {
            return Err(ProxyError::Garbled(format!(
                "its answer has no end within {HEAD_BYTES_MAX} bytes"
            )));
        }
        stream.read_exact(&mut byte).await?;
        head.push(byte[0]);
    }
    Ok(head)
}

fn parse_answer(head: &[u8]) -> Result<(u16, String), ProxyError> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut answer = httparse::Response::new(&mut headers);
    match answer.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Err(ProxyError::Garbled("its answer is cut short".into())),
        Err(err) => return Err(ProxyError::Garbled(format!("its answer is not http: {err}"))),
    }
    let status = answer
        .code
        .ok_or_else(|| ProxyError::Garbled("its answer has no status".into()))?;
    Ok((status, answer.reason.unwrap_or_default().chars().take(80).collect()))
}

const SOCKS: u8 = 5;
const NO_AUTH: u8 = 0;
const USER_PASSWORD: u8 = 2;
const NONE_ACCEPTABLE: u8 = 0xff;

async fn socks5<S>(stream: &mut S, proxy: &Proxy, host: &str, port: u16) -> Result<(), ProxyError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let greeting: &[u8] = if proxy.user.is_some() {
        &[SOCKS, 2, NO_AUTH, USER_PASSWORD]
    } else {
        &[SOCKS, 1, NO_AUTH]
    };
    stream.write_all(greeting).await?;
    stream.flush().await?;
    match (read_array(stream).await?, &proxy.user) {
        ([SOCKS, NO_AUTH], _) => {}
        ([SOCKS, USER_PASSWORD], Some((name, password))) => authenticate(stream, name, password).await?,
        ([SOCKS, NONE_ACCEPTABLE], Some(_)) => return Err(ProxyError::AuthRefused),
        ([SOCKS, NONE_ACCEPTABLE], None) => return Err(ProxyError::WantsAuth),
        (other, _) => return Err(ProxyError::Garbled(format!("its greeting is {other:02x?}"))),
    }

    stream.write_all(&socks_request(host, port)?).await?;
    stream.flush().await?;
    let [version, code, _, kind] = read_array(stream).await?;
    if version != SOCKS {
        return Err(ProxyError::Garbled(format!("its reply starts with {version:02x}")));
    }
    if code != 0 {
        return Err(ProxyError::Socks { code });
    }
    // The address that the proxy dialled from. Nobody needs it, but it must be read.
    let rest = match kind {
        1 => 4,
        3 => usize::from(read_array::<_, 1>(stream).await?[0]),
        4 => 16,
        _ => return Err(ProxyError::Garbled(format!("its reply has address type {kind}"))),
    };
    let mut bound = vec![0; rest + 2];
    stream.read_exact(&mut bound).await?;
    Ok(())
}

async fn read_array<S: AsyncRead + Unpin, const N: usize>(stream: &mut S) -> Result<[u8; N], ProxyError> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

/// RFC 1929.
async fn authenticate<S>(stream: &mut S, name: &str, password: &str) -> Result<(), ProxyError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (Ok(name_len @ 1..), Ok(password_len @ 1..)) = (u8::try_from(name.len()), u8::try_from(password.len())) else {
        return Err(ProxyError::Unusable(
            "socks takes a user name and password of 1 to 255 bytes".into(),
        ));
    };
    let mut request = vec![1, name_len];
    request.extend_from_slice(name.as_bytes());
    request.push(password_len);
    request.extend_from_slice(password.as_bytes());
    stream.write_all(&request).await?;
    stream.flush().await?;
    match read_array(stream).await? {
        [_, 0] => Ok(()),
        [_, _] => Err(ProxyError::AuthRefused),
    }
}

fn socks_request(host: &str, port: u16) -> Result<Vec<u8>, ProxyError> {
    let host = bare_host(host);
    let mut request = vec![SOCKS, 1, 0];
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => {
            request.push(1);
            request.extend_from_slice(&ip.octets());
        }
        Ok(IpAddr::V6(ip)) => {
            request.push(4);
            request.extend_from_slice(&ip.octets());
        }
        Err(_) => {
            let len = u8::try_from(host.len())
                .map_err(|_| ProxyError::Unusable("socks takes a host name of at most 255 bytes".into()))?;
            request.extend_from_slice(&[3, len]);
            request.extend_from_slice(host.as_bytes());
        }
    }
    request.extend_from_slice(&port.to_be_bytes());
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn socks_addresses_by_kind() {
        assert_eq!(
            socks_request("127.0.0.1", 0x0102).unwrap(),
            [5, 1, 0, 1, 127, 0, 0, 1, 1, 2]
        );
        assert_eq!(socks_request("ab", 443).unwrap(), [5, 1, 0, 3, 2, b'a', b'b', 1, 187]);
        let v6 = socks_request("[::1]", 443).unwrap();
        assert_eq!((v6[3], v6.len()), (4, 4 + 16 + 2));
        assert!(matches!(
            socks_request(&"x".repeat(256), 1),
            Err(ProxyError::Unusable(_))
        ));
    }

    #[test]
    fn answers_are_read_strictly() {
        assert_eq!(
            parse_answer(b"HTTP/1.1 200 Connection established\r\n\r\n").unwrap().0,
            200
        );
        assert_eq!(
            parse_answer(b"HTTP/1.0 503 Busy\r\nX: y\r\n\r\n").unwrap(),
            (503, "Busy".into())
        );
        assert!(matches!(
            parse_answer(b"SSH-2.0-x\r\n\r\n"),
            Err(ProxyError::Garbled(_))
        ));
    }

    #[test]
    fn an_endless_head_is_cut_off() {
        let mut endless = futures_lite::io::repeat(b'a');
        assert!(matches!(
            smol::block_on(read_head(&mut endless)),
            Err(ProxyError::Garbled(_))
        ));
    }

    #[test]
    fn nothing_beyond_the_head_is_read() {
        let mut input = &b"HTTP/1.1 200 ok\r\n\r\ntunnel"[..];
        smol::block_on(read_head(&mut input)).unwrap();
        assert_eq!(input, b"tunnel");
    }
}
