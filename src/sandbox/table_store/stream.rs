//! Streams: the history of a table while its Stream is enabled, in one shard that never closes.

use bytes::Bytes;

use super::instance::Instance;
use super::range::read_consumed;
use super::service_error::{Answer, ServiceError};
use super::table::Table;
use crate::model::{Row, SequenceInfo, Stream};
use crate::{plainbuffer, proto};

/// Records of one GetStreamRecord (what the official stream client asks for; the service's maximum is not known).
const MAX_RECORDS: usize = 1_000;

/// Every change since the Stream was enabled, oldest first.
#[derive(Default)]
pub struct History {
    records: Vec<Record>,
}

struct Record {
    action: proto::ActionType,
    timestamp_us: i64,
    body: Bytes,
}

impl History {
    /// How many records there are, trimmed ones included.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Forgets the newest records: changes of an atomic batch that were taken back.
    pub fn truncate(&mut self, len: usize) {
        self.records.truncate(len);
    }

    /// Adds a change committed at `now` (ms). Commit times ascend strictly.
    pub fn push(&mut self, action: proto::ActionType, mut row: Row<'_>, now: i64) {
        let last = self.records.last().map_or(0, |record| record.timestamp_us);
        let timestamp_us = now.saturating_mul(1_000).max(last + 1);
        row.sequence = Some(SequenceInfo { epoch: 0, timestamp_us, row_index: 0 });
        self.records.push(Record { action, timestamp_us, body: plainbuffer::encode_row(&row).into() });
    }

    /// The first record at or after `timestamp_us`.
    fn position_at(&self, timestamp_us: i64) -> usize {
        self.records.partition_point(|record| record.timestamp_us < timestamp_us)
    }
}

/// A place in the history: `<stream id>.<position>`, in hex so that nobody builds one by hand.
struct Iterator {
    stream_id: String,
    position: usize,
}

impl Iterator {
    fn encode(&self) -> String {
        hex::encode(format!("{}.{}", self.stream_id, self.position))
    }

    fn decode(text: &str) -> Option<Iterator> {
        let text = String::from_utf8(hex::decode(text).ok()?).ok()?;
        let (stream_id, position) = text.rsplit_once('.')?;
        Some(Iterator { stream_id: stream_id.to_owned(), position: position.parse().ok()? })
    }
}

/// The Stream that a shard iterator belongs to.
pub fn stream_id(shard_iterator: &str) -> Option<String> {
    Iterator::decode(shard_iterator).map(|place| place.stream_id)
}

fn shard_id(stream: &Stream) -> String {
    format!("{}_0", stream.stream_id)
}

fn trimmed() -> ServiceError {
    let text = "Requested stream data is already trimmed or does not exist.";
    ServiceError::new(404, "OTSTrimmedDataAccess", text)
}

/// Runs `work` on the table whose Stream has this id.
fn with_stream<T>(
    instance: &Instance,
    stream_id: &str,
    missing: impl Fn() -> ServiceError,
    mut work: impl FnMut(&Stream, &Table) -> Answer<T>,
) -> Answer<T> {
    for name in instance.table_names() {
        let found = instance.inspect(&name, |table| match &table.definition.stream {
            Some(stream) if stream.stream_id == stream_id => work(stream, table).map(Some),
            _ => Ok(None),
        });
        match found {
            Ok(None) => {}
            Ok(Some(answer)) => return Ok(answer),
            // Deleted since the names were listed.
            Err(error) if error == ServiceError::no_table() => {}
            Err(error) => return Err(error),
        }
    }
    Err(missing())
}

fn no_stream() -> ServiceError {
    // Own wording.
    ServiceError::new(404, "OTSObjectNotExist", "Requested stream does not exist.")
}

/// ListStream.
///
/// # Errors
/// As the service.
pub fn list(instance: &Instance, request: &proto::ListStreamRequest) -> Answer<proto::ListStreamResponse> {
    let asked = request.table_name.as_deref().filter(|name| !name.is_empty());
    let names = asked.map_or_else(|| instance.table_names(), |name| vec![name.to_owned()]);
    let mut streams = Vec::new();
    for name in names {
        instance.inspect(&name, |table| {
            streams.extend(table.definition.stream.as_ref().map(|stream| proto::Stream {
                stream_id: stream.stream_id.clone(),
                table_name: name.clone(),
                creation_time: stream.last_enable_time_us,
            }));
            Ok(())
        })?;
    }
    Ok(proto::ListStreamResponse { streams })
}

