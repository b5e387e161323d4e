//! GetRange: one page of rows.

use bytes::Bytes;

use super::TableStore;
use super::call::{Operation, Target};
use super::failure::BoxError;
use crate::model::{KeyRange, PrimaryKey};
use crate::plainbuffer::{BlockFormat, BlockReader, DecodeError, decode_named_key, encode_key};
use crate::{Result, proto};

const OPERATION: Operation =
    Operation { name: "GetRange", doing: "read a page of", idempotent: true, data: true, required: &[1, 2] };

/// Which way a scan goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Direction {
    /// Ascending: `start` is below `end`.
    #[default]
    Forward,
    /// Descending: `start` is above `end`.
    Backward,
}

/// Which cell versions are wanted, by their timestamps in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeRange {
    /// From `start` (inclusive) to `end` (exclusive).
    Between {
        /// First timestamp inside.
        start: i64,
        /// First timestamp outside.
        end: i64,
    },
    /// This timestamp alone. The service wants no `max_versions` with it.
    At(i64),
}

impl TimeRange {
    pub(super) fn into_message(self) -> proto::TimeRange {
        match self {
            TimeRange::Between { start, end } => {
                proto::TimeRange { start_time: Some(start), end_time: Some(end), specific_time: None }
            }
            TimeRange::At(time) => proto::TimeRange { specific_time: Some(time), ..Default::default() },
        }
    }
}

/// What to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangeRequest {
    /// Table name.
    pub table: String,
    /// Names of all primary key columns, in key order.
    pub key_names: Vec<String>,
    /// First key, inclusive: a bound, or the `next_start` of the page before.
    pub start: PrimaryKey,
    /// Last bound, exclusive.
    pub end: PrimaryKey,
    /// Which way.
    pub direction: Direction,
    /// Attribute columns wanted. Empty: all, which is the only way to see rows that have none of the named ones.
    pub columns: Vec<String>,
    /// Versions per column, newest first; `i32::MAX` reads all. One of this and `time_range` is required.
    pub max_versions: Option<i32>,
    /// Versions by timestamp.
    pub time_range: Option<TimeRange>,
    /// Rows per page, at most; a page never has more than 5,000 rows or 4 MB of data (service limit).
    pub limit: Option<i32>,
}

impl RangeRequest {
    /// Everything in `range`: all columns, all versions, ascending.
    pub fn everything(table: &str, key_names: Vec<String>, range: KeyRange) -> RangeRequest {
        RangeRequest {
            table: table.to_owned(),
            key_names,
            start: range.start,
            end: range.end,
            direction: Direction::Forward,
            columns: Vec::new(),
            max_versions: Some(i32::MAX),
            time_range: None,
            limit: None,
        }
    }

    fn message(&self) -> proto::GetRangeRequest {
        proto::GetRangeRequest {
            table_name: self.table.clone(),
            direction: match self.direction {
                Direction::Forward => proto::Direction::Forward,
                Direction::Backward => proto::Direction::Backward,
            }
            .into(),
            columns_to_get: self.columns.clone(),
            time_range: self.time_range.map(TimeRange::into_message),
            max_versions: self.max_versions,
            limit: self.limit,
            inclusive_start_primary_key: encode_key(&self.key_names, &self.start).into(),
            exclusive_end_primary_key: encode_key(&self.key_names, &self.end).into(),
            ..Default::default()
        }
    }
}

/// The next key must lead on, or a scan would read the same page for ever or leave its range.
pub(super) fn check_next(
    bytes: &[u8],
    key_names: &[String],
    (start, end): (&PrimaryKey, &PrimaryKey),
    direction: Direction,
) -> Result<PrimaryKey, BoxError> {
    let (names, next) = decode_named_key(bytes)?;
    if !names.iter().eq(key_names.iter()) {
        return Err("the next key has other columns than the table".into());
    }
    if next == *start {
        return Err("the page repeats its next key".into());
    }
    let leads_on = match direction {
        Direction::Forward => next > *start && next < *end,
        Direction::Backward => next < *start && next > *end,
    };
    match leads_on {
        true => Ok(next),
        false => Err("the next key is outside the range".into()),
    }
}

/// One page, undecoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Rows in key order, a slice of the response body. Empty if the page has no rows, which is not the end of the
    /// range: look at `next_start`.
    pub rows: Bytes,
    /// How the rows are written.
    pub format: BlockFormat,
    /// Where the next page starts, inclusive; strictly inside the range and beyond this page's start. `None` at the
    /// end of the range.
    pub next_start: Option<PrimaryKey>,
    /// Read capacity units consumed; 0 for an export.
    pub read_capacity_units: u64,
    /// Bytes of data read, where the service counts those: for an export.
    pub read_data_bytes: u64,
    /// Bytes of the response body; `rows` keeps all of it in memory.
    pub body_bytes: usize,
    /// Request id, for errors found in the rows later.
    pub request_id: Option<String>,
}

impl Page {
    /// Starts to read the rows.
    pub fn reader(&self) -> Result<BlockReader<'_>, DecodeError> {
        BlockReader::new(self.format, &self.rows)
    }
}

impl TableStore {
    /// Reads one page.
    ///
    /// The rows are not parsed here, so this costs no CPU worth mentioning, and the next page can be requested before
    /// they are.
    ///
    /// # Errors
    /// `NotFound` if the table is gone. `Corrupt` if the next key does not lead on.
    pub async fn get_range(&self, request: &RangeRequest) -> Result<Page> {
        self.call(
            &OPERATION,
            Target::Table(&request.table),
            &request.message(),
            |answer: proto::GetRangeResponse, origin| {
                if answer.data_block_type() != proto::DataBlockType::DbtPlainBuffer
                    || answer.compress_type.is_some_and(|compression| compression != 0)
                {
                    return Err("the rows are not in the format that was asked for".into());
                }
                let next_start = answer.next_start_primary_key.as_deref().filter(|key| !key.is_empty());
                origin.skip_md5.set(next_start.is_some());
                let bounds = (&request.start, &request.end);
                Ok(Page {
                    next_start: next_start
                        .map(|key| check_next(key, &request.key_names, bounds, request.direction))
                        .transpose()?,
                    read_capacity_units: origin.read_units(&answer.consumed),
                    read_data_bytes: read_data_bytes(&answer.consumed),
                    rows: answer.rows,
                    format: BlockFormat::PlainBuffer,
                    body_bytes: origin.body_bytes,
                    request_id: origin.request_id.map(str::to_owned),
                })
            },
        )
        .await
    }
}

pub(super) fn read_data_bytes(consumed: &proto::ConsumedCapacity) -> u64 {
    consumed.capacity_data_size.and_then(|size| u64::try_from(size.read_size()).ok()).unwrap_or(0)
}
