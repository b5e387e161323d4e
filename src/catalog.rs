//! What a vault holds: its layout, manifests, file lists, journals, leases, and the commit that makes a run exist.
//!
//! Promises:
//! - A run exists if and only if its `manifest.json` does. It is written last, with a conditional create, and names
//!   the SHA-256 of the file list, which names every data object with its key interval, size and checksums.
//! - Object names are made from ids and never reused; nothing read from a vault becomes a path.
//! - A run with a tombstone is hidden, whatever else of it is there: removals begin with it and end with it.
//! - Documents bear their own SHA-256 and are read within limits: a vault is untrusted.
//! - An interrupted run can be continued from the vault alone: `started.json` holds what the scan was bound to, and
//!   one small journal object per closed file holds what is done.
//!
//! schemas/FORMAT.md describes every object precisely enough for another implementation.

mod audit;
mod audit_chain;
mod chain;
mod commit;
mod cut;
mod delta;
mod document;
mod file_entry;
mod file_list;
mod gap;
mod ids;
mod journal;
mod json_limits;
mod layout;
mod lease;
mod lease_keeper;
mod manifest;
mod restore_binding;
mod restore_log;
mod run;
mod seal;
mod stream_span;
mod tombstone;
mod vault;

pub use audit::{Audit, AuditDepth, Fault, audit_run};
pub use audit_chain::{AuditedDelta, ChainAudit, audit_chain};
pub use chain::{Chain, Link};
pub use commit::{prepare_commit, prepare_delta, publish};
pub use cut::{Cut, Moment, Window};
pub use delta::{Delta, DeltaEntry, DeltaManifest, DeltaTotals, Parent, RecordFileMark, ShardSlice};
pub use file_entry::{ENTRY_METADATA, FileEntry, ReadCost, StoredFile};
pub use file_list::{read_delta_list, read_file_list, write_file_list};
pub use gap::ChainGap;
pub use ids::{FileId, RunId};
pub use journal::{read_journal, write_journal};
pub use layout::{FileListId, RunObject, RunPath, TableObject, TablePath};
pub use lease::{Lease, LeaseStatus, TIME_TO_LIVE as LEASE_TIME_TO_LIVE, lease_status};
pub use lease_keeper::LeaseKeeper;
pub use manifest::{
    Compacted, Consistency, FORMAT_VERSION, FileListReference, Manifest, RunKind, Source, TOOL, Totals,
};
pub use restore_binding::{CutBinding, RestoreBinding};
pub use restore_log::{DoneUnit, FinishedRestore, RestoreLog, RowCounts, StartedRestore, UnitId};
pub use run::{RESUME_WINDOW, RunState, StartedRun, find_chains, find_runs, read_run, run_paths};
pub use stream_span::{ShardPlace, ShardProgress, StreamIdentity, StreamSpan};
pub use tombstone::{hidden_runs, hide_run};
pub use vault::Vault;
