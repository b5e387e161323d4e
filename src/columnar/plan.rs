//! Which Parquet columns a base has, what each one holds, and how it is encoded.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};
use crate::model::{PrimaryKeyType, ValueType};

/// What a Parquet column holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "role", rename_all = "snake_case")]
pub enum Role {
    /// A primary key column. Required.
    Key {
        /// Table Store's name.
        column: String,
        /// Table Store's type.
        #[serde(rename = "type")]
        column_type: PrimaryKeyType,
    },
    /// The newest version of an attribute column, where it has this type.
    Attribute {
        /// Table Store's name.
        attribute: String,
        /// Table Store's type.
        #[serde(rename = "type")]
        value_type: ValueType,
    },
    /// The timestamp of an attribute's newest version where it differs from the row's; null where it does not.
    AttributeTimestamp {
        /// Table Store's name.
        attribute: String,
    },
    /// `_ts`: the timestamp, milliseconds since 1970 UTC, shared by the row's cells; null in a row without any.
    RowTimestamp,
    /// `_overflow`: every cell that has no column of its own; null where there is none.
    Overflow,
}

/// How the values of a column are laid out in its pages. Page settings are in `parquet_file`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// PLAIN.
    Plain,
    /// RLE_DICTIONARY; the type's other encoding once the dictionary is full.
    Dictionary,
    /// RLE: booleans.
    Rle,
    /// DELTA_BINARY_PACKED: integers.
    DeltaBinaryPacked,
    /// DELTA_LENGTH_BYTE_ARRAY: strings and binaries.
    DeltaLengthByteArray,
    /// DELTA_BYTE_ARRAY: sorted strings and binaries.
    DeltaByteArray,
    /// BYTE_STREAM_SPLIT: doubles of high entropy.
    ByteStreamSplit,
}

/// One Parquet column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedColumn {
    /// Parquet field id, from 1, unique in the plan. `_overflow` also owns the
    /// [`OVERFLOW_CHILDREN`](ColumnPlan::OVERFLOW_CHILDREN) ids after its own.
    pub field_id: i32,
    /// Parquet name; unique in the plan even when case is ignored.
    pub name: String,
    /// What it holds.
    #[serde(flatten)]
    pub role: Role,
    /// How its pages are encoded; for `_overflow` whether all of its leaves begin with a dictionary.
    pub encoding: Encoding,
}

/// The columns of every file of one base, in file order: primary key, attributes by name, `_ts`, `_overflow`.
///
/// Its JSON form is the array of columns and is part of the manifest. Reading it checks the rules below, so that a
/// plan in hand is always one that [`BatchBuilder`](super::BatchBuilder) and [`RowsReader`](super::RowsReader)
/// can work with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<PlannedColumn>", into = "Vec<PlannedColumn>")]
pub struct ColumnPlan {
    columns: Vec<PlannedColumn>,
}

/// See [`ColumnPlan::batch_bytes`]; by `otsvault bench` with batches of 256 KiB to 6 MiB.
const BATCH_BYTES: usize = 256 << 10;
const BATCH_BYTES_PER_COLUMN: usize = 10 << 10;

impl ColumnPlan {
    /// Field ids inside `_overflow`: key, value, element, and the seven members of a cell.
    pub const OVERFLOW_CHILDREN: i32 = 10;

    /// Checks and takes `columns`.
    ///
    /// # Errors
    /// `Corrupt` unless there are 1 to 4 key columns first, then attributes in ascending order of (name, type), each
    /// name's timestamp column after its typed columns, then one `_ts` and one `_overflow`; names are unique without
    /// regard to case, and field ids unique and positive.
    pub fn new(columns: Vec<PlannedColumn>) -> Result<ColumnPlan> {
        check(&columns).map_err(|(column, reason)| {
            Error::new(Kind::Corrupt, "use a column plan").on(format!("at column `{column}`")).because(reason)
        })?;
        Ok(ColumnPlan { columns })
    }

    /// Bytes, by [`BatchBuilder::bytes`](super::BatchBuilder::bytes), that a batch should have when it is encoded right after it was
    /// decoded. A small batch is still in a core's second-level cache then (1 to 2 MiB): for narrow rows that is a tenth of the
    /// CPU time, compared with batches of 2 MiB. Each column has a cost per batch, so more columns want larger ones.
    pub fn batch_bytes(&self) -> usize {
        BATCH_BYTES + self.columns.len() * BATCH_BYTES_PER_COLUMN
    }

