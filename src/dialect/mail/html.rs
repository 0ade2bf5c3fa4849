//! HTML as text: what a person would read, a line for each line.

use mail_parser::decoders::html::html_to_text;

/// What is between these tags is nothing to read.
const UNREAD: &[&str] = &["head", "style", "script", "template", "title", "svg"];

/// Tags that begin or end a line.
const LINES: &[&str] = &[
    "address",
    "article",
    "blockquote",
    "body",
    "br",
    "center",
    "dd",
    "div",
    "dl",
    "dt",
    "fieldset",
    "footer",
    "form",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "header",
    "hr",
    "html",
    "li",
    "main",
    "nav",
    "ol",
    "p",
    "pre",
    "section",
    "table",
    "tbody",
    "tfoot",
    "thead",
    "tr",
    "ul",
];

/// Tags of table cells, between which there is room.
const CELLS: &[&str] = &["td", "th"];

/// Bytes of a tag in which quotes count.
const TAG_BYTES_READ: usize = 2 * 1024;

/// The longest name of a character, as in `&CounterClockwiseContourIntegral;`.
const ENTITY_BYTES_MAX: usize = 40;

/// The text of an HTML document, or of a piece of one. Where nothing but what is never read seems to be there, as after
/// a `<head>` that has no end, it is read all the same.
pub(super) fn text_of(html: &str) -> String {
    let text = read(html, UNREAD);
    match text.is_empty() {
        true => read(html, &UNREAD[1..]),
        false => text,
    }
}

fn read(html: &str, unread: &[&str]) -> String {
    let mut lines = Lines::default();
    let mut rest = html;
    while let Some(at) = rest.find(['<', '&']) {
        lines.words(&rest[..at]);
        rest = &rest[at..];
        if rest.starts_with('&') {
            rest = lines.entity(rest);
            continue;
        }
        if let Some(comment) = rest.strip_prefix("<!--") {
            rest = comment.split_once("-->").map_or("", |(_, behind)| behind);
            continue;
        }
        let Some(tag) = Tag::read(rest) else {
            // "a < b" is a text, and behind the last `>` there are no tags.
            let text = if rest.contains('>') { 1 } else { rest.len() };
            lines.words(&rest[..text]);
            rest = &rest[text..];
            continue;
        };
        rest = &rest[tag.bytes..];
        let name = tag.name.as_str();
        if unread.contains(&name) && !tag.closes {
            rest = behind(rest, name);
        } else if LINES.contains(&name) {
            lines.end();
            if name == "li" && !tag.closes {
                lines.words("• ");
            }
        } else if CELLS.contains(&name) {
            lines.words(" ");
        }
    }
    lines.words(rest);
    lines.finish()
}

/// A tag at the start of a text.
struct Tag {
    name: String,
    closes: bool,
    bytes: usize,
}

impl Tag {
    fn read(text: &str) -> Option<Self> {
        let inner = text.strip_prefix('<')?;
        let (closes, inner) = match inner.strip_prefix('/') {
            Some(inner) => (true, inner),
            None => (false, inner),
        };
        if !inner.starts_with(|c: char| c.is_ascii_alphabetic() || c == '!' || c == '?') {
            return None;
        }
        let name = inner.split(|c: char| !c.is_ascii_alphanumeric()).next();
        Some(Self {
            name: name.unwrap_or_default().to_ascii_lowercase(),
            closes,
            bytes: Self::end(text)?,
        })
    }

    /// Behind its end. A value in quotes may hold that character, but not one whose quotes are never closed.
    fn end(text: &str) -> Option<usize> {
        let mut quote = None;
        for (at, byte) in text.bytes().take(TAG_BYTES_READ).enumerate() {
            match (quote, byte) {
                (None, b'>') => return Some(at + 1),
                (None, b'"' | b'\'') => quote = Some(byte),
                (Some(open), byte) if open == byte => quote = None,
                (None | Some(_), _) => {}
            }
        }
        text.find('>').map(|at| at + 1)
    }
}

