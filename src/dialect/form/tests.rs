use super::super::{Fields, Request};
use super::*;

fn request<'a>(content_type: &'a str, body: &'a [u8]) -> Request<'a> {
    Request {
        content_type: Some(content_type).filter(|it| !it.is_empty()),
        body,
        body_bytes: body.len() as u64,
        text_bytes_max: 1024 * 1024,
        ..Request::default()
    }
}

#[test]
fn what_is_no_form_in_parts_is_sent_as_it_is() {
    for body in [
        "--b\r\nbroken multipart",
        "--b",
        "--b\r\n",
        "--b\nContent-Type: text/plain",
        "no boundary at all",
    ] {
        let request = request("multipart/form-data; boundary=b", body.as_bytes());
        let form = Form::read(&request);
        let text = body.replace("\r\n", "\n");
        assert_eq!(form.plain.as_deref(), Some(text.trim()), "{body:?}");
        assert_eq!(form.faults.len(), 1, "{body:?}");
    }
}

#[test]
fn json_is_known_by_its_look_and_forms_by_their_label() {
    for (content_type, body) in [
        ("application/json", r#"{"a": "x", "b": {"c": [1, "y"]}}"#),
        (
            "application/x-www-form-urlencoded",
            r#" {"a": "x", "b": {"c": [1, "y"]}}"#,
        ),
        ("", "\u{feff}{\"a\": \"x\", \"b\": {\"c\": [1, \"y\"]}}\n"),
    ] {
        let request = request(content_type, body.as_bytes());
        let form = Form::read(&request);
        assert_eq!(form.text(&["missing", "a"]).as_deref(), Some("x"), "{body}");
        assert_eq!(form.value("b.c.1").and_then(Value::as_str), Some("y"));
        assert_eq!(form.text(&["b"]).as_deref(), Some(r#"{"c":[1,"y"]}"#));
        assert_eq!((form.plain, form.faults), (None, Vec::<String>::new()));
    }
    let request = request("application/x-www-form-urlencoded; charset=utf-8", b"a=&a=4+%25&b");
    let form = Form::read(&request);
    assert_eq!(form.text(&["a"]).as_deref(), Some("4 %"));
    assert_eq!(form.text(&["b"]), None);
}

#[test]
fn what_is_no_form_is_a_text() {
    for (content_type, body, faults) in [
        ("application/json", "disk full", 0),
        ("application/x-www-form-urlencoded", "disk full", 0),
        ("text/plain", "a=b", 0),
        ("", "{disk} full", 1),
        ("application/json", "{\"a\": \"b\"", 1),
        ("", "[nas] disk full", 1),
    ] {
        let request = request(content_type, body.as_bytes());
        let form = Form::read(&request);
        assert_eq!(form.plain.as_deref(), Some(body));
        assert_eq!(form.faults.len(), faults, "{body}");
        assert!(form.is_empty());
    }
    assert!(Form::read(&request("", b"\xff\xd8\xff\xe0\0\0")).is_binary);
    assert_eq!(Form::read(&request("", b"")).plain, None);
}

#[test]
fn the_query_comes_after_the_body() {
    let mut request = request("", br#"{"title": "body", "message": null, "tags": []}"#);
    request.query = [("title", "query"), ("message", "asked"), ("tags", "a")]
        .into_iter()
        .collect::<Fields<'_>>();
    let form = Form::read(&request);
    let texts = ["title", "message", "tags"].map(|name| form.text(&[name]).unwrap_or_default());
    assert_eq!(texts, ["body", "asked", "a"]);
}

#[test]
fn parts_are_read_however_they_are_written() {
    let body = "preamble\r\n--b\r\nContent-Disposition: form-data; name=\"title\"\r\n\r\nGr\u{fc}\u{df}e\r\n\
        --b\nContent-Disposition: form-data; name=message\n\ntwo\nlines\n\
        --b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a; b.jpg\"\r\n\r\n\u{1}\u{2}\r\n\
        --b\r\nContent-Disposition: form-data; name=\"data\"\r\nContent-Type: application/json\r\n\r\n{\"msg\": \"inner\"}\r\n--b--\r\n";
    let request = request("multipart/form-data; boundary=b", body.as_bytes());
    let form = Form::read(&request);
    assert_eq!(form.text(&["title"]).as_deref(), Some("Grüße"));
    assert_eq!(form.text(&["message"]).as_deref(), Some("two\nlines"));
    assert_eq!(form.text(&["msg"]).as_deref(), Some("inner"));
    let [file] = <[File; 1]>::try_from(form.files()).unwrap();
    assert_eq!((file.name.as_str(), file.bytes), ("a; b.jpg", Some(2)));
    let Source::Part(range) = file.source else {
        panic!("{:?}", file.source)
    };
    assert_eq!(&body.as_bytes()[range], b"\x01\x02");
}

#[test]
fn a_part_that_is_cut_off_is_read_as_far_as_it_came() {
    let whole = "--b\r\nContent-Disposition: form-data; name=\"message\"\r\n\r\ndisk full";
    for end in 0..=whole.len() {
        let request = request("multipart/form-data; boundary=\"b\"", &whole.as_bytes()[..end]);
        let text = Form::read(&request).text(&["message"]).unwrap_or_default();
        assert!("disk full".starts_with(&text), "{end}: {text:?}");
        assert_eq!(text == "disk full", end == whole.len(), "{end}");
    }
}

#[test]
fn json_that_is_cut_off_is_read_to_its_last_whole_value() {
    let whole = r#"{"message": "a, \"b\" {c", "list": [1, {"d": "e"}], "picture": "AAAAAAAA"}"#;
    for end in 1..whole.len() {
        let mut request = request("application/json", &whole.as_bytes()[..end]);
        request.body_bytes = whole.len() as u64;
        let form = Form::read(&request);
        assert_eq!(form.faults.len(), 1, "{end}");
        let expected = (end > 25).then_some("a, \"b\" {c");
        assert_eq!(form.text(&["message"]).as_deref(), expected, "{end}: {}", &whole[..end]);
        assert!(form.text(&["picture"]).is_none());
    }
}

#[test]
fn deep_json_costs_nothing() {
    for body in ["[".repeat(100_000), "{\"a\":".repeat(100_000), "[1,".repeat(100_000)] {
        let mut request = request("application/json", body.as_bytes());
        request.body_bytes += 1;
        let form = Form::read(&request);
        assert!(form.plain.is_some() || !form.is_empty());
    }
}

#[test]
fn parameters_of_headers_are_found() {
    for (value, name, expected) in [
        ("a/b; Boundary=\"x y\"; c=d", "boundary", Some("x y")),
        ("a/b; c=\"x; boundary=no\"; boundary=yes", "boundary", Some("yes")),
        ("form-data; name=\"a\"; filename=\"\"", "filename", Some("")),
        ("form-data; flag; name=x ", "name", Some("x")),
        ("form-data; name=\"open", "name", Some("open")),
        ("form-data", "name", None),
    ] {
        assert_eq!(parameter(value, name), expected, "{value}");
    }
}

#[test]
fn files_in_json_are_found_in_each_of_their_forms() {
    let body = r#"{"attachments": [{"filename": "a.txt", "base64": "YWJj"}, {"name": "b", "data": "data:text/plain;base64,YWI"},
        {"filename": "c", "base64": "?"}, {"url": "http://camera.lan/c.jpg"}, {"title_link": "http://x.test/"}, "d"],
        "file": {"filename": "e", "data": "YWJj\n YWJj"}, "attachment_base64": "YQ=="}"#;
    let request = request("application/json", body.as_bytes());
    let files = Form::read(&request).files();
    let found: Vec<_> = files.iter().map(|file| (file.name.as_str(), &file.source)).collect();
    let bytes = |bytes: &[u8]| Source::Bytes(bytes.to_vec());
    let expected = [
        ("a.txt", bytes(b"abc")),
        ("b", bytes(b"ab")),
        ("c", Source::Missing("its base64 cannot be read")),
        ("", Source::Link("http://camera.lan/c.jpg".into())),
        ("e", bytes(b"abcabc")),
        ("", bytes(b"a")),
    ];
    let expected: Vec<_> = expected.iter().map(|(name, source)| (*name, source)).collect();
    assert_eq!(found, expected);
}

#[test]
fn a_file_that_is_cut_off_is_none() {
    let body = "--b\r\nContent-Disposition: form-data; name=f; filename=a.jpg\r\n\r\nabc";
    let mut request = request("multipart/form-data; boundary=b", body.as_bytes());
    request.body_bytes += 1000;
    let [file] = <[File; 1]>::try_from(Form::read(&request).files()).unwrap();
    assert_eq!(
        (file.bytes, matches!(file.source, Source::Missing(_))),
        (Some(1003), true)
    );
}
