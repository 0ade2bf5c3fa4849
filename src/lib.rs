//! Tautline holds a WhatsApp session, as a linked device, for months without a hand on it, and delivers the alerts that
//! local software gives it. This is the tour of the crate; `ARCHITECTURE.md` has the reasons.
//!
//! # The rooms
//!
//! Eight rooms decide and do nothing else. They are pure: time, bytes and a seed come in, decisions come out.
//!
//! - [`alert`]: what an [`Alert`](alert::Alert) is, what is done to every sender's text, what is sent for it.
//! - [`access`]: who may: tokens, and what each is good for.
//! - [`dialect`]: how each kind of sender speaks: a function from a [`Request`](dialect::Request) to alerts.
//! - [`line`](mod@line): when a session dials, waits or stops, and whether the line that is up still lives:
//!   [`Supervisor`](line::Supervisor), and the table from [`Cause`](line::Cause) to [`Verdict`](line::Verdict).
//! - [`outbox`]: what is sent when, and what became of it: [`Outbox`](outbox::Outbox).
//! - [`mqtt`]: what a client of an MQTT broker does: [`Client`](mqtt::Client).
//! - [`health`]: the table of everything that can be wrong, and what of it a person is shown.
//! - [`hook`]: what a program at an address is told of what has happened, and when: [`Hook`](hook::Hook).
//!
//! The numbers they run on come from a [`board`], a named profile for one kind of host, and from the site's file, which
//! [`config`] turns into a [`Plan`](config::Plan).
//!
//! The shell around them does what was decided:
//!
//! - [`media`]: what a file is, and pictures as the apps take them; pure as well, and slow.
//! - [`blobs`]: the files that alerts carry, until they are sent.
//! - [`spool`]: alerts that lie as files until a relay takes them.
//! - [`store`]: what survives the process; everything goes through [`Store::update`](store::Store::update).
//! - [`credentials`]: what the protocol library has kept of each session, in rows of the store.
//! - [`state`]: all that survives, looked at as a whole: [`check`](state::check), [`backup`](state::backup).
//! - [`net`]: sockets with a deadline on every step, up to [`net::dial`].
//! - [`fallback`]: the second path, for when WhatsApp is down.
//! - [`whatsapp`]: the protocol library on our executor, sockets and store; one [`Session`](whatsapp::Session) an
//!   account.
//! - [`gateway`]: the ways in, HTTP, SMTP, MQTT and the spool, in front of whatever is a [`Relay`](gateway::Relay).
//! - [`appliance`]: clocks, signals, systemd, and the [`run`](appliance::run()) that ties all of it together.
//! - [`doctor`]: what `tautline doctor` looks at.
//! - [`cli`]: the commands.
//!
//! Each room uses only those named before it, and a test keeps it so (and [`gateway`] does not know [`whatsapp`]).
//!
//! Below all of them is `util`, small things that every room needs and none owns: locks, deadlines, the wall clock,
//! jitter.
//!
//! # Where to begin reading
//!
//! With a sender's alert: `gateway::http::publish` → `appliance::dispatcher` → [`outbox`] →
//! `whatsapp::session` and back. With a line: [`line::Supervisor`], then `whatsapp::session`, which drives it.
//!
//! # Features
//!
//! `lab` is for tests: the library then accepts any chain of certificates within Noise, and in return such a build
//! dials loopback endpoints alone and says what it is. A normal build has no way to switch the check off.
#![forbid(unsafe_code)]

pub mod access;
pub mod alert;
pub mod appliance;
pub mod blobs;
pub mod board;
pub mod cli;
pub mod config;
pub mod credentials;
pub mod dialect;
pub mod doctor;
pub mod fallback;
pub mod gateway;
pub mod health;
pub mod hook;
pub mod line;
pub mod media;
pub mod mqtt;
pub mod net;
pub mod outbox;
pub mod spool;
pub mod state;
pub mod store;
mod util;
pub mod whatsapp;
