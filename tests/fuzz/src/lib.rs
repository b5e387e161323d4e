//! What each fuzz target does with its input: nothing may panic, and what is accepted must mean the same after it was
//! written and read again. `tests/fuzz_corpus.rs` runs the same functions over the corpora.

use std::cell::OnceCell;

use bytes::Bytes;
use otsvault::catalog::{FileEntry, Manifest, StartedRun};
use otsvault::credentials::Credentials;
use otsvault::model::{KeyPart, KeyRange, PrimaryKey, RecordType, Row};
use otsvault::plainbuffer::{
    BlockFormat, MatrixReader, RowReader, checksum, decode_bare_key_value, decode_bare_value,
    decode_named_key, decode_origin_record, decode_record, decode_request_row, encode_key, encode_row,
    write_bare_key_value, write_bare_value,
};
use otsvault::tablestore::{
    Direction, ExportRequest, RangeRequest, RowChange, RowRequest, RowsRequest, ShardStart, TableStore,
    TableStoreConfig,
};

/// PlainBuffer in every role: page, request row, key, Stream record, bare value.
pub fn plainbuffer(input: &[u8]) {
    if let Ok(mut reader) = RowReader::new(input) {
        let mut row = Row::default();
        while let Ok(true) = reader.next_row(&mut row) {
            let again = encode_row(&row);
            let mut second = Row::default();
            decode_request_row(&again, &mut second).expect("a row that was read can be written");
            // Not `==`: a NaN is not equal to itself, its bits are.
            assert_eq!(again, encode_row(&second));
        }
        assert!(reader.offset() <= input.len());
    }
    let mut row = Row::default();
    if let Err(error) = decode_request_row(input, &mut row) {
        assert!(error.offset <= input.len(), "{error}");
    }
    if let Ok((names, key)) = decode_named_key(input) {
        assert_eq!(decode_named_key(&encode_key(&names, &key)), Ok((names, key)));
    }
    for record_type in [RecordType::Put, RecordType::Update, RecordType::Delete] {
        let _ = decode_record(record_type, input);
    }
    let _ = decode_origin_record(input);
    if let Ok(value) = decode_bare_value(input) {
        let mut again = Vec::new();
        write_bare_value(&mut again, value);
        assert_eq!(again, input);
    }
    if let Ok(value) = decode_bare_key_value(input) {
        let mut again = Vec::new();
        write_bare_key_value(&mut again, value);
        assert_eq!(again, input);
    }
}

/// A row matrix as it is, and with the checksum that a fuzzer would not find.
pub fn row_matrix(input: &[u8]) {
    read_matrix(input);
    let body = input.strip_prefix(b"SRM0").unwrap_or(input);
    let mut sealed = [b"SRM0", body, &[1]].concat();
    sealed.push(checksum(&sealed));
    read_matrix(&sealed);
}

fn read_matrix(matrix: &[u8]) {
    let mut reader = match MatrixReader::new(matrix) {
        Ok(reader) => reader,
        Err(error) => return assert!(error.offset <= matrix.len(), "{error}"),
    };
    let mut row = Row::default();
    loop {
        let (before, left) = (reader.offset(), reader.remaining());
        match reader.next_row(&mut row) {
            Ok(true) => assert!(reader.offset() > before && reader.remaining() == left - 1),
            Ok(false) => break,
            Err(error) => {
                assert!(error.offset <= matrix.len(), "{error}");
                break;
            }
        }
        assert!(row.key.len() <= 4 && row.cells.len() <= 1_024);
    }
}

thread_local! {
    static RUNTIME: OnceCell<tokio::runtime::Runtime> = const { OnceCell::new() };
}

/// The body of an answer, behind a byte that says to which request.
pub fn responses(input: &[u8]) {
    let Some((operation, body)) = input.split_first() else { return };
    let config = TableStoreConfig::new("", "", Credentials::new("id", "secret", None));
    let client = TableStore::answered_by(config, Bytes::copy_from_slice(body));
    let build = || tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    RUNTIME.with(|runtime| runtime.get_or_init(build).block_on(ask(&client, *operation)));
}

/// Operations that [`responses`] knows, in the order of its first byte.
pub const OPERATIONS: [&str; 16] = [
    "ListTable",
    "DescribeTable",
    "ComputeSplitPointsBySize",
    "GetRow",
    "BatchGetRow",
    "GetRange",
    "GetRangeBackward",
    "BulkExport",
    "PutRow",
    "BatchWriteRow",
    "ListStream",
    "DescribeStream",
    "GetShardIterator",
    "GetStreamRecord",
    "CreateTable",
    "UpdateTable",
];

