//! JSON that is posted under a key, and signed where there is a secret.

use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::secret;
use super::web::Request;
use crate::config::Secret;

/// A POST of `body`, which is JSON, under `key`, the same at every attempt.
///
/// # Errors
/// The secret cannot be read; in words.
pub async fn signed_json(
    body: Vec<u8>,
    key: &str,
    secret: Option<&Secret>,
    within: Duration,
) -> Result<Request, String> {
    let mut headers = vec![
        ("Content-Type".to_owned(), "application/json".to_owned()),
        ("Idempotency-Key".to_owned(), key.to_owned()),
    ];
    if let Some(secret) = secret {
        let secret = secret::read(secret).await?;
        headers.push(("X-Tautline-Signature".to_owned(), signature(&secret, &body)));
    }
    Ok(Request {
        method: "POST",
        headers,
        body,
        within,
    })
}

/// `sha256=` and the HMAC-SHA256 of the body in hex.
fn signature(secret: &str, body: &[u8]) -> String {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else {
        // It takes keys of any length.
        return String::new();
    };
    mac.update(body);
    let bytes = mac.finalize().into_bytes();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={hex}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_that_of_rfc_4231() {
        let secret = Secret::Given("Jefe".to_owned());
        let body = b"what do ya want for nothing?".to_vec();
        let signed = signed_json(body.clone(), "K", Some(&secret), Duration::MAX);
        let header = |request: &Request, name: &str| {
            let found = request.headers.iter().find(|(candidate, _)| candidate == name);
            found.map(|(_, value)| value.clone())
        };
        let request = smol::block_on(signed).unwrap();
        let wanted = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(header(&request, "X-Tautline-Signature").as_deref(), Some(wanted));
        assert_eq!(header(&request, "Idempotency-Key").as_deref(), Some("K"));
        let unsigned = smol::block_on(signed_json(body, "K", None, Duration::MAX)).unwrap();
        assert_eq!(header(&unsigned, "X-Tautline-Signature"), None);
    }
}
