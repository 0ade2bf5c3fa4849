//! The relay's certificate: read from its files, and again when they change.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_rustls::TlsAcceptor;
use futures_rustls::pki_types::pem::PemObject;
use futures_rustls::pki_types::{CertificateDer, PrivateKeyDer};
use futures_rustls::rustls::{ServerConfig, crypto::ring, version::TLS13};

use crate::config::TlsFiles;
use crate::util::lock;

/// Between two looks at the files. They are looked at when somebody connects, so an idle relay wakes for none.
const RELOAD_PAUSE: Duration = Duration::from_secs(5);

/// A certificate with its key. Files that cannot be used leave the last good ones in force.
pub struct Certificate {
    files: TlsFiles,
    now: Mutex<Now>,
}

#[derive(Default)]
struct Now {
    acceptor: Option<TlsAcceptor>,
    /// What the files were like when they were last read.
    seen: Option<[Stamp; 2]>,
    looked: Option<Instant>,
    trouble: Option<String>,
}

/// Tells one state of a file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    bytes: u64,
    changed: (i64, i64),
}

impl From<Metadata> for Stamp {
    fn from(file: Metadata) -> Self {
        Self {
            file: (file.dev(), file.ino()),
            bytes: file.len(),
            changed: (file.mtime(), file.mtime_nsec()),
        }
    }
}

impl Certificate {
    /// Reads the files. What is wrong with them is told by [`trouble`](Self::trouble).
    #[must_use]
    pub fn open(files: TlsFiles) -> Self {
        let certificate = Self {
            files,
            now: Mutex::default(),
        };
        certificate.reload_if_changed();
        certificate
    }

    /// Why the files cannot be used, and whether an earlier certificate is in force meanwhile.
    #[must_use]
    pub fn trouble(&self) -> Option<(bool, String)> {
        let now = lock(&self.now);
        now.trouble.clone().map(|why| (now.acceptor.is_some(), why))
    }

    /// What answers a handshake now. `None`: there is no certificate that can be used.
    pub(super) fn acceptor(&self) -> Option<TlsAcceptor> {
        self.reload_if_changed();
        lock(&self.now).acceptor.clone()
    }

    /// Reads the files again if they have changed.
    fn reload_if_changed(&self) {
        let mut now = lock(&self.now);
        if now.looked.is_some_and(|at| at.elapsed() < RELOAD_PAUSE) {
            return;
        }
        now.looked = Some(Instant::now());
        let TlsFiles { cert, key } = &self.files;
        let stamps = std::fs::metadata(cert).and_then(|cert| Ok([cert.into(), std::fs::metadata(key)?.into()]));
        let seen = stamps.ok();
        if seen.is_some() && seen == now.seen {
            return;
        }
        now.seen = seen;
        match load(&self.files) {
            Ok(acceptor) => {
                if now.acceptor.is_some() {
                    log::info!("the certificate {} was read again", cert.display());
                }
                now.acceptor = Some(acceptor);
                now.trouble = None;
            }
            Err(why) => {
                if now.trouble.as_ref() != Some(&why) {
                    log::error!("{why}");
                }
                now.trouble = Some(why);
            }
        }
    }
}

fn load(files: &TlsFiles) -> Result<TlsAcceptor, String> {
    let TlsFiles { cert, key } = files;
    let read = |path: &std::path::Path| -> io::Result<Vec<u8>> { std::fs::read(path) };
    let pem = read(cert).map_err(|error| format!("the certificate {} cannot be read: {error}", cert.display()))?;
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("{} is no certificate in PEM: {error}", cert.display()))?;
    let pem = read(key).map_err(|error| format!("the key {} cannot be read: {error}", key.display()))?;
    let secret =
        PrivateKeyDer::from_pem_slice(&pem).map_err(|error| format!("{} is no key in PEM: {error}", key.display()))?;
    let unusable =
        |error: &dyn std::fmt::Display| format!("the certificate {} cannot be used: {error}", cert.display());
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13])
        .map_err(|error| unusable(&error))?
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(|error| unusable(&error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
