//! The store's promise: what was acknowledged is there after every kill, power cut and fault, whole, and nothing that
//! was refused. Kills of a real process are in `tests/crash/`. A longer run:
//! `TAUTLINE_SEEDS=20 cargo test --features lab --test parts store::cuts`.

mod churn;
mod cuts;
mod disk;
mod frames;
mod images;
mod journal;
mod real;
mod replace;
mod restore;
