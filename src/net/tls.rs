//! TLS 1.3 with the web PKI's roots, by rustls on ring. There is no way to switch verification off.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_lite::{AsyncRead, AsyncWrite};
use futures_rustls::TlsConnector;
use futures_rustls::client::TlsStream;
use futures_rustls::pki_types::pem::PemObject as _;
use futures_rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use futures_rustls::rustls::{self, CertificateError, ClientConfig, RootCertStore, crypto::ring, version::TLS13};

use super::stream::Stream;
use super::{DialError, Step, bare_host, within};

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

/// Whom to trust, for those who are not WhatsApp.
#[derive(Debug, Clone)]
pub struct Trust(Arc<ClientConfig>);

impl Trust {
    /// The certificates in `pem` in place of the web PKI's roots, or those where it is `None`. `alpn` says that HTTP is
    /// spoken.
    ///
    /// # Errors
    /// There are no certificates in it that can be used, in words.
    pub fn new(pem: Option<&[u8]>, alpn: bool) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        match pem {
            Some(pem) => {
                for certificate in CertificateDer::pem_slice_iter(pem) {
                    let certificate = certificate.map_err(|error| format!("it is no PEM: {error:?}"))?;
                    let added = roots.add(certificate);
                    added.map_err(|error| format!("a certificate in it cannot be used: {error}"))?;
                }
                if roots.is_empty() {
                    return Err("there is no certificate in it".to_owned());
                }
            }
            None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        }
        let mut config = config(roots);
        if !alpn {
            config.alpn_protocols.clear();
        }
        Ok(Self(Arc::new(config)))
    }

    /// The same, and it shows a server who wants to know who this is: the certificates in `chain`, its own first, and
    /// the key of that one, both in PEM.
    ///
    /// # Errors
    /// One of the two cannot be used, in words.
    pub fn identified(self, chain: &[u8], key: &[u8]) -> Result<Self, String> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
        let chain = chain.map_err(|error| format!("it is no PEM: {error:?}"))?;
        if chain.is_empty() {
            return Err("there is no certificate in it".to_owned());
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| format!("its key is none: {error:?}"))?;
        let certified = rustls::sign::CertifiedKey::from_der(chain, key, &ring::default_provider());
        let certified = certified.map_err(|error| format!("it cannot be used with its key: {error}"))?;
        let mut config = ClientConfig::clone(&self.0);
        config.client_auth_cert_resolver = Arc::new(rustls::sign::SingleCertAndKey::from(certified));
        Ok(Self(Arc::new(config)))
    }
}

/// Goes on encrypted on a stream that is not, with `host`; `at` names it in errors.
///
/// # Errors
/// The handshake failed or took longer than `deadline`, or the stream is encrypted already.
pub async fn start_tls(
    stream: Stream,
    host: &str,
    trust: &Trust,
    at: &str,
    deadline: Duration,
) -> Result<Stream, DialError> {
    let Stream::Plain(stream) = stream else {
        let (at, detail) = (at.to_owned(), "it is encrypted already".to_owned());
        return Err(DialError::Tls { at, detail });
    };
    let shaken = handshake_with(Arc::clone(&trust.0), stream, host, at);
    let tls = within(Step::Tls, at, deadline, shaken).await?;
    Ok(Stream::Tls(Box::new(tls)))
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

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use futures_rustls::TlsAcceptor;
    use futures_rustls::rustls::ServerConfig;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};
    use smol::{Async, Timer};

    use super::*;

    struct Server {
        config: Arc<ServerConfig>,
        certificate: rustls::pki_types::CertificateDer<'static>,
    }

    fn server(years: Option<(i32, i32)>) -> Server {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["relay.test".to_owned()]).unwrap();
        if let Some((from, to)) = years {
            params.not_before = date_time_ymd(from, 1, 1);
            params.not_after = date_time_ymd(to, 1, 1);
        }
        let certificate = params.self_signed(&key).unwrap().der().clone();
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key.serialize_der().try_into().unwrap())
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Server {
            config: Arc::new(config),
            certificate,
        }
    }

    fn shake(
        server: &Server,
        config: Arc<ClientConfig>,
        host: &str,
    ) -> Result<TlsStream<Async<UnixStream>>, DialError> {
        let (near, far) = Async::<UnixStream>::pair().unwrap();
        let accept = TlsAcceptor::from(Arc::clone(&server.config)).accept(far);
        let client = handshake_with(config, near, host, "relay.test:443");
        let both = async {
            let (ours, _theirs) = futures_lite::future::zip(client, accept).await;
            ours
        };
        let patient = async {
            Timer::after(Duration::from_secs(30)).await;
            panic!("no handshake within 30 s");
        };
        smol::block_on(futures_lite::future::or(both, patient))
    }

    fn trusting(server: &Server) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(server.certificate.clone()).unwrap();
        Arc::new(config(roots))
    }

    #[test]
    fn a_trusted_server_speaks_tls_1_3_and_http_1_1() {
        let server = server(None);
        let stream = shake(&server, trusting(&server), "relay.test").unwrap();
        let (_, session) = stream.get_ref();
        assert_eq!(session.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
        assert_eq!(session.alpn_protocol(), Some(&b"http/1.1"[..]));
    }

    #[test]
    fn the_second_handshake_resumes_the_first() {
        let server = server(None);
        let config = trusting(&server);
        let mut kinds = Vec::new();
        for _ in 0..2 {
            let (near, far) = Async::<UnixStream>::pair().unwrap();
            let accept = async {
                let mut far = TlsAcceptor::from(Arc::clone(&server.config)).accept(far).await.unwrap();
                futures_lite::AsyncWriteExt::write_all(&mut far, b"x").await.unwrap();
                futures_lite::AsyncWriteExt::flush(&mut far).await.unwrap();
            };
            let client = async {
                let mut near = handshake_with(Arc::clone(&config), near, "relay.test", "relay.test:443")
                    .await
                    .unwrap();
                // The ticket comes with the first data.
                futures_lite::AsyncReadExt::read_exact(&mut near, &mut [0])
                    .await
                    .unwrap();
                near.get_ref().1.handshake_kind().unwrap()
            };
            kinds.push(smol::block_on(futures_lite::future::zip(client, accept)).0);
        }
        assert_eq!(kinds, [rustls::HandshakeKind::Full, rustls::HandshakeKind::Resumed]);
    }

    #[test]
    fn an_unknown_issuer_is_refused() {
        let error = shake(&server(None), shared(), "relay.test").unwrap_err();
        assert!(matches!(error, DialError::Certificate { .. }), "{error}");
    }

    #[test]
    fn another_servers_certificate_is_refused() {
        let server = server(None);
        let error = shake(&server, trusting(&server), "other.test").unwrap_err();
        assert!(matches!(error, DialError::Certificate { .. }), "{error}");
    }

    #[test]
    fn a_clock_that_is_wrong_is_told_from_a_certificate_that_is() {
        let early = shake(&server(Some((2990, 2999))), shared(), "relay.test").unwrap_err();
        assert!(
            matches!(early, DialError::CertificateTime { not_yet: true, .. }),
            "{early}"
        );
        let late = shake(&server(Some((1990, 1999))), shared(), "relay.test").unwrap_err();
        assert!(
            matches!(late, DialError::CertificateTime { not_yet: false, .. }),
            "{late}"
        );
        assert!(early.is_clock() && late.is_clock());
    }
}
