//! Rows into record batches. The hot path of a backup.

use std::ops::AddAssign;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::overflow::OverflowColumn;
use super::placed::PlacedCells;
use super::plan::{ColumnPlan, Role};
use super::primitive::IntegerColumn;
use super::schema::arrow_schema;
use super::slots::{NONE, Slots, UNPLANNED, equal_names, type_index};
use super::typed_column::TypedColumn;
use crate::error::{Context, Error, Kind, Result};
use crate::model::{Cell, CellOp, PrimaryKeyValue, Row, RowHasher, RowSum, Value};
use crate::plainbuffer::CellSink as _;

/// What went into a batch, a file or a base: the figures of a manifest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Rows.
    pub rows: u64,
    /// Cell versions.
    pub cells: u64,
    /// Bytes by the service's data-size rule: key names and values, and per cell version its name, its value and 8
    /// for its timestamp ("Data size of a row", Table Store developer guide).
    pub logical_bytes: u64,
    /// Sum of the row hashes; zero from a builder that is [`unsummed`](BatchBuilder::unsummed).
    pub row_sum: RowSum,
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Totals) {
        self.rows += other.rows;
        self.cells += other.cells;
        self.logical_bytes += other.logical_bytes;
        self.row_sum += other.row_sum;
    }
}

/// A finished record batch and what is in it.
#[derive(Debug)]
pub struct Batch {
    /// Rows in the order of the appends, in the schema of the plan.
    pub record_batch: RecordBatch,
    /// Figures of these rows.
    pub totals: Totals,
}

/// Collects rows into record batches of one plan.
///
/// A cell gets a place in a typed column if the plan has one for its name and type, it is the first (newest) cell of
/// its name in the row, it is a put with a timestamp, and that is the row's `_ts` or the name has a timestamp column.
/// Every other cell goes to `_overflow`. `_ts` is the most frequent timestamp among the cells that have a typed
/// column, the latest of them if several are equally frequent. The row's delete marker and sequence are not stored.
pub struct BatchBuilder {
    schema: SchemaRef,
    roles: Vec<Target>,
    keys: Vec<(String, TypedColumn)>,
    /// The typed columns of the attributes.
    pub(super) placed: PlacedCells,
    timestamps: Vec<IntegerColumn>,
    pub(super) row_timestamps: IntegerColumn,
    overflow: OverflowColumn,
    slots: Slots,
    /// Where each cell of the current row goes; kept for its memory.
    places: Vec<Place>,
    pub(super) hasher: RowHasher,
    /// Rows are hashed.
    sums: bool,
    totals: Totals,
    /// Bytes of one row when every value is null.
    row_width: usize,
    overflow_cells: usize,
}

/// Which builder makes a column of the file.
#[derive(Debug, Clone, Copy)]
enum Target {
    Key,
    Attribute,
    Timestamp,
    RowTimestamp,
    Overflow,
}

/// Where one cell goes.
#[derive(Debug, Clone, Copy)]
struct Place {
    slot: u32,
    /// Index among the attribute columns, or [`NONE`] for `_overflow`.
    column: u32,
}

/// What the walk over a row's cells has seen.
#[derive(Debug, Clone, Copy)]
struct Seen {
    /// Of the cells, by the service's rule.
    data_size: usize,
    /// Of the first cell that has a typed column.
    timestamp: Option<i64>,
    /// Cells with typed columns have several timestamps.
    mixed: bool,
}

/// Rows of one batch together stay far below what 32-bit offsets can count.
const MAX_BATCH_BYTES: u64 = 1 << 30;

/// Bytes of one cell in `_overflow` beside its name and value: six members, offsets, bitmaps.
const OVERFLOW_CELL_WIDTH: usize = 48;

impl BatchBuilder {
    /// An empty builder for batches of `plan`.
    pub fn new(plan: Arc<ColumnPlan>) -> BatchBuilder {
        BatchBuilder::summing(plan, true)
    }

