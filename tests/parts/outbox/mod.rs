//! The outbox with the rules of routes, in virtual time.

pub mod sim;

const SEEDS: u64 = 60;

#[test]
fn under_any_rules_nothing_is_lost_or_doubled_and_every_limit_is_kept() {
    for seed in 0..SEEDS {
        if let Err(what) = sim::run(seed) {
            panic!("seed {seed}: {what}");
        }
    }
}
