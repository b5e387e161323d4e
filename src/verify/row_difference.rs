//! Two streams of rows in key order, merged: which rows differ, and in which columns.

use super::report::{RowChange, RowDifference};
use super::row_blocks::{Cells, HashedRow, RowBlock, RowStream};
use super::side::Side;
use crate::Result;
use crate::model::KeyRange;

/// A place in a stream.
struct Cursor<'a> {
    stream: RowStream<'a>,
    block: Option<RowBlock>,
    at: usize,
    rows: u64,
}

impl Cursor<'_> {
    /// Makes the next row the current one, if there is one.
    async fn fill(&mut self) -> Result<()> {
        while self.current().is_none() {
            match self.stream.next().await? {
                Some(block) => {
                    self.block = Some(block);
                    self.at = 0;
                }
                None => {
                    self.block = None;
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn current(&self) -> Option<&HashedRow> {
        self.block.as_ref()?.rows.get(self.at)
    }

    fn cells(&self) -> Result<Cells> {
        match (&self.block, self.current()) {
            (Some(block), Some(row)) => block.cells(row),
            _ => Ok(Cells::new()),
        }
    }

    fn pass(&mut self) {
        self.at += 1;
        self.rows += 1;
    }
}

/// What a merge of one key range found.
pub(super) struct Merged {
    pub left_rows: u64,
    pub right_rows: u64,
    /// At most as many as were wanted.
    pub differences: Vec<RowDifference>,
    /// The merge stopped at the last difference that was wanted.
    pub stopped: bool,
}

/// Names up to `most` rows of `range` that differ.
pub(super) async fn merge(left: &Side, right: &Side, range: &KeyRange, most: usize) -> Result<Merged> {
    let cursor = |side| Cursor { stream: RowStream::new(side, range), block: None, at: 0, rows: 0 };
    let (mut left, mut right) = (cursor(left), cursor(right));
    let mut differences = Vec::new();
    let stopped = loop {
        // Each side waits for its own service.
        let (from_left, from_right) = tokio::join!(left.fill(), right.fill());
        from_left?;
        from_right?;
        let order = match (left.current(), right.current()) {
            (None, None) => break false,
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some(a), Some(b)) if a.key == b.key && a.hash == b.hash => {
                left.pass();
                right.pass();
                continue;
            }
            (Some(a), Some(b)) => a.key.cmp(&b.key),
        };
        if differences.len() == most {
            break true;
        }
        let (of, change) = match order {
            std::cmp::Ordering::Less => (&left, RowChange::Removed),
            std::cmp::Ordering::Greater => (&right, RowChange::Added),
            std::cmp::Ordering::Equal => {
                let columns = differing_columns(&left.cells()?, &right.cells()?);
                (&left, RowChange::Changed { columns })
            }
        };
        if let Some(row) = of.current() {
            differences.push(RowDifference { key: row.key.clone(), change });
        }
        if order.is_le() {
            left.pass();
        }
        if order.is_ge() {
            right.pass();
        }
    };
    Ok(Merged { left_rows: left.rows, right_rows: right.rows, differences, stopped })
}

/// Names of the columns that are not the same, ascending.
fn differing_columns(left: &Cells, right: &Cells) -> Vec<String> {
    let mut names: Vec<_> =
        left.keys().chain(right.keys()).filter(|name| left.get(*name) != right.get(*name)).collect();
    names.sort();
    names.dedup();
    names.into_iter().cloned().collect()
}
