//! The shard reader against the sandbox's Streams.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use otsvault::catalog::{ShardPlace, ShardProgress, StreamSpan};
use otsvault::runtime::CpuPool;
use otsvault::sandbox::faults::Action;
use otsvault::sandbox::table_store::StreamCut;
use otsvault::stream::{Fence, RecordSink, ShardRecords, StreamReader, StreamStart};
use otsvault::tablestore::{EncodedRecord, StreamSetting, TableStore, TableUpdate};
use otsvault::{Error, Kind, Result};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::seeds;
use crate::stage::Stage;
use crate::workload::{Model, TABLE, change_something, definition, move_partitions, stage_with_stream};

/// Everything that was read, by its place.
#[derive(Default)]
struct Read {
    records: BTreeMap<(u64, u64), EncodedRecord>,
    clocks: BTreeMap<(u64, u64), i64>,
    /// Refuses records once there are so many, as a full disk would.
    most: Option<usize>,
}

impl RecordSink for Read {
    async fn take(&mut self, read: ShardRecords) -> Result<()> {
        if self.most.is_some_and(|most| self.records.len() >= most) {
            return Err(Error::new(Kind::Io, "take records"));
        }
        let ordinals = read.first_ordinal..;
        for ((ordinal, record), clock) in ordinals.zip(read.records).zip(read.clocks_us) {
            let place = (read.rank, ordinal);
            assert!(self.records.insert(place, record).is_none(), "a record came twice: {place:?}");
            self.clocks.insert(place, clock);
        }
        Ok(())
    }
}

impl Read {
    /// Replays in the order of the places.
    fn replayed(&self) -> Model {
        let mut model = Model::default();
        self.records.values().for_each(|record| model.apply(&record.decode().unwrap()));
        model
    }

    /// Replays in the order of the commit times: what must go wrong.
    fn replayed_by_time(&self) -> Model {
        let mut records: Vec<_> = self.records.values().map(|record| record.decode().unwrap()).collect();
        records.sort_by_key(|record| (record.sequence.timestamp_us, record.sequence.row_index));
        let mut model = Model::default();
        records.iter().for_each(|record| model.apply(record));
        model
    }
}

/// The sandbox's clock, which tests move.
#[derive(Clone, Default)]
struct Time(Arc<AtomicI64>);

impl Time {
    fn clock(&self) -> Arc<dyn Fn() -> Timestamp + Send + Sync> {
        let ahead = self.0.clone();
        Arc::new(move || Timestamp::now() + SignedDuration::from_secs(ahead.load(SeqCst)))
    }

    fn pass(&self, stage: &Stage, hours: i64) {
        self.0.fetch_add(hours * 3600, SeqCst);
        stage.sandbox.advance_clock(Duration::from_secs(hours as u64 * 3600));
    }
}

fn cpu() -> CpuPool {
    CpuPool::new(1).unwrap()
}

async fn begin(client: &TableStore, time: &Time) -> StreamReader {
    let table = client.describe_table(TABLE).await.unwrap().definition;
    StreamReader::begin(client, &table, StreamStart::Oldest, cpu(), time.clock()).await.unwrap()
}

/// A later process goes on from what a manifest would hold.
async fn resume(client: &TableStore, reader: &StreamReader, time: &Time) -> Result<StreamReader> {
    let span = span(reader);
    let stored = serde_json::to_string(&span).unwrap();
    resume_from(client, &serde_json::from_str(&stored).unwrap(), time).await
}

async fn resume_from(client: &TableStore, span: &StreamSpan, time: &Time) -> Result<StreamReader> {
    span.check().unwrap();
    let table = client.describe_table(TABLE).await.unwrap().definition;
    StreamReader::resume(client, &table, span, cpu(), time.clock()).await
}

fn span(reader: &StreamReader) -> StreamSpan {
    let to = reader.progress();
    StreamSpan { identity: reader.identity().clone(), expiration_hours: 24, from: Vec::new(), to }
}

/// Up to everything that is acknowledged: the sandbox shows it at once.
async fn drain(reader: &mut StreamReader, read: &mut Read) -> Result<()> {
    reader.drain(Fence::now(Duration::ZERO), read).await.map(drop)
}

fn cut(reader: &StreamReader) -> StreamCut {
    let begun = |shard: &&ShardProgress| shard.place != ShardPlace::Waiting;
    let progress = reader.progress();
    let records =
        progress.iter().filter(begun).map(|shard| (shard.shard_id.clone(), shard.ordinal)).collect();
    StreamCut { stream_id: reader.identity().stream_id.clone(), records }
}

