//! The sample that decides, once per base, which columns are promoted and how they are encoded.

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};

use super::range_task::DAMAGED_PAGES;
use super::scan::Scan;
use crate::columnar::{BatchBuilder, ColumnPlan, Sample};
use crate::model::{DefinedColumn, KeyRange, PrimaryKeyColumn, Row};
use crate::parquet_file::{WriterSettings, choose_encodings};
use crate::plainbuffer::RowReader;
use crate::runtime::CpuPool;
use crate::tablestore::{Page, RangeRequest};
use crate::{Error, Kind, Result};

/// Rows to look at where there are that many. A few thousand are too few to tell a dictionary that pays from one that
/// does not.
const SAMPLE_ROWS: u64 = 20_000;

/// Heads of at most this many splits are read.
const SAMPLE_SPLITS: usize = 64;

/// Requests at the same time.
const REQUESTS_IN_FLIGHT: usize = 8;

/// What planning cost.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct SampleCost {
    pub rows: u64,
    pub capacity_units: u64,
}

/// Reads the head rows of splits spread over the key space and plans the columns; those of the `previous` base stay. Bodies
/// are kept until they add up to `memory_bytes`; a table of 2 MB cells is sampled with fewer rows.
pub(super) async fn plan_columns(
    scan: &Scan,
    splits: &[KeyRange],
    previous: Option<&ColumnPlan>,
    cpu: &CpuPool,
    settings: WriterSettings,
    memory_bytes: u64,
) -> Result<(ColumnPlan, SampleCost)> {
    let mut cost = SampleCost::default();
    let mut sample = Sample::default();
    if let Some(previous) = previous {
        sample.keep(previous);
    }
    let mut pages: Vec<Bytes> = Vec::new();
    let mut page_bytes = 0;
    let step = splits.len().div_ceil(SAMPLE_SPLITS).max(1);
    let mut heads: Vec<KeyRange> = splits.iter().step_by(step).cloned().collect();
    // Further rounds go on where the heads ended, until there are rows enough or no more.
    while !heads.is_empty() && cost.rows < SAMPLE_ROWS && page_bytes < memory_bytes {
        let limit = (SAMPLE_ROWS - cost.rows).div_ceil(heads.len() as u64);
        let limit = i32::try_from(limit).unwrap_or(i32::MAX);
        let mut answers = futures::stream::iter(std::mem::take(&mut heads))
            .map(|range| head_page(scan, cpu, range, limit))
            .buffered(REQUESTS_IN_FLIGHT);
        let mut round = Vec::new();
        while page_bytes < memory_bytes
            && let Some((range, page)) = answers.try_next().await?
        {
            cost.capacity_units += page.read_capacity_units;
            page_bytes += page.rows.len() as u64;
            round.push(page.rows);
            heads.extend(page.next_start.map(|next| KeyRange { start: next, end: range.end }));
        }
        pages.extend(round.iter().cloned());
        let (seen, rows) = cpu.run(move || observe(sample, &round)).await??;
        sample = seen;
        cost.rows += rows;
    }
    let batch_bytes = usize::try_from(memory_bytes).unwrap_or(usize::MAX);
    let (primary_key, defined) = (scan.definition().primary_key.clone(), scan.defined_columns());
    let plan = cpu
        .run(move || {
            let plan = sample.plan(&primary_key, &defined)?;
            let mut rows = BatchBuilder::unsummed(Arc::new(plan.clone()));
            // The whole sample of a table with many columns would be larger than its pages: mostly nulls.
            each_row(&pages, |row| if rows.bytes() < batch_bytes { rows.append(row) } else { Ok(()) })?;
            choose_encodings(&[rows.finish()?.record_batch], &plan, &settings)
        })
        .await??;
    Ok((plan, cost))
}

/// The plan that fits these pages, with the encodings left as they are.
pub(super) fn plan_of(
    pages: &[Bytes],
    primary_key: &[PrimaryKeyColumn],
    defined: &[DefinedColumn],
) -> Result<ColumnPlan> {
    observe(Sample::default(), pages)?.0.plan(primary_key, defined)
}

/// The first page of a range, whole: one that arrives damaged is asked for again, [`DAMAGED_PAGES`] times.
async fn head_page(scan: &Scan, cpu: &CpuPool, range: KeyRange, limit: i32) -> Result<(KeyRange, Page)> {
    // Given back on return: what is kept is counted by the caller.
    let _permit = scan.pages.acquire(scan.page_reserve()).await;
    let request = RangeRequest { limit: Some(limit), ..scan.request(range.clone()) };
    let mut damaged = 0;
    let mut capacity_units = 0;
    loop {
        let mut page = scan.client.get_range(&request).await?;
        scan.saw_page(page.body_bytes);
        capacity_units += page.read_capacity_units;
        let rows = page.rows.clone();
        match cpu.run(move || each_row(&[rows], |_| Ok(()))).await? {
            Ok(()) => {
                page.read_capacity_units = capacity_units;
                return Ok((range, page));
            }
            Err(error) if error.kind() == Kind::Corrupt && damaged < DAMAGED_PAGES => {
                damaged += 1;
                tracing::warn!(%error, damaged, "reading a sampled page again");
            }
            Err(error) => return Err(error),
        }
    }
}

fn observe(mut sample: Sample, pages: &[Bytes]) -> Result<(Sample, u64)> {
    let mut rows = 0;
    each_row(pages, |row| {
        sample.observe(row);
        rows += 1;
        Ok(())
    })?;
    Ok((sample, rows))
}

fn each_row(pages: &[Bytes], mut visit: impl FnMut(&Row<'_>) -> Result<()>) -> Result<()> {
    let corrupt = |error| Error::new(Kind::Corrupt, "decode a sampled page").source(error);
    for page in pages {
        let mut reader = RowReader::new(page).map_err(corrupt)?;
        let mut row = Row::default();
        while reader.next_row(&mut row).map_err(corrupt)? {
            visit(&row)?;
        }
    }
    Ok(())
}
