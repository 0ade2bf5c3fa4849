//! A request to an address of the configuration, with the token and the certificates that are written beside it.

use std::io::Read;
use std::path::Path;

use super::secret;
use super::web::{Answer, Request, WebError, ask_trusting};
use crate::config::{Secret, WebTarget};
use crate::line::Schedule;
use crate::net::Trust;

/// How much of a file with certificates is read: some hundred of them.
const CA_BYTES_MAX: u64 = 1 << 20;

/// Asks `target`; `ca` is a file with the certificates that are trusted in place of the web's.
///
/// # Errors
/// As for [`ask`](super::web::ask); and a file of the configuration cannot be read.
pub async fn post(
    target: &WebTarget,
    ca: Option<&Path>,
    schedule: &Schedule,
    mut request: Request,
) -> Result<Answer, WebError> {
    let agent = concat!("tautline/", env!("CARGO_PKG_VERSION"));
    request.headers.push(("User-Agent".to_owned(), agent.to_owned()));
    if let Some(token) = read(target.token.as_ref()).await.map_err(WebError::Unreached)? {
        request
            .headers
            .push(("Authorization".to_owned(), format!("Bearer {token}")));
    }
    let trust = match ca {
        Some(path) => Some(trust(path, true).await.map_err(WebError::Unreached)?),
        None => None,
    };
    ask_trusting(trust.as_ref(), &target.url, target.proxy.as_ref(), schedule, request).await
}

/// The certificates of a file, of servers that speak HTTP if `web`.
///
/// # Errors
/// It cannot be read, or has none; in words.
pub(super) async fn trust(path: &Path, web: bool) -> Result<Trust, String> {
    let owned = path.to_owned();
    let read = smol::unblock(move || {
        let mut pem = Vec::new();
        let file = std::fs::File::open(owned)?;
        file.take(CA_BYTES_MAX).read_to_end(&mut pem).map(|_| pem)
    });
    let pem = read
        .await
        .map_err(|error: std::io::Error| format!("{}: {error}", path.display()))?;
    Trust::new(Some(&pem), web).map_err(|why| format!("ca_file: {why}"))
}

/// A secret, where there is one.
///
/// # Errors
/// As for [`secret::read`].
pub(super) async fn read(secret: Option<&Secret>) -> Result<Option<String>, String> {
    match secret {
        Some(secret) => secret::read(secret).await.map(Some),
        None => Ok(None),
    }
}
