//! What this crate itself reads: through its Table Store client, and out of a backup that the program made.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use otsvault::catalog::Manifest;
use otsvault::columnar::RowsReader;
use otsvault::credentials::Credentials;
use otsvault::model::{
    Cell, CellOp, KeyRange, PrimaryKeyValue, RecordType, Row, StreamRecord, Value as Cellular,
};
use otsvault::parquet_file::{FileReader, ReadLimits};
use otsvault::plainbuffer::RowReader;
use otsvault::tablestore::{
    EncodedRecord, RangeRequest, ShardPosition, ShardStart, TableStore, TableStoreConfig,
};
use serde_json::{Value, json};

use crate::provision::{root, run};
use crate::value::{binary, boolean, double, integer, string};

fn text(sandbox: &Value, name: &str) -> String {
    sandbox[name].as_str().unwrap_or_else(|| panic!("the sandbox describes no {name}")).to_owned()
}

fn config(sandbox: &Value) -> TableStoreConfig {
    let credentials =
        Credentials::new(text(sandbox, "access_key_id"), text(sandbox, "access_key_secret"), None);
    TableStoreConfig::new(text(sandbox, "ots_endpoint"), text(sandbox, "instance"), credentials)
}

/// All rows of a table with all versions, through the client.
pub fn read_through_client(sandbox: &Value, table: &str) -> Vec<Value> {
    let work = async {
        let client = TableStore::new(config(sandbox))?;
        let definition = client.describe_table(table).await?.definition;
        let names: Vec<_> = definition.primary_key.iter().map(|column| column.name.clone()).collect();
        let mut request = RangeRequest::everything(table, names.clone(), KeyRange::all(names.len()));
        let mut rows = Vec::new();
        loop {
            let page = client.get_range(&request).await?;
            let mut reader = RowReader::new(&page.rows).expect("a page decodes");
            let mut row = Row::default();
            while reader.next_row(&mut row).expect("a page decodes") {
                rows.push(row_json(&row));
            }
            match page.next_start {
                Some(next) => request.start = next,
                None => return Ok::<_, otsvault::Error>(rows),
            }
        }
    };
    tokio::runtime::Runtime::new().expect("a runtime starts").block_on(work).expect("the table can be read")
}

/// Every shard of a table's Stream with all its records, through the client.
pub fn stream_through_client(sandbox: &Value, table: &str) -> BTreeMap<String, Vec<Value>> {
    let work = async {
        let client = TableStore::new(config(sandbox))?;
        let stream_id = client.list_streams(Some(table)).await?.remove(0).stream_id;
        let mut shards = BTreeMap::new();
        for shard in client.describe_stream(&stream_id).await?.shards {
            let oldest = client.get_shard_iterator(&stream_id, &shard.shard_id, ShardStart::Oldest).await?;
            let (mut position, mut records) = (ShardPosition::More(oldest), Vec::new());
            while let ShardPosition::More(iterator) = position {
                let page = client.get_stream_record(table, &iterator, Some(4)).await?;
                let decoded =
                    |record: &EncodedRecord| record_json(&record.decode().expect("a record decodes"));
                records.extend(page.records.iter().map(decoded));
                position = page.position;
            }
            shards.insert(shard.shard_id, records);
        }
        Ok::<_, otsvault::Error>(shards)
    };
    tokio::runtime::Runtime::new().expect("a runtime starts").block_on(work).expect("the Stream can be read")
}

