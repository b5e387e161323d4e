use otsvault::model::{Cell, KeyRange, PrimaryKey, Row, RowHasher, RowSum, Value};
use otsvault::sandbox::SandboxOptions;
use otsvault::sandbox::faults::{Action, Rule, Service};
use otsvault::{plainbuffer, proto};

use crate::client::{Client, puts, row, table, whole};

const WRONG: &str = "400 OTSParameterInvalid";

struct Read {
    keys: Vec<PrimaryKey>,
    sum: RowSum,
    pages: Vec<usize>,
}

/// Follows the pages to the end.
async fn read_all(client: &Client, mut request: proto::GetRangeRequest) -> Read {
    let (mut hasher, mut read) =
        (RowHasher::default(), Read { keys: vec![], sum: RowSum::default(), pages: vec![] });
    loop {
        let page = client.range(&request).await.unwrap();
        let before = read.keys.len();
        if !page.rows.is_empty() {
            let mut rows = plainbuffer::RowReader::new(&page.rows).unwrap();
            let mut row = Row::default();
            while rows.next_row(&mut row).unwrap() {
                read.sum += hasher.row(&row);
                read.keys.push(PrimaryKey::from_row(&row.key).unwrap());
            }
        }
        read.pages.push(read.keys.len() - before);
        match page.next_start_primary_key {
            Some(next) => request.inclusive_start_primary_key = next,
            None => return read,
        }
    }
}

async fn filled(rows: i64, value: &str) -> Client {
    let client = Client::new(SandboxOptions::default()).await;
    client.create(&table("t", 1)).await.unwrap();
    let ids: Vec<_> = (0..rows).collect();
    let in_batch = (4_000_000 / (value.len() + 20)).min(200);
    for ids in ids.chunks(in_batch) {
        let rows = ids
            .iter()
            .map(|id| plainbuffer::encode_row(&row(*id, &[Cell::put("a", Value::String(value), None)])));
        client.batch(&puts("t", rows)).await.unwrap();
    }
    client
}

#[tokio::test]
async fn a_page_has_5000_rows_and_a_next_key_only_if_there_is_a_next_row() {
    let client = filled(5_001, "x").await;
    let first = client.range(&whole("t", &["id"])).await.unwrap();
    let next = plainbuffer::decode_key(first.next_start_primary_key.as_ref().unwrap()).unwrap();
    assert_eq!(next.to_string(), "(5000)");
    // 5,000 rows of 2 + 8 + 1 + 1 bytes.
    assert_eq!(first.consumed.capacity_unit.read, Some(15));
    let read = read_all(&client, whole("t", &["id"])).await;
    assert_eq!(read.pages, [5_000, 1]);
    assert_eq!(client.sandbox.row_sum("t").unwrap(), (5_001, read.sum));
    let end = PrimaryKey(vec![otsvault::model::KeyPart::Integer(5_000)]);
    let mut exact = whole("t", &["id"]);
    exact.exclusive_end_primary_key = plainbuffer::encode_key(&["id"], &end).into();
    assert_eq!(read_all(&client, exact).await.pages, [5_000]);

    let mut backward = whole("t", &["id"]);
    backward.direction = proto::Direction::Backward as i32;
    std::mem::swap(&mut backward.inclusive_start_primary_key, &mut backward.exclusive_end_primary_key);
    backward.limit = Some(1_000);
    let mut reversed = read_all(&client, backward).await;
    reversed.keys.reverse();
    assert_eq!((reversed.pages, reversed.keys), (vec![1_000, 1_000, 1_000, 1_000, 1_000, 1], read.keys));
}

#[tokio::test]
async fn a_page_ends_before_4_mib_scanned_and_a_filter_can_leave_it_empty() {
    let value = "v".repeat(1_000_000);
    let client = filled(9, &value).await;
    assert_eq!(read_all(&client, whole("t", &["id"])).await.pages, [4, 4, 1]);
    let mut operand = Vec::new();
    plainbuffer::write_bare_value(&mut operand, Value::String("other"));
    let comparison = proto::SingleColumnValueFilter {
        comparator: proto::ComparatorType::CtEqual as i32,
        column_name: "a".into(),
        column_value: operand.into(),
        filter_if_missing: true,
        latest_version_only: true,
        value_trans_rule: None,
    };
    let filter = proto::Filter {
        r#type: proto::FilterType::FtSingleColumnValue as i32,
        filter: prost::Message::encode_to_vec(&comparison).into(),
    };
    let mut filtered = whole("t", &["id"]);
    filtered.filter = Some(prost::Message::encode_to_vec(&filter).into());
    assert_eq!(read_all(&client, filtered).await.pages, [0, 0, 0]);
}

