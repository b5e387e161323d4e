//! Generated tables as a client reads them.

use otsvault::model::{KeyRange, PrimaryKey, Row};
use otsvault::sandbox::SandboxOptions;
use otsvault::sandbox::faults::{Action, Rule, Service};
use otsvault::{plainbuffer, proto};

use crate::client::{Client, row, table, whole};

const SHAPES: [&str; 6] = ["iot", "wide", "fat", "sparse", "cjk", "mixed"];

async fn client(tables: &[String]) -> Client {
    let tables = tables.iter().map(|text| text.parse().unwrap()).collect();
    Client::new(SandboxOptions { tables, ..Default::default() }).await
}

async fn describe(client: &Client, table: &str) -> proto::DescribeTableResponse {
    let request = proto::DescribeTableRequest { table_name: table.to_owned() };
    client.call("DescribeTable", &request).await.unwrap()
}

async fn key_names(client: &Client, table: &str) -> Vec<String> {
    let about = describe(client, table).await;
    about.table_meta.primary_key.into_iter().map(|column| column.name).collect()
}

async fn splits(
    client: &Client,
    table: &str,
    size: i64,
    limit: Option<i32>,
) -> (Vec<PrimaryKey>, Vec<String>) {
    let request = proto::ComputeSplitPointsBySizeRequest {
        table_name: table.to_owned(),
        split_size: size,
        split_size_unit_in_byte: Some(1 << 20),
        split_point_limit: limit,
    };
    let answer: proto::ComputeSplitPointsBySizeResponse =
        client.call("ComputeSplitPointsBySize", &request).await.unwrap();
    let columns = answer.schema.len();
    let points =
        answer.split_points.iter().map(|point| plainbuffer::decode_key(point).unwrap().padded(columns));
    let locations = answer.locations.iter();
    let locations = locations.flat_map(|run| vec![run.location.clone(); run.repeat as usize]).collect();
    (points.collect(), locations)
}

fn between(table: &str, names: &[&str], range: &KeyRange) -> proto::GetRangeRequest {
    proto::GetRangeRequest {
        inclusive_start_primary_key: plainbuffer::encode_key(names, &range.start).into(),
        exclusive_end_primary_key: plainbuffer::encode_key(names, &range.end).into(),
        ..whole(table, names)
    }
}

/// Every row of a range, each as its PlainBuffer.
async fn read(client: &Client, mut request: proto::GetRangeRequest) -> (Vec<PrimaryKey>, Vec<Vec<u8>>) {
    let (mut keys, mut rows) = (Vec::new(), Vec::new());
    loop {
        let page = client.range(&request).await.unwrap();
        let mut reader = plainbuffer::RowReader::new(&page.rows).unwrap();
        let mut row = Row::default();
        while reader.next_row(&mut row).unwrap() {
            keys.push(PrimaryKey::from_row(&row.key).unwrap());
            rows.push(plainbuffer::encode_row(&row));
        }
        match page.next_start_primary_key {
            Some(next) => request.inclusive_start_primary_key = next,
            None => return (keys, rows),
        }
    }
}

#[tokio::test]
async fn a_row_is_the_same_by_key_by_range_backwards_and_as_one_column() {
    for shape in SHAPES {
        for key in ["", ",key=sequential", ",key=hashed", ",key=shared-prefix", ",key=binary"] {
            let spec = format!("t={shape}:rows=333,seed=8{key}");
            let client = client(std::slice::from_ref(&spec)).await;
            let names = key_names(&client, "t").await;
            let names: Vec<_> = names.iter().map(String::as_str).collect();
            let (keys, rows) = read(&client, whole("t", &names)).await;
            assert_eq!(keys.len(), 333, "{spec}");
            assert!(keys.windows(2).all(|pair| pair[0] < pair[1]), "{spec}");

            let request = proto::GetRowRequest {
                table_name: "t".into(),
                primary_key: plainbuffer::encode_key(&names, &keys[123]).into(),
                max_versions: Some(i32::MAX),
                ..Default::default()
            };
            let row: proto::GetRowResponse = client.call("GetRow", &request).await.unwrap();
            assert!(row.row == rows[123], "{spec}");

            let mut backward = whole("t", &names);
            backward.direction = proto::Direction::Backward as i32;
            std::mem::swap(
                &mut backward.inclusive_start_primary_key,
                &mut backward.exclusive_end_primary_key,
            );
            let (mut back_keys, mut back_rows) = read(&client, backward).await;
            back_keys.reverse();
            back_rows.reverse();
            assert!((back_keys, back_rows) == (keys.clone(), rows), "{spec}");

            // A time range makes rows of it first: the slow way must agree with the fast one.
            let slow = proto::GetRangeRequest {
                time_range: Some(proto::TimeRange {
                    start_time: Some(0),
                    end_time: Some(i64::MAX),
                    ..Default::default()
                }),
                ..whole("t", &names)
            };
            assert_eq!(read(&client, slow).await.0, keys, "{spec}");
        }
    }
}

#[tokio::test]
async fn split_points_cut_a_table_into_ranges_of_the_size_asked_for() {
    let specs = SHAPES
        .map(|shape| format!("{shape}={shape}:rows={},seed=2", if shape == "iot" { 40_000 } else { 8_000 }));
    let client = client(&specs).await;
    for shape in SHAPES {
        let names = key_names(&client, shape).await;
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let (points, _) = splits(&client, shape, 1, None).await;
        let ranges = KeyRange::all(names.len()).split_at(points);
        let mut sizes = Vec::new();
        for range in &ranges {
            let mut request = between(shape, &names, range);
            let (mut units, mut pages) = (0, 0);
            loop {
                let page = client.range(&request).await.unwrap();
                units += page.consumed.capacity_unit.read.unwrap();
                pages += 1;
                match page.next_start_primary_key {
                    Some(next) => request.inclusive_start_primary_key = next,
                    None => break,
                }
            }
            sizes.push(f64::from(units - pages / 2) * 4_096.0 / f64::from(1 << 20));
        }
        println!("{shape}: {sizes:.2?} MiB by the data-size rule");
        let inner = &sizes[..sizes.len() - 1];
        assert!(
            !inner.is_empty() && inner.iter().all(|size| (0.8..1.2).contains(size)),
            "{shape}: {sizes:?}"
        );
    }
}

