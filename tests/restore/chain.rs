//! A chain that a test writes by itself: an exact base and deltas, and the table as it was after every record.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use object_store::ObjectStoreExt;
use otsvault::catalog::{
    Chain, Consistency, Delta, DeltaEntry, DeltaManifest, DeltaTotals, FileId, Manifest, ReadCost, RunId,
    RunKind, RunPath, RunState, ShardPlace, ShardProgress, ShardSlice, StoredFile, StreamIdentity,
    StreamSpan, TablePath, find_runs, publish, write_file_list,
};
use otsvault::columnar::{ColumnPlan, RecordBatchBuilder};
use otsvault::model::{
    Cell, CellOp, KeyPart, PrimaryKey, PrimaryKeyValue, RecordPlace, RecordType, Row, SequenceInfo,
    StreamRecord, TableDefinition, Value,
};
use otsvault::objectstore::UploadStore;
use otsvault::parquet_file::{FileEncoder, WriterSettings};
use rand::Rng;
use rand::rngs::StdRng;
use sha2::{Digest, Sha256};

use crate::play::Play;

/// Column to timestamp to value.
pub type Cells = BTreeMap<String, BTreeMap<i64, Value<'static>>>;

/// Rows by id.
pub type Table = BTreeMap<i64, Cells>;

#[derive(Debug, Clone)]
pub struct Record {
    pub id: i64,
    pub record_type: RecordType,
    pub cells: Vec<Cell<'static>>,
}

pub struct ChainWriter {
    store: Arc<dyn UploadStore>,
    table: TablePath,
    pub base: RunPath,
    manifest: Manifest,
    max_versions: usize,
    /// Records so far.
    ordinal: u64,
    place: Vec<ShardProgress>,
    /// The table after each record; the first: before all of them.
    pub states: Vec<Table>,
    /// Every run, with how many records there are up to its end and when that was.
    pub runs: Vec<(RunId, u64, Timestamp)>,
}

/// Records of a file at most.
const FILE_RECORDS: usize = 700;

impl ChainWriter {
    /// Takes the newest backup of `table` and makes it exact: before, during and after its scan these `records` happened. `scanned` is
    /// the table as the scan found it.
    pub async fn begin(play: &Play, table: &str, scanned: Table, records: &[Record]) -> ChainWriter {
        let vault = play.stage.vault().await;
        let (store, path) = (vault.store().clone(), vault.table("sandbox", table).unwrap());
        let run = find_runs(&*store, &path).await.unwrap().pop().unwrap();
        let RunState::Committed(base, manifest) = run else { panic!("{run:?}") };
        store.delete(&base.manifest()).await.unwrap();
        let mut writer = ChainWriter {
            store,
            table: path,
            base: base.clone(),
            max_versions: manifest.table.options.max_versions.unwrap() as usize,
            manifest: *manifest,
            ordinal: 0,
            place: Vec::new(),
            states: vec![scanned],
            runs: Vec::new(),
        };
        writer.place = writer.progress();
        let delta = writer.delta(&base, records).await;
        writer.manifest.consistency = Consistency::Exact;
        writer.manifest.delta = Some(Box::new(delta));
        publish(&*writer.store, &base, &writer.manifest).await.unwrap();
        writer.runs.push((base.run, writer.ordinal, writer.clock(writer.ordinal)));
        writer
    }

    /// Appends a delta of these records.
    pub async fn follow(&mut self, records: &[Record]) {
        let chain = Chain::read(&*self.store, &self.table, &self.base).await.unwrap();
        let sequence = chain.deltas.len() as u64 + 1;
        let run: RunId = format!("20261126t000000z-{:08x}", rand::random::<u32>()).parse().unwrap();
        let path = self.table.delta(&self.base.chain, sequence, &run);
        let delta = self.delta(&path, records).await;
        let manifest = DeltaManifest {
            format_version: 1,
            tool: "test".to_owned(),
            kind: RunKind::Delta,
            chain: self.base.chain.clone(),
            run: run.clone(),
            sequence,
            parent: chain.parent_of_next(),
            source: self.manifest.source.clone(),
            table: self.definition(),
            started_at: Timestamp::now(),
            finished_at: Timestamp::now(),
            delta,
        };
        manifest.publish(&*self.store, &path).await.unwrap();
        self.runs.push((run, self.ordinal, self.clock(self.ordinal)));
    }

