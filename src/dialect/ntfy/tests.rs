use super::*;
use crate::alert::hygiene::CLICK_CHARS_MAX;
use crate::alert::hygiene::{TAG_CHARS_MAX, TAGS_MAX, TEXT_BYTES_MAX, TITLE_CHARS_MAX};
use crate::alert::{Alert, Priority, render};
use crate::dialect::Fields;

fn request<'a>(headers: &[(&'a str, &'a str)], query: &[(&'a str, &'a str)], body: &'a [u8]) -> Request<'a> {
    Request {
        headers: Fields::from_headers(headers.iter().map(|(name, value)| (*name, value.as_bytes()))),
        query: query.iter().copied().collect(),
        body,
        body_bytes: body.len() as u64,
        text_bytes_max: 1024 * 1024,
        ..Request::default()
    }
}

/// The one alert and the warnings.
fn parsed(request: &Request<'_>) -> (Alert, Vec<String>) {
    let Parsed {
        mut alerts, warnings, ..
    } = parse(request).unwrap().without_files("no attachments");
    assert_eq!(alerts.len(), 1);
    (alerts.remove(0), warnings)
}

/// The alert of a request that has nothing wrong with it.
fn right(request: &Request<'_>) -> Alert {
    let (alert, warnings) = parsed(request);
    assert_eq!(warnings, Vec::<String>::new());
    alert
}

/// The alert, and all warnings in one string.
fn warned(request: &Request<'_>) -> (Alert, String) {
    let (alert, warnings) = parsed(request);
    assert!(warnings.iter().all(|warning| !warning.contains('\n')), "{warnings:?}");
    (alert, warnings.join("; "))
}

fn with_header(name: &str, value: &str) -> Alert {
    right(&request(&[(name, value)], &[], b"text"))
}

#[test]
fn the_body_is_the_message_and_nothing_else_is_needed() {
    let alert = right(&request(&[], &[], b"  disk full\r\nreally \n"));
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
            assert_eq!(get(&with_header(name, value)), *value, "header {name}");
            let query = right(&request(&[], &[(name, value)], b"text"));
            assert_eq!(get(&query), *value, "query {name}");
        }
    }
    for name in ["X-Message", "message", "m"] {
        assert_eq!(right(&request(&[(name, r"one\ntwo")], &[], b"")).text, "one\ntwo");
        assert_eq!(right(&request(&[], &[(name, r"one\ntwo")], b" ")).text, "one\ntwo");
    }
}

#[test]
fn a_header_wins_over_the_query_and_two_texts_are_both_sent() {
    let both = request(&[("t", "header"), ("m", "header")], &[("x-title", "query")], b"body");
    let alert = right(&both);
    assert_eq!((alert.title.as_str(), alert.text.as_str()), ("header", "header\nbody"));
    let same = right(&request(&[("m", "body")], &[], b"body"));
    assert_eq!(same.text, "body");
    let empty = right(&request(&[("title", " ")], &[("title", "query")], b""));
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
        assert_eq!(with_header("priority", text).priority, expected, "{text}");
    }
    for text in ["0", "6", "loud", "-1"] {
        let (alert, warnings) = warned(&request(&[("priority", text)], &[], b"text"));
        assert_eq!((alert.priority, alert.text.as_str()), (Priority::Default, "text"));
        assert!(warnings.contains(text), "{warnings}");
    }
    // What a browser adds on its own says nothing about the alert, and does not hide what the sender said.
    for transfer in ["u=1", "u=3, i", "i"] {
        assert_eq!(with_header("priority", transfer).priority, Priority::Default);
        let asked = request(&[("priority", transfer)], &[("p", "5")], b"x");
        assert_eq!(right(&asked).priority, Priority::Max);
    }
}

#[test]
fn tags_are_split_and_trimmed() {
    let alert = with_header("tags", " warning, , backup host,ü ");
    assert_eq!(alert.tags, ["warning", "backup host", "ü"]);
    // A list may be in several headers, and in several parameters of the query.
    let twice = [("Tags", "warning"), ("tags", " "), ("X-Tags", "backup, host")];
    let query = [("tags", "a"), ("ta", "b,c")];
    assert_eq!(
        warned(&request(&twice, &query, b"x")).0.tags,
        ["warning", "backup", "host"]
    );
    assert_eq!(warned(&request(&[], &query, b"x")).0.tags, ["a", "b", "c"]);
}

#[test]
fn titles_come_encoded_or_raw_and_stay_on_one_line() {
    for (value, expected) in [
        ("=?UTF-8?B?w5xiZXI=?=", "Über"),
        ("Über", "Über"),
        ("=?UTF-8?Q?two=0Alines=1B[2J?=", "two lines[2J"),
    ] {
        assert_eq!(with_header("title", value).title, expected, "{value:?}");
    }
}

