//! Everything that happened to a table while its Stream was enabled, shard by shard.
//!
//! Nothing is ever forgotten here: retention and trimming only decide what clients are shown.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::model::{PrimaryKey, Row, SequenceInfo};
use crate::sandbox::table_store::stored::StoredRow;
use crate::{plainbuffer, proto};

/// One change as the Stream shows it, and what replaying it takes.
pub struct Record {
    /// What it did to the row.
    pub action: proto::ActionType,
    /// The row with its sequence info.
    pub body: Bytes,
    /// Previous values of the columns that the Stream was asked to keep.
    pub origin: Option<Bytes>,
    /// The facts of the moment that the row does not tell.
    pub moment: Moment,
    /// When it was committed by the instance's clock, in ms; never falls. Retention goes by it.
    committed_ms: i64,
    /// The largest commit time of its shard so far, in microseconds.
    clock_us: i64,
    shard: usize,
}

/// What a change depended on besides the row.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// The instance's clock, in ms.
    pub now: i64,
    /// Cells older than this had expired, in ms.
    pub horizon: i64,
    /// Versions kept per column.
    pub max_versions: usize,
}

/// A shard: the changes of one partition for as long as it was one.
pub struct Shard {
    /// Opaque to clients.
    pub id: String,
    /// None for the first shards, one after a split, two after a merge.
    pub parents: Vec<usize>,
    /// Its records by their numbers in the history, in the order they were committed.
    records: Vec<usize>,
    /// When it closed, by the instance's clock, in ms.
    closed_ms: Option<i64>,
    /// Records that were trimmed on demand.
    trimmed: usize,
    /// Closed and trimmed to its end on demand: no longer listed.
    gone: bool,
    clock: ShardClock,
}

/// The clock of the machine that a shard is on.
#[derive(Clone, Copy, Default)]
struct ShardClock {
    /// How far it is from the instance's, in microseconds.
    offset_us: i64,
    epoch: i32,
    last_us: i64,
    row_index: i32,
}

/// The history of a Stream.
pub struct History {
    /// The Stream.
    pub stream_id: String,
    /// The rows when the Stream was enabled.
    pub base: BTreeMap<PrimaryKey, StoredRow>,
    records: Vec<Record>,
    shards: Vec<Shard>,
    /// The open shard of each partition.
    open: Vec<usize>,
    /// Commit times stand still; records are told apart by their row index.
    pub is_held: bool,
    /// Records of one commit so far; `None` outside of one.
    in_commit: Option<u64>,
    last_ms: i64,
}

impl History {
    /// A Stream enabled on a table with `base` in it and that many partitions.
    pub fn new(stream_id: String, base: BTreeMap<PrimaryKey, StoredRow>, partitions: usize) -> History {
        let mut history = History {
            stream_id,
            base,
            records: Vec::new(),
            shards: Vec::new(),
            open: Vec::new(),
            is_held: false,
            in_commit: None,
            last_ms: i64::MIN,
        };
        for _ in 0..partitions {
            let shard = history.add_shard(Vec::new(), ShardClock::default());
            history.open.push(shard);
        }
        history
    }

    fn add_shard(&mut self, parents: Vec<usize>, clock: ShardClock) -> usize {
        let number = self.shards.len();
        self.shards.push(Shard {
            id: format!("{}_{number}", self.stream_id),
            parents,
            records: Vec::new(),
            closed_ms: None,
            trimmed: 0,
            gone: false,
            clock,
        });
        number
    }

    /// How many records there are, over all shards.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Forgets the newest records: changes of an atomic batch that were taken back.
    pub fn truncate(&mut self, len: usize) {
        for record in self.records.drain(len.min(self.records.len())..) {
            self.shards[record.shard].records.pop();
        }
    }

    /// The records from here to [`History::end_commit`] are one commit: those of one shard have one commit time.
    pub fn begin_commit(&mut self) {
        self.in_commit = Some(0);
    }

    /// Ends what [`History::begin_commit`] began.
    pub fn end_commit(&mut self) {
        self.in_commit = None;
    }

