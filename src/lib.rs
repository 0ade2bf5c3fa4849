//! Tautline holds a WhatsApp session for months and delivers the alerts that local software gives it.
#![forbid(unsafe_code)]

pub mod alert;
pub mod appliance;
pub mod board;
pub mod cli;
pub mod config;
pub mod gateway;
pub mod line;
pub mod net;
pub mod outbox;
pub mod store;
pub mod whatsapp;
