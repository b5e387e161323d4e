//! What a read wants of each row: columns, versions, a time range, a filter.

use super::filter::Filter;
use super::schema::check_column_name;
use super::service_error::{Answer, ServiceError};
use crate::model::Row;
use crate::proto;

/// Names in `columns_to_get` (asserted by the Java SDK's tests; the documents say 128).
const MAX_COLUMNS_TO_GET: usize = 1_024;

/// The part that GetRow, BatchGetRow and GetRange have in common.
#[derive(Debug)]
pub struct Projection<'a> {
    columns_to_get: Vec<&'a str>,
    /// Milliseconds, start inclusive, end exclusive.
    time_range: Option<(i64, i64)>,
    max_versions: usize,
    filter: Option<Filter>,
    start_column: Option<&'a str>,
    end_column: Option<&'a str>,
}

/// The same fields as every read names them.
pub struct Asked<'a> {
    /// Empty means all.
    pub columns_to_get: &'a [String],
    /// One of this and `max_versions` is required.
    pub time_range: Option<&'a proto::TimeRange>,
    /// At least 1.
    pub max_versions: Option<i32>,
    /// An encoded filter.
    pub filter: Option<&'a [u8]>,
    /// First attribute column, inclusive.
    pub start_column: Option<&'a str>,
    /// Last attribute column, exclusive.
    pub end_column: Option<&'a str>,
}

macro_rules! asked_from {
    ($($message:ty),*) => {$(
        impl<'a> From<&'a $message> for Asked<'a> {
            fn from(request: &'a $message) -> Asked<'a> {
                Asked {
                    columns_to_get: &request.columns_to_get,
                    time_range: request.time_range.as_ref(),
                    max_versions: request.max_versions,
                    filter: request.filter.as_deref(),
                    start_column: request.start_column.as_deref(),
                    end_column: request.end_column.as_deref(),
                }
            }
        }
    )*};
}

asked_from!(proto::GetRowRequest, proto::TableInBatchGetRowRequest, proto::GetRangeRequest);

/// BulkExport: the newest version of each column.
impl<'a> From<&'a proto::BulkExportRequest> for Asked<'a> {
    fn from(request: &'a proto::BulkExportRequest) -> Asked<'a> {
        Asked {
            columns_to_get: &request.columns_to_get,
            time_range: None,
            max_versions: Some(1),
            filter: request.filter.as_deref(),
            start_column: None,
            end_column: None,
        }
    }
}

impl<'a> Projection<'a> {
    /// Checks the fields. `no_version` is the operation's text for a request without any version condition.
    ///
    /// # Errors
    /// `OTSParameterInvalid`.
    pub fn new(asked: impl Into<Asked<'a>>, no_version: &str) -> Answer<Projection<'a>> {
        let asked = asked.into();
        if asked.columns_to_get.len() > MAX_COLUMNS_TO_GET {
            let count = asked.columns_to_get.len();
            return Err(ServiceError::parameter(format!(
                "The number of columns from the request exceeds the limit, limit count: {MAX_COLUMNS_TO_GET}, \
                 column count: {count}."
            )));
        }
        asked.columns_to_get.iter().try_for_each(|name| check_column_name(name))?;
        if asked.time_range.is_none() && asked.max_versions.is_none() {
            return Err(ServiceError::parameter(no_version));
        }
        let time_range = asked.time_range.map(|range| time_range(range, asked.max_versions)).transpose()?;
        let max_versions = match asked.max_versions {
            None => usize::MAX,
            Some(versions) if versions > 0 => versions as usize,
            Some(versions) => {
                return Err(ServiceError::parameter(format!(
                    "Invalid max versions: {versions}. Reason: Max versions must be positive."
                )));
            }
        };
        Ok(Projection {
            columns_to_get: asked.columns_to_get.iter().map(String::as_str).collect(),
            time_range,
            max_versions,
            filter: asked.filter.map(Filter::decode).transpose()?,
            start_column: asked.start_column,
            end_column: asked.end_column,
        })
    }

    /// Whether rows with up to `versions` versions of a column are wanted as they are.
    pub fn takes_everything(&self, versions: usize) -> bool {
        self.max_versions >= versions
            && self.columns_to_get.is_empty()
            && self.time_range.is_none()
            && self.filter.is_none()
            && self.start_column.is_none()
            && self.end_column.is_none()
    }

    /// Cuts `row`, which holds every readable version, down to what is wanted. `false` when the row is not returned
    /// at all: no named column is in it, or the filter fails.
    pub fn apply(&self, row: &mut Row<'_>) -> bool {
        self.cut(row) && self.filter(row)
    }

    /// Cuts `row` down to the wanted columns and versions. `false` when no named column is in it.
    pub fn cut(&self, row: &mut Row<'_>) -> bool {
        if !self.columns_to_get.is_empty() {
            row.cells.retain(|cell| self.columns_to_get.contains(&cell.name));
            let names_key = || row.key.iter().any(|(name, _)| self.columns_to_get.contains(name));
            if row.cells.is_empty() && !names_key() {
                return false;
            }
        }
        if let Some(start) = self.start_column {
            row.cells.retain(|cell| cell.name >= start);
        }
        if let Some(end) = self.end_column {
            row.cells.retain(|cell| cell.name < end);
        }
        if let Some((start, end)) = self.time_range {
            row.cells.retain(|cell| cell.timestamp.is_some_and(|at| (start..end).contains(&at)));
        }
        if self.max_versions < usize::MAX {
            self.keep_newest(row);
        }
        true
    }

    /// Whether a row that was cut passes the filter; a pagination cuts it further.
    pub fn filter(&self, row: &mut Row<'_>) -> bool {
        self.filter.as_ref().is_none_or(|filter| filter.apply(row))
    }

    fn keep_newest(&self, row: &mut Row<'_>) {
        let mut previous: Option<&str> = None;
        let mut count = 0;
        row.cells.retain(|cell| {
            count = if previous == Some(cell.name) { count + 1 } else { 1 };
            previous = Some(cell.name);
            count <= self.max_versions
        });
    }
}

fn time_range(range: &proto::TimeRange, max_versions: Option<i32>) -> Answer<(i64, i64)> {
    let refuse = |text: &str| Err(ServiceError::parameter(text));
    let out_of_range = "Timestamp must be in range [0, INT64_MAX/1000).";
    match (range.specific_time, range.start_time, range.end_time) {
        // The service's spelling.
        (Some(_), None, None) if max_versions.is_some() => {
            refuse("Specific tiemstamp and max versions cannot be given at the same time.")
        }
        (Some(..0), None, None) => refuse("Specific timestamp cannot be less than 0."),
        (Some(at), None, None) if at < i64::MAX / 1_000 => Ok((at, at + 1)),
        (Some(_), None, None) => refuse(out_of_range),
        (Some(_), ..) if max_versions.is_some() => {
            refuse("Specific timestamp, time range and max versions cannot be given at the same time.")
        }
        (Some(_), ..) => refuse("Specific tiemstamp and time range cannot be given at the same time."),
        (None, Some(start), Some(end)) if start < 0 || end < 0 => refuse(out_of_range),
        // Own wording.
        (None, Some(start), Some(end)) if start >= end => refuse("Start time must be less than end time."),
        (None, Some(start), Some(end)) => Ok((start, end)),
        _ => refuse("Start and end time must be given at the same time."),
    }
}