    /// Adds a change to the shard of a partition.
    pub fn push(
        &mut self,
        partition: usize,
        action: proto::ActionType,
        mut row: Row<'_>,
        origin: Option<Bytes>,
        moment: Moment,
    ) {
        let number = self.open[partition];
        let (clock, at) = (&mut self.shards[number].clock, self.records.len());
        let machine_us = moment.now.saturating_mul(1_000).saturating_add(clock.offset_us);
        let shares_time = self.is_held || self.in_commit.is_some_and(|records| records > 0);
        if shares_time && clock.last_us > 0 {
            clock.row_index += 1;
        } else {
            clock.last_us = machine_us.max(clock.last_us + 1);
            clock.row_index = 0;
        }
        self.in_commit = self.in_commit.map(|records| records + 1);
        let (epoch, timestamp_us, row_index) = (clock.epoch, clock.last_us, clock.row_index);
        row.sequence = Some(SequenceInfo { epoch, timestamp_us, row_index });
        self.last_ms = self.last_ms.max(moment.now);
        let before = self.shards[number].records.last().map_or(i64::MIN, |last| self.records[*last].clock_us);
        self.shards[number].records.push(at);
        self.records.push(Record {
            action,
            body: plainbuffer::encode_row(&row).into(),
            origin,
            moment,
            committed_ms: self.last_ms,
            clock_us: before.max(timestamp_us),
            shard: number,
        });
    }

    /// Moves the clock of a partition's machine. Backwards, or by nothing, begins a new epoch: the next commit time is
    /// what that clock says then, however early.
    pub fn shift_clock(&mut self, partition: usize, by_us: i64) {
        let clock = &mut self.shards[self.open[partition]].clock;
        clock.offset_us = clock.offset_us.saturating_add(by_us);
        if by_us <= 0 {
            clock.epoch += 1;
            clock.last_us = 0;
        }
    }

    /// The shard of a partition closes; its two children serve the partition and the new one behind it.
    pub fn split(&mut self, partition: usize, now: i64) {
        let parent = self.close(partition, now);
        let clock = self.shards[parent].clock;
        let children = [(); 2].map(|()| self.add_shard(vec![parent], clock));
        self.open.splice(partition..=partition, children);
    }

    /// The shards of a partition and of the one behind it close; their child serves both.
    pub fn merge(&mut self, left: usize, now: i64) {
        let parents = vec![self.close(left, now), self.close(left + 1, now)];
        let clocks = [0, 1].map(|parent| self.shards[parents[parent]].clock);
        let later = clocks.into_iter().max_by_key(|clock| (clock.epoch, clock.last_us)).unwrap_or_default();
        let child = self.add_shard(parents, later);
        self.open.splice(left..=left + 1, [child]);
    }

    fn close(&mut self, partition: usize, now: i64) -> usize {
        let number = self.open[partition];
        self.last_ms = self.last_ms.max(now);
        self.shards[number].closed_ms = Some(self.last_ms);
        number
    }

    /// Every shard there ever was, in the order they opened.
    pub fn shards(&self) -> &[Shard] {
        &self.shards
    }

    /// The shard with this id, and its number.
    pub fn shard(&self, id: &str) -> Option<(usize, &Shard)> {
        self.shards.iter().enumerate().find(|(_, shard)| shard.id == id)
    }

    /// The id of a partition's open shard.
    pub fn open_shard_id(&self, partition: usize) -> Option<String> {
        Some(self.shards[*self.open.get(partition)?].id.clone())
    }

    /// A record of a shard, counted from 0.
    pub fn record(&self, shard: &Shard, position: usize) -> &Record {
        &self.records[shard.records[position]]
    }

    /// Every record in the order they were committed, each with its shard's number.
    pub fn in_commit_order(&self) -> impl Iterator<Item = (usize, &Record)> {
        self.records.iter().map(|record| (record.shard, record))
    }

    /// The first record of a shard whose commit time, or an earlier one's, is at or after `timestamp_us`.
    pub fn position_at(&self, shard: &Shard, timestamp_us: i64) -> usize {
        shard.records.partition_point(|at| self.records[*at].clock_us < timestamp_us)
    }

    /// The first record of a shard that clients are still shown when everything before `horizon` (ms) has expired.
    pub fn first_retained(&self, shard: &Shard, horizon: i64) -> usize {
        shard.records.partition_point(|at| self.records[*at].committed_ms < horizon).max(shard.trimmed)
    }

    /// Takes the records before `position` away from clients. A closed shard trimmed to its end is no longer listed.
    pub fn trim(&mut self, shard: usize, position: usize) {
        let shard = &mut self.shards[shard];
        shard.trimmed = shard.trimmed.max(position.min(shard.records.len()));
        shard.gone |= shard.closed_ms.is_some() && shard.trimmed == shard.records.len();
    }
}

impl Shard {
    /// How many records it has, trimmed ones included.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether nothing will be added to it.
    pub fn is_closed(&self) -> bool {
        self.closed_ms.is_some()
    }

    /// Whether clients are told of it: open, or closed not before `horizon` (ms).
    pub fn is_listed(&self, horizon: i64) -> bool {
        !self.gone && self.closed_ms.is_none_or(|closed| closed >= horizon)
    }
}