    /// A builder that leaves row-sums out, for rows that nobody will ask one of: a sixth less work
    /// (`otsvault bench`, decoding with and without).
    pub fn unsummed(plan: Arc<ColumnPlan>) -> BatchBuilder {
        BatchBuilder::summing(plan, false)
    }

    fn summing(plan: Arc<ColumnPlan>, sums: bool) -> BatchBuilder {
        let mut builder = BatchBuilder {
            schema: arrow_schema(&plan),
            roles: Vec::with_capacity(plan.columns().len()),
            keys: Vec::new(),
            placed: PlacedCells::new(&plan, sums),
            timestamps: Vec::new(),
            row_timestamps: IntegerColumn::default(),
            overflow: OverflowColumn::new(0),
            slots: Slots::new(&plan),
            places: Vec::new(),
            hasher: RowHasher::default(),
            sums,
            totals: Totals::default(),
            row_width: 0,
            overflow_cells: 0,
        };
        for column in plan.columns() {
            let (target, width) = match &column.role {
                Role::Key { column, column_type } => {
                    let key = TypedColumn::of_key(*column_type);
                    let width = key.row_width();
                    builder.keys.push((column.clone(), key));
                    (Target::Key, width)
                }
                Role::Attribute { value_type, .. } => {
                    (Target::Attribute, TypedColumn::of(*value_type).row_width())
                }
                Role::AttributeTimestamp { .. } => {
                    builder.timestamps.push(IntegerColumn::default());
                    (Target::Timestamp, 9)
                }
                Role::RowTimestamp => (Target::RowTimestamp, 9),
                Role::Overflow => {
                    builder.overflow = OverflowColumn::new(column.field_id);
                    (Target::Overflow, 5)
                }
            };
            builder.roles.push(target);
            builder.row_width += width;
        }
        builder
    }

    /// Adds one row. Cells out of wire order are put into it first.
    ///
    /// # Errors
    /// `Refused` if the key does not fit the plan's primary key or a cell puts no value, naming the column; `Internal` if the batch would
    /// pass 1 GiB, since callers finish batches at a few MiB. The builder is unchanged in each case.
    pub fn append(&mut self, row: &Row<'_>) -> Result<()> {
        self.placed.clear();
        self.check_key(&row.key)?;
        match self.place_cells(&row.cells)? {
            Some(seen) => self.append_cells(&row.key, &row.cells, seen),
            None => self.append_unordered(row),
        }
    }

    /// Rows since the last [`BatchBuilder::finish`].
    pub fn rows(&self) -> usize {
        self.totals.rows as usize
    }

    /// Estimate of the memory that the batch takes when finished; never far below it.
    pub fn bytes(&self) -> usize {
        self.rows() * self.row_width
            + self.totals.logical_bytes as usize
            + self.overflow_cells * OVERFLOW_CELL_WIDTH
    }

    /// The batch of the rows so far and its figures; the builder starts over with room for as many.
    pub fn finish(&mut self) -> Result<Batch> {
        self.placed.clear();
        let rows = self.rows();
        let totals = Totals { row_sum: self.hasher.take_sum(), ..std::mem::take(&mut self.totals) };
        self.overflow_cells = 0;
        let mut keys = self.keys.iter_mut();
        let mut attributes = self.placed.columns.iter_mut();
        let mut timestamps = self.timestamps.iter_mut();
        let mut overflow = Some(
            self.overflow.finish(rows).doing(Kind::Internal, "build the `_overflow` of a record batch")?,
        );
        let arrays = self.roles.iter().map(|target| match target {
            Target::Key => keys.next().map(|(_, column)| column.finish(rows)),
            Target::Attribute => attributes.next().map(|column| column.values.finish(rows)),
            Target::Timestamp => timestamps.next().map(|column| column.finish(rows)),
            Target::RowTimestamp => Some(self.row_timestamps.finish(rows)),
            Target::Overflow => overflow.take(),
        });
        let arrays = arrays.flatten().collect();
        let record_batch = RecordBatch::try_new(Arc::clone(&self.schema), arrays)
            .doing(Kind::Internal, "build a record batch")?;
        self.start_placing();
        Ok(Batch { record_batch, totals })
    }

