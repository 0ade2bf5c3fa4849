//! Dialects: the forms in which senders speak, each a pure function from a [`Request`] to alerts.
//!
//! A dialect picks the fields out of what it was given and hands them to a [`Draft`], which does to all of them what every
//! alert needs: no unseen characters, nothing too long, a warning for what was left out. So the rules about text stand
//! once (in [`alert`](crate::alert)), and a new dialect cannot forget them.
//!
//! A fault beside the text never costs the text: the alert goes out with what could be kept, and the sender is warned. A
//! [`Rejection`] is for what cannot be an alert at all. Deliberately absent: HTTP. Which status a rejection becomes, and at
//! which address a dialect is spoken, is the gateway's.
//!
//! To add one: its file beside this one, its line in [`DIALECTS`], and a folder `tests/fixtures/dialects/NAME` with captured
//! requests and the alerts that they must give. A test holds the three together.
#![warn(missing_docs)]

mod draft;
pub mod ntfy;
mod request;

pub use draft::{Draft, Parsed};
pub use request::{Body, Fields, Rejection, RejectionKind, Request};

/// One form of speaking.
pub struct Dialect {
    /// The name of its file and of the folder of its fixtures.
    pub name: &'static str,
    /// Who speaks it, in a few words.
    pub summary: &'static str,
    /// Reads the alerts out of a request.
    pub parse: fn(&Request<'_>) -> Result<Parsed, Rejection>,
}

/// Every dialect there is.
pub const DIALECTS: &[Dialect] = &[Dialect {
    name: "ntfy",
    summary: "ntfy's plain form: the body is the message, the rest stands in headers or in the query",
    parse: ntfy::parse,
}];
