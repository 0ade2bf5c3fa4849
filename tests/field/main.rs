//! What people in the field run into: inputs and faults of whole kinds, each with the outcome that a user should see. The
//! built program is driven from outside; the lab server is WhatsApp.
#![cfg(feature = "lab")]

#[path = "../faults/bench.rs"]
#[allow(dead_code, reason = "the tests of faults use more of it")]
mod bench;
mod chats;
mod keys;
#[path = "../lab/mod.rs"]
mod lab;
mod refusals;
mod resend;
mod room;
mod start;
#[path = "../lab/stock.rs"]
#[allow(dead_code, reason = "the lab's own tests use more of it")]
mod stock;
#[path = "../support/mod.rs"]
mod support;
mod text;
