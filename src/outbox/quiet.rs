//! Quiet hours: when they are, in the time zone of the site.

use jiff::Timestamp as Moment;
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;

use super::age::CLOCK_UNSET_BEFORE;
use super::record::Timestamp;
use crate::alert::Priority;

/// The hours of each day in which a route is quiet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quiet {
    pub from: Time,
    /// Not the same as `from`; before it, it is that of the next day.
    pub to: Time,
    /// What is less urgent than this is not sent in them.
    pub below: Priority,
    pub then: Then,
}

/// What becomes of that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// It goes out after them, in one message.
    Digest,
    /// It is dropped.
    Drop,
}

/// One night: its first moment, and the first after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Night {
    pub from: Timestamp,
    pub to: Timestamp,
}

impl Quiet {
    /// The quiet hours that `at` lies in. Each day has them once, also one on which the clocks are changed. While the
    /// clock is not set nobody knows whether it is night, and there are none: an alert at night is better than one that
    /// is held for ever.
    pub(super) fn night(&self, at: Timestamp, zone: &TimeZone) -> Option<Night> {
        if at < CLOCK_UNSET_BEFORE {
            return None;
        }
        let moment = Moment::from_millisecond(i64::try_from(at.0).ok()?).ok()?;
        let today = moment.to_zoned(zone.clone()).date();
        let starts = [today.yesterday().ok()?, today];
        let mut nights = starts.into_iter().filter_map(|date| self.night_of(date, zone));
        nights.find(|night| (night.from..night.to).contains(&at))
    }

    fn night_of(&self, date: Date, zone: &TimeZone) -> Option<Night> {
        let morning = if self.to > self.from {
            date
        } else {
            date.tomorrow().ok()?
        };
        let at = |date: Date, time: Time| {
            let moment = zone.to_timestamp(date.to_datetime(time)).ok()?;
            u64::try_from(moment.as_millisecond()).ok().map(Timestamp)
        };
        Some(Night {
            from: at(date, self.from)?,
            to: at(morning, self.to)?,
        })
    }
}