    /// The table's definition from here on.
    pub fn change_definition(&mut self, change: impl FnOnce(&mut TableDefinition)) {
        change(&mut self.manifest.table);
    }

    fn definition(&self) -> TableDefinition {
        self.manifest.table.clone()
    }

    /// When the record before ordinal `ordinal` was committed; one second later nothing else had happened. Ten seconds lie between two.
    pub fn clock(&self, ordinal: u64) -> Timestamp {
        self.manifest.started_at + SignedDuration::from_secs(10 * ordinal as i64)
    }

    fn progress(&self) -> Vec<ShardProgress> {
        vec![ShardProgress {
            shard_id: "s".to_owned(),
            parents: Vec::new(),
            rank: 0,
            ordinal: self.ordinal,
            clock_us: self.clock(self.ordinal).as_microsecond(),
            last: None,
            caught_up_at: self.clock(self.ordinal) + SignedDuration::from_secs(1),
            place: ShardPlace::Iterator(format!("at {}", self.ordinal)),
        }]
    }

    async fn delta(&mut self, path: &RunPath, records: &[Record]) -> Delta {
        let from = self.place.clone();
        let mut entries = Vec::new();
        for of_file in records.chunks(FILE_RECORDS) {
            entries.push(self.file(path, of_file).await);
        }
        self.place = self.progress();
        let identity = StreamIdentity { stream_id: "s".to_owned(), enabled_at_us: 1, table_created_at: None };
        Delta {
            stream: StreamSpan { identity, expiration_hours: 24, from, to: self.place.clone() },
            columns: self.manifest.columns.clone(),
            file_list: write_file_list(&*self.store, path, &entries).await.unwrap(),
            totals: DeltaTotals::of(&entries),
        }
    }

    async fn file(&mut self, path: &RunPath, records: &[Record]) -> DeltaEntry {
        let start = self.ordinal;
        let mut placed = Vec::new();
        for record in records {
            self.ordinal += 1;
            let clock_us = self.clock(self.ordinal).as_microsecond();
            placed.push((record, RecordPlace { rank: 0, ordinal: self.ordinal - 1, clock_us }));
            let mut table = self.states.last().unwrap().clone();
            apply(&mut table, record, self.max_versions);
            self.states.push(table);
        }
        placed.sort_by_key(|(record, place)| (record.id, place.ordinal));
        let (bytes, totals) = encode(&placed, &self.manifest.columns);
        let id = FileId::random();
        self.store.put(&path.record_file(id), bytes.1.clone().into()).await.unwrap();
        let key = |id: i64| PrimaryKey(vec![KeyPart::Integer(id)]);
        DeltaEntry {
            id,
            first_key: key(placed[0].0.id),
            last_key: key(placed[placed.len() - 1].0.id),
            records: totals.records,
            cells: totals.cells,
            logical_bytes: totals.logical_bytes,
            record_sum: totals.record_sum,
            shards: vec![ShardSlice { rank: 0, from: start, to: self.ordinal }],
            file: StoredFile {
                bytes: bytes.1.len() as u64,
                sha256: hex::encode(Sha256::digest(&bytes.1)),
                crc64: "00".repeat(8),
                row_groups: bytes.0,
            },
            read: ReadCost::default(),
        }
    }
}

