//! To an address of anybody's, as JSON; signed where there is a secret.

use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha2::Sha256;

use super::letter::Letter;
use super::web::Request;

/// Far more than fifty alerts of everyday take; what is longer is cut, as everywhere.
const TEXT_BYTES_MAX: usize = 64 * 1024;

/// The letter as JSON. Fields are only ever added.
pub(super) fn request(letter: &Letter, secret: Option<&str>) -> Request {
    let mut body = letter.facts.clone();
    body.insert("fallback".to_owned(), json!(letter.to));
    body.insert("key".to_owned(), json!(letter.key));
    body.insert("title".to_owned(), json!(letter.title));
    // With the mark.
    body.insert("text".to_owned(), json!(letter.body(TEXT_BYTES_MAX)));
    body.insert("priority".to_owned(), json!(u8::from(letter.priority)));
    let body = serde_json::Value::Object(body).to_string().into_bytes();
    let mut headers = vec![
        ("Content-Type".to_owned(), "application/json".to_owned()),
        ("Idempotency-Key".to_owned(), letter.key.clone()),
    ];
    if let Some(secret) = secret {
        headers.push(("X-Tautline-Signature".to_owned(), signature(secret, &body)));
    }
    Request {
        method: "POST",
        headers,
        body,
    }
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
    use super::super::letter::tests::parcel;
    use super::*;

    #[test]
    fn the_signature_is_that_of_rfc_4231() {
        let signed = signature("Jefe", b"what do ya want for nothing?");
        let wanted = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(signed, wanted);
    }

    #[test]
    fn all_of_each_alert_is_there() {
        let request = request(&Letter::of(&parcel(&[("NAS", "disk full"), ("", "two")])), None);
        let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
        assert_eq!(body["alerts"][0]["title"], "NAS");
        assert_eq!(body["alerts"][1]["text"], "two");
        assert_eq!(body["reason"], "WhatsApp has been down since 14:02");
        assert_eq!(
            (&body["title"], &body["priority"]),
            (&"2 alerts on family".into(), &3.into())
        );
        assert!(request.headers.iter().all(|(name, _)| name != "X-Tautline-Signature"));
    }
}
