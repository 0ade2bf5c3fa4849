//! The rooms of the library in one process: configuration, boards, dialects, the line in a simulated world, sockets on
//! loopback, the store and the credentials in it.
//!
//! Nothing here starts a process, because a process that is being started holds the locks of all stores that are open
//! for a moment. What needs the built program is in `tests/it`.

mod boards;
#[path = "../support/captured.rs"]
mod captured;
mod config;
mod corpus;
mod credentials;
mod dialects;
mod line;
mod net;
mod outbox;
mod store;
