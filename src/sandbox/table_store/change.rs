//! One row change: put, update or delete, with its conditions, applied to a table as a whole or not at all.

use bytes::Bytes;

use super::filter::Filter;
use super::request_row::{ChangeKind, decode_change, owned_key, size_of};
use super::schema::value_type_name;
use super::service_error::{Answer, ServiceError};
use super::stored::{StoredRow, StoredValue};
use super::stream::{History, Moment};
use super::table::{Content, Table, capacity_units, data_size};
use crate::model::{Cell, CellOp, PrimaryKey, PrimaryKeyValue, Row, Value};
use crate::{plainbuffer, proto};

/// A decoded row change that passed every check which needs no table.
pub struct Change<'a> {
    /// Put, update or delete.
    pub kind: ChangeKind,
    /// Key and cells.
    pub row: Row<'a>,
    existence: proto::RowExistenceExpectation,
    condition: Option<Filter>,
    returns: proto::ReturnType,
    return_columns: &'a [String],
}

/// What a change that was applied answers.
pub struct Written {
    /// Capacity units.
    pub consumed: proto::ConsumedCapacity,
    /// The row asked for with `return_content`.
    pub row: Option<Bytes>,
}

impl<'a> Change<'a> {
    /// Decodes and checks.
    ///
    /// # Errors
    /// `OTSParameterInvalid`.
    pub fn decode(
        kind: ChangeKind,
        bytes: &'a [u8],
        condition: &'a proto::Condition,
        returns: Option<&'a proto::ReturnContent>,
    ) -> Answer<Change<'a>> {
        let mut row = Row::default();
        decode_change(bytes, &mut row, kind)?;
        if kind == ChangeKind::Update && row.cells.is_empty() {
            return Err(ServiceError::parameter("Attribute column is missing."));
        }
        let invalid = |what, value| ServiceError::parameter(format!("Invalid {what}: {value}."));
        let existence = proto::RowExistenceExpectation::try_from(condition.row_existence)
            .map_err(|_| invalid("row-existence expectation", condition.row_existence))?;
        let (returns, return_columns) = match returns {
            None => (proto::ReturnType::RtNone, [].as_slice()),
            Some(content) => {
                let asked = content.return_type.unwrap_or_default();
                let returns =
                    proto::ReturnType::try_from(asked).map_err(|_| invalid("return type", asked))?;
                (returns, content.return_column_names.as_slice())
            }
        };
        let condition = condition.column_condition.as_deref().filter(|bytes| !bytes.is_empty());
        let condition = condition.map(Filter::decode_condition).transpose()?;
        Ok(Change { kind, row, existence, condition, returns, return_columns })
    }

    /// Bytes by the data-size rule.
    pub fn size(&self) -> usize {
        size_of(&self.row)
    }

    /// The first primary key value, which says the partition.
    pub fn partition_key(&self) -> Option<PrimaryKeyValue<'a>> {
        self.row.key.first().map(|(_, value)| *value)
    }

    /// Whether the change is made whatever the row is.
    pub fn is_unconditional(&self) -> bool {
        self.existence == proto::RowExistenceExpectation::Ignore && self.condition.is_none()
    }

    /// Applies the change at `now` (ms). Returns what it answers, and the key with the row that was there before.
    ///
    /// # Errors
    /// With any error the table is as it was.
    pub fn apply(&self, table: &mut Table, now: i64) -> Answer<(Written, Undo)> {
        self.check_against(table, now)?;
        let key = self.resolve_key(table, now)?;
        let read_units = self.check_conditions(table, &key, now)?;
        let (horizon, max_versions) = (table.horizon(now), table.max_versions());
        let rows = match &mut table.content {
            Content::Stored(rows) => rows,
            Content::Generated(_) => return Err(read_only(&table.definition.name)),
        };
        let before = rows.get(&key).cloned();
        let moment = Moment { now, horizon, max_versions };
        let after = next_state(before.as_ref(), self.kind, &self.row.cells, moment)?;
        let rows_gained = i64::from(after.is_some()) - i64::from(before.is_some());
        match after {
            Some(row) => rows.insert(key.clone(), row),
            None => rows.remove(&key),
        };
        table.partitions.note_write(&key, rows_gained, self.size());
        table.changed.push(key.clone());
        let history_len = table.history.as_ref().map_or(0, History::len);
        self.record(table, &key, before.as_ref(), moment);
        let unit = proto::CapacityUnit { read: Some(read_units), write: Some(capacity_units(self.size())) };
        let consumed = proto::ConsumedCapacity { capacity_unit: unit, capacity_data_size: None };
        let row = self.returned(table, &key, now);
        Ok((Written { consumed, row }, Undo { key, before, history_len }))
    }

    /// Key shape, options, predefined types, timestamps.
    fn check_against(&self, table: &Table, now: i64) -> Answer<()> {
        table.check_key(&self.row.key)?;
        table.locks.check_free(self.partition_key(), now)?;
        if matches!(table.content, Content::Generated(_)) {
            return Err(read_only(&table.definition.name));
        }
        let options = &table.definition.options;
        if self.kind == ChangeKind::Update && options.allow_update == Some(false) {
            // Own wording.
            return Err(ServiceError::parameter("The table does not allow update operations."));
        }
        let deviation = options.deviation_seconds.unwrap_or(86_400).saturating_mul(1_000);
        let earliest = now.saturating_sub(deviation).max(table.horizon(now));
        let latest = now.saturating_add(deviation);
        for cell in self.row.cells.iter().filter(|cell| cell.op.is_none()) {
            if let Some(at) = cell.timestamp.filter(|at| !(earliest..latest).contains(at)) {
                // The first sentence is the service's.
                return Err(ServiceError::parameter(format!(
                    "Invalid timestamp. Cell:{}. {at} is not in [{earliest}, {latest}).",
                    cell.name
                )));
            }
        }
        for defined in &table.definition.defined_columns {
            for cell in self.row.cells.iter().filter(|cell| cell.name == defined.name) {
                let found = cell.value.map(Value::value_type).filter(|found| *found != defined.column_type);
                if let Some(found) = found {
                    return Err(ServiceError::parameter(format!(
                        "Invalid column type for column {} expect {} actual {}",
                        cell.name,
                        value_type_name(defined.column_type),
                        value_type_name(found)
                    )));
                }
            }
        }
        Ok(())
    }

    /// The key of the row, with a value for the auto-increment column.
    fn resolve_key(&self, table: &mut Table, now: i64) -> Answer<PrimaryKey> {
        use proto::RowExistenceExpectation as Expect;
        let automatic = table.definition.primary_key.iter().position(|column| column.auto_increment);
        let holds = |at: usize| self.row.key.get(at).map(|(_, value)| *value);
        let placeholders =
            self.row.key.iter().filter(|(_, value)| *value == PrimaryKeyValue::AutoIncrement).count();
        let wants_value = automatic.and_then(holds) == Some(PrimaryKeyValue::AutoIncrement);
        if placeholders > usize::from(wants_value) {
            return Err(ServiceError::parameter("VT_AUTO_INCREMENT is an invalid type for the primary key."));
        }
        if wants_value {
            if self.kind == ChangeKind::Delete {
                let text = "Invalid row to delete which with pk auto increment.";
                return Err(ServiceError::parameter(text));
            }
            if self.condition.is_some() {
                let text = "Can't set condition when modify row with pk auto increment.";
                return Err(ServiceError::parameter(text));
            }
            if self.existence != Expect::Ignore {
                return Err(ServiceError::parameter(format!(
                    "Invalid expect:{} when modify row with pk auto increment",
                    self.existence.as_str_name()
                )));
            }
            table.last_increment = now.saturating_mul(1_000).max(table.last_increment + 1);
            let mut row = Row { key: self.row.key.clone(), ..Row::default() };
            for (_, value) in &mut row.key {
                if *value == PrimaryKeyValue::AutoIncrement {
                    *value = PrimaryKeyValue::Integer(table.last_increment);
                }
            }
            return owned_key(&row);
        }
        // A value of the client's own can only address a row that is there.
        if automatic.is_some() && self.kind != ChangeKind::Delete && self.existence != Expect::ExpectExist {
            return Err(ServiceError::condition());
        }
        owned_key(&self.row)
    }

    /// Row existence and column condition. Returns the read capacity units they cost.
    fn check_conditions(&self, table: &Table, key: &PrimaryKey, now: i64) -> Answer<i32> {
        use proto::RowExistenceExpectation as Expect;
        if self.is_unconditional() {
            return Ok(0);
        }
        let passes = |row: &Row<'_>| self.condition.as_ref().is_none_or(|condition| condition.matches(row));
        let (mut exists, mut matches, mut size) = (false, false, 0);
        table.point(key, now, |row| {
            exists = true;
            matches = passes(row);
            size = data_size(row, table.counts_timestamps());
        });
        if !exists {
            matches = passes(&Row { key: self.row.key.clone(), ..Row::default() });
        }
        let expected = match self.existence {
            Expect::Ignore => true,
            Expect::ExpectExist => exists,
            Expect::ExpectNotExist => !exists,
        };
        if expected && matches { Ok(capacity_units(size)) } else { Err(ServiceError::condition()) }
    }

    /// Adds the change, which was applied, to the Stream: every put with its timestamp, an increment as its result.
    fn record(&self, table: &mut Table, key: &PrimaryKey, before: Option<&StoredRow>, moment: Moment) {
        let partition = table.partitions.of(key);
        let Some(history) = &mut table.history else { return };
        let is_nothing = self.kind == ChangeKind::Update && before.is_none();
        if is_nothing && self.row.cells.iter().all(|cell| cell.value.is_none()) {
            return;
        }
        let names = &table.definition.primary_key;
        let mut row = Row { delete_marker: self.kind == ChangeKind::Delete, ..Row::default() };
        row.key
            .extend(names.iter().zip(key.parts()).map(|(name, part)| (name.name.as_str(), part.as_value())));
        let kept = table.definition.stream.iter().flat_map(|stream| &stream.columns);
        let previous = before.map(|row| row.newest_of(kept, moment.horizon)).unwrap_or_default();
        let origin = (!previous.is_empty())
            .then(|| plainbuffer::encode_row(&Row { cells: previous, ..row.clone() }).into());
        for cell in &self.row.cells {
            let mut shown = *cell;
            if cell.value.is_some() {
                shown.timestamp = Some(cell.timestamp.unwrap_or(moment.now));
            }
            if cell.op == Some(CellOp::Increment)
                && let Content::Stored(rows) = &table.content
            {
                let result = rows.get(key).and_then(|row| row.newest(cell.name, i64::MIN));
                shown = Cell { value: result.map(StoredValue::as_value), op: None, ..shown };
            }
            row.cells.push(shown);
        }
        let action = match self.kind {
            ChangeKind::Put => proto::ActionType::PutRow,
            ChangeKind::Update => proto::ActionType::UpdateRow,
            ChangeKind::Delete => proto::ActionType::DeleteRow,
        };
        history.push(partition, action, row, origin, moment);
    }

    fn returned(&self, table: &Table, key: &PrimaryKey, now: i64) -> Option<Bytes> {
        match self.returns {
            proto::ReturnType::RtNone => None,
            proto::ReturnType::RtPk => Some(plainbuffer::encode_key(&table.key_names(), key).into()),
            proto::ReturnType::RtAfterModify => {
                let mut returned = None;
                table.point(key, now, |row| {
                    row.cells.retain(|cell| self.return_columns.iter().any(|name| name == cell.name));
                    row.cells.dedup_by(|older, newer| older.name == newer.name);
                    returned = Some(plainbuffer::encode_row(row).into());
                });
                returned
            }
        }
    }
}

