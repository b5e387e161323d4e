//! The table that is written to: what must be true of it before the first write, how it is made, and what it gets at
//! the end.

use std::time::Duration;

use crate::catalog::Manifest;
use crate::model::{KeyPart, KeyRange, PrimaryKeyColumn, ReservedThroughput, TableDefinition, TableOptions};
use crate::tablestore::{RangeRequest, StreamSetting, TableDescription, TableStore, TableUpdate};
use crate::{Error, Kind, Result};

use super::options::{AutoIncrement, OnConflict, RestoreOptions};

/// Largest deviation of a cell's timestamp from the service's clock, in seconds (asserted by the Java SDK's tests): with
/// it, and without a time to live, a timestamp of any time is accepted.
const LARGEST_DEVIATION: i64 = 9_223_372_036_854;

/// What a table has that was made without saying ("TableOptions", developer guide).
const DEFAULT_DEVIATION: i64 = 86_400;

/// Without expiry.
const FOR_EVER: i32 = -1;

/// A new table is there within seconds (developer guide, "CreateTable"); this long it is waited for.
const READY_TIME: Duration = Duration::from_secs(120);

/// The definition of the table that a manifest describes, as it is to be in the end under the name `target`.
pub(super) fn wanted(manifest: &Manifest, target: &str, options: &RestoreOptions) -> TableDefinition {
    let source = &manifest.table;
    let keep = options.auto_increment == AutoIncrement::Reassign;
    let key = source.primary_key.iter();
    let primary_key = key
        .map(|column| PrimaryKeyColumn { auto_increment: column.auto_increment && keep, ..column.clone() });
    let (table_options, stream, indexes) = match options.scratch {
        true => (load_options(&source.options), None, Vec::new()),
        false => (source.options.clone(), source.stream.clone(), source.indexes.clone()),
    };
    TableDefinition {
        name: target.to_owned(),
        primary_key: primary_key.collect(),
        options: table_options,
        stream,
        indexes,
        reserved: if options.keep_reserved { source.reserved } else { ReservedThroughput::default() },
        creation_time: None,
        ..source.clone()
    }
}

/// The name of the auto-increment column that the service shall fill.
pub(super) fn reassigned_column(wanted: &TableDefinition) -> Option<String> {
    wanted.primary_key.iter().find(|column| column.auto_increment).map(|column| column.name.clone())
}

/// The options during the load: cells of any age are taken and stay.
fn load_options(options: &TableOptions) -> TableOptions {
    TableOptions {
        time_to_live: Some(FOR_EVER),
        deviation_seconds: Some(LARGEST_DEVIATION),
        ..options.clone()
    }
}

