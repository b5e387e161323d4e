//! ListStream and DescribeStream: which Streams there are, and how their shards descend from each other.

use std::collections::HashSet;

use super::TableStore;
use super::call::{Operation, Target};
use crate::{Error, Kind, Result, proto};

const LIST: Operation = Operation {
    name: "ListStream",
    doing: "list the Streams of",
    idempotent: true,
    data: false,
    required: &[],
};
const DESCRIBE: Operation = Operation {
    name: "DescribeStream",
    doing: "describe",
    idempotent: true,
    data: false,
    required: &[1, 2, 3, 4, 5],
};

/// One Stream, as ListStream shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamSummary {
    /// Stream id; a Stream that was disabled and enabled again has another one.
    pub stream_id: String,
    /// The table it belongs to.
    pub table: String,
    /// When it was enabled, in microseconds since 1970 UTC.
    pub creation_time_us: i64,
}

/// What DescribeStream says, over all of its pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamDescription {
    /// Stream id.
    pub stream_id: String,
    /// The table it belongs to.
    pub table: String,
    /// How long records are kept.
    pub expiration_hours: i32,
    /// When it was enabled, in microseconds since 1970 UTC.
    pub creation_time_us: i64,
    /// Whether it records already; `false` while it is being enabled.
    pub is_active: bool,
    /// Every shard that the service still lists, in its order. No id comes twice.
    pub shards: Vec<Shard>,
}

/// One shard of a Stream: the records of one partition, in order, while that partition existed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Shard {
    /// Shard id.
    pub shard_id: String,
    /// The shards that were split or merged into this one: none, one, or two. All their records come before any of
    /// this shard. One that is no longer listed has expired and counts as read.
    pub parents: Vec<String>,
}

impl TableStore {
    /// The Streams of `table`, or of all tables. A table without a Stream has none.
    ///
    /// # Errors
    /// `NotFound` if there is no such table.
    pub async fn list_streams(&self, table: Option<&str>) -> Result<Vec<StreamSummary>> {
        let request = proto::ListStreamRequest { table_name: table.map(str::to_owned) };
        let target = table.map_or(Target::Instance, Target::Table);
        self.call(&LIST, target, &request, |answer: proto::ListStreamResponse, _| {
            if answer.streams.iter().any(|stream| stream.stream_id.is_empty() || stream.table_name.is_empty())
            {
                return Err("a Stream has no id or no table".into());
            }
            if answer.streams.iter().any(|stream| table.is_some_and(|table| table != stream.table_name)) {
                return Err("it lists the Stream of another table".into());
            }
            let summary = |stream: proto::Stream| StreamSummary {
                stream_id: stream.stream_id,
                table: stream.table_name,
                creation_time_us: stream.creation_time,
            };
            Ok(answer.streams.into_iter().map(summary).collect())
        })
        .await
    }

    /// Describes a Stream with all its shards, however many pages that takes. The shards may split meanwhile: what
    /// is listed was there at some moment of the call, and the parents of a listed shard are listed or expired.
    ///
    /// # Errors
    /// `NotFound` if there is no such Stream (any more). `Corrupt` if pages contradict each other.
    pub async fn describe_stream(&self, stream_id: &str) -> Result<StreamDescription> {
        self.describe_stream_in_pages(stream_id, None).await
    }

    /// As [`TableStore::describe_stream`], with at most `shard_limit` shards per request.
    pub async fn describe_stream_in_pages(
        &self,
        stream_id: &str,
        shard_limit: Option<i32>,
    ) -> Result<StreamDescription> {
        let mut described: Option<StreamDescription> = None;
        let mut seen = HashSet::new();
        let mut start = None;
        loop {
            let (page, next) = self.describe_stream_page(stream_id, start.as_deref(), shard_limit).await?;
            let added = page.shards.len();
            let repeated = page.shards.iter().any(|shard| !seen.insert(shard.shard_id.clone()));
            match &mut described {
                None => described = Some(page),
                Some(whole) => whole.shards.extend(page.shards),
            }
            let contradiction = match &next {
                _ if repeated => Some("a shard is on two pages"),
                Some(_) if added == 0 => Some("an empty page has another one behind it"),
                _ => None,
            };
            if let Some(reason) = contradiction {
                let error = self.error(&DESCRIBE, Target::Stream(stream_id));
                return Err(error.with_kind(Kind::Corrupt).because(reason));
            }
            match (next, described.take()) {
                (None, Some(whole)) => return Ok(whole),
                (next, whole) => (start, described) = (next, whole),
            }
        }
    }

    async fn describe_stream_page(
        &self,
        stream_id: &str,
        start: Option<&str>,
        shard_limit: Option<i32>,
    ) -> Result<(StreamDescription, Option<String>), Error> {
        let request = proto::DescribeStreamRequest {
            stream_id: stream_id.to_owned(),
            inclusive_start_shard_id: start.map(str::to_owned),
            shard_limit,
            support_timeseries_data_table: None,
        };
        let target = Target::Stream(stream_id);
        self.call(&DESCRIBE, target, &request, |answer: proto::DescribeStreamResponse, _| {
            if answer.stream_id != stream_id {
                return Err("it describes another Stream".into());
            }
            if answer.is_timeseries_data_table == Some(true) {
                return Err("it is the Stream of a time-series table".into());
            }
            let status = proto::StreamStatus::try_from(answer.stream_status)
                .map_err(|_| format!("the unknown Stream status {}", answer.stream_status))?;
            if answer.shards.iter().any(|shard| shard.shard_id.is_empty()) {
                return Err("a shard has no id".into());
            }
            let description = StreamDescription {
                stream_id: answer.stream_id,
                table: answer.table_name,
                expiration_hours: answer.expiration_time,
                creation_time_us: answer.creation_time,
                is_active: status == proto::StreamStatus::StreamActive,
                shards: answer.shards.into_iter().map(shard).collect(),
            };
            Ok((description, answer.next_shard_id.filter(|next| !next.is_empty())))
        })
        .await
    }
}

/// An empty id stands for no parent.
fn shard(shard: proto::StreamShard) -> Shard {
    let parents = [shard.parent_id, shard.parent_sibling_id].into_iter().flatten();
    Shard { shard_id: shard.shard_id, parents: parents.filter(|parent| !parent.is_empty()).collect() }
}
