//! What can be wrong with a relay: one table of conditions, and how findings become what a person sees. Pure.
//!
//! The shell looks for conditions and brings a [`Finding`] for each that holds. [`shown`] drops those that have not
//! lasted long enough or follow from another one, and gives each its severity. Status, page and the manual's test loop
//! over [`CONDITIONS`], so a condition is added in one place.

mod episodes;
mod finding;
mod severity;
mod subject;
mod table;

pub use episodes::{Change, Episode, Episodes};
pub use finding::{Finding, Shown, shown};
pub use severity::{Grade, Severity};
pub use subject::Subject;
pub use table::{CONDITIONS, Code, Condition};
