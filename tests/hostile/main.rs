//! A vault made by an enemy: every object is what its documents say, hashes and seals included, and none is what
//! otsvault writes. Reading it ends in an error soon, in little memory, and nothing outside the vault is touched.

#[path = "../stage/mod.rs"]
mod stage;

mod bombs;
mod documents;
mod forge;
mod mutants;
mod names;