#[test]
fn control_characters_never_reach_the_text() {
    let alert = right(&request(&[], &[], "a\u{0}b\u{1b}[31mc\td\u{85}\ne".as_bytes()));
    assert_eq!(alert.text, "ab[31mc\td\ne");
    assert_eq!(right(&request(&[], &[], b"\x1b\x1b ")).text, "triggered");
}

#[test]
fn a_delay_is_a_span_or_a_time_within_bounds_and_costs_no_alert() {
    const NOW: u64 = 1_767_225_600;
    let read = |name: &'static str, given: &str| {
        let headers = [(name, given)];
        let asked = Request {
            now_ms: NOW * 1000,
            ..request(&headers, &[], b"text")
        };
        let (alert, warnings) = parsed(&asked);
        assert!(warnings.len() <= 1, "{warnings:?}");
        (alert.delay.map(|delay| delay.as_secs()), alert.text, warnings.concat())
    };
    for (given, seconds) in [
        ("30m", 1800),
        ("30M", 1800),
        ("2 hours", 7200),
        ("in 90 min", 5400),
        ("3d", 259_200),
        ("1767225660", 60),
        ("10s", 10),
    ] {
        for name in DELAY {
            assert_eq!(
                read(name, given),
                (Some(seconds), "text".into(), String::new()),
                "{name}: {given}"
            );
        }
    }
    let later = |given: &str| format!("text\n[meant for later: {given}]");
    for (given, text, word) in [
        // In the past, or as good as now: nothing to tell whoever reads it.
        ("1767225599", "text".to_owned(), "is over"),
        ("9s", "text".to_owned(), "is over"),
        ("0", "text".to_owned(), "is over"),
        ("tomorrow, 7am", later("tomorrow, 7am"), "no time"),
        ("-30m", later("-30m"), "no time"),
        ("30", later("30"), "no time"),
        ("nan", later("nan"), "no time"),
        ("4d", later("4d"), "3 days"),
        ("999999999999999999999h", later("999999999999999999999h"), "no time"),
        ("18446744073709551615", later("18446744073709551615"), "3 days"),
        // Milliseconds.
        ("1767225660000", later("1767225660000"), "3 days"),
    ] {
        let (delay, shown, warning) = read("Delay", given);
        assert_eq!((delay, shown), (None, text), "{given}");
        assert!(
            warning.contains(word) && warning.contains("sent at once"),
            "{given}: {warning}"
        );
    }
    // A board whose clock is not set knows no time of day.
    let asked = request(&[("At", "1767225660")], &[], b"text");
    assert!(parsed(&asked).0.delay.is_none());
}

#[test]
fn a_template_is_filled_from_json_and_never_costs_the_alert() {
    let body = br#"{"alert": {"name": "DiskFull", "free": 5.1}, "level": 5}"#;
    let read = |query: &[(&'static str, &'static str)], body: &'static [u8]| parsed(&request(&[], query, body));
    let (alert, warnings) = read(
        &[
            ("template", "yes"),
            ("title", "{{.alert.name}}"),
            (
                "m",
                "only {{.alert.free}} GB on {{.alert.host}}\\n{{join \"\\n\" (list 1 2)}}",
            ),
            ("p", "{{.level}}"),
            ("tags", "{{lower .alert.name}},x"),
        ],
        body,
    );
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!(alert.title, "DiskFull");
    assert_eq!(alert.text, "only 5.1 GB on alert.host\n1\n2");
    assert_eq!(
        (alert.priority, alert.tags),
        (Priority::Max, vec!["diskfull".to_owned(), "x".into()])
    );
    // A fault costs its field alone, and the text is what came.
    let (alert, warnings) = read(&[("tpl", "1"), ("title", "{{.alert.name}}"), ("m", "{{if}}")], body);
    assert_eq!(alert.title, "DiskFull");
    assert!(
        alert.text.contains("5.1") && warnings[0].contains("message"),
        "{alert:?} {warnings:?}"
    );
    let (alert, warnings) = read(&[("template", "1")], body);
    assert!(alert.text.contains("DiskFull") && warnings.is_empty(), "{alert:?}");
    // No JSON, and no such template.
    for (query, body, word) in [
        (
            &[("template", "yes"), ("t", "{{.a}}")][..],
            &b"plain text"[..],
            "no JSON",
        ),
        (&[("template", "mine")], b"plain text", "no template is named"),
        (&[("template", "yes")], b"\x00\xff\xfe\x01", "no JSON"),
    ] {
        let (alert, warnings) = read(query, body);
        assert!(
            !alert.text.is_empty() && warnings[0].contains(word),
            "{alert:?} {warnings:?}"
        );
    }
    let alertmanager = br#"{"version":"4","status":"firing","alerts":[{"status":"firing","labels":{"alertname":"Load"},"annotations":{"summary":"busy"}}],"commonLabels":{"alertname":"Load"}}"#;
    let (alert, warnings) = read(&[("template", "alertmanager")], alertmanager);
    assert!(
        alert.text.contains("busy") && warnings.is_empty(),
        "{alert:?} {warnings:?}"
    );
    assert_eq!(read(&[("template", "no"), ("m", "{{.a}}")], b"").0.text, "{{.a}}");
}