/// What follows the end of the element `name`; all of it where that has none.
fn behind<'t>(text: &'t str, name: &str) -> &'t str {
    let mut rest = text;
    while let Some(at) = rest.find("</") {
        rest = &rest[at + 2..];
        let here = rest
            .get(..name.len())
            .is_some_and(|here| here.eq_ignore_ascii_case(name));
        if here && !rest[name.len()..].starts_with(|c: char| c.is_ascii_alphanumeric()) {
            return rest.split_once('>').map_or("", |(_, behind)| behind);
        }
    }
    ""
}

/// Lines as they are put together: white space is one space, and two empty lines are one.
#[derive(Default)]
struct Lines {
    text: String,
    line: String,
    space: bool,
}

impl Lines {
    fn words(&mut self, text: &str) {
        for c in text.chars() {
            if c.is_whitespace() {
                self.space = true;
            } else {
                self.push(c);
            }
        }
    }

    fn push(&mut self, c: char) {
        if self.space && !self.line.is_empty() {
            self.line.push(' ');
        }
        self.space = false;
        self.line.push(c);
    }

    /// Reads a character by its name; returns what follows.
    fn entity<'t>(&mut self, text: &'t str) -> &'t str {
        let end = text.bytes().take(ENTITY_BYTES_MAX).position(|byte| byte == b';');
        let Some(entity) = end.map(|end| &text[..=end]) else {
            self.push('&');
            return &text[1..];
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '&' | '#' | ';');
        if !entity.chars().all(plain) {
            self.push('&');
            return &text[1..];
        }
        match html_to_text(entity).as_str() {
            // No-break spaces are how empty cells are filled.
            "" | "\u{a0}" => self.space = true,
            read => read.chars().for_each(|c| self.push(c)),
        }
        &text[entity.len()..]
    }

    fn end(&mut self) {
        self.space = false;
        let line = std::mem::take(&mut self.line);
        if !line.is_empty() {
            self.text.push_str(&line);
            self.text.push('\n');
        }
    }

    fn finish(mut self) -> String {
        self.end();
        self.text.truncate(self.text.trim_end().len());
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn html_is_read_as_a_person_sees_it() {
        for (html, text) in [
            ("plain", "plain"),
            ("a &amp; b &lt;c&gt; &uuml;&#252;&#xfc; &nbsp; x", "a & b <c> üüü x"),
            ("<p>one</p>\n<p>two<br>three<br/>four</p>", "one\ntwo\nthree\nfour"),
            ("<div>a</div><DIV class=\"x > y\">b</DIV>", "a\nb"),
            (
                "<table><tr><td>disk</td><td>91 %</td></tr><tr><th>x</th></tr></table>",
                "disk 91 %\nx",
            ),
            ("<ul><li>one</li><li>two</ul>", "• one\n• two"),
            (
                "<html><head><title>T</title><style>p{}</style></head><body>text</body></html>",
                "text",
            ),
            (
                "<style>p > a {color: red}</style>a<script>if (a < b) {}</script>b<!-- <p> -->c",
                "abc",
            ),
            ("<head><body>lost?", "lost?"),
            ("load < 5 & rising > 3; a&b;", "load < 5 & rising > 3; a&b;"),
            ("<p>un<b>closed", "unclosed"),
            ("text <", "text <"),
            ("<a href=\"http://x/?a=b&c\">link</a> here", "link here"),
            ("<p title='it's'>odd", "odd"),
            ("<p title=\"un>closed", "closed"),
            ("", ""),
        ] {
            assert_eq!(text_of(html), text, "{html}");
        }
    }

    #[test]
    fn no_html_takes_long() {
        for piece in ["<", "&", "</", "<!--", "<p title=\"", "<style>", "&#", "<head></hea>"] {
            text_of(&piece.repeat(64 * 1024 / piece.len()));
        }
    }
}
