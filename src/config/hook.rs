//! The sections `[[hook]]` of a plan: programs that are told of what happens.

use std::path::PathBuf;
use std::time::Duration;

use super::{Secret, WebTarget};
use crate::alert::HookName;
use crate::hook::Wanted;

/// One hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookPlan {
    /// By which its place in the journal is known.
    pub name: HookName,
    pub target: WebTarget,
    /// With it the requests are signed.
    pub secret: Option<Secret>,
    /// Certificates, in PEM, that are trusted for it in place of the web's.
    pub ca: Option<PathBuf>,
    /// From the first byte of a request to the head of its answer.
    pub timeout: Duration,
    pub wanted: Wanted,
}
