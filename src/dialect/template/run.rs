//! A template, carried out over data. Values that stand in the data are borrowed; what functions make is counted.

use std::borrow::Cow;

use serde_json::Value;

use super::functions::{self, is_true, print};
use super::parse::{Command, Node, Of, Pipe, Term};
use crate::alert::hygiene::TEXT_BYTES_MAX;

/// Nodes and functions that are carried out. A function that looks at much counts for more.
const STEPS_MAX: usize = 20_000;
/// Bytes that a function looks at for one step.
const STEP_BYTES: usize = 1024;
/// Bytes of the values that functions make, together.
const MADE_BYTES_MAX: usize = 1 << 20;

type Given<'d> = Cow<'d, Value>;

struct Run<'d> {
    data: &'d Value,
    /// The innermost last.
    variables: Vec<(String, Given<'d>)>,
    out: String,
    steps_left: usize,
    bytes_left: usize,
}

/// What the template makes of `data`: of a text that is too long to be sent the beginning.
///
/// # Errors
/// A function cannot do what it is asked to, or it is too much.
pub fn run(nodes: &[Node], data: &Value) -> Result<String, String> {
    let mut run = Run {
        data,
        variables: Vec::new(),
        out: String::new(),
        steps_left: STEPS_MAX,
        bytes_left: MADE_BYTES_MAX,
    };
    run.nodes(nodes, &Cow::Borrowed(data))?;
    Ok(run.out)
}

impl<'d> Run<'d> {
    fn nodes(&mut self, nodes: &[Node], dot: &Given<'d>) -> Result<(), String> {
        let outer = self.variables.len();
        for node in nodes {
            // No more of it would be sent.
            if self.out.len() > TEXT_BYTES_MAX {
                break;
            }
            self.step(1)?;
            self.node(node, dot)?;
        }
        self.variables.truncate(outer);
        Ok(())
    }

    fn step(&mut self, steps: usize) -> Result<(), String> {
        let left = self.steps_left.checked_sub(steps);
        self.steps_left = left.ok_or_else(|| format!("it takes more than {STEPS_MAX} steps"))?;
        Ok(())
    }

