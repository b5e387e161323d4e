//! What every Table Store SDK must see of the sandbox: the same calls and the same answers for all of them.

pub mod batches;
pub mod ranges;
pub mod rows;
pub mod tables;

use crate::sdk::Sdk;

/// A list of calls that an SDK makes against a sandbox of its own.
pub type Scenario = fn(&mut Sdk);

/// Every scenario with the sentence that it proves.
pub const SCENARIOS: [(&str, Scenario); 7] = [
    ("creates_describes_changes_and_drops_tables", tables::life),
    ("reads_back_every_value_and_version", rows::every_value_comes_back),
    ("changes_and_deletes_rows", rows::changes),
    ("writes_under_conditions_only", rows::conditions),
    ("gets_keys_made_by_the_service", rows::auto_increment),
    ("writes_and_reads_batches", batches::batches),
    ("reads_ranges_pages_and_filters", ranges::ranges),
];
