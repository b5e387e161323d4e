//! ListStream, DescribeStream, GetShardIterator, GetStreamRecord.

mod history;
mod shard_iterator;

pub use history::{History, Moment, Record};

use self::history::Shard;
pub use self::shard_iterator::ShardIterator;
use super::instance::Instance;
use super::range::{PageFault, read_consumed};
use super::service_error::{Answer, ServiceError};
use super::table::Table;
use crate::model::Stream;
use crate::proto;

/// Records of one GetStreamRecord (what the official stream client asks for; the service's maximum is not known).
const MAX_RECORDS: usize = 1_000;

/// Bytes of the records of one GetStreamRecord, as of a page of GetRange (own choice).
const MAX_RECORD_BYTES: usize = 4_194_304;

/// Shards of one DescribeStream (own choice).
const MAX_SHARDS: usize = 100;

/// How a Stream behaves where the service's behaviour is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamSettings {
    /// An iterator at the end of an open shard is refused as trimmed once it is older than the retention, although no
    /// record was lost. On by default, since clients have met it.
    pub idle_iterators_expire: bool,
    /// Records that one GetShardIterator with a timestamp passes at most; the rest is left to calls with a token.
    /// Default 10,000.
    pub seek_step: usize,
}

impl Default for StreamSettings {
    fn default() -> StreamSettings {
        StreamSettings { idle_iterators_expire: true, seek_step: 10_000 }
    }
}

/// The Stream that a shard iterator belongs to.
pub fn stream_id(shard_iterator: &str) -> Option<String> {
    ShardIterator::decode(shard_iterator).map(|place| place.stream_id)
}

fn trimmed() -> ServiceError {
    let text = "Requested stream data is already trimmed or does not exist.";
    ServiceError::new(404, "OTSTrimmedDataAccess", text)
}

// Own wording of the next two.

fn no_stream() -> ServiceError {
    ServiceError::new(404, "OTSObjectNotExist", "Requested stream does not exist.")
}

fn no_shard() -> ServiceError {
    ServiceError::new(404, "OTSObjectNotExist", "Requested shard does not exist.")
}

/// A Stream that is enabled, with the table it belongs to.
struct Open<'t> {
    stream: &'t Stream,
    table: &'t Table,
    history: &'t History,
    /// What was committed before this moment (ms) has expired.
    horizon: i64,
}

