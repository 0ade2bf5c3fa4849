//! The real core in a simulated world: every property of a line that must hold whatever happens, for a fixed set of
//! seeds.
//!
//! Many more: `cargo run --release --features lab --example simulate -- --seeds 1000 --days 365`, which prints the seed
//! of a failure.

mod behaviour;
mod sim;

/// The fixed set: a few seconds, without optimisation.
const SEEDS: u64 = 42;
const DAYS: u64 = 3;

#[test]
fn the_properties_hold_for_the_fixed_seeds() {
    let mut total = sim::Summary::default();
    for seed in 0..SEEDS {
        match sim::run(seed, DAYS) {
            Ok(summary) => total.add(&summary),
            Err(what) => panic!("{what}"),
        }
    }
    // A run that met nothing proves nothing.
    assert!(
        total.deaths > 200 && total.zombies > 20 && total.stops > 20,
        "{total:?}"
    );
    assert!(total.withheld > 5 && total.feeds > 1000, "{total:?}");
}
