//! Which file uses which, by a parse of the sources: paths in `use` and in function bodies, followed through
//! re-exports.

use std::collections::{BTreeMap, BTreeSet};

use super::rooms::ROOMS;
use super::{is_test, rust, without_tests};

/// The files of some rooms, by their module paths.
pub struct Imports<'a> {
    modules: BTreeMap<Vec<&'a str>, Module<'a>>,
}

struct Module<'a> {
    file: &'a str,
    tokens: Vec<&'a str>,
    /// Modules declared here, in files of their own.
    children: BTreeSet<&'a str>,
    /// Names that a `use` has brought here, with the whole path of each. `*` may be there several times.
    bound: Vec<(&'a str, Vec<&'a str>)>,
    /// What the file's own code needs, as whole paths.
    needed: Vec<Vec<&'a str>>,
}

/// A path in the sources: what was written, and the name that a `use` binds it to.
struct Written<'a> {
    path: Vec<&'a str>,
    name: &'a str,
}

impl<'a> Imports<'a> {
    /// `files` are names like `src/net/tls.rs` with their texts, without tests.
    pub fn new(files: &[(&'a str, &'a str)]) -> Self {
        let mut modules: BTreeMap<_, _> = files
            .iter()
            .map(|&(file, text)| (module_of(file), Module::new(file, tokens(text))))
            .collect();
        for (path, module) in &mut modules {
            module.read(path);
        }
        Self { modules }
    }

    /// The files that each file uses.
    fn used(&self) -> BTreeMap<&'a str, BTreeSet<&'a str>> {
        let of = |module: &Module<'a>| {
            let files = module.needed.iter().filter_map(|path| self.resolve(path, 0));
            files.filter(|file| *file != module.file).collect()
        };
        self.modules.values().map(|module| (module.file, of(module))).collect()
    }

    /// Pairs of files of which one names the other, or an item in it. Re-exports are not followed.
    pub fn named(&self) -> Vec<(&'a str, &'a str)> {
        let of = |module: &'_ Module<'a>| {
            let from = module.file;
            let paths = module.needed.iter().chain(module.bound.iter().map(|(_, path)| path));
            let module_in = |path: &Vec<&'a str>| (1..=path.len()).rev().find_map(|end| self.modules.get(&path[..end]));
            let files = paths.filter_map(module_in).map(|other| (from, other.file));
            files.collect::<Vec<_>>()
        };
        self.modules.values().flat_map(of).collect()
    }

    /// The file that holds what `path` names. `None`: none of these files does.
    fn resolve(&self, path: &[&'a str], depth: usize) -> Option<&'a str> {
        let (module, rest) = (1..=path.len())
            .rev()
            .find_map(|length| Some((self.modules.get(&path[..length])?, &path[length..])))?;
        let Some((item, rest)) = rest.split_first() else {
            return Some(module.file);
        };
        // Re-exports of re-exports are a few deep at the most.
        if depth < 8 {
            for (name, target) in &module.bound {
                let target = match *name {
                    "*" => [target.as_slice(), &[item], rest].concat(),
                    name if name == *item => [target.as_slice(), rest].concat(),
                    _ => continue,
                };
                let found = self.resolve(&target, depth + 1);
                // A glob brings what is there, and only that: a name that it does not have is an item of this file.
                if found.is_some() && (*name != "*" || self.defines(&target)) {
                    return found;
                }
            }
        }
        Some(module.file)
    }

    /// Whether the last name of `path` is one that its module's file defines.
    fn defines(&self, path: &[&'a str]) -> bool {
        let Some((item, module)) = path.split_last() else {
            return false;
        };
        let defining = [
            "struct", "enum", "fn", "const", "static", "trait", "type", "mod", "union",
        ];
        self.modules.get(module).is_some_and(|module| {
            let mut pairs = module.tokens.windows(2);
            pairs.any(|pair| defining.contains(&pair[0]) && pair[1] == *item)
        })
    }

    /// Groups of files that use each other, directly or by way of others.
    pub fn circles(&self) -> Vec<Vec<&'a str>> {
        let used = self.used();
        let reach = |from: &'a str| {
            let mut reached: BTreeSet<&'a str> = BTreeSet::new();
            let mut open = vec![from];
            while let Some(file) = open.pop() {
                open.extend(used[file].iter().filter(|next| reached.insert(next)));
            }
            reached
        };
        let reach: BTreeMap<_, _> = used.keys().map(|file| (*file, reach(file))).collect();
        let circle_of = |file: &&'a str| -> Vec<&'a str> {
            let back = reach[*file].iter().filter(|other| reach[**other].contains(*file));
            back.copied().collect()
        };
        let circles: BTreeSet<_> = used.keys().map(circle_of).filter(|circle| circle.len() > 1).collect();
        circles.into_iter().collect()
    }
}

/// `src/net/tls.rs` is `net::tls`, `src/net/mod.rs` is `net`.
fn module_of(file: &str) -> Vec<&str> {
    let path = file.trim_start_matches("src/").trim_end_matches(".rs");
    path.split('/').filter(|part| *part != "mod").collect()
}

