//! WhatsApp's protocol, by the `whatsapp-rust` library, on our executor, sockets and store. One [`Session`] an account.
//!
//! The library speaks; it does not decide. Its own reconnect is off: when to dial, when a line is dead and what an end
//! means is decided by [`line::Supervisor`](crate::line::Supervisor), which [`session`] drives.

mod afresh;
mod again;
mod answers;
mod catch_up;
mod chats;
mod client;
mod directory;
mod events;
mod handle;
mod http_client;
mod inbound;
mod keepalive;
mod media;
mod numbers;
mod parts;
mod patience;
mod presence;
mod quote;
mod recipients;
mod runtime;
mod send;
pub mod session;
mod slewed_clock;
mod timers;
mod transport;
mod version;
mod written;

pub use again::Again;
pub use directory::Directory;
pub use handle::{Command, Notice, SessionHandle, SessionView};
pub use http_client::SmolHttp;
pub use runtime::SmolRuntime;
pub use session::{Session, SessionParts};
pub use transport::{Line, LineClosed, LineFactory};
