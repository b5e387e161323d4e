//! The end of a file that is being written: page index and footer, encoded as far as they are known.
//!
//! `parquet`'s own file writer keeps what it has to say of closed row groups as structures until the file ends: 15 KB per row
//! group of 11 columns, in 129 blocks of memory, 124 KB for 202 columns. Here `parquet` encodes a row group when it closes,
//! into 3 and 38 KB in a few blocks. Only where the page index will be is put in at the end, so the bytes are the same.

use std::io::Write;

use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{
    FileMetaData, KeyValue, ParquetMetaDataBuilder, ParquetMetaDataWriter, RowGroupMetaData,
};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::page_index::offset_index::OffsetIndexMetaData;
use parquet::file::properties::WriterPropertiesPtr;
use parquet::file::writer::{SerializedFileWriter, TrackedWrite};
use parquet::schema::types::SchemaDescPtr;

use super::column::{write_varint, write_zigzag};
use super::thrift::{Compact, Kind};

/// Begins and ends a file.
pub(super) const MAGIC: &[u8; 4] = b"PAR1";

/// Length of a footer and [`MAGIC`], behind it.
const TAIL_BYTES: usize = 8;

/// Header of a field of a struct: one above the field before it.
const NEXT_I32: u8 = 0x15;
const NEXT_I64: u8 = 0x16;

/// Header of the list of row groups, behind the number of rows.
const ROW_GROUPS: u8 = 0x19;

/// Ends a struct.
const STOP: u8 = 0;

/// What the closed row groups put at the end of the file.
pub(super) struct FooterBuilder {
    schema: SchemaDescPtr,
    properties: WriterPropertiesPtr,
    row_group_count: usize,
    /// A row group was begun and has not closed.
    is_open: bool,
    rows: i64,
    column_indexes: Vec<u8>,
    offset_indexes: Vec<u8>,
    /// `RowGroup` after `RowGroup`, without the fields that say where the page index is.
    row_groups: Vec<u8>,
    /// The places in `row_groups` where those belong.
    gaps: Vec<Gap>,
}

/// Where a `ColumnChunk` says where its page index is, and how long that is.
#[derive(Debug, Clone, Copy, Default)]
struct Gap {
    at: usize,
    offset_index: u32,
    /// 0 where there is none.
    column_index: u32,
}

impl FooterBuilder {
    /// Of a file without a row group.
    pub(super) fn new(schema: SchemaDescPtr, properties: WriterPropertiesPtr) -> FooterBuilder {
        FooterBuilder {
            schema,
            properties,
            row_group_count: 0,
            is_open: false,
            rows: 0,
            column_indexes: Vec::new(),
            offset_indexes: Vec::new(),
            row_groups: Vec::new(),
            gaps: Vec::new(),
        }
    }

    /// Row groups so far.
    pub(super) fn row_groups(&self) -> usize {
        self.row_group_count
    }

    /// The place of the next row group. A file in which one was begun and not added cannot be finished.
    pub(super) fn begin(&mut self) -> Result<i16> {
        self.is_open = true;
        i16::try_from(self.row_group_count)
            .map_err(|_| ParquetError::General("a file cannot have so many row groups".to_owned()))
    }

    /// Adds a row group, with what `parquet` says of it when it closes.
    pub(super) fn add(
        &mut self,
        row_group: RowGroupMetaData,
        column_indexes: Vec<Option<ColumnIndexMetaData>>,
        offset_indexes: Vec<Option<OffsetIndexMetaData>>,
    ) -> Result<()> {
        let rows = row_group.num_rows();
        let column_indexes =
            column_indexes.into_iter().map(|index| index.unwrap_or(ColumnIndexMetaData::NONE));
        let offset_indexes: Option<Vec<_>> = offset_indexes.into_iter().collect();
        let file = FileMetaData::new(1, rows, None, None, self.schema.clone(), None);
        let alone = ParquetMetaDataBuilder::new(file)
            .add_row_group(row_group)
            .set_column_index(Some(vec![column_indexes.collect()]))
            .set_offset_index(Some(vec![offset_indexes.ok_or_else(no_index)?]))
            .build();
        let mut encoded = Vec::new();
        ParquetMetaDataWriter::new(&mut encoded, &alone).finish()?;
        let gaps_before = self.gaps.len();
        let footer = footer_of(&encoded).ok_or_else(other_layout)?;
        self.add_encoded(footer).ok_or_else(other_layout)?;
        // The page index stands before the footer, that of columns first.
        let new = &self.gaps[gaps_before..];
        let column_bytes = new.iter().map(|gap| gap.column_index as usize).sum();
        let offset_bytes: usize = new.iter().map(|gap| gap.offset_index as usize).sum();
        let index = &encoded[..encoded.len() - TAIL_BYTES - footer.len()];
        let (columns, offsets) = index.split_at_checked(column_bytes).ok_or_else(other_layout)?;
        if offsets.len() != offset_bytes {
            return Err(other_layout());
        }
        self.column_indexes.extend_from_slice(columns);
        self.offset_indexes.extend_from_slice(offsets);
        self.row_group_count += 1;
        self.is_open = false;
        self.rows += rows;
        Ok(())
    }

