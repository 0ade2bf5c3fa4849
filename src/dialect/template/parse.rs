//! A template as a tree.

use serde_json::Value;

/// How deep blocks and parentheses may lie in each other.
const DEPTH_MAX: usize = 32;

/// A piece of a template.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    /// What stands between the actions.
    Text(String),
    /// A value that is written out.
    Print(Pipe),
    /// A variable that gets a value; a new one where `declares`.
    Set { name: String, declares: bool, pipe: Pipe },
    /// The body of the first condition that holds. Its value is the dot there where `with`.
    If {
        with: bool,
        branches: Vec<(Pipe, Vec<Node>)>,
        otherwise: Vec<Node>,
    },
    /// The body for each element, in variables or as the dot.
    Range {
        variables: Vec<String>,
        pipe: Pipe,
        body: Vec<Node>,
        otherwise: Vec<Node>,
    },
}

/// Commands, each of which gets the value of the one before as its last argument. At least one.
#[derive(Debug, Clone, PartialEq)]
pub struct Pipe(pub Vec<Command>);

/// A function with its arguments, or a value alone.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    pub function: Option<String>,
    pub terms: Vec<Term>,
}

/// A value in a command, and the path into it.
#[derive(Debug, Clone, PartialEq)]
pub struct Term {
    pub of: Of,
    pub path: Vec<String>,
}

/// What a term begins with.
#[derive(Debug, Clone, PartialEq)]
pub enum Of {
    Dot,
    /// A variable, by its name without the `$`; the empty one is the whole data.
    Variable(String),
    Constant(Value),
    Pipe(Pipe),
    /// A function without arguments.
    Call(String),
}

impl Pipe {
    /// The name of what a pipe reads and does nothing with: `alert.name`.
    pub fn name(&self) -> Option<String> {
        let [Command { function: None, terms }] = self.0.as_slice() else {
            return None;
        };
        let [
            Term {
                of: Of::Dot | Of::Variable(_),
                path,
            },
        ] = terms.as_slice()
        else {
            return None;
        };
        (!path.is_empty()).then(|| path.join("."))
    }
}

/// What an action may be made of.
#[derive(Debug, Clone, PartialEq)]
enum Token {
    /// `.a.b`, or `.` alone.
    Path(Vec<String>),
    /// `.a.b` right behind a parenthesis.
    PathBehind(Vec<String>),
    Variable(String, Vec<String>),
    Constant(Value),
    Word(String),
    Open,
    Close,
    Bar,
    Comma,
    Declare,
    Assign,
}

/// The pieces of a template, before they are a tree.
enum Piece {
    Text(String),
    Action(Vec<Token>),
}

/// # Errors
/// It is no template, in one line.
pub fn parse(template: &str) -> Result<Vec<Node>, String> {
    let pieces = pieces(template)?;
    let mut pieces = pieces.into_iter();
    let (nodes, end) = block(&mut pieces, 0)?;
    match end {
        None => Ok(nodes),
        Some(_) => Err("an end or else has no beginning".into()),
    }
}

fn pieces(template: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut rest = template;
    let mut trims = false;
    while let Some((text, behind)) = rest.split_once("{{") {
        let (trims_before, behind) = match behind.strip_prefix('-') {
            Some(inner) if inner.starts_with(char::is_whitespace) => (true, inner),
            Some(_) | None => (false, behind),
        };
        push_text(&mut pieces, text, trims, trims_before);
        let end = end_of_action(behind).ok_or("an action has no end")?;
        let (action, after) = (&behind[..end], &behind[end + 2..]);
        let (action, trims_after) = match action.strip_suffix('-') {
            Some(inner) if inner.ends_with(char::is_whitespace) => (inner, true),
            Some(_) | None => (action, false),
        };
        let action = action.trim();
        if !(action.starts_with("/*") && action.ends_with("*/")) {
            pieces.push(Piece::Action(tokens(action)?));
        }
        (rest, trims) = (after, trims_after);
    }
    push_text(&mut pieces, rest, trims, false);
    Ok(pieces)
}

fn push_text(pieces: &mut Vec<Piece>, text: &str, trims_start: bool, trims_end: bool) {
    let text = if trims_start { text.trim_start() } else { text };
    let text = if trims_end { text.trim_end() } else { text };
    if !text.is_empty() {
        pieces.push(Piece::Text(text.to_owned()));
    }
}

/// Where the `}}` of an action is; one in quotes is none.
fn end_of_action(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut escaped = false;
    for (at, char) in text.char_indices() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some('"') if char == '\\' => escaped = true,
            Some(open) if char == open => quote = None,
            Some(_) => {}
            None if char == '"' || char == '`' => quote = Some(char),
            None if text[at..].starts_with("}}") => return Some(at),
            None => {}
        }
    }
    None
}