#[test]
fn what_is_not_done_is_said_and_costs_nothing_else() {
    for (names, note, warning) in [
        (DELAY, "\n[meant for later: tomorrow, 10am]", "at once"),
        (ATTACH, "\n[attachment: tomorrow, 10am]", "attachment"),
        (EMAIL, "", "e-mail"),
        (CALL, "", "phone"),
    ] {
        for name in names {
            let value = (*name, "tomorrow, 10am");
            for asked in [request(&[value], &[], b"text"), request(&[], &[value], b"text")] {
                let (alert, warnings) = warned(&asked);
                assert_eq!(alert.text, format!("text{note}"), "{name}");
                assert!(warnings.contains(warning), "{name}: {warnings}");
            }
        }
    }
}

#[test]
fn a_file_is_named_and_its_text_is_kept() {
    let jpeg = b"\xff\xd8\xff\xe0\x00\x10JFIF";
    let camera = [
        ("x-filename", "C:\\cam\\snapshot.jpg"),
        ("x-title", "Door"),
        ("x-message", r"person\nleft"),
    ];
    let (alert, warnings) = warned(&request(&camera, &[], jpeg));
    assert_eq!(
        (alert.title.as_str(), alert.text.as_str()),
        ("Door", "person\nleft\n[left out: snapshot.jpg, 10 bytes]")
    );
    assert!(warnings.contains("snapshot.jpg (10 bytes) was left out"), "{warnings}");
    // Nothing but the picture, and no name either.
    let (alert, _) = warned(&request(&[], &[], jpeg));
    assert_eq!(alert.text, "[left out: a file, 10 bytes]");
    // A file may be as large as it likes: nothing is kept of it.
    let mut large = request(&camera, &[], jpeg);
    large.body_bytes = 20_000_000;
    assert!(warned(&large).0.text.ends_with("[left out: snapshot.jpg, 20.0 MB]"));
    // Apprise makes a file of a long text.
    for headers in [&[("filename", "a/log.txt")][..], &[("f", "log.txt"), ("m", "see:")]] {
        let (alert, warnings) = warned(&request(headers, &[], b"line one\nline two\n"));
        assert!(alert.text.ends_with("line one\nline two"), "{alert:?}");
        assert_eq!(alert.text.starts_with("see:\n"), headers.len() > 1);
        assert!(warnings.contains("log.txt"), "{warnings}");
    }
}

#[test]
fn a_body_is_read_in_its_charset() {
    for (charset, body) in [
        ("text/plain; charset=iso-8859-1", &b"Gr\xfc\xdfe"[..]),
        ("text/plain; format=flowed; Charset=\"windows-1252\"", b"Gr\xfc\xdfe"),
        ("text/plain", b"Gr\xfc\xdfe"),
        ("text/plain;charset=utf-16le", b"G\0r\0\xfc\0\xdf\0e\0"),
        ("application/x-www-form-urlencoded", "Grüße".as_bytes()),
    ] {
        let alert = right(&Request {
            content_type: Some(charset),
            ..request(&[], &[], body)
        });
        assert_eq!(alert.text, "Grüße", "{charset}");
    }
}

#[test]
fn what_a_person_reads_is_not_forged() {
    let forged = request(
        &[("title", "a\u{202E}b"), ("tags", "x\u{2066}y")],
        &[],
        "c\u{202D}d\u{200B}".as_bytes(),
    );
    let alert = right(&forged);
    assert_eq!(
        (alert.title.as_str(), alert.text.as_str(), alert.tags),
        ("ab", "cd", vec!["xy".to_owned()])
    );
}

#[test]
fn what_only_decorates_is_ignored() {
    for name in ["actions", "icon", "cache", "firebase", "markdown", "x-whatever"] {
        assert_eq!(
            with_header(name, "1"),
            Alert {
                text: "text".into(),
                ..Alert::default()
            }
        );
    }
}

#[test]
fn the_sequence_id_is_kept() {
    for name in ["x-sequence-id", "sequence-id", "sid"] {
        assert_eq!(with_header(name, "disk").sequence.as_deref(), Some("disk"));
    }
}