    /// The columns in file order.
    pub fn columns(&self) -> &[PlannedColumn] {
        &self.columns
    }

    /// The same columns with other encodings, which `choose` gives for each column.
    pub fn with_encodings(&self, mut choose: impl FnMut(usize, &PlannedColumn) -> Encoding) -> ColumnPlan {
        let mut columns = self.columns.clone();
        for (index, column) in columns.iter_mut().enumerate() {
            column.encoding = choose(index, &self.columns[index]);
        }
        ColumnPlan { columns }
    }

    /// The first field id after those of the plan.
    pub fn next_field_id(&self) -> i32 {
        let last = |column: &PlannedColumn| match column.role {
            Role::Overflow => column.field_id + ColumnPlan::OVERFLOW_CHILDREN,
            _ => column.field_id,
        };
        self.columns.iter().map(last).max().unwrap_or(0).saturating_add(1)
    }

    /// Number of primary key columns; they come first.
    pub fn key_count(&self) -> usize {
        self.columns.iter().take_while(|column| matches!(column.role, Role::Key { .. })).count()
    }

    /// The Parquet column that holds `attribute` where it has type `value_type`, if it has one.
    pub fn attribute(&self, attribute: &str, value_type: ValueType) -> Option<&PlannedColumn> {
        self.columns.iter().find(|column| match &column.role {
            Role::Attribute { attribute: name, value_type: kind } => name == attribute && *kind == value_type,
            _ => false,
        })
    }
}

impl TryFrom<Vec<PlannedColumn>> for ColumnPlan {
    type Error = Error;
    fn try_from(columns: Vec<PlannedColumn>) -> Result<ColumnPlan> {
        ColumnPlan::new(columns)
    }
}

impl From<ColumnPlan> for Vec<PlannedColumn> {
    fn from(plan: ColumnPlan) -> Vec<PlannedColumn> {
        plan.columns
    }
}

/// Place of a column in the file: keys, attributes by name with types before the timestamp, `_ts`, `_overflow`.
fn place(role: &Role) -> (u8, &str, u8) {
    match role {
        Role::Key { .. } => (0, "", 0),
        Role::Attribute { attribute, value_type } => (1, attribute, value_type.code()),
        Role::AttributeTimestamp { attribute } => (1, attribute, u8::MAX),
        Role::RowTimestamp => (2, "", 0),
        Role::Overflow => (3, "", 0),
    }
}

fn check(columns: &[PlannedColumn]) -> Result<(), (String, &'static str)> {
    let mut names = HashSet::new();
    let mut ids = HashSet::new();
    let mut key_count = 0;
    let mut previous: Option<(u8, &str, u8)> = None;
    for column in columns {
        let fail = |reason| Err((column.name.clone(), reason));
        if !names.insert(column.name.to_lowercase()) {
            return fail("the name is used twice");
        }
        let children = if column.role == Role::Overflow { ColumnPlan::OVERFLOW_CHILDREN } else { 0 };
        let Some(last_id) = column.field_id.checked_add(children).filter(|_| column.field_id > 0) else {
            return fail("the field id is out of range");
        };
        if !(column.field_id..=last_id).all(|id| ids.insert(id)) {
            return fail("the field id is used twice");
        }
        let place = place(&column.role);
        let is_key = place.0 == 0;
        key_count += usize::from(is_key);
        if previous.is_some_and(|previous| previous > place || (previous == place && !is_key)) {
            return fail("the columns are not in order");
        }
        if matches!(column.role, Role::AttributeTimestamp { .. })
            && previous.is_none_or(|previous| previous.1 != place.1)
        {
            return fail("a timestamp column without a value column");
        }
        previous = Some(place);
    }
    let ends_well = matches!(
        columns.last_chunk::<2>(),
        Some([PlannedColumn { role: Role::RowTimestamp, .. }, PlannedColumn { role: Role::Overflow, .. }])
    );
    if !ends_well {
        return Err(("_overflow".into(), "a plan ends with `_ts` and `_overflow`"));
    }
    if !(1..=4).contains(&key_count) {
        return Err(("primary key".into(), "a table has 1 to 4 primary key columns"));
    }
    Ok(())
}
