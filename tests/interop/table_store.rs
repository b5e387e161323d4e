//! What every Table Store SDK must see of the sandbox: the same calls and the same answers for all of them.

pub mod batches;
pub mod bulk;
pub mod flavours;
pub mod ranges;
pub mod rows;
pub mod streams;
pub mod tables;
pub mod transactions;

use crate::language::Language::{self, Go, Java, Python};
use crate::sandbox_process::SandboxProcess;
use crate::sdk::Sdk;

/// A list of calls that an SDK makes against a sandbox of its own.
pub type Scenario = fn(&mut Sdk);

/// The same with things done to the sandbox meanwhile.
pub type StagedScenario = fn(&mut Sdk, &SandboxProcess);

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

/// What not every SDK has, with the sentence that it proves.
pub const FURTHER_SCENARIOS: [(&str, Language, Scenario); 2] = [
    ("imports_and_exports_in_bulk", Java, bulk::imports_and_exports),
    ("reads_ranges_in_row_matrices", Go, bulk::ranges_in_matrices),
];

/// Scenarios again, for an SDK that talks in another way.
pub const FLAVOURED_SCENARIOS: [(&str, Language, &str, Scenario); 7] = [
    ("reads_back_every_value_compressed", Java, "compressed", rows::every_value_comes_back),
    ("writes_and_reads_batches_compressed", Java, "compressed", batches::batches),
    ("reads_ranges_compressed", Java, "compressed", ranges::ranges),
    ("imports_and_exports_in_bulk_compressed", Java, "compressed", bulk::imports_and_exports),
    ("writes_and_reads_batches_with_v4", Java, "v4", batches::batches),
    ("writes_and_reads_batches_with_v4", Python, "v4", batches::batches),
    ("reads_back_every_value_in_pure_python", Python, "pure", rows::every_value_comes_back),
];

/// Scenarios with an admin endpoint.
pub const STAGED_SCENARIOS: [(&str, Language, &str, StagedScenario); 3] = [
    ("reads_a_stream_through_a_split_and_a_merge", Java, "", streams::through_a_split_and_a_merge),
    ("reads_a_stream_through_a_split_and_a_merge", Go, "", streams::through_a_split_and_a_merge),
    ("compresses_what_it_sends_and_gets", Java, "compressed", flavours::compression),
];
