//! Data files of runs, of which no byte counts before all of them are hashed: what restoring and folding read.
//!
//! [`VerifiedFile`] gives bytes, [`DataFile`] row groups. Memory: the bytes of files are held against the budgets of a [`Reading`];
//! whoever decodes has budgets of its own.

mod data_file;
mod verified_file;

pub use data_file::{DataFile, Holds, Reading, UnitBytes};
pub use verified_file::{HeldBytes, VerifiedFile};
