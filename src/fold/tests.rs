//! The fold against one that nobody could get wrong: maps of maps, record after record.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::columnar::{BatchBuilder, ColumnPlan, RecordBatchBuilder, RowsReader, Sample};
use crate::model::{
    Cell, CellOp, FoldRules, KeyPart, KeyRange, PrimaryKey, PrimaryKeyColumn, PrimaryKeyType, RecordPlace,
    RecordType, Row, SequenceInfo, StreamRecord, Value,
};
use crate::{Kind, Result};

const NAMES: [&str; 4] = ["a", "b", "c", "ü"];

/// Column to timestamp to value.
type Cells = BTreeMap<&'static str, BTreeMap<i64, Value<'static>>>;
type Table = BTreeMap<PrimaryKey, Cells>;

#[derive(Debug, Clone)]
struct Record {
    key: PrimaryKey,
    place: RecordPlace,
    record_type: RecordType,
    cells: Vec<Cell<'static>>,
}

fn key(random: &mut StdRng) -> PrimaryKey {
    let text = ["", "a", "b", "é"][random.random_range(0..4)];
    PrimaryKey(vec![KeyPart::String(text.to_owned()), KeyPart::Integer(random.random_range(-9..9))])
}

fn value(random: &mut StdRng) -> Value<'static> {
    match random.random_range(0..5) {
        0 => Value::Integer(random.random()),
        1 => Value::Double(f64::from_bits(random.random())),
        2 => Value::Boolean(random.random()),
        3 => Value::String(["", "x", "ümläut"][random.random_range(0..3)]),
        _ => Value::Binary(&[0, 255, 1]),
    }
}

fn row<'a>(key: &'a PrimaryKey, cells: Vec<Cell<'static>>) -> Row<'a> {
    let names = ["s", "i"].into_iter();
    Row { key: names.zip(key.parts().iter().map(KeyPart::as_value)).collect(), cells, ..Row::default() }
}

fn in_wire_order(cells: &Cells) -> Vec<Cell<'static>> {
    let of = |(name, versions): (&&'static str, &BTreeMap<i64, Value<'static>>)| {
        let cells = versions.iter().rev().map(|(at, value)| Cell::put(name, *value, Some(*at)));
        cells.collect::<Vec<_>>()
    };
    cells.iter().flat_map(of).collect()
}

fn any_cells(random: &mut StdRng, versions: usize) -> Cells {
    let mut cells = Cells::new();
    for name in NAMES {
        for _ in 0..random.random_range(0..=versions) {
            cells.entry(name).or_default().insert(random.random_range(0..12), value(random));
        }
    }
    cells
}

fn any_record(random: &mut StdRng, place: RecordPlace) -> Record {
    let record_type = match random.random_range(0..10) {
        0 | 1 => RecordType::Put,
        2 => RecordType::Delete,
        _ => RecordType::Update,
    };
    let mut cells = Vec::new();
    let kinds = match record_type {
        RecordType::Delete => 0,
        RecordType::Put => 3,
        RecordType::Update => 6,
    };
    for name in if kinds > 0 { &NAMES[..] } else { &[] } {
        let at = random.random_range(0..12);
        let delete = |op, timestamp| Cell { name, value: None, op: Some(op), timestamp };
        cells.extend(match random.random_range(0..kinds) {
            0 | 1 => None,
            2 | 3 => Some(Cell::put(name, value(random), Some(at))),
            4 => Some(delete(CellOp::DeleteAllVersions, None)),
            _ => Some(delete(CellOp::DeleteOneVersion, Some(at))),
        });
    }
    Record { key: key(random), place, record_type, cells }
}

