//! Sockets: resolve, tune, proxy, TLS, WebSocket, and a small HTTP client.

pub mod http;
