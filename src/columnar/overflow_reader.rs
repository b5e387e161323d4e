//! Cells out of the `_overflow` column.

use arrow::array::{
    Array, AsArray, BinaryArray, BooleanArray, Float64Array, Int64Array, ListArray, MapArray, StringArray,
};
use arrow::datatypes::{Float64Type, Int64Type};

use super::overflow::op_name;
use crate::error::{Error, Kind, Result};
use crate::model::{Cell, CellOp, Value};

/// The parts of an `_overflow` array, which may come from a file that somebody else wrote.
#[derive(Debug)]
pub struct OverflowReader<'a> {
    rows: &'a MapArray,
    names: &'a StringArray,
    lists: &'a ListArray,
    op: &'a StringArray,
    ts: &'a Int64Array,
    i: &'a Int64Array,
    d: &'a Float64Array,
    s: &'a StringArray,
    b: &'a BooleanArray,
    x: &'a BinaryArray,
}

impl<'a> OverflowReader<'a> {
    /// `None` if the array is of another type.
    pub fn new(array: &'a dyn Array) -> Option<OverflowReader<'a>> {
        let rows = array.as_map_opt()?;
        let lists = rows.values().as_list_opt::<i32>()?;
        let cells = lists.values().as_struct_opt()?;
        let member = |name| cells.column_by_name(name);
        Some(OverflowReader {
            rows,
            names: rows.keys().as_string_opt()?,
            lists,
            op: member("op")?.as_string_opt()?,
            ts: member("ts")?.as_primitive_opt::<Int64Type>()?,
            i: member("i")?.as_primitive_opt::<Int64Type>()?,
            d: member("d")?.as_primitive_opt::<Float64Type>()?,
            s: member("s")?.as_string_opt()?,
            b: member("b")?.as_boolean_opt()?,
            x: member("x")?.as_binary_opt()?,
        })
    }

    /// The names of `row` as indexes for [`OverflowReader::name`] and [`OverflowReader::cells`].
    pub fn names_of(&self, row: usize) -> std::ops::Range<usize> {
        if self.rows.is_null(row) {
            return 0..0;
        }
        let offsets = self.rows.value_offsets();
        offsets[row] as usize..offsets[row + 1] as usize
    }

    /// The attribute name at `index`.
    pub fn name(&self, index: usize) -> &'a str {
        self.names.value(index)
    }

    /// Appends the cells under the name at `index`, in wire order.
    ///
    /// # Errors
    /// `Corrupt` if a cell has several values, none without being a delete, or an unknown `op`.
    pub fn cells(&self, index: usize, into: &mut Vec<Cell<'a>>) -> Result<()> {
        let name = self.name(index);
        if self.lists.is_null(index) {
            return Ok(());
        }
        let offsets = self.lists.value_offsets();
        for cell in offsets[index] as usize..offsets[index + 1] as usize {
            let op = match self.op.is_valid(cell) {
                false => None,
                true => Some(parse_op(self.op.value(cell)).ok_or_else(|| bad(name, "unknown `op`"))?),
            };
            let value = self.value(cell).map_err(|reason| bad(name, reason))?;
            let is_delete = matches!(op, Some(CellOp::DeleteAllVersions | CellOp::DeleteOneVersion));
            if value.is_none() && !is_delete {
                return Err(bad(name, "a cell that is not a delete has no value"));
            }
            let timestamp = self.ts.is_valid(cell).then(|| self.ts.value(cell));
            into.push(Cell { name, value, op, timestamp });
        }
        Ok(())
    }

    fn value(&self, cell: usize) -> std::result::Result<Option<Value<'a>>, &'static str> {
        let values = [
            self.i.is_valid(cell).then(|| Value::Integer(self.i.value(cell))),
            self.d.is_valid(cell).then(|| Value::Double(self.d.value(cell))),
            self.s.is_valid(cell).then(|| Value::String(self.s.value(cell))),
            self.b.is_valid(cell).then(|| Value::Boolean(self.b.value(cell))),
            self.x.is_valid(cell).then(|| Value::Binary(self.x.value(cell))),
        ];
        let mut found = values.into_iter().flatten();
        let value = found.next();
        if found.next().is_some() { Err("a cell has values of two types") } else { Ok(value) }
    }
}

fn parse_op(text: &str) -> Option<CellOp> {
    [CellOp::DeleteAllVersions, CellOp::DeleteOneVersion, CellOp::Increment]
        .into_iter()
        .find(|op| op_name(*op) == text)
}

#[cold]
fn bad(name: &str, reason: &'static str) -> Error {
    Error::new(Kind::Corrupt, "read a cell")
        .on(format!("of attribute `{name}` in `_overflow`"))
        .because(reason)
}
