//! The second path: what tells people, and those who watch, when WhatsApp does not.

mod web;

pub use web::{Answer, Request, WebError, ask};
