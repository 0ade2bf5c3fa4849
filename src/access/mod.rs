//! Who may: tokens and what they are good for.
//!
//! - [`Token`] is what is kept of a token: its name, what it may ([`Grant`]), and a digest of its secret. The secret
//!   itself is shown once and kept nowhere.
//! - [`Limiter`] says whether somebody asks too often.
//! - [`Logins`] are browsers that have shown a token.
//! - [`Network`] is a block of addresses that is treated alike.
//! - [`Keyring`] has them all and says whose a secret is.
//!
//! A secret has 149 random bits, so a plain SHA-256 of it is as good as a slow hash: there is nothing to guess. Digests
//! are compared in constant time. Pure: time and random bytes come in.
#![warn(missing_docs)]

mod keyring;
mod limiter;
mod login;
mod network;
mod token;

pub use keyring::{Keyring, Presented, TOKENS_MAX, USE_GRAIN_MS};
pub use limiter::{Asker, Limiter, Rate};
pub use login::{LOGIN_IDLE, LOGIN_LASTS, LOGINS_MAX, Login, Logins};
pub use network::Network;
pub use token::{Digest, Grant, Right, Rights, Routes, SECRET_BYTES, Token, TokenName, secret};
