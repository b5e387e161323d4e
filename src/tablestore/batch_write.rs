//! BatchWriteRow: up to 200 changes in one request, each with its own outcome.

use super::TableStore;
use super::call::{Operation, Origin, ReadyBody, Target};
use super::failure::BoxError;
use super::row_batch::{RowAnswer, RowBatch, refused_row};
use super::row_change::RowChange;
use super::single_row::{EncodedRow, RowWritten};
use crate::{Error, Result, proto};

pub(super) const OPERATION: Operation =
    Operation { name: "BatchWriteRow", doing: "write rows to", idempotent: false, data: true, required: &[] };

/// One outcome per change: for each table of the request, in its order. A batch is not atomic, and its success says
/// nothing about its rows.
#[derive(Debug)]
#[must_use = "rows of a batch fail one by one"]
pub struct BatchResults {
    /// Per table, per change.
    pub tables: Vec<Vec<Result<RowWritten>>>,
}

impl BatchResults {
    /// The first failure, or the write capacity units of all.
    pub fn all(self) -> Result<u64> {
        let mut units = 0;
        for result in self.tables.into_iter().flatten() {
            units += result?.write_capacity_units;
        }
        Ok(units)
    }
}

/// What became of changes that were repeated until each was made or given up.
#[derive(Debug)]
#[must_use = "rows of a batch fail one by one"]
pub struct RowsWritten {
    /// Write capacity units consumed.
    pub write_capacity_units: u64,
    /// Index into the changes, and why: those that the service refused for good, and those still failing when the
    /// retry budget was used up. Ascending.
    pub failures: Vec<(usize, Error)>,
    /// The primary keys that were asked for ([`RowChange::return_key`], [`BatchTarget::return_key`]): index into the
    /// changes, and a row of the key alone. Ascending.
    ///
    /// [`BatchTarget::return_key`]: super::BatchTarget::return_key
    pub returned: Vec<(usize, EncodedRow)>,
    /// How often a single row was sent again.
    pub row_retries: u64,
}

impl RowsWritten {
    pub(super) fn from_outcomes((outcomes, row_retries): (Vec<Result<RowWritten>>, u64)) -> RowsWritten {
        let mut written =
            RowsWritten { write_capacity_units: 0, failures: Vec::new(), returned: Vec::new(), row_retries };
        for (index, outcome) in outcomes.into_iter().enumerate() {
            match outcome {
                Ok(row) => {
                    written.write_capacity_units += row.write_capacity_units;
                    written.returned.extend(row.returned.map(|key| (index, key)));
                }
                Err(error) => written.failures.push((index, error)),
            }
        }
        written
    }
}

impl TableStore {
    /// Sends all changes once. At most 200 rows and 4 MB over all tables (service limits).
    ///
    /// The request as a whole is repeated when nothing of it was applied, and after a time-out if every change is
    /// [idempotent](RowChange::idempotent). Rows that failed are not: see [`TableStore::write_rows`].
    pub async fn batch_write_row(&self, tables: &[(&str, &[RowChange])]) -> Result<BatchResults> {
        let batches: Vec<_> =
            tables.iter().map(|(table, changes)| (*table, changes.iter().collect::<Vec<_>>())).collect();
        let answers = self.send_batch(&batches).await?;
        let tables = answers.into_iter().zip(tables).map(|(answers, (table, _))| {
            let named = |failed| self.row_error(&OPERATION, table, failed);
            answers.into_iter().map(|answer| answer.map_err(named)).collect()
        });
        Ok(BatchResults { tables: tables.collect() })
    }

    /// Makes all `changes` of one table, sending again only the rows that failed and may be repeated: those that were
    /// not applied, and, if they are [idempotent](RowChange::idempotent), those that may have been.
    ///
    /// The keys must differ: a row that is sent again overtakes the rows behind it. At most 200 rows and 4 MB.
    ///
    /// # Errors
    /// Only if a request as a whole is refused or given up; some changes may then have been made.
    pub async fn write_rows(&self, table: &str, changes: &[RowChange]) -> Result<RowsWritten> {
        let mut batch = RowBatch::new(self, &OPERATION, table, changes);
        while let Some(waiting) = batch.waiting() {
            let answers = self.send_batch(&[(table, waiting)]).await?;
            batch.answered(answers.into_iter().flatten().collect(), |change| change.idempotent).await;
        }
        Ok(RowsWritten::from_outcomes(batch.finish()))
    }

    /// The answers have the shape of the request: checked here.
    async fn send_batch(
        &self,
        batches: &[(&str, Vec<&RowChange>)],
    ) -> Result<Vec<Vec<RowAnswer<RowWritten>>>> {
        let idempotent = batches.iter().flat_map(|(_, changes)| changes).all(|change| change.idempotent);
        let operation = Operation { idempotent, ..OPERATION };
        let request = proto::BatchWriteRowRequest {
            tables: batches
                .iter()
                .map(|(table, changes)| proto::TableInBatchWriteRowRequest {
                    table_name: (*table).to_owned(),
                    rows: changes.iter().map(|change| row_message(change)).collect(),
                })
                .collect(),
            ..Default::default()
        };
        let shape: Vec<_> = batches.iter().map(|(table, changes)| (*table, changes.len())).collect();
        self.send_batch_body(&operation, &ReadyBody::encode(&request).await, &shape).await
    }

    /// Sends a body that is ready. `shape` is what it holds: each table with its number of rows.
    pub(super) async fn send_batch_body(
        &self,
        operation: &Operation,
        body: &ReadyBody,
        shape: &[(&str, usize)],
    ) -> Result<Vec<Vec<RowAnswer<RowWritten>>>> {
        let target = match shape {
            [(table, _)] => Target::Table(table),
            _ => Target::Instance,
        };
        let answers: Vec<Vec<RowAnswer<RowWritten>>> = self
            .call_ready(operation, target, body, |answer: proto::BatchWriteRowResponse, origin| {
                let same_tables = answer.tables.len() == shape.len()
                    && answer.tables.iter().zip(shape).all(|(answer, (table, rows))| {
                        answer.table_name == *table && answer.rows.len() == *rows
                    });
                if !same_tables {
                    return Err("its rows are not those of the request".into());
                }
                let row = |row| row_answer(row, origin);
                answer.tables.into_iter().map(|table| table.rows.into_iter().map(row).collect()).collect()
            })
            .await?;
        self.count_throttled_rows(answers.iter().flatten());
        Ok(answers)
    }
}

fn row_message(change: &RowChange) -> proto::RowInBatchWriteRowRequest {
    proto::RowInBatchWriteRowRequest {
        r#type: change.kind.as_message().into(),
        row_change: change.row.clone(),
        condition: change.condition(),
        return_content: change.return_content(),
    }
}

/// A row that is not ok must say why; a row that is ok with an error is not believed either.
fn row_answer(
    row: proto::RowInBatchWriteRowResponse,
    origin: &Origin<'_>,
) -> Result<RowAnswer<RowWritten>, BoxError> {
    match (row.is_ok, row.error) {
        (true, None) => Ok(Ok(RowWritten {
            write_capacity_units: row.consumed.as_ref().map_or(0, |consumed| origin.write_units(consumed)),
            returned: EncodedRow::check(row.row)?,
        })),
        (false, Some(error)) if !error.code.is_empty() => Ok(Err(refused_row(error, origin.request_id))),
        _ => Err("a row contradicts itself".into()),
    }
}
