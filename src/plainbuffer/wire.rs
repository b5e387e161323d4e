//! Tags and codes, as the SDKs' `PlainBufferConsts` name them.

pub(super) const HEADER: u32 = 0x75;

pub(super) const ROW_PK: u8 = 0x01;
pub(super) const ROW_DATA: u8 = 0x02;
pub(super) const CELL: u8 = 0x03;
pub(super) const CELL_NAME: u8 = 0x04;
pub(super) const CELL_VALUE: u8 = 0x05;
pub(super) const CELL_OP: u8 = 0x06;
pub(super) const CELL_TIMESTAMP: u8 = 0x07;
pub(super) const DELETE_ROW_MARKER: u8 = 0x08;
pub(super) const ROW_CHECKSUM: u8 = 0x09;
pub(super) const CELL_CHECKSUM: u8 = 0x0A;
pub(super) const EXTENSION: u8 = 0x0B;
pub(super) const SEQUENCE_INFO: u8 = 0x0C;
pub(super) const SEQUENCE_EPOCH: u8 = 0x0D;
pub(super) const SEQUENCE_TIMESTAMP: u8 = 0x0E;
pub(super) const SEQUENCE_ROW_INDEX: u8 = 0x0F;

pub(super) const INTEGER: u8 = 0x00;
pub(super) const DOUBLE: u8 = 0x01;
pub(super) const BOOLEAN: u8 = 0x02;
pub(super) const STRING: u8 = 0x03;
/// No value; row matrix only.
pub(super) const NULL: u8 = 0x06;
pub(super) const BLOB: u8 = 0x07;
pub(super) const INF_MIN: u8 = 0x09;
pub(super) const INF_MAX: u8 = 0x0A;
pub(super) const AUTO_INCREMENT: u8 = 0x0B;

pub(super) const DELETE_ALL_VERSIONS: u8 = 0x01;
pub(super) const DELETE_ONE_VERSION: u8 = 0x03;
pub(super) const INCREMENT: u8 = 0x04;

/// Bytes of the body of a sequence info: three tags, i32, i64, i32.
pub(super) const SEQUENCE_INFO_SIZE: u32 = 19;

/// `SRM0`.
pub(super) const MATRIX_HEADER: u32 = 0x304D_5253;
pub(super) const MATRIX_CHECKSUM: u8 = 0x01;
pub(super) const MATRIX_ROW: u8 = 0x02;
pub(super) const MATRIX_ROW_COUNT: u8 = 0x03;
pub(super) const MATRIX_ENTIRE_KEYS: u8 = 0x0A;
