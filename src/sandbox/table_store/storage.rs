//! `--data-dir`: the tables of an instance in one redb file, so that they survive a restart or a kill.
//!
//! The tables live in memory; every change is also handed to one thread that writes what has gathered in one
//! transaction, synced to disk. [`Storage::wait`] returns when everything handed over so far is there, and every answer
//! waits for that: what was acknowledged, or was read, is never lost, and concurrent writers share a sync.
//!
//! Kept: definitions, reserved throughput, partitions, indexes, every row with every version. Not kept: open local
//! transactions, which are aborted, and the history of a Stream: it comes back enabled anew, under a new id, as a
//! reader must be told that records are missing.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableHandle as _};
use serde::{Deserialize, Serialize};

use super::service_error::{Answer, ServiceError};
use super::stored::{StoredRow, StoredValue};
use super::table::{Content, Table};
use crate::error::Context as _;
use crate::model::{PrimaryKey, Row, TableDefinition};
use crate::{Error, Kind, Result, plainbuffer};

/// Everything about a table but its rows, by name, as JSON.
const TABLES: redb::TableDefinition<&str, &[u8]> = redb::TableDefinition::new("tables");

/// The file in the data directory.
const FILE: &str = "table-store.redb";

/// Bytes that redb may keep in memory. The rows are in memory anyway.
const CACHE_SIZE: usize = 16 << 20;

/// Changes that one transaction takes at most.
const MAX_GATHERED: usize = 1_024;

/// Where changes go.
pub struct Storage {
    queue: Mutex<Queue>,
    progress: Arc<Progress>,
    writer: Option<JoinHandle<()>>,
}

struct Queue {
    /// `None` once closing.
    changes: Option<Sender<StoredChange>>,
    handed_over: u64,
}

#[derive(Default)]
struct Progress {
    state: Mutex<State>,
    moved: Condvar,
}

#[derive(Default)]
struct State {
    written: u64,
    /// Why nothing more can be written.
    failure: Option<String>,
}

/// One change to the file.
enum StoredChange {
    /// A table was created, or something about it changed.
    Table(String, Vec<u8>),
    /// A table is gone, with its rows.
    NoTable(String),
    /// Rows by encoded key; `None` deletes.
    Rows(String, Vec<(Vec<u8>, Option<Vec<u8>>)>),
}

/// A table without its rows, as stored.
#[derive(Serialize, Deserialize)]
struct StoredTable {
    definition: TableDefinition,
    reserved_changed_at_s: i64,
    boundaries: Vec<PrimaryKey>,
    #[serde(default)]
    local_transactions: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    index_of: Option<String>,
}

impl Storage {
    /// Opens or creates the file in `directory`, and loads the tables in it.
    ///
    /// # Errors
    /// [`Kind::Io`] when it cannot be opened, which includes that another sandbox has it open; [`Kind::Corrupt`] when
    /// what is in it is not what a sandbox writes.
    pub fn open(directory: &Path) -> Result<(Storage, Vec<Table>)> {
        let on = || format!("`{}`", directory.join(FILE).display());
        let doing = "open the sandbox's tables";
        std::fs::create_dir_all(directory).doing(Kind::Io, doing).map_err(|error| error.on(on()))?;
        let mut builder = Database::builder();
        let database = builder.set_cache_size(CACHE_SIZE).create(directory.join(FILE));
        let database = database
            .doing(Kind::Io, doing)
            .map_err(|error| error.on(on()).hint("one sandbox at a time can use a data directory"))?;
        let tables = load(&database).map_err(|error| error.on(on()))?;
        let (sender, receiver) = channel();
        let progress = Arc::new(Progress::default());
        let shared = Arc::clone(&progress);
        let writer = std::thread::Builder::new()
            .name("sandbox-storage".to_owned())
            .spawn(move || write(&database, &receiver, &shared))
            .doing(Kind::Io, doing)?;
        let queue = Mutex::new(Queue { changes: Some(sender), handed_over: 0 });
        Ok((Storage { queue, progress, writer: Some(writer) }, tables))
    }

    /// Stores a table without its rows. Called with the table locked, so that changes come in order.
    pub fn put_table(&self, table: &Table) {
        let stored = StoredTable {
            definition: table.definition.clone(),
            reserved_changed_at_s: table.reserved_changed_at_s,
            boundaries: table.partitions.boundaries().to_vec(),
            local_transactions: table.local_transactions,
            index_of: table.index_of.clone(),
        };
        match serde_json::to_vec(&stored) {
            Ok(json) => self.hand_over(StoredChange::Table(stored.definition.name, json)),
            Err(error) => self.progress.fail(format!("a definition cannot be written: {error}")),
        }
    }

