//! The stages, by name.

/// Something that is done to all of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// The pages into a buffer that is there already: the floor under everything.
    Copy,
    /// Every cell looked at, UTF-8 included, nothing kept, ordinary rows without their checksums.
    WalkUnchecked,
    /// Every cell looked at, checksums and UTF-8 included, nothing kept.
    Walk,
    /// Pages to record batches, ordinary rows without their checksums.
    DecodeUnchecked,
    /// Pages to record batches, checksums and UTF-8 included.
    Decode,
    /// The same, and the row-sum: what a backup does.
    DecodeAndSum,
    /// Record batches to a Parquet file in memory at zstd 1, its hashes included.
    Encode,
    /// The same at zstd 3.
    EncodeZstd3,
    /// The same at zstd 6.
    EncodeZstd6,
    /// Record batches to Parquet by `ArrowWriter`, with the encodings and row groups of [`Stage::Encode`].
    EncodeSame,
    /// Record batches to Parquet by `ArrowWriter` as it comes, zstd 1.
    EncodeDefault,
    /// Pages to a Parquet file: decoding and encoding in turns, row-sum, order of the keys and hashes included.
    Pipeline,
    /// Parquet to record batches.
    ReadParquet,
    /// Record batches to PlainBuffer rows.
    EncodeRows,
    /// Parquet to PlainBuffer rows, in turns.
    ReadAndEncodeRows,
    /// MD5 of every BatchWriteRow body, several side by side.
    Md5,
    /// The same, one after the other, by the `md-5` crate.
    Md5Crate,
    /// Parquet to BatchWriteRow bodies with their MD5s: all that a restore computes.
    Restore,
    /// Stream records to record batches, with their record-sum.
    DecodeRecords,
    /// Record batches of Stream records to Parquet.
    EncodeRecords,
}

impl Stage {
    /// What a table of stages calls it.
    pub fn label(self) -> &'static str {
        match self {
            Stage::Copy => "copy the pages",
            Stage::WalkUnchecked => "walk the rows, no checksums",
            Stage::Walk => "walk the rows",
            Stage::DecodeUnchecked => "decode to record batches, no checksums",
            Stage::Decode => "decode to record batches",
            Stage::DecodeAndSum => "decode to record batches, with row-sum",
            Stage::Encode => "encode to Parquet, zstd 1",
            Stage::EncodeZstd3 => "encode to Parquet, zstd 3",
            Stage::EncodeZstd6 => "encode to Parquet, zstd 6",
            Stage::EncodeSame => "ArrowWriter, same encodings, zstd 1",
            Stage::EncodeDefault => "ArrowWriter, its defaults, zstd 1",
            Stage::Pipeline => "pipeline: pages to Parquet, with row-sum",
            Stage::ReadParquet => "read Parquet to record batches",
            Stage::EncodeRows => "encode PlainBuffer rows",
            Stage::ReadAndEncodeRows => "read Parquet, encode PlainBuffer rows",
            Stage::Md5 => "MD5 of the bodies, side by side",
            Stage::Md5Crate => "MD5 of the bodies, md-5 crate",
            Stage::Restore => "restore: Parquet to bodies with MD5",
            Stage::DecodeRecords => "decode Stream records",
            Stage::EncodeRecords => "encode Stream records to Parquet",
        }
    }
}
