//! The built program as its users meet it: command line, HTTP, configuration, and whole sessions against the lab
//! server.
//!
//! One binary, because each would compile the lab and link the protocol again.
//! `cargo test --features lab --test it field::` runs one part. What needs no process of its own is in `tests/parts`.

mod answers;
mod attachments;
mod backup;
mod bad_input;
#[path = "../support/bench.rs"]
mod bench;
#[path = "../support/broker.rs"]
mod broker;
#[path = "../support/captured.rs"]
mod captured;
mod check;
mod cli;
mod clock;
mod delays;
mod disk_trouble;
mod doctor;
mod fallback;
mod fallback_mail;
mod faults;
mod field;
mod footprint;
#[path = "../gate/mod.rs"]
mod gate;
mod health_news;
mod heartbeat;
mod hooks;
mod http;
mod import;
#[path = "../lab/mod.rs"]
mod lab;
mod lab_server;
#[path = "../support/listener.rs"]
mod listener;
mod mail;
mod mail_files;
#[path = "../support/mailbox.rs"]
mod mailbox;
mod media;
#[path = "../support/middlebox.rs"]
mod middlebox;
mod mqtt;
mod nat;
#[path = "../support/netns.rs"]
mod netns;
mod pairing;
mod path;
mod relay;
mod routes;
mod smtp;
mod spool;
#[path = "../lab/stock.rs"]
mod stock;
#[path = "../support/mod.rs"]
mod support;
mod surroundings;
mod tokens;
mod watchdog;
