//! What follows an exact base: deltas, and their files of records.

use std::collections::HashSet;

use futures::StreamExt;

use super::data_file::Reading;
use super::objects::check_record_objects;
use super::{Level, RunReport, VerifyOptions, VerifyProgress};
use crate::Result;
use crate::catalog::{Fault, Manifest, RunPath, TablePath, audit_chain};

/// What follows an exact base: the documents of its chain, and the files of records as data files are.
pub(super) async fn verify_chain(
    reading: &Reading,
    (table, base, manifest): (&TablePath, &RunPath, &Manifest),
    options: &VerifyOptions,
    progress: &VerifyProgress,
    report: &mut RunReport,
) -> Result<()> {
    let audit = audit_chain(reading.store(), table, base, manifest).await?;
    report.objects += audit.objects;
    report.deltas = audit.deltas.len().saturating_sub(1) as u64;
    report.records = audit.records;
    report.files += audit.files;
    report.faults.extend(audit.faults);
    let files = audit.deltas.iter().flat_map(|delta| delta.present.iter().map(move |entry| (delta, entry)));
    let files: Vec<_> = files.collect();
    let ids: Vec<_> = files.iter().map(|(_, entry)| entry.id).collect();
    let read = match options.level {
        Level::Quick | Level::Live | Level::Drill => HashSet::new(),
        Level::Sample => options.sample.choose(&ids),
        Level::Full => ids.into_iter().collect(),
    };
    let (read, others): (Vec<_>, Vec<_>) = files.into_iter().partition(|(_, entry)| read.contains(&entry.id));
    progress.plan((read.len() + others.len()) as u64);
    check_record_objects(reading, &others, progress, report).await?;
    let mut checks = futures::stream::iter(read)
        .map(|(delta, entry)| async move {
            let found = reading.check_records(&delta.path, entry, &delta.delta.columns).await;
            (delta.path.record_file(entry.id), entry, found)
        })
        .buffer_unordered(reading.files_at_once());
    while let Some((object, entry, found)) = checks.next().await {
        progress.file(entry.file.bytes, entry.records);
        match found {
            Ok(()) => {
                report.files_read += 1;
                report.bytes_read += entry.file.bytes;
            }
            Err(error) => report.faults.push(Fault::of(&object, error)?),
        }
    }
    Ok(())
}
