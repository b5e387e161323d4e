//! What was measured elsewhere: end to end with two processes (`benches/end_to_end.rs`, `benches/restore_flow.rs`), and
//! by other programs on the same pages (`benches/peers`). Both write a JSON object per line.

use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::median;
use crate::error::{Context, Error, Kind, Result};

/// One figure of a run end to end.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Figure {
    /// Its name, which a target knows.
    pub figure: String,
    /// Its value, in the unit that its name tells.
    pub value: f64,
    /// How it came about.
    #[serde(default)]
    pub detail: String,
}

/// What another program took for a data set.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct PeerTime {
    /// The program.
    pub peer: String,
    /// The data set; empty with a `skipped`.
    #[serde(default)]
    pub set: String,
    /// Up to where it worked: `decode`, `rows+lookup`, `decode+columns+parquet` …
    #[serde(default)]
    pub stage: String,
    /// CPU milliseconds, one per round.
    #[serde(default)]
    pub cpu_ms: Vec<f64>,
    /// Bytes of Parquet, if it wrote any.
    #[serde(default)]
    pub parquet_bytes: Option<u64>,
    /// What it was exactly.
    #[serde(default)]
    pub note: String,
    /// Why it was not measured.
    #[serde(default)]
    pub skipped: Option<String>,
}

impl PeerTime {
    /// The median round.
    pub fn milliseconds(&self) -> Option<f64> {
        median(self.cpu_ms.clone())
    }
}

/// The figures in `path`, a JSON object per line.
///
/// # Errors
/// `Io` if it cannot be read, `Usage` if a line is something else.
pub fn read_figures(path: &Path) -> Result<Vec<Figure>> {
    read_lines(path)
}

/// The times of other programs in `path`, a JSON object per line.
///
/// # Errors
/// As [`read_figures`].
pub fn read_peer_times(path: &Path) -> Result<Vec<PeerTime>> {
    read_lines(path)
}

fn read_lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    let on = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .doing(Kind::Io, "read figures")
        .map_err(|error| error.on(on.clone()))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(number, line)| {
            serde_json::from_str(line).map_err(|error| {
                Error::new(Kind::Usage, "read figures").on(format!("{on}, line {}", number + 1)).source(error)
            })
        })
        .collect()
}
