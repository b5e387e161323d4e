//! ComputeSplitPointsBySize: keys between ranges of about equal data size.

use std::ops::ControlFlow;

use super::description;
use super::range::read_consumed;
use super::service_error::{Answer, ServiceError};
use super::table::{Content, Table, data_size};
use crate::model::{KeyRange, PrimaryKey};
use crate::{plainbuffer, proto};

/// Default unit of `split_size`, in bytes.
const SPLIT_UNIT: i64 = 100 << 20;

/// Smallest unit, in bytes (asserted by the Java SDK's tests).
const MIN_SPLIT_UNIT: i64 = 1 << 20;

/// Answers a ComputeSplitPointsBySize request at `now` (ms).
///
/// # Errors
/// `OTSParameterInvalid`.
pub fn split_points(
    table: &Table,
    request: &proto::ComputeSplitPointsBySizeRequest,
    now: i64,
) -> Answer<proto::ComputeSplitPointsBySizeResponse> {
    if request.split_size <= 0 {
        return Err(ServiceError::parameter("The split_size should be greater than 0."));
    }
    let unit = request.split_size_unit_in_byte.unwrap_or(SPLIT_UNIT);
    if unit < MIN_SPLIT_UNIT {
        return Err(ServiceError::parameter(format!(
            "The split_size_unit_in_byte should be greater equal than: {MIN_SPLIT_UNIT}"
        )));
    }
    let limit = match request.split_point_limit {
        None => usize::MAX,
        Some(limit) if limit > 0 => limit as usize,
        Some(_) => {
            return Err(ServiceError::parameter("The value of SplitPointLimit must be greater than 0."));
        }
    };
    let size = request.split_size.saturating_mul(unit);
    let mut points = match &table.content {
        Content::Generated(generated) => {
            let row_size = average_row_size(table, generated.rows, now);
            let step = (size as u64 / row_size.max(1)).max(1);
            let step = step.max(generated.rows.div_ceil((limit as u64).saturating_add(1)));
            let first_rows =
                (1..).map(|split| step.saturating_mul(split)).take_while(|row| *row < generated.rows);
            first_rows.map(|row| shortest_between(&generated.key(row - 1), generated.key(row))).collect()
        }
        Content::Stored(_) => stored_points(table, usize::try_from(size).unwrap_or(usize::MAX), now),
    };
    points.truncate(limit);
    let names = table.key_names();
    let encoded = points.iter().map(|point| plainbuffer::encode_key(&names, point).into()).collect();
    Ok(proto::ComputeSplitPointsBySizeResponse {
        consumed: read_consumed(0),
        schema: description::describe_key(&table.definition.primary_key),
        split_points: encoded,
        locations: locations(points.len() + 1),
    })
}

/// Bytes per row, from up to 64 rows spread over a generated table.
fn average_row_size(table: &Table, rows: u64, now: i64) -> u64 {
    let Content::Generated(generated) = &table.content else { return 1 };
    let samples = rows.min(64);
    let mut size = 0;
    for sample in 0..samples {
        let key = generated.key(sample * (rows / samples));
        table.point(&key, now, |row| size += data_size(row, table.counts_timestamps()) as u64);
    }
    size.checked_div(samples).unwrap_or(1)
}

fn stored_points(table: &Table, split_size: usize, now: i64) -> Vec<PrimaryKey> {
    let all = KeyRange::all(table.definition.primary_key.len());
    let (mut points, mut size) = (Vec::new(), 0);
    let mut previous: Option<PrimaryKey> = None;
    table.scan(&all, now, |row| {
        let key = PrimaryKey::from_row(&row.key);
        if size >= split_size
            && let (Some(previous), Some(key)) = (&previous, key.clone())
        {
            points.push(shortest_between(previous, key));
            size = 0;
        }
        size += data_size(row, table.counts_timestamps());
        previous = key;
        ControlFlow::Continue(())
    });
    points
}

/// The shortest prefix of `key` that, padded with INF_MIN, lies after `previous`.
fn shortest_between(previous: &PrimaryKey, mut key: PrimaryKey) -> PrimaryKey {
    let same = previous.parts().iter().zip(key.parts()).take_while(|(a, b)| a == b).count();
    key.0.truncate(same + 1);
    key
}

/// Machines that hold `ranges` ranges: neighbours share one, in runs of at most 8.
fn locations(ranges: usize) -> Vec<proto::compute_split_points_by_size_response::SplitLocation> {
    let run = |number: usize| proto::compute_split_points_by_size_response::SplitLocation {
        location: format!("{:032x}", 0xC0FF_EE00_0000_0000_0000_0000_0000_0000 + number as u128),
        repeat: (ranges - number * 8).min(8) as i64,
    };
    (0..ranges.div_ceil(8)).map(run).collect()
}
