//! The functions of templates: Go's own, and those of ntfy's that make sense for a line of text. What they cannot do
//! they say in one line; what they make is bounded before it is made.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// Characters that a number or text may be padded to, or indented by.
const WIDTH_MAX: usize = 64;

/// What the function of this name makes of its arguments, of which the last is that from the pipe; no more than
/// `bytes_max` of it.
///
/// # Errors
/// There is none of this name, or it cannot do it.
pub fn call(name: &str, arguments: &[&Value], bytes_max: usize) -> Result<Value, String> {
    let text = |at: usize| arguments.get(at).map(|value| text_of(value)).unwrap_or_default();
    let last = || text(arguments.len().saturating_sub(1));
    let least = |count: usize| match arguments.len() >= count {
        true => Ok(()),
        false => Err(format!("{name} takes {count} arguments at the least")),
    };
    let value = match name {
        // Go's own.
        "and" => first_where(arguments, |value| !is_true(value)),
        "or" => first_where(arguments, is_true),
        "not" => (!arguments.first().is_some_and(|value| is_true(value))).into(),
        "eq" => {
            least(2)?;
            arguments[1..].iter().any(|other| is_equal(arguments[0], other)).into()
        }
        "ne" => {
            least(2)?;
            (!is_equal(arguments[0], arguments[1])).into()
        }
        "lt" | "le" | "gt" | "ge" => {
            least(2)?;
            let order = compared(arguments[0], arguments[1])?;
            match name {
                "lt" => order.is_lt(),
                "le" => order.is_le(),
                "gt" => order.is_gt(),
                _ => order.is_ge(),
            }
            .into()
        }
        "len" => {
            least(1)?;
            length(arguments[0])?.into()
        }
        "index" => {
            least(1)?;
            arguments[1..]
                .iter()
                .fold(arguments[0], |value, key| element(value, key))
                .clone()
        }
        "print" | "println" => {
            let mut all = arguments
                .iter()
                .map(|value| text_of(value))
                .collect::<Vec<_>>()
                .join(" ");
            if name == "println" {
                all.push('\n');
            }
            all.into()
        }
        "printf" => {
            least(1)?;
            printf(&text(0), &arguments[1..]).into()
        }
        "html" | "js" | "urlquery" => last().into(),
        "fail" => return Err(format!("it says: {}", text(0))),
        // Values that may be missing.
        "default" => {
            least(1)?;
            let given = arguments.last().filter(|value| arguments.len() > 1 && is_true(value));
            (*given.unwrap_or(&arguments[0])).clone()
        }
        "coalesce" => arguments
            .iter()
            .find(|value| is_true(value))
            .map(|value| (*value).clone())
            .unwrap_or_default(),
        "empty" => (!arguments.first().is_some_and(|value| is_true(value))).into(),
        "all" => arguments.iter().all(|value| is_true(value)).into(),
        "any" => arguments.iter().any(|value| is_true(value)).into(),
        "ternary" => {
            least(3)?;
            arguments[usize::from(!is_true(arguments[2]))].clone()
        }
        // Texts.
        "upper" => last().to_uppercase().into(),
        "lower" => last().to_lowercase().into(),
        "title" => titled(&last()).into(),
        "trim" => last().trim().into(),
        "trimAll" => {
            let set = text(0);
            last().trim_matches(|char| set.contains(char)).into()
        }
        "trimPrefix" => {
            let (affix, text) = (text(0), last());
            text.strip_prefix(affix.as_str()).unwrap_or(&text).into()
        }
        "trimSuffix" => {
            let (affix, text) = (text(0), last());
            text.strip_suffix(affix.as_str()).unwrap_or(&text).into()
        }
        "contains" => last().contains(&text(0)).into(),
        "hasPrefix" => last().starts_with(&text(0)).into(),
        "hasSuffix" => last().ends_with(&text(0)).into(),
        "replace" => {
            least(3)?;
            let (old, new, text) = (text(0), text(1), text(2));
            let made = text
                .matches(&old)
                .count()
                .saturating_mul(new.len())
                .saturating_add(text.len());
            fits(made, bytes_max)?;
            text.replace(&old, &new).into()
        }
        "repeat" => {
            let (times, text) = (natural(arguments.first())?, last());
            fits(text.len().saturating_mul(times), bytes_max)?;
            text.repeat(times).into()
        }
        "trunc" => truncated(&last(), integer(arguments.first())?).into(),
        "substr" => {
            least(3)?;
            let (from, to) = (natural(Some(&arguments[0]))?, natural(Some(&arguments[1]))?);
            let cut: String = text(2).chars().skip(from).take(to.saturating_sub(from)).collect();
            cut.into()
        }
        "quote" => Value::String(last()).to_string().into(),
        "squote" => format!("'{}'", last()).into(),
        "cat" => arguments
            .iter()
            .map(|value| text_of(value))
            .collect::<Vec<_>>()
            .join(" ")
            .into(),
        "indent" | "nindent" => {
            let (width, text) = (natural(arguments.first())?.min(WIDTH_MAX), last());
            fits(
                text.lines().count().saturating_mul(width).saturating_add(text.len()),
                bytes_max,
            )?;
            let indented = text
                .lines()
                .map(|line| format!("{:width$}{line}", ""))
                .collect::<Vec<_>>()
                .join("\n");
            match name {
                "nindent" => format!("\n{indented}").into(),
                _ => indented.into(),
            }
        }
        "plural" => {
            least(3)?;
            arguments[usize::from(integer(Some(&arguments[2]))? != 1)].clone()
        }
        "toString" => last().into(),
        // Lists and tables.
        "list" => arguments
            .iter()
            .map(|value| (*value).clone())
            .collect::<Vec<_>>()
            .into(),
        "first" => list(arguments)?.first().cloned().unwrap_or_default(),
        "last" => list(arguments)?.last().cloned().unwrap_or_default(),
        "reverse" => list(arguments)?.iter().rev().cloned().collect::<Vec<_>>().into(),
        "sortAlpha" => {
            let mut texts: Vec<String> = list(arguments)?.iter().map(text_of).collect();
            texts.sort_unstable();
            texts.into()
        }
        "uniq" => {
            let mut seen = BTreeSet::new();
            let new = list(arguments)?.iter().filter(|value| seen.insert(text_of(value)));
            new.cloned().collect::<Vec<_>>().into()
        }
        "join" => {
            let (between, texts): (String, Vec<String>) = (text(0), list(arguments)?.iter().map(text_of).collect());
            let made = texts
                .iter()
                .fold(texts.len().saturating_mul(between.len()), |sum, text| {
                    sum.saturating_add(text.len())
                });
            fits(made, bytes_max)?;
            texts.join(&between).into()
        }
        "splitList" => {
            let (between, text) = (text(0), last());
            let parts = text.matches(&between).count().saturating_mul(NODE_BYTES);
            fits(text.len().saturating_mul(2).saturating_add(parts), bytes_max)?;
            text.split(&between).map(str::to_owned).collect::<Vec<_>>().into()
        }
        "has" => {
            least(2)?;
            list(arguments)?
                .iter()
                .any(|value| is_equal(value, arguments[0]))
                .into()
        }
        "keys" | "values" => {
            let table = arguments.last().and_then(|value| value.as_object());
            let entries = table.into_iter().flatten();
            match name {
                "keys" => entries
                    .map(|(key, _)| Value::from(key.as_str()))
                    .collect::<Vec<_>>()
                    .into(),
                _ => entries.map(|(_, value)| value.clone()).collect::<Vec<_>>().into(),
            }
        }
        "hasKey" => {
            least(2)?;
            arguments[0].get(text(1)).is_some().into()
        }
        "get" => {
            least(2)?;
            arguments[0].get(text(1)).cloned().unwrap_or_default()
        }
        "dict" => {
            let pairs = arguments.chunks(2).map(|pair| {
                let value = pair.get(1).map(|value| (*value).clone());
                (text_of(pair[0]), value.unwrap_or_default())
            });
            Value::Object(pairs.collect::<Map<_, _>>())
        }
        // Numbers.
        "int" | "toInt" | "int64" => integer(arguments.last())?.into(),
        "float64" => number(arguments.last())?.into(),
        "add" => folded(arguments, i64::checked_add)?,
        "mul" => folded(arguments, i64::checked_mul)?,
        "sub" => folded(arguments, i64::checked_sub)?,
        "div" => folded(arguments, i64::checked_div)?,
        "mod" => folded(arguments, i64::checked_rem)?,
        "add1" => integer(arguments.last())?.saturating_add(1).into(),
        "max" => folded(arguments, |one, other| Some(one.max(other)))?,
        "min" => folded(arguments, |one, other| Some(one.min(other)))?,
        "floor" => number(arguments.last())?.floor().into(),
        "ceil" => number(arguments.last())?.ceil().into(),
        "round" => {
            least(1)?;
            let places = natural(arguments.get(1)).unwrap_or_default().min(15);
            let rounded = format!("{:.places$}", number(arguments.first())?);
            rounded.parse::<f64>().unwrap_or_default().into()
        }
        // JSON.
        "toJSON" | "toJson" | "mustToJSON" | "mustToJson" => {
            least(1)?;
            arguments[0].to_string().into()
        }
        "fromJSON" | "fromJson" | "mustFromJSON" | "mustFromJson" => {
            let text = last();
            // In memory it takes several times what it takes as text.
            fits(text.len().saturating_mul(4), bytes_max)?;
            serde_json::from_str(&text).unwrap_or_default()
        }
        other => return Err(format!("there is no function {other}")),
    };
    Ok(value)
}

