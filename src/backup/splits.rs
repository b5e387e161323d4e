//! How the key space is divided: split points of about equal size, more of them than workers.

use crate::model::KeyRange;
use crate::tablestore::TableStore;
use crate::{Kind, Result};

/// ComputeSplitPointsBySize counts in this unit unless told otherwise.
const DEFAULT_UNIT: u64 = 100 << 20;

/// Smallest unit that the service takes.
pub(super) const SMALLEST_UNIT: u64 = 1 << 20;

/// Splits per worker that are wanted: with eight the idle tail of a scan is 6 to 12 %.
const SPLITS_PER_WORKER: u64 = 8;

/// Splits of the scan, and what finding them cost.
#[derive(Debug)]
pub(super) struct Splits {
    /// Tile the range that was asked for, in key order.
    pub ranges: Vec<KeyRange>,
    /// About how many bytes the range has, by the service's own estimate; 0 when it is below one unit or not known.
    pub estimated_bytes: u64,
    /// Whether the service has said anything.
    pub known: bool,
    /// Read capacity units of the requests.
    pub capacity_units: u64,
}

/// Asks for split points of 100 MiB, and once more for smaller ones when that gives too few for `workers`. Where the service
/// refuses to compute them the whole range is one split, which the workers then cut themselves.
pub(super) async fn plan_splits(
    client: &TableStore,
    table: &str,
    range: &KeyRange,
    workers: usize,
) -> Result<Splits> {
    let wanted = workers as u64 * SPLITS_PER_WORKER;
    let mut unit = DEFAULT_UNIT;
    let first = client.compute_split_points_by_size(table, 1, i64::try_from(unit).ok(), None).await;
    let mut answer = match first {
        Ok(answer) => answer,
        Err(error) if matches!(error.kind(), Kind::Permission | Kind::Unsupported) => {
            tracing::warn!(table, %error, "no split points: the scan takes longer to get going");
            return Ok(Splits {
                ranges: vec![range.clone()],
                estimated_bytes: 0,
                known: false,
                capacity_units: 0,
            });
        }
        Err(error) => return Err(error),
    };
    let mut capacity_units = answer.read_capacity_units;
    let count = answer.points.len() as u64 + 1;
    if count < wanted {
        unit = (count * unit / wanted).max(SMALLEST_UNIT);
        answer = client.compute_split_points_by_size(table, 1, i64::try_from(unit).ok(), None).await?;
        capacity_units += answer.read_capacity_units;
    }
    let ranges = range.split_at(answer.points);
    let estimated_bytes = (ranges.len() as u64 - 1) * unit;
    Ok(Splits { ranges, estimated_bytes, known: true, capacity_units })
}
