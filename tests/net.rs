//! Sockets on loopback: every step's deadline and error, proxies, and the transport's two duties.

mod net {
    pub mod dialing;
    pub mod http;
    pub mod line;
    pub mod proxies;
    pub mod support;
}
