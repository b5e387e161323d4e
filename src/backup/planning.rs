//! What a run will read: an unfinished one with what is left of it, or a new one.

use std::sync::Arc;

use jiff::Timestamp;

use super::scan::Scan;
use super::{Job, read_api, resume, sample, splits, tail};
use crate::Result;
use crate::catalog::{FORMAT_VERSION, FileEntry, RunId, RunPath, Source, StartedRun, TOOL};
use crate::columnar::ColumnPlan;
use crate::model::KeyRange;
use crate::objectstore::StorageClass;
use crate::stream::StreamReader;

/// A run with its plan made, new or taken up.
pub(super) struct Planned {
    pub path: RunPath,
    pub started: StartedRun,
    pub done: Vec<FileEntry>,
    pub splits: Vec<KeyRange>,
    pub estimated_bytes: u64,
    /// Pages come by BulkExport.
    pub exports: bool,
    /// The Stream at the places where the run began; `None` for a fuzzy base.
    pub reader: Option<StreamReader>,
    pub planning_capacity_units: u64,
}

impl Planned {
    /// All data files of a run have the same class, whatever a later attempt asks for.
    pub(super) fn storage_class(&self) -> Result<Option<StorageClass>> {
        self.started.storage_class.as_deref().map(str::parse).transpose()
    }
}

impl Job<'_> {
    /// Finds the run to go on with, or begins one. The places in the Stream are taken before any row is read.
    pub(super) async fn plan(&self, scan: &Scan) -> Result<Planned> {
        let store = &**self.vault.store();
        let stream = self.options.stream_wanted(&self.definition, &self.key_range)?;
        let bound = resume::Bound {
            table: &self.definition,
            key_range: &self.key_range,
            projection: self.projection.as_deref(),
            stream: stream.as_ref(),
        };
        let mut earlier = resume::look_back(store, &self.path, bound).await?;
        let mut reader = None;
        if let Some(start) = earlier.unfinished.as_ref().and_then(|(_, started)| started.stream.as_ref()) {
            reader =
                tail::resume(self.client, &self.definition, start, &self.memory, &self.runtime.cpu).await?;
            if reader.is_none() {
                earlier.unfinished = None;
            }
        }
        if stream.is_some() && reader.is_none() {
            reader = Some(tail::begin(self.client, &self.definition, &self.memory, &self.runtime.cpu).await?);
        }
        let mut splits =
            splits::plan_splits(self.client, &self.definition.name, &self.key_range, self.memory.concurrency)
                .await?;
        let _planning = self.shares.planning().await;
        let (exports, units) =
            read_api::exports(self.options.read_api, scan, &splits.ranges, &self.runtime.cpu).await?;
        splits.capacity_units += units;
        let Some((path, started)) = earlier.unfinished else {
            return self.plan_new(scan, splits, earlier.columns, exports, reader).await;
        };
        resume::abort_open_uploads(store, &path).await?;
        tail::remove_records(store, &path).await?;
        let plan = Arc::new(started.columns.clone());
        let done =
            resume::finished_entries(store, &path, &plan, &self.runtime.cpu, &self.shares.pages).await?;
        let left = self.key_range.minus(done.iter().map(|entry| &entry.range));
        let points: Vec<_> = splits.ranges.iter().map(|range| range.start.clone()).collect();
        Ok(Planned {
            path,
            started,
            done,
            splits: left.iter().flat_map(|range| range.split_at(points.iter().cloned())).collect(),
            estimated_bytes: splits.estimated_bytes,
            exports,
            reader,
            planning_capacity_units: splits.capacity_units,
        })
    }

    async fn plan_new(
        &self,
        scan: &Scan,
        splits: splits::Splits,
        previous: Option<ColumnPlan>,
        exports: bool,
        reader: Option<StreamReader>,
    ) -> Result<Planned> {
        let sample_bytes = (self.options.memory_bytes / 8).min(64 << 20);
        let (columns, cost) = sample::plan_columns(
            scan,
            &splits.ranges,
            previous.as_ref(),
            &self.runtime.cpu,
            self.writer_settings(&self.memory),
            sample_bytes,
        )
        .await?;
        let now = Timestamp::now();
        let run = RunId::new(now);
        let path = self.path.base(&run);
        let started = StartedRun {
            format_version: FORMAT_VERSION,
            tool: TOOL.to_owned(),
            chain: run.clone(),
            run,
            source: Source {
                instance: self.client.instance().to_owned(),
                endpoint: self.client.endpoint().to_owned(),
            },
            table: self.definition.clone(),
            key_range: self.key_range.clone(),
            projection: self.projection.clone(),
            storage_class: self.options.storage_class.map(|class| class.as_str().to_owned()),
            started_at: now,
            columns,
            stream: reader.as_ref().map(|reader| reader.span_from(reader.progress())),
        };
        started.write(&**self.vault.store(), &path).await?;
        Ok(Planned {
            path,
            started,
            done: Vec::new(),
            splits: splits.ranges,
            estimated_bytes: splits.estimated_bytes,
            exports,
            reader,
            planning_capacity_units: splits.capacity_units + cost.capacity_units,
        })
    }
}
