//! Reads every shard of a Stream in the order of their lineage, and says how far it is.

mod search;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use jiff::Timestamp;
use tokio::time::{Instant, sleep};

use super::fence::Fence;
use super::gap::{another_stream, gap, stream_is_gone};
use super::lineage::Lineage;
use super::retention::RetentionAlarm;
use super::scan::scan;
use crate::catalog::{ShardPlace, ShardProgress, StreamIdentity, StreamSpan};
use crate::model::{SequenceInfo, TableDefinition};
use crate::runtime::CpuPool;
use crate::tablestore::{
    EncodedRecord, RecordPage, ShardPosition, ShardStart, StreamDescription, TableStore,
};
use crate::{Error, Kind, Result};
use search::Search;

/// Pages that are held at the same time, one per shard, where nobody says otherwise; each has at most 4 MB of records.
const PAGES_IN_FLIGHT: usize = 8;

/// Clocks of the service's machines, and ours, differ by less (what DataX's Stream reader allows, too).
pub(super) const CLOCK_MARGIN: Duration = Duration::from_secs(300);

/// How often shards are listed until two lists agree.
const MOST_LISTS: u32 = 10;

/// Records of one shard, in order, as they arrived.
#[derive(Debug)]
pub struct ShardRecords {
    /// The shard.
    pub shard_id: String,
    /// Its rank in the lineage.
    pub rank: u64,
    /// The ordinal of the first record.
    pub first_ordinal: u64,
    /// The records.
    pub records: Vec<EncodedRecord>,
    /// Where each stands in its shard, by the service.
    pub sequences: Vec<SequenceInfo>,
    /// The commit clock after each, in microseconds: never falls along the lineage.
    pub clocks_us: Vec<i64>,
    /// Bytes of the response that holds the records.
    pub body_bytes: usize,
    /// Read capacity units that the page took.
    pub read_capacity_units: u64,
}

/// Where records go.
pub trait RecordSink {
    /// Takes records. Only when it returns are they counted as read; an error ends the reading.
    fn take(&mut self, records: ShardRecords) -> impl Future<Output = Result<()>> + Send;
}

/// A clock that tests can move.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The clock of this machine.
pub fn system_clock() -> Clock {
    Arc::new(Timestamp::now)
}

/// Where a Stream that was not read before is begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamStart {
    /// At what is written from now on; a little of what was written before comes too.
    Now,
    /// At the oldest records there are.
    Oldest,
}

/// A reader of one table's Stream.
///
/// Memory: 8 response bodies, or [as many as are allowed](StreamReader::with_pages_in_flight). After an error its places are still true: what the sink took is counted, nothing else.
pub struct StreamReader {
    client: TableStore,
    table: String,
    cpu: CpuPool,
    clock: Clock,
    identity: StreamIdentity,
    expiration: Duration,
    lineage: Lineage,
    pages_in_flight: usize,
    /// When the request was sent that found nothing more.
    caught_up: BTreeMap<String, Instant>,
    alarm: RetentionAlarm,
    /// Shards whose place is looked for again: records up to the last one that was read are passed over.
    searching: BTreeMap<String, Search>,
}

impl StreamReader {
    /// Opens the Stream of a table. When this returns every shard has its place.
    ///
    /// # Errors
    /// [`Kind::Refused`] for a table without a Stream.
    pub async fn begin(
        client: &TableStore,
        table: &TableDefinition,
        start: StreamStart,
        cpu: CpuPool,
        clock: Clock,
    ) -> Result<StreamReader> {
        let mut reader = StreamReader::new(client, table, Lineage::new(), cpu, clock)?;
        let start = match start {
            StreamStart::Oldest => ShardStart::Oldest,
            StreamStart::Now => {
                ShardStart::At((reader.clock)().as_microsecond().saturating_sub(micros(CLOCK_MARGIN)))
            }
        };
        reader.list().await?;
        // Shards behind those are begun later, and by then a clock that went back may have dated new records before `start`.
        reader.begin_ready(start).await?;
        Ok(reader)
    }

    /// Goes on where a committed run ended.
    ///
    /// # Errors
    /// [`Kind::Gap`] when it is another Stream, or when records may have expired meanwhile.
    pub async fn resume(
        client: &TableStore,
        table: &TableDefinition,
        span: &StreamSpan,
        cpu: CpuPool,
        clock: Clock,
    ) -> Result<StreamReader> {
        let mut reader = StreamReader::new(client, table, Lineage::resume(&span.to), cpu, clock)?;
        if reader.identity != span.identity {
            return Err(another_stream(&reader.table, &span.identity, &reader.identity));
        }
        for shard in reader.lineage.shards() {
            reader.check_deadline(&shard)?;
        }
        reader.list().await?;
        reader.begin_ready(ShardStart::Oldest).await?;
        Ok(reader)
    }

