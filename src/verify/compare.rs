//! Two sides compared: by the row-sums of key ranges first, row by row where these differ.

use futures::StreamExt;

use super::report::{Comparison, RowChange};
use super::row_difference::merge;
use super::side::{Side, check_comparable};
use super::{VerifyOptions, VerifyProgress};
use crate::model::KeyRange;
use crate::{Error, Kind, Result};

/// Key ranges of which a table is read at the same time.
const RANGES_IN_FLIGHT: usize = 16;

/// Compares what both sides have of the keys that both cover.
///
/// A range whose row-sums are equal holds the same rows, cells, versions and timestamps. Ranges are cut where the files
/// of a run meet; of two runs, where the files of both do. A range that differs is read again, row by row, until
/// [`VerifyOptions::max_differences`] rows are named.
///
/// # Errors
/// [`Kind::Usage`] for sides that cannot be compared: other keys, other columns, no common key range.
pub async fn compare(
    left: &Side,
    right: &Side,
    options: &VerifyOptions,
    progress: &VerifyProgress,
) -> Result<Comparison> {
    check_comparable(left, right)?;
    let range = common_range(left, right)?;
    let ranges = cut(left, right, &range);
    let mut comparison = Comparison { ranges: ranges.len() as u64, ..Comparison::default() };
    progress.plan(comparison.ranges);
    let on_page = |bytes, rows| progress.read(bytes, rows);
    let mut differing = Vec::new();
    // Without sums on one side those of the other say nothing.
    let (summed, others) = match left.has_sums() && right.has_sums() {
        true => (ranges, Vec::new()),
        false => (Vec::new(), ranges),
    };
    let mut sums = futures::stream::iter(summed)
        .map(|range| async {
            let (from_left, from_right) =
                tokio::join!(left.sum(&range, &on_page), right.sum(&range, &on_page));
            progress.looked();
            Ok::<_, Error>((range, from_left?, from_right?))
        })
        .buffered(RANGES_IN_FLIGHT);
    while let Some(found) = sums.next().await {
        match found? {
            (_, Some(from_left), Some(from_right)) if from_left == from_right => {
                comparison.left_rows += from_left.0;
                comparison.right_rows += from_right.0;
            }
            (range, from_left, from_right) => differing.push((range, from_left, from_right)),
        }
    }
    drop(sums);
    differing.extend(others.into_iter().map(|range| (range, None, None)));
    comparison.differing_ranges = differing.len() as u64;
    for (range, from_left, from_right) in differing {
        let most = options.max_differences.saturating_sub(comparison.rows.len());
        if most == 0 {
            comparison.skipped_ranges += 1;
            comparison.has_more = true;
            comparison.left_rows += from_left.map_or(0, |sum| sum.0);
            comparison.right_rows += from_right.map_or(0, |sum| sum.0);
            continue;
        }
        let merged = merge(left, right, &range, most).await?;
        comparison.has_more |= merged.stopped;
        // A sum that is not known is no difference; two that are known and differ are one, whatever the rows say.
        let sums_differ = from_left.is_some() && from_right.is_some();
        if sums_differ && merged.differences.is_empty() && !merged.stopped {
            comparison.unexplained_ranges += 1;
        }
        comparison.left_rows +=
            if merged.stopped { from_left.map_or(0, |sum| sum.0) } else { merged.left_rows };
        comparison.right_rows +=
            if merged.stopped { from_right.map_or(0, |sum| sum.0) } else { merged.right_rows };
        if from_left.is_none() || from_right.is_none() {
            progress.looked();
            progress.read(0, merged.right_rows);
        }
        for difference in merged.differences {
            match difference.change {
                RowChange::Added => comparison.added += 1,
                RowChange::Removed => comparison.removed += 1,
                RowChange::Changed { .. } => comparison.changed += 1,
            }
            comparison.rows.push(difference);
        }
    }
    Ok(comparison)
}

fn common_range(left: &Side, right: &Side) -> Result<KeyRange> {
    let (a, b) = (left.key_range(), right.key_range());
    let common = KeyRange { start: a.start.max(b.start), end: a.end.min(b.end) };
    match common.is_empty() {
        false => Ok(common),
        true => {
            Err(Error::new(Kind::Usage, "compare the two").because("their key ranges have nothing in common"))
        }
    }
}

/// Cuts `range` where the files of every run among the two meet.
fn cut(left: &Side, right: &Side, range: &KeyRange) -> Vec<KeyRange> {
    match (left.boundaries(), right.boundaries()) {
        (Some(mut a), Some(b)) => {
            // Both ascend.
            let mut other = b.into_iter().peekable();
            a.retain(|key| {
                while other.next_if(|theirs| theirs < key).is_some() {}
                other.peek() == Some(key)
            });
            range.split_at(a)
        }
        (Some(points), None) | (None, Some(points)) => range.split_at(points),
        (None, None) => vec![range.clone()],
    }
}
