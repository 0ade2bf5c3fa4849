//! A board's file, read and checked. Only `build.rs` and the tests need it: the program has the boards compiled in.

use super::fields::{FIELDS, Values};
use super::rules;

/// A board as its files say, base and own numbers joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sheet {
    pub title: String,
    pub values: Values,
    /// In the order of [`FIELDS`]: why the number is what it is, and the board whose file says so.
    pub whys: Vec<(String, String)>,
}

/// Reads the board `name`. `text_of` gives a board's file; a base is read through it, one level deep.
///
/// # Errors
/// Every fault as one line that begins with the file and the key.
pub fn read(name: &str, text_of: &dyn Fn(&str) -> Result<String, String>) -> Result<Sheet, Vec<String>> {
    let own = File::read(name, text_of)?;
    let base = match own.base.as_deref() {
        None => None,
        Some(base) => {
            let file = File::read(base, text_of)?;
            if file.base.is_some() {
                return Err(vec![format!("boards/{name}.toml: base: {base:?} has a base itself")]);
            }
            Some((base, file))
        }
    };
    let mut faults = Vec::new();
    let mut list = [0; FIELDS.len()];
    let mut whys = Vec::new();
    for (index, field) in FIELDS.iter().enumerate() {
        let from_base = || {
            base.as_ref()
                .and_then(|(base, file)| Some((*base, file.numbers[index].as_ref()?)))
        };
        match own.numbers[index]
            .as_ref()
            .map(|number| (name, number))
            .or_else(from_base)
        {
            Some((from, (value, why))) => {
                list[index] = *value;
                whys.push((why.clone(), from.to_owned()));
            }
            None => faults.push(format!(
                "boards/{name}.toml: {}.{}: is missing",
                field.section, field.key
            )),
        }
    }
    let values = Values::from_list(list);
    if faults.is_empty() {
        let broken = rules::faults(&values).into_iter();
        faults.extend(broken.map(|(key, text)| format!("boards/{name}.toml: {key}: {text}")));
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    Ok(Sheet {
        title: own.title,
        values,
        whys,
    })
}

/// One file as it is.
struct File {
    title: String,
    base: Option<String>,
    /// In the order of [`FIELDS`].
    numbers: Vec<Option<(u64, String)>>,
}

impl File {
    fn read(name: &str, text_of: &dyn Fn(&str) -> Result<String, String>) -> Result<Self, Vec<String>> {
        let fault = |key: &str, text: &str| format!("boards/{name}.toml: {key}: {text}");
        let text = text_of(name).map_err(|error| vec![format!("boards/{name}.toml: {error}")])?;
        let mut table: toml::Table = text
            .parse()
            .map_err(|error: toml::de::Error| vec![format!("boards/{name}.toml: {}", error.message())])?;
        let mut faults = Vec::new();
        let mut string = |key: &str| match table.remove(key) {
            Some(toml::Value::String(text)) if !text.trim().is_empty() => Some(text),
            None => None,
            Some(_) => {
                faults.push(fault(key, "expected a string with words in it"));
                None
            }
        };
        let (title, base) = (string("title"), string("base"));
        if title.is_none() {
            faults.push(fault("title", "is missing"));
        }
        let mut numbers = Vec::new();
        for field in &FIELDS {
            let key = format!("{}.{}", field.section, field.key);
            let section = table.get_mut(field.section).and_then(toml::Value::as_table_mut);
            let number = section.and_then(|section| section.remove(field.key));
            numbers.push(match number.as_ref().map(number_and_why) {
                None => None,
                Some(Some(number)) => Some(number),
                Some(None) => {
                    faults.push(fault(&key, "expected { value = a whole number, why = \"a reason\" }"));
                    None
                }
            });
        }
        // What is left has no meaning: a number that nothing reads would be a lie.
        for (section, rest) in table {
            match rest {
                toml::Value::Table(rest) if FIELDS.iter().any(|field| field.section == section) => {
                    faults.extend(rest.keys().map(|key| fault(&format!("{section}.{key}"), "unknown key")));
                }
                _ => faults.push(fault(&section, "unknown key")),
            }
        }
        match title {
            Some(title) if faults.is_empty() => Ok(Self { title, base, numbers }),
            _ => Err(faults),
        }
    }
}

fn number_and_why(value: &toml::Value) -> Option<(u64, String)> {
    let table = value.as_table()?;
    let number = u64::try_from(table.get("value")?.as_integer()?).ok()?;
    let why = table.get("why")?.as_str()?;
    // A reason takes a few words.
    (table.len() == 2 && why.split_whitespace().count() >= 3).then(|| (number, why.to_owned()))
}
