//! Deltas: what is read of a Stream, in which order, and what counts as a gap.

mod command;
mod compared;
mod exact;
mod reader;
mod records;
mod restored;
mod second_opinion;
#[path = "../stage/mod.rs"]
mod stage;
mod verified;
mod workload;

/// The seeds of a randomized test: `DELTA_SEED` alone, or `DELTA_SEEDS` of them from 0, or `count`.
fn seeds(count: u64) -> Vec<u64> {
    match std::env::var("DELTA_SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => (0..std::env::var("DELTA_SEEDS").map_or(count, |count| count.parse().unwrap())).collect(),
    }
}
