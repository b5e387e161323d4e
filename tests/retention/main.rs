//! What a vault no longer needs: what `cleanup` and `expire` remove, and above all what they never do.

mod cleanup;
mod cleanup_plan;
mod command;
mod expire;
mod expire_plan;
#[path = "../stage/mod.rs"]
mod stage;
mod troubled_store;
mod world;

/// The seeds of a randomized test: `RETENTION_SEED` alone, or `count` of them from 0.
fn seeds(count: u64) -> Vec<u64> {
    match std::env::var("RETENTION_SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => (0..count).collect(),
    }
}
