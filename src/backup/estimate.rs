//! What a backup would take, from the service's split points and a few rows; writes nothing.

use std::sync::Arc;

use serde::Serialize;

use super::options::MemoryPlan;
use super::page_encoder::PageEncoder;
use super::page_reader::page;
use super::scan::Scan;
use super::{BackupOptions, Runtime, Shares, resume, sample, splits, until_stopped};
use crate::catalog::{RunId, Vault, read_journal};
use crate::columnar::Totals;
use crate::model::KeyRange;
use crate::parquet_file::WriterSettings;
use crate::tablestore::{RangeRequest, TableStore};
use crate::{Error, Kind, Result};

/// Splits whose head rows are read, and how many of each.
const HEADS: usize = 8;
const HEAD_ROWS: i32 = 500;

/// A page never has more rows or more bytes of data (service limits).
const PAGE_ROWS: u64 = 5_000;
const PAGE_BYTES: u64 = 4 << 20;

/// One capacity unit reads this many bytes; a page's are rounded up (service rule).
const CAPACITY_UNIT_BYTES: u64 = 4 << 10;

/// What a backup of one table would take. All but `sampled_rows` and `capacity_units_spent` are estimates: the service's
/// sizes are, and the rows of the sample stand for all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Estimate {
    /// Table name.
    pub table: String,
    /// The unfinished run that a backup would continue.
    pub resumes: Option<RunId>,
    /// Rows that this run has already.
    pub resumed_rows: u64,
    /// Whether the whole table was small enough to be counted.
    pub counted: bool,
    /// Key ranges at the start.
    pub ranges: usize,
    /// Workers.
    pub workers: usize,
    /// Rows.
    pub rows: u64,
    /// Bytes by the service's data-size rule.
    pub data_bytes: u64,
    /// GetRange requests.
    pub requests: u64,
    /// Read capacity units.
    pub capacity_units: u64,
    /// Bytes of response bodies.
    pub response_bytes: u64,
    /// Bytes of Parquet.
    pub stored_bytes: u64,
    /// Data files.
    pub files: u64,
    /// Rows that this estimate has read.
    pub sampled_rows: u64,
    /// Read capacity units that this estimate has taken.
    pub capacity_units_spent: u64,
}

/// Estimates what [`super::backup`] would take. Costs two ComputeSplitPointsBySize and up to eight small GetRange requests. An unfinished
/// run is looked for where there is a `vault`; its keys are not taken off the figures.
///
/// # Errors
/// As [`super::backup`], all that is about reading the table.
pub async fn estimate(
    client: &TableStore,
    table: &str,
    vault: Option<&Vault>,
    options: &BackupOptions,
    runtime: &Runtime,
) -> Result<Estimate> {
    options.check()?;
    until_stopped(&runtime.shutdown, table, estimate_table(client, table, vault, options, runtime)).await
}

