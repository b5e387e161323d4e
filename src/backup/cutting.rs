//! Finds where to cut a range that somebody else is reading, with nothing known about it but its keys.

use super::cut_search::{CutSearch, Question};
use super::page_reader::{HeldPage, page};
use super::queue::{Candidate, SplitQueue};
use super::range_task::RunContext;
use crate::model::{KeyRange, PrimaryKey, Row};
use crate::plainbuffer::RowReader;
use crate::tablestore::{Direction, RangeRequest};
use crate::{Error, Kind, Result};

/// The back part of a range that was cut, and its first page, which proved it worth the cut.
pub(super) struct Stolen {
    pub range: KeyRange,
    pub first: HeldPage,
}

/// Cuts a candidate for `thief` where a [`CutSearch`] says. Costs a request for the highest key, where it is not
/// known, and a page per try, the last of which is not read again when the cut is made.
///
/// `None` when nothing was cut: little is left, its rows are too close together, or its holder was faster.
pub(super) async fn cut(
    context: &RunContext,
    queue: &SplitQueue,
    thief: usize,
    candidate: Candidate,
) -> Result<Option<Stolen>> {
    let mut search = CutSearch::new(candidate.left.clone(), candidate.top.clone());
    loop {
        match search.question() {
            Question::LastKey(range) => {
                let Some(last) = highest_key(context, queue, range).await? else { break };
                if queue.learn_top(&candidate, &last).is_none() {
                    return Ok(None);
                }
                search.last_key_is(last);
            }
            Question::PageFrom(place) => {
                let behind = KeyRange { start: place.clone(), end: candidate.left.end.clone() };
                let first = page(&context.scan, &context.scan.request(behind)).await?;
                queue.probed(first.0.read_capacity_units);
                if first.0.next_start.is_some() {
                    let range = queue.cut(&candidate, &place, thief);
                    tracing::debug!(cut = range.is_some(), "a range with much left");
                    return Ok(range.map(|range| Stolen { range, first }));
                }
                match queue.learn_top(&candidate, &place) {
                    Some(pages_left) => search.too_far(place, pages_left),
                    None => return Ok(None),
                }
            }
            Question::GiveUp => break,
        }
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