    /// Counts a value that is made.
    fn made(&mut self, value: Value) -> Result<Given<'d>, String> {
        let left = self.bytes_left.checked_sub(functions::weight(&value));
        self.bytes_left = left.ok_or_else(|| format!("it makes more than {MADE_BYTES_MAX} bytes"))?;
        Ok(Cow::Owned(value))
    }

    fn node(&mut self, node: &Node, dot: &Given<'d>) -> Result<(), String> {
        match node {
            Node::Text(text) => self.out.push_str(text),
            Node::Print(pipe) => {
                let value = self.pipe(pipe, dot)?;
                match (&*value, pipe.name()) {
                    (Value::Null, Some(name)) => self.out.push_str(&name),
                    (value, _) => print(value, &mut self.out),
                }
            }
            Node::Set { name, declares, pipe } => {
                let value = self.pipe(pipe, dot)?;
                let known = self.variables.iter_mut().rfind(|(known, _)| known == name);
                match known.filter(|_| !declares) {
                    Some((_, known)) => *known = value,
                    None if *declares => self.variables.push((name.clone(), value)),
                    None => return Err(format!("no variable is named ${name}")),
                }
            }
            Node::If {
                with,
                branches,
                otherwise,
            } => {
                for (condition, body) in branches {
                    let value = self.pipe(condition, dot)?;
                    if is_true(&value) {
                        return self.nodes(body, if *with { &value } else { dot });
                    }
                }
                self.nodes(otherwise, dot)?;
            }
            Node::Range {
                variables,
                pipe,
                body,
                otherwise,
            } => self.range(variables, pipe, (body, otherwise), dot)?,
        }
        Ok(())
    }

    fn range(
        &mut self,
        variables: &[String],
        pipe: &Pipe,
        (body, otherwise): (&[Node], &[Node]),
        dot: &Given<'d>,
    ) -> Result<(), String> {
        let over = self.pipe(pipe, dot)?;
        // Before they are gathered: a sender's list may have millions.
        self.step(match &*over {
            Value::Array(list) => list.len(),
            Value::Object(map) => map.len(),
            _ => 0,
        })?;
        let elements: Vec<(Value, Given<'d>)> = match over {
            Cow::Borrowed(Value::Array(list)) => {
                let numbered = list.iter().enumerate();
                numbered.map(|(at, value)| (at.into(), Cow::Borrowed(value))).collect()
            }
            Cow::Borrowed(Value::Object(map)) => {
                let named = map.iter();
                named
                    .map(|(name, value)| (name.as_str().into(), Cow::Borrowed(value)))
                    .collect()
            }
            Cow::Owned(Value::Array(list)) => {
                let numbered = list.into_iter().enumerate();
                numbered.map(|(at, value)| (at.into(), Cow::Owned(value))).collect()
            }
            Cow::Owned(Value::Object(map)) => {
                let named = map.into_iter();
                named.map(|(name, value)| (name.into(), Cow::Owned(value))).collect()
            }
            Cow::Borrowed(Value::Null) | Cow::Owned(Value::Null) => Vec::new(),
            other => return Err(format!("{} is no list to range over", short(&other))),
        };
        if elements.is_empty() {
            return self.nodes(otherwise, dot);
        }
        let outer = self.variables.len();
        for (key, element) in elements {
            match variables {
                [] => {}
                [value] => self.variables.push((value.clone(), element.clone())),
                [index, value, ..] => {
                    self.variables.push((index.clone(), Cow::Owned(key)));
                    self.variables.push((value.clone(), element.clone()));
                }
            }
            self.nodes(body, &element)?;
            self.variables.truncate(outer);
        }
        Ok(())
    }

    fn pipe(&mut self, pipe: &Pipe, dot: &Given<'d>) -> Result<Given<'d>, String> {
        let mut before = None;
        for command in &pipe.0 {
            before = Some(self.command(command, before, dot)?);
        }
        before.ok_or_else(|| "a value is missing".into())
    }

    fn command(&mut self, command: &Command, before: Option<Given<'d>>, dot: &Given<'d>) -> Result<Given<'d>, String> {
        let mut arguments = Vec::new();
        for term in &command.terms {
            arguments.push(self.term(term, dot)?);
        }
        let Some(function) = &command.function else {
            return match (arguments.pop(), before) {
                (Some(value), None) => Ok(value),
                (_, _) => Err("a value stands where a function should".into()),
            };
        };
        arguments.extend(before);
        self.call(function, &arguments)
    }

    fn call(&mut self, function: &str, arguments: &[Given<'d>]) -> Result<Given<'d>, String> {
        let looked_at: usize = arguments.iter().map(|value| functions::weight(value)).sum();
        self.step(1 + looked_at / STEP_BYTES)?;
        let arguments: Vec<&Value> = arguments.iter().map(|value| &**value).collect();
        let made = functions::call(function, &arguments, self.bytes_left)?;
        self.made(made)
    }

    fn term(&mut self, term: &Term, dot: &Given<'d>) -> Result<Given<'d>, String> {
        let value = match &term.of {
            Of::Dot => return self.counted(part_of(dot, &term.path)),
            Of::Variable(name) if name.is_empty() => Cow::Borrowed(self.data),
            Of::Variable(name) => {
                let known = self.variables.iter().rfind(|(known, _)| known == name);
                // Only the part is copied: a loop may look at a small one of something large.
                let part = known.map(|(_, value)| part_of(value, &term.path));
                let part = part.ok_or_else(|| format!("no variable is named ${name}"))?;
                return self.counted(part);
            }
            Of::Constant(value) => Cow::Owned(value.clone()),
            Of::Pipe(pipe) => self.pipe(pipe, dot)?,
            Of::Call(function) => self.call(function, &[])?,
        };
        self.counted(part_of(&value, &term.path))
    }

    fn counted(&mut self, value: Given<'d>) -> Result<Given<'d>, String> {
        match value {
            Cow::Borrowed(_) => Ok(value),
            Cow::Owned(value) => self.made(value),
        }
    }
}

/// What stands at the path; null where nothing does.
fn part_of<'d>(value: &Given<'d>, path: &[String]) -> Given<'d> {
    match value {
        Cow::Borrowed(value) => {
            let found = path.iter().try_fold(*value, |value, name| value.get(name.as_str()));
            found.map_or(Cow::Owned(Value::Null), Cow::Borrowed)
        }
        Cow::Owned(value) => {
            let found = path.iter().try_fold(value, |value, name| value.get(name.as_str()));
            Cow::Owned(found.cloned().unwrap_or_default())
        }
    }
}

/// A value for a message about it.
fn short(value: &Value) -> String {
    let mut text = String::new();
    print(value, &mut text);
    text.chars().take(32).collect()
}