#[tokio::test]
async fn every_record_is_read_once_in_an_order_whose_replay_is_the_table() {
    let mut by_time_is_wrong = 0;
    for seed in seeds(20) {
        let mut random = StdRng::seed_from_u64(seed);
        let (stage, client) = stage_with_stream(24).await;
        let (time, mut read) = (Time::default(), Read::default());
        let mut reader = begin(&client, &time).await;
        for _ in 0..6 {
            for _ in 0..random.random_range(0..25) {
                match random.random_range(0..12) {
                    0 => move_partitions(&stage, &mut random),
                    1 => drop(reader.pass(&mut read).await.unwrap()),
                    2 => {
                        let partitions = stage.sandbox.table_store().partitions(TABLE).unwrap().len();
                        let (partition, by) =
                            (random.random_range(0..partitions), random.random_range(-600_000..0));
                        stage.sandbox.table_store().shift_stream_clock(TABLE, partition, by).unwrap();
                    }
                    3 => stage.sandbox.table_store().hold_stream_clock(TABLE, random.random()).unwrap(),
                    _ => change_something(&client, &mut random).await,
                }
            }
            drain(&mut reader, &mut read).await.unwrap();
            assert_eq!(read.replayed(), Model::of_table(&stage), "DELTA_SEED={seed}");
            let image = stage.sandbox.table_store().image_sum(TABLE, &cut(&reader), None).unwrap();
            assert_eq!(image, stage.table_sum(TABLE), "the places are the oracle's, DELTA_SEED={seed}");
            if random.random_bool(0.5) {
                reader = resume(&client, &reader, &time).await.unwrap();
            }
        }
        let all = stage.sandbox.table_store().stream_cut(TABLE).unwrap().records.values().sum::<u64>();
        assert_eq!(read.records.len() as u64, all, "DELTA_SEED={seed}");
        by_time_is_wrong += usize::from(read.replayed_by_time() != Model::of_table(&stage));
    }
    println!("a replay by time is wrong in {by_time_is_wrong} cases");
    assert!(by_time_is_wrong > 0 || std::env::var("DELTA_SEED").is_ok(), "the workload is too tame");
}

#[tokio::test]
async fn the_commit_clock_never_falls_along_the_lineage_of_a_key() {
    let mut random = StdRng::seed_from_u64(5);
    let (stage, client) = stage_with_stream(24).await;
    let (time, mut read) = (Time::default(), Read::default());
    let mut reader = begin(&client, &time).await;
    for step in 0..40 {
        change_something(&client, &mut random).await;
        if step % 10 == 9 {
            stage.sandbox.table_store().shift_stream_clock(TABLE, 0, -300_000).unwrap();
            move_partitions(&stage, &mut random);
        }
    }
    drain(&mut reader, &mut read).await.unwrap();
    let mut latest: BTreeMap<String, i64> = BTreeMap::new();
    for (place, record) in &read.records {
        let key = format!("{:?}", record.decode().unwrap().row.key);
        let clock = read.clocks[place];
        assert!(latest.insert(key, clock).is_none_or(|before| before <= clock), "{place:?}");
    }
}

#[tokio::test]
async fn a_sink_that_fails_loses_nothing_and_gets_nothing_twice() {
    let mut random = StdRng::seed_from_u64(9);
    let (stage, client) = stage_with_stream(24).await;
    let (time, mut read) = (Time::default(), Read::default());
    let mut reader = begin(&client, &time).await;
    for most in [0, 30, 60] {
        for _ in 0..40 {
            change_something(&client, &mut random).await;
        }
        move_partitions(&stage, &mut random);
        read.most = Some(most);
        let _ = drain(&mut reader, &mut read).await;
        reader = resume(&client, &reader, &time).await.unwrap();
    }
    read.most = None;
    drain(&mut reader, &mut read).await.unwrap();
    assert_eq!(read.replayed(), Model::of_table(&stage));
}

#[tokio::test]
async fn idle_shards_are_no_gap_however_long_they_are_idle() {
    for seed in seeds(20) {
        let mut random = StdRng::seed_from_u64(seed);
        let (stage, client) = stage_with_stream(24).await;
        let (time, mut read) = (Time::default(), Read::default());
        let mut reader = begin(&client, &time).await;
        for _ in 0..random.random_range(0..8) {
            change_something(&client, &mut random).await;
        }
        // Three times the retention at least.
        for _ in 0..7 {
            drain(&mut reader, &mut read).await.unwrap();
            time.pass(&stage, random.random_range(11..23));
            reader = resume(&client, &reader, &time).await.unwrap();
        }
        for _ in 0..30 {
            change_something(&client, &mut random).await;
        }
        drain(&mut reader, &mut read).await.unwrap();
        assert_eq!(read.replayed(), Model::of_table(&stage), "DELTA_SEED={seed}");
    }
}

#[tokio::test]
async fn a_place_that_aged_is_looked_for_by_time_and_no_record_comes_twice() {
    let mut random = StdRng::seed_from_u64(2);
    let (stage, client) = stage_with_stream(24).await;
    let (time, mut read) = (Time::default(), Read::default());
    let mut reader = begin(&client, &time).await;
    for _ in 0..20 {
        change_something(&client, &mut random).await;
    }
    drain(&mut reader, &mut read).await.unwrap();
    let old = span(&reader);
    time.pass(&stage, 13);
    for _ in 0..10 {
        change_something(&client, &mut random).await;
    }
    drain(&mut reader, &mut read).await.unwrap();
    time.pass(&stage, 13);
    // A service that gives an idle shard the same iterator again and again, until it is too old.
    let mut aged = span(&reader);
    for (shard, before) in aged.to.iter_mut().zip(&old.to) {
        shard.place = before.place.clone();
        shard.caught_up_at = (time.clock())();
    }
    let mut reader = resume_from(&client, &aged, &time).await.unwrap();
    for _ in 0..10 {
        change_something(&client, &mut random).await;
    }
    drain(&mut reader, &mut read).await.unwrap();
    assert_eq!(read.replayed(), Model::of_table(&stage));
}

