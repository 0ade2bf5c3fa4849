use super::*;

fn request<'a>(headers: &[(&'a str, &'a str)], query: &[(&'a str, &'a str)], body: &'a [u8]) -> NtfyRequest<'a> {
    NtfyRequest {
        headers: headers.to_vec(),
        query: query.to_vec(),
        body,
    }
}

fn with_header<'a>(name: &'a str, value: &'a str) -> Result<Alert, NtfyError> {
    parse(&request(&[(name, value)], &[], b"text"))
}

#[test]
fn the_body_is_the_message_and_nothing_else_is_needed() {
    let alert = parse(&request(&[], &[], b"  disk full\r\nreally \n")).unwrap();
    assert_eq!(
        alert,
        Alert {
            text: "disk full\nreally".into(),
            ..Alert::default()
        }
    );
}

#[test]
fn every_alias_of_every_field_is_read_from_headers_and_query() {
    type Get = fn(&Alert) -> String;
    let fields: &[(&[&str], &str, Get)] = &[
        (&["X-Title", "title", "T"], "a title", |alert| alert.title.clone()),
        (&["X-Priority", "Priority", "prio", "p"], "4", |alert| {
            u8::from(alert.priority).to_string()
        }),
        (&["X-Tags", "Tags", "tag", "ta"], "a", |alert| alert.tags.join("|")),
        (&["X-Click", "click"], "https://x.test/", |alert| {
            alert.click.clone().unwrap_or_default()
        }),
        (&["Idempotency-Key", "X-Key", "key"], "k1", |alert| {
            alert.key.clone().unwrap_or_default()
        }),
    ];
    for (names, value, get) in fields {
        for name in *names {
            assert_eq!(get(&with_header(name, value).unwrap()), *value, "header {name}");
            let query = parse(&request(&[], &[(name, value)], b"text")).unwrap();
            assert_eq!(get(&query), *value, "query {name}");
        }
    }
    for name in ["X-Message", "message", "m"] {
        assert_eq!(
            parse(&request(&[(name, r"one\ntwo")], &[], b"")).unwrap().text,
            "one\ntwo"
        );
        assert_eq!(
            parse(&request(&[], &[(name, r"one\ntwo")], b" ")).unwrap().text,
            "one\ntwo"
        );
    }
}

#[test]
fn a_header_wins_over_the_query_and_the_body_over_both() {
    let both = request(&[("t", "header"), ("m", "header")], &[("x-title", "query")], b"body");
    let alert = parse(&both).unwrap();
    assert_eq!((alert.title.as_str(), alert.text.as_str()), ("header", "body"));
    let empty = parse(&request(&[("title", " ")], &[("title", "query")], b"")).unwrap();
    assert_eq!((empty.title.as_str(), empty.text.as_str()), ("query", "triggered"));
}

#[test]
fn priorities() {
    for (text, expected) in [
        ("1", Priority::Min),
        ("min", Priority::Min),
        ("2", Priority::Low),
        ("LOW", Priority::Low),
        ("3", Priority::Default),
        ("default", Priority::Default),
        ("4", Priority::High),
        ("high", Priority::High),
        ("5", Priority::Max),
        (" max ", Priority::Max),
        ("Urgent", Priority::Max),
    ] {
        assert_eq!(with_header("priority", text).unwrap().priority, expected, "{text}");
    }
    for text in ["0", "6", "loud", "-1"] {
        let error = with_header("priority", text).unwrap_err();
        assert_eq!((error.code(), error.http()), (40007, 400), "{text}");
        assert!(error.to_string().contains(text));
    }
    // What a browser adds on its own says nothing about the alert, and does not hide what the sender said.
    for transfer in ["u=1", "u=3, i", "i"] {
        assert_eq!(with_header("priority", transfer).unwrap().priority, Priority::Default);
        let asked = request(&[("priority", transfer)], &[("p", "5")], b"x");
        assert_eq!(parse(&asked).unwrap().priority, Priority::Max);
    }
}

#[test]
fn tags_are_split_and_trimmed() {
    let alert = with_header("tags", " warning, , backup host,ü ").unwrap();
    assert_eq!(alert.tags, ["warning", "backup host", "ü"]);
}

#[test]
fn titles_come_encoded_or_raw_and_stay_on_one_line() {
    for (value, expected) in [
        ("=?UTF-8?B?w5xiZXI=?=", "Über"),
        ("Über", "Über"),
        ("=?UTF-8?Q?two=0Alines=1B[2J?=", "two lines[2J"),
    ] {
        assert_eq!(with_header("title", value).unwrap().title, expected, "{value:?}");
    }
}

#[test]
fn control_characters_never_reach_the_text() {
    let alert = parse(&request(&[], &[], "a\u{0}b\u{1b}[31mc\td\u{85}\ne".as_bytes())).unwrap();
    assert_eq!(alert.text, "ab[31mc\td\ne");
    assert_eq!(parse(&request(&[], &[], b"\x00\x07")).unwrap().text, "triggered");
}

#[test]
fn what_would_change_when_or_whether_is_refused() {
    for (names, code) in [(DELAY, 40004), (ATTACH, 40014), (EMAIL, 40001), (CALL, 40032)] {
        for name in names {
            let error = with_header(name, "1").unwrap_err();
            assert_eq!((error.code(), error.http()), (code, 400), "{name}");
            assert!(!error.to_string().contains('\n'));
            assert_eq!(parse(&request(&[], &[(name, "1")], b"x")).unwrap_err(), error);
        }
    }
}

#[test]
fn what_only_decorates_is_ignored() {
    for name in [
        "actions",
        "icon",
        "cache",
        "firebase",
        "template",
        "sid",
        "markdown",
        "x-whatever",
    ] {
        assert_eq!(
            with_header(name, "1").unwrap(),
            Alert {
                text: "text".into(),
                ..Alert::default()
            }
        );
    }
}

#[test]
fn a_body_that_is_no_text_is_refused() {
    let error = parse(&request(&[], &[], b"\xff\xd8\xff")).unwrap_err();
    assert_eq!((error.code(), error.http()), (40011, 400));
}

#[test]
fn limits_are_kept_to_the_character() {
    for (name, max) in [
        ("title", TITLE_CHARS_MAX),
        ("click", CLICK_CHARS_MAX),
        ("key", KEY_CHARS_MAX),
        ("tags", 64),
    ] {
        with_header(name, &"ü".repeat(max)).unwrap();
        let error = with_header(name, &"ü".repeat(max + 1)).unwrap_err();
        assert_eq!((error.code(), error.http()), (40000, 400), "{name}");
    }
    with_header("tags", &"a,".repeat(TAGS_MAX)).unwrap();
    with_header("tags", &"a,".repeat(TAGS_MAX + 1)).unwrap_err();
    let text = "x".repeat(TEXT_BYTES_MAX + 1);
    parse(&request(&[], &[], &text.as_bytes()[1..])).unwrap();
    let error = parse(&request(&[], &[], text.as_bytes())).unwrap_err();
    assert_eq!((error.code(), error.http()), (41301, 413));
}