#[tokio::test]
async fn ranges_that_make_no_sense_are_refused() {
    let client = filled(1, "x").await;
    let refused = async |change: &dyn Fn(&mut proto::GetRangeRequest)| {
        let mut request = whole("t", &["id"]);
        change(&mut request);
        client.range(&request).await.expect_err("this range makes no sense")
    };
    let swap = |request: &mut proto::GetRangeRequest| {
        std::mem::swap(&mut request.inclusive_start_primary_key, &mut request.exclusive_end_primary_key);
    };
    assert_eq!(refused(&swap).await, format!("{WRONG} Begin key must less than end key in FORWARD"));
    let same = |request: &mut proto::GetRangeRequest| {
        request.exclusive_end_primary_key = request.inclusive_start_primary_key.clone();
    };
    assert_eq!(refused(&same).await, format!("{WRONG} Begin key must less than end key in FORWARD"));
    assert_eq!(
        refused(&|request| request.max_versions = None).await,
        format!("{WRONG} No version condition is specified.")
    );
    assert_eq!(
        refused(&|request| request.columns_to_get = (0..1_025).map(|at| format!("c{at}")).collect()).await,
        format!(
            "{WRONG} The number of columns from the request exceeds the limit, limit count: 1024, column count: 1025."
        )
    );
    assert_eq!(
        refused(&|request| request.columns_to_get = vec!["1".into()]).await,
        format!("{WRONG} Invalid column name: '1'.")
    );
    assert_eq!(
        refused(&|request| request.table_name = "other".into()).await,
        "404 OTSObjectNotExist Requested table does not exist."
    );
    let keys = vec![plainbuffer::encode_row(&row(1, &[])).into(); 101];
    let asked = proto::TableInBatchGetRowRequest {
        table_name: "t".into(),
        primary_key: keys,
        max_versions: Some(1),
        ..Default::default()
    };
    let batch = proto::BatchGetRowRequest { tables: vec![asked] };
    let many = client.call::<proto::BatchGetRowResponse>("BatchGetRow", &batch).await.unwrap_err();
    assert_eq!(many, format!("{WRONG} Rows count exceeds the upper limit: 100."));
}

async fn splits(client: &Client, table: &str, split_size: i64) -> proto::ComputeSplitPointsBySizeResponse {
    let request = proto::ComputeSplitPointsBySizeRequest {
        table_name: table.to_owned(),
        split_size,
        split_size_unit_in_byte: Some(1 << 20),
        split_point_limit: None,
    };
    client.call("ComputeSplitPointsBySize", &request).await.unwrap()
}

#[tokio::test]
async fn generated_tables_are_read_split_by_split_and_add_up() {
    let tables =
        ["iot=iot:rows=25000,seed=5", "mixed=mixed:rows=7000,seed=5", "huge=iot:rows=5000000000,seed=5"];
    let tables = tables.map(|text| text.parse().unwrap()).into();
    let client = Client::new(SandboxOptions { tables, ..Default::default() }).await;
    for (name, key) in [("iot", ["device", "time"].as_slice()), ("mixed", &["region", "number", "tag"])] {
        let split = splits(&client, name, 1).await;
        assert!(!split.split_points.is_empty(), "{name}");
        let located: i64 = split.locations.iter().map(|location| location.repeat).sum();
        assert_eq!(located as usize, split.split_points.len() + 1);
        let points = split.split_points.iter().map(|point| plainbuffer::decode_key(point).unwrap());
        let ranges = KeyRange::all(key.len()).split_at(points.map(|point| point.padded(key.len())));
        assert_eq!(ranges.len(), split.split_points.len() + 1);
        let (mut rows, mut sum) = (0, RowSum::default());
        for range in ranges {
            let mut request = whole(name, key);
            request.inclusive_start_primary_key = plainbuffer::encode_key(key, &range.start).into();
            request.exclusive_end_primary_key = plainbuffer::encode_key(key, &range.end).into();
            let read = read_all(&client, request).await;
            rows += read.keys.len() as u64;
            sum += read.sum;
        }
        assert_eq!(client.sandbox.row_sum(name).unwrap(), (rows, sum), "{name}");
    }
    let huge = splits(&client, "huge", 100_000).await;
    assert!((5..20).contains(&huge.split_points.len()), "{}", huge.split_points.len());
    let mut last = whole("huge", &["device", "time"]);
    last.direction = proto::Direction::Backward as i32;
    std::mem::swap(&mut last.inclusive_start_primary_key, &mut last.exclusive_end_primary_key);
    last.limit = Some(1);
    let page = client.range(&last).await.unwrap();
    let mut found = Row::default();
    plainbuffer::decode_request_row(&page.rows, &mut found).unwrap();
    assert!(PrimaryKey::from_row(&found.key).unwrap().to_string().starts_with("(\"device-002499999\""));
    let refused = client.put("huge", &Row { cells: vec![], ..found.clone() }).await.unwrap_err();
    assert!(refused.starts_with("403 OTSNoPermissionAccess"), "{refused}");
}

