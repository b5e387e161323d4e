//! The mark of a gap: what follows a run is not what happened next.

use jiff::Timestamp;
use object_store::ObjectStore;
use serde::{Deserialize, Serialize};

use super::manifest::check_version;
use super::{FORMAT_VERSION, RunId, RunPath, TOOL, document};
use crate::{Error, Kind, Result};

/// Stream records that come after a run are gone: its chain ends there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainGap {
    /// 1.
    pub format_version: u32,
    /// Program and version that wrote it.
    pub tool: String,
    /// The last run before the gap.
    pub after: RunId,
    /// When it was found.
    pub found_at: Timestamp,
    /// Why records are gone.
    pub reason: String,
}

impl ChainGap {
    /// Of a gap that was found behind a run.
    pub fn after(run: &RunId, error: &Error) -> ChainGap {
        ChainGap {
            format_version: FORMAT_VERSION,
            tool: TOOL.to_owned(),
            after: run.clone(),
            found_at: Timestamp::now(),
            reason: error.one_line(),
        }
    }

    /// Writes it beside the manifest of the run. From here on nobody looks for records that follow.
    ///
    /// # Errors
    /// [`Kind::AlreadyExists`] where another one is.
    pub async fn write(&self, store: &dyn ObjectStore, path: &RunPath) -> Result<()> {
        document::create(store, &path.gap(), document::to_bytes(self)?).await
    }

    /// The gap behind a run; `None` where none was marked.
    pub(super) async fn read(store: &dyn ObjectStore, path: &RunPath) -> Result<Option<ChainGap>> {
        let object = path.gap();
        let Some(bytes) = document::read(store, &object, document::LARGEST_DOCUMENT).await? else {
            return Ok(None);
        };
        check_version(&bytes)
            .map_err(|error| Error::new(error.kind(), "use").on(format!("`{object}`")).source(error))?;
        document::parse(&object, &bytes).map(Some)
    }

    /// The error of somebody who wants what follows.
    pub fn refusal(&self, table: &str) -> Error {
        Error::new(Kind::Gap, "append a delta")
            .on(format!("of table `{table}`"))
            .because(format!(
                "a gap behind run {} was found at {:.0}: {}",
                self.after, self.found_at, self.reason
            ))
            .hint("make a new base: `otsvault backup`; restores to moments before the gap stay exact")
    }
}