    /// Forgets a table and its rows.
    pub fn remove_table(&self, name: &str) {
        self.hand_over(StoredChange::NoTable(name.to_owned()));
    }

    /// Stores the rows that changed, as they are now. Called with the table locked.
    pub fn put_rows(&self, table: &Table, changed: &[PrimaryKey]) {
        let Content::Stored(rows) = &table.content else { return };
        let names = table.key_names();
        let encode =
            |key: &PrimaryKey| (encode_key(key), rows.get(key).map(|row| encode_row(&names, key, row)));
        let rows = changed.iter().map(encode).collect();
        self.hand_over(StoredChange::Rows(table.definition.name.clone(), rows));
    }

    fn hand_over(&self, change: StoredChange) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.changes.as_ref().is_some_and(|changes| changes.send(change).is_ok()) {
            queue.handed_over += 1;
        }
    }

    /// Waits until everything handed over so far is on disk.
    ///
    /// # Errors
    /// `OTSInternalServerError` when it cannot be written, now and from then on.
    pub fn wait(&self) -> Answer<()> {
        let wanted = self.queue.lock().unwrap_or_else(PoisonError::into_inner).handed_over;
        let mut state = self.progress.state();
        loop {
            if let Some(failure) = &state.failure {
                let text = format!("The sandbox cannot store its tables: {failure}.");
                return Err(ServiceError::new(500, "OTSInternalServerError", text));
            }
            if state.written >= wanted {
                return Ok(());
            }
            state = self.progress.moved.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Writes what was handed over, then closes the file.
impl Drop for Storage {
    fn drop(&mut self) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).changes = None;
        if let Some(writer) = self.writer.take() {
            // A panic of the writer was seen by whoever waited.
            let _ = writer.join();
        }
    }
}

impl Progress {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fail(&self, failure: String) {
        tracing::error!(%failure, "sandbox cannot store its tables");
        self.state().failure.get_or_insert(failure);
        self.moved.notify_all();
    }
}

/// Lets nobody wait for a writer that panicked.
struct Reporter<'p>(&'p Progress);

impl Drop for Reporter<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail("the writer panicked".to_owned());
        }
    }
}

/// The writer: gathers, writes, syncs, reports; until the queue is closed or the disk fails.
fn write(database: &Database, changes: &Receiver<StoredChange>, progress: &Progress) {
    let _reporter = Reporter(progress);
    while let Ok(first) = changes.recv() {
        let mut gathered = vec![first];
        gathered.extend(changes.try_iter().take(MAX_GATHERED - 1));
        match write_gathered(database, &gathered) {
            Ok(()) => {
                progress.state().written += gathered.len() as u64;
                progress.moved.notify_all();
            }
            Err(error) => return progress.fail(error.to_string()),
        }
    }
}

fn write_gathered(database: &Database, changes: &[StoredChange]) -> std::result::Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut tables = transaction.open_table(TABLES)?;
        for change in changes {
            match change {
                StoredChange::Table(name, json) => {
                    tables.insert(name.as_str(), json.as_slice())?;
                }
                StoredChange::NoTable(name) => {
                    tables.remove(name.as_str())?;
                    transaction.delete_table(rows_table(&rows_name(name)))?;
                }
                StoredChange::Rows(name, changed) => {
                    let name = rows_name(name);
                    let mut rows = transaction.open_table(rows_table(&name))?;
                    for (key, row) in changed {
                        match row {
                            Some(row) => rows.insert(key.as_slice(), row.as_slice())?,
                            None => rows.remove(key.as_slice())?,
                        };
                    }
                }
            }
        }
    }
    Ok(transaction.commit()?)
}

fn rows_name(table: &str) -> String {
    format!("rows/{table}")
}

fn rows_table(name: &str) -> redb::TableDefinition<'_, &'static [u8], &'static [u8]> {
    redb::TableDefinition::new(name)
}

