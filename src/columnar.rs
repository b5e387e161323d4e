//! Rows of cells to Arrow record batches and back, losing nothing.
//!
//! [`Sample`] looks at some rows and makes a [`ColumnPlan`], which is then frozen for a whole base.
//! [`BatchBuilder`] puts rows into record batches of that plan; [`RowsReader`] gives back exactly the same cells in
//! wire order, [`RowEncoder`] the bytes that write them to a table. What has no column of its own in the plan is in the
//! `_overflow` column, so a plan made from an unlucky sample costs convenience, never data.
//!
//! Pure: bytes and arrays in, arrays out. One file per kind of value: `primitive` (INTEGER and DOUBLE), `boolean`,
//! `bytes` (STRING and BINARY), `overflow`.

mod boolean;
mod builder;
mod bytes;
mod keys;
mod naming;
mod overflow;
mod overflow_reader;
mod placed;
mod plan;
mod primitive;
mod reader;
mod records;
mod row_encoder;
mod row_list;
mod sample;
mod schema;
mod slots;
mod typed_column;
mod validity;

pub use builder::{Batch, BatchBuilder, Totals};
pub use keys::KeyColumns;
pub use overflow::op_name as cell_op_name;
pub use placed::PlacedCells;
pub use plan::{ColumnPlan, Encoding, PlannedColumn, Role};
pub use reader::RowsReader;
pub use records::{
    PlacedRecord, RECORD_COLUMNS, RecordBatchBuilder, RecordTotals, RecordsReader, SplitBatch,
    record_encodings, record_schema,
};
pub use row_encoder::{BatchRows, EncodedRows, PutRow, RowEncoder, RowSelection};
pub use sample::{MAX_PROMOTED_COLUMNS, Sample};
pub use schema::{FIELD_ID, arrow_schema};