#[tokio::test]
async fn skewed_partitions_are_told_by_describe_table_and_by_split_points() {
    for key in ["sequential", "hashed", "shared-prefix", "binary"] {
        let spec = format!("t=iot:rows=100000,seed=6,key={key},partitions=64,skew=95");
        let client = client(&[spec]).await;
        let names = ["device", "time"];
        let about = describe(&client, "t").await;
        let boundaries: Vec<_> =
            about.shard_splits.iter().map(|bytes| plainbuffer::decode_key(bytes).unwrap()).collect();
        assert_eq!(boundaries.len(), 63);
        let partitions = KeyRange::all(2).split_at(boundaries.iter().cloned());
        assert_eq!(partitions.len(), 64);
        let mut counts = Vec::new();
        for range in &partitions {
            counts.push(read(&client, between("t", &names, range)).await.0.len());
        }
        assert_eq!(counts.iter().sum::<usize>(), 100_000);
        let largest = *counts.iter().max().unwrap();
        println!("{key}: {counts:?}");
        assert!((94_000..96_000).contains(&largest) && counts.iter().all(|count| *count > 0));

        let (points, locations) = splits(&client, "t", 1, None).await;
        assert!(boundaries.iter().all(|boundary| points.contains(boundary)));
        assert!(points.len() > 63 + 10, "{}", points.len());
        assert_eq!(locations.len(), points.len() + 1);
        // The ranges of one partition are on one machine, its neighbours on others.
        for (partition, range) in partitions.iter().enumerate() {
            let inside = (0..points.len())
                .filter(|point| range.contains(&points[*point]))
                .map(|point| &locations[point + 1]);
            let machines: Vec<_> = inside.collect();
            assert!(machines.windows(2).all(|pair| pair[0] == pair[1]), "{partition}");
        }
        let different = locations.windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert_eq!(different, 63);
        let (few, locations) = splits(&client, "t", 1, Some(5)).await;
        assert_eq!((few.len(), locations.len()), (5, 6));
    }
}

#[tokio::test]
async fn a_page_that_is_kept_is_sent_again_and_checked_as_ever() {
    let tables = vec!["g=mixed:rows=500,seed=7".parse().unwrap()];
    let options = SandboxOptions { tables, replay_bytes: 64 << 20, ..Default::default() };
    let client = Client::new(options).await;
    let names = key_names(&client, "g").await;
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let request = whole("g", &names);
    let replayed =
        || client.sandbox.counters().snapshot().operation(Service::TableStore, "GetRange").replayed;
    let kept = || client.sandbox.counters().snapshot().gauge(Service::TableStore, "replay_bytes");

    let first = client.range(&request).await.unwrap();
    assert!(replayed() == 0 && kept() > first.rows.len() as i64);
    assert_eq!(client.range(&request).await.unwrap(), first);
    assert_eq!(replayed(), 1);

    // Another request is another page.
    let newest = proto::GetRangeRequest { max_versions: Some(1), ..request.clone() };
    let fewer = client.range(&newest).await.unwrap();
    assert!(fewer.rows.len() < first.rows.len());
    assert_eq!(client.range(&newest).await.unwrap(), fewer);
    assert_eq!(replayed(), 2);

    // What is wrong with a request is said as ever, although its page is there.
    let other_names: Vec<String> = names.iter().map(|name| format!("{name}2")).collect();
    let other_end = whole("g", &other_names.iter().map(String::as_str).collect::<Vec<_>>());
    let wrong = proto::GetRangeRequest {
        exclusive_end_primary_key: other_end.exclusive_end_primary_key,
        ..request.clone()
    };
    let error = client.range(&wrong).await.unwrap_err();
    assert!(error.starts_with("400 OTSInvalidPK"), "{error}");

    // Signatures and faults are in front of it.
    let body = prost::Message::encode_to_vec(&newest);
    let (status, ..) = client.send("GetRange", body, "wrong secret").await.unwrap();
    assert_eq!(status, 403);
    client.sandbox.faults().add(Rule::new(Action::busy(Service::TableStore)).nth(1));
    assert_eq!(client.range(&newest).await.unwrap_err(), "503 OTSServerBusy Server is busy.");
    client.sandbox.faults().clear();
    let damage = Rule::new(Action::Custom("bad-row-checksum".into())).nth(1);
    client.sandbox.faults().add(damage);
    assert_ne!(client.range(&newest).await.unwrap().rows, client.range(&newest).await.unwrap().rows);

    let before = kept();
    let delete = proto::DeleteTableRequest { table_name: "g".to_owned() };
    client.call::<proto::DeleteTableResponse>("DeleteTable", &delete).await.unwrap();
    let gone = client.range(&newest).await.unwrap_err();
    assert_eq!(gone, "404 OTSObjectNotExist Requested table does not exist.");
    client.create(&table("g", 1)).await.unwrap();
    let empty = whole("g", &["id"]);
    for _ in 0..2 {
        assert!(client.range(&empty).await.unwrap().rows.is_empty());
    }
    client.put("g", &row(1, &[])).await.unwrap();
    assert!(!client.range(&empty).await.unwrap().rows.is_empty());
    assert_eq!(kept(), before, "rows that clients write are read anew");
}
