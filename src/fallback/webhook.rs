//! To an address of anybody's, as JSON; signed where there is a secret.

use hmac::{Hmac, KeyInit, Mac};
use serde::Serialize;
use sha2::Sha256;

use super::letter::Letter;
use super::web::Request;
use crate::outbox::Parcel;

/// Far more than fifty alerts of everyday take; what is longer is cut, as everywhere.
const TEXT_BYTES_MAX: usize = 64 * 1024;

/// The body. Fields are only ever added.
#[derive(Serialize)]
struct Body<'a> {
    /// The fallback's name.
    fallback: &'a str,
    /// The same at every attempt.
    key: &'a str,
    route: &'a str,
    session: &'a str,
    /// Why WhatsApp did not deliver it.
    reason: &'a str,
    title: &'a str,
    /// With the mark.
    text: String,
    /// 1 to 5.
    priority: u8,
    alerts: Vec<OneAlert<'a>>,
}

#[derive(Serialize)]
struct OneAlert<'a> {
    id: &'a str,
    /// Unix milliseconds.
    accepted_at: u64,
    title: &'a str,
    text: &'a str,
    priority: u8,
    tags: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    click: Option<&'a str>,
}

/// The parcel as JSON.
pub(super) fn request(parcel: &Parcel, secret: Option<&str>) -> Request {
    let letter = Letter::of(parcel);
    let alerts = parcel.alerts.iter().map(|handed| OneAlert {
        id: &handed.id,
        accepted_at: handed.accepted_at.0,
        title: &handed.alert.title,
        text: &handed.alert.text,
        priority: handed.alert.priority.into(),
        tags: &handed.alert.tags,
        click: handed.alert.click.as_deref(),
    });
    let body = Body {
        fallback: parcel.to.as_str(),
        key: &parcel.key,
        route: parcel.route.as_str(),
        session: parcel.session.as_str(),
        reason: &parcel.why,
        title: &letter.title,
        text: letter.body(TEXT_BYTES_MAX),
        priority: letter.priority.into(),
        alerts: alerts.collect(),
    };
    // Strings and numbers alone: it cannot fail.
    let body = serde_json::to_vec(&body).unwrap_or_default();
    let mut headers = vec![
        ("Content-Type".to_owned(), "application/json".to_owned()),
        ("Idempotency-Key".to_owned(), parcel.key.clone()),
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
        let request = request(&parcel(&[("NAS", "disk full"), ("", "two")]), None);
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