    /// Adds the row group of a footer that has one.
    fn add_encoded(&mut self, footer: &[u8]) -> Option<()> {
        let mut reader = Compact::new(footer);
        skip_to_row_groups(&mut reader)?;
        if reader.list()? != (Kind::Struct, 1) {
            return None;
        }
        let mut copied = footer.len() - reader.remaining();
        let mut field = 0;
        while let Some(kind) = reader.field(&mut field)? {
            if field != 1 {
                reader.skip(kind, 1)?;
                continue;
            }
            for _ in 0..reader.list()?.1 {
                let chunk = pass_chunk(&mut reader)?;
                self.row_groups.extend_from_slice(&footer[copied..footer.len() - chunk.left]);
                self.gaps.push(Gap { at: self.row_groups.len(), ..chunk.gap });
                self.row_groups.push(STOP);
                copied = footer.len() - reader.remaining();
            }
        }
        self.row_groups.extend_from_slice(&footer[copied..footer.len() - reader.remaining()]);
        Some(())
    }

    /// Writes the end of a file: page index, footer, its length and [`MAGIC`].
    pub(super) fn finish<W: Write>(
        self,
        key_value_metadata: Vec<KeyValue>,
        file: &mut TrackedWrite<W>,
    ) -> Result<()> {
        if self.is_open {
            return Err(ParquetError::General("its last row group did not end".to_owned()));
        }
        let root = self.schema.root_schema_ptr();
        let mut empty = SerializedFileWriter::new(Vec::new(), root, self.properties.clone())?;
        key_value_metadata.into_iter().for_each(|pair| empty.append_key_value_metadata(pair));
        let empty = empty.into_inner()?;
        let index_at = file.bytes_written();
        let footer =
            footer_of(&empty).and_then(|footer| self.filled(footer, index_at)).ok_or_else(other_layout)?;
        let length = u32::try_from(footer.len())
            .map_err(|_| ParquetError::General(format!("a footer of {} bytes is too long", footer.len())))?;
        for bytes in [&self.column_indexes, &self.offset_indexes, &footer, &length.to_le_bytes()[..], MAGIC] {
            file.write_all(bytes)?;
        }
        Ok(())
    }

    /// The footer of a file without rows, with the row groups in it.
    fn filled(&self, empty: &[u8], index_at: usize) -> Option<Vec<u8>> {
        let mut reader = Compact::new(empty);
        let rows_end = skip_to_row_groups(&mut reader)?;
        let mut footer = Vec::with_capacity(empty.len() + self.row_groups.len() + 16 * self.gaps.len());
        // No rows are one byte.
        footer.extend_from_slice(&empty[..empty.len() - rows_end - 1]);
        write_zigzag(&mut footer, self.rows);
        footer.push(ROW_GROUPS);
        match reader.list()? {
            (Kind::Struct, 0) => write_list_head(&mut footer, self.row_group_count),
            _ => return None,
        }
        let mut copied = 0;
        let mut column_index_at = index_at;
        let mut offset_index_at = index_at + self.column_indexes.len();
        for gap in &self.gaps {
            footer.extend_from_slice(&self.row_groups[copied..gap.at]);
            copied = gap.at;
            write_index_fields(&mut footer, &mut offset_index_at, gap.offset_index);
            if gap.column_index > 0 {
                write_index_fields(&mut footer, &mut column_index_at, gap.column_index);
            }
        }
        footer.extend_from_slice(&self.row_groups[copied..]);
        footer.extend_from_slice(&empty[empty.len() - reader.remaining()..]);
        Some(footer)
    }
}

