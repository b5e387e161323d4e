//! Which operation of the service a scan reads its pages with.
//!
//! GetRange gives every version of every cell with its timestamp. BulkExport is billed by the byte instead of in capacity
//! units, and gives the newest version of each column. In PlainBuffer blocks, the only ones that a scan asks for, that is everything
//! if the table keeps one version and the blocks carry timestamps; a row matrix has none and is never used. No
//! documentation promises the timestamps, nor all columns where none is named, so a trial must have shown them.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;

use super::scan::Scan;
use crate::model::{KeyRange, Row};
use crate::plainbuffer::{BlockFormat, RowReader, encode_row};
use crate::runtime::CpuPool;
use crate::tablestore::RangeRequest;
use crate::{Error, Kind, Result};

/// How rows are read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ReadApi {
    /// GetRange, which every table has.
    #[default]
    GetRange,
    /// BulkExport; an error where it would lose something.
    BulkExport,
    /// BulkExport where it loses nothing, otherwise GetRange.
    Auto,
}

impl ReadApi {
    const NAMES: [(&str, ReadApi); 3] =
        [("get-range", ReadApi::GetRange), ("bulk-export", ReadApi::BulkExport), ("auto", ReadApi::Auto)];
}

impl FromStr for ReadApi {
    type Err = String;

    fn from_str(text: &str) -> Result<ReadApi, String> {
        let known = ReadApi::NAMES.into_iter().find(|(name, _)| *name == text);
        known.map(|(_, api)| api).ok_or_else(|| "expected get-range, bulk-export or auto".to_owned())
    }
}

impl fmt::Display for ReadApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = ReadApi::NAMES.into_iter().find(|(_, api)| api == self);
        f.write_str(named.map_or("", |(name, _)| name))
    }
}

/// Ranges whose first rows are read both ways, how many rows of each, and how often where the two differ, which rows
/// that are written meanwhile do.
const TRIAL_RANGES: usize = 4;
const TRIAL_ROWS: i32 = 200;
const TRIAL_ROUNDS: u32 = 3;

/// Whether the scan shall read by BulkExport, and the capacity units that finding it out took.
///
/// # Errors
/// [`Kind::Unsupported`] when BulkExport was asked for and would lose something; whatever the service refused it with.
pub(super) async fn exports(
    asked: ReadApi,
    scan: &Scan,
    splits: &[KeyRange],
    cpu: &CpuPool,
) -> Result<(bool, u64)> {
    if asked == ReadApi::GetRange {
        return Ok((false, 0));
    }
    let mut units = 0;
    match try_export(scan, splits, cpu, &mut units).await {
        Ok(()) => Ok((true, units)),
        Err(error) if asked == ReadApi::Auto => {
            tracing::info!(table = scan.table(), %error, "reading by GetRange");
            Ok((false, units))
        }
        Err(error) => {
            Err(error.hint("`--read-api get-range` reads every table, `auto` decides by what a table keeps"))
        }
    }
}

async fn try_export(scan: &Scan, splits: &[KeyRange], cpu: &CpuPool, units: &mut u64) -> Result<()> {
    if scan.definition().options.max_versions != Some(1) {
        return Err(loses(scan, "it gives one version of each column, and the table may hold several"));
    }
    let step = splits.len().div_ceil(TRIAL_RANGES).max(1);
    for range in splits.iter().step_by(step) {
        let mut round = 1;
        while !is_same_both_ways(scan, range, cpu, units).await? {
            if round == TRIAL_ROUNDS {
                return Err(loses(scan, "it gives other rows than GetRange"));
            }
            round += 1;
        }
    }
    Ok(())
}

/// Whether the first rows of a range are the same by GetRange and by BulkExport.
async fn is_same_both_ways(scan: &Scan, range: &KeyRange, cpu: &CpuPool, units: &mut u64) -> Result<bool> {
    // For both bodies at once: who holds one and waits for another can wait for ever.
    let _permit = scan.pages.acquire(2 * scan.page_reserve()).await;
    let request = RangeRequest { limit: Some(TRIAL_ROWS), ..scan.request(range.clone()) };
    let plain = scan.client.get_range(&request).await?;
    *units += plain.read_capacity_units;
    let end = plain.next_start.clone().unwrap_or_else(|| range.end.clone());
    let exported = scan.client.bulk_export(&scan.export(&KeyRange { end, ..range.clone() })).await?;
    if exported.format != BlockFormat::PlainBuffer {
        return Err(loses(scan, "it gives row matrices, which have no timestamps"));
    }
    if exported.next_start.is_some() {
        return Ok(false);
    }
    cpu.run(move || same_rows(&plain.rows, &exported.rows)).await?
}

/// Whether two pages hold the same rows, each cell with its timestamp.
fn same_rows(plain: &Bytes, exported: &Bytes) -> Result<bool> {
    let corrupt = |error| Error::new(Kind::Corrupt, "decode a page of the trial").source(error);
    let (mut plain, mut exported) =
        (RowReader::new(plain).map_err(corrupt)?, RowReader::new(exported).map_err(corrupt)?);
    let (mut one, mut other) = (Row::default(), Row::default());
    loop {
        let more =
            (plain.next_row(&mut one).map_err(corrupt)?, exported.next_row(&mut other).map_err(corrupt)?);
        match more {
            (false, false) => return Ok(true),
            // Not `==`: a NaN is not equal to itself, its bits are.
            (true, true) if encode_row(&one) == encode_row(&other) => {}
            _ => return Ok(false),
        }
    }
}

fn loses(scan: &Scan, reason: &str) -> Error {
    Error::new(Kind::Unsupported, "read by BulkExport")
        .on(format!("table `{}`", scan.table()))
        .because(reason.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Cell, PrimaryKeyValue, Value};
    use crate::plainbuffer::{write_header, write_row};

    fn page(rows: &[(i64, Option<i64>)]) -> Bytes {
        let mut out = Vec::new();
        write_header(&mut out);
        for (key, timestamp) in rows {
            let key = vec![("k", PrimaryKeyValue::Integer(*key))];
            let cells = vec![Cell::put("a", Value::Double(f64::NAN), *timestamp)];
            write_row(&mut out, &Row { key, cells, ..Row::default() });
        }
        out.into()
    }

    #[test]
    fn an_export_without_a_timestamp_or_a_row_is_not_the_same() {
        let whole = page(&[(1, Some(5)), (2, Some(5))]);
        assert!(same_rows(&whole, &whole.clone()).unwrap());
        assert!(same_rows(&Bytes::new(), &Bytes::new()).unwrap());
        for other in [page(&[(1, Some(5)), (2, None)]), page(&[(1, Some(5))]), Bytes::new()] {
            assert!(!same_rows(&whole, &other).unwrap() && !same_rows(&other, &whole).unwrap());
        }
        assert_eq!(same_rows(&whole, &whole.slice(..30)).unwrap_err().kind(), Kind::Corrupt);
    }

    #[test]
    fn every_name_is_read_back() {
        for (name, api) in ReadApi::NAMES {
            assert_eq!((name.parse(), api.to_string().as_str()), (Ok(api), name));
        }
        assert!("matrix".parse::<ReadApi>().is_err());
    }
}
