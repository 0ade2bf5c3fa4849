//! appliance

pub mod detect;
