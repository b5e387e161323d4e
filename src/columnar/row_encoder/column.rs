//! What is known of a column before the rows come, and its values in one batch.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{Float64Type, Int64Type};

use super::RowSelection;
use crate::columnar::overflow_reader::OverflowReader;
use crate::columnar::plan::{ColumnPlan, Role};
use crate::error::{Error, Kind, Result};
use crate::model::{PrimaryKeyType, ValueType};
use crate::plainbuffer::CellTemplate;

/// The columns that are written, in the order of their cells.
#[derive(Debug)]
pub struct Layout {
    pub selection: RowSelection,
    pub keys: Vec<Column>,
    pub attributes: Vec<Column>,
    row_timestamps: usize,
    overflow: usize,
}

/// One typed column.
#[derive(Debug)]
pub struct Column {
    pub name: String,
    pub template: CellTemplate,
    pub value_type: ValueType,
    /// Of a primary key column: the auto-increment placeholder stands for every value.
    pub is_generated: bool,
    /// The column before it is the same attribute with another type.
    pub same_name: bool,
    /// Its place in the plan, and that of the attribute's timestamps.
    array: usize,
    own_timestamps: Option<usize>,
}

impl Layout {
    pub fn new(plan: &ColumnPlan, selection: RowSelection) -> Layout {
        let mut layout =
            Layout { keys: Vec::new(), attributes: Vec::new(), row_timestamps: 0, overflow: 0, selection };
        for (array, column) in plan.columns().iter().enumerate() {
            match &column.role {
                Role::Key { column, column_type } => layout.add_key(column, *column_type, array),
                Role::Attribute { attribute, value_type } => {
                    layout.add_attribute(attribute, *value_type, array);
                }
                Role::AttributeTimestamp { attribute } => {
                    let typed = layout.attributes.iter_mut().rev();
                    typed
                        .take_while(|column| column.name == *attribute)
                        .for_each(|column| column.own_timestamps = Some(array));
                }
                Role::RowTimestamp => layout.row_timestamps = array,
                Role::Overflow => layout.overflow = array,
            }
        }
        layout
    }

    fn add_key(&mut self, name: &str, column_type: PrimaryKeyType, array: usize) {
        let is_generated = self.selection.auto_increment.as_deref() == Some(name);
        let template = match is_generated {
            true => CellTemplate::of_generated_key(name),
            false => CellTemplate::of_key(name, column_type, self.keys.is_empty()),
        };
        let value_type = match column_type {
            PrimaryKeyType::Integer => ValueType::Integer,
            PrimaryKeyType::String => ValueType::String,
            PrimaryKeyType::Binary => ValueType::Binary,
        };
        self.keys.push(Column {
            name: name.to_owned(),
            template,
            value_type,
            is_generated,
            same_name: false,
            array,
            own_timestamps: None,
        });
    }

    fn add_attribute(&mut self, name: &str, value_type: ValueType, array: usize) {
        if !self.selection.has(name) {
            return;
        }
        self.attributes.push(Column {
            name: name.to_owned(),
            template: CellTemplate::of_attribute(name, value_type),
            value_type,
            is_generated: false,
            same_name: self.attributes.last().is_some_and(|before| before.name == name),
            array,
            own_timestamps: None,
        });
    }

    /// The reader of `_overflow` in `batch`.
    pub fn overflow_of<'a>(&self, batch: &'a RecordBatch) -> Result<OverflowReader<'a>> {
        OverflowReader::new(batch.column(self.overflow).as_ref()).ok_or_else(|| other_type("_overflow"))
    }
}

/// The arrays of one batch, taken apart.
#[derive(Debug)]
pub struct BatchColumns {
    pub keys: Vec<Values>,
    pub attributes: Vec<Values>,
    pub row_timestamps: Timestamps,
    /// Rows with something in `_overflow`.
    pub overflow: Presence,
}

/// The values of one column.
#[derive(Debug)]
pub struct Values {
    pub present: Presence,
    pub data: Data,
    pub own_timestamps: Option<Timestamps>,
}

