//! ComputeSplitPointsBySize: where to cut a table into ranges of about the same size.

use super::TableStore;
use super::call::{Operation, Origin, Target};
use super::definition::key_columns;
use super::failure::BoxError;
use crate::model::{PrimaryKey, PrimaryKeyColumn};
use crate::plainbuffer::decode_named_key;
use crate::{Result, proto};

const OPERATION: Operation = Operation {
    name: "ComputeSplitPointsBySize",
    doing: "compute split points of",
    idempotent: true,
    data: false,
    required: &[1],
};

/// Cuts of a table, and where the ranges between them are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitPoints {
    /// The primary key as the service gives it here.
    pub primary_key: Vec<PrimaryKeyColumn>,
    /// Strictly ascending, padded with `InfMin` to the whole key. Empty for a small table.
    pub points: Vec<PrimaryKey>,
    /// One per range, so one more than points: an opaque hint, perhaps empty. Ranges of one location share a
    /// machine; spread concurrent scans over locations.
    pub locations: Vec<String>,
    /// Read capacity units consumed; at least 1 (service rule).
    pub read_capacity_units: u64,
}

impl TableStore {
    /// Asks for cuts about `split_size * unit_bytes` bytes apart, at most `limit` of them.
    ///
    /// `unit_bytes` is at least 1 MiB (service limit; its default is 100 MiB). Sizes are the service's estimates:
    /// expect skew. Costs at least one read capacity unit.
    pub async fn compute_split_points_by_size(
        &self,
        table: &str,
        split_size: i64,
        unit_bytes: Option<i64>,
        limit: Option<i32>,
    ) -> Result<SplitPoints> {
        let request = proto::ComputeSplitPointsBySizeRequest {
            table_name: table.to_owned(),
            split_size,
            split_size_unit_in_byte: unit_bytes,
            split_point_limit: limit,
        };
        self.call(&OPERATION, Target::Table(table), &request, |answer, origin| read(&answer, origin)).await
    }
}

fn read(
    answer: &proto::ComputeSplitPointsBySizeResponse,
    origin: &Origin<'_>,
) -> Result<SplitPoints, BoxError> {
    let primary_key = key_columns(&answer.schema)?;
    let mut points: Vec<PrimaryKey> = Vec::with_capacity(answer.split_points.len());
    for bytes in &answer.split_points {
        let (names, point) = decode_named_key(bytes)?;
        let fits = names.len() <= primary_key.len()
            && names.iter().zip(&primary_key).all(|(name, column)| *name == column.name)
            && point.parts().iter().zip(&primary_key).all(|(part, column)| part.fits(column.column_type));
        if !fits {
            return Err("a split point does not fit the primary key".into());
        }
        let point = point.padded(primary_key.len());
        let is_above = match points.last() {
            Some(last) => point > *last,
            None => point > PrimaryKey::inf_min(primary_key.len()),
        };
        if !is_above || point >= PrimaryKey::inf_max(primary_key.len()) {
            return Err("split points are not ascending".into());
        }
        points.push(point);
    }
    let locations = locations(&answer.locations, points.len() + 1)?;
    let read_capacity_units = origin.read_units(&answer.consumed);
    Ok(SplitPoints { primary_key, points, locations, read_capacity_units })
}

/// Undoes the run-length coding. The repeats come from the network: they are checked before anything is filled.
fn locations(
    runs: &[proto::compute_split_points_by_size_response::SplitLocation],
    range_count: usize,
) -> Result<Vec<String>, BoxError> {
    if runs.is_empty() {
        return Ok(vec![String::new(); range_count]);
    }
    let mut locations = Vec::with_capacity(range_count);
    for run in runs {
        let left = range_count - locations.len();
        match usize::try_from(run.repeat) {
            Ok(repeat) if repeat <= left => {
                locations.extend(std::iter::repeat_n(run.location.clone(), repeat));
            }
            _ => return Err("there are more locations than ranges".into()),
        }
    }
    match locations.len() == range_count {
        true => Ok(locations),
        false => Err("there are fewer locations than ranges".into()),
    }
}
