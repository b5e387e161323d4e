//! The oracle against a model in the test, which knows only what a client reads from the Stream.

use std::collections::BTreeMap;
use std::time::Duration;

use otsvault::model::{Cell, CellOp, PrimaryKeyValue, Row, Value};
use otsvault::sandbox::table_store::StreamCut;
use otsvault::{Kind, plainbuffer, proto};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::client::{Client, condition, puts, row, table};
use crate::shards::{at, client_with_stream, decoded, oldest, records, shards, stream_spec, switch_stream};

const VERSIONS: usize = 3;
const NAMES: [&str; 4] = ["a", "b", "c", "n"];
const IDS: i64 = 40;

/// Column to timestamp to value.
type Cells = BTreeMap<String, BTreeMap<i64, String>>;

#[derive(Default, Clone, PartialEq, Debug)]
struct Model(BTreeMap<i64, Cells>);

fn id_of(row: &Row<'_>) -> i64 {
    match row.key[0].1 {
        PrimaryKeyValue::Integer(id) => id,
        other => panic!("{other:?}"),
    }
}

impl Model {
    fn of(mut visit: impl FnMut(&mut dyn FnMut(&Row<'_>))) -> Model {
        let mut model = Model::default();
        visit(&mut |row| {
            let cells = model.0.entry(id_of(row)).or_default();
            for cell in &row.cells {
                let versions = cells.entry(cell.name.to_owned()).or_default();
                versions.insert(cell.timestamp.unwrap(), format!("{:?}", cell.value.unwrap()));
            }
        });
        model
    }

    fn now(client: &Client) -> Model {
        Model::of(|visit| client.sandbox.table_rows("t", visit).unwrap())
    }

    fn image(client: &Client, cut: &StreamCut) -> Model {
        Model::of(|visit| client.sandbox.table_store().image("t", cut, None, visit).unwrap())
    }

    fn apply(&mut self, record: &proto::StreamRecord) {
        let row = decoded(record);
        let id = id_of(&row);
        match proto::ActionType::try_from(record.action_type).unwrap() {
            proto::ActionType::DeleteRow => {
                self.0.remove(&id);
                return;
            }
            proto::ActionType::PutRow => {
                self.0.insert(id, Cells::default());
            }
            proto::ActionType::UpdateRow => {
                self.0.entry(id).or_default();
            }
        }
        let cells = self.0.get_mut(&id).unwrap();
        for cell in &row.cells {
            let versions = cells.entry(cell.name.to_owned()).or_default();
            match (cell.op, cell.value) {
                (None, Some(value)) => {
                    versions.insert(cell.timestamp.unwrap(), format!("{value:?}"));
                    while versions.len() > VERSIONS {
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

fn any_value(random: &mut SmallRng) -> Value<'static> {
    match random.random_range(0..5) {
        0 => Value::Integer(random.random()),
        1 => Value::Double(f64::from_bits(random.random())),
        2 => Value::Boolean(random.random()),
        3 => Value::String(["", "x", "ümläut"][random.random_range(0..3)]),
        _ => Value::Binary(&[0, 255, 1]),
    }
}

/// Puts with and without timestamps, of which some meet again.
fn put_cells(random: &mut SmallRng, now: i64) -> Vec<Cell<'static>> {
    let count = random.random_range(0..4);
    let mut cells: Vec<_> = (0..count)
        .map(|_| {
            let timestamp = random.random_bool(0.8).then(|| now - random.random_range(0..6));
            Cell::put(NAMES[random.random_range(0..3)], any_value(random), timestamp)
        })
        .collect();
    cells.sort_by_key(|cell| (cell.name, std::cmp::Reverse(cell.timestamp)));
    cells.dedup_by_key(|cell| (cell.name, cell.timestamp));
    cells
}

async fn change_something(client: &Client, random: &mut SmallRng, now: i64) {
    let id = random.random_range(0..IDS);
    match random.random_range(0..10) {
        0..=3 => drop(client.put("t", &row(id, &put_cells(random, now))).await.unwrap()),
        4..=6 => {
            let mut cells = put_cells(random, now);
            let name = NAMES[random.random_range(0..3)];
            let delete = |op, timestamp| Cell { name, value: None, op: Some(op), timestamp };
            cells.push(match random.random_range(0..3) {
                0 => delete(CellOp::DeleteAllVersions, None),
                1 => delete(CellOp::DeleteOneVersion, Some(now - random.random_range(0..6))),
                _ => Cell { op: Some(CellOp::Increment), ..Cell::put("n", Value::Integer(3), None) },
            });
            client.update("t", &row(id, &cells)).await.unwrap();
        }
        7..=8 => {
            let row = Row { delete_marker: true, ..row(id, &[]) };
            let request = proto::DeleteRowRequest {
                table_name: "t".into(),
                primary_key: plainbuffer::encode_row(&row).into(),
                condition: condition(proto::RowExistenceExpectation::Ignore),
                ..Default::default()
            };
            client.call::<proto::DeleteRowResponse>("DeleteRow", &request).await.unwrap();
        }
        _ => {
            let rows = (0..3).map(|_| plainbuffer::encode_row(&row(id, &put_cells(random, now))));
            let mut batch = puts("t", rows.collect::<Vec<_>>());
            batch.is_atomic = Some(true);
            if random.random_bool(0.3) {
                let existence = proto::RowExistenceExpectation::ExpectNotExist;
                batch.tables[0].rows[2].condition.row_existence = existence as i32;
            }
            client.batch(&batch).await.unwrap();
        }
    }
}

fn move_something(client: &Client, random: &mut SmallRng) {
    let control = client.sandbox.table_store();
    let partitions = control.partitions("t").unwrap().len();
    match random.random_range(0..5) {
        0..=1 => drop(control.split_partition("t", &at(random.random_range(1..IDS)))),
        2 if partitions > 1 => {
            let left = random.random_range(0..partitions - 1);
            control.merge_partitions("t", left, left + 1).unwrap();
        }
        3 => {
            let by = [-600_000, -1, 0, 60_000][random.random_range(0..4)];
            control.shift_stream_clock("t", random.random_range(0..partitions), by).unwrap();
        }
        _ => control.hold_stream_clock("t", random.random_bool(0.5)).unwrap(),
    }
}

/// Reads shards parents first, each record with the place behind it; stops when `budget` records were read.
async fn read_some(
    client: &Client,
    stream_id: &str,
    random: &mut SmallRng,
    mut budget: usize,
) -> (Model, StreamCut) {
    let control = client.sandbox.table_store();
    let listed = shards(client, stream_id, 3).await.unwrap();
    let mut model = Model::default();
    let mut cut = StreamCut { stream_id: stream_id.to_owned(), ..StreamCut::default() };
    let mut finished = Vec::new();
    // Parents come before children in the list.
    for shard in listed {
        let parents = shard.parent_id.iter().chain(&shard.parent_sibling_id);
        if !parents.clone().all(|parent| finished.contains(parent)) {
            continue;
        }
        let mut from = oldest(client, stream_id, &shard.shard_id).await;
        loop {
            let position = control.stream_position("t", &from).unwrap();
            assert_eq!(position.shard_id, shard.shard_id);
            cut.records.insert(position.shard_id, position.records);
            let limit = random.random_range(1..=7).min(budget) as i32;
            if limit == 0 {
                break;
            }
            let page = records(client, &from, limit).await.unwrap();
            page.stream_records.iter().for_each(|record| model.apply(record));
            budget -= page.stream_records.len();
            let end = cut.records.get_mut(&shard.shard_id).unwrap();
            *end += page.stream_records.len() as u64;
            match page.next_shard_iterator {
                None => {
                    finished.push(shard.shard_id.clone());
                    break;
                }
                Some(_) if page.stream_records.is_empty() => break,
                Some(next) => from = next,
            }
        }
    }
    (model, cut)
}

#[tokio::test]
async fn the_image_at_any_positions_is_what_a_reader_of_the_stream_arrives_at() {
    for seed in 0..6 {
        println!("seed {seed}");
        let random = &mut SmallRng::seed_from_u64(seed);
        let (client, stream_id) = client_with_stream(&[]).await;
        let control = client.sandbox.table_store();
        let mut moments = Vec::new();
        for step in 0..250 {
            change_something(&client, random, jiff::Timestamp::now().as_millisecond()).await;
            if random.random_bool(0.08) {
                move_something(&client, random);
            }
            if step % 50 == 25 {
                moments.push((control.stream_cut("t").unwrap(), Model::now(&client)));
            }
        }
        moments.push((control.stream_cut("t").unwrap(), Model::now(&client)));
        for (cut, model) in &moments {
            assert_eq!(Model::image(&client, cut), *model, "seed {seed}");
        }
        let (rows, sum) = control.image_sum("t", &moments.last().unwrap().0, None).unwrap();
        assert_eq!(client.sandbox.row_sum("t").unwrap(), (rows, sum), "seed {seed}");
        let listed = shards(&client, &stream_id, 100).await.unwrap().len();
        println!("  {listed} shards, {rows} rows at the end");
        assert!(listed > 5, "seed {seed}: the workload has to split");
        for budget in [0, 20, 77, 200, usize::MAX] {
            let (model, cut) = read_some(&client, &stream_id, random, budget).await;
            assert_eq!(Model::image(&client, &cut), model, "seed {seed}, {budget} records");
            if budget == usize::MAX {
                assert_eq!(Model::now(&client), model, "seed {seed}");
            }
        }
    }
}

#[tokio::test]
async fn the_oracle_remembers_what_clients_have_lost() {
    let (client, stream_id) = client_with_stream(&[]).await;
    let control = client.sandbox.table_store();
    client.put("t", &row(1, &[])).await.unwrap();
    let root = shards(&client, &stream_id, 9).await.unwrap()[0].shard_id.clone();
    let (cut, then) = (control.stream_cut("t").unwrap(), Model::now(&client));
    control.trim_stream("t", &root, 1).unwrap();
    client.sandbox.advance_clock(Duration::from_secs(7_200));
    client.put("t", &row(2, &[])).await.unwrap();
    switch_stream(&client, false).await;
    client.put("t", &row(3, &[])).await.unwrap();
    switch_stream(&client, true).await;
    client.put("t", &row(4, &[])).await.unwrap();
    assert_eq!(Model::image(&client, &cut), then);
    // A Stream begins with the rows that were there when it was enabled.
    let mut cut = control.stream_cut("t").unwrap();
    assert_eq!(Model::image(&client, &cut), Model::now(&client));
    cut.records.values_mut().for_each(|records| *records = 0);
    let image = Model::image(&client, &cut);
    assert_eq!(image.0.keys().copied().collect::<Vec<_>>(), [1, 2, 3]);
}

#[tokio::test]
async fn cuts_that_no_reader_can_arrive_at_are_refused() {
    let (client, stream_id) = client_with_stream(&[]).await;
    let control = client.sandbox.table_store();
    client.put("t", &row(1, &[])).await.unwrap();
    control.split_partition("t", &at(10)).unwrap();
    client.put("t", &row(2, &[])).await.unwrap();
    let ids: Vec<_> =
        shards(&client, &stream_id, 9).await.unwrap().into_iter().map(|shard| shard.shard_id).collect();
    let image = |records: &[(&str, u64)]| {
        let records = records.iter().map(|(id, records)| ((*id).to_owned(), *records)).collect();
        let cut = StreamCut { stream_id: stream_id.clone(), records };
        control.image_sum("t", &cut, None).map(|(rows, _)| rows)
    };
    // A parent that is not named was read to its end if a child is named.
    assert_eq!(image(&[(&ids[1], 1)]).unwrap(), 2);
    assert_eq!(image(&[(&ids[2], 0)]).unwrap(), 1);
    assert_eq!(image(&[(&ids[0], 0), (&ids[1], 0)]).unwrap(), 0);
    for (records, reason) in [
        ([(ids[0].as_str(), 0), (ids[1].as_str(), 1)], "only to 0 of 1"),
        ([(ids[0].as_str(), 1), (ids[1].as_str(), 2)], "has 1 records"),
        ([(ids[0].as_str(), 1), ("t_0_7", 2)], "is not known"),
    ] {
        let error = image(&records).unwrap_err();
        assert_eq!(error.kind(), Kind::Usage);
        assert!(error.to_string().contains(reason) || format!("{error:?}").contains(reason), "{error:?}");
    }
}

#[tokio::test]
async fn an_image_expires_cells_as_of_the_moment_asked_for() {
    let client = Client::new(Default::default()).await;
    let mut request = table("t", 2);
    request.table_options.as_mut().unwrap().time_to_live = Some(86_400);
    client
        .create(&proto::CreateTableRequest { stream_spec: Some(stream_spec(true, &[])), ..request })
        .await
        .unwrap();
    let now = jiff::Timestamp::now().as_millisecond();
    let hour = 3_600_000;
    let old = Cell::put("a", Value::Integer(1), Some(now - 20 * hour));
    let new = Cell::put("b", Value::Integer(2), Some(now));
    client.put("t", &row(1, &[old, new])).await.unwrap();
    client.put("t", &row(2, &[old])).await.unwrap();
    client.sandbox.advance_clock(Duration::from_millis(5 * hour as u64));
    // To this update the row has expired: it begins anew.
    client.update("t", &row(2, &[Cell { name: "c", ..new }])).await.unwrap();
    let control = client.sandbox.table_store();
    let cut = control.stream_cut("t").unwrap();
    let image = |at_ms| Model::of(|visit| control.image("t", &cut, at_ms, visit).unwrap());
    let columns = |model: Model| -> Vec<String> {
        model.0.values().map(|cells| cells.keys().cloned().collect::<String>()).collect()
    };
    assert_eq!(columns(image(None)), ["ab", "c"]);
    assert_eq!(columns(image(Some(now))), ["ab", "c"]);
    assert_eq!(columns(image(Some(now + 5 * hour))), ["b", "c"]);
    assert_eq!(image(Some(now + 5 * hour)), Model::now(&client));
    assert_eq!(columns(image(Some(now + 30 * hour))), Vec::<String>::new());
}