impl<'a> Module<'a> {
    fn new(file: &'a str, tokens: Vec<&'a str>) -> Self {
        let declared = tokens.windows(3).filter(|three| three[0] == "mod" && three[2] == ";");
        Self {
            file,
            children: declared.map(|three| three[1]).collect(),
            tokens,
            bound: Vec::new(),
            needed: Vec::new(),
        }
    }

    /// Finds every path of the file, which is the module `own`.
    fn read(&mut self, own: &[&'a str]) {
        let tokens = std::mem::take(&mut self.tokens);
        let mut public = Vec::new();
        // The words of the file's own code, without its imports.
        let mut words = BTreeSet::new();
        let mut at = 0;
        while at < tokens.len() {
            // `pub(in …)` uses nothing, and `mod …` declares what it names.
            let of_visibility = at > 2 && tokens[at - 3..at] == ["pub", "(", "in"];
            let is_declared = at > 0 && tokens[at - 1] == "mod";
            let is_use =
                tokens[at] == "use" && (at == 0 || matches!(tokens[at - 1], ";" | "}" | "{" | ")" | "pub" | "]"));
            let is_path = tokens.get(at + 1) == Some(&"::")
                && !of_visibility
                && (at == 0 || !matches!(tokens[at - 1], "::" | "."))
                && (matches!(tokens[at], "crate" | "super" | "self") || self.children.contains(tokens[at]));
            if is_use {
                let mut written = Vec::new();
                let end = paths(&tokens, at + 1, &mut Vec::new(), &mut written);
                let exported = at > 0 && matches!(tokens[at - 1], "pub" | ")");
                for Written { path, name } in written {
                    let Some(path) = self.whole(own, &path) else { continue };
                    match exported {
                        true => public.push((name, path.clone())),
                        false => self.needed.push(path.clone()),
                    }
                    self.bound.push((name, path));
                }
                at = end;
            } else if is_path {
                let mut written = Vec::new();
                at = paths(&tokens, at, &mut Vec::new(), &mut written);
                let whole = written.iter().filter_map(|written| self.whole(own, &written.path));
                self.needed.extend(whole.collect::<Vec<_>>());
            } else {
                if !is_declared {
                    words.insert(tokens[at]);
                }
                at += 1;
            }
        }
        // What is only handed on is not needed here.
        self.needed.extend(
            public
                .into_iter()
                .filter(|(name, _)| words.contains(name))
                .map(|(_, path)| path),
        );
        self.tokens = tokens;
    }

    /// A written path from the root of the crate. `None`: it leads to another crate.
    fn whole(&self, own: &[&'a str], written: &[&'a str]) -> Option<Vec<&'a str>> {
        let (first, rest) = written.split_first()?;
        let (mut base, mut rest) = match *first {
            "crate" => (Vec::new(), rest),
            "self" => (own.to_vec(), rest),
            "super" => (own[..own.len().checked_sub(1)?].to_vec(), rest),
            child if self.children.contains(child) => (own.to_vec(), written),
            _ => return None,
        };
        while let [first, others @ ..] = rest
            && *first == "super"
        {
            base.pop();
            rest = others;
        }
        base.extend(rest.iter().filter(|part| !matches!(**part, "self" | "*")));
        Some(base)
    }
}

