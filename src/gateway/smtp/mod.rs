//! Mails by SMTP, from whatever has a field for a mail server and nothing else.
//!
//! A connection goes `server` (accept) → `connection` (whole lines, a mail's bytes, deadlines) → `session` (what each
//! line of RFC 5321 means here, pure) → the [`Relay`](super::Relay). `command` reads a line, `data` finds the end of a
//! mail, `reply` writes an answer; `limits` has every bound.
//!
//! This is no mail server: a mail ends here as an alert, and nothing is ever handed on. So an answer is 250 only when
//! the alert is on disk for every recipient, and a mail has its end at `CRLF.CRLF` and nowhere else: what another
//! server takes for text is text here as well.

mod command;
mod connection;
mod data;
pub mod fuzzing;
mod limits;
mod reply;
mod server;
mod session;
mod shared;

pub use limits::SmtpLimits;
pub use server::SmtpListening;
pub(super) use server::{Setup, Smtp};
