//! ComputeSplitPointsBySize: keys between ranges of about equal data size. A range never crosses a partition, so that
//! each has one location, unless a limit on the points makes it.

use std::iter;
use std::ops::{ControlFlow, Range};

use super::description;
use super::generated::GeneratedTable;
use super::range::read_consumed;
use super::service_error::{Answer, ServiceError};
use super::table::{Content, Table, data_size};
use crate::model::{KeyRange, PrimaryKey};
use crate::{plainbuffer, proto};

/// Default unit of `split_size`, in bytes.
const SPLIT_UNIT: i64 = 100 << 20;

/// Smallest unit, in bytes (asserted by the Java SDK's tests).
const MIN_SPLIT_UNIT: i64 = 1 << 20;

/// Machines that partitions are spread over.
const MACHINES: usize = 8;

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
    let size = u64::try_from(request.split_size.saturating_mul(unit)).unwrap_or(u64::MAX);
    let mut partitions = match &table.content {
        Content::Generated(generated) => generated_points(table, generated, size, now),
        Content::Stored(_) => stored_points(table, size, now),
    };
    let total: usize = partitions.iter().map(|points| points.len() + 1).sum();
    if total - 1 > limit {
        partitions = vec![thinned(table, partitions, limit)];
    }
    let mut points = Vec::with_capacity(total);
    for (number, inner) in partitions.iter_mut().enumerate() {
        points.extend((number > 0).then(|| table.partitions.boundaries()[number - 1].clone()));
        points.append(inner);
    }
    let names = table.key_names();
    let encoded = points.iter().map(|point| plainbuffer::encode_key(&names, point).into()).collect();
    Ok(proto::ComputeSplitPointsBySizeResponse {
        consumed: read_consumed(0),
        schema: description::describe_key(&table.definition.primary_key),
        split_points: encoded,
        locations: locations(table, &points),
    })
}

/// Of more points than `limit`, that many, evenly chosen.
fn thinned(table: &Table, partitions: Vec<Vec<PrimaryKey>>, limit: usize) -> Vec<PrimaryKey> {
    let mut boundaries = table.partitions.boundaries().iter().cloned();
    let all: Vec<_> =
        partitions.into_iter().flat_map(|inner| inner.into_iter().chain(boundaries.next())).collect();
    (1..=limit).map(|chosen| all[chosen * all.len() / (limit + 1)].clone()).collect()
}

/// Points inside each partition of a generated table: multiples of a number of rows.
fn generated_points(table: &Table, generated: &GeneratedTable, size: u64, now: i64) -> Vec<Vec<PrimaryKey>> {
    let step = (size / average_row_size(table, generated, now).max(1)).max(1);
    let point = |row| shortest_between(&generated.key(row - 1), generated.key(row));
    let inside = |rows: Range<u64>| {
        (1..)
            .map(move |cut| rows.start.saturating_add(step.saturating_mul(cut)))
            .take_while(move |row| *row < rows.end)
    };
    let partitions = 0..=table.partitions.boundaries().len();
    partitions.map(|number| inside(table.generated_range(generated, number)).map(point).collect()).collect()
}

/// Bytes per row by the data-size rule, from up to 64 rows spread over a generated table.
fn average_row_size(table: &Table, generated: &GeneratedTable, now: i64) -> u64 {
    let samples = generated.rows.min(64);
    let mut size = 0;
    for sample in 0..samples {
        let key = generated.key(sample * (generated.rows / samples));
        table.point(&key, now, |row| size += data_size(row, table.counts_timestamps()) as u64);
    }
    size.checked_div(samples).unwrap_or(1)
}

/// Points inside each partition of a stored table: wherever the rows since the last one reach the size.
fn stored_points(table: &Table, split_size: u64, now: i64) -> Vec<Vec<PrimaryKey>> {
    let all = KeyRange::all(table.definition.primary_key.len());
    let (mut partitions, mut size) = (vec![Vec::new(); table.partitions.boundaries().len() + 1], 0);
    let mut previous: Option<(usize, PrimaryKey)> = None;
    table.scan(&all, now, |row| {
        let Some(key) = PrimaryKey::from_row(&row.key) else { return ControlFlow::Continue(()) };
        let partition = table.partitions.of(&key);
        match &previous {
            Some((same, previous)) if *same == partition => {
                if size >= split_size {
                    partitions[partition].push(shortest_between(previous, key.clone()));
                    size = 0;
                }
            }
            _ => size = 0,
        }
        size += data_size(row, table.counts_timestamps()) as u64;
        previous = Some((partition, key));
        ControlFlow::Continue(())
    });
    partitions
}

/// The shortest prefix of `key` that, padded with INF_MIN, lies after `previous`.
fn shortest_between(previous: &PrimaryKey, mut key: PrimaryKey) -> PrimaryKey {
    let same = previous.parts().iter().zip(key.parts()).take_while(|(a, b)| a == b).count();
    key.0.truncate(same + 1);
    key
}

/// The machine of each range: that of the partition in which it begins. Partitions take turns on eight machines.
fn locations(
    table: &Table,
    points: &[PrimaryKey],
) -> Vec<proto::compute_split_points_by_size_response::SplitLocation> {
    let machines = points.iter().map(|point| table.partitions.of(point) % MACHINES);
    let mut runs: Vec<(usize, i64)> = Vec::new();
    for machine in iter::once(0).chain(machines) {
        match runs.last_mut() {
            Some((same, repeat)) if *same == machine => *repeat += 1,
            _ => runs.push((machine, 1)),
        }
    }
    let location = |(machine, repeat)| proto::compute_split_points_by_size_response::SplitLocation {
        location: format!("{:032x}", 0xC0FF_EE00_0000_0000_0000_0000_0000_0000 + machine as u128),
        repeat,
    };
    runs.into_iter().map(location).collect()
}
