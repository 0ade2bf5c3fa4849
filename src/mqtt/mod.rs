//! A client of MQTT 5 and 3.1.1: packets, and what to do about them. Pure: time, bytes and a seed come in, decisions
//! come out. The sockets and the relay are `gateway/mqtt`'s.
//!
//! > Tell [`Client::handle`] what happens and [`Client::handle_timeout`] when [`Client::poll_timeout`] is due. After
//! > each, take [`Client::poll_output`] until there is none. Early and repeated calls do nothing.
//!
//! A message of QoS 1 is acknowledged when whoever took it says so ([`Input::Settled`]), in the order in which the
//! messages came, and never before. What a connection did not acknowledge, its broker delivers again on the next one.
//!
//! Deliberately absent: QoS 2 (a key makes one alert of what comes twice), aliases of topics, authentication in several
//! steps, and a store of messages on their way out: what is published is a state, and is published anew when a
//! connection is up, or an answer, and the message that it answers comes again.
#![warn(missing_docs)]

mod cause;
mod client;
pub mod discovery;
mod frame;
pub mod fuzzing;
mod packet;
mod publish;
mod timer;
pub mod topic;
mod version;
mod wire;

pub use cause::Cause;
pub use client::{Client, Delivered, Delivery, Input, Login, Output, Settings, State, Subscription};
pub use publish::{Message, Properties, Publish};
pub use timer::Reason;
pub use version::Version;
