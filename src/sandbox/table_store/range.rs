//! GetRange and BulkExport: pages of rows in key order.

use std::ops::ControlFlow;

use bytes::Bytes;

use super::block::Block;
use super::generated::GeneratedTable;
use super::instance::Instance;
use super::projection::Projection;
use super::request_row::{KeyPlace, decode_row, owned_key};
use super::rows::transaction;
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

/// GetRange on a table, or on what a local transaction sees of it.
///
/// # Errors
/// As [`get_range`], and those of transactions.
pub fn get_range_of(
    instance: &Instance,
    request: &proto::GetRangeRequest,
    now: i64,
    fault: PageFault,
) -> Answer<proto::GetRangeResponse> {
    let name = &request.table_name;
    let work = |table: &Table| get_range(table, request, now, fault);
    let Some(id) = transaction(request.transaction_id.as_deref()) else {
        return instance.read(name, now, work);
    };
    let (mut start, mut end) = (Row::default(), Row::default());
    decode_row(&request.inclusive_start_primary_key, &mut start, KeyPlace::Bound)?;
    decode_row(&request.exclusive_end_primary_key, &mut end, KeyPlace::Bound)?;
    let partition_keys = [&start, &end].map(|bound| bound.key.first().map(|(_, value)| *value));
    instance.transactions.read(id, name, &partition_keys, now, work)
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
    let projection = Projection::new(request, "No version condition is specified.")?;
    if request.token.as_ref().is_some_and(|token| !token.is_empty()) {
        return Err(ServiceError::unsupported("paging inside a row"));
    }
    let forward = match proto::Direction::try_from(request.direction) {
        Ok(direction) => direction == proto::Direction::Forward,
        Err(error) => return Err(ServiceError::parameter(format!("{error}."))),
    };
    let (start, end) = (&request.inclusive_start_primary_key, &request.exclusive_end_primary_key);
    let range = requested_range(table, start, end, forward)?;
    let limit = match request.limit {
        None => PAGE_ROWS,
        Some(limit) if limit > 0 => PAGE_ROWS.min(limit as usize),
        Some(_) => return Err(ServiceError::parameter("The limit must be greater than 0.")),
    };
    let names = table.key_names();
    let entire_keys = request.return_entire_primary_keys.unwrap_or(true);
    let hint = request.data_block_type_hint.unwrap_or_default();
    let block = Block::new(hint, &names, &request.columns_to_get, entire_keys)?;
    let mut page = Page::new(table, &projection, limit, fault, block);
    if let Some(generated) = table.generated_rows()
        && projection.takes_everything(table.max_versions())
        && fault == PageFault::None
        && let Block::PlainBuffer(body) = &mut page.block
    {
        let body = std::mem::take(body);
        page.encode(generated, &range, forward, body);
    } else if forward {
        table.scan(&range, now, |row| page.visit(row));
    } else {
        table.scan_backward(&range.start, &range.end, now, |row| page.visit(row));
    }
    let page = page.finish();
    Ok(proto::GetRangeResponse {
        consumed: read_consumed(page.scanned_size),
        rows: page.rows,
        next_start_primary_key: page.next_start,
        next_token: None,
        data_block_type: Some(page.block_type as i32),
        compress_type: Some(proto::CompressType::CptNone as i32),
    })
}

/// Answers a BulkExport request at `now` (ms): a GetRange forwards that is billed by the byte.
///
/// # Errors
/// As [`get_range`].
pub fn bulk_export(
    table: &Table,
    request: &proto::BulkExportRequest,
    now: i64,
    fault: PageFault,
) -> Answer<proto::BulkExportResponse> {
    let projection = Projection::new(request, "")?;
    let (start, end) = (&request.inclusive_start_primary_key, &request.exclusive_end_primary_key);
    let range = requested_range(table, start, end, true)?;
    let names = table.key_names();
    let hint = request.data_block_type_hint() as i32;
    let block = Block::new(hint, &names, &request.columns_to_get, false)?;
    let mut page = Page::new(table, &projection, PAGE_ROWS, fault, block);
    table.scan(&range, now, |row| page.visit(row));
    let page = page.finish();
    Ok(proto::BulkExportResponse {
        consumed: data_consumed(page.asked_size, 0),
        rows: page.rows,
        next_start_primary_key: page.next_start,
        data_block_type: Some(page.block_type as i32),
    })
}

