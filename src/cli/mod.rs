//! cli

pub mod boards;
pub mod config;