/// DescribeStream.
///
/// # Errors
/// As the service.
pub fn describe(
    instance: &Instance,
    request: &proto::DescribeStreamRequest,
) -> Answer<proto::DescribeStreamResponse> {
    with_stream(instance, &request.stream_id, no_stream, |stream, table| {
        let shard =
            proto::StreamShard { shard_id: shard_id(stream), parent_id: None, parent_sibling_id: None };
        Ok(proto::DescribeStreamResponse {
            stream_id: stream.stream_id.clone(),
            expiration_time: stream.expiration_hours,
            table_name: table.definition.name.clone(),
            creation_time: stream.last_enable_time_us,
            stream_status: proto::StreamStatus::StreamActive as i32,
            shards: vec![shard],
            next_shard_id: None,
            is_timeseries_data_table: None,
        })
    })
}

/// The first record that has not expired at `now` (ms).
fn first_retained(stream: &Stream, history: &History, now: i64) -> usize {
    history.position_at((now - i64::from(stream.expiration_hours) * 3_600_000).saturating_mul(1_000))
}

/// GetShardIterator: the oldest retained record, or the first at or after a commit time in microseconds.
///
/// # Errors
/// As the service.
pub fn iterator(
    instance: &Instance,
    request: &proto::GetShardIteratorRequest,
    now: i64,
) -> Answer<proto::GetShardIteratorResponse> {
    with_stream(instance, &request.stream_id, no_stream, |stream, table| {
        if request.shard_id != shard_id(stream) {
            // Own wording.
            return Err(ServiceError::new(404, "OTSObjectNotExist", "Requested shard does not exist."));
        }
        let history = table.history.as_ref().ok_or_else(no_stream)?;
        let oldest = first_retained(stream, history, now);
        let position = request.timestamp.map_or(oldest, |at| history.position_at(at).max(oldest));
        let shard_iterator = Iterator { stream_id: stream.stream_id.clone(), position }.encode();
        Ok(proto::GetShardIteratorResponse { shard_iterator, next_token: None })
    })
}

/// GetStreamRecord: there is always a next iterator, since the shard stays open.
///
/// # Errors
/// `OTSTrimmedDataAccess` when the Stream is gone, was enabled anew, or the records expired.
pub fn records(
    instance: &Instance,
    request: &proto::GetStreamRecordRequest,
    now: i64,
) -> Answer<proto::GetStreamRecordResponse> {
    // Own wording of the next two.
    let place = Iterator::decode(&request.shard_iterator)
        .ok_or_else(|| ServiceError::parameter("Invalid shard iterator."))?;
    let limit = match request.limit {
        None => MAX_RECORDS,
        Some(limit) if limit > 0 => MAX_RECORDS.min(limit as usize),
        Some(_) => return Err(ServiceError::parameter("The limit must be greater than 0.")),
    };
    with_stream(instance, &place.stream_id, trimmed, |stream, table| {
        let history = table.history.as_ref().ok_or_else(trimmed)?;
        let behind = history.records.get(place.position..).ok_or_else(trimmed)?;
        if place.position < first_retained(stream, history, now) {
            return Err(trimmed());
        }
        let shown = &behind[..limit.min(behind.len())];
        let next = Iterator { stream_id: stream.stream_id.clone(), position: place.position + shown.len() };
        let show = |record: &Record| proto::StreamRecord {
            action_type: record.action as i32,
            record: record.body.clone(),
            origin_record: None,
        };
        Ok(proto::GetStreamRecordResponse {
            stream_records: shown.iter().map(show).collect(),
            next_shard_iterator: Some(next.encode()),
            consumed: Some(read_consumed(shown.iter().map(|record| record.body.len()).sum())),
            may_more_record: Some(shown.len() < behind.len()),
        })
    })
}
