//! Logins: a browser that has shown a token once, and need not keep it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::token::{Digest, Grant};
use crate::util::lock;

/// Logins that there are at once. For one more the one ends that was not used for longest.
pub const LOGINS_MAX: usize = 64;

/// Logins that there are at once with one token: a person has a few browsers.
pub const LOGINS_OF_TOKEN_MAX: usize = 8;

/// A login ends when nothing was asked with it for this long: a day's work and the pauses in it.
pub const LOGIN_IDLE: Duration = Duration::from_secs(12 * 60 * 60);

/// And after this long however much it is used: a browser that somebody has forgotten.
pub const LOGIN_LASTS: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// One browser's login.
#[derive(Debug)]
pub struct Login {
    /// What the token gave that was shown.
    pub grant: Arc<Grant>,
    digest: Digest,
    began: Instant,
    used: Mutex<Instant>,
    ended: AtomicBool,
}

/// The logins of this run. None is kept: after a restart one logs in again.
#[derive(Debug, Default)]
pub struct Logins(Mutex<Vec<Arc<Login>>>);

impl Login {
    /// Whether it still lets in.
    #[must_use]
    pub fn is_good(&self, now: Instant) -> bool {
        !self.ended.load(Ordering::Relaxed) && !self.left(now).is_zero()
    }

    /// How long it lets in, if nothing more is asked with it.
    #[must_use]
    pub fn left(&self, now: Instant) -> Duration {
        let idle = (*lock(&self.used) + LOGIN_IDLE).saturating_duration_since(now);
        idle.min((self.began + LOGIN_LASTS).saturating_duration_since(now))
    }

    fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

/// Ends the one that was not used for longest, of those that are `meant`.
fn end_stalest(logins: &mut Vec<Arc<Login>>, meant: impl Fn(&Arc<Login>) -> bool) {
    let those = logins.iter().enumerate().filter(|(_, login)| meant(login));
    let stalest = those
        .min_by_key(|(_, login)| *lock(&login.used))
        .map(|(place, _)| place);
    if let Some(place) = stalest {
        logins.swap_remove(place).end();
    }
}

impl Logins {
    /// Begins one for whoever has shown a token. `digest` is that of the secret which the browser keeps.
    pub fn begin(&self, grant: Arc<Grant>, digest: Digest, now: Instant) {
        let mut logins = lock(&self.0);
        logins.retain(|login| login.is_good(now));
        let theirs = |login: &Arc<Login>| login.grant.name == grant.name;
        // Its own first: whoever has one token cannot end the logins of the others.
        while logins.iter().filter(|login| theirs(login)).count() >= LOGINS_OF_TOKEN_MAX {
            end_stalest(&mut logins, theirs);
        }
        while logins.len() >= LOGINS_MAX {
            end_stalest(&mut logins, |_| true);
        }
        logins.push(Arc::new(Login {
            grant,
            digest,
            began: now,
            used: Mutex::new(now),
            ended: AtomicBool::new(false),
        }));
    }

    /// The login of this secret, which is used by that.
    #[must_use]
    pub fn find(&self, secret: &str, now: Instant) -> Option<Arc<Login>> {
        let digest = Digest::of(secret);
        let mut logins = lock(&self.0);
        logins.retain(|login| login.is_good(now));
        // All are compared: how long it takes says nothing.
        let mut found = None;
        for login in logins.iter() {
            if login.digest == digest {
                found = Some(Arc::clone(login));
            }
        }
        let found = found?;
        *lock(&found.used) = now;
        Some(found)
    }

    /// Ends one.
    pub fn end(&self, login: &Login) {
        login.end();
        lock(&self.0).retain(|other| !other.ended.load(Ordering::Relaxed));
    }

    /// Ends all that were begun with the token of this one, and says how many.
    pub fn end_all(&self, login: &Login) -> usize {
        self.end_of(login.grant.name.as_str())
    }

    /// Ends all that were begun with the token of this name, and says how many.
    pub fn end_of(&self, token: &str) -> usize {
        let mut logins = lock(&self.0);
        let before = logins.len();
        let theirs = |other: &Login| other.grant.name.as_str() == token;
        logins
            .iter()
            .filter(|other| theirs(other))
            .for_each(|other| other.end());
        logins.retain(|other| !other.ended.load(Ordering::Relaxed));
        before - logins.len()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Right, Routes};
    use super::*;

    fn grant(name: &str) -> Arc<Grant> {
        Arc::new(Grant {
            name: name.parse().unwrap(),
            rights: [Right::Admin].into_iter().collect(),
            routes: Routes::All,
        })
    }

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_login_ends_when_it_is_not_used_and_in_any_case() {
        let (logins, start) = (Logins::default(), Instant::now());
        logins.begin(grant("a"), Digest::of("one"), start);
        assert!(logins.find("two", start).is_none());
        assert!(logins.find("one", start + LOGIN_IDLE - HOUR).is_some());
        // That was a use.
        let mut now = start + LOGIN_IDLE + HOUR;
        let login = logins.find("one", now).unwrap();
        assert_eq!(login.left(now), LOGIN_IDLE);
        while now + HOUR < start + LOGIN_LASTS {
            now += HOUR;
            assert!(logins.find("one", now).is_some());
        }
        assert!(logins.find("one", start + LOGIN_LASTS).is_none());
        assert!(!login.is_good(start + LOGIN_LASTS));
        logins.begin(grant("a"), Digest::of("one"), start);
        assert!(logins.find("one", start + LOGIN_IDLE).is_none());
    }

    #[test]
    fn it_ends_alone_or_with_all_of_its_token() {
        let (logins, now) = (Logins::default(), Instant::now());
        for (name, secret) in [("a", "one"), ("a", "two"), ("b", "three")] {
            logins.begin(grant(name), Digest::of(secret), now);
        }
        let one = logins.find("one", now).unwrap();
        logins.end(&one);
        assert!(!one.is_good(now) && logins.find("one", now).is_none());
        logins.begin(grant("a"), Digest::of("one"), now);
        let two = logins.find("two", now).unwrap();
        assert_eq!(logins.end_all(&two), 2);
        assert!(logins.find("one", now).is_none() && logins.find("three", now).is_some());
    }

    #[test]
    fn the_stalest_gives_way() {
        let (logins, start) = (Logins::default(), Instant::now());
        for number in 0..LOGINS_MAX {
            let at = start + Duration::from_secs(number as u64);
            logins.begin(grant(&format!("a{number}")), Digest::of(&number.to_string()), at);
        }
        let now = start + HOUR;
        assert!(logins.find("0", now).is_some());
        logins.begin(grant("a"), Digest::of("new"), now);
        assert!(logins.find("0", now).is_some() && logins.find("new", now).is_some());
        assert!(logins.find("1", now).is_none());
    }

    #[test]
    fn one_token_ends_its_own_logins_and_nobody_elses() {
        let (logins, start) = (Logins::default(), Instant::now());
        logins.begin(grant("other"), Digest::of("other"), start);
        for number in 0..2 * LOGINS_MAX {
            let at = start + Duration::from_millis(number as u64);
            logins.begin(grant("a"), Digest::of(&number.to_string()), at);
        }
        let now = start + HOUR;
        assert!(logins.find("other", now).is_some());
        let good = (0..2 * LOGINS_MAX).filter(|number| logins.find(&number.to_string(), now).is_some());
        assert_eq!(good.count(), LOGINS_OF_TOKEN_MAX);
        assert_eq!(logins.end_of("a"), LOGINS_OF_TOKEN_MAX);
        assert!(logins.find("other", now).is_some());
    }
}