fn apply(table: &mut Table, record: &Record, max_versions: usize) {
    let puts = record.cells.iter().any(|cell| cell.op.is_none());
    match record.record_type {
        RecordType::Delete => drop(table.remove(&record.key)),
        RecordType::Put => drop(table.insert(record.key.clone(), Cells::new())),
        RecordType::Update if puts => drop(table.entry(record.key.clone()).or_default()),
        RecordType::Update => {}
    }
    let Some(row) = table.get_mut(&record.key) else { return };
    for cell in &record.cells {
        let versions = row.entry(cell.name).or_default();
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
}

/// The table as a reader sees it.
fn view(table: &Table, settings: &FoldSettings) -> Vec<(PrimaryKey, Vec<Cell<'static>>)> {
    let mut rows = Vec::new();
    for (key, cells) in table {
        let had_cells = cells.values().any(|versions| !versions.is_empty());
        let mut left = cells.clone();
        for versions in left.values_mut() {
            while versions.len() > settings.rules.max_versions {
                versions.pop_first();
            }
            versions.retain(|at, _| *at >= settings.horizon_ms.unwrap_or(i64::MIN));
        }
        let left = in_wire_order(&left);
        if !had_cells || !left.is_empty() {
            rows.push((key.clone(), left));
        }
    }
    rows
}

fn plan(random: &mut StdRng) -> Arc<ColumnPlan> {
    let column = |name: &str, column_type| PrimaryKeyColumn {
        name: name.to_owned(),
        column_type,
        auto_increment: false,
    };
    let mut sample = Sample::default();
    for _ in 0..random.random_range(0..12) {
        sample.observe(&Row { cells: in_wire_order(&any_cells(random, 2)), ..Row::default() });
    }
    let keys = [column("s", PrimaryKeyType::String), column("i", PrimaryKeyType::Integer)];
    Arc::new(sample.plan(&keys, &[]).unwrap())
}

fn base_batches(table: &Table, plan: &Arc<ColumnPlan>, random: &mut StdRng) -> Vec<Result<RecordBatch>> {
    let mut builder = BatchBuilder::new(plan.clone());
    let mut batches = Vec::new();
    for (key, cells) in table {
        builder.append(&row(key, in_wire_order(cells))).unwrap();
        if random.random_bool(0.2) {
            batches.push(Ok(builder.finish().unwrap().record_batch));
        }
    }
    batches.push(Ok(builder.finish().unwrap().record_batch));
    batches
}

fn batch_of(records: &[Record], plan: &Arc<ColumnPlan>) -> RecordBatch {
    let mut builder = RecordBatchBuilder::new(plan.clone());
    for record in records {
        let sequence = SequenceInfo { epoch: 0, timestamp_us: record.place.clock_us, row_index: 0 };
        let row = row(&record.key, record.cells.clone());
        let stream_record = StreamRecord { record_type: record.record_type, sequence, row };
        builder.append(&stream_record, record.place, "shard").unwrap();
    }
    builder.finish().unwrap().0
}

/// A file: its records in order, as batches.
struct File {
    first: PrimaryKey,
    last: PrimaryKey,
    batches: Vec<RecordBatch>,
}

/// Records over files as they come, so that each file spans all keys.
fn files(records: &[Record], plan: &Arc<ColumnPlan>, random: &mut StdRng) -> Vec<File> {
    let mut files = Vec::new();
    let mut rest = records;
    while !rest.is_empty() {
        let (of_file, others) = rest.split_at(random.random_range(1..=rest.len()));
        rest = others;
        let mut sorted = of_file.to_vec();
        sorted.sort_by(|a, b| (&a.key, a.place).cmp(&(&b.key, b.place)));
        let batches = sorted.chunks(random.random_range(1..20)).map(|some| batch_of(some, plan)).collect();
        let key = |record: Option<&Record>| record.unwrap().key.clone();
        files.push(File { first: key(sorted.first()), last: key(sorted.last()), batches });
    }
    files
}

/// A row's key, and its cells as text.
type Shown = (PrimaryKey, String);

/// Folds an interval; records are loaded in parts of about `most_bytes`.
fn fold(
    base: Vec<Result<RecordBatch>>,
    files: &[File],
    plan: &Arc<ColumnPlan>,
    settings: FoldSettings,
    range: KeyRange,
    most_bytes: u64,
) -> Result<(Vec<Shown>, FoldedRows, u32)> {
    let mut rows = FoldedRows::new(Box::new(base.into_iter()), plan.clone(), settings, range);
    let (mut found, mut parts) = (Vec::new(), 0);
    loop {
        for batch in rows.by_ref() {
            let batch = batch?;
            assert_eq!(batch.schema(), crate::columnar::arrow_schema(plan));
            for row in RowsReader::new(&batch, plan)? {
                let row = row?;
                found.push((PrimaryKey::from_row(&row.key).unwrap(), format!("{:?}", row.cells)));
            }
        }
        let Some(wanted) = rows.wants() else { return Ok((found, rows, parts)) };
        let mut builder = RecordSetBuilder::new(wanted, most_bytes);
        for file in files {
            for batch in &file.batches {
                builder.add(batch, plan, (&file.first, &file.last))?;
            }
        }
        let (set, covered) = builder.finish()?;
        rows.feed(Arc::new(set), &covered.end);
        parts += 1;
    }
}

fn records(random: &mut StdRng, count: u64) -> Vec<Record> {
    (0..count)
        .map(|at| {
            let rank = at / 40;
            any_record(random, RecordPlace { rank, ordinal: at, clock_us: at as i64 })
        })
        .collect()
}

fn seeds(default: u64) -> Vec<u64> {
    match std::env::var("FOLD_SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => vec![seed],
        None => (0..default).collect(),
    }
}

#[test]
fn whatever_happened_the_rows_are_those_of_a_replay() {
    let mut parts_of_all = 0;
    for seed in seeds(400) {
        let mut random = StdRng::seed_from_u64(seed);
        let plan = plan(&mut random);
        let max_versions = random.random_range(1..=3);
        let trim = random.random_bool(0.3);
        let settings = FoldSettings {
            rules: FoldRules { max_versions },
            trim,
            horizon_ms: random.random_bool(0.5).then(|| random.random_range(0..12)),
            until_clock_us: random.random_bool(0.5).then(|| random.random_range(0..100)),
        };
        let mut table = Table::new();
        for _ in 0..random.random_range(0..60) {
            let mut cells = any_cells(&mut random, max_versions + usize::from(trim));
            for versions in cells.values_mut() {
                while versions.len() > max_versions && !trim {
                    versions.pop_first();
                }
            }
            table.insert(key(&mut random), cells);
        }
        let count = random.random_range(0..120);
        let records = records(&mut random, count);
        let mut range = KeyRange::all(2);
        if random.random_bool(0.5) {
            let mut bounds = [key(&mut random), key(&mut random)];
            bounds.sort();
            let [start, end] = bounds;
            range = KeyRange { start, end };
        }
        table.retain(|key, _| range.contains(key));
        let base = base_batches(&table, &plan, &mut random);
        let files = files(&records, &plan, &mut random);
        let most_bytes = [1, 3_000, 20_000, u64::MAX][random.random_range(0..4)];
        let (found, rows, parts) = fold(base, &files, &plan, settings, range.clone(), most_bytes).unwrap();
        let mut folded = 0;
        for record in &records {
            let is_late = settings.until_clock_us.is_some_and(|until| record.place.clock_us > until);
            if !is_late && range.contains(&record.key) {
                apply(&mut table, record, max_versions);
                folded += 1;
            }
        }
        let expected: Vec<_> =
            view(&table, &settings).into_iter().map(|(key, cells)| (key, format!("{cells:?}"))).collect();
        assert_eq!(found, expected, "FOLD_SEED={seed}");
        assert_eq!(rows.records(), folded, "FOLD_SEED={seed}");
        assert!(rows.ambiguous().rows as usize >= rows.ambiguous().keys.len());
        parts_of_all += parts;
    }
    assert!(
        parts_of_all > 600 || std::env::var("FOLD_SEED").is_ok(),
        "records that do not fit: {parts_of_all}"
    );
}

#[test]
fn a_batch_that_no_record_names_goes_through_as_it_is() {
    let mut random = StdRng::seed_from_u64(7);
    let plan = plan(&mut random);
    let table: Table = (0..40).map(|_| (key(&mut random), any_cells(&mut random, 2))).collect();
    let batch = base_batches(&table, &plan, &mut StdRng::seed_from_u64(1)).remove(0).unwrap();
    let settings = FoldSettings {
        rules: FoldRules { max_versions: 2 },
        trim: false,
        horizon_ms: Some(0),
        until_clock_us: None,
    };
    let base = Box::new([Ok(batch.clone())].into_iter());
    let mut rows = FoldedRows::new(base, plan, settings, KeyRange::all(2));
    assert!(rows.next().is_none(), "it waits for records");
    rows.feed(Arc::default(), &PrimaryKey::inf_max(2));
    let through = rows.next().unwrap().unwrap();
    assert!(
        Arc::ptr_eq(through.column(0), batch.column(0))
            || through.column(0).to_data().ptr_eq(&batch.column(0).to_data())
    );
    assert!(rows.next().is_none() && rows.wants().is_none());
}

#[test]
fn files_that_are_not_what_their_list_says_are_refused() {
    let mut random = StdRng::seed_from_u64(3);
    let plan = plan(&mut random);
    let mut sorted = records(&mut random, 30);
    sorted.sort_by(|a, b| (&a.key, a.place).cmp(&(&b.key, b.place)));
    let (first, last) = (sorted[0].key.clone(), sorted[29].key.clone());
    let add = |records: &[Record], file: (&PrimaryKey, &PrimaryKey)| {
        let mut builder = RecordSetBuilder::new(KeyRange::all(2), u64::MAX);
        builder.add(&batch_of(records, &plan), &plan, file)?;
        builder.finish()
    };
    add(&sorted, (&first, &last)).unwrap();
    let mut unsorted = sorted.clone();
    unsorted.swap(4, 25);
    let same_key = sorted.windows(2).position(|pair| pair[0].key == pair[1].key).unwrap();
    let mut wrong_places = sorted.clone();
    wrong_places.swap(same_key, same_key + 1);
    for records in [&unsorted, &wrong_places] {
        let error = add(records, (&first, &last)).unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt);
        assert!(error.to_string().contains("not in order"), "{error}");
    }
    for file in [(&sorted[20].key, &last), (&first, &sorted[20].key)] {
        assert!(add(&sorted, file).unwrap_err().to_string().contains("outside"));
    }
    let mut builder = RecordSetBuilder::new(KeyRange::all(2), u64::MAX);
    for _ in 0..2 {
        builder.add(&batch_of(&sorted, &plan), &plan, (&first, &last)).unwrap();
    }
    assert!(builder.finish().unwrap_err().to_string().contains("twice"));
}

