//! The fold: rows of a base and the Stream records since then, made into the rows of one moment.
//!
//! Promises:
//! - For an interval of keys, [`FoldedRows`] gives every row of the table at the moment of a [`Cut`](crate::catalog::Cut) once, in key
//!   order, as record batches of the base's column plan.
//! - Rows that no record names are not taken apart; a batch without any goes through as it is.
//! - The fold itself is pure: batches in, batches out, nothing awaited. Records are in memory as [`RecordSet`]s, which are loaded within
//!   a budget; where all records of an interval do not fit, the interval is folded part by part.
//! - What a file holds is checked against what its list says before it counts: keys out of order or outside of their interval are an
//!   error, never a wrong row.

mod ambiguous;
mod base_rows;
mod chain_records;
mod folded_rows;
mod record_set;
mod settings;
mod taking_apart;
#[cfg(test)]
mod tests;

pub use ambiguous::Ambiguous;
pub use base_rows::BaseRows;
pub use chain_records::{ChainRecords, RecordPart, Stretch};
pub use folded_rows::FoldedRows;
pub use record_set::{RecordSet, RecordSetBuilder};
pub use settings::{FoldSettings, TimeToLive};