/// Something between two reads that loses records, or could.
async fn after(break_it: impl AsyncFnOnce(&Stage, &TableStore, &Time, &StreamReader)) -> Error {
    let mut random = StdRng::seed_from_u64(3);
    let (stage, client) = stage_with_stream(24).await;
    let (time, mut read) = (Time::default(), Read::default());
    let mut reader = begin(&client, &time).await;
    for _ in 0..10 {
        change_something(&client, &mut random).await;
    }
    drain(&mut reader, &mut read).await.unwrap();
    for _ in 0..10 {
        change_something(&client, &mut random).await;
    }
    break_it(&stage, &client, &time, &reader).await;
    let before = read.records.len();
    let outcome = match resume(&client, &reader, &time).await {
        Ok(mut reader) => drain(&mut reader, &mut read).await,
        Err(error) => Err(error),
    };
    let error = outcome.expect_err("a gap");
    assert_eq!((error.kind(), error.exit_code()), (Kind::Gap, 4), "{}", error.report());
    assert_eq!(read.records.len(), before, "nothing past the gap");
    error
}

fn trim(stage: &Stage, reader: &StreamReader, records: u64) {
    let shard = &reader.progress()[0].shard_id;
    stage.sandbox.table_store().trim_stream(TABLE, shard, records).unwrap();
}

#[tokio::test]
async fn records_that_were_removed_are_a_gap() {
    let error = after(async |stage, _, _, reader| trim(stage, reader, 15)).await;
    assert!(error.report().contains("removed"), "{}", error.report());
}

#[tokio::test]
async fn an_absence_longer_than_the_retention_is_a_gap() {
    let error = after(async |stage, _, time, _| time.pass(stage, 25)).await;
    assert!(error.report().contains("keeps records for 24 hours"), "{}", error.report());
}

#[tokio::test]
async fn a_shard_that_vanished_unread_is_a_gap() {
    let error = after(async |stage, _, _, reader| {
        let key = otsvault::model::PrimaryKey(vec![otsvault::model::KeyPart::Integer(30)]);
        stage.sandbox.table_store().split_partition(TABLE, &key).unwrap();
        trim(stage, reader, u64::MAX);
    })
    .await;
    assert!(error.report().contains("not listed any more"), "{}", error.report());
}

#[tokio::test]
async fn a_stream_that_was_enabled_again_is_a_gap() {
    let error = after(async |_, client, _, _| {
        let on = StreamSetting::On { expiration_hours: 24, columns: Vec::new() };
        for setting in [StreamSetting::Off, on] {
            let update = TableUpdate { stream: Some(setting), ..TableUpdate::default() };
            client.update_table(TABLE, update).await.unwrap();
        }
    })
    .await;
    assert!(error.report().contains("enabled again"), "{}", error.report());
}

#[tokio::test]
async fn a_table_that_was_created_again_is_a_gap() {
    let error = after(async |_, client, _, _| {
        client.delete_table(TABLE).await.unwrap();
        client.create_table(&definition(24), &[]).await.unwrap();
    })
    .await;
    assert!(error.report().contains("again"), "{}", error.report());
}

#[tokio::test]
async fn a_stream_that_is_enabled_again_while_it_is_read_is_a_gap() {
    let (stage, client) = stage_with_stream(24).await;
    let (time, mut read) = (Time::default(), Read::default());
    let mut reader = begin(&client, &time).await;
    drain(&mut reader, &mut read).await.unwrap();
    let on = StreamSetting::On { expiration_hours: 24, columns: Vec::new() };
    for setting in [StreamSetting::Off, on] {
        client
            .update_table(TABLE, TableUpdate { stream: Some(setting), ..TableUpdate::default() })
            .await
            .unwrap();
    }
    let mut random = StdRng::seed_from_u64(4);
    change_something(&client, &mut random).await;
    let error = drain(&mut reader, &mut read).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Gap, "{}", error.report());
    drop(stage);
}

#[tokio::test]
async fn faults_on_the_way_lose_nothing() {
    let mut random = StdRng::seed_from_u64(7);
    let (stage, client) = stage_with_stream(24).await;
    let (time, mut read) = (Time::default(), Read::default());
    let mut reader = begin(&client, &time).await;
    for nth in 1..=6 {
        for action in [Action::DropBefore, Action::DropAfter] {
            for operation in ["GetStreamRecord", "DescribeStream", "GetShardIterator"] {
                stage.table_store_fault(operation, nth, action.clone());
            }
        }
    }
    for _ in 0..4 {
        for _ in 0..15 {
            change_something(&client, &mut random).await;
        }
        move_partitions(&stage, &mut random);
        drain(&mut reader, &mut read).await.unwrap();
    }
    assert_eq!(read.replayed(), Model::of_table(&stage));
}