    #[inline]
    pub(super) fn check_key(&self, key: &[(&str, PrimaryKeyValue<'_>)]) -> Result<()> {
        if key.len() != self.keys.len() {
            return Err(wrong_key("primary key", "it has another number of columns"));
        }
        for ((planned, column), (name, value)) in self.keys.iter().zip(key) {
            if !equal_names(planned, name) {
                return Err(wrong_key(planned, "another column stands in its place"));
            }
            if !column.takes(*value) {
                return Err(wrong_key(planned, "its value is of another type"));
            }
        }
        Ok(())
    }

    /// Finds the place of each cell as if all had the row's timestamp; `None` if the names are not ascending.
    #[inline]
    fn place_cells(&mut self, cells: &[Cell<'_>]) -> Result<Option<Seen>> {
        self.places.clear();
        let mut seen = Seen { data_size: 0, timestamp: None, mixed: false };
        let mut previous = UNPLANNED;
        let mut previous_planned = UNPLANNED;
        let mut previous_name = "";
        for cell in cells {
            let slot = self.slots.find(previous_planned, cell.name);
            if slot != UNPLANNED {
                previous_planned = slot;
            }
            // Slots ascend by name, so names need a comparison only around unplanned ones.
            let known_order = slot > previous && previous != UNPLANNED;
            let same_name = !known_order && cell.name == previous_name && !self.places.is_empty();
            if !known_order && !same_name && cell.name < previous_name {
                return Ok(None);
            }
            let column = match (cell.op, cell.value, cell.timestamp) {
                (None, Some(value), Some(timestamp)) if !same_name => {
                    let column = self.slots.get(slot).columns[type_index(value.value_type())];
                    if column != NONE {
                        seen.mixed |= *seen.timestamp.get_or_insert(timestamp) != timestamp;
                    }
                    column
                }
                (None | Some(CellOp::Increment), None, _) => return Err(no_value(cell.name)),
                _ => NONE,
            };
            seen.data_size += cell.name.len()
                + cell.value.map_or(0, Value::data_size)
                + if cell.timestamp.is_some() { 8 } else { 0 };
            self.places.push(Place { slot: slot as u32, column });
            previous = slot;
            previous_name = cell.name;
        }
        Ok(Some(seen))
    }

    /// Brings the cells into wire order: by name ascending, equal names as they were.
    #[cold]
    fn append_unordered(&mut self, row: &Row<'_>) -> Result<()> {
        let mut cells = row.cells.clone();
        cells.sort_by_key(|cell| cell.name);
        match self.place_cells(&cells)? {
            Some(seen) => self.append_cells(&row.key, &cells, seen),
            None => Err(Error::new(Kind::Internal, "put cells into wire order")),
        }
    }

    #[inline]
    fn append_cells(
        &mut self,
        key: &[(&str, PrimaryKeyValue<'_>)],
        cells: &[Cell<'_>],
        seen: Seen,
    ) -> Result<()> {
        self.begin_row(key, (key_size(key) + seen.data_size) as u64)?;
        let row = self.rows();
        let row_timestamp = if seen.mixed {
            let typed = cells.iter().zip(&self.places).filter(|(_, place)| place.column != NONE);
            most_frequent(typed.filter_map(|(cell, _)| cell.timestamp))
        } else {
            seen.timestamp
        };
        if let Some(timestamp) = row_timestamp {
            self.row_timestamps.push(row, timestamp);
        }
        let mut overflow_name = None;
        for (cell, place) in cells.iter().zip(&self.places) {
            let slot = self.slots.get(place.slot as usize);
            if let Some(value) = cell.value {
                if self.sums {
                    let seed = if place.slot as usize == UNPLANNED {
                        RowHasher::column_seed(cell.name, value.value_type())
                    } else {
                        slot.seeds[type_index(value.value_type())]
                    };
                    self.hasher.cell(seed, cell.timestamp.unwrap_or(0), value);
                }
                if place.column != NONE {
                    if cell.timestamp == row_timestamp {
                        let taken = self.placed.columns[place.column as usize].values.push(row, value);
                        debug_assert!(taken, "the slot is of the value's type");
                        continue;
                    }
                    if let (true, Some(timestamp)) = (slot.timestamps != NONE, cell.timestamp) {
                        self.placed.columns[place.column as usize].values.push(row, value);
                        self.timestamps[slot.timestamps as usize].push(row, timestamp);
                        continue;
                    }
                }
            }
            self.overflow.push(row, cell, overflow_name == Some(cell.name));
            self.overflow_cells += 1;
            overflow_name = Some(cell.name);
        }
        self.end_row(cells.len());
        Ok(())
    }

    /// Puts the key of a new row into its columns, and counts its bytes.
    #[inline]
    pub(super) fn begin_row(
        &mut self,
        key: &[(&str, PrimaryKeyValue<'_>)],
        logical_bytes: u64,
    ) -> Result<()> {
        if self.totals.logical_bytes + logical_bytes > MAX_BATCH_BYTES {
            return Err(Error::new(Kind::Internal, "add a row to a record batch")
                .because(format!("the batch would pass {MAX_BATCH_BYTES} bytes")));
        }
        self.totals.logical_bytes += logical_bytes;
        let row = self.rows();
        for ((_, column), (_, value)) in self.keys.iter_mut().zip(key) {
            if self.sums {
                self.hasher.key(*value);
            }
            let value = match *value {
                PrimaryKeyValue::Integer(value) => Value::Integer(value),
                PrimaryKeyValue::String(value) => Value::String(value),
                PrimaryKeyValue::Binary(value) => Value::Binary(value),
                PrimaryKeyValue::AutoIncrement | PrimaryKeyValue::InfMin | PrimaryKeyValue::InfMax => {
                    continue;
                }
            };
            let taken = column.push(row, value);
            debug_assert!(taken, "check_key compared the types");
        }
        Ok(())
    }

    #[inline]
    pub(super) fn end_row(&mut self, cell_count: usize) {
        self.totals.rows += 1;
        self.totals.cells += cell_count as u64;
        if self.sums {
            self.hasher.add_row();
        }
        self.start_placing();
    }
}

/// The most frequent timestamp, the latest of several; rows with mixed timestamps only.
#[cold]
pub fn most_frequent(timestamps: impl Iterator<Item = i64>) -> Option<i64> {
    let mut sorted: Vec<i64> = timestamps.collect();
    sorted.sort_unstable();
    sorted.chunk_by(|a, b| a == b).max_by_key(|run| run.len()).and_then(|run| run.first().copied())
}

fn key_size(key: &[(&str, PrimaryKeyValue<'_>)]) -> usize {
    let value_size = |value: &PrimaryKeyValue<'_>| match value {
        PrimaryKeyValue::Integer(_) => 8,
        PrimaryKeyValue::String(text) => text.len(),
        PrimaryKeyValue::Binary(bytes) => bytes.len(),
        PrimaryKeyValue::AutoIncrement | PrimaryKeyValue::InfMin | PrimaryKeyValue::InfMax => 0,
    };
    key.iter().map(|(name, value)| name.len() + value_size(value)).sum()
}

#[cold]
fn wrong_key(column: &str, reason: &'static str) -> Error {
    Error::new(Kind::Refused, "add a row to a record batch")
        .on(format!("at primary key column `{column}`"))
        .because(reason)
}

#[cold]
fn no_value(attribute: &str) -> Error {
    Error::new(Kind::Refused, "add a row to a record batch")
        .on(format!("at attribute `{attribute}`"))
        .because("a cell that is not a delete has no value")
}
