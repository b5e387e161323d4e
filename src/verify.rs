//! Proving that what a vault holds is what its manifest says.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStoreExt;
use sha2::{Digest, Sha256};

use crate::catalog::{FileEntry, Manifest, RunPath, Vault, read_file_list};
use crate::columnar::ColumnPlan;
use crate::objectstore::error_of;
use crate::parquet_file::{Contents, FileReader, ReadLimits, read_contents};
use crate::runtime::CpuPool;
use crate::{Error, Kind, Result};

/// Files that are read at the same time.
const FILES_IN_FLIGHT: usize = 2;

/// Reads every byte of a committed run back: the file list against the manifest, each object's SHA-256, each row's
/// key against the file's interval, counts and row-sums against the entry. Returns what the rows add up to.
///
/// Holds up to two whole files in memory.
///
/// # Errors
/// [`Kind::Verification`] naming the file that differs.
pub async fn read_back(
    vault: &Vault,
    path: &RunPath,
    manifest: &Manifest,
    cpu: &CpuPool,
) -> Result<Contents> {
    let entries = read_file_list(&**vault.store(), path, manifest).await?;
    let plan = Arc::new(manifest.columns.clone());
    futures::stream::iter(entries)
        .map(|entry| check_file(vault, path, entry, plan.clone(), cpu))
        .buffer_unordered(FILES_IN_FLIGHT)
        .try_fold(Contents::default(), |mut total, found| async move {
            total.rows += found.rows;
            total.cells += found.cells;
            total.row_sum += found.row_sum;
            Ok(total)
        })
        .await
}

async fn check_file(
    vault: &Vault,
    path: &RunPath,
    entry: FileEntry,
    plan: Arc<ColumnPlan>,
    cpu: &CpuPool,
) -> Result<Contents> {
    let Some(stored) = entry.file.clone() else {
        return Ok(Contents::default());
    };
    let object = path.data_file(entry.id);
    let differs =
        |reason: String| Error::new(Kind::Verification, "verify").on(format!("`{object}`")).because(reason);
    let failed = |error| {
        let lower = error_of(error);
        Error::new(lower.kind(), "read").on(format!("`{object}`")).source(lower)
    };
    let found = vault.store().get(&object).await.map_err(failed)?;
    // Before its bytes are in memory.
    if found.meta.size != stored.bytes {
        return Err(differs(format!("it has {} bytes, not {}", found.meta.size, stored.bytes)));
    }
    let body = found.bytes().await.map_err(failed)?;
    let expected = Contents { rows: entry.rows, cells: entry.cells, row_sum: entry.row_sum };
    let found = cpu
        .run(move || {
            let sha256 = hex::encode(Sha256::digest(&body));
            let file = FileReader::open(body, &plan, &ReadLimits::default())?;
            Ok::<_, Error>((sha256, read_contents(&file, &plan, &entry.range)?))
        })
        .await?;
    let (sha256, found) = found.map_err(|error| differs("it does not decode".to_owned()).source(error))?;
    if sha256 != stored.sha256 {
        return Err(differs("its SHA-256 is another one".to_owned()));
    }
    if found != expected {
        return Err(differs(format!("it holds {} rows, row-sum {}", found.rows, found.row_sum)));
    }
    Ok(found)
}
