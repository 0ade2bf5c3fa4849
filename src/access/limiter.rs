//! How often somebody may ask: a bucket of tokens in the other sense, one for each token or address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::token::TokenName;

/// Askers that are told apart at once. When there are more, those that have not asked for longest are forgotten, which
/// gives them a full bucket.
const ASKERS_MAX: usize = 1024;

/// How often one asker may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// In the long run.
    pub per_minute: u32,
    /// At once, after a pause.
    pub burst: u32,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Asker {
    /// Who brings this token, from wherever.
    Token(TokenName),
    /// Who brings none, from this address. One house has a whole /64 of IPv6.
    Address(IpAddr),
}

impl Asker {
    /// Whoever asks from `address`.
    pub fn at(address: IpAddr) -> Self {
        Self::Address(match address.to_canonical() {
            IpAddr::V6(address) => IpAddr::V6((address.to_bits() & (u128::MAX << 64)).into()),
            v4 @ IpAddr::V4(_) => v4,
        })
    }
}

/// Counts what everybody asks.
#[derive(Debug)]
pub struct Limiter {
    rate: Rate,
    /// When each asker's bucket will be full again.
    full_at: HashMap<Asker, Instant>,
}

impl Limiter {
    /// With nobody counted yet.
    pub fn new(rate: Rate) -> Self {
        Self {
            rate,
            full_at: HashMap::new(),
        }
    }

    /// Counts one request.
    ///
    /// # Errors
    /// It is one too many, and not counted: after this long there is room for it.
    pub fn admit(&mut self, asker: &Asker, now: Instant) -> Result<(), Duration> {
        let one = Duration::from_secs(60) / self.rate.per_minute.max(1);
        let all = one * self.rate.burst.max(1);
        let full_at = self.full_at.get(asker).copied().unwrap_or(now).max(now) + one;
        // Full only after longer than a whole bucket takes: there is nothing in it.
        if let Some(wait) = (full_at - now).checked_sub(all).filter(|wait| !wait.is_zero()) {
            return Err(wait);
        }
        if self.full_at.len() >= ASKERS_MAX && !self.full_at.contains_key(asker) {
            self.forget(now);
        }
        self.full_at.insert(asker.clone(), full_at);
        Ok(())
    }

    /// Makes room: by those whose buckets are full, else by the fullest.
    fn forget(&mut self, now: Instant) {
        self.full_at.retain(|_, full_at| *full_at > now);
        if self.full_at.len() >= ASKERS_MAX {
            let fullest = self.full_at.iter().min_by_key(|(_, full_at)| **full_at);
            if let Some(asker) = fullest.map(|(asker, _)| asker.clone()) {
                self.full_at.remove(&asker);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate {
        per_minute: 60,
        burst: 3,
    };

    fn at(address: &str) -> Asker {
        Asker::at(address.parse().unwrap())
    }

    #[test]
    fn a_burst_is_let_in_and_then_one_a_second() {
        let start = Instant::now();
        let mut limiter = Limiter::new(RATE);
        let mut ask = |ms: u64| limiter.admit(&at("192.0.2.1"), start + Duration::from_millis(ms));
        assert_eq!([ask(0), ask(0), ask(0)], [Ok(()); 3]);
        assert_eq!(ask(0), Err(Duration::from_secs(1)));
        assert_eq!(ask(400), Err(Duration::from_millis(600)));
        assert_eq!(ask(1000), Ok(()));
        assert!(ask(1000).is_err());
        assert_eq!(
            [ask(60_000), ask(60_000), ask(60_000)],
            [Ok(()); 3],
            "no more than a burst is saved up"
        );
        assert!(ask(60_000).is_err());
    }

    #[test]
    fn each_asker_is_counted_alone_and_a_house_as_one() {
        let now = Instant::now();
        let mut limiter = Limiter::new(Rate { burst: 1, ..RATE });
        let token = Asker::Token("nas".parse().unwrap());
        for asker in [token, at("192.0.2.1"), at("192.0.2.2"), at("2001:db8::1")] {
            assert_eq!(limiter.admit(&asker, now), Ok(()));
            assert!(limiter.admit(&asker, now).is_err(), "{asker:?}");
        }
        assert!(limiter.admit(&at("2001:db8::2"), now).is_err());
        assert!(limiter.admit(&at("::ffff:192.0.2.1"), now).is_err());
        assert_eq!(limiter.admit(&at("2001:db8:0:1::1"), now), Ok(()));
    }

    #[test]
    fn no_more_askers_are_kept_than_there_is_room_for() {
        let now = Instant::now();
        let mut limiter = Limiter::new(RATE);
        for number in 0..5000_u32 {
            let address = Asker::at(IpAddr::from(number.to_be_bytes()));
            assert_eq!(limiter.admit(&address, now), Ok(()));
        }
        assert_eq!(limiter.full_at.len(), ASKERS_MAX);
        assert_eq!(limiter.admit(&at("192.0.2.1"), now + Duration::from_secs(3)), Ok(()));
        assert_eq!(limiter.full_at.len(), 1);
    }
}
