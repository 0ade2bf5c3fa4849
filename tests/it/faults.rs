//! Everything that can go wrong with a line, done to the built program by the lab server over real sockets.

mod acks;
mod delivery;
mod history;
mod load;
mod proxied;
mod recovery;
mod sessions;
mod stops;
mod storms;
mod zombie;
