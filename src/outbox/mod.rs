//! The durable alerts and what has become of each. Pure: time, acks and receipts come in, sends and records come out.

mod record;

pub use record::{AlertRecord, Delivery, MessageId, Step, Timestamp};
