//! What people in the field run into: inputs and faults of whole kinds, each with the outcome that a user should see.
//! The built program is driven from outside; the lab server is WhatsApp.

mod chats;
mod family;
mod keys;
mod refusals;
mod resend;
mod room;
mod start;
mod text;
