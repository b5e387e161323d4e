//! The CPU side of one open file: PlainBuffer page in, finished Parquet bytes out. Runs on the CPU pool only.

use std::sync::Arc;

use bytes::Bytes;

use crate::columnar::{BatchBuilder, ColumnPlan, Totals};
use crate::model::{KeyRange, PrimaryKey, Row};
use crate::parquet_file::{EncodedFile, FileEncoder, WriterSettings};
use crate::plainbuffer::RowReader;
use crate::{Error, Kind, Result};

/// Decodes pages into batches and batches into row groups.
///
/// Refuses a page whose rows are not strictly ascending or not inside the keys it was asked for: such a page would
/// make the file's key interval a lie. And one with a cell that has no timestamp: it could not be restored.
pub(super) struct PageEncoder {
    rows: BatchBuilder,
    file: FileEncoder,
    totals: Totals,
    batch_bytes: usize,
}

impl PageEncoder {
    /// A new file. A batch goes to the Parquet encoder when it has as many bytes as suit the plan, `batch_bytes` at most.
    pub(super) fn new(
        plan: Arc<ColumnPlan>,
        settings: &WriterSettings,
        batch_bytes: usize,
    ) -> Result<PageEncoder> {
        Ok(PageEncoder {
            batch_bytes: batch_bytes.min(plan.batch_bytes()),
            rows: BatchBuilder::new(plan.clone()),
            file: FileEncoder::new(&plan, settings, Vec::new())?,
            totals: Totals::default(),
        })
    }

    /// Adds the rows of one page, which covers `range`. Returns how many there were.
    pub(super) fn page(&mut self, body: &[u8], range: &KeyRange) -> Result<u64> {
        let mut reader = RowReader::new(body).map_err(|error| bad_page(error.into(), range))?;
        // Two rows take turns, so that each can be compared with the one before it without a copy.
        let (mut row, mut previous) = (Row::default(), Row::default());
        let expected = self.rows.expected();
        let mut count = 0;
        let mut first_key = None;
        while reader
            .next_row_expecting(&expected, &mut row, self.rows.placed_cells())
            .map_err(|error| bad_page(error.into(), range))?
        {
            if count == 0 {
                first_key = PrimaryKey::from_row(&row.key);
            } else if !row.is_after(&previous) {
                return Err(bad_page("its rows are not in ascending key order".into(), range));
            }
            // A row as it should be has none left.
            if row.cells.iter().any(|cell| cell.timestamp.is_none()) {
                return Err(no_timestamps(range));
            }
            self.rows.append_read(&row)?;
            count += 1;
            if self.rows.bytes() >= self.batch_bytes {
                self.flush()?;
            }
            std::mem::swap(&mut row, &mut previous);
        }
        let last_key = PrimaryKey::from_row(&previous.key);
        let inside = |key: Option<PrimaryKey>| key.is_some_and(|key| range.contains(&key));
        if count > 0 && !(inside(first_key) && inside(last_key)) {
            return Err(bad_page("it has rows outside the keys that were asked for".into(), range));
        }
        Ok(count)
    }

    /// Finished Parquet bytes since the last call, in order.
    pub(super) fn take_bytes(&mut self) -> Vec<Bytes> {
        self.file.take_bytes()
    }

    /// Rows so far.
    pub(super) fn row_count(&self) -> u64 {
        self.totals.rows + self.rows.rows() as u64
    }

    /// Bytes the file will have at least, were it closed now.
    pub(super) fn file_bytes(&self) -> u64 {
        self.file.file_bytes()
    }

    /// Row groups of the file so far, the open one included.
    pub(super) fn row_groups(&self) -> usize {
        self.file.row_groups()
    }

    /// Writes the last batch and returns the totals, which go into the file's own metadata before it is closed.
    pub(super) fn seal(&mut self) -> Result<Totals> {
        self.flush()?;
        Ok(self.totals)
    }

    /// Closes the file.
    pub(super) fn finish(self, metadata: Vec<(String, String)>) -> Result<EncodedFile> {
        self.file.finish(metadata)
    }

    fn flush(&mut self) -> Result<()> {
        let batch = self.rows.finish()?;
        self.totals += batch.totals;
        if batch.totals.rows > 0 {
            self.file.write(&batch.record_batch)?;
        }
        Ok(())
    }
}

/// BulkExport may leave them out, and a copy without them is not the table.
#[cold]
fn no_timestamps(range: &KeyRange) -> Error {
    Error::new(Kind::Unsupported, "use a page")
        .on(format!("that starts at {}", range.start))
        .because("the service sent cells without timestamps")
        .hint("use `--read-api get-range`")
}

#[cold]
fn bad_page(source: Box<dyn std::error::Error + Send + Sync>, range: &KeyRange) -> Error {
    Error::new(Kind::Corrupt, "use a page").on(format!("that starts at {}", range.start)).source(source)
}
