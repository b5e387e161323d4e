//! Every setting of the Parquet writer.

use parquet::basic::{Compression, Encoding as ParquetEncoding, ZstdLevel};
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::{
    EnabledStatistics, WriterProperties, WriterPropertiesBuilder, WriterVersion,
};
use parquet::schema::types::ColumnPath;

use super::profile::EncodingProfile;
use crate::columnar::{ColumnPlan, Encoding, PlannedColumn, Role};
use crate::error::{Context, Kind, Result};
use crate::model::{PrimaryKeyType, ValueType};

/// Who wrote a file, in the form that parquet-java takes apart: it trusts neither the statistics nor the DELTA_BYTE_ARRAY
/// pages of a writer whose version it cannot read.
pub(super) const CREATED_BY: &str = concat!("otsvault version ", env!("CARGO_PKG_VERSION"));

/// What the user and the memory budget may change about the files.
///
/// The rest is fixed here: zstd, no dictionary but where the plan says so, page statistics, the sort
/// order of the primary key, field ids, no embedded Arrow schema, no bloom filters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriterSettings {
    /// What encodings are chosen for, and the version of the pages. Default balanced.
    pub profile: EncodingProfile,
    /// zstd level, 1 to 22. Default 1; 3 saves up to 6 % on text and next to nothing on numbers, and encodes about 20 %
    /// slower; 6 saves 2 % more for 40 % less speed.
    pub zstd_level: i32,
    /// Rows per row group at most. Default 65,536.
    pub row_group_rows: usize,
    /// Encoded bytes per row group at most, as estimated while it is open. Default 64 MiB. An open file holds that
    /// much memory.
    pub row_group_bytes: usize,
    /// Uncompressed bytes per data page, about. Default 1 MiB: 2 % smaller files than 256 KiB pages.
    pub data_page_bytes: usize,
    /// Rows per data page at most. Default 65,536, as many as a row group has: with 32,768 `iot` takes 6 % more CPU, since
    /// zstd begins anew with every page, and 2 % more space.
    pub data_page_rows: usize,
    /// Bytes per dictionary at most; a column whose dictionary is full goes on without. Default 1 MiB.
    pub dictionary_page_bytes: usize,
}

impl Default for WriterSettings {
    fn default() -> WriterSettings {
        WriterSettings {
            profile: EncodingProfile::default(),
            zstd_level: 1,
            row_group_rows: 1 << 16,
            row_group_bytes: 64 << 20,
            data_page_bytes: 1 << 20,
            data_page_rows: 1 << 16,
            dictionary_page_bytes: 1 << 20,
        }
    }
}

impl WriterSettings {
    /// The settings of files of `plan` that carry `key_value_metadata` in their footer. How the pages of a column are encoded
    /// is in the plan alone.
    ///
    /// # Errors
    /// `Usage` for a zstd level that does not exist.
    pub(super) fn properties(
        &self,
        plan: &ColumnPlan,
        key_value_metadata: Vec<(String, String)>,
    ) -> Result<WriterProperties> {
        let sorting = (0..plan.key_count() as i32)
            .map(|column_idx| SortingColumn { column_idx, descending: false, nulls_first: false })
            .collect();
        let footer = key_value_metadata.into_iter().map(|(key, value)| KeyValue::new(key, value)).collect();
        let version = match self.profile.has_old_pages() {
            true => WriterVersion::PARQUET_1_0,
            false => WriterVersion::PARQUET_2_0,
        };
        Ok(self
            .base()?
            .set_writer_version(version)
            .set_sorting_columns(Some(sorting))
            .set_key_value_metadata(Some(footer))
            .build())
    }

    /// The settings of the leaves of `_overflow`. Their pages are of version 1: those of version 2 do not compress levels, which
    /// are most of what nested columns are; three versions of `iot` took a quarter more.
    pub(super) fn overflow_properties(&self, column: &PlannedColumn) -> Result<WriterProperties> {
        let builder = self.base()?.set_writer_version(WriterVersion::PARQUET_1_0);
        Ok(overflow(builder, column, self.profile).build())
    }

    /// zstd at the chosen level.
    ///
    /// # Errors
    /// `Usage` for a level that does not exist.
    pub(super) fn compression(&self) -> Result<Compression> {
        let level = ZstdLevel::try_new(self.zstd_level).doing(Kind::Usage, "use this compression level")?;
        Ok(Compression::ZSTD(level))
    }