#[tokio::test]
async fn a_written_table_is_split_by_size_and_a_small_one_not_at_all() {
    let client = filled(40, &"v".repeat(100_000)).await;
    let split = splits(&client, "t", 1).await;
    let points: Vec<_> =
        split.split_points.iter().map(|point| plainbuffer::decode_key(point).unwrap().to_string()).collect();
    assert_eq!(points, ["(11)", "(22)", "(33)"]);
    assert!(splits(&client, "t", 100).await.split_points.is_empty());
    for (size, unit, text) in [
        (0, 1 << 20, "The split_size should be greater than 0."),
        (1, 1_048_575, "The split_size_unit_in_byte should be greater equal than: 1048576"),
    ] {
        let request = proto::ComputeSplitPointsBySizeRequest {
            table_name: "t".into(),
            split_size: size,
            split_size_unit_in_byte: Some(unit),
            split_point_limit: None,
        };
        let answer: Result<proto::ComputeSplitPointsBySizeResponse, _> =
            client.call("ComputeSplitPointsBySize", &request).await;
        assert_eq!(answer.unwrap_err(), format!("{WRONG} {text}"));
    }
}

#[tokio::test]
async fn pages_go_wrong_on_demand() {
    let client = filled(10, "x").await;
    let fault =
        |action| client.sandbox.faults().add(Rule::new(action).on(Service::TableStore, "GetRange").nth(1));
    let custom = |name: &'static str| Action::Custom(name.into());
    let range = async || client.range(&whole("t", &["id"])).await;
    let next = |page: &proto::GetRangeResponse| page.next_start_primary_key.clone().unwrap();

    fault(custom("empty-page"));
    let page = range().await.unwrap();
    assert!(page.rows.is_empty());
    assert_eq!(plainbuffer::decode_key(&next(&page)).unwrap().to_string(), "(0)");
    client.sandbox.faults().clear();
    fault(custom("repeat-next-key"));
    assert_eq!(plainbuffer::decode_key(&next(&range().await.unwrap())).unwrap().to_string(), "(0)");
    client.sandbox.faults().clear();
    fault(custom("bad-row-checksum"));
    let page = range().await.unwrap();
    let mut rows = plainbuffer::RowReader::new(&page.rows).unwrap();
    let mut row = Row::default();
    let outcome = loop {
        match rows.next_row(&mut row) {
            Ok(true) => {}
            other => break other,
        }
    };
    assert!(matches!(outcome.unwrap_err().fault, plainbuffer::Fault::RowChecksum { .. }));
    client.sandbox.faults().clear();
    fault(Action::WrongChecksum);
    assert_eq!(range().await.unwrap_err(), "wrong digest");
    client.sandbox.faults().clear();
    fault(Action::TruncateBody);
    assert!(range().await.unwrap_err().starts_with("connection"));
    fault(Action::error(503, "OTSServerBusy", "Server is busy."));
    client.sandbox.faults().clear();
    assert_eq!(read_all(&client, whole("t", &["id"])).await.keys.len(), 10);
}
