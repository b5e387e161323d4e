//! What things cost: every stage of a backup and a restore on one core, on the sandbox's tables, against copying the same
//! bytes, against Parquet's own writer, and against what other programs take for them.
//!
//! Times are CPU times of the measuring thread. Stages take turns within a round, so that whatever else the machine does
//! meets all of them alike; what is told of several rounds is the median, of two stages the median of the rounds' ratios.
//! `otsvault bench` prints it; the files of `benches/` measure single parts in more detail.

mod backward;
mod data_set;
mod default_writer;
mod figures;
mod forward;
mod pages;
mod records;
mod stage;
mod targets;
mod turns;

pub use backward::backward;
pub use data_set::{DATA_SETS, DataSet};
pub use figures::{Figure, PeerTime, read_figures, read_peer_times};
pub use forward::{Forward, forward, walk};
pub use pages::Pages;
pub use records::records;
pub use stage::Stage;
pub use targets::{Measurements, Target, Verdict, targets};
pub use turns::{Measured, Turns, cpu_time, median};
