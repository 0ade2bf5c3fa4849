//! whatsapp

mod http_client;
mod runtime;
mod transport;

pub use http_client::SmolHttp;
pub use runtime::SmolRuntime;
pub use transport::{Line, LineClosed, LineFactory};
