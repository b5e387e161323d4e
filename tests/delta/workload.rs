//! A table with a Stream, random writes to it, and a model that replays what was read.

use std::collections::BTreeMap;

use otsvault::model::{
    Cell, CellOp, PrimaryKey, PrimaryKeyColumn, PrimaryKeyType, PrimaryKeyValue, RecordType, Row, Stream,
    StreamRecord, TableDefinition, TableOptions, Value,
};
use otsvault::tablestore::{RowChange, TableStore};
use rand::Rng;
use rand::rngs::StdRng;

use crate::stage::{On, Stage};

pub const TABLE: &str = "t";
const VERSIONS: i32 = 2;
const NAMES: [&str; 3] = ["a", "b", "c"];
const IDS: i64 = 60;

/// Column to timestamp to value, as text.
type Cells = BTreeMap<String, BTreeMap<i64, String>>;

/// Rows by id.
#[derive(Default, Clone, PartialEq, Debug)]
pub struct Model(pub BTreeMap<i64, Cells>);

pub fn definition(expiration_hours: i32) -> TableDefinition {
    TableDefinition {
        name: TABLE.to_owned(),
        primary_key: vec![PrimaryKeyColumn {
            name: "id".to_owned(),
            column_type: PrimaryKeyType::Integer,
            auto_increment: false,
        }],
        defined_columns: Vec::new(),
        options: TableOptions {
            time_to_live: Some(-1),
            max_versions: Some(VERSIONS),
            deviation_seconds: Some(1_000_000_000),
            allow_update: Some(true),
            update_full_row: None,
        },
        reserved: Default::default(),
        stream: Some(Stream {
            stream_id: String::new(),
            expiration_hours,
            last_enable_time_us: 0,
            columns: Vec::new(),
        }),
        indexes: Vec::new(),
        creation_time: None,
    }
}

/// A stage whose table `t` has a Stream that keeps records so long.
pub async fn stage_with_stream(expiration_hours: i32) -> (Stage, TableStore) {
    let stage = Stage::with(On::Disk, &[]).await;
    let client = stage.client();
    client.create_table(&definition(expiration_hours), &[]).await.unwrap();
    (stage, client)
}

fn any_value(random: &mut StdRng) -> Value<'static> {
    match random.random_range(0..4) {
        0 => Value::Integer(random.random()),
        1 => Value::Boolean(random.random()),
        2 => Value::String(["", "x", "ümläut"][random.random_range(0..3)]),
        _ => Value::Binary(&[0, 255, 1]),
    }
}

fn cells(random: &mut StdRng, with_deletes: bool) -> Vec<Cell<'static>> {
    let mut cells = Vec::new();
    for name in NAMES {
        let now = jiff::Timestamp::now().as_millisecond();
        match random.random_range(0..if with_deletes { 5 } else { 3 }) {
            0 => {}
            1 | 2 => {
                let timestamp = random.random_bool(0.5).then(|| now - random.random_range(0..4));
                cells.push(Cell::put(name, any_value(random), timestamp));
            }
            3 => cells.push(Cell { name, value: None, op: Some(CellOp::DeleteAllVersions), timestamp: None }),
            _ => {
                let timestamp = Some(now - random.random_range(0..4));
                cells.push(Cell { name, value: None, op: Some(CellOp::DeleteOneVersion), timestamp });
            }
        }
    }
    cells
}

/// One random put, update or delete.
pub async fn change_something(client: &TableStore, random: &mut StdRng) {
    let key = vec![("id", PrimaryKeyValue::Integer(random.random_range(0..IDS)))];
    let change = match random.random_range(0..10) {
        0..=3 => RowChange::put(&Row { key, cells: cells(random, false), ..Row::default() }),
        4..=7 => {
            let cells = cells(random, true);
            if cells.is_empty() {
                return;
            }
            RowChange::update(&Row { key, cells, ..Row::default() })
        }
        _ => RowChange::delete(&Row { key, ..Row::default() }),
    };
    client.write_row(TABLE, &change).await.unwrap();
}

/// A split or a merge, if there is room for one.
pub fn move_partitions(stage: &Stage, random: &mut StdRng) {
    let service = stage.sandbox.table_store();
    let partitions = service.partitions(TABLE).unwrap().len();
    if partitions < 5 && random.random_bool(0.6) {
        let at = PrimaryKey(vec![otsvault::model::KeyPart::Integer(random.random_range(1..IDS))]);
        // There may be a boundary already.
        let _ = service.split_partition(TABLE, &at);
    } else if partitions > 1 {
        let left = random.random_range(0..partitions - 1);
        service.merge_partitions(TABLE, left, left + 1).unwrap();
    }
}

fn id_of(row: &Row<'_>) -> i64 {
    match row.key[0].1 {
        PrimaryKeyValue::Integer(id) => id,
        other => panic!("{other:?}"),
    }
}

impl Model {
    /// The table as a client would read it now.
    pub fn of_table(stage: &Stage) -> Model {
        let mut model = Model::default();
        let visit = |row: &Row<'_>| {
            let cells = model.0.entry(id_of(row)).or_default();
            for cell in &row.cells {
                let versions = cells.entry(cell.name.to_owned()).or_default();
                versions.insert(cell.timestamp.unwrap(), format!("{:?}", cell.value.unwrap()));
            }
        };
        stage.sandbox.table_rows(TABLE, visit).unwrap();
        model
    }

    pub fn apply(&mut self, record: &StreamRecord<'_>) {
        let id = id_of(&record.row);
        match record.record_type {
            RecordType::Delete => {
                self.0.remove(&id);
                return;
            }
            RecordType::Put => {
                self.0.insert(id, Cells::default());
            }
            RecordType::Update => {
                self.0.entry(id).or_default();
            }
        }
        let cells = self.0.entry(id).or_default();
        for cell in &record.row.cells {
            let versions = cells.entry(cell.name.to_owned()).or_default();
            match (cell.op, cell.value) {
                (None, Some(value)) => {
                    versions.insert(cell.timestamp.unwrap(), format!("{value:?}"));
                    while versions.len() > VERSIONS as usize {
                        versions.pop_first();
                    }
                }
                (Some(CellOp::DeleteAllVersions), None) => versions.clear(),
                (Some(CellOp::DeleteOneVersion), None) => {
                    versions.remove(&cell.timestamp.unwrap());
                }
                other => panic!("{other:?}"),
            }
        }
        cells.retain(|_, versions| !versions.is_empty());
    }
}
