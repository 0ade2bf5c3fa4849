//! From a name to what has it, where that says its name itself.
//!
//! A map would keep each name once more. With ten thousand alerts that wait, and two names to each, that is a megabyte
//! and a half.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hasher};

/// What may have a name, by the name's hash. It is asked whether it has: two names can have one hash.
#[derive(Debug)]
pub(super) struct Lookup<T>(BTreeSet<(u64, T)>);

impl<T> Default for Lookup<T> {
    fn default() -> Self {
        Self(BTreeSet::new())
    }
}

impl<T: Ord + Copy> Lookup<T> {
    pub fn insert(&mut self, name: &str, of: T) {
        self.0.insert((hash(name), of));
    }

    pub fn remove(&mut self, name: &str, of: T) {
        self.0.remove(&(hash(name), of));
    }

    /// What may have the name, in order, from `least` on, which nothing is below.
    pub fn find(&self, name: &str, least: T) -> impl Iterator<Item = T> + '_ {
        let hash = hash(name);
        let from = self.0.range((hash, least)..);
        from.take_while(move |(of_name, _)| *of_name == hash).map(|(_, of)| *of)
    }
}

/// Without a seed: whoever chooses a name here draws it at random, and nobody else's is inserted.
fn hash(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(name.as_bytes());
    hasher.finish()
}
