//! Reads the Stream while the table is scanned: what makes a base exact.
//!
//! The order is the point. The places in the Stream are taken before the first row is asked for, and records are read from
//! there while the scan runs, since a scan can take longer than the Stream keeps them. After the last page everything
//! is read that was committed by then. Whatever a row was when the scan saw it, the records that follow make it what it was at
//! the end.

use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use object_store::ObjectStore;
use tokio::time::sleep;

use super::options::MemoryPlan;
use crate::catalog::{DeltaEntry, RunPath, StreamSpan};
use crate::model::TableDefinition;
use crate::runtime::{CpuPool, Shutdown};
use crate::stream::{Fence, RecordFileSettings, RecordFiles, StreamReader, StreamStart, system_clock};
use crate::tablestore::{StreamSetting, TableStore, TableUpdate};
use crate::{Kind, Result};

/// Between two looks at a Stream that has nothing new.
const IDLE: Duration = Duration::from_millis(500);

/// How long a Stream that is being enabled is waited for, in steps of a second.
const STEPS_TO_ENABLED: u32 = 120;

/// The part of the Stream that was read, and its files.
pub(super) type Tailed = (StreamSpan, Vec<DeltaEntry>);

/// The Stream of the table from before the scan on.
pub(super) struct Tail {
    reader: StreamReader,
    files: RecordFiles,
    start: StreamSpan,
    settle: Duration,
}

/// Enables the Stream of a table that has none.
pub(super) async fn enable(client: &TableStore, table: &str, hours: i32) -> Result<()> {
    tracing::info!(table, hours, "enabling the Stream");
    let on = StreamSetting::On { expiration_hours: hours, columns: Vec::new() };
    client.update_table(table, TableUpdate { stream: Some(on), ..TableUpdate::default() }).await
}

/// Takes the places of a new run.
pub(super) async fn begin(
    client: &TableStore,
    table: &TableDefinition,
    memory: &MemoryPlan,
    cpu: &CpuPool,
) -> Result<StreamReader> {
    let mut step = 0;
    loop {
        let begun = StreamReader::begin(client, table, StreamStart::Now, cpu.clone(), system_clock()).await;
        match begun {
            // It is still being enabled.
            Err(error) if error.kind() == Kind::Unavailable && step < STEPS_TO_ENABLED => {
                step += 1;
                sleep(Duration::from_secs(1)).await;
            }
            begun => return begun.map(|reader| reader.with_pages_in_flight(memory.stream_pages)),
        }
    }
}

/// Takes up the places of an unfinished run; `None` when records since then may be gone, so that the run can never be exact.
pub(super) async fn resume(
    client: &TableStore,
    table: &TableDefinition,
    start: &StreamSpan,
    memory: &MemoryPlan,
    cpu: &CpuPool,
) -> Result<Option<StreamReader>> {
    match StreamReader::resume(client, table, start, cpu.clone(), system_clock()).await {
        Ok(reader) => Ok(Some(reader.with_pages_in_flight(memory.stream_pages))),
        Err(error) if error.kind() == Kind::Gap => {
            tracing::warn!(%error, "an unfinished run is too old for its Stream; a new one begins");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Removes the records that an earlier attempt stored: they are all read again, from the places where the run began.
pub(super) async fn remove_records(store: &dyn ObjectStore, run: &RunPath) -> Result<()> {
    let prefix = run.records();
    let listed: Vec<_> = store
        .list(Some(&prefix))
        .try_collect()
        .await
        .map_err(|error| super::resume::read_failed(&prefix, error))?;
    for object in listed {
        super::resume::delete(store, &object.location).await?;
    }
    Ok(())
}

impl Tail {
    /// `reader` stands at the places of `start`. `settle`: how long the service may take to show a committed record in the Stream.
    pub(super) fn new(
        reader: StreamReader,
        start: &StreamSpan,
        files: RecordFileSettings,
        settle: Duration,
        cpu: &CpuPool,
    ) -> Tail {
        Tail { reader, files: RecordFiles::new(files, cpu.clone()), start: start.clone(), settle }
    }

    /// Reads along until the last page is `scanned`, and then up to there. Gives the part of the Stream that was read and its files.
    ///
    /// # Errors
    /// [`Kind::Gap`] when records are gone, or table or Stream are other ones by now.
    pub(super) async fn read(mut self, scanned: &Shutdown) -> Result<Tailed> {
        while scanned.requested().is_none() {
            let anything = self.reader.pass(&mut self.files).await?;
            if !anything {
                tokio::select! {
                    () = sleep(IDLE) => {}
                    _ = scanned.wait() => {}
                }
            }
        }
        self.reader.drain(Fence::now(self.settle), &mut self.files).await?;
        let span = self.reader.span_from(self.start.to);
        tracing::info!(records = self.files.records(), "the Stream is read up to the end of the scan");
        Ok((span, self.files.finish().await?))
    }
}

/// What the files of delta 0 are like.
pub(super) fn record_files(context: &super::RunContext) -> RecordFileSettings {
    let memory = &context.memory;
    RecordFileSettings {
        store: context.store.clone(),
        run: context.run.clone(),
        columns: Arc::clone(&context.plan),
        writer: RecordFileSettings::writer(&context.settings),
        storage_class: context.storage_class,
        file_bytes: memory.record_bytes,
        part_bytes: memory.part_bytes,
    }
}
