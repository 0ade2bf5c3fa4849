//! Sockets on loopback: every step's deadline and error, proxies, and the transport's two duties.

mod dialing;
mod http;
mod line;
mod proxies;
mod support;