#[test]
fn a_base_that_is_out_of_order_or_outside_of_its_interval_is_refused() {
    let mut random = StdRng::seed_from_u64(4);
    let plan = plan(&mut random);
    let table: Table = (0..40).map(|_| (key(&mut random), Cells::new())).collect();
    let keys: Vec<_> = table.keys().cloned().collect();
    let batch = |keys: &[PrimaryKey]| {
        let mut builder = BatchBuilder::new(plan.clone());
        keys.iter().for_each(|key| builder.append(&row(key, Vec::new())).unwrap());
        Ok(builder.finish().unwrap().record_batch)
    };
    let settings = FoldSettings {
        rules: FoldRules { max_versions: 1 },
        trim: false,
        horizon_ms: None,
        until_clock_us: None,
    };
    let all = KeyRange::all(2);
    let inside = KeyRange { start: keys[1].clone(), end: keys[keys.len() - 1].clone() };
    let mut swapped = keys.clone();
    swapped.swap(3, 4);
    let again = vec![batch(&keys[..5]), batch(&keys[4..])];
    for (base, range, reason) in [
        (vec![batch(&swapped)], all.clone(), "do not ascend"),
        (again, all, "do not ascend"),
        (vec![batch(&keys[1..])], inside.clone(), "outside"),
        (vec![batch(&keys[..4])], inside, "outside"),
    ] {
        let error = fold(base, &[], &plan, settings, range, 1).err().unwrap();
        assert_eq!(error.kind(), Kind::Corrupt);
        assert!(error.to_string().contains(reason), "{error}");
    }
}

