//! What every command is told.

use std::path::PathBuf;

use clap::{ArgAction, Args};

/// Options that every command takes.
#[derive(Debug, Clone, Default, Args)]
pub struct Global {
    /// Read this configuration file and no other.
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Keep the state in this directory; commands find the relay there.
    #[arg(long, global = true, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Print results as JSON.
    #[arg(long, global = true)]
    pub json: bool,
    /// Log more; twice for everything. Phone numbers may show then.
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
}
