//! The row formats of Table Store, bytes to rows and back: PlainBuffer, which requests, pages and Stream records have,
//! and the row matrix ([`MatrixReader`]), which BulkExport has.
//!
//! ```text
//! buffer = u32 0x75, row+                                      integers little-endian, fixed width
//! row    = 01 cell+ [ 02 cell+ ] [ 08 ] [ extension ] 09 u8 row-checksum
//! cell   = 03 04 u32 length, name  [ 05 u32 length, value ]  [ 06 u8 op ]  [ 07 i64 ms ]  0A u8 cell-checksum
//! value  = u8 type, payload                                    STRING, BINARY: u32 length, then the bytes
//! ```
//!
//! Decoding is strict and total: tags in this order only, at most four primary key columns, UTF-8 where it must be,
//! the two lengths of a string must agree, and both checksums of every cell and row are verified, always. Whatever
//! the bytes are, the answer is a row or a [`DecodeError`] with the offset of the fault; nothing panics, and no
//! length read from the input decides how much memory is allocated. Doubles keep their bits.
//!
//! The extension (the sequence info of a Stream record) is the one part that the format covers with no checksum.

mod bare;
mod block;
mod cell_index;
mod cell_template;
mod crc8;
#[cfg(target_arch = "x86_64")]
mod crc8_clmul;
mod error;
mod expected;
mod expected_key;
mod extension;
mod fetch;
mod head;
mod key;
mod matrix_reader;
mod matrix_writer;
mod name;
mod reader;
mod record;
mod template;
mod wire;
mod writer;

pub use bare::{decode_bare_key_value, decode_bare_value, write_bare_key_value, write_bare_value};
pub use block::{BlockFormat, BlockReader};
pub use cell_template::{CellTemplate, CellTime, DATA_TAG, add_cell, row_end};
pub use crc8::{checksum, checksum_by_tables, checksum_from};
pub use error::{DecodeError, Fault};
pub use expected::{CellSink, ExpectedCells, Payload};
pub use key::{decode_key, decode_named_key, encode_key};
pub use matrix_reader::MatrixReader;
pub use matrix_writer::MatrixWriter;
pub use reader::{RowReader, decode_request_row};
pub use record::{RecordError, decode_origin_record, decode_record};
pub use template::RowTemplate;
pub use writer::{encode_row, write_cell, write_header, write_row};

/// Most primary key columns a table can have (service limit).
pub const MAX_KEY_COLUMNS: usize = 4;