/// Values by row, whatever stands in rows without one.
#[derive(Debug)]
pub enum Data {
    /// INTEGER, or the bits of DOUBLE.
    Words(ScalarBuffer<i64>),
    Booleans(BooleanBuffer),
    Bytes {
        offsets: OffsetBuffer<i32>,
        bytes: Buffer,
    },
}

#[derive(Debug)]
pub struct Timestamps {
    pub present: Presence,
    pub values: ScalarBuffer<i64>,
}

/// Which rows have a value: one bit per row, 64 rows per word.
#[derive(Debug)]
pub struct Presence(Option<Vec<u64>>);

impl Presence {
    fn new(nulls: Option<&NullBuffer>) -> Presence {
        Presence(nulls.filter(|nulls| nulls.null_count() > 0).map(|nulls| {
            let chunks = nulls.inner().bit_chunks();
            chunks.iter().chain([chunks.remainder_bits()]).collect()
        }))
    }

    /// Whether `row` has a value.
    pub fn has(&self, row: usize) -> bool {
        self.word(row / 64) >> (row % 64) & 1 == 1
    }

    /// The bits of the 64 rows from `64 * word`; those behind the last row mean nothing.
    #[inline]
    pub fn word(&self, word: usize) -> u64 {
        match &self.0 {
            None => u64::MAX,
            Some(words) => words.get(word).copied().unwrap_or(0),
        }
    }
}

impl BatchColumns {
    /// Takes the arrays of `batch` apart; nothing is copied but bitmaps.
    pub fn new(layout: &Layout, batch: &RecordBatch) -> Result<BatchColumns> {
        let values = |column: &Column| Values::new(column, batch);
        Ok(BatchColumns {
            keys: layout.keys.iter().map(values).collect::<Result<_>>()?,
            attributes: layout.attributes.iter().map(values).collect::<Result<_>>()?,
            row_timestamps: Timestamps::new(batch, layout.row_timestamps)?,
            overflow: Presence::new(batch.column(layout.overflow).nulls()),
        })
    }
}

impl Values {
    fn new(column: &Column, batch: &RecordBatch) -> Result<Values> {
        let array = batch.column(column.array).as_ref();
        let own_timestamps = column.own_timestamps.map(|own| Timestamps::new(batch, own)).transpose()?;
        let data = Data::new(array, column.value_type).ok_or_else(|| other_type(&column.name))?;
        Ok(Values { present: Presence::new(array.nulls()), data, own_timestamps })
    }
}

impl Data {
    fn new(array: &dyn Array, value_type: ValueType) -> Option<Data> {
        Some(match value_type {
            ValueType::Integer => Data::Words(array.as_primitive_opt::<Int64Type>()?.values().clone()),
            ValueType::Double => {
                let doubles = array.as_primitive_opt::<Float64Type>()?.values().clone();
                Data::Words(ScalarBuffer::from(doubles.into_inner()))
            }
            ValueType::Boolean => Data::Booleans(array.as_boolean_opt()?.values().clone()),
            ValueType::String => {
                let strings = array.as_string_opt::<i32>()?;
                Data::Bytes { offsets: strings.offsets().clone(), bytes: strings.values().clone() }
            }
            ValueType::Binary => {
                let binaries = array.as_binary_opt::<i32>()?;
                Data::Bytes { offsets: binaries.offsets().clone(), bytes: binaries.values().clone() }
            }
        })
    }
}

impl Timestamps {
    fn new(batch: &RecordBatch, index: usize) -> Result<Timestamps> {
        let array =
            batch.column(index).as_primitive_opt::<Int64Type>().ok_or_else(|| other_type("of timestamps"))?;
        Ok(Timestamps { present: Presence::new(array.nulls()), values: array.values().clone() })
    }
}

#[cold]
fn other_type(column: &str) -> Error {
    Error::new(Kind::Corrupt, "encode rows of a record batch")
        .on(format!("at column `{column}`"))
        .because("it is of another type")
}