/// Bytes that a value takes beside its text.
const NODE_BYTES: usize = 32;

/// What a value takes in memory, roughly.
pub fn weight(value: &Value) -> usize {
    NODE_BYTES
        + match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
            Value::String(text) => text.len(),
            Value::Array(list) => list.iter().map(weight).sum(),
            Value::Object(map) => map.iter().map(|(name, value)| name.len() + weight(value)).sum(),
        }
}

/// Whether a condition with this value holds, as in Go.
pub fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

/// Writes a value as Go does, but for numbers, which are as the sender wrote them.
pub fn print(value: &Value, out: &mut String) {
    match value {
        Value::Null => {}
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) => out.push_str(&number.to_string()),
        Value::String(text) => out.push_str(text),
        Value::Array(list) => {
            out.push('[');
            for (at, value) in list.iter().enumerate() {
                if at > 0 {
                    out.push(' ');
                }
                print(value, out);
            }
            out.push(']');
        }
        Value::Object(map) => {
            out.push_str("map[");
            for (at, (name, value)) in map.iter().enumerate() {
                if at > 0 {
                    out.push(' ');
                }
                out.push_str(name);
                out.push(':');
                print(value, out);
            }
            out.push(']');
        }
    }
}

fn text_of(value: &Value) -> String {
    let mut text = String::new();
    print(value, &mut text);
    text
}

