//! The restore flow against the sandbox: what comes back, what is refused before a write, what a second run does, and
//! what becomes of rows that the service does not take.

#[path = "../stage/mod.rs"]
mod stage;

mod chain;
mod chains;
mod command;
mod compacted;
mod drill;
mod guards;
mod play;
mod random_tables;
mod rejects;
mod resume;
mod round_trips;
mod targets;
