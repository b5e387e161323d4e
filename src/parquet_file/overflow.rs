//! `_overflow` in the open row group. It is nested, so `parquet`'s own writers make its columns; where no row has any, as in
//! most tables, there is nothing for them to do.

use std::io::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, new_null_array};
use arrow::datatypes::{FieldRef, Schema};
use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::arrow_writer::{ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::errors::Result;
use parquet::file::properties::WriterPropertiesPtr;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::ColumnDescPtr;

use super::column::{PageCompressor, append_null_column};
use super::profile::EncodingProfile;

/// The leaves of `_overflow`.
pub(super) struct OverflowChunks {
    field: FieldRef,
    factory: ArrowRowGroupWriterFactory,
    /// In the file's own schema.
    leaves: Vec<ColumnDescPtr>,
    properties: WriterPropertiesPtr,
    profile: EncodingProfile,
    rows: usize,
    /// Made for the first row that has something.
    writers: Option<Vec<ArrowColumnWriter>>,
    /// Cells in the open row group.
    cells: usize,
}

impl OverflowChunks {
    pub(super) fn new(
        field: FieldRef,
        leaves: Vec<ColumnDescPtr>,
        properties: WriterPropertiesPtr,
        profile: EncodingProfile,
    ) -> Result<OverflowChunks> {
        let schema = Arc::new(Schema::new(vec![field.clone()]));
        let descriptor = ArrowSchemaConverter::new().convert(&schema)?;
        // Writes nothing: the factory takes its schema and properties from it.
        let file =
            SerializedFileWriter::new(std::io::sink(), descriptor.root_schema_ptr(), properties.clone())?;
        let factory = ArrowRowGroupWriterFactory::new(&file, schema);
        Ok(OverflowChunks { field, factory, leaves, properties, profile, rows: 0, writers: None, cells: 0 })
    }

    /// Cells in the open row group.
    pub(super) fn cells(&self) -> usize {
        self.cells
    }

    /// Encoded bytes so far, about.
    pub(super) fn size(&self) -> usize {
        self.writers.iter().flatten().map(ArrowColumnWriter::get_estimated_total_bytes).sum()
    }

    pub(super) fn write(&mut self, array: &ArrayRef) -> Result<()> {
        if array.null_count() < array.len() {
            let new = self.writers.is_none();
            let writers = match &mut self.writers {
                Some(writers) => writers,
                none => none.insert(self.factory.create_column_writers(0)?),
            };
            if new && self.rows > 0 {
                write_leaves(writers, &self.field, &new_null_array(self.field.data_type(), self.rows))?;
            }
            self.cells += cells(array);
        }
        if let Some(writers) = &mut self.writers {
            write_leaves(writers, &self.field, array)?;
        }
        self.rows += array.len();
        Ok(())
    }

    /// Ends the chunks and appends them to a row group; then they are empty again.
    pub(super) fn append_to(
        &mut self,
        row_group: &mut SerializedRowGroupWriter<'_, impl Write + Send>,
        compressor: &mut PageCompressor,
    ) -> Result<()> {
        let rows = std::mem::take(&mut self.rows);
        self.cells = 0;
        match self.writers.take() {
            Some(writers) => {
                writers.into_iter().try_for_each(|writer| writer.close()?.append_to_row_group(row_group))
            }
            None => self.leaves.iter().try_for_each(|leaf| {
                let pages = (self.properties.compression(leaf.path()), self.profile);
                let page_rows = self.properties.data_page_row_count_limit();
                append_null_column(row_group, leaf.clone(), rows, page_rows, pages, compressor)
            }),
        }
    }
}

fn write_leaves(writers: &mut [ArrowColumnWriter], field: &FieldRef, array: &ArrayRef) -> Result<()> {
    let leaves = compute_leaves(field, array)?;
    writers.iter_mut().zip(&leaves).try_for_each(|(writer, leaf)| writer.write(leaf))
}

/// Cells in the maps of a batch.
fn cells(array: &ArrayRef) -> usize {
    let lists = array.as_map_opt().and_then(|map| map.values().as_list_opt::<i32>());
    lists.map_or(0, |lists| lists.values().len())
}
