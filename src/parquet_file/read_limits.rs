//! What a file may claim before it is refused.

/// What a file may claim before it is refused. The defaults are far above what [`FileEncoder`](super::FileEncoder)
/// writes with its default settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadLimits {
    /// Footer, bytes. Default 64 MiB.
    pub footer_bytes: usize,
    /// Row groups. Default 10,000.
    pub row_groups: usize,
    /// Leaf columns. Default 32,768.
    pub columns: usize,
    /// Row groups times leaf columns. Default 500,000: the Parquet crate keeps about 500 bytes for each.
    pub column_chunks: usize,
    /// Bytes of an uncompressed data page. Default 64 MiB.
    pub page_bytes: usize,
    /// Bytes of an uncompressed dictionary page. Default 64 MiB.
    pub dictionary_bytes: usize,
    /// How many times smaller a page above 4 MiB may be in the file. Default 1,000.
    pub page_ratio: usize,
    /// Values of one leaf of `_overflow` in one row group, if more than its rows. Default 64 Mi.
    pub nested_values: usize,
    /// Bytes of a value that a dictionary or a shared prefix may repeat. Default 2 MiB (service limit for a value).
    pub value_bytes: usize,
    /// Bytes that decoding may take at once: dictionaries, pages and a batch. Default 384 MiB. Batches are made smaller to
    /// stay below; a file that cannot be decoded row by row within it is refused.
    pub decode_bytes: u64,
    /// Rows in a record batch at most. Default 8,192, the fastest.
    pub batch_rows: usize,
    /// Bytes that a record batch should stay below; batches of wide rows have fewer rows. Default 16 MiB.
    pub batch_bytes: u64,
}

impl Default for ReadLimits {
    fn default() -> ReadLimits {
        ReadLimits {
            footer_bytes: 64 << 20,
            row_groups: 10_000,
            columns: 32_768,
            column_chunks: 500_000,
            page_bytes: 64 << 20,
            dictionary_bytes: 64 << 20,
            page_ratio: 1_000,
            nested_values: 64 << 20,
            value_bytes: 2 << 20,
            decode_bytes: 384 << 20,
            batch_rows: 8_192,
            batch_bytes: 16 << 20,
        }
    }
}
