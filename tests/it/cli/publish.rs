//! `tautline publish` where something beside the text is odd.

use super::*;

/// Runs it with `bytes` on its standard input.
fn fed(bench: &Bench, args: &[&str], bytes: &[u8]) -> Ran {
    let mut child = tautline(bench.state.path())
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    child.wait_with_output().unwrap().into()
}

fn last_text(bench: &Bench) -> String {
    bench.relay.taken().pop().unwrap().1.text
}

#[test]
fn a_priority_that_is_none_costs_a_warning_and_not_the_text() {
    let bench = Bench::new();
    for (given, taken, warned) in [
        ("urgent", 5, false),
        (" Low ", 2, false),
        ("", 3, false),
        ("6", 3, true),
        ("loud", 3, true),
        (&"loud ".repeat(10_000), 3, true),
    ] {
        let ran = ends(&bench, &["publish", "--to", "ops", "-p", given, "disk full"], 0, "");
        let alert = bench.relay.taken().pop().unwrap().1;
        assert_eq!(
            (u8::from(alert.priority), alert.text.as_str()),
            (taken, "disk full"),
            "{given:.9?}"
        );
        assert_eq!(
            ran.err.contains("tautline: warning: the priority"),
            warned,
            "{}",
            ran.err
        );
    }
}

#[test]
fn files_go_with_the_text_from_a_path_or_a_pipe() {
    let bench = Bench::with_files();
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name).display().to_string();
    std::fs::write(path("b c.pdf"), "%PDF-1.7 …").unwrap();
    let args = [
        "publish",
        "--to",
        "ops",
        "--attach",
        &path("b c.pdf"),
        "--attach=-",
        "-t",
        "NAS",
        "a file",
    ];
    let ran = fed(&bench, &args, b"\0\x01\x02");
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let alert = bench.relay.taken().pop().unwrap().1;
    assert_eq!((alert.title.as_str(), alert.text.as_str()), ("NAS", "a file"));
    let files: Vec<_> = alert
        .attachments
        .iter()
        .map(|file| (file.name.as_str(), file.bytes))
        .collect();
    assert_eq!(files, [("b c.pdf", 12), ("", 3)]);
    assert_eq!(alert.attachments[0].mime, "application/pdf");
}

#[test]
fn a_file_that_cannot_be_read_costs_a_warning_and_not_the_text() {
    let bench = Bench::with_files();
    let args = ["publish", "--to", "ops", "--attach", "/nonexistent/a.jpg", "a picture"];
    let ran = ends(&bench, &args, 0, "");
    assert_eq!(last_text(&bench), "a picture\n[left out: a.jpg]");
    assert!(
        ran.err.contains("warning: /nonexistent/a.jpg was left out"),
        "{}",
        ran.err
    );
    ends(&bench, &["publish", "--to", "ops", "--attach=-", "-"], 2, "text");
    ends(
        &bench,
        &["publish", "--to", "ops", "--attach=-", "--attach=-", "x"],
        2,
        "once",
    );
}

#[test]
fn a_text_in_utf_16_is_read_as_it_was_written() {
    let bench = Bench::new();
    for text in ["disk full\r\n", "größer ✓\n", "\u{f8ff} \u{f8ff}"] {
        let bytes: Vec<u8> = [0xfeff]
            .into_iter()
            .chain(text.encode_utf16())
            .flat_map(u16::to_le_bytes)
            .collect();
        assert_eq!(fed(&bench, &["publish", "--to", "ops", "-"], &bytes).code, 0);
        assert_eq!(last_text(&bench), text.trim_end());
    }
}

#[test]
fn no_character_of_a_text_is_taken_for_a_mark_of_ours() {
    let bench = Bench::new();
    for args in [
        &["\u{f8ff} is a logo, so is \u{f8ff}"][..],
        &["--", "\u{f8ff} is a logo, so is \u{f8ff}"],
        &["-t", "\u{f8ff}", "\u{f8ff} is a logo,", "so is \u{f8ff}"],
    ] {
        ends(&bench, &[&["publish", "--to", "ops"], args].concat(), 0, "");
        assert_eq!(last_text(&bench), "\u{f8ff} is a logo, so is \u{f8ff}");
    }
    assert_eq!(bench.relay.taken().pop().unwrap().1.title, "\u{f8ff}");
    ends(&bench, &["publish", "--to", "ops", "- \u{f8ff} 5 °C"], 0, "");
    assert_eq!(last_text(&bench), "- \u{f8ff} 5 °C");
}
