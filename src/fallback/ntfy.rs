//! To a topic of an ntfy server.

use super::letter::Letter;
use super::web::{ANSWER_WITHIN, Request};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

/// ntfy takes 4096 bytes as a message and makes a file of more, where it may.
const BODY_BYTES_MAX: usize = 4000;

/// The letter as ntfy takes it. Its sequence id lets the apps show a repeated one in place of the first.
pub(super) fn request(letter: &Letter) -> Request {
    let mut headers = vec![
        ("Content-Type", "text/plain; charset=utf-8".to_owned()),
        ("Priority", u8::from(letter.priority).to_string()),
        ("X-Sequence-ID", letter.key.clone()),
        ("Idempotency-Key", letter.key.clone()),
    ];
    if !letter.title.is_empty() {
        headers.push(("Title", header(&letter.title)));
    }
    // They are separated by commas.
    let tags: Vec<String> = letter.tags.iter().map(|tag| tag.replace(',', " ")).collect();
    if !tags.is_empty() {
        headers.push(("Tags", header(&tags.join(","))));
    }
    if let Some(click) = &letter.click {
        headers.push(("Click", header(click)));
    }
    Request {
        method: "POST",
        headers: headers
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
        body: letter.body(BODY_BYTES_MAX).into_bytes(),
        within: ANSWER_WITHIN,
    }
}

/// A value as it may stand in a header: what is not ASCII as RFC 2047 has it, which ntfy reads.
fn header(value: &str) -> String {
    let line = value.replace(char::is_control, " ");
    match line.is_ascii() {
        true => line,
        false => format!("=?UTF-8?B?{}?=", BASE64.encode(line)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::letter::tests::parcel;
    use super::*;
    use crate::alert::Priority;

    #[test]
    fn title_priority_tags_and_link_are_carried_over() {
        let mut parcel = parcel(&[("Größe\r\nX-Evil: 1", "disk full")]);
        parcel.alerts[0].alert.priority = Priority::Max;
        parcel.alerts[0].alert.tags = vec!["warning".into(), "a,b".into()];
        parcel.alerts[0].alert.click = Some("https://nas.example/".into());
        let request = request(&Letter::of(&parcel));
        let header = |name: &str| {
            let found = request.headers.iter().find(|(candidate, _)| candidate == name);
            found.map(|(_, value)| value.as_str()).unwrap()
        };
        assert_eq!(
            header("Title"),
            format!("=?UTF-8?B?{}?=", BASE64.encode("Größe  X-Evil: 1"))
        );
        assert_eq!(header("Priority"), "5");
        assert_eq!(header("Tags"), "warning,a b");
        assert_eq!(header("Click"), "https://nas.example/");
        assert_eq!(header("X-Sequence-ID"), "AAAAAAAAAAA0");
    }
}
