//! Alerts by way of an MQTT broker: the sockets and the relay around the pure [client](crate::mqtt::Client).
//!
//! `shell.rs` is the loop that drives the client, `dial.rs` brings a connection up, `inbound.rs` makes alerts of
//! messages, `rules.rs` of those on others' topics, `fields.rs` reads what stands beside them, `outbound.rs` says how
//! the relay is, `view.rs` is what others see of the client.

mod dial;
mod fields;
mod inbound;
mod outbound;
mod rules;
mod shell;
mod view;

pub use shell::Mqtt;
pub use view::MqttView;
