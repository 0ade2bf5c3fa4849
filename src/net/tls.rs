//! TLS 1.3 with the web PKI's roots, by rustls on ring. There is no way to switch verification off.

use std::io;
use std::sync::{Arc, OnceLock};

use futures_lite::{AsyncRead, AsyncWrite};
use futures_rustls::TlsConnector;
use futures_rustls::client::TlsStream;
use futures_rustls::pki_types::ServerName;
use futures_rustls::rustls::{self, CertificateError, ClientConfig, RootCertStore, crypto::ring, version::TLS13};

use super::{DialError, bare_host};

/// One configuration for all connections, so that sessions are resumed: a redial costs one flight and less radio time.
fn shared() -> Arc<ClientConfig> {
    static SHARED: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    Arc::clone(SHARED.get_or_init(|| {
        let roots = RootCertStore {
            roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
        };
        Arc::new(config(roots))
    }))
}

fn config(roots: RootCertStore) -> ClientConfig {
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13])
        .expect("ring speaks tls 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    // A WebSocket upgrade is HTTP/1.1; without this a server may choose HTTP/2.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config
}

/// The handshake with `host`; `at` names it in errors.
pub(super) async fn handshake<S>(stream: S, host: &str, at: &str) -> Result<TlsStream<S>, DialError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    handshake_with(shared(), stream, host, at).await
}

async fn handshake_with<S>(
    config: Arc<ClientConfig>,
    stream: S,
    host: &str,
    at: &str,
) -> Result<TlsStream<S>, DialError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let name = ServerName::try_from(bare_host(host).to_owned()).map_err(|err| DialError::Tls {
        at: at.to_owned(),
        detail: err.to_string(),
    })?;
    TlsConnector::from(config)
        .connect(name, stream)
        .await
        .map_err(|err| classify(&err, at))
}

fn classify(err: &io::Error, at: &str) -> DialError {
    let at = at.to_owned();
    let Some(tls) = err.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
        let detail = match err.kind() {
            io::ErrorKind::UnexpectedEof => "the server hung up during the handshake".to_owned(),
            _ => err.to_string(),
        };
        return DialError::Tls { at, detail };
    };
    let rustls::Error::InvalidCertificate(cause) = tls else {
        return DialError::Tls {
            at,
            detail: tls.to_string(),
        };
    };
    let detail = cause.to_string();
    match cause {
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => DialError::CertificateTime {
            at,
            not_yet: true,
            detail,
        },
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => DialError::CertificateTime {
            at,
            not_yet: false,
            detail,
        },
        _ => DialError::Certificate { at, detail },
    }
}
