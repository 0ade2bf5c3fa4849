//! The site's file, parsed into a plan that has no unanswered question left.

mod access;
mod address;
mod env;
mod fault;
mod load;
mod parse;
mod print;
mod url;

pub use access::{Access, Loopback};
pub use env::Env;
pub use fault::{ConfigErrors, Fault, Place};
pub use load::{CONFIG_BYTES_MAX, Loaded, load};
pub use print::{Setting, Source, to_json, to_toml};
pub use url::Url;
pub(crate) use url::is_private;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::alert::{Recipient, RouteName, SessionName};

/// Everything a run needs to know, whichever file, environment or default it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// `None` is `auto`: detect.
    pub board: Option<String>,
    /// In which texts say the time, by its name in the IANA database; `None` is `system`.
    pub time_zone: Option<String>,
    /// At least one; names are unique.
    pub sessions: Vec<SessionPlan>,
    /// Every one names a session that exists; names are unique.
    pub routes: Vec<RoutePlan>,
    pub gateway: GatewayPlan,
    pub mail: MailPlan,
    pub heartbeat: Option<HeartbeatPlan>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionPlan {
    pub name: SessionName,
    /// Where the server is. WhatsApp's own unless a test says otherwise.
    pub endpoint: Endpoint,
    /// From the config, else from `https_proxy`/`all_proxy` unless `no_proxy` names the endpoint's host.
    pub proxy: Option<Proxy>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoutePlan {
    pub name: RouteName,
    pub session: SessionName,
    /// At least one, without repetition.
    pub to: Vec<Recipient>,
    /// What is not sent within this time expires. `None`: it waits for ever.
    pub ttl: Option<Duration>,
    /// What goes out later than this says when it was accepted. `None` is `off`.
    pub mark_late: Option<Duration>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayPlan {
    /// Beyond loopback only where `access` makes that safe.
    pub listen: Vec<SocketAddr>,
    pub access: Access,
    pub tls: Option<TlsFiles>,
}

/// The files of the certificate, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain, the relay's own certificate first.
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// Which route a mail is for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MailPlan {
    /// For addresses that lead nowhere. `None`: the only route, if there is one alone.
    pub route: Option<RouteName>,
    /// Addresses, or what stands in them before the `@`, and the configured routes that they lead to.
    pub routes: Vec<(String, RouteName)>,
}

/// What is fetched for as long as alerts would go out, so that somebody else notices when they would not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeartbeatPlan {
    pub url: Url,
    /// From one fetch to the next.
    pub interval: Duration,
    /// From the environment, as for sessions.
    pub proxy: Option<Proxy>,
}

/// A WebSocket endpoint. `ws://` is accepted on loopback alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub tls: bool,
    pub host: String,
    pub port: u16,
    /// Path and query.
    pub path: String,
}

/// A proxy that the line is dialled through. `Debug` hides the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    pub kind: ProxyKind,
    pub host: String,
    pub port: u16,
    pub user: Option<(String, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyKind {
    /// `http://`: CONNECT.
    Http,
    /// `socks5://`, `socks5h://` and `socks://`; names are resolved by the proxy in all of them.
    Socks5,
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let user = self.user.as_ref().map(|(name, _)| name);
        write!(f, "Proxy({:?} {}:{} user {user:?})", self.kind, self.host, self.port)
    }
}
