//! Whatever a table holds: any keys, any types, any versions.

use std::collections::BTreeMap;

use otsvault::model::{
    Cell, KeyPart, PrimaryKey, PrimaryKeyColumn, PrimaryKeyType, Row, TableDefinition, Value,
};
use otsvault::tablestore::RowChange;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::play::{Play, own_table};
use crate::stage::On;

#[derive(Debug, Clone)]
enum Held {
    Integer(i64),
    Double(u64),
    Boolean(bool),
    String(String),
    Binary(Vec<u8>),
}

impl Held {
    fn any(random: &mut StdRng, large: bool) -> Held {
        let length = if large { random.random_range(0..2_097_152) } else { random.random_range(0..40) };
        match random.random_range(0..5) {
            0 => Held::Integer(
                *[0, -1, i64::MIN, i64::MAX, random.random()].get(random.random_range(0..5)).unwrap(),
            ),
            1 => Held::Double(
                [0, 1 << 63, 0x7ff8_0000_0000_0001, 0xfff0_0000_0000_0000, random.random()]
                    [random.random_range(0..5)],
            ),
            2 => Held::Boolean(random.random()),
            3 => Held::String(
                (0..length / 2)
                    .map(|_| ['a', 'é', '\0', '漢'][random.random_range(0..4)])
                    .collect::<String>(),
            ),
            _ => Held::Binary((0..length).map(|_| random.random()).collect()),
        }
    }

    fn value(&self) -> Value<'_> {
        match self {
            Held::Integer(value) => Value::Integer(*value),
            Held::Double(bits) => Value::Double(f64::from_bits(*bits)),
            Held::Boolean(value) => Value::Boolean(*value),
            Held::String(text) => Value::String(text),
            Held::Binary(bytes) => Value::Binary(bytes),
        }
    }
}

fn any_definition(random: &mut StdRng) -> TableDefinition {
    let types = [PrimaryKeyType::Integer, PrimaryKeyType::String, PrimaryKeyType::Binary];
    let columns = random.random_range(1..=4);
    let column = |at: usize, random: &mut StdRng| PrimaryKeyColumn {
        name: format!("k{at}"),
        column_type: types[random.random_range(0..3)],
        auto_increment: false,
    };
    let mut definition = own_table("own", random.random_range(1..=4));
    definition.primary_key = (0..columns).map(|at| column(at, random)).collect();
    definition
}

fn any_key(random: &mut StdRng, definition: &TableDefinition) -> PrimaryKey {
    let part = |column: &PrimaryKeyColumn, random: &mut StdRng| match column.column_type {
        PrimaryKeyType::Integer => {
            KeyPart::Integer([i64::MIN, i64::MAX, random.random_range(-3..3)][random.random_range(0..3)])
        }
        PrimaryKeyType::String => {
            let length = [0, 3, 1_024][random.random_range(0..3)];
            KeyPart::String((0..length).map(|_| ['a', 'b', '\u{7f}'][random.random_range(0..3)]).collect())
        }
        PrimaryKeyType::Binary => {
            let length = [0, 2, 1_024][random.random_range(0..3)];
            KeyPart::Binary(
                (0..length).map(|_| [0, 255, random.random()][random.random_range(0..3)]).collect(),
            )
        }
    };
    PrimaryKey(definition.primary_key.iter().map(|column| part(column, random)).collect())
}

/// Columns with their versions, newest first.
type Cells = BTreeMap<String, BTreeMap<i64, Held>>;

fn any_cells(random: &mut StdRng, versions: i32) -> Cells {
    let mut cells = Cells::new();
    let (columns, large) = match random.random_range(0..40) {
        0 => (random.random_range(1_000..3_000), false),
        1 => (3, true),
        2..6 => (0, false),
        _ => (random.random_range(0..12), false),
    };
    for _ in 0..columns {
        let name = ["a", "A", "b", "_ts", "_overflow", "_op", "k"][random.random_range(0..7)].to_owned();
        let name = if columns > 100 { format!("c{}", random.random_range(0..5_000)) } else { name };
        let column = cells.entry(name).or_default();
        for _ in 0..random.random_range(1..=versions) {
            column.insert(
                [1, random.random_range(0..9_000_000_000_000)][random.random_range(0..2)],
                Held::any(random, large),
            );
        }
        while column.len() > versions as usize {
            column.pop_first();
        }
    }
    cells
}

async fn fill(play: &Play, definition: &TableDefinition, rows: &BTreeMap<PrimaryKey, Cells>) {
    let client = play.stage.client();
    client.create_table(definition, &[]).await.unwrap();
    for (key, cells) in rows {
        let key: Vec<_> = definition
            .primary_key
            .iter()
            .zip(key.parts())
            .map(|(column, part)| (column.name.as_str(), part.as_value()))
            .collect();
        let mut all = cells
            .iter()
            .flat_map(|(name, versions)| {
                versions.iter().rev().map(move |(at, held)| Cell::put(name, held.value(), Some(*at)))
            })
            .peekable();
        let mut put = true;
        while put || all.peek().is_some() {
            let mut row = Row { key: key.clone(), ..Row::default() };
            let mut size = 0;
            while let Some(cell) = all.next_if(|cell| {
                size == 0 || (row.cells.len() < 1_000 && size + cell.value.unwrap().data_size() < 1_900_000)
            }) {
                size += cell.value.unwrap().data_size() + 1;
                row.cells.push(cell);
            }
            let change = if put { RowChange::put(&row) } else { RowChange::update(&row) };
            client.write_row(&definition.name, &change).await.unwrap();
            put = false;
        }
    }
}

#[tokio::test]
async fn random_tables_come_back_cell_by_cell() {
    let seed = std::env::var("TABLE_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(rand::random::<u64>);
    println!("TABLE_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    for _ in 0..8 {
        let play = Play::empty(On::Disk).await;
        let definition = any_definition(&mut random);
        let versions = definition.options.max_versions.unwrap();
        let mut rows = BTreeMap::new();
        for _ in 0..random.random_range(0..120) {
            rows.insert(any_key(&mut random, &definition), any_cells(&mut random, versions));
        }
        fill(&play, &definition, &rows).await;
        play.back_up("own").await;
        let restored = play.restore("own", "copy", &Play::options()).await.unwrap();
        assert_eq!(
            (restored.rows.written, restored.rows.rejected),
            (rows.len() as u64, 0),
            "TABLE_SEED={seed}"
        );
        play.assert_same("own", "copy");
    }
}