/// All rows of a table out of the Parquet files of a backup, made now by the program into an empty vault.
pub fn read_through_backup(sandbox: &Value, table: &str) -> Vec<Value> {
    let vault = tempfile::tempdir_in(root()).expect("target/interop can be written");
    let mut backup = Command::new(env!("CARGO_BIN_EXE_otsvault"));
    backup
        .arg("backup")
        .arg(format!("ots://{}/{table}", text(sandbox, "instance")))
        .arg(vault.path())
        .env("OTS_ENDPOINT", text(sandbox, "ots_endpoint"))
        .env("ALIBABA_CLOUD_ACCESS_KEY_ID", text(sandbox, "access_key_id"))
        .env("ALIBABA_CLOUD_ACCESS_KEY_SECRET", text(sandbox, "access_key_secret"));
    run(&mut backup).expect("the backup succeeds");
    let manifest = files_below(vault.path(), "manifest.json").pop().expect("the backup is committed");
    let plan = serde_json::from_slice::<Manifest>(&manifest).expect("the manifest is one").columns;
    let mut rows = Vec::new();
    for file in files_below(vault.path(), ".parquet") {
        let file = FileReader::open(file.into(), &plan, &ReadLimits::default()).expect("a data file opens");
        for batch in file.batches().expect("a data file has batches") {
            let batch = batch.expect("a batch decodes");
            let mut reader = RowsReader::new(&batch, &plan).expect("a batch has the columns of the manifest");
            let mut row = Row::default();
            while reader.read(&mut row).expect("a row decodes") {
                rows.push(row_json(&row));
            }
        }
    }
    rows
}

/// The contents of the files whose name ends so, in the order of their names.
fn files_below(directory: &Path, end: &str) -> Vec<Vec<u8>> {
    let mut entries: Vec<_> = std::fs::read_dir(directory)
        .expect("a directory of the vault")
        .map(|entry| entry.expect("an entry of the vault").path())
        .collect();
    entries.sort();
    let read = |path: &Path| std::fs::read(path).expect("an object of the vault");
    entries
        .iter()
        .flat_map(|path| match path.is_dir() {
            true => files_below(path, end),
            false if path.to_string_lossy().ends_with(end) => vec![read(path)],
            false => Vec::new(),
        })
        .collect()
}

fn row_json(row: &Row<'_>) -> Value {
    let key: Vec<_> = row.key.iter().map(|(name, value)| json!([name, key_json(*value)])).collect();
    let cells: Vec<_> = row.cells.iter().map(cell_json).collect();
    json!({ "key": key, "cells": cells })
}

fn record_json(record: &StreamRecord<'_>) -> Value {
    let key: Vec<_> = record.row.key.iter().map(|(name, value)| json!([name, key_json(*value)])).collect();
    let change = |cell: &Cell<'_>| match cell.op {
        None => {
            let [name, value, timestamp] = cell_parts(cell);
            json!(["put", name, value, timestamp])
        }
        Some(CellOp::DeleteOneVersion) => json!(["delete_version", cell.name, cell.timestamp]),
        Some(CellOp::DeleteAllVersions) => json!(["delete_column", cell.name]),
        Some(CellOp::Increment) => panic!("a Stream shows the result of an increment"),
    };
    let record_type = match record.record_type {
        RecordType::Put => "put",
        RecordType::Update => "update",
        RecordType::Delete => "delete",
    };
    let changes: Vec<_> = record.row.cells.iter().map(change).collect();
    json!({ "type": record_type, "key": key, "changes": changes, "at": record.sequence.timestamp_us })
}

fn key_json(value: PrimaryKeyValue<'_>) -> Value {
    match value {
        PrimaryKeyValue::Integer(value) => integer(value),
        PrimaryKeyValue::String(value) => string(value),
        PrimaryKeyValue::Binary(value) => binary(value),
        bound => panic!("a row has the key {bound:?}"),
    }
}

fn cell_json(cell: &Cell<'_>) -> Value {
    json!(cell_parts(cell))
}

fn cell_parts(cell: &Cell<'_>) -> [Value; 3] {
    let value = match cell.value.expect("a stored cell has a value") {
        Cellular::Integer(value) => integer(value),
        Cellular::Double(value) => double(value),
        Cellular::Boolean(value) => boolean(value),
        Cellular::String(value) => string(value),
        Cellular::Binary(value) => binary(value),
    };
    [json!(cell.name), value, json!(cell.timestamp)]
}