#[test]
fn a_row_that_the_service_leaves_open_is_counted_and_named() {
    let plan = plan(&mut StdRng::seed_from_u64(5));
    let key = PrimaryKey(vec![KeyPart::String("k".into()), KeyPart::Integer(1)]);
    let cells = Cells::from([("a", BTreeMap::from([(5, Value::Integer(1))]))]);
    let table = Table::from([(key.clone(), cells)]);
    let delete = Record {
        key: key.clone(),
        place: RecordPlace { rank: 0, ordinal: 0, clock_us: 1 },
        record_type: RecordType::Update,
        cells: vec![Cell { name: "a", value: None, op: Some(CellOp::DeleteOneVersion), timestamp: Some(5) }],
    };
    let file = File { first: key.clone(), last: key.clone(), batches: vec![batch_of(&[delete], &plan)] };
    let settings = FoldSettings {
        rules: FoldRules { max_versions: 1 },
        trim: false,
        horizon_ms: None,
        until_clock_us: None,
    };
    let base = base_batches(&table, &plan, &mut StdRng::seed_from_u64(1));
    let (found, rows, _) = fold(base, &[file], &plan, settings, KeyRange::all(2), 1).unwrap();
    assert_eq!(found, [(key.clone(), "[]".to_owned())]);
    assert_eq!(*rows.ambiguous(), Ambiguous { rows: 1, keys: vec![key] });
}