fn tokens(action: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = action;
    while let Some(first) = rest.chars().next() {
        let behind = &rest[first.len_utf8()..];
        let (token, after) = match first {
            _ if first.is_whitespace() => {
                rest = rest.trim_start();
                continue;
            }
            '(' => (Token::Open, behind),
            ')' => match behind.starts_with('.') {
                true => {
                    tokens.push(Token::Close);
                    let (path, after) = path(behind);
                    (Token::PathBehind(path), after)
                }
                false => (Token::Close, behind),
            },
            '|' => (Token::Bar, behind),
            ',' => (Token::Comma, behind),
            ':' if behind.starts_with('=') => (Token::Declare, &behind[1..]),
            '=' => (Token::Assign, behind),
            '.' if !behind.starts_with(|next: char| next.is_ascii_digit()) => {
                let (path, after) = path(rest);
                (Token::Path(path), after)
            }
            '$' => {
                let (name, behind) = word(behind);
                let (path, after) = path(behind);
                (Token::Variable(name.to_owned(), path), after)
            }
            '"' => {
                let end = end_of_string(rest).ok_or("a string has no end")?;
                // What writes `\n` for a new line has perhaps been read already.
                let string = rest[..end].replace('\n', "\\n");
                let text = serde_json::from_str(&string).map_err(|_| format!("{string} is no string"))?;
                (Token::Constant(Value::String(text)), &rest[end..])
            }
            '`' => {
                let (text, after) = behind.split_once('`').ok_or("a string has no end")?;
                (Token::Constant(text.into()), after)
            }
            '0'..='9' | '-' | '+' | '.' => {
                let is_part = |char: char| char.is_ascii_alphanumeric() || matches!(char, '.' | '-' | '+');
                let (number, after) = rest.split_at(rest.find(|char| !is_part(char)).unwrap_or(rest.len()));
                let read = serde_json::from_str(number.trim_start_matches('+'));
                (
                    Token::Constant(read.map_err(|_| format!("{number} is no number"))?),
                    after,
                )
            }
            _ if first.is_alphabetic() || first == '_' => {
                let (word, after) = word(rest);
                let token = match word {
                    "true" => Token::Constant(true.into()),
                    "false" => Token::Constant(false.into()),
                    "nil" => Token::Constant(Value::Null),
                    word => Token::Word(word.to_owned()),
                };
                (token, after)
            }
            other => return Err(format!("{other:?} stands where nothing like it can")),
        };
        tokens.push(token);
        rest = after;
    }
    Ok(tokens)
}

