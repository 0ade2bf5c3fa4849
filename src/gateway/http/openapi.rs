//! `GET /v1/openapi.json`: the API for programs, in the words of OpenAPI 3.1.
//!
//! The document is made in a test from the table of endpoints and the types of the API, and lies in `docs/`: what
//! changes in it is seen in a commit, and what makes it costs the program nothing.

use super::answer::Answer;

const DOCUMENT: &str = include_str!("../../../docs/openapi.json");

/// `GET /v1/openapi.json`.
pub(super) fn document() -> Answer {
    Answer::new(200, "application/json", DOCUMENT)
}

#[cfg(test)]
mod tests;
