//! Comments are sentences, and no wider than the code.

use super::rust;

/// `max_width` of `rustfmt.toml`, which rustfmt holds for code alone.
const COLUMNS_MAX: usize = 120;

/// Names that are written small, also at the beginning of a sentence.
const SMALL_NAMES: &[&str] = &["ntfy", "sled", "systemd", "whatsapp-rust"];

/// Beginnings that leave out what is spoken of.
const WITHOUT_SUBJECT: &[&str] = &[
    "Of ", "So far ", "So long ", "So many ", "So much ", "As for ", "As there", "Likewise",
];

/// The lines with a comment that is too wide, numbered from 1. The row of a table cannot be broken, and no word can.
fn wide(text: &str) -> Vec<usize> {
    let is_wide = |line: &str| {
        let comment = match line.trim_start().starts_with("//") {
            true => line.trim_start().trim_start_matches(['/', '!']),
            false => line.split_once(" // ").map_or("", |(_, comment)| comment),
        };
        let comment = comment.trim();
        line.chars().count() > COLUMNS_MAX && comment.contains(' ') && !comment.starts_with('|')
    };
    let lines = text.lines().enumerate().filter(|(_, line)| is_wide(line));
    lines.map(|(index, _)| index + 1).collect()
}

/// The mark and the words of a line of a doc comment.
fn documentation(line: &str) -> Option<(&str, &str)> {
    let line = line.trim_start();
    let (mark, words) = line.split_at_checked(3)?;
    (mark == "//!" || mark == "///" && !words.starts_with('/')).then_some((mark, words.trim()))
}

/// The doc comments whose first paragraph is no sentence, each with the number of its first line.
fn broken_sentences(text: &str) -> Vec<(usize, String)> {
    let mut broken = Vec::new();
    let mut lines = text.lines().enumerate().peekable();
    while let Some((index, line)) = lines.next() {
        let Some((mark, first)) = documentation(line) else {
            continue;
        };
        let mut comment = vec![first];
        while let Some((_, next)) = lines.peek()
            && let Some((_, words)) = documentation(next).filter(|(other, _)| *other == mark)
        {
            comment.push(words);
            lines.next();
        }
        let end = comment
            .iter()
            .position(|line| line.is_empty() || line.starts_with("```"));
        let length = end.unwrap_or(comment.len());
        let before_code = comment.get(length).is_some_and(|line| line.starts_with("```"));
        let paragraph = comment[..length].join(" ");
        if !is_sentence(&paragraph, before_code) {
            broken.push((index + 1, paragraph));
        }
    }
    broken
}

fn is_sentence(paragraph: &str, before_code: bool) -> bool {
    let begins =
        !paragraph.starts_with(char::is_lowercase) || SMALL_NAMES.iter().any(|name| paragraph.starts_with(name));
    let has_subject = !WITHOUT_SUBJECT.iter().any(|words| paragraph.starts_with(words));
    let ends = paragraph.ends_with(['.', ':', '?', '!']) || (before_code && !paragraph.is_empty());
    begins && has_subject && ends
}

#[test]
fn comments_are_no_wider_than_code() {
    let found: Vec<_> = rust("")
        .into_iter()
        .flat_map(|(name, text)| wide(&text).into_iter().map(move |line| format!("{name}:{line}")))
        .collect();
    assert!(found.is_empty(), "over {COLUMNS_MAX} columns: {found:#?}");

    let words = "word ".repeat(30);
    assert_eq!(
        wide(&format!("/// {words}\n    // {words}\nlet x = 1; // {words}\n")),
        [1, 2, 3]
    );
    let unbroken = format!("// {0}\n//! | a | {words} |\nlet x = \"{words}\";\n", "w".repeat(150));
    assert!(wide(&unbroken).is_empty());
    assert!(
        wide(&format!("//! {}", "ü ".repeat(58))).is_empty(),
        "columns, no bytes"
    );
}

#[test]
fn doc_comments_are_sentences() {
    let mut found = Vec::new();
    for (name, text) in rust("") {
        let broken = broken_sentences(&text).into_iter();
        found.extend(broken.map(|(line, words)| format!("{name}:{line}: {words}")));
    }
    assert!(found.is_empty(), "{found:#?}");

    let lines = |text: &str| -> Vec<usize> { broken_sentences(text).into_iter().map(|(line, _)| line).collect() };
    for broken in [
        "/// of it.",
        "/// The end",
        "/// The end\n///\n/// More.",
        "/// Of it.",
        "/// ```\n/// f();\n/// ```",
    ] {
        assert_eq!(
            lines(&format!("//! A tour.\n\n{broken}\nfn f() {{}}\n")),
            [3],
            "{broken}"
        );
    }
    let whole = [
        "//! A tour.",
        "/// sled's, of",
        "/// course.",
        "",
        "/// `f` is:",
        "/// - once.",
        "",
        "/// So",
        "/// ```",
        "//// no doc",
        "// nor this",
    ];
    assert_eq!(lines(&whole.join("\n")), Vec::<usize>::new());
}