fn load(database: &Database) -> Result<Vec<Table>> {
    let unreadable =
        |error: redb::Error| Error::new(Kind::Io, "read the sandbox's tables").because(error.to_string());
    let corrupt = |why: String| Error::new(Kind::Corrupt, "read the sandbox's tables").because(why);
    let transaction = database.begin_read().map_err(|error| unreadable(error.into()))?;
    let names: Vec<String> = transaction
        .list_tables()
        .map_err(|error| unreadable(error.into()))?
        .map(|table| table.name().to_owned())
        .collect();
    let holds = |name: &str| names.iter().any(|known| known == name);
    let mut loaded = Vec::new();
    if !holds(TABLES.name()) {
        return Ok(loaded);
    }
    let tables = transaction.open_table(TABLES).map_err(|error| unreadable(error.into()))?;
    for entry in tables.iter().map_err(|error| unreadable(error.into()))? {
        let (name, json) = entry.map_err(|error| unreadable(error.into()))?;
        let name = name.value();
        let stored: StoredTable = serde_json::from_slice(json.value())
            .map_err(|error| corrupt(format!("the definition of `{name}` is unreadable: {error}")))?;
        let mut content = BTreeMap::new();
        let rows_name = rows_name(name);
        if holds(&rows_name) {
            let rows =
                transaction.open_table(rows_table(&rows_name)).map_err(|error| unreadable(error.into()))?;
            for entry in rows.iter().map_err(|error| unreadable(error.into()))? {
                let (_, row) = entry.map_err(|error| unreadable(error.into()))?;
                let (key, row) = decode_row(row.value())
                    .ok_or_else(|| corrupt(format!("a row of `{name}` is unreadable")))?;
                content.insert(key, row);
            }
        }
        let mut table = Table {
            reserved_changed_at_s: stored.reserved_changed_at_s,
            local_transactions: stored.local_transactions,
            index_of: stored.index_of,
            ..Table::empty(stored.definition, stored.boundaries)
        };
        content.keys().for_each(|key| table.partitions.note_write(key, 1, 0));
        table.content = Content::Stored(content);
        loaded.push(table);
    }
    Ok(loaded)
}

/// Bare values one after the other: different keys of a table have different bytes.
fn encode_key(key: &PrimaryKey) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in key.parts() {
        plainbuffer::write_bare_key_value(&mut bytes, part.as_value());
    }
    bytes
}

/// The time of the newest write, i64 little-endian in milliseconds, and the row as PlainBuffer.
fn encode_row(names: &[&str], key: &PrimaryKey, stored: &StoredRow) -> Vec<u8> {
    let mut row = Row::default();
    row.key.extend(names.iter().copied().zip(key.parts().iter().map(|part| part.as_value())));
    stored.view(&mut row, usize::MAX, i64::MIN);
    let mut bytes = stored.newest_write().to_le_bytes().to_vec();
    plainbuffer::write_header(&mut bytes);
    plainbuffer::write_row(&mut bytes, &row);
    bytes
}

fn decode_row(bytes: &[u8]) -> Option<(PrimaryKey, StoredRow)> {
    let (newest_write, bytes) = bytes.split_first_chunk::<8>()?;
    let mut row = Row::default();
    plainbuffer::decode_request_row(bytes, &mut row).ok()?;
    let mut stored = StoredRow::new(i64::from_le_bytes(*newest_write));
    for cell in &row.cells {
        stored.put(cell.name, cell.timestamp?, StoredValue::from(cell.value?), usize::MAX);
    }
    Some((PrimaryKey::from_row(&row.key)?, stored))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{KeyPart, Value};

    #[test]
    fn rows_come_back_with_every_version_and_bit() {
        let mut stored = StoredRow::new(5);
        for (name, timestamp, value) in [
            ("a", 9, Value::Double(f64::from_bits(0x7ff8_0000_0000_1234))),
            ("a", 3, Value::String("")),
            ("A", 7, Value::Binary(&[0, 255])),
            ("b", 1, Value::Boolean(false)),
        ] {
            stored.put(name, timestamp, value.into(), 10);
        }
        let key = PrimaryKey(vec![KeyPart::String("k\0".into()), KeyPart::Binary(vec![])]);
        let (key_again, again) = decode_row(&encode_row(&["x", "y"], &key, &stored)).unwrap();
        assert_eq!((key_again, again.newest_write()), (key, 9));
        let (mut expected, mut found) = (Row::default(), Row::default());
        stored.view(&mut expected, usize::MAX, i64::MIN);
        again.view(&mut found, usize::MAX, i64::MIN);
        assert_eq!(found, expected);
        assert!(decode_row(b"short").is_none());
        let other = PrimaryKey(vec![KeyPart::String("k".into()), KeyPart::Binary(vec![0])]);
        assert_ne!(encode_key(&other), encode_key(&PrimaryKey(vec![KeyPart::String("k\0".into())])));
    }
}
