//! Finds where to cut a range that somebody else is reading, with nothing known about it but its keys.

use super::page_reader::{HeldPage, page};
use super::queue::{Candidate, SplitQueue};
use super::range_task::RunContext;
use crate::model::{KeyRange, PrimaryKey, Row};
use crate::plainbuffer::RowReader;
use crate::tablestore::{Direction, RangeRequest};
use crate::{Error, Kind, Result};

/// Places that are tried. Each one is halfway between the position and the highest key below the place before.
const TRIES: usize = 8;

/// The back part of a range that was cut, and its first page, which proved it worth the cut.
pub(super) struct Stolen {
    pub range: KeyRange,
    pub first: HeldPage,
}

/// Cuts a candidate for `thief`: halfway, by value, between its holder's position and the highest key there is, when more
/// than a page of rows comes behind; otherwise halfway to there. Costs two requests per try, one of which reads a page that
/// is not read again when the cut is made.
///
/// `None` when nothing was cut: little is left, its rows are too close together, or its holder was faster.
pub(super) async fn cut(
    context: &RunContext,
    queue: &SplitQueue,
    thief: usize,
    candidate: Candidate,
) -> Result<Option<Stolen>> {
    let KeyRange { start, end } = candidate.left.clone();
    let mut last_key = candidate.last_key.clone();
    let mut top = end.clone();
    for attempt in 0..TRIES {
        let last = match last_key.take() {
            Some(last) => last,
            None => {
                let below = KeyRange { start: start.clone(), end: top.clone() };
                let Some(last) = highest_key(context, queue, below).await? else { break };
                if attempt == 0 && !queue.learn_last_key(&candidate, &last) {
                    return Ok(None);
                }
                last
            }
        };
        let Some(middle) = (KeyRange { start: start.clone(), end: last }).middle() else { break };
        let behind = KeyRange { start: middle.clone(), end: end.clone() };
        let first = page(&context.scan, &context.scan.request(behind)).await?;
        queue.probed(first.0.read_capacity_units);
        if first.0.next_start.is_none() {
            top = middle;
            continue;
        }
        let range = queue.cut(&candidate, &middle, thief);
        tracing::debug!(cut = range.is_some(), "a range with much left");
        return Ok(range.map(|range| Stolen { range, first }));
    }
    queue.refuse(&candidate);
    Ok(None)
}

/// The highest key in `range`, or at its end; `None` when there is no row.
async fn highest_key(
    context: &RunContext,
    queue: &SplitQueue,
    range: KeyRange,
) -> Result<Option<PrimaryKey>> {
    let backward = KeyRange { start: range.end, end: range.start };
    let request =
        RangeRequest { direction: Direction::Backward, limit: Some(1), ..context.scan.request(backward) };
    let (page, permit) = page(&context.scan, &request).await?;
    queue.probed(page.read_capacity_units);
    let key = context.cpu.run(move || first_key(&page.rows)).await?;
    drop(permit);
    key
}

fn first_key(rows: &[u8]) -> Result<Option<PrimaryKey>> {
    let corrupt = |error| Error::new(Kind::Corrupt, "decode a row").source(error);
    let mut reader = RowReader::new(rows).map_err(corrupt)?;
    let mut row = Row::default();
    let found = reader.next_row(&mut row).map_err(corrupt)?;
    Ok(found.then(|| PrimaryKey::from_row(&row.key)).flatten())
}