/// Row groups and bytes of a file, and what is in it.
fn encode(
    records: &[(&Record, RecordPlace)],
    plan: &ColumnPlan,
) -> ((usize, Bytes), otsvault::columnar::RecordTotals) {
    let plan = Arc::new(plan.clone());
    let mut builder = RecordBatchBuilder::new(plan.clone());
    for (Record { id, record_type, cells }, place) in records {
        let sequence = SequenceInfo { epoch: 0, timestamp_us: place.clock_us, row_index: 0 };
        let key = vec![("id", PrimaryKeyValue::Integer(*id))];
        let row = Row { key, cells: cells.clone(), ..Row::default() };
        let record = StreamRecord { record_type: *record_type, sequence, row };
        builder.append(&record, *place, "s").unwrap();
    }
    let (batch, totals) = builder.finish().unwrap();
    let settings = WriterSettings { row_group_rows: 256, ..WriterSettings::default() };
    let mut encoder = FileEncoder::of_records(&plan, &settings, Vec::new()).unwrap();
    encoder.write(&batch).unwrap();
    let mut bytes = encoder.take_bytes();
    let file = encoder.finish(Vec::new()).unwrap();
    bytes.extend(file.rest);
    ((file.row_groups, bytes.concat().into()), totals)
}

fn apply(table: &mut Table, record: &Record, max_versions: usize) {
    let puts = record.cells.iter().any(|cell| cell.op.is_none());
    match record.record_type {
        RecordType::Delete => drop(table.remove(&record.id)),
        RecordType::Put => drop(table.insert(record.id, Cells::new())),
        RecordType::Update if puts => drop(table.entry(record.id).or_default()),
        RecordType::Update => {}
    }
    let Some(row) = table.get_mut(&record.id) else { return };
    for cell in &record.cells {
        let versions = row.entry(cell.name.to_owned()).or_default();
        match (cell.op, cell.value) {
            (None, Some(value)) => {
                versions.insert(cell.timestamp.unwrap(), value);
                while versions.len() > max_versions {
                    versions.pop_first();
                }
            }
            (Some(CellOp::DeleteAllVersions), _) => versions.clear(),
            _ => drop(versions.remove(&cell.timestamp.unwrap())),
        }
    }
    row.retain(|_, versions| !versions.is_empty());
}

pub fn any_value(random: &mut StdRng) -> Value<'static> {
    match random.random_range(0..4) {
        0 => Value::Integer(random.random()),
        1 => Value::Boolean(random.random()),
        2 => Value::String(["", "x", "ümläut"][random.random_range(0..3)]),
        _ => Value::Binary(&[0, 255, 1]),
    }
}

/// A put, an update or a delete of a row below `ids`. Of versions none is deleted by itself: such rows can be ambiguous.
pub fn any_record(random: &mut StdRng, ids: i64) -> Record {
    let record_type = match random.random_range(0..10) {
        0..=2 => RecordType::Put,
        3 => RecordType::Delete,
        _ => RecordType::Update,
    };
    let mut cells = Vec::new();
    for name in ["a", "b", "c", "new"] {
        match random.random_range(0..6) {
            _ if record_type == RecordType::Delete => {}
            0..=2 => cells.push(Cell::put(name, any_value(random), Some(random.random_range(1..40)))),
            3 if record_type == RecordType::Update => {
                cells.push(Cell { name, value: None, op: Some(CellOp::DeleteAllVersions), timestamp: None });
            }
            _ => {}
        }
    }
    Record { id: random.random_range(0..ids), record_type, cells }
}

/// A table as the sandbox shows it.
pub fn table_of(play: &Play, name: &str) -> Table {
    let mut table = Table::new();
    let visit = |row: &Row<'_>| {
        let PrimaryKeyValue::Integer(id) = row.key[0].1 else { panic!("{:?}", row.key) };
        let cells = table.entry(id).or_default();
        for cell in &row.cells {
            let value = match cell.value.unwrap() {
                Value::Integer(value) => Value::Integer(value),
                Value::Double(value) => Value::Double(value),
                Value::Boolean(value) => Value::Boolean(value),
                Value::String(text) => Value::String(text.to_owned().leak()),
                Value::Binary(bytes) => Value::Binary(bytes.to_owned().leak()),
            };
            cells.entry(cell.name.to_owned()).or_default().insert(cell.timestamp.unwrap(), value);
        }
    };
    play.stage.sandbox.table_rows(name, visit).unwrap();
    table
}
