//! Certificates for tests by TLS.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_rustls::pki_types::CertificateDer;
use rcgen::{CertificateParams, KeyPair};
use tautline::config::TlsFiles;

/// Writes a new certificate for 127.0.0.1 and its key into `directory`. Also returns the certificate itself.
pub fn write_certificate(directory: &Path) -> (TlsFiles, CertificateDer<'static>) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let files = TlsFiles {
        cert: directory.join("cert.pem"),
        key: directory.join("key.pem"),
    };
    let pem = |label: &str, der: &[u8]| {
        let lines = STANDARD.encode(der);
        format!("-----BEGIN {label}-----\n{lines}\n-----END {label}-----\n")
    };
    std::fs::write(&files.cert, pem("CERTIFICATE", certificate.der())).unwrap();
    std::fs::write(&files.key, pem("PRIVATE KEY", &key.serialize_der())).unwrap();
    (files, certificate.der().clone())
}
