//! What a vault no longer needs: [`cleanup`] of what dead runs left behind, [`expire`] of backups by a policy.
//!
//! Promises:
//! - Nothing is removed that was not shown: a plan is made by a pure function from what the store holds, and doing it is a
//!   second step, under the table's lease, from a plan made again.
//! - Never an object of a live run, never one that a committed run needs, never one whose name is not ours.
//! - A listing that fails is an error, never an empty one; whether a run is committed is asked of its manifest, not of a listing.
//! - A run is hidden before the first of its objects goes, and stays hidden until the last has gone. A removal that is
//!   killed halfway leaves nothing that looks like a backup, and the next one finishes it.

mod cleanup;
mod expire;
mod removal;
mod stored;

pub use cleanup::plan::{
    CleanupPlan, DeadRun, LeftAlone, Loose, Orphan, RunStanding, StaleUpload, SurveyedRun, TableSurvey,
    plan_cleanup,
};
pub use cleanup::{Cleanup, cleanup};
pub use expire::policy::{Decision, KeepPolicy, Point, Reason, decide, decide_named};
pub use expire::{Expired, Expiry, Judged, expire};
pub use stored::Stored;
