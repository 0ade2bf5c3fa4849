//! The log: the truth about the state. sled beside it is an index that can be thrown away.
//!
//! A file begins with the whole state (a snapshot) and goes on with one frame a transaction. A transaction counts once
//! `fdatasync` has returned after it; transactions that came together share one. When the file has grown past its
//! bound, the next generation is written beside it, synced, read back and compared, and renamed, and the one before is
//! kept.
//!
//! > Nothing is acknowledged before it is synced. A failed sync is never tried again: the kernel may have dropped the
//! > pages, and a second one would say yes.
//!
//! Deliberately absent: falling back to the older generation. It holds older ratchets, and using those again would use
//! keys twice; a damaged log is set aside and said, and a person decides.

mod append;
mod disk;
mod error;
mod export;
mod files;
mod frame;
#[doc(hidden)]
pub mod fuzz;
mod limits;
mod mapping;
mod recover;
mod replay;
mod room;
mod snapshot;
mod state;
mod volume;

pub use super::found::{Found, Identity};
pub use append::Log;
pub use disk::{Disk, DiskFile, RealDisk};
pub use error::{CommitError, LogError, StageError};
pub use export::{ExportFault, Exporter, import};
pub use frame::BODY_BYTES_MAX;
pub use limits::Limits;
pub use recover::{Inspection, inspect, inspect_before};
pub use room::{Claim, Gauge};
pub use state::{Operation, Row, Rows, State, rows};
