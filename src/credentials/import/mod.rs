//! The login of another program: a folder as Baileys keeps it (OpenClaw and many bots use the same) becomes a session,
//! without pairing again.
//!
//! Reading is apart from writing. [`folder::read`] gets bytes from the disk, [`parse()`] makes them an [`Imported`]
//! whose every part has been checked, and [`Credentials::adopt`] writes that in one transaction. A fault in
//! `creds.json` ends it ([`ImportError`]); any other file that is not whole is left out and named ([`LeftOut`]):
//! sessions and keys of chats come back by themselves.
//!
//! Deliberately absent: device lists (a cache that Baileys itself asks for anew; an old one would leave a contact's new
//! device without messages), chats, history, and any way to write the folder back.
//!
//! [`Credentials::adopt`]: crate::credentials::Credentials::adopt

mod creds;
mod error;
pub mod folder;
mod imported;
mod json;
mod names;
mod number;
mod parse;
mod place;
mod signal;
mod state;

pub use error::{CREDS, ImportError};
pub use imported::{Counts, Imported, LeftOut};
pub use parse::{File, parse};