async fn estimate_table(
    client: &TableStore,
    table: &str,
    vault: Option<&Vault>,
    options: &BackupOptions,
    runtime: &Runtime,
) -> Result<Estimate> {
    let definition = client.describe_table(table).await?.definition;
    let key_range = options.key_range(&definition.primary_key)?;
    let projection = options.projection(&definition.primary_key);
    let memory = options.memory_plan(0);
    let (mut resumes, mut resumed_rows) = (None, 0);
    if let Some(vault) = vault {
        let path = vault.table(client.instance(), table)?;
        let store = &**vault.store();
        let stream = options.stream_wanted(&definition, &key_range)?;
        let bound = resume::Bound {
            table: &definition,
            key_range: &key_range,
            projection: projection.as_deref(),
            stream: stream.as_ref(),
        };
        if let Some((run, _)) = resume::look_back(store, &path, bound).await?.unfinished {
            resumed_rows = read_journal(store, &run).await?.iter().map(|entry| entry.rows).sum();
            resumes = Some(run.run);
        }
    }
    let splits = splits::plan_splits(client, table, &key_range, memory.concurrency).await?;
    let shares = Shares::new(options);
    let scan = Scan::new(client.clone(), definition, projection, shares.pages);
    let sampled = Sampled::read(&scan, &splits.ranges, options, &memory, runtime).await?;
    let per_row =
        |bytes: u64, rows: u64| (bytes as f64 / sampled.totals.rows.max(1) as f64 * rows as f64) as u64;
    if !splits.known && !sampled.is_whole {
        return Err(Error::new(Kind::Permission, "estimate the size")
            .on(format!("of table `{table}`"))
            .because("the service computes no split points for this key")
            .hint("grant `ots:ComputeSplitPointsBySize`; a backup works without it"));
    }
    // What the service calls small is about half a unit.
    let data_bytes = match (sampled.is_whole, splits.estimated_bytes) {
        (true, _) => sampled.totals.logical_bytes,
        (false, 0) => splits::SMALLEST_UNIT / 2,
        (false, bytes) => bytes,
    };
    let row_bytes = (sampled.totals.logical_bytes as f64 / sampled.totals.rows.max(1) as f64).max(1.0);
    let rows = match sampled.is_whole {
        true => sampled.totals.rows,
        false => (data_bytes as f64 / row_bytes) as u64,
    };
    let page_rows = ((PAGE_BYTES as f64 / row_bytes) as u64).clamp(1, PAGE_ROWS);
    // The last page of each range is half full.
    let requests = rows.div_ceil(page_rows) + splits.ranges.len() as u64 / 2;
    let stored_bytes = per_row(sampled.stored_bytes, rows);
    let workers = super::workers::useful_workers(data_bytes.max(1), memory.concurrency);
    Ok(Estimate {
        table: table.to_owned(),
        resumes,
        resumed_rows,
        counted: sampled.is_whole,
        ranges: splits.ranges.len(),
        workers,
        rows,
        data_bytes,
        requests,
        capacity_units: data_bytes / CAPACITY_UNIT_BYTES + requests.div_ceil(2),
        response_bytes: per_row(sampled.body_bytes, rows),
        stored_bytes,
        files: match rows {
            0 => 0,
            _ => (stored_bytes / options.target_file_bytes).max(workers as u64),
        },
        sampled_rows: sampled.totals.rows,
        capacity_units_spent: splits.capacity_units + sampled.capacity_units,
    })
}

/// Head rows of some splits, and what they became.
struct Sampled {
    totals: Totals,
    body_bytes: u64,
    stored_bytes: u64,
    capacity_units: u64,
    /// There are no other rows.
    is_whole: bool,
}

impl Sampled {
    async fn read(
        scan: &Scan,
        splits: &[KeyRange],
        options: &BackupOptions,
        memory: &MemoryPlan,
        runtime: &Runtime,
    ) -> Result<Sampled> {
        let step = splits.len().div_ceil(HEADS).max(1);
        let mut is_whole = step == 1;
        let (mut heads, mut body_bytes, mut capacity_units) = (Vec::new(), 0, 0);
        for range in splits.iter().step_by(step) {
            let request = RangeRequest { limit: Some(HEAD_ROWS), ..scan.request(range.clone()) };
            let (page, _permit) = page(scan, &request).await?;
            body_bytes += page.body_bytes as u64;
            capacity_units += page.read_capacity_units;
            is_whole &= page.next_start.is_none();
            heads.push((range.clone(), page.rows));
        }
        let settings = WriterSettings {
            profile: options.encoding_profile,
            zstd_level: options.zstd_level,
            ..WriterSettings::default()
        };
        let (key, defined) = (scan.definition().primary_key.clone(), scan.defined_columns());
        let batch_bytes = memory.batch_bytes;
        let (totals, stored_bytes) = runtime
            .cpu
            .run(move || {
                let bodies: Vec<_> = heads.iter().map(|(_, rows)| rows.clone()).collect();
                let plan = Arc::new(sample::plan_of(&bodies, &key, &defined)?);
                let mut encoder = PageEncoder::new(plan, &settings, batch_bytes)?;
                for (range, rows) in &heads {
                    encoder.page(rows, range)?;
                }
                let totals = encoder.seal()?;
                Ok::<_, crate::Error>((totals, encoder.finish(Vec::new())?.bytes))
            })
            .await??;
        Ok(Sampled { totals, body_bytes, stored_bytes, capacity_units, is_whole })
    }
}