/// The next two fields of a `ColumnChunk`: where an index is and how long, and `at` moves behind it.
fn write_index_fields(footer: &mut Vec<u8>, at: &mut usize, length: u32) {
    footer.push(NEXT_I64);
    write_zigzag(footer, *at as i64);
    footer.push(NEXT_I32);
    write_zigzag(footer, i64::from(length));
    *at += length as usize;
}

/// The head of a list of structs.
fn write_list_head(out: &mut Vec<u8>, count: usize) {
    const STRUCT: u8 = 12;
    match count {
        0..15 => out.push((count as u8) << 4 | STRUCT),
        _ => {
            out.push(0xf0 | STRUCT);
            write_varint(out, count as u64);
        }
    }
}

/// The footer at the end of a file.
fn footer_of(file: &[u8]) -> Option<&[u8]> {
    let (before, tail) = file.split_at_checked(file.len().checked_sub(TAIL_BYTES)?)?;
    let length = u32::from_le_bytes(*tail.first_chunk()?) as usize;
    before.get(before.len().checked_sub(length)?..)
}

/// Goes to the list of row groups in a footer: what was left behind the number of rows, the field before it.
fn skip_to_row_groups(reader: &mut Compact<'_>) -> Option<usize> {
    let mut field = 0;
    let mut left = reader.remaining();
    while let Some(kind) = reader.field(&mut field)? {
        if field == 4 {
            return (kind == Kind::List).then_some(left);
        }
        reader.skip(kind, 0)?;
        left = reader.remaining();
    }
    None
}

/// A `ColumnChunk` that was passed over.
struct PassedChunk {
    /// What was left of the footer behind its metadata.
    left: usize,
    gap: Gap,
}

fn pass_chunk(reader: &mut Compact<'_>) -> Option<PassedChunk> {
    let mut chunk = PassedChunk { left: reader.remaining(), gap: Gap::default() };
    let mut field = 0;
    while let Some(kind) = reader.field(&mut field)? {
        match (field, kind) {
            (..=3, kind) => {
                reader.skip(kind, 3)?;
                chunk.left = reader.remaining();
            }
            // Where an index would be in a file of its own.
            (4 | 6, Kind::I64) => reader.skip(kind, 3)?,
            (5, Kind::I32) => chunk.gap.offset_index = reader.size()? as u32,
            (7, Kind::I32) => chunk.gap.column_index = reader.size()? as u32,
            _ => return None,
        }
    }
    (chunk.gap.offset_index > 0).then_some(chunk)
}

#[cold]
fn other_layout() -> ParquetError {
    ParquetError::General("a row group was not encoded as this version of `parquet` does it".to_owned())
}