/// Reads the path at `at`, groups included, and adds what it names. Returns where it ends.
fn paths<'a>(tokens: &[&'a str], mut at: usize, prefix: &mut Vec<&'a str>, into: &mut Vec<Written<'a>>) -> usize {
    let length = prefix.len();
    while at < tokens.len() {
        if tokens[at] == "{" {
            at += 1;
            while at < tokens.len() && tokens[at] != "}" {
                at = paths(tokens, at, prefix, into);
                if tokens.get(at) == Some(&",") {
                    at += 1;
                }
            }
            prefix.truncate(length);
            return at + 1;
        }
        prefix.push(tokens[at]);
        at += 1;
        let goes_on = tokens.get(at) == Some(&"::")
            && tokens
                .get(at + 1)
                .is_some_and(|next| *next == "{" || *next == "*" || is_word(next));
        if !goes_on {
            break;
        }
        at += 1;
    }
    let mut last = prefix.iter().rev();
    let mut name = last.next().copied().unwrap_or_default();
    if name == "self" {
        name = last.next().copied().unwrap_or_default();
    }
    if tokens.get(at) == Some(&"as") {
        name = tokens.get(at + 1).copied().unwrap_or_default();
        at += 2;
    }
    into.push(Written {
        path: prefix.clone(),
        name,
    });
    prefix.truncate(length);
    at
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// The words and signs of Rust source, without comments and literals.
fn tokens(text: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            _ if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            _ if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            '"' => quoted(rest, 0),
            'r' | 'b' if string_at(rest).is_some() => string_at(rest).unwrap_or(1),
            '\'' => character(rest),
            c if c.is_alphanumeric() || c == '_' => {
                let end = rest
                    .find(|c: char| !c.is_alphanumeric() && c != '_')
                    .unwrap_or(rest.len());
                tokens.push(&rest[..end]);
                end
            }
            ':' if rest.starts_with("::") => {
                tokens.push(&rest[..2]);
                2
            }
            c if c.is_whitespace() => c.len_utf8(),
            c => {
                tokens.push(&rest[..c.len_utf8()]);
                c.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    tokens
}

/// The length of a string whose opening quote stands at `at`.
fn quoted(text: &str, at: usize) -> usize {
    let mut escaped = false;
    for (offset, c) in text[at + 1..].char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1 + offset + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of `b"…"`, `r"…"`, `r#"…"#` and `br"…"` at the start of `text`.
fn string_at(text: &str) -> Option<usize> {
    let marks = text.trim_start_matches('b').trim_start_matches('r');
    let prefix = text.len() - marks.len();
    let raw = text[..prefix].contains('r');
    let hashes = marks.len() - marks.trim_start_matches('#').len();
    if prefix > 2 || (hashes > 0 && !raw) || !marks[hashes..].starts_with('"') {
        return None;
    }
    if !raw {
        return Some(quoted(text, prefix));
    }
    let end = format!("\"{}", "#".repeat(hashes));
    let body = prefix + hashes + 1;
    Some(text[body..].find(&end).map_or(text.len(), |at| body + at + end.len()))
}

/// The length of a character in quotes, or of a lifetime.
fn character(text: &str) -> usize {
    let mut chars = text[1..].chars();
    match (chars.next(), chars.next()) {
        (Some('\\'), _) => text[3..].find('\'').map_or(text.len(), |end| 3 + end + 1),
        (Some(c), Some('\'')) => 1 + c.len_utf8() + 1,
        _ => 1,
    }
}

#[test]
fn no_two_files_use_each_other() {
    for (room, _) in ROOMS {
        let mut files = rust(&format!("src/{room}/"));
        files.retain(|(name, _)| !is_test(name));
        assert!(!files.is_empty(), "no room is called {room}");
        let files: Vec<_> = files
            .iter()
            .map(|(name, text)| (name.as_str(), without_tests(text)))
            .collect();
        let circles = Imports::new(&files).circles();
        assert!(circles.is_empty(), "in {room}: {circles:#?}");
    }
}

#[test]
fn circles_are_seen_and_re_exports_are_none() {
    let circles = |files: &[(&str, &str)]| Imports::new(files).circles().concat().join(" ");
    for (files, expected) in [
        // By a `use`, and by a path in a function's body.
        (
            &[
                ("src/a/x.rs", "use super::y::Y;"),
                ("src/a/y.rs", "fn f() { crate::a::x::g() }"),
            ][..],
            "src/a/x.rs src/a/y.rs",
        ),
        // By way of a third, in groups, over lines.
        (
            &[
                ("src/a/x.rs", "use crate::a::{\n    y::{self, Y},\n};"),
                ("src/a/y.rs", "use super::z;"),
                ("src/a/z.rs", "use crate::{a::x::X as W, b};"),
            ],
            "src/a/x.rs src/a/y.rs src/a/z.rs",
        ),
        // A parent that uses what it re-exports.
        (
            &[
                ("src/a/mod.rs", "mod x; pub use x::X; pub struct P(X);"),
                ("src/a/x.rs", "use super::P;"),
            ],
            "src/a/mod.rs src/a/x.rs",
        ),
        (
            &[
                ("src/a/mod.rs", "mod x; const T: fn() = x::run; pub struct P;"),
                ("src/a/x.rs", "use super::P;"),
            ],
            "src/a/mod.rs src/a/x.rs",
        ),
        // A parent that only hands on, its names and its globs.
        (
            &[
                (
                    "src/a/mod.rs",
                    "mod x; mod y; pub use x::*; pub use y::Y; pub struct P;",
                ),
                ("src/a/x.rs", "use super::{Y, P}; pub struct X;"),
                ("src/a/y.rs", "use crate::a::P;"),
            ],
            "",
        ),
        (
            &[
                ("src/a/mod.rs", "mod x; mod y; pub use x::*; pub use y::Y;"),
                ("src/a/x.rs", "use super::Y; pub struct X;"),
                ("src/a/y.rs", "use crate::a::X;"),
            ],
            "src/a/x.rs src/a/y.rs",
        ),
        // What a module is called, and who may see an item, is no use of either.
        (
            &[
                ("src/a/mod.rs", "mod x; pub use x::x;"),
                ("src/a/x.rs", "pub(in crate::a) fn x() {}"),
            ],
            "",
        ),
        // Comments and texts are no code.
        (
            &[
                ("src/a/x.rs", "use super::y::Y;"),
                (
                    "src/a/y.rs",
                    "// crate::a::x\n/// [`X`](crate::a::x::X)\nconst S: &str = \"use crate::a::x;\";",
                ),
            ],
            "",
        ),
    ] {
        assert_eq!(circles(files), expected, "{files:?}");
    }
}
