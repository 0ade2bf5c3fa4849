//! One session's credentials: what the WhatsApp library asks to be kept, as rows of the
//! [`Store`](crate::store::Store).
//!
//! [`Credentials`] implements the library's `Backend`. Each call that writes is one transaction, read-modify-write
//! included, and returns once it is on the device: the library sends and acknowledges on the strength of that `Ok`.
//! Only a sent message, kept for a retry of it, is not waited for (`sent.rs`).
//!
//! Rows are mirror structs of our own, never the library's types: postcard does not describe itself, so a field that
//! the library adds, skips or reorders would make old rows unreadable. Where a type has public fields we take it apart
//! without `..`, and such a change fails to compile.
//!
//! Every key begins with the session's name as a part of its own, so that sessions never see each other's rows.
//!
//! Deliberately absent: a cache (the library has one, sled another), and any way to load what was put into quarantine.

mod adopt;
mod age;
mod app_sync;
mod backend;
mod device;
mod device_store;
pub mod import;
mod left_out;
mod message_secrets;
mod pre_key_offset;
mod protocol;
mod quarantine;
mod records;
mod renew;
mod round_trips;
mod rows;
mod secret;
mod sent;
mod sent_bound;
mod signal;
mod sweep;
mod tc_tokens;
mod transaction;

#[doc(hidden)]
pub use age::Ticks;
pub use backend::{Account, Credentials};
pub use left_out::LeavingOut;
pub(crate) use pre_key_offset::PreKeyOffset;
pub use quarantine::Quarantined;
#[doc(hidden)]
pub use round_trips::{ROUND_TRIPS, RoundTrip};
pub(crate) use rows::{after_a_restore, check_row, is_paired, session_of};