fn fits(bytes: usize, bytes_max: usize) -> Result<(), String> {
    match bytes <= bytes_max {
        true => Ok(()),
        false => Err("it makes too much".into()),
    }
}

/// The first value that `is_it`, else the last.
fn first_where(arguments: &[&Value], is_it: impl Fn(&Value) -> bool) -> Value {
    let found = arguments.iter().find(|value| is_it(value)).or(arguments.last());
    found.map(|value| (*value).clone()).unwrap_or_default()
}

fn is_equal(one: &Value, other: &Value) -> bool {
    match (one.as_f64(), other.as_f64()) {
        (Some(one), Some(other)) => one == other,
        _ => one == other,
    }
}

fn compared(one: &Value, other: &Value) -> Result<Ordering, String> {
    let order = match (one, other) {
        (Value::String(one), Value::String(other)) => Some(one.cmp(other)),
        _ => one
            .as_f64()
            .zip(other.as_f64())
            .and_then(|(one, other)| one.partial_cmp(&other)),
    };
    order.ok_or_else(|| "two values of different kinds are not compared".into())
}

fn length(value: &Value) -> Result<usize, String> {
    match value {
        Value::String(text) => Ok(text.len()),
        Value::Array(list) => Ok(list.len()),
        Value::Object(map) => Ok(map.len()),
        Value::Null => Ok(0),
        Value::Bool(_) | Value::Number(_) => Err("a number has no length".into()),
    }
}

fn element<'v>(value: &'v Value, key: &Value) -> &'v Value {
    let found = match key {
        Value::String(name) => value.get(name.as_str()),
        _ => key.as_u64().and_then(|at| value.get(usize::try_from(at).ok()?)),
    };
    found.unwrap_or(&Value::Null)
}