    fn new(
        client: &TableStore,
        table: &TableDefinition,
        lineage: Lineage,
        cpu: CpuPool,
        clock: Clock,
    ) -> Result<StreamReader> {
        let (Some(identity), Some(stream)) = (StreamIdentity::of(table), &table.stream) else {
            return Err(Error::new(Kind::Refused, "read the Stream")
                .on(format!("of table `{}`", table.name))
                .because("it has none"));
        };
        let hours = u64::try_from(stream.expiration_hours).unwrap_or(0);
        Ok(StreamReader {
            client: client.clone(),
            table: table.name.clone(),
            cpu,
            clock,
            identity,
            expiration: Duration::from_secs(hours * 3600),
            lineage,
            pages_in_flight: PAGES_IN_FLIGHT,
            caught_up: BTreeMap::new(),
            alarm: RetentionAlarm::default(),
            searching: BTreeMap::new(),
        })
    }

    /// The same, with at most so many pages at the same time.
    pub fn with_pages_in_flight(self, pages: usize) -> StreamReader {
        StreamReader { pages_in_flight: pages.max(1), ..self }
    }

    /// What was read since a set of places that this reader once stood at.
    pub fn span_from(&self, from: Vec<ShardProgress>) -> StreamSpan {
        let hours = self.expiration.as_secs() / 3600;
        StreamSpan {
            identity: self.identity.clone(),
            expiration_hours: i32::try_from(hours).unwrap_or(i32::MAX),
            from,
            to: self.progress(),
        }
    }

    /// The Stream.
    pub fn identity(&self) -> &StreamIdentity {
        &self.identity
    }

    /// How far every shard is read, by rank.
    pub fn progress(&self) -> Vec<ShardProgress> {
        self.lineage.shards()
    }

    /// How much of the Stream's retention has passed since the last complete look at the shard that waits longest: at 1 records are lost.
    pub fn retention_used(&self) -> f64 {
        let now = (self.clock)();
        let unread = self.lineage.shards().into_iter().filter(|shard| shard.place != ShardPlace::Closed);
        let oldest = unread.map(|shard| age(now, shard.caught_up_at)).max().unwrap_or_default();
        oldest.as_secs_f64() / self.expiration.as_secs_f64().max(1.0)
    }

    /// Asks once for more of every shard that is open, and begins those whose turn it is. Says whether there was anything.
    ///
    /// # Errors
    /// [`Kind::Gap`]; [`Kind::Corrupt`] for a record that cannot be understood; those of the sink.
    pub async fn pass(&mut self, sink: &mut impl RecordSink) -> Result<bool> {
        self.begin_ready(ShardStart::Oldest).await?;
        let (client, table) = (self.client.clone(), self.table.clone());
        let (client, table) = (&client, table.as_str());
        let asked = futures::stream::iter(self.lineage.open()).map(|(shard, iterator)| async move {
            let sent = Instant::now();
            (shard, sent, client.get_stream_record(table, &iterator, None).await)
        });
        let mut pages = asked.buffer_unordered(self.pages_in_flight);
        let (mut anything, mut closed) = (false, Vec::new());
        while let Some((shard, sent, page)) = pages.next().await {
            match page {
                Ok(page) => {
                    let is_closed = page.position == ShardPosition::Closed;
                    let more = matches!(page.position, ShardPosition::More(_));
                    anything |= self.absorb(&shard, sent, page, sink).await? > 0 || is_closed || more;
                    closed.extend(is_closed.then_some(shard));
                }
                Err(error) if error.kind() == Kind::Gap => {
                    self.search_again(&shard, error).await?;
                    anything = true;
                }
                Err(error) => return Err(error),
            }
        }
        drop(pages);
        // Those that were listed together with what came of them are not asked for again: a Stream may be many splits ahead.
        if closed.iter().any(|shard| !self.lineage.is_succeeded(shard)) {
            self.list().await?;
        }
        self.alarm.look(self.retention_used());
        Ok(anything)
    }

    /// Reads up to the fence: what was committed before it is read then, and shards that came meanwhile are begun.
    ///
    /// # Errors
    /// As [`StreamReader::pass`], and [`Kind::Gap`] when the table or its Stream is another one by now.
    pub async fn drain(&mut self, fence: Fence, sink: &mut impl RecordSink) -> Result<TableDefinition> {
        loop {
            let anything = self.pass(sink).await?;
            let is_passed = |shard: &ShardProgress| {
                shard.place == ShardPlace::Waiting
                    || fence.is_passed_by(shard, self.caught_up.get(&shard.shard_id))
            };
            if self.lineage.shards().iter().all(is_passed) && self.lineage.ready().is_empty() {
                let added = self.list().await?;
                if added.is_empty() && self.lineage.ready().is_empty() {
                    return self.check_identity().await;
                }
            } else if !anything {
                sleep(fence.pause()).await;
            }
        }
    }

