//! GetRange: pages of rows in key order.

use std::ops::ControlFlow;

use bytes::Bytes;

use super::generated::GeneratedTable;
use super::projection::{Asked, Projection};
use super::request_row::{KeyPlace, decode_row, owned_key};
use super::service_error::{Answer, ServiceError};
use super::table::{Table, capacity_units, data_size};
use crate::model::{KeyRange, PrimaryKey, Row};
use crate::{plainbuffer, proto};

/// Rows of one page (asserted by the Java SDK's tests).
const PAGE_ROWS: usize = 5_000;

/// Bytes scanned for one page, by the data-size rule ("GetRange" in the developer guide).
const PAGE_SIZE: usize = 4_194_304;

/// What a fault makes of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PageFault {
    /// Nothing.
    #[default]
    None,
    /// The next key is the page's own first key.
    RepeatNextKey,
    /// The checksum of the last row is wrong.
    BadRowChecksum,
    /// No rows, and the next key is where the page would have begun.
    Empty,
}

/// Answers a GetRange request at `now` (ms).
///
/// # Errors
/// `OTSParameterInvalid`, `OTSInvalidPK`.
pub fn get_range(
    table: &Table,
    request: &proto::GetRangeRequest,
    now: i64,
    fault: PageFault,
) -> Answer<proto::GetRangeResponse> {
    let projection = Projection::new(
        Asked {
            columns_to_get: &request.columns_to_get,
            time_range: request.time_range.as_ref(),
            max_versions: request.max_versions,
            filter: request.filter.as_deref(),
            start_column: request.start_column.as_deref(),
            end_column: request.end_column.as_deref(),
        },
        "No version condition is specified.",
    )?;
    if request.token.is_some() || request.transaction_id.is_some() {
        return Err(ServiceError::unsupported("paging inside a row, local transactions"));
    }
    let (mut start, mut end) = (Row::default(), Row::default());
    decode_row(&request.inclusive_start_primary_key, &mut start, KeyPlace::Bound)?;
    decode_row(&request.exclusive_end_primary_key, &mut end, KeyPlace::Bound)?;
    table.check_key(&start.key)?;
    table.check_key(&end.key)?;
    let range = KeyRange { start: owned_key(&start)?, end: owned_key(&end)? };
    let forward = match proto::Direction::try_from(request.direction) {
        Ok(direction) => direction == proto::Direction::Forward,
        Err(error) => return Err(ServiceError::parameter(format!("{error}."))),
    };
    if forward && range.start >= range.end {
        return Err(ServiceError::parameter("Begin key must less than end key in FORWARD"));
    }
    if !forward && range.start <= range.end {
        return Err(ServiceError::parameter("Begin key must more than end key in BACKWARD"));
    }
    let limit = match request.limit {
        None => PAGE_ROWS,
        Some(limit) if limit > 0 => PAGE_ROWS.min(limit as usize),
        // Own wording.
        Some(_) => return Err(ServiceError::parameter("The limit must be greater than 0.")),
    };
    let mut page = Page::new(table, &projection, limit, fault);
    if let Some(generated) = table.generated_rows()
        && projection.takes_everything(table.max_versions())
        && fault == PageFault::None
    {
        page.encode(generated, &range, forward);
    } else if forward {
        table.scan(&range, now, |row| page.visit(row));
    } else {
        table.scan_backward(&range.start, &range.end, now, |row| page.visit(row));
    }
    Ok(page.finish())
}

/// A page as it fills up.
struct Page<'t> {
    table: &'t Table,
    projection: &'t Projection<'t>,
    limit: usize,
    fault: PageFault,
    counts_timestamps: bool,
    body: Vec<u8>,
    rows: usize,
    scanned_rows: usize,
    scanned_size: usize,
    first: Option<PrimaryKey>,
    next: Option<PrimaryKey>,
}

impl<'t> Page<'t> {
    fn new(table: &'t Table, projection: &'t Projection<'t>, limit: usize, fault: PageFault) -> Page<'t> {
        Page {
            table,
            projection,
            limit,
            fault,
            counts_timestamps: table.counts_timestamps(),
            body: Vec::new(),
            rows: 0,
            scanned_rows: 0,
            scanned_size: 0,
            first: None,
            next: None,
        }
    }

    fn visit(&mut self, row: &mut Row<'_>) -> ControlFlow<()> {
        let size = data_size(row, self.counts_timestamps);
        if self.is_full_for(size) || self.fault == PageFault::Empty {
            self.next = PrimaryKey::from_row(&row.key);
            return ControlFlow::Break(());
        }
        self.scanned_rows += 1;
        self.scanned_size += size;
        if self.fault == PageFault::RepeatNextKey && self.first.is_none() {
            self.first = PrimaryKey::from_row(&row.key);
        }
        if self.projection.apply(row) {
            if self.body.is_empty() {
                plainbuffer::write_header(&mut self.body);
            }
            plainbuffer::write_row(&mut self.body, row);
            self.rows += 1;
        }
        ControlFlow::Continue(())
    }

    /// Whether a row of `size` bytes must wait for the next page.
    fn is_full_for(&self, size: usize) -> bool {
        self.rows == self.limit
            || self.scanned_rows == PAGE_ROWS
            || (self.scanned_rows > 0 && self.scanned_size + size > PAGE_SIZE)
    }

    /// Fills the page from a generated table without making rows of it first.
    fn encode(&mut self, generated: &GeneratedTable, range: &KeyRange, forward: bool) {
        let indexes = match forward {
            true => generated.rows_below(&range.start)..generated.rows_below(&range.end),
            false => generated.rows_up_to(&range.end)..generated.rows_up_to(&range.start),
        };
        let mut body = std::mem::take(&mut self.body);
        generated.encode(indexes, !forward, &mut body, |index, size, body| {
            if self.is_full_for(size) {
                self.next = Some(generated.key(index));
                return false;
            }
            if body.is_empty() {
                plainbuffer::write_header(body);
            }
            self.rows += 1;
            self.scanned_rows += 1;
            self.scanned_size += size;
            true
        });
        self.body = body;
    }

    fn finish(mut self) -> proto::GetRangeResponse {
        if self.fault == PageFault::BadRowChecksum
            && let Some(last) = self.body.last_mut()
        {
            *last ^= 1;
        }
        if self.first.is_some() {
            self.next = self.first;
        }
        let names = self.table.key_names();
        proto::GetRangeResponse {
            consumed: read_consumed(self.scanned_size),
            rows: Bytes::from(self.body),
            next_start_primary_key: self.next.map(|key| plainbuffer::encode_key(&names, &key).into()),
            next_token: None,
            data_block_type: Some(proto::DataBlockType::DbtPlainBuffer as i32),
            compress_type: Some(proto::CompressType::CptNone as i32),
        }
    }
}

/// Read capacity for `bytes` scanned.
pub fn read_consumed(bytes: usize) -> proto::ConsumedCapacity {
    let unit = proto::CapacityUnit { read: Some(capacity_units(bytes)), write: Some(0) };
    proto::ConsumedCapacity { capacity_unit: unit, capacity_data_size: None }
}
