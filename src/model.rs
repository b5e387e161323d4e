//! Plain data: primary keys and their order, key ranges, borrowed cells and rows, Stream records, table
//! definitions, row-sums.
//!
//! Nothing here waits, reads a clock or touches a file. Every other module speaks in these types.

mod cell;
mod column_seeds;
mod definition;
mod key;
mod middle;
mod range;
mod record_sum;
mod row_image;
mod row_sum;
pub(crate) mod short_bytes;
mod stream_record;

pub use cell::{Cell, CellOp, Row, SequenceInfo, Value, ValueType};
pub use definition::{
    DefinedColumn, Index, PrimaryKeyColumn, PrimaryKeyType, ReservedThroughput, Stream, TableDefinition,
    TableOptions,
};
pub use key::{KeyPart, PrimaryKey, PrimaryKeyValue};
pub use range::{KeyRange, Tiling};
pub use record_sum::RecordHasher;
pub use row_image::{FoldRules, RowImage};
pub use row_sum::{RowHasher, RowSum};
pub use stream_record::{RecordPlace, RecordType, StreamRecord};
