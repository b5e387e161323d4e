//! Record batches to the bytes of a Parquet file and back. Knows no store and no file system.
//!
//! [`WriterSettings`] is the one place for every writer setting. [`choose_encodings`] tries encodings on a sample;
//! [`FileEncoder`] gives finished bytes at the end of each row group, with their checksums; [`FileReader`] reads
//! files that may have been damaged or made by an enemy.

mod column;
mod contents;
mod encoder;
mod footer_walk;
mod overflow;
mod page_header;
mod page_walk;
mod reader;
mod row_groups;
mod settings;
mod small_file;
mod thrift;
mod trial;

pub use contents::{Contents, read_contents};
pub use encoder::{EncodedFile, FileEncoder};
pub use reader::{Batches, FileReader, ReadLimits};
pub use row_groups::{FOOTER_TAIL_BYTES, RowGroups, footer_length};
pub use settings::WriterSettings;
pub use small_file::{decode_small_file, encode_small_file};
pub use trial::choose_encodings;