/// The table, or `None` where there is none.
pub(super) async fn describe(client: &TableStore, table: &str) -> Result<Option<TableDescription>> {
    match client.describe_table(table).await {
        Ok(description) => Ok(Some(description)),
        Err(error) if error.kind() == Kind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Refuses a table that rows of the backup cannot be written into. Only reads.
///
/// # Errors
/// [`Kind::Usage`] saying what differs, or that it has rows.
pub(super) async fn guard(
    client: &TableStore,
    there: &TableDefinition,
    wanted: &TableDefinition,
    on_conflict: Option<OnConflict>,
) -> Result<()> {
    let refused = |reason: String| {
        Error::new(Kind::Usage, "restore into").on(format!("table `{}`", there.name)).because(reason)
    };
    if there.primary_key != wanted.primary_key {
        let reason = format!(
            "its primary key is ({}), that of the backup ({})",
            key_text(&there.primary_key),
            key_text(&wanted.primary_key)
        );
        return Err(refused(reason)
            .hint("nothing was written; restore under another name with `--map` or another target"));
    }
    if on_conflict.is_some() {
        return Ok(());
    }
    if let Some(difference) = difference(there, wanted) {
        return Err(refused(difference)
            .hint("nothing was written; `--into-existing merge` or `overwrite` writes into it as it is"));
    }
    if has_rows(client, there).await? {
        return Err(refused("it has rows".to_owned())
            .hint("nothing was written; `--into-existing merge` or `overwrite` writes into it"));
    }
    Ok(())
}

/// In what a table that is there is another one. Time to live, deviation, Stream and indexes are set at the end.
fn difference(there: &TableDefinition, wanted: &TableDefinition) -> Option<String> {
    let mut columns = [there.defined_columns.clone(), wanted.defined_columns.clone()];
    columns.iter_mut().for_each(|columns| columns.sort_by(|a, b| a.name.cmp(&b.name)));
    let [there_columns, wanted_columns] = columns;
    if there_columns != wanted_columns {
        return Some("its predefined columns are not those of the backup".to_owned());
    }
    let (is, was) = (&there.options, &wanted.options);
    if is.max_versions.unwrap_or(1) != was.max_versions.unwrap_or(1) {
        return Some(format!(
            "it keeps {} versions, the backup's table {}",
            is.max_versions.unwrap_or(1),
            was.max_versions.unwrap_or(1)
        ));
    }
    if is.allow_update.unwrap_or(true) != was.allow_update.unwrap_or(true)
        || is.update_full_row.unwrap_or(false) != was.update_full_row.unwrap_or(false)
    {
        return Some("its rules for updates are not those of the backup's table".to_owned());
    }
    None
}

fn key_text(key: &[PrimaryKeyColumn]) -> String {
    let column = |column: &PrimaryKeyColumn| {
        let auto = if column.auto_increment { " AUTO_INCREMENT" } else { "" };
        format!("{} {:?}{auto}", column.name, column.column_type)
    };
    key.iter().map(column).collect::<Vec<_>>().join(", ")
}

/// Whether there is any row.
async fn has_rows(client: &TableStore, table: &TableDefinition) -> Result<bool> {
    let names: Vec<_> = table.primary_key.iter().map(|column| column.name.clone()).collect();
    let range = KeyRange::all(names.len());
    let mut request = RangeRequest { limit: Some(1), ..RangeRequest::everything(&table.name, names, range) };
    loop {
        let page = client.get_range(&request).await?;
        let mut rows = page.reader().map_err(|error| unreadable(&table.name, error))?;
        let first = rows.next_row(&mut crate::model::Row::default());
        if first.map_err(|error| unreadable(&table.name, error))? {
            return Ok(true);
        }
        match page.next_start {
            Some(next) => request.start = next,
            None => return Ok(false),
        }
    }
}

fn unreadable(table: &str, error: crate::plainbuffer::DecodeError) -> Error {
    Error::new(Kind::Corrupt, "read rows of").on(format!("table `{table}`")).source(error)
}

/// Makes the table as it is to be during the load and waits until it can be written to. `bounds` cut it into
/// partitions.
pub(super) async fn create(
    client: &TableStore,
    wanted: &TableDefinition,
    bounds: &[KeyPart],
) -> Result<TableDescription> {
    let during_load = TableDefinition {
        options: load_options(&wanted.options),
        stream: None,
        indexes: Vec::new(),
        ..wanted.clone()
    };
    match client.create_table(&during_load, bounds).await {
        Ok(()) => {}
        // The answer to an attempt that made it may have been lost. Whoever made it, nobody has written yet.
        Err(error) if matches!(error.kind(), Kind::Unavailable | Kind::AlreadyExists) => {
            let there = describe(client, &wanted.name).await?.ok_or(error)?;
            guard(client, &there.definition, wanted, None).await?;
        }
        Err(error) => return Err(error),
    }
    wait_until_ready(client, wanted).await?;
    client.describe_table(&wanted.name).await
}

async fn wait_until_ready(client: &TableStore, table: &TableDefinition) -> Result<()> {
    let began = tokio::time::Instant::now();
    loop {
        match has_rows(client, table).await {
            Ok(_) => return Ok(()),
            // "Not ready" is repeated by the client itself; some places of the service do not know the table yet.
            Err(error) if error.kind() == Kind::NotFound && began.elapsed() < READY_TIME => {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Lets an existing table take cells of any age.
pub(super) async fn open_for_load(client: &TableStore, there: &TableDefinition) -> Result<()> {
    let during_load = load_options(&there.options);
    if during_load == there.options {
        return Ok(());
    }
    // Full rows or not is fixed at creation.
    let options = TableOptions { update_full_row: None, ..during_load };
    client.update_table(&there.name, TableUpdate { options: Some(options), ..TableUpdate::default() }).await
}

/// Whether a table still has the options of a load that is to end with those of `at_end`.
pub(super) fn is_open_for_load(there: &TableDefinition, at_end: &TableDefinition) -> bool {
    there.options == load_options(&at_end.options)
}

/// Whether any of the options that are wanted is another one. What the service did not say is not wanted.
fn lacks(there: &TableOptions, wanted: &TableOptions) -> bool {
    fn differs<T: PartialEq>(there: &Option<T>, wanted: &Option<T>) -> bool {
        wanted.is_some() && there != wanted
    }
    differs(&there.time_to_live, &wanted.time_to_live)
        || differs(&there.max_versions, &wanted.max_versions)
        || differs(&there.deviation_seconds, &wanted.deviation_seconds)
        || differs(&there.allow_update, &wanted.allow_update)
}

/// Gives the table its options, then its Stream, then its indexes, as far as it does not have them yet. Returns the
/// indexes that it cannot have, since another table of the instance has their names.
pub(super) async fn finish(client: &TableStore, at_end: &TableDefinition) -> Result<Vec<String>> {
    let there = client.describe_table(&at_end.name).await?.definition;
    let wanted = TableOptions {
        time_to_live: at_end.options.time_to_live.or(Some(FOR_EVER)),
        deviation_seconds: at_end.options.deviation_seconds.or(Some(DEFAULT_DEVIATION)),
        // Fixed at creation.
        update_full_row: None,
        ..at_end.options.clone()
    };
    if lacks(&there.options, &wanted) {
        let update = TableUpdate { options: Some(wanted), ..TableUpdate::default() };
        client.update_table(&at_end.name, update).await?;
    }
    if let (None, Some(stream)) = (&there.stream, &at_end.stream) {
        let setting =
            StreamSetting::On { expiration_hours: stream.expiration_hours, columns: stream.columns.clone() };
        let update = TableUpdate { stream: Some(setting), ..TableUpdate::default() };
        let outcome = client.update_table(&at_end.name, update).await;
        if let Err(error) = outcome {
            // The answer may have been lost.
            let there = client.describe_table(&at_end.name).await?.definition;
            there.stream.map(drop).ok_or(error)?;
        }
    }
    let mut names_taken = Vec::new();
    for index in &at_end.indexes {
        if there.indexes.iter().any(|known| known.name == index.name) {
            continue;
        }
        let Err(error) = client.create_index(&at_end.name, index).await else { continue };
        // The answer to an attempt that made it may have been lost.
        let there = client.describe_table(&at_end.name).await?.definition;
        match there.indexes.iter().any(|known| known.name == index.name) {
            true => {}
            false if error.kind() == Kind::AlreadyExists => names_taken.push(index.name.clone()),
            false => return Err(error),
        }
    }
    Ok(names_taken)
}
