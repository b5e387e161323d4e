//! Rows whose cells were all expected, from the page into the columns.

use std::sync::Arc;

use super::builder::{BatchBuilder, key_size};
use super::plan::{ColumnPlan, Role};
use crate::error::{Error, Kind, Result};
use crate::model::{PrimaryKeyValue, RowHasher};
use crate::plainbuffer::{ExpectedCells, Payload, PlacedCells};

/// What is known of the typed columns before any row comes.
pub(super) struct Placing {
    expected: Arc<ExpectedCells>,
    /// One per typed column, in plan order, as the expected cells are.
    constants: Vec<CellConstants>,
}

/// What all cells of one name and type have in common.
#[derive(Debug, Clone, Copy)]
struct CellConstants {
    /// For the row-sum.
    seed: u64,
    /// Bytes of the name and the timestamp, by the service's data-size rule.
    size: u64,
}

impl Placing {
    pub(super) fn new(plan: &ColumnPlan) -> Placing {
        let attributes = || {
            plan.columns().iter().filter_map(|column| match &column.role {
                Role::Attribute { attribute, value_type } => Some((attribute.as_str(), *value_type)),
                _ => None,
            })
        };
        let constants = attributes().map(|(name, value_type)| CellConstants {
            seed: RowHasher::column_seed(name, value_type),
            size: name.len() as u64 + 8,
        });
        Placing { expected: Arc::new(ExpectedCells::new(attributes())), constants: constants.collect() }
    }
}

impl BatchBuilder {
    /// The cells that have a place in a typed column, for [`RowReader::next_row_expecting`].
    ///
    /// [`RowReader::next_row_expecting`]: crate::plainbuffer::RowReader::next_row_expecting
    pub fn expected(&self) -> Arc<ExpectedCells> {
        self.placing.expected.clone()
    }

    /// Adds one row whose cells were read as [expected](BatchBuilder::expected) by a builder of the same plan. The same
    /// as [`BatchBuilder::append`] of all its cells in about half the time (benches/pipeline.rs).
    ///
    /// # Errors
    /// Those of [`BatchBuilder::append`]; `Internal` as well for cells that another builder expected.
    pub fn append_placed(
        &mut self,
        key: &[(&str, PrimaryKeyValue<'_>)],
        placed: &PlacedCells<'_>,
    ) -> Result<()> {
        self.check_key(key)?;
        let mut data_size = 0;
        for (index, payload) in placed.cells() {
            let Some(constants) = self.placing.constants.get(*index as usize) else {
                return Err(other_cells());
            };
            data_size += constants.size + payload.data_size();
        }
        self.begin_row(key, key_size(key) as u64 + data_size)?;
        let (row, timestamp) = (self.rows(), placed.timestamp());
        self.row_timestamps.push(row, timestamp);
        for (index, payload) in placed.cells() {
            let index = *index as usize;
            let seed = RowHasher::cell_seed(self.placing.constants[index].seed, timestamp);
            match *payload {
                Payload::Integer(value) => self.hasher.value_bytes(seed, &value.to_le_bytes()),
                Payload::Double(bits) => self.hasher.value_bytes(seed, &bits.to_le_bytes()),
                Payload::Boolean(value) => self.hasher.value_bytes(seed, &[u8::from(value)]),
                Payload::String(bytes) | Payload::Binary(bytes) => self.hasher.value_bytes(seed, bytes),
            }
            if !self.attributes[index].push_payload(row, *payload) {
                return Err(other_cells());
            }
        }
        self.end_row(placed.cells().len());
        Ok(())
    }
}

#[cold]
fn other_cells() -> Error {
    Error::new(Kind::Internal, "add a row to a record batch")
        .because("its cells were placed for another plan")
}
