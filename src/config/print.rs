//! The plan as people and programs read it: every value with where it came from.

use std::fmt;
use std::path::PathBuf;

use serde_json::{Value, json};

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    Default,
    File {
        path: PathBuf,
        line: usize,
    },
    /// A variable of the environment, by name.
    Env(String),
}

/// One value of the plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// The key path, as `session[0].endpoint`.
    pub key: String,
    /// A string, a boolean, a number, a list or a table of such, or null for what is not set. A password is `***`.
    pub value: Value,
    pub from: Source,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Env(name) => write!(f, "${name}"),
        }
    }
}

/// A line's comment starts here at the latest if the value leaves room.
const COMMENT_COLUMN_MAX: usize = 60;

/// A configuration file that means the same plan, each value with its source as a comment. A password is not in it.
pub fn to_toml(settings: &[Setting]) -> String {
    let lines: Vec<_> = settings.iter().map(line_of).collect();
    let width = lines
        .iter()
        .map(|line| line.chars().count())
        .filter(|width| *width <= COMMENT_COLUMN_MAX)
        .max()
        .unwrap_or(0);
    let mut text = String::new();
    let mut section = "";
    for (setting, line) in settings.iter().zip(&lines) {
        let (prefix, _) = parts(&setting.key);
        if prefix != section {
            section = prefix;
            text += &match prefix.split_once('[') {
                Some((name, _)) => format!("\n[[{name}]]\n"),
                None => format!("\n[{prefix}]\n"),
            };
        }
        // A file's name may hold anything; a comment may not.
        let from = setting.from.to_string().replace(char::is_control, "?");
        text += &format!("{line:width$}  # from {from}\n");
    }
    text
}

fn line_of(setting: &Setting) -> String {
    let (_, name) = parts(&setting.key);
    match toml_of(&setting.value) {
        Some(value) => format!("{name} = {value}"),
        // Null is what nobody has set.
        None => format!("# {name} is not set"),
    }
}

/// A value of the plan as TOML has it.
fn toml_of(value: &Value) -> Option<String> {
    let quoted = |text: &str| toml::Value::from(text).to_string();
    Some(match value {
        Value::String(text) => quoted(text),
        Value::Bool(given) => given.to_string(),
        Value::Number(given) => given.to_string(),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().filter_map(toml_of).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(items) => {
            let items = items.iter().filter_map(|(key, value)| Some((key, toml_of(value)?)));
            let items: Vec<_> = items.map(|(key, value)| format!("{} = {value}", quoted(key))).collect();
            match items.is_empty() {
                true => "{}".to_owned(),
                false => format!("{{ {} }}", items.join(", ")),
            }
        }
        Value::Null => return None,
    })
}

/// `session[0].endpoint` is `endpoint` of the section `session[0]`.
fn parts(key: &str) -> (&str, &str) {
    key.rsplit_once('.').unwrap_or(("", key))
}

/// The same as a list of `key`, `value` and `from` (`kind`, and `file` and `line`, or `env`).
pub fn to_json(settings: &[Setting]) -> Value {
    let one = |setting: &Setting| {
        let from = match &setting.from {
            Source::Default => json!({"kind": "default"}),
            Source::File { path, line } => {
                json!({"kind": "file", "file": path.display().to_string(), "line": line})
            }
            Source::Env(name) => json!({"kind": "env", "env": name}),
        };
        json!({"key": setting.key, "value": setting.value, "from": from})
    };
    settings.iter().map(one).collect()
}
