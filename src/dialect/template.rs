//! Templates in Go's form, as ntfy, Alertmanager and Grafana have them, over JSON that a sender posts.
//!
//! | part | here |
//! |---|---|
//! | `{{.alert.name}}` | a field; one that is not there shows as its name |
//! | `{{if}}` `{{else if}}` `{{else}}` `{{with}}` `{{range}}` `{{range $i, $one := .list}}` `{{end}}` | as in Go |
//! | `{{$x := …}}` `{{$x = …}}` `{{/* … */}}` `{{- … -}}` `$` `(…)` `a | b` | as in Go |
//! | functions | those of `template/functions.rs`, which are Go's own and the most used of ntfy's |
//! | `define` `template` `block` `break` `continue`, dates, regular expressions, cryptography | not there |
//!
//! Whoever may publish may send one, so nothing of it is unbounded: its length, its depth, the steps that it takes, and
//! the bytes that it makes. One with a fault costs itself alone: the caller sends the alert without it.

mod functions;
mod parse;
mod run;

use serde_json::Value;

use crate::alert::hygiene::one_line;

/// Bytes of a template.
const TEMPLATE_BYTES_MAX: usize = 16 * 1024;

/// What the template makes of `data`.
///
/// # Errors
/// It cannot be read or carried out, in one line for its author.
pub fn render(template: &str, data: &Value) -> Result<String, String> {
    if template.len() > TEMPLATE_BYTES_MAX {
        return Err(format!("it is longer than {TEMPLATE_BYTES_MAX} bytes"));
    }
    let filled = parse::parse(template).and_then(|nodes| run::run(&nodes, data));
    // A fault may quote the template.
    filled.map_err(|why| one_line(&why))
}

#[cfg(test)]
mod tests;
