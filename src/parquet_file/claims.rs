//! How much memory decoding a row group takes at most, going by its page headers.

/// A data page, as far as memory goes.
#[derive(Debug, Clone, Copy)]
pub struct PageClaim {
    /// First row, counted in the row group, that it may hold a value of.
    pub first_row: usize,
    /// Rows that it may hold values of.
    pub rows: usize,
    /// Values, nulls included.
    pub values: u64,
    /// Decoded bytes of a value without those of a string.
    pub slot_bytes: u64,
    /// Bytes of the page when it is decompressed.
    pub page_bytes: u64,
    /// Bytes of the longest value where values repeat what is stored once; `None` where all decoded bytes are in the page.
    pub value_bytes: Option<u64>,
    /// A row has one value.
    pub is_flat: bool,
}

/// Bytes that a growing buffer may take for each byte in it.
const GROWTH: u64 = 2;

/// One column of a row group: decoding `n` rows takes `n * row_bytes`, and the bytes of every page that they touch.
#[derive(Debug, Default)]
struct Column {
    row_bytes: u64,
    pages: Vec<Touched>,
    largest_page: u64,
}

/// Rows `[first, end)` of a page, and what touching any of them takes.
#[derive(Debug, Clone, Copy)]
struct Touched {
    first: usize,
    end: usize,
    bytes: u64,
}

impl Column {
    /// Bytes of the pages that any `rows` consecutive rows touch, at most.
    fn touched_bytes(&self, rows: usize) -> u64 {
        let (mut most, mut sum, mut next) = (0u64, 0u64, 0);
        for page in &self.pages {
            // The window that begins with the last row of this page.
            while let Some(later) = self.pages.get(next).filter(|later| later.first < page.end - 1 + rows) {
                sum = sum.saturating_add(later.bytes);
                next += 1;
            }
            most = most.max(sum);
            sum = sum.saturating_sub(page.bytes);
        }
        most
    }
}

/// The pages of a row group.
#[derive(Debug, Default)]
pub struct Claims {
    columns: Vec<Column>,
    open: Column,
    /// Bytes that are held from the first row to the last: of each column its dictionary and its largest page.
    held_bytes: u64,
}

impl Claims {
    /// Adds a page of the open column; pages come in the order of the file.
    pub(super) fn page(&mut self, page: PageClaim) {
        let column = &mut self.open;
        let strings = page.value_bytes.unwrap_or(0);
        let in_page = if page.value_bytes.is_some() { 0 } else { page.page_bytes };
        let bytes = if page.is_flat {
            column.row_bytes = column.row_bytes.max(page.slot_bytes.saturating_add(strings));
            in_page
        } else {
            page.values.saturating_mul(page.slot_bytes.saturating_add(strings)).saturating_add(in_page)
        };
        column.pages.push(Touched { first: page.first_row, end: page.first_row + page.rows.max(1), bytes });
        column.largest_page = column.largest_page.max(page.page_bytes);
    }

    /// All pages of the open column have been added.
    pub(super) fn end_column(&mut self, dictionary_bytes: u64) {
        let column = std::mem::take(&mut self.open);
        self.held_bytes =
            self.held_bytes.saturating_add(dictionary_bytes).saturating_add(column.largest_page);
        self.columns.push(column);
    }

    /// Bytes that decoding `rows` rows at a time takes at most.
    fn bytes(&self, rows: usize) -> u64 {
        let of_batch = self.columns.iter().fold(0u64, |sum, column| {
            let rows_bytes = column.row_bytes.saturating_mul(rows as u64);
            sum.saturating_add(rows_bytes).saturating_add(column.touched_bytes(rows))
        });
        self.held_bytes.saturating_add(of_batch.saturating_mul(GROWTH))
    }

    /// The most rows, up to `most`, that can be decoded at a time within `limit` bytes; the bytes that one row takes
    /// where that is too much already.
    pub fn batch_rows(&self, most: usize, limit: u64) -> Result<usize, u64> {
        let mut rows = most.max(1);
        loop {
            let bytes = self.bytes(rows);
            if bytes <= limit {
                return Ok(rows);
            }
            if rows == 1 {
                return Err(bytes);
            }
            rows /= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(first_row: usize, rows: usize, page_bytes: u64) -> PageClaim {
        let values = rows as u64;
        PageClaim { first_row, rows, values, slot_bytes: 10, page_bytes, value_bytes: None, is_flat: true }
    }

    fn claims(pages: &[PageClaim]) -> Claims {
        let mut claims = Claims::default();
        pages.iter().for_each(|each| claims.page(*each));
        claims.end_column(0);
        claims
    }

    #[test]
    fn a_window_counts_every_page_that_it_touches() {
        let claims = claims(&[page(0, 10, 100), page(10, 10, 1_000), page(20, 10, 100)]);
        // One row touches one page; two rows two of them; twelve all three.
        assert_eq!(claims.bytes(1), 1_000 + 2 * (1_000 + 10));
        assert_eq!(claims.bytes(2), 1_000 + 2 * (1_100 + 20));
        assert_eq!(claims.bytes(12), 1_000 + 2 * (1_200 + 120));
    }

    #[test]
    fn a_repeated_long_value_makes_batches_small() {
        let repeated = PageClaim { value_bytes: Some(1 << 20), ..page(0, 65_536, 64) };
        let claims = claims(&[repeated]);
        assert_eq!(claims.batch_rows(8_192, 64 << 20), Ok(16));
        assert!(claims.batch_rows(8_192, 1 << 20).unwrap_err() > 2 << 20);
    }

    #[test]
    fn values_of_nested_columns_may_all_be_in_one_row() {
        let nested = PageClaim { values: 1 << 20, is_flat: false, ..page(0, 1, 64) };
        assert!(claims(&[nested]).bytes(1) > 20 << 20);
    }
}