#[cold]
fn no_index() -> ParquetError {
    ParquetError::General("a column chunk has no offset index".to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::SerializedRowGroupWriter;
    use parquet::schema::parser::parse_message_type;
    use parquet::schema::types::SchemaDescriptor;

    use super::*;

    /// Three columns of `rows` rows. Every third row group has nothing but NaN in one, and so no column index for it.
    fn write_columns(row_group: &mut SerializedRowGroupWriter<'_, Vec<u8>>, number: usize, rows: usize) {
        let keys: Vec<i64> = (0..rows).map(|row| (number * rows + row) as i64).collect();
        let mut column = row_group.next_column().unwrap().unwrap();
        column.typed::<Int64Type>().write_batch(&keys, None, None).unwrap();
        column.close().unwrap();
        let doubles: Vec<f64> =
            keys.iter().map(|key| if number % 3 == 2 { f64::NAN } else { *key as f64 / 7.0 }).collect();
        let mut column = row_group.next_column().unwrap().unwrap();
        column.typed::<DoubleType>().write_batch(&doubles, None, None).unwrap();
        column.close().unwrap();
        let levels: Vec<i16> = keys.iter().map(|key| (key % 2) as i16).collect();
        let texts: Vec<_> =
            keys.iter().filter(|key| *key % 2 == 1).map(|key| format!("text {key}")).collect();
        let texts: Vec<ByteArray> = texts.iter().map(|text| text.as_str().into()).collect();
        let mut column = row_group.next_column().unwrap().unwrap();
        column.typed::<ByteArrayType>().write_batch(&texts, Some(&levels), None).unwrap();
        column.close().unwrap();
    }

    fn pairs() -> Vec<KeyValue> {
        vec![KeyValue::new("entry".to_owned(), "{}".repeat(200))]
    }

    #[test]
    fn a_file_ends_with_the_bytes_that_the_file_writer_of_the_crate_writes() {
        let schema = "message file { REQUIRED INT64 k; REQUIRED DOUBLE d; OPTIONAL BYTE_ARRAY s (UTF8); }";
        let root = Arc::new(parse_message_type(schema).unwrap());
        let descriptor = Arc::new(SchemaDescriptor::new(root.clone()));
        let properties = Arc::new(
            WriterProperties::builder()
                .set_data_page_row_count_limit(20)
                .set_write_batch_size(10)
                .set_key_value_metadata(Some(vec![KeyValue::new("plan".to_owned(), "1".to_owned())]))
                .build(),
        );
        for row_groups in [0, 1, 2, 14, 15, 16, 300] {
            let mut theirs = SerializedFileWriter::new(Vec::new(), root.clone(), properties.clone()).unwrap();
            let mut ours = TrackedWrite::new(Vec::new());
            ours.write_all(MAGIC).unwrap();
            let mut footer = FooterBuilder::new(descriptor.clone(), properties.clone());
            for number in 0..row_groups {
                let rows = 50 + number % 7;
                let mut row_group = theirs.next_row_group().unwrap();
                write_columns(&mut row_group, number, rows);
                row_group.close().unwrap();
                let place = footer.begin().unwrap();
                let add = |_: &mut _, row_group, _, columns, offsets| footer.add(row_group, columns, offsets);
                let mut row_group = SerializedRowGroupWriter::new(
                    descriptor.clone(),
                    properties.clone(),
                    &mut ours,
                    place,
                    Some(Box::new(add)),
                );
                write_columns(&mut row_group, number, rows);
                row_group.close().unwrap();
            }
            assert_eq!(footer.row_groups(), row_groups);
            pairs().into_iter().for_each(|pair| theirs.append_key_value_metadata(pair));
            footer.finish(pairs(), &mut ours).unwrap();
            assert!(theirs.into_inner().unwrap() == ours.into_inner().unwrap(), "{row_groups} row groups");
        }
    }

    #[test]
    fn a_file_whose_last_row_group_did_not_end_is_not_finished() {
        let root = Arc::new(parse_message_type("message file { REQUIRED INT64 k; }").unwrap());
        let descriptor = Arc::new(SchemaDescriptor::new(root));
        let mut footer = FooterBuilder::new(descriptor, Arc::new(WriterProperties::default()));
        assert_eq!(footer.begin().unwrap(), 0);
        let mut file = TrackedWrite::new(Vec::new());
        assert!(footer.finish(vec![], &mut file).is_err());
        assert!(file.into_inner().unwrap().is_empty());
    }

    #[test]
    fn bytes_of_another_layout_are_refused() {
        let mut footer = FooterBuilder::new(
            Arc::new(SchemaDescriptor::new(Arc::new(
                parse_message_type("message file { REQUIRED INT64 k; }").unwrap(),
            ))),
            Arc::new(WriterProperties::default()),
        );
        // No row group, two of them, a chunk without an offset index, an unknown field in one.
        for bytes in [
            &[0x19, 0x0c, 0x00][..],
            &[0x49, 0x0c, 0x00],
            &[0x49, 0x2c, 0x00, 0x00, 0x00],
            &[0x49, 0x1c, 0x19, 0x1c, 0x26, 0x00, 0x00, 0x00, 0x00],
            &[0x49, 0x1c, 0x19, 0x1c, 0x95, 0x00, 0x00, 0x00, 0x00],
        ] {
            assert!(footer.add_encoded(bytes).is_none(), "{bytes:02x?}");
        }
        assert!(footer_of(b"1234567").is_none() && footer_of(b"\x05\0\0\0PAR1").is_none());
    }
}
