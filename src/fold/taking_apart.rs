//! Rows that have to be taken apart although no record names them: some of their cells do not count at the moment.

use arrow::array::{Array, AsArray, Int64Array, RecordBatch};
use arrow::compute::min;
use arrow::datatypes::Int64Type;

use super::FoldSettings;
use crate::columnar::{ColumnPlan, Role};
use crate::model::Cell;

/// Finds such rows by the timestamp columns; what is wrong with a cell is for whoever reads it to say.
#[derive(Debug)]
pub(super) struct TakingApart {
    /// `_ts` and the timestamp columns of attributes, by place in the batch.
    timestamps: Vec<usize>,
    overflow: Option<usize>,
    settings: FoldSettings,
}

impl TakingApart {
    pub(super) fn new(plan: &ColumnPlan, settings: FoldSettings) -> TakingApart {
        let places = |wanted: fn(&Role) -> bool| {
            let columns = plan.columns().iter().enumerate();
            columns.filter(move |(_, column)| wanted(&column.role)).map(|(place, _)| place)
        };
        let is_timestamp = |role: &Role| matches!(role, Role::RowTimestamp | Role::AttributeTimestamp { .. });
        TakingApart {
            timestamps: places(is_timestamp).collect(),
            overflow: places(|role| *role == Role::Overflow).next(),
            settings,
        }
    }

    /// For each row of `batch` whether it may have a cell that does not count; `None` where no row has, as in most batches. A row
    /// too many costs time only.
    pub(super) fn rows(&self, batch: &RecordBatch) -> Option<Vec<bool>> {
        let mut found: Option<Vec<bool>> = None;
        let mut mark = |is_marked: &dyn Fn(usize) -> bool| {
            let rows = found.get_or_insert_with(|| vec![false; batch.num_rows()]);
            rows.iter_mut().enumerate().for_each(|(row, marked)| *marked |= is_marked(row));
        };
        if let Some(horizon) = self.settings.horizon_ms {
            for column in self.timestamps.iter().filter_map(|place| batch.columns().get(*place)) {
                let Some(times) = column.as_primitive_opt::<Int64Type>() else { continue };
                if has_older(times, horizon) {
                    mark(&|row| times.is_valid(row) && times.value(row) < horizon);
                }
            }
        }
        let overflow = self
            .overflow
            .and_then(|place| batch.columns().get(place))
            .filter(|column| column.null_count() < column.len());
        if let Some(column) = overflow {
            let older = self
                .settings
                .horizon_ms
                .is_some_and(|horizon| overflow_times(column).is_none_or(|times| has_older(times, horizon)));
            if older || self.settings.trim {
                mark(&|row| column.is_valid(row));
            }
        }
        found
    }

    /// Leaves out the cells, in wire order, that do not count at the moment.
    pub(super) fn leave_out(&self, cells: &mut Vec<Cell<'_>>) {
        let (mut last, mut versions) = (None, 0);
        cells.retain(|cell| {
            versions = if last == Some(cell.name) { versions + 1 } else { 1 };
            last = Some(cell.name);
            let is_young = match (self.settings.horizon_ms, cell.timestamp) {
                (Some(horizon), Some(timestamp)) => timestamp >= horizon,
                _ => true,
            };
            is_young && versions <= self.settings.rules.max_versions
        });
    }
}

fn has_older(times: &Int64Array, horizon: i64) -> bool {
    min(times).is_some_and(|oldest| oldest < horizon)
}

/// The timestamps of all cells in an `_overflow` column.
fn overflow_times(column: &dyn Array) -> Option<&Int64Array> {
    let lists = column.as_map_opt()?.values().as_list_opt::<i32>()?;
    lists.values().as_struct_opt()?.column_by_name("ts")?.as_primitive_opt::<Int64Type>()
}