    /// What all columns have in common.
    fn base(&self) -> Result<WriterPropertiesBuilder> {
        Ok(WriterProperties::builder()
            .set_created_by(CREATED_BY.to_owned())
            .set_compression(self.compression()?)
            .set_statistics_enabled(EnabledStatistics::Page)
            .set_dictionary_enabled(false)
            .set_encoding(ParquetEncoding::PLAIN)
            .set_dictionary_page_size_limit(self.dictionary_page_bytes.max(1))
            .set_data_page_size_limit(self.data_page_bytes.max(1))
            .set_data_page_row_count_limit(self.data_page_rows.max(1)))
    }
}

/// The value type that a column stores; timestamps are integers.
fn stored_type(column: &PlannedColumn) -> ValueType {
    match &column.role {
        Role::Key { column_type: PrimaryKeyType::Integer, .. } => ValueType::Integer,
        Role::Key { column_type: PrimaryKeyType::String, .. } => ValueType::String,
        Role::Key { column_type: PrimaryKeyType::Binary, .. } => ValueType::Binary,
        Role::Attribute { value_type, .. } => *value_type,
        Role::AttributeTimestamp { .. } | Role::RowTimestamp | Role::Overflow => ValueType::Integer,
    }
}

/// The encodings worth a trial for a column, the fastest to write and read first; empty where there is no choice.
pub(super) fn candidates(column: &PlannedColumn, profile: EncodingProfile) -> Vec<Encoding> {
    let is_key = matches!(column.role, Role::Key { .. });
    if column.role == Role::Overflow {
        return Vec::new();
    }
    let mut candidates: Vec<Encoding> = match stored_type(column) {
        ValueType::Boolean => &[] as &[Encoding],
        ValueType::Integer => &[Encoding::DeltaBinaryPacked, Encoding::Dictionary, Encoding::Plain],
        ValueType::Double => &[Encoding::Plain, Encoding::Dictionary, Encoding::ByteStreamSplit],
        // Long runs of one key are best in a dictionary, sorted unique keys as prefix and rest.
        ValueType::String | ValueType::Binary if is_key => {
            &[Encoding::Dictionary, Encoding::DeltaByteArray, Encoding::Plain]
        }
        ValueType::String | ValueType::Binary => {
            &[Encoding::DeltaLengthByteArray, Encoding::Plain, Encoding::Dictionary]
        }
    }
    .to_vec();
    candidates.retain(|encoding| profile.allowed(*encoding) == *encoding);
    candidates
}

/// The leaves of `_overflow`. `Dictionary` gives all of them one, which a leaf leaves when it is full.
fn overflow(
    mut builder: WriterPropertiesBuilder,
    column: &PlannedColumn,
    profile: EncodingProfile,
) -> WriterPropertiesBuilder {
    let path = |leaf: &[&str]| {
        let mut parts = vec![column.name.clone(), "key_value".to_owned()];
        parts.extend(leaf.iter().map(|part| (*part).to_owned()));
        ColumnPath::from(parts)
    };
    let cell = |member| path(&["value", "list", "element", member]);
    for repeated in [path(&["key"]), cell("op")] {
        builder = builder.set_column_dictionary_enabled(repeated, true);
    }
    let encodings = [
        ("ts", ParquetEncoding::DELTA_BINARY_PACKED),
        ("i", ParquetEncoding::DELTA_BINARY_PACKED),
        ("s", ParquetEncoding::DELTA_LENGTH_BYTE_ARRAY),
        ("b", ParquetEncoding::RLE),
        ("x", ParquetEncoding::DELTA_LENGTH_BYTE_ARRAY),
    ];
    for (member, encoding) in encodings.into_iter().filter(|_| !profile.has_old_pages()) {
        builder = builder.set_column_encoding(cell(member), encoding);
    }
    if column.encoding == Encoding::Dictionary {
        for member in ["ts", "i", "d", "s", "x"] {
            builder = builder.set_column_dictionary_enabled(cell(member), true);
        }
    }
    for member in ["op", "ts", "i", "d", "s", "b", "x"] {
        builder = builder.set_column_statistics_enabled(cell(member), EnabledStatistics::Chunk);
    }
    builder
}
