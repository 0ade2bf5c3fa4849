//! To an address of anybody's, as JSON.

use serde_json::json;

use super::letter::Letter;

/// Far more than fifty alerts of everyday take; what is longer is cut, as everywhere.
const TEXT_BYTES_MAX: usize = 64 * 1024;

/// The letter as JSON. Fields are only ever added.
pub(super) fn body(letter: &Letter) -> Vec<u8> {
    let mut body = letter.facts.clone();
    body.insert("fallback".to_owned(), json!(letter.to));
    body.insert("key".to_owned(), json!(letter.key));
    body.insert("title".to_owned(), json!(letter.title));
    // With the mark.
    body.insert("text".to_owned(), json!(letter.body(TEXT_BYTES_MAX)));
    body.insert("priority".to_owned(), json!(u8::from(letter.priority)));
    serde_json::Value::Object(body).to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::super::letter::tests::parcel;
    use super::*;

    #[test]
    fn all_of_each_alert_is_there() {
        let body = body(&Letter::of(&parcel(&[("NAS", "disk full"), ("", "two")])));
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["alerts"][0]["title"], "NAS");
        assert_eq!(body["alerts"][1]["text"], "two");
        assert_eq!(body["reason"], "WhatsApp has been down since 14:02");
        assert_eq!(
            (&body["title"], &body["priority"]),
            (&"2 alerts on family".into(), &3.into())
        );
    }
}