/// Runs `work` on the Stream with this id, at `now` (ms).
fn with_stream<T>(
    instance: &Instance,
    stream_id: &str,
    now: i64,
    missing: impl Fn() -> ServiceError,
    mut work: impl FnMut(&Open<'_>) -> Answer<T>,
) -> Answer<T> {
    for name in instance.table_names() {
        let found = instance.inspect(&name, |table| match (&table.definition.stream, &table.history) {
            (Some(stream), Some(history)) if stream.stream_id == stream_id => {
                let horizon = now.saturating_sub(i64::from(stream.expiration_hours) * 3_600_000);
                work(&Open { stream, table, history, horizon }).map(Some)
            }
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

/// DescribeStream: shards in the order they opened, those that closed for as long as their records are retained.
///
/// # Errors
/// As the service.
pub fn describe(
    instance: &Instance,
    request: &proto::DescribeStreamRequest,
    now: i64,
) -> Answer<proto::DescribeStreamResponse> {
    let limit = match request.shard_limit {
        None => MAX_SHARDS,
        Some(limit) if limit > 0 => MAX_SHARDS.min(limit as usize),
        // Own wording.
        Some(_) => return Err(ServiceError::parameter("The shard_limit must be greater than 0.")),
    };
    with_stream(instance, &request.stream_id, now, no_stream, |open| {
        let first = match request.inclusive_start_shard_id.as_deref() {
            None | Some("") => 0,
            Some(id) => open.history.shard(id).ok_or_else(no_shard)?.0,
        };
        let shards = open.history.shards();
        let mut listed = shards.iter().skip(first).filter(|shard| shard.is_listed(open.horizon));
        let id_of = |number: Option<&usize>| number.map(|number| shards[*number].id.clone());
        let describe = |shard: &Shard| proto::StreamShard {
            shard_id: shard.id.clone(),
            parent_id: id_of(shard.parents.first()),
            parent_sibling_id: id_of(shard.parents.get(1)),
        };
        let page = listed.by_ref().take(limit).map(describe).collect();
        Ok(proto::DescribeStreamResponse {
            stream_id: open.stream.stream_id.clone(),
            expiration_time: open.stream.expiration_hours,
            table_name: open.table.definition.name.clone(),
            creation_time: open.stream.last_enable_time_us,
            stream_status: proto::StreamStatus::StreamActive as i32,
            shards: page,
            next_shard_id: listed.next().map(|shard| shard.id.clone()),
            is_timeseries_data_table: None,
        })
    })
}

/// GetShardIterator: the oldest retained record; or one at or before a commit time in microseconds, in steps when
/// that is far into the shard: while there is a `next_token` the iterator is too early, not wrong.
///
/// # Errors
/// As the service.
pub fn iterator(
    instance: &Instance,
    request: &proto::GetShardIteratorRequest,
    now: i64,
) -> Answer<proto::GetShardIteratorResponse> {
    with_stream(instance, &request.stream_id, now, no_stream, |open| {
        let (number, shard) = open.history.shard(&request.shard_id).ok_or_else(no_shard)?;
        if !shard.is_listed(open.horizon) {
            return Err(no_shard());
        }
        let at = |position| {
            let stream_id = open.stream.stream_id.clone();
            ShardIterator { stream_id, shard: number, position, issued_ms: now }.encode()
        };
        let oldest = open.history.first_retained(shard, open.horizon);
        let start = match request.token.as_deref().filter(|token| !token.is_empty()) {
            None => oldest,
            Some(token) => {
                let place = ShardIterator::decode(token).filter(|place| {
                    request.timestamp.is_some()
                        && place.stream_id == open.stream.stream_id
                        && place.shard == number
                });
                // Own wording.
                place.ok_or_else(|| ServiceError::parameter("Invalid token."))?.position.max(oldest)
            }
        };
        let wanted = request.timestamp.map_or(oldest, |at| open.history.position_at(shard, at).max(start));
        let reached = wanted.min(start.saturating_add(open.table.stream_settings.seek_step.max(1)));
        let next_token = (reached < wanted).then(|| at(reached));
        Ok(proto::GetShardIteratorResponse { shard_iterator: at(reached), next_token })
    })
}

/// GetStreamRecord: without a next iterator the shard is closed and was read to its end.
///
/// # Errors
/// `OTSTrimmedDataAccess` when the Stream is gone or was enabled anew, when the records expired or were trimmed, and
/// for an old iterator of an idle shard ([`StreamSettings`]).
pub fn records(
    instance: &Instance,
    request: &proto::GetStreamRecordRequest,
    now: i64,
    fault: PageFault,
) -> Answer<proto::GetStreamRecordResponse> {
    // Own wording of the next three.
    let place = ShardIterator::decode(&request.shard_iterator)
        .ok_or_else(|| ServiceError::parameter("Invalid shard iterator."))?;
    let limit = match request.limit {
        None => MAX_RECORDS,
        Some(limit) if limit > 0 => MAX_RECORDS.min(limit as usize),
        Some(_) => return Err(ServiceError::parameter("The limit must be greater than 0.")),
    };
    with_stream(instance, &place.stream_id, now, trimmed, |open| {
        let name = request.table_name.as_deref().filter(|name| !name.is_empty());
        if name.is_some_and(|name| name != open.table.definition.name) {
            return Err(ServiceError::parameter("The shard iterator belongs to another table."));
        }
        let shard = open.history.shards().get(place.shard).ok_or_else(trimmed)?;
        let is_old = place.issued_ms < open.horizon && open.table.stream_settings.idle_iterators_expire;
        let is_at_end = place.position >= shard.len();
        if place.position > shard.len()
            || place.position < open.history.first_retained(shard, open.horizon)
            || !shard.is_listed(open.horizon)
            || (is_at_end && is_old && !shard.is_closed())
        {
            return Err(trimmed());
        }
        let (mut shown, mut bytes, mut position) = (Vec::new(), 0, place.position);
        while position < shard.len() && shown.len() < limit && fault != PageFault::Empty {
            let record = open.history.record(shard, position);
            bytes += record.body.len();
            if bytes > MAX_RECORD_BYTES && !shown.is_empty() {
                break;
            }
            shown.push(proto::StreamRecord {
                action_type: record.action as i32,
                record: record.body.clone(),
                origin_record: record.origin.clone(),
            });
            position += 1;
        }
        let has_more = position < shard.len();
        let next = ShardIterator { position, issued_ms: now, ..place.clone() };
        Ok(proto::GetStreamRecordResponse {
            consumed: Some(read_consumed(shown.iter().map(|record| record.record.len()).sum())),
            stream_records: shown,
            next_shard_iterator: (has_more || !shard.is_closed()).then(|| next.encode()),
            may_more_record: Some(has_more),
        })
    })
}
