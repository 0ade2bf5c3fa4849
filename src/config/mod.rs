//! The site's file, parsed into a plan that has no unanswered question left.

mod access;
mod address;
mod attachments;
mod env;
mod fallback;
mod fault;
mod hook;
mod load;
mod mqtt;
mod parse;
mod plan;
mod print;
mod shown;
mod tls_files;
mod url;

pub use access::{Access, Loopback};
pub use address::{Endpoint, Proxy, ProxyKind};
pub use attachments::{AttachmentsPlan, Prefix, Size};
pub use env::Env;
pub use fallback::{
    FallbackKind, FallbackPlan, MailServer, MailTarget, RouteFallback, SECRET_BYTES_MAX, Secret, WebTarget,
};
pub use fault::{ConfigErrors, Fault, Place};
pub use hook::HookPlan;
pub use load::{CONFIG_BYTES_MAX, Loaded, load};
pub use mqtt::{Broker, MqttPlan, NodeName, SubscribeForm, SubscribePlan};
pub use plan::{GatewayPlan, HeartbeatPlan, MailPlan, Plan, RoutePlan, SessionPlan, SmtpPlan};
pub use print::{Setting, Source, to_json, to_toml};
pub use tls_files::TlsFiles;
pub use url::Url;
pub(crate) use url::is_private;
