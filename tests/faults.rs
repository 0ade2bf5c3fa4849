//! Everything that can go wrong with a line, done to the built program by the lab server over real sockets.
#![cfg(feature = "lab")]

#[path = "faults/acks.rs"]
mod acks;
#[path = "faults/bench.rs"]
mod bench;
#[path = "faults/delivery.rs"]
mod delivery;
#[path = "faults/history.rs"]
mod history;
#[path = "faults/hollow.rs"]
mod hollow;
#[path = "lab/mod.rs"]
mod lab;
#[path = "faults/load.rs"]
mod load;
#[path = "support/middlebox.rs"]
mod middlebox;
#[path = "faults/proxied.rs"]
mod proxied;
#[path = "faults/recovery.rs"]
mod recovery;
#[path = "faults/sessions.rs"]
mod sessions;
#[path = "faults/stops.rs"]
mod stops;
#[path = "faults/storms.rs"]
mod storms;
mod support;
