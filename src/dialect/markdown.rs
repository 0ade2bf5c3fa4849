//! Markdown as WhatsApp's apps show it: `*bold*`, `_italic_`, `~struck~`, `` `code` ``, quotes and lists are theirs,
//! and a link stands behind its words. Nothing that was said is left out, also where it is no Markdown.

use std::collections::HashSet;

use pulldown_cmark::{CodeBlockKind, Event, LinkType, Options, Parser, Tag, TagEnd};

/// The text that this Markdown means. It is about as long: only marks and links are written in another way.
pub(super) fn to_whatsapp(markdown: &str) -> String {
    // Tables stay as they are written: the apps have none, and a row with a cell too many would lose it.
    let options = Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
    let mut writer = Writer::default();
    let parser = Parser::new_ext(markdown, options);
    // `[disk]: full` defines a link in Markdown, and shows nothing. Whoever wrote it may have meant to say it.
    let mut definitions: Vec<(usize, String, &str)> = parser
        .reference_definitions()
        .iter()
        .filter_map(|(name, definition)| {
            let span = definition.span.clone();
            Some((span.start, name.to_lowercase(), markdown.get(span)?))
        })
        .collect();
    definitions.sort_unstable();
    for event in parser {
        writer.event(event);
    }
    for (_, name, line) in definitions {
        if !writer.named.contains(&name) {
            writer.want(1);
            writer.text(line.trim());
            writer.wanted = 1;
        }
    }
    writer.out.truncate(writer.out.trim_end().len());
    match writer.out.is_empty() {
        true => markdown.to_owned(),
        false => writer.out,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Code {
    Fenced,
    Indented,
}

/// Whether what stands behind a fence is no more than the name of a language.
fn is_language(info: &str) -> bool {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '+' | '-' | '#' | '_');
    info.len() <= 20 && info.chars().all(is_part)
}

#[derive(Default)]
struct Writer {
    out: String,
    /// Line feeds before whatever comes next.
    wanted: usize,
    /// The marks that are open, the innermost last.
    marks: Vec<char>,
    quotes: usize,
    /// The number of the next item of each list, where it counts.
    lists: Vec<Option<u64>>,
    /// Addresses of the links that are open, and where their words begin.
    links: Vec<(String, usize)>,
    /// Definitions that a link has used.
    named: HashSet<String>,
    /// The lines are code, and keep what stands before them.
    code: Option<Code>,
}

impl Writer {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) | Event::Html(text) => self.lines(&text),
            Event::Code(code) => self.text(&format!("`{code}`")),
            Event::InlineHtml(html) => match html.trim_matches(['<', '>', '/', ' ']) {
                "br" => self.line(),
                _ => self.text(&html),
            },
            Event::SoftBreak | Event::HardBreak => self.line(),
            Event::Rule => {
                self.want(1);
                self.text("———");
                self.wanted = 2;
            }
            Event::TaskListMarker(done) => self.text(if done { "☑ " } else { "☐ " }),
            Event::FootnoteReference(text) | Event::InlineMath(text) | Event::DisplayMath(text) => self.text(&text),
        }
    }

    fn start(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::Heading { .. } => {
                self.want(2);
                self.mark('*');
            }
            Tag::Strong => self.mark('*'),
            Tag::Emphasis => self.mark('_'),
            Tag::Strikethrough => self.mark('~'),
            Tag::BlockQuote(_) => {
                self.want(1);
                self.flush();
                self.quotes += 1;
                if self.quotes == 1 {
                    self.out.push_str("> ");
                }
            }
            Tag::CodeBlock(kind) => {
                self.want(1);
                match kind {
                    CodeBlockKind::Fenced(info) => {
                        self.text("```");
                        if !is_language(&info) {
                            self.text(&info);
                        }
                        self.code = Some(Code::Fenced);
                        self.line();
                    }
                    CodeBlockKind::Indented => self.code = Some(Code::Indented),
                }
            }
            Tag::List(first) => {
                self.want(1);
                self.lists.push(first);
            }
            Tag::Item => {
                self.want(1);
                let inner = self.lists.len().saturating_sub(1);
                let bullet = match self.lists.last_mut() {
                    Some(Some(number)) => {
                        let bullet = format!("{number}. ");
                        *number = number.saturating_add(1);
                        bullet
                    }
                    Some(None) | None => "- ".to_owned(),
                };
                self.flush_with(inner);
                self.out.push_str(&bullet);
            }
            Tag::Link {
                link_type,
                dest_url,
                id,
                ..
            } => {
                if !matches!(link_type, LinkType::Inline | LinkType::Autolink | LinkType::Email) {
                    self.named.insert(id.to_lowercase());
                }
                self.flush();
                self.links.push((dest_url.into_string(), self.out.len()));
            }
            Tag::Image { dest_url, id, .. } => {
                self.named.insert(id.to_lowercase());
                self.flush();
                self.links.push((dest_url.into_string(), self.out.len()));
            }
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Paragraph | TagEnd::HtmlBlock => self.want(2),
            TagEnd::Heading(_) => {
                self.unmark('*');
                self.want(1);
            }
            TagEnd::Strong => self.unmark('*'),
            TagEnd::Emphasis => self.unmark('_'),
            TagEnd::Strikethrough => self.unmark('~'),
            TagEnd::BlockQuote(_) => {
                self.quotes -= 1;
                self.want(1);
            }
            TagEnd::CodeBlock => {
                self.out.truncate(self.out.trim_end().len());
                self.wanted = 0;
                if self.code.take() == Some(Code::Fenced) {
                    self.line();
                    self.text("```");
                }
                self.wanted = 1;
            }
            TagEnd::List(_) => {
                self.lists.pop();
                self.wanted = if self.lists.is_empty() { 2 } else { 1 };
            }
            TagEnd::Item => self.wanted = self.wanted.clamp(1, 2),
            TagEnd::Link | TagEnd::Image => {
                let Some((address, from)) = self.links.pop() else {
                    return;
                };
                let words = self.out.get(from..).unwrap_or_default();
                let is_said = words == address || address.strip_prefix("mailto:") == Some(words);
                if !is_said && !address.is_empty() && !address.starts_with('#') {
                    let shown = if words.is_empty() {
                        address
                    } else {
                        format!(" ({address})")
                    };
                    self.out.push_str(&shown);
                }
            }
            _ => {}
        }
    }

    /// The apps know no mark within the same mark.
    fn mark(&mut self, mark: char) {
        self.flush();
        if !self.marks.contains(&mark) {
            self.out.push(mark);
        }
        self.marks.push(mark);
    }

    fn unmark(&mut self, mark: char) {
        self.marks.pop();
        if !self.marks.contains(&mark) {
            self.out.push(mark);
        }
    }

    /// A new line, on which the apps know none of the marks that are open.
    fn line(&mut self) {
        let mut open: Vec<char> = Vec::new();
        for mark in &self.marks {
            if !open.contains(mark) {
                open.push(*mark);
            }
        }
        self.out.extend(open.iter().rev());
        self.want(1);
        self.flush();
        self.out.extend(open);
    }

    fn lines(&mut self, text: &str) {
        for (index, line) in text.split('\n').enumerate() {
            if index > 0 {
                self.wanted += 1;
            }
            if !line.is_empty() {
                if self.code == Some(Code::Indented) {
                    self.text("    ");
                }
                self.text(line);
            }
        }
    }

    /// At least so many line feeds before whatever comes next.
    fn want(&mut self, lines: usize) {
        self.wanted = self.wanted.max(lines);
    }

    fn text(&mut self, text: &str) {
        self.flush();
        self.out.push_str(text);
    }

    fn flush(&mut self) {
        self.flush_with(self.lists.len());
    }

    /// Writes the line feeds that are wanted, and what stands before a line within `depth` lists.
    fn flush_with(&mut self, depth: usize) {
        let wanted = std::mem::take(&mut self.wanted);
        if wanted == 0 || self.out.is_empty() {
            return;
        }
        // Right behind a bullet or a quote's mark there is nothing yet to be parted from.
        let is_fresh = ["- ", "> ", ". "].iter().any(|mark| self.out.ends_with(mark)) && self.code.is_none();
        if is_fresh && self.line_is_fresh() {
            return;
        }
        let quote = if self.quotes > 0 { "> " } else { "" };
        for index in 0..wanted {
            self.out.push('\n');
            if index + 1 < wanted {
                self.out.push_str(quote.trim_end());
            }
        }
        self.out.push_str(quote);
        if self.code.is_none() {
            self.out.extend(std::iter::repeat_n("  ", depth.min(8)));
        }
    }

    /// Whether the last line has nothing but its bullet or quote's mark.
    fn line_is_fresh(&self) -> bool {
        let line = self.out.rsplit('\n').next().unwrap_or_default();
        line.trim_matches(['>', ' ', '-', '.'])
            .chars()
            .all(|letter| letter.is_ascii_digit())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_those_of_the_apps() {
        for (markdown, shown) in [
            (
                "**Backup** of *nas* ~~failed~~ `rc=1`",
                "*Backup* of _nas_ ~failed~ `rc=1`",
            ),
            ("__both__ and ***three***", "*both* and _*three*_"),
            ("# Disk **full**\nonly 4 %", "*Disk full*\nonly 4 %"),
            ("one\ntwo\n\nthree", "one\ntwo\n\nthree"),
            ("**two\nlines**", "*two*\n*lines*"),
            ("- a\n- b\n  - c\n\n1. x\n2. y", "- a\n- b\n  - c\n\n1. x\n2. y"),
            ("- [x] done\n- [ ] open", "- ☑ done\n- ☐ open"),
            ("> said\n> again\n\nplain", "> said\n> again\n\nplain"),
            (
                "```json\n{\"a\": *1*}\n\n  b\n```\nafter",
                "```\n{\"a\": *1*}\n\n  b\n```\nafter",
            ),
            (
                "a [page](https://nas.example/x) here",
                "a page (https://nas.example/x) here",
            ),
            (
                "<https://nas.example> [https://a.example](https://a.example)",
                "https://nas.example https://a.example",
            ),
            (
                "![graph](https://nas.example/g.png)",
                "graph (https://nas.example/g.png)",
            ),
            (
                "| a | b |
|---|---|
| 1 | 2 |",
                "| a | b |
|---|---|
| 1 | 2 |",
            ),
            ("a\n\n---\n\nb", "a\n\n———\n\nb"),
            ("a<br>b &amp; c", "a\nb & c"),
            ("2 * 3 * 4 and snake_case_name", "2 * 3 * 4 and snake_case_name"),
            ("    indented\n      more", "    indented\n      more"),
        ] {
            assert_eq!(to_whatsapp(markdown), shown, "{markdown:?}");
        }
    }

    #[test]
    fn what_is_no_markdown_is_said_all_the_same() {
        for (markdown, shown) in [
            ("[disk]: full", "[disk]: full"),
            (
                "before\n\n[disk]: full\n[net]: down",
                "before\n\n[disk]: full\n[net]: down",
            ),
            (
                "see [disk][d]\n\n[d]: https://nas.example",
                "see disk (https://nas.example)",
            ),
            ("<b>loud</b>", "<b>loud</b>"),
            ("<!-- -->", "<!-- -->"),
            ("", ""),
            ("   ", "   "),
            ("-", "-"),
        ] {
            assert_eq!(to_whatsapp(markdown), shown, "{markdown:?}");
        }
    }

    #[test]
    fn every_word_is_there_whatever_stands_around_it() {
        let mut random = fastrand::Rng::with_seed(7);
        let around = [
            "*", "**", "_", "~~", "`", "```", "\n", "\n\n", "> ", "- ", "1. ", "[", "](", ")", "]: ", "|", "|---|\n",
            "<", ">", "#", " ", "    ", "\\", "!", "&", "---\n", "\t", "word", "ÄÖ",
        ];
        for round in 0..5_000 {
            let count = random.usize(1..40);
            let mut words = Vec::new();
            let mut markdown = String::new();
            for number in 0..count {
                markdown.push_str(around[random.usize(..around.len())]);
                if random.bool() {
                    let word = format!("w{number}.x");
                    markdown.push_str(&word);
                    words.push(word);
                }
            }
            let shown = to_whatsapp(&markdown);
            for word in words {
                assert!(
                    shown.contains(&word),
                    "round {round}: {word} of {markdown:?} in {shown:?}"
                );
            }
            assert!(
                shown.len() <= markdown.len() * 8 + 64,
                "{} of {}",
                shown.len(),
                markdown.len()
            );
        }
    }
}
