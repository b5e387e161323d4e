//! Which rows of a column hold a value, recorded only where rows without one come in.

use arrow::array::NullBufferBuilder;
use arrow::buffer::NullBuffer;

/// A null bitmap that does no work for dense columns: it is told about gaps, not about values.
#[derive(Debug)]
pub struct Validity {
    bitmap: NullBufferBuilder,
}

impl Default for Validity {
    fn default() -> Validity {
        Validity { bitmap: NullBufferBuilder::new(0) }
    }
}

impl Validity {
    /// Rows from the last gap up to `start` hold values; rows in `start..end` do not.
    #[cold]
    pub fn gap(&mut self, start: usize, end: usize) {
        self.bitmap.append_n_non_nulls(start - self.bitmap.len());
        self.bitmap.append_n_nulls(end - start);
    }

    /// The bitmap of the `rows` rows so far, `None` if all hold a value; starts over.
    pub fn finish(&mut self, rows: usize) -> Option<NullBuffer> {
        self.bitmap.append_n_non_nulls(rows - self.bitmap.len());
        self.bitmap.finish()
    }
}
