//! What this crate itself reads: through its Table Store client, and out of a backup that the program made.

use std::path::Path;
use std::process::Command;

use otsvault::catalog::Manifest;
use otsvault::columnar::RowsReader;
use otsvault::credentials::Credentials;
use otsvault::model::{Cell, KeyRange, PrimaryKeyValue, Row, Value as Cellular};
use otsvault::parquet_file::{FileReader, ReadLimits};
use otsvault::plainbuffer::RowReader;
use otsvault::tablestore::{RangeRequest, TableStore, TableStoreConfig};
use serde_json::{Value, json};

use crate::provision::{root, run};
use crate::value::{binary, boolean, double, integer, string};

fn text(sandbox: &Value, name: &str) -> String {
    sandbox[name].as_str().unwrap_or_else(|| panic!("the sandbox describes no {name}")).to_owned()
}

/// All rows of a table with all versions, through the client.
pub fn read_through_client(sandbox: &Value, table: &str) -> Vec<Value> {
    let credentials =
        Credentials::new(text(sandbox, "access_key_id"), text(sandbox, "access_key_secret"), None);
    let config = TableStoreConfig::new(text(sandbox, "ots_endpoint"), text(sandbox, "instance"), credentials);
    let work = async {
        let client = TableStore::new(config)?;
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

fn key_json(value: PrimaryKeyValue<'_>) -> Value {
    match value {
        PrimaryKeyValue::Integer(value) => integer(value),
        PrimaryKeyValue::String(value) => string(value),
        PrimaryKeyValue::Binary(value) => binary(value),
        bound => panic!("a row has the key {bound:?}"),
    }
}

fn cell_json(cell: &Cell<'_>) -> Value {
    let value = match cell.value.expect("a stored cell has a value") {
        Cellular::Integer(value) => integer(value),
        Cellular::Double(value) => double(value),
        Cellular::Boolean(value) => boolean(value),
        Cellular::String(value) => string(value),
        Cellular::Binary(value) => binary(value),
    };
    json!([cell.name, value, cell.timestamp])
}