#[test]
fn what_is_too_long_is_cut_with_a_mark() {
    for (name, max) in [
        ("title", TITLE_CHARS_MAX),
        ("click", CLICK_CHARS_MAX),
        ("key", hygiene::KEY_CHARS_MAX),
        ("tags", TAG_CHARS_MAX),
    ] {
        with_header(name, &"ü".repeat(max));
        let long = "ü".repeat(max + 1);
        let (_, warnings) = warned(&request(&[(name, &long)], &[], b"text"));
        assert!(!warnings.is_empty(), "{name}");
    }
    let long = "ü".repeat(1100);
    let (alert, _) = warned(&request(&[("title", &long)], &[], b"text"));
    assert_eq!(alert.title.chars().count(), TITLE_CHARS_MAX);
    assert!(alert.title.ends_with('…') && alert.text == "text", "{alert:?}");
    let tags = "a,".repeat(40);
    assert_eq!(warned(&request(&[("tags", &tags)], &[], b"x")).0.tags.len(), TAGS_MAX);
    with_header("tags", &"a,".repeat(TAGS_MAX));
    let link = format!("http://x.test/{}", "x".repeat(CLICK_CHARS_MAX));
    let (alert, _) = warned(&request(&[("click", &link)], &[], b"text"));
    assert_eq!(
        (alert.click, alert.text.as_str()),
        (None, "text\n[a link was too long and is left out]")
    );
    let key = |end: &str| {
        let key = format!("{}{end}", "x".repeat(300));
        warned(&request(&[("key", &key)], &[], b"x")).0.key.unwrap()
    };
    assert_ne!(key("a"), key("b"));
    assert_eq!(key("a"), key("a"));
}

#[test]
fn a_long_text_is_cut_so_that_the_whole_message_fits() {
    let title = "t".repeat(TITLE_CHARS_MAX);
    for filling in ["x", "ü", "🔥"] {
        let body = filling.repeat(70_000 / filling.len());
        let whole = request(
            &[("title", &title), ("attach", "http://x.test/a.jpg")],
            &[],
            body.as_bytes(),
        );
        let (alert, warnings) = warned(&whole);
        assert!(alert.text.len() <= TEXT_BYTES_MAX);
        assert!(
            alert
                .text
                .ends_with("… [cut, it was 70 KB long]\n[attachment: http://x.test/a.jpg]"),
            "{warnings}"
        );
        assert!(warnings.contains("was cut to"), "{warnings}");
        // Nothing is cut again without a word when it is sent.
        assert!(render::text(&alert, None).contains(&alert.text));
    }
    let exact = "x".repeat(TEXT_BYTES_MAX);
    assert_eq!(right(&request(&[], &[], exact.as_bytes())).text, exact);
    let (alert, _) = warned(&request(&[("t", "title")], &[], exact.as_bytes()));
    assert!(alert.text.ends_with("long]") && render::text(&alert, None).contains(&alert.text));
}

#[test]
fn a_text_of_which_only_the_start_is_kept_says_so_also_where_that_fits() {
    let start: Vec<u8> = "x".repeat(1000).encode_utf16().flat_map(u16::to_le_bytes).collect();
    for headers in [&[][..], &[("filename", "log.txt")], &[("m", "a message")]] {
        let mut long = request(headers, &[], &start);
        assert!(!parse(&long).unwrap().alerts[0].text.contains("[cut"));
        long.body_bytes = 200_000;
        let (alert, warnings) = warned(&long);
        assert!(alert.text.contains("xx… [cut, it was 200 KB long]"), "{alert:?}");
        assert!(warnings.contains("the message of 200 KB was cut to"), "{warnings}");
    }
    // Nothing but line ends so far: what comes behind them is missed all the same.
    let mut blank = request(&[], &[], b"\n\n");
    blank.body_bytes = 200_000;
    assert_eq!(warned(&blank).0.text, "… [cut, it was 200 KB long]");
    // A picture is left out as a whole, and beside it nothing is cut.
    let mut picture = request(&[("m", "look")], &[], b"\xff\xd8\xff\xe0");
    picture.body_bytes = 200_000;
    let (alert, warnings) = warned(&picture);
    assert_eq!(alert.text, "look\n[left out: a file, 200 KB]");
    assert!(!warnings.contains("cut"), "{warnings}");
}

#[test]
fn a_text_beyond_all_measure_is_refused() {
    let mut huge = request(&[("m", "message")], &[], b"start");
    huge.body_bytes = huge.text_bytes_max;
    warned(&huge);
    huge.body_bytes += 1;
    let rejection = parse(&huge).unwrap_err();
    assert_eq!((rejection.kind, rejection.field), (RejectionKind::TooLarge, "body"));
}