/// The bounds of a request, checked against the table and each other.
fn requested_range(table: &Table, start: &[u8], end: &[u8], forward: bool) -> Answer<KeyRange> {
    let range = KeyRange { start: bound(table, start)?, end: bound(table, end)? };
    if forward && range.start >= range.end {
        return Err(ServiceError::parameter("Begin key must less than end key in FORWARD"));
    }
    if !forward && range.start <= range.end {
        return Err(ServiceError::parameter("Begin key must more than end key in BACKWARD"));
    }
    Ok(range)
}

/// A start or an end, checked against the table.
///
/// # Errors
/// `OTSParameterInvalid`, `OTSInvalidPK`.
pub fn bound(table: &Table, bytes: &[u8]) -> Answer<PrimaryKey> {
    let mut row = Row::default();
    decode_row(bytes, &mut row, KeyPlace::Bound)?;
    table.check_key(&row.key)?;
    owned_key(&row)
}

/// A page as it fills up.
struct Page<'t> {
    table: &'t Table,
    projection: &'t Projection<'t>,
    limit: usize,
    fault: PageFault,
    counts_timestamps: bool,
    block: Block<'t>,
    rows: usize,
    scanned_rows: usize,
    scanned_size: usize,
    asked_size: usize,
    first: Option<PrimaryKey>,
    next: Option<PrimaryKey>,
}

/// A page as it is answered.
struct FullPage {
    rows: Bytes,
    block_type: proto::DataBlockType,
    next_start: Option<Bytes>,
    /// Bytes of every row that was looked at.
    scanned_size: usize,
    /// Bytes of the keys and the columns asked for, of every row that was looked at.
    asked_size: usize,
}

impl<'t> Page<'t> {
    fn new(
        table: &'t Table,
        projection: &'t Projection<'t>,
        limit: usize,
        fault: PageFault,
        block: Block<'t>,
    ) -> Page<'t> {
        Page {
            table,
            projection,
            limit,
            fault,
            counts_timestamps: table.counts_timestamps(),
            block,
            rows: 0,
            scanned_rows: 0,
            scanned_size: 0,
            asked_size: 0,
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
        let has_columns = self.projection.cut(row);
        self.asked_size += data_size(row, self.counts_timestamps);
        if has_columns && self.projection.filter(row) {
            self.block.push(row);
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
    fn encode(&mut self, generated: &GeneratedTable, range: &KeyRange, forward: bool, mut body: Vec<u8>) {
        let indexes = match forward {
            true => generated.rows_below(&range.start)..generated.rows_below(&range.end),
            false => generated.rows_up_to(&range.end)..generated.rows_up_to(&range.start),
        };
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
        self.block = Block::PlainBuffer(body);
    }

    fn finish(self) -> FullPage {
        let (mut rows, block_type) = self.block.finish();
        if self.fault == PageFault::BadRowChecksum && !rows.is_empty() {
            let mut damaged = rows.to_vec();
            let last = damaged.len() - 1;
            damaged[last] ^= 1;
            rows = damaged.into();
        }
        let names = self.table.key_names();
        let next = self.first.or(self.next);
        FullPage {
            rows,
            block_type,
            next_start: next.map(|key| plainbuffer::encode_key(&names, &key).into()),
            scanned_size: self.scanned_size,
            asked_size: self.asked_size,
        }
    }
}

/// Read capacity for `bytes` scanned.
pub fn read_consumed(bytes: usize) -> proto::ConsumedCapacity {
    let unit = proto::CapacityUnit { read: Some(capacity_units(bytes)), write: Some(0) };
    proto::ConsumedCapacity { capacity_unit: unit, capacity_data_size: None }
}

/// What the bulk operations answer: bytes, no capacity units.
pub fn data_consumed(read: usize, write: usize) -> proto::ConsumedCapacity {
    let size = |bytes| i64::try_from(bytes).ok();
    proto::ConsumedCapacity {
        capacity_unit: proto::CapacityUnit { read: Some(0), write: Some(0) },
        capacity_data_size: Some(proto::CapacityDataSize { read_size: size(read), write_size: size(write) }),
    }
}
