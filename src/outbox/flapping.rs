//! Things that go to and fro: one that turns too often is told of once, and then when it is steady.
//!
//! A turn is an alert that says something else than the one before it about the same thing: firing, or over. What is
//! known of earlier alerts decides when one is accepted, and is kept with it.

use std::time::Duration;

use super::record::{Flap, Timestamp};
use crate::alert::Status;

/// When something turns too often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flapping {
    /// A thing that turns so often flaps.
    pub turns: u16,
    /// Within this time. A thing that has not turned for so long is steady.
    pub within: Duration,
}

impl Flapping {
    /// Where nothing else is said.
    pub const DEFAULT: Self = Self {
        turns: 3,
        within: Duration::from_secs(10 * 60),
    };
}

/// What an alert has said about the thing.
#[derive(Debug)]
pub(super) struct Said {
    pub status: Status,
    pub at: Timestamp,
    /// Somebody was told.
    pub told: bool,
}

/// Judges the last of these alerts, in their order.
pub(super) fn flap(rules: Flapping, alerts: &[Said]) -> Option<Flap> {
    let between = |from: Timestamp, to: Timestamp| Duration::from_millis(to.0.saturating_sub(from.0));
    let turned = alerts.windows(2).enumerate();
    let turned =
        turned.filter_map(|(index, pair)| (pair[0].status != pair[1].status).then_some((index + 1, pair[1].at)));
    // The turns since the thing was last steady, and the first of them that was one too many.
    let mut turns: Vec<(usize, Timestamp)> = Vec::new();
    let mut too_many = None;
    for (index, at) in turned {
        if turns
            .last()
            .is_some_and(|(_, before)| between(*before, at) > rules.within)
        {
            turns.clear();
            too_many = None;
        }
        turns.push((index, at));
        let first = turns.len().checked_sub(rules.turns.into());
        let first = first.and_then(|first| turns.get(first));
        if too_many.is_none() && first.is_some_and(|(_, first)| between(*first, at) <= rules.within) {
            too_many = Some(index);
        }
    }
    let (too_many, (_, from), (_, to)) = (too_many?, turns.first()?, turns.last()?);
    let (this, before) = alerts.split_last()?;
    let since_turn = between(*to, this.at);
    let is_told = before.iter().skip(too_many).any(|alert| alert.told);
    (since_turn <= rules.within).then(|| Flap {
        turns: u32::try_from(turns.len()).unwrap_or(u32::MAX),
        span: between(*from, *to),
        hold: if is_told {
            rules.within - since_turn
        } else {
            Duration::ZERO
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `f` fires, `r` is over, each at so many minutes; nobody was told of those in capitals. Turns, their span and the
    /// hold, in minutes.
    fn judge(said: &[(char, u64)]) -> Option<(u32, u64, u64)> {
        let status = |letter| {
            if letter == 'f' {
                Status::Firing
            } else {
                Status::Resolved
            }
        };
        let alerts: Vec<_> = said
            .iter()
            .map(|&(letter, minutes)| Said {
                status: status(letter.to_ascii_lowercase()),
                at: Timestamp(minutes * 60_000),
                told: letter.is_ascii_lowercase(),
            })
            .collect();
        let flap = flap(Flapping::DEFAULT, &alerts)?;
        Some((flap.turns, flap.span.as_secs() / 60, flap.hold.as_secs() / 60))
    }

    #[test]
    fn three_turns_within_ten_minutes_flap_until_ten_minutes_pass_without_one() {
        let said = [
            ('f', 0),
            ('r', 1),
            ('f', 2),
            ('r', 3),
            ('f', 9),
            ('f', 10),
            ('r', 19),
            ('f', 30),
            ('r', 31),
        ];
        let expected = [
            None,
            None,
            None,
            Some((3, 2, 0)),
            Some((4, 8, 10)),
            Some((4, 8, 9)),
            Some((5, 18, 10)),
            None,
            None,
        ];
        for (count, expected) in (1..=said.len()).zip(expected) {
            assert_eq!(judge(&said[..count]), expected, "{:?}", said[count - 1]);
        }
    }

    #[test]
    fn who_was_not_told_that_it_flaps_is_told_by_the_next() {
        let said = [('F', 0), ('R', 1), ('F', 2), ('R', 3), ('F', 4), ('r', 5), ('F', 6)];
        assert_eq!(judge(&said[..4]), Some((3, 2, 0)));
        assert_eq!(judge(&said[..5]), Some((4, 3, 0)));
        assert_eq!(judge(&said[..6]), Some((5, 4, 0)));
        assert_eq!(judge(&said), Some((6, 5, 10)));
    }

    #[test]
    fn what_turns_slowly_or_does_not_turn_is_steady() {
        assert_eq!(judge(&[]), None);
        assert_eq!(judge(&[('f', 0), ('f', 1), ('f', 2), ('f', 3), ('f', 4)]), None);
        assert_eq!(judge(&[('f', 0), ('r', 6), ('f', 12), ('r', 18), ('f', 24)]), None);
        // Two within the time, and a third just after it.
        assert_eq!(judge(&[('f', 0), ('r', 1), ('f', 9), ('r', 12)]), None);
        // And then one that is a third within it.
        assert_eq!(
            judge(&[('f', 0), ('r', 1), ('f', 9), ('r', 12), ('f', 13)]),
            Some((4, 12, 0))
        );
    }
}
