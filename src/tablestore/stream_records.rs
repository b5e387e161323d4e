//! GetShardIterator and GetStreamRecord: the records of one shard, page by page.

use bytes::Bytes;

use super::TableStore;
use super::call::{Operation, Target};
use crate::model::{RecordType, Row, StreamRecord};
use crate::plainbuffer::{RecordError, decode_origin_record, decode_record};
use crate::{Kind, Result, proto};

const ITERATOR: Operation = Operation {
    name: "GetShardIterator",
    doing: "find a position in",
    idempotent: true,
    data: false,
    required: &[1],
};
const RECORDS: Operation = Operation {
    name: "GetStreamRecord",
    doing: "read records of",
    idempotent: true,
    data: true,
    required: &[],
};

/// A search for a position goes on from token to token; one that takes longer leads nowhere.
const MAX_TOKENS: u32 = 1_000;

/// Where to start in a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShardStart {
    /// At the oldest record that is kept.
    Oldest,
    /// At or before this commit time, in microseconds since 1970 UTC: earlier records may come first.
    At(i64),
}

/// Up to where a shard has been read. Iterators are opaque, stay good until their records expire, and may be used
/// again: they are what a checkpoint holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShardPosition {
    /// There may be more: read on from this iterator.
    More(String),
    /// Everything committed so far is read and the shard is open: ask again from this iterator, later.
    CaughtUp(String),
    /// The shard was closed by a split or a merge, and is read to its end.
    Closed,
}

/// A Stream record as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedRecord {
    /// What happened to the row.
    pub record_type: RecordType,
    record: Bytes,
    origin: Option<Bytes>,
}

impl EncodedRecord {
    /// The record, borrowed from these bytes.
    ///
    /// # Errors
    /// Whatever contradicts the record type or would leave its order or its cells in doubt; see [`RecordError`].
    pub fn decode(&self) -> Result<StreamRecord<'_>, RecordError> {
        decode_record(self.record_type, &self.record)
    }

    /// The values before the change, of the columns that the Stream's definition names; `None` if it names none.
    pub fn decode_origin(&self) -> Result<Option<Row<'_>>, RecordError> {
        self.origin.as_deref().map(decode_origin_record).transpose()
    }

    /// Bytes of the encoded record.
    pub fn encoded_size(&self) -> usize {
        self.record.len()
    }
}

/// Records of one GetStreamRecord.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordPage {
    /// In the order of the shard.
    pub records: Vec<EncodedRecord>,
    /// Where to go on.
    pub position: ShardPosition,
    /// Read capacity units consumed; 0 where the service does not say.
    pub read_capacity_units: u64,
    /// Bytes of the response body; the records keep all of it in memory.
    pub body_bytes: usize,
    /// Request id, for errors found in the records later.
    pub request_id: Option<String>,
}

impl TableStore {
    /// An iterator at `start` of a shard.
    ///
    /// # Errors
    /// `NotFound` if there is no such Stream or shard, `Gap` if its records have expired.
    pub async fn get_shard_iterator(
        &self,
        stream_id: &str,
        shard_id: &str,
        start: ShardStart,
    ) -> Result<String> {
        let mut request = proto::GetShardIteratorRequest {
            stream_id: stream_id.to_owned(),
            shard_id: shard_id.to_owned(),
            timestamp: match start {
                ShardStart::Oldest => None,
                ShardStart::At(timestamp_us) => Some(timestamp_us),
            },
            token: None,
        };
        let target = Target::Stream(stream_id);
        for _ in 0..MAX_TOKENS {
            let asked = request.token.clone();
            let (iterator, token) = self
                .call(&ITERATOR, target, &request, |answer: proto::GetShardIteratorResponse, _| {
                    if answer.shard_iterator.is_empty() {
                        return Err("the iterator is empty".into());
                    }
                    let token = answer.next_token.filter(|token| !token.is_empty());
                    if token.is_some() && token == asked {
                        return Err("the search repeats its token".into());
                    }
                    Ok((answer.shard_iterator, token))
                })
                .await?;
            match token {
                None => return Ok(iterator),
                token => request.token = token,
            }
        }
        Err(self
            .error(&ITERATOR, target)
            .with_kind(Kind::Corrupt)
            .because(format!("the search did not end after {MAX_TOKENS} tokens")))
    }

    /// Reads records from `iterator` on, at most `limit` (unset: the service's default).
    ///
    /// The rows are not parsed here; what is checked is that every record type is known and that the position leads
    /// on. `table` is the table's name, which tables of a table group need.
    ///
    /// # Errors
    /// `Gap` if the records have expired or the Stream was enabled anew. `Corrupt` for an unknown record type or an
    /// iterator that leads nowhere.
    pub async fn get_stream_record(
        &self,
        table: &str,
        iterator: &str,
        limit: Option<i32>,
    ) -> Result<RecordPage> {
        let request = proto::GetStreamRecordRequest {
            shard_iterator: iterator.to_owned(),
            limit,
            table_name: Some(table.to_owned()),
        };
        let target = Target::StreamOf(table);
        self.call(&RECORDS, target, &request, |answer: proto::GetStreamRecordResponse, origin| {
            let record = |(index, record): (usize, proto::StreamRecord)| {
                Ok(EncodedRecord {
                    record_type: record_type(record.action_type).ok_or_else(|| {
                        format!("record {index} has the unknown type {}", record.action_type)
                    })?,
                    record: record.record,
                    origin: record.origin_record.filter(|origin| !origin.is_empty()),
                })
            };
            let records: Vec<_> =
                answer.stream_records.into_iter().enumerate().map(record).collect::<Result<_, String>>()?;
            let next = answer.next_shard_iterator.filter(|next| !next.is_empty());
            let position = match next {
                None => ShardPosition::Closed,
                Some(next) if records.is_empty() && answer.may_more_record != Some(true) => {
                    ShardPosition::CaughtUp(next)
                }
                Some(next) if next == iterator && !records.is_empty() => {
                    return Err("the page repeats its iterator".into());
                }
                Some(next) => ShardPosition::More(next),
            };
            Ok(RecordPage {
                records,
                position,
                read_capacity_units: answer
                    .consumed
                    .as_ref()
                    .map_or(0, |consumed| origin.read_units(consumed)),
                body_bytes: origin.body_bytes,
                request_id: origin.request_id.map(str::to_owned),
            })
        })
        .await
    }
}

fn record_type(action: i32) -> Option<RecordType> {
    Some(match proto::ActionType::try_from(action).ok()? {
        proto::ActionType::PutRow => RecordType::Put,
        proto::ActionType::UpdateRow => RecordType::Update,
        proto::ActionType::DeleteRow => RecordType::Delete,
    })
}
