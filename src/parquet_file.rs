//! Record batches to the bytes of a Parquet file and back. Knows no store and no file system.
//!
//! [`WriterSettings`] is the one place for every writer setting. [`choose_encodings`] tries encodings on a sample;
//! [`FileEncoder`] gives finished bytes at the end of each row group, with their checksums; [`FileReader`], and
//! [`RowGroups`] for files larger than memory, read files that may have been damaged or made by an enemy.

mod batches;
mod claims;
mod column;
mod contents;
mod drift;
mod encoder;
mod extent;
mod first_key;
mod footer;
mod footer_walk;
mod overflow;
mod page_header;
mod page_walk;
mod profile;
mod read_limits;
mod reader;
mod row_groups;
mod settings;
mod small_file;
mod statistics;
mod thrift;
mod trial;
mod value_lengths;

pub use batches::Batches;
pub use contents::{Contents, ContentsCheck, read_contents};
pub use encoder::{EncodedFile, FileEncoder};
pub use profile::EncodingProfile;
pub use read_limits::ReadLimits;
pub use reader::FileReader;
pub use row_groups::{FOOTER_TAIL_BYTES, RowGroups, footer_length};
pub use settings::WriterSettings;
pub use small_file::{decode_small_file, encode_small_file};
pub use statistics::StatisticsCheck;
pub use trial::choose_encodings;
