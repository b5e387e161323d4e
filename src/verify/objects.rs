//! Whether data objects are the right ones, without reading them: by the CRC64 that the store keeps or, where it keeps
//! none, by what their footers say.

use futures::StreamExt;
use object_store::path::Path;

use super::data_file::Reading;
use super::{RunReport, VerifyProgress};
use crate::catalog::{AuditedDelta, DeltaEntry, Fault, FileEntry, RunPath, StoredFile};
use crate::objectstore::error_of;
use crate::{Error, Kind, Result};

/// Requests at the same time: 10,000 files take 8 s at 50 ms each.
const REQUESTS_IN_FLIGHT: usize = 64;

/// How an object was recognised.
enum Recognised {
    ByCrc64,
    ByFooter,
}

pub(super) async fn check_objects(
    reading: &Reading,
    path: &RunPath,
    entries: &[FileEntry],
    progress: &VerifyProgress,
    report: &mut RunReport,
) -> Result<()> {
    let mut checks = futures::stream::iter(entries)
        .map(|entry| async move { (entry, check_object(reading, path, entry).await) })
        .buffer_unordered(REQUESTS_IN_FLIGHT);
    while let Some((entry, found)) = checks.next().await {
        progress.looked();
        match found {
            Ok(Recognised::ByCrc64) => report.files_by_crc64 += 1,
            Ok(Recognised::ByFooter) => report.files_by_footer += 1,
            Err(error) => report.faults.push(Fault::of(&path.data_file(entry.id), error)?),
        }
    }
    Ok(())
}

async fn check_object(reading: &Reading, path: &RunPath, entry: &FileEntry) -> Result<Recognised> {
    let Some(stored) = &entry.file else { return Ok(Recognised::ByFooter) };
    let by_footer = async { reading.open_by_footer(path, entry).await.map(drop) };
    recognise(reading, &path.data_file(entry.id), stored, by_footer).await
}

/// The same for the files of records of a chain.
pub(super) async fn check_record_objects(
    reading: &Reading,
    deltas: &[(&AuditedDelta, &DeltaEntry)],
    progress: &VerifyProgress,
    report: &mut RunReport,
) -> Result<()> {
    let mut checks = futures::stream::iter(deltas)
        .map(|(audited, entry)| async move {
            let object = audited.path.record_file(entry.id);
            let by_footer = reading.check_records_footer(&audited.path, entry, &audited.delta.columns);
            (recognise(reading, &object, &entry.file, by_footer).await, object)
        })
        .buffer_unordered(REQUESTS_IN_FLIGHT);
    while let Some((found, object)) = checks.next().await {
        progress.looked();
        match found {
            Ok(Recognised::ByCrc64) => report.files_by_crc64 += 1,
            Ok(Recognised::ByFooter) => report.files_by_footer += 1,
            Err(error) => report.faults.push(Fault::of(&object, error)?),
        }
    }
    Ok(())
}

async fn recognise(
    reading: &Reading,
    object: &Path,
    stored: &StoredFile,
    by_footer: impl Future<Output = Result<()>>,
) -> Result<Recognised> {
    let found = reading.store().stored_content(object).await.map_err(|error| {
        let lower = error_of(error);
        Error::new(lower.kind(), "look at a file").source(lower)
    })?;
    let differs = |reason: String| Err(Error::new(Kind::Verification, "recognise it").because(reason));
    if found.bytes != stored.bytes {
        return differs(format!("it has {} bytes, not {}", found.bytes, stored.bytes));
    }
    match found.crc64 {
        Some(crc64) if format!("{crc64:016x}") == stored.crc64 => Ok(Recognised::ByCrc64),
        Some(crc64) => differs(format!("its CRC64 is {crc64:016x}, not {}", stored.crc64)),
        None => by_footer.await.map(|()| Recognised::ByFooter),
    }
}