    /// Asks whether table and Stream are still the same, and gives the table as it is now.
    ///
    /// # Errors
    /// [`Kind::Gap`] when not.
    pub async fn check_identity(&mut self) -> Result<TableDefinition> {
        let described = match self.client.describe_table(&self.table).await {
            Ok(described) => described.definition,
            Err(error) if error.kind() == Kind::NotFound => return Err(stream_is_gone(&self.table, error)),
            Err(error) => return Err(error),
        };
        match StreamIdentity::of(&described) {
            Some(now) if now == self.identity => {}
            Some(now) => return Err(another_stream(&self.table, &self.identity, &now)),
            None => {
                let reason = Error::new(Kind::Gap, "find the Stream").because("it was disabled");
                return Err(stream_is_gone(&self.table, reason));
            }
        }
        let hours = described.stream.as_ref().map_or(0, |stream| stream.expiration_hours);
        self.expiration = Duration::from_secs(u64::try_from(hours).unwrap_or(0) * 3600);
        Ok(described)
    }

    /// Begins every shard whose parents are read.
    async fn begin_ready(&mut self, start: ShardStart) -> Result<()> {
        for shard in self.lineage.ready() {
            if let Some(progress) = self.lineage.shard(&shard) {
                self.check_deadline(progress)?;
            }
            let iterator = self.iterator(&shard, start).await?;
            self.lineage.begin(&shard, iterator);
        }
        Ok(())
    }

    async fn iterator(&self, shard: &str, start: ShardStart) -> Result<String> {
        let found = self.client.get_shard_iterator(&self.identity.stream_id, shard, start).await;
        found.map_err(|error| match error.kind() {
            Kind::NotFound | Kind::Gap => gap(shard, "the service does not know it any more").source(error),
            _ => error,
        })
    }

    /// Counts a page in, once the sink has it. Says how many records were new.
    async fn absorb(
        &mut self,
        shard_id: &str,
        sent: Instant,
        page: RecordPage,
        sink: &mut impl RecordSink,
    ) -> Result<usize> {
        let Some(shard) = self.lineage.shard(shard_id).cloned() else { return Ok(0) };
        let search = self.searching.get(shard_id).copied();
        let pass_over = search.and(shard.last);
        let RecordPage { records, position, read_capacity_units, body_bytes, request_id } = page;
        let clock_us = shard.clock_us;
        let scanned = self.cpu.run(move || scan(records, pass_over, clock_us)).await?;
        let scanned = scanned.map_err(|error| {
            Error::new(Kind::Corrupt, "understand a record")
                .on(format!("of shard `{shard_id}`"))
                .source(error)
                .request_id(request_id)
        })?;
        if let Some(search) = self.searching.get_mut(shard_id) {
            search.seen_last |= scanned.seen_last;
            let is_found = !scanned.records.is_empty() || !matches!(position, ShardPosition::More(_));
            if is_found {
                let seen_last = search.seen_last;
                self.searching.remove(shard_id);
                self.check_found(&shard, seen_last)?;
            }
        }
        let (count, last, clock_us) =
            (scanned.records.len(), scanned.sequences.last().copied(), scanned.clocks_us.last().copied());
        if count > 0 {
            let records = ShardRecords {
                shard_id: shard_id.to_owned(),
                rank: shard.rank,
                first_ordinal: shard.ordinal,
                records: scanned.records,
                sequences: scanned.sequences,
                clocks_us: scanned.clocks_us,
                body_bytes,
                read_capacity_units,
            };
            sink.take(records).await?;
        }
        let now = (self.clock)();
        let is_caught_up = matches!(position, ShardPosition::CaughtUp(_));
        self.lineage.update(shard_id, |shard| {
            shard.ordinal += count as u64;
            shard.last = last.or(shard.last);
            shard.clock_us = clock_us.unwrap_or(shard.clock_us);
            if is_caught_up {
                shard.caught_up_at = shard.caught_up_at.max(now - sent.elapsed());
            }
            shard.place = match position {
                ShardPosition::More(next) | ShardPosition::CaughtUp(next) => ShardPlace::Iterator(next),
                ShardPosition::Closed => ShardPlace::Closed,
            };
        });
        if is_caught_up {
            self.caught_up.insert(shard_id.to_owned(), sent);
        }
        Ok(count)
    }

    /// Lists the shards until two lists agree, and takes them in. Says which are new.
    async fn list(&mut self) -> Result<Vec<String>> {
        let mut before: Option<StreamDescription> = None;
        for _ in 0..MOST_LISTS {
            let described = match self.client.describe_stream(&self.identity.stream_id).await {
                Ok(described) => described,
                Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Gap) => {
                    return Err(stream_is_gone(&self.table, error));
                }
                Err(error) => return Err(error),
            };
            if !described.is_active {
                return Err(Error::new(Kind::Unavailable, "read the Stream")
                    .on(format!("of table `{}`", self.table))
                    .because("it is still being enabled"));
            }
            let ids = |described: &StreamDescription| -> BTreeSet<String> {
                described.shards.iter().map(|shard| shard.shard_id.clone()).collect()
            };
            if before.as_ref().is_some_and(|before| ids(before) == ids(&described)) {
                return self.lineage.list(&described.shards, (self.clock)());
            }
            before = Some(described);
        }
        Err(Error::new(Kind::Unavailable, "list the shards")
            .on(format!("of table `{}`", self.table))
            .because(format!("they changed between each of {MOST_LISTS} lists")))
    }
}

pub(super) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// Zero for what another clock dates to the future.
fn age(now: Timestamp, time: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(time)).unwrap_or_default()
}