async fn ask(client: &TableStore, operation: u8) {
    let key = PrimaryKey(vec![KeyPart::String("a".into())]);
    let key_names = || vec!["k".to_owned()];
    let everything = RangeRequest::everything("t1", key_names(), KeyRange::all(1));
    let row_request = RowRequest {
        table: "t1".into(),
        key_names: key_names(),
        key: key.clone(),
        columns: vec![],
        max_versions: Some(1),
        time_range: None,
    };
    let row = Row { key: vec![("k", key.parts()[0].as_value())], ..Row::default() };
    match OPERATIONS.get(usize::from(operation)).copied().unwrap_or("GetRange") {
        "ListTable" => drop(client.list_tables().await),
        "DescribeTable" => {
            if let Ok(described) = client.describe_table("t1").await {
                // What was understood can be asked for again.
                drop(client.create_table(&described.definition, &[]).await);
            }
        }
        "ComputeSplitPointsBySize" => {
            if let Ok(split) = client.compute_split_points_by_size("t1", 1, None, None).await {
                let all = KeyRange::all(split.primary_key.len());
                assert_eq!(all.check_tiled_by(&all.split_at(split.points.clone())), Ok(()));
            }
        }
        "GetRow" => drop(client.get_row(&row_request).await),
        "BatchGetRow" => {
            let RowRequest { table, key_names, columns, max_versions, time_range, .. } = row_request;
            let keys = vec![key.clone(), PrimaryKey(vec![KeyPart::String("b".into())])];
            let request = RowsRequest { table, key_names, keys, columns, max_versions, time_range };
            if let Ok(read) = client.batch_get_row(&request).await {
                assert_eq!(read.each().len(), 2);
            }
        }
        "GetRange" => {
            if let Ok(page) = client.get_range(&everything).await {
                assert!(page.next_start.as_ref().is_none_or(|next| *next > everything.start));
                let _ = page.reader().map(|mut reader| reader.next_row(&mut Row::default()));
            }
        }
        "GetRangeBackward" => {
            let (start, end) = (everything.end.clone(), everything.start.clone());
            let request = RangeRequest { start, end, direction: Direction::Backward, ..everything };
            if let Ok(page) = client.get_range(&request).await {
                assert!(page.next_start.as_ref().is_none_or(|next| *next < request.start));
            }
        }
        "BulkExport" => {
            let request = ExportRequest::columns("t1", key_names(), vec!["c".into()], KeyRange::all(1));
            if let Ok(page) = client.bulk_export(&request).await {
                assert!(matches!(page.format, BlockFormat::PlainBuffer | BlockFormat::RowMatrix));
                let _ = page.reader().map(|mut reader| reader.next_row(&mut Row::default()));
            }
        }
        "PutRow" => drop(client.put_row("t1", &row).await),
        "BatchWriteRow" => {
            let changes = [RowChange::put(&row), RowChange::delete(&row)];
            if let Ok(written) = client.write_rows("t1", &changes).await {
                assert!(written.failures.iter().all(|(index, _)| *index < 2));
            }
        }
        "ListStream" => drop(client.list_streams(Some("t1")).await),
        "DescribeStream" => drop(client.describe_stream("s1").await),
        "GetShardIterator" => drop(client.get_shard_iterator("s1", "shard", ShardStart::At(1)).await),
        "GetStreamRecord" => {
            if let Ok(page) = client.get_stream_record("t1", "it-1", Some(10)).await {
                for record in &page.records {
                    let _ = (record.decode(), record.decode_origin());
                }
            }
        }
        "CreateTable" | "UpdateTable" => {
            drop(client.update_table("t1", Default::default()).await);
        }
        _ => {}
    }
}

/// A body that OSS might have sent, to every reader of its XML.
pub fn oss_xml(input: &[u8]) {
    otsvault::objectstore::oss::read_every_xml(input);
}

/// The documents of a vault.
pub fn manifest(input: &[u8]) {
    if let Ok(manifest) = Manifest::parse(input) {
        let written = serde_json::to_vec(&manifest).expect("a manifest that was read can be written");
        assert_eq!(Manifest::parse(&written).expect("and read again"), manifest);
    }
    let _ = serde_json::from_slice::<StartedRun>(input);
    if let Ok(entry) = serde_json::from_slice::<FileEntry>(input) {
        let written = serde_json::to_vec(&entry).expect("an entry that was read can be written");
        assert_eq!(serde_json::from_slice::<FileEntry>(&written).expect("and read again"), entry);
    }
}