/// The length of the string that `text` begins with, its quotes among it.
fn end_of_string(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, char) in text.char_indices().skip(1) {
        match char {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// The name that `text` begins with.
fn word(text: &str) -> (&str, &str) {
    let is_part = |char: char| char.is_alphanumeric() || char == '_';
    text.split_at(text.find(|char| !is_part(char)).unwrap_or(text.len()))
}

/// The names that follow each other with a dot before each.
fn path(text: &str) -> (Vec<String>, &str) {
    let mut names = Vec::new();
    let mut rest = text;
    while let Some(behind) = rest.strip_prefix('.') {
        let (name, after) = word(behind);
        rest = after;
        if name.is_empty() {
            break;
        }
        names.push(name.to_owned());
    }
    (names, rest)
}

type Pieces = std::vec::IntoIter<Piece>;

/// Nodes up to an `end` or `else`, which is returned.
fn block(pieces: &mut Pieces, depth: usize) -> Result<(Vec<Node>, Option<Vec<Token>>), String> {
    if depth > DEPTH_MAX {
        return Err("blocks lie too deep in each other".into());
    }
    let mut nodes = Vec::new();
    while let Some(piece) = pieces.next() {
        let tokens = match piece {
            Piece::Text(text) => {
                nodes.push(Node::Text(text));
                continue;
            }
            Piece::Action(tokens) => tokens,
        };
        let first = match tokens.first() {
            Some(Token::Word(word)) => word.as_str(),
            Some(_) => "",
            None => return Err("an action is empty".into()),
        };
        match first {
            "end" | "else" => return Ok((nodes, Some(tokens))),
            "if" | "with" => nodes.push(condition(pieces, tokens, depth)?),
            "range" => nodes.push(range(pieces, &tokens[1..], depth)?),
            "define" | "template" | "block" | "break" | "continue" => {
                return Err(format!("{first} is not there"));
            }
            _ => nodes.push(action(&tokens)?),
        }
    }
    Ok((nodes, None))
}

fn condition(pieces: &mut Pieces, tokens: Vec<Token>, depth: usize) -> Result<Node, String> {
    let with = tokens.first() == Some(&Token::Word("with".into()));
    let mut branches = Vec::new();
    let mut condition = tokens;
    let mut skipped = 1;
    loop {
        let pipe = pipe(condition.get(skipped..).unwrap_or_default(), 0)?;
        let (body, end) = block(pieces, depth + 1)?;
        branches.push((pipe, body));
        let end = end.ok_or("an if or with has no end")?;
        let word = |at: usize| match end.get(at) {
            Some(Token::Word(word)) => word.as_str(),
            Some(_) | None => "",
        };
        match (word(0), word(1)) {
            ("end", _) => {
                let otherwise = Vec::new();
                return Ok(Node::If {
                    with,
                    branches,
                    otherwise,
                });
            }
            (_, "if" | "with") => {
                condition = end;
                skipped = 2;
            }
            _ => {
                let otherwise = to_end(pieces, depth)?;
                return Ok(Node::If {
                    with,
                    branches,
                    otherwise,
                });
            }
        }
    }
}

/// The body of an `else`.
fn to_end(pieces: &mut Pieces, depth: usize) -> Result<Vec<Node>, String> {
    let (nodes, end) = block(pieces, depth + 1)?;
    match end.as_deref() {
        Some([Token::Word(word)]) if word == "end" => Ok(nodes),
        Some(_) | None => Err("an else has no end".into()),
    }
}

fn range(pieces: &mut Pieces, tokens: &[Token], depth: usize) -> Result<Node, String> {
    let declares = tokens.iter().position(|token| *token == Token::Declare);
    let (variables, tokens) = match declares {
        None => (Vec::new(), tokens),
        Some(at) => {
            let names = tokens[..at].iter().filter_map(|token| match token {
                Token::Variable(name, _) => Some(name.clone()),
                _ => None,
            });
            (names.collect(), &tokens[at + 1..])
        }
    };
    let pipe = pipe(tokens, 0)?;
    let (body, end) = block(pieces, depth + 1)?;
    let otherwise = match end.as_deref().and_then(<[Token]>::first) {
        Some(Token::Word(word)) if word == "else" => to_end(pieces, depth)?,
        Some(_) => Vec::new(),
        None => return Err("a range has no end".into()),
    };
    Ok(Node::Range {
        variables,
        pipe,
        body,
        otherwise,
    })
}

fn action(tokens: &[Token]) -> Result<Node, String> {
    match tokens {
        [
            Token::Variable(name, path),
            sign @ (Token::Declare | Token::Assign),
            rest @ ..,
        ] if path.is_empty() => Ok(Node::Set {
            name: name.clone(),
            declares: *sign == Token::Declare,
            pipe: pipe(rest, 0)?,
        }),
        _ => Ok(Node::Print(pipe(tokens, 0)?)),
    }
}

fn pipe(tokens: &[Token], depth: usize) -> Result<Pipe, String> {
    let mut rest = tokens;
    let (pipe, ended) = pipe_to_close(&mut rest, depth)?;
    match ended {
        false => Ok(pipe),
        true => Err("a parenthesis has no beginning".into()),
    }
}

/// A pipe up to the end, or to a parenthesis that closes; whether one did.
fn pipe_to_close(rest: &mut &[Token], depth: usize) -> Result<(Pipe, bool), String> {
    if depth > DEPTH_MAX {
        return Err("parentheses lie too deep in each other".into());
    }
    let mut commands = Vec::new();
    let mut command = Command {
        function: None,
        terms: Vec::new(),
    };
    loop {
        let Some((token, after)) = rest.split_first() else {
            commands.push(finished(command)?);
            return Ok((Pipe(commands), false));
        };
        *rest = after;
        let term = |of: Of, path: &[String]| Term {
            of,
            path: path.to_vec(),
        };
        match token {
            Token::Close => {
                commands.push(finished(command)?);
                return Ok((Pipe(commands), true));
            }
            Token::Bar => {
                let next = Command {
                    function: None,
                    terms: Vec::new(),
                };
                commands.push(finished(std::mem::replace(&mut command, next))?);
            }
            Token::Word(word) if command.function.is_none() && command.terms.is_empty() => {
                command.function = Some(word.clone());
            }
            Token::Word(word) => command.terms.push(term(Of::Call(word.clone()), &[])),
            Token::Path(path) => command.terms.push(term(Of::Dot, path)),
            Token::Variable(name, path) => command.terms.push(term(Of::Variable(name.clone()), path)),
            Token::Constant(value) => command.terms.push(term(Of::Constant(value.clone()), &[])),
            Token::Open => {
                let (inner, closed) = pipe_to_close(rest, depth + 1)?;
                if !closed {
                    return Err("a parenthesis has no end".into());
                }
                let path = match rest.first() {
                    Some(Token::PathBehind(path)) => {
                        *rest = &rest[1..];
                        path.clone()
                    }
                    Some(_) | None => Vec::new(),
                };
                command.terms.push(term(Of::Pipe(inner), &path));
            }
            Token::PathBehind(_) | Token::Comma | Token::Declare | Token::Assign => {
                return Err("an action is no value".into());
            }
        }
    }
}

fn finished(command: Command) -> Result<Command, String> {
    match (&command.function, command.terms.len()) {
        (None, 0) => Err("a value is missing".into()),
        (None, 2..) => Err("two values follow each other, and the first is no function".into()),
        (None, 1) | (Some(_), _) => Ok(command),
    }
}