fn list<'v>(arguments: &[&'v Value]) -> Result<&'v [Value], String> {
    match arguments.last() {
        Some(Value::Array(list)) => Ok(list),
        Some(Value::Null) => Ok(&[]),
        Some(_) | None => Err("a list is missing".into()),
    }
}

fn number(value: Option<&&Value>) -> Result<f64, String> {
    let number = value.and_then(|value| match value {
        Value::String(text) => text.trim().parse().ok(),
        other => other.as_f64(),
    });
    number
        .filter(|number: &f64| number.is_finite())
        .ok_or_else(|| "a number is missing".into())
}

fn integer(value: Option<&&Value>) -> Result<i64, String> {
    if let Some(whole) = value.and_then(|value| value.as_i64()) {
        return Ok(whole);
    }
    // A cast stays within the bounds of the number.
    Ok(number(value)?.trunc() as i64)
}

fn natural(value: Option<&&Value>) -> Result<usize, String> {
    usize::try_from(integer(value)?).map_err(|_| "a number is negative".to_owned())
}

fn folded(arguments: &[&Value], act: impl Fn(i64, i64) -> Option<i64>) -> Result<Value, String> {
    let mut numbers = arguments.iter().map(|value| integer(Some(value)));
    let first = numbers.next().unwrap_or_else(|| Err("a number is missing".into()))?;
    let too_much = || "a number is too large, or divided by zero".to_owned();
    let all = numbers.try_fold(first, |sum, number| act(sum, number?).ok_or_else(too_much))?;
    Ok(all.into())
}

/// Each word with a capital.
fn titled(text: &str) -> String {
    let mut begins = true;
    let capital = |char: char| {
        let was = std::mem::replace(&mut begins, !char.is_alphanumeric());
        if was {
            char.to_uppercase().collect::<String>()
        } else {
            char.to_string()
        }
    };
    text.chars().map(capital).collect()
}

/// The first so many characters, or with a negative number the last.
fn truncated(text: &str, length: i64) -> String {
    let count = usize::try_from(length.unsigned_abs()).unwrap_or(usize::MAX);
    match length < 0 {
        false => text.chars().take(count).collect(),
        true => text.chars().skip(text.chars().count().saturating_sub(count)).collect(),
    }
}

/// Go's verbs `%s` `%v` `%d` `%q` `%f` `%.2f` `%t` and `%%`, with a width.
fn printf(format: &str, arguments: &[&Value]) -> String {
    let mut out = String::new();
    let mut arguments = arguments.iter();
    let mut rest = format;
    while let Some((text, behind)) = rest.split_once('%') {
        out.push_str(text);
        let end = behind.find(|char: char| char.is_ascii_alphabetic() || char == '%');
        let Some((flags, verb, after)) = end.map(|at| (&behind[..at], &behind[at..=at], &behind[at + 1..])) else {
            out.push('%');
            rest = behind;
            continue;
        };
        rest = after;
        if verb == "%" {
            out.push('%');
            continue;
        }
        let (width, places) = flags.split_once('.').unwrap_or((flags, ""));
        let places = places.parse::<usize>().ok().map(|places| places.min(WIDTH_MAX));
        let value = arguments.next().copied().unwrap_or(&Value::Null);
        let shown = match (verb, value.as_f64()) {
            ("f" | "g" | "e", Some(number)) => format!("{number:.*}", places.unwrap_or(6)),
            ("d", Some(number)) if value.as_i64().is_none() => format!("{number:.0}"),
            ("q", _) => Value::String(text_of(value)).to_string(),
            _ => text_of(value),
        };
        let (left, width) = width.strip_prefix('-').map_or((false, width), |width| (true, width));
        let zeros = width.starts_with('0');
        let width = width.parse::<usize>().unwrap_or_default().min(WIDTH_MAX);
        match (left, zeros) {
            (true, _) => out.push_str(&format!("{shown:<width$}")),
            (false, true) => out.push_str(&format!("{shown:0>width$}")),
            (false, false) => out.push_str(&format!("{shown:>width$}")),
        }
    }
    out.push_str(rest);
    out
}