/// Applies changes, each at its own time (ms), all or none.
///
/// # Errors
/// That of the first change that cannot be applied; the table is then as it was.
pub fn apply_all<'c, 'a: 'c>(
    table: &mut Table,
    changes: impl IntoIterator<Item = (&'c Change<'a>, i64)>,
) -> Answer<Vec<Written>> {
    let (mut written, mut undo) = (Vec::new(), Vec::new());
    table.history.iter_mut().for_each(History::begin_commit);
    for (change, now) in changes {
        match change.apply(table, now) {
            Ok((result, step)) => {
                written.push(result);
                undo.push(step);
            }
            Err(error) => {
                undo.into_iter().rev().for_each(|step: Undo| step.run(table));
                table.history.iter_mut().for_each(History::end_commit);
                return Err(error);
            }
        }
    }
    table.history.iter_mut().for_each(History::end_commit);
    Ok(written)
}

/// The row after a change: what is stored, whether it can be seen or not; `None` when there is none any more.
///
/// # Errors
/// `OTSParameterInvalid` for a column that can not be incremented.
pub fn next_state(
    before: Option<&StoredRow>,
    kind: ChangeKind,
    cells: &[Cell<'_>],
    moment: Moment,
) -> Answer<Option<StoredRow>> {
    let newest = cells.iter().map(|cell| cell.timestamp.unwrap_or(moment.now)).max();
    let new_row = || StoredRow::new(newest.unwrap_or(moment.now));
    let mut row = match kind {
        ChangeKind::Delete => return Ok(None),
        ChangeKind::Put => new_row(),
        ChangeKind::Update => match before.filter(|row| row.is_visible(moment.horizon)) {
            Some(row) => row.clone(),
            // Deletes alone create no row.
            None if cells.iter().all(|cell| cell.value.is_none()) => return Ok(before.cloned()),
            None => new_row(),
        },
    };
    for Cell { name, value, op, timestamp } in cells {
        match (op, value) {
            (Some(CellOp::DeleteAllVersions), _) => row.delete_column(name),
            (Some(CellOp::DeleteOneVersion), _) => row.delete_version(name, timestamp.unwrap_or_default()),
            (Some(CellOp::Increment), Some(Value::Integer(step))) => {
                let value = match row.newest(name, moment.horizon) {
                    None => Some(*step),
                    Some(StoredValue::Integer(value)) => value.checked_add(*step),
                    Some(_) => None,
                };
                // Own wording.
                let value = value.ok_or_else(|| {
                    ServiceError::parameter(format!("The column '{name}' can not be incremented."))
                })?;
                row.put(name, moment.now, StoredValue::Integer(value), moment.max_versions);
            }
            (_, Some(value)) => {
                row.put(name, timestamp.unwrap_or(moment.now), (*value).into(), moment.max_versions);
            }
            (None, None) => {}
            (Some(CellOp::Increment), None) => {}
        }
    }
    Ok(Some(row))
}

/// How to take back a change: part of an atomic batch that failed later.
pub struct Undo {
    key: PrimaryKey,
    before: Option<StoredRow>,
    history_len: usize,
}

impl Undo {
    /// Puts the row back as it was.
    pub fn run(self, table: &mut Table) {
        if let Some(history) = &mut table.history {
            history.truncate(self.history_len);
        }
        if let Content::Stored(rows) = &mut table.content {
            let rows_gained = i64::from(self.before.is_some()) - i64::from(rows.contains_key(&self.key));
            table.partitions.note_write(&self.key, rows_gained, 0);
            match self.before {
                Some(row) => rows.insert(self.key, row),
                None => rows.remove(&self.key),
            };
        }
    }
}

fn read_only(table: &str) -> ServiceError {
    let text = format!("Table '{table}' is generated by the sandbox and can not be written.");
    ServiceError::new(403, "OTSNoPermissionAccess", text)
}
