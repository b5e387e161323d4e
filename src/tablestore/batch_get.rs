//! BatchGetRow: up to 100 rows in one request, each with its own outcome.

use super::TableStore;
use super::call::{Operation, Origin, Target};
use super::failure::BoxError;
use super::get_range::TimeRange;
use super::row_batch::{RowAnswer, RowBatch, refused_row};
use super::single_row::EncodedRow;
use crate::model::PrimaryKey;
use crate::plainbuffer::encode_key;
use crate::{Result, proto};

const OPERATION: Operation =
    Operation { name: "BatchGetRow", doing: "read rows of", idempotent: true, data: true, required: &[] };

/// Which rows to read, and what of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowsRequest {
    /// Table name.
    pub table: String,
    /// Names of all primary key columns, in key order.
    pub key_names: Vec<String>,
    /// The whole keys, at most 100 (service limit).
    pub keys: Vec<PrimaryKey>,
    /// Attribute columns wanted. Empty: all.
    pub columns: Vec<String>,
    /// Versions per column, newest first; `i32::MAX` reads all. One of this and `time_range` is required.
    pub max_versions: Option<i32>,
    /// Versions by timestamp.
    pub time_range: Option<TimeRange>,
}

/// What became of rows that were asked for until each was answered or given up. The rows can only be had together
/// with their errors.
#[derive(Debug)]
#[must_use = "rows of a batch fail one by one"]
pub struct RowsRead {
    rows: Vec<Result<Option<EncodedRow>>>,
    /// Read capacity units consumed.
    pub read_capacity_units: u64,
    /// How often a single row was asked for again.
    pub row_retries: u64,
}

impl RowsRead {
    /// Every row, in the order of the keys, `None` where there is none; or the first failure.
    pub fn all(self) -> Result<Vec<Option<EncodedRow>>> {
        self.rows.into_iter().collect()
    }

    /// One outcome per key, in their order.
    pub fn each(self) -> impl ExactSizeIterator<Item = Result<Option<EncodedRow>>> {
        self.rows.into_iter()
    }
}

/// A row, if there is one, and what reading it cost.
type ReadRow = (Option<EncodedRow>, u64);

impl TableStore {
    /// Reads rows by their keys, asking again only for those that failed and may succeed.
    ///
    /// # Errors
    /// Only if a request as a whole is refused or given up. `Corrupt` if an answer has other rows than were asked for.
    pub async fn batch_get_row(&self, request: &RowsRequest) -> Result<RowsRead> {
        let mut batch = RowBatch::new(self, &OPERATION, &request.table, &request.keys);
        while let Some(keys) = batch.waiting() {
            let answers = self.send_batch_get(request, &keys).await?;
            batch.answered(answers, |_| true).await;
        }
        let (outcomes, row_retries) = batch.finish();
        let mut read_capacity_units = 0;
        let mut row = |(row, units): ReadRow| {
            read_capacity_units += units;
            row
        };
        let rows = outcomes.into_iter().map(|outcome| outcome.map(&mut row)).collect();
        Ok(RowsRead { rows, read_capacity_units, row_retries })
    }

    async fn send_batch_get(
        &self,
        request: &RowsRequest,
        keys: &[&PrimaryKey],
    ) -> Result<Vec<RowAnswer<ReadRow>>> {
        let table = proto::TableInBatchGetRowRequest {
            table_name: request.table.clone(),
            primary_key: keys.iter().map(|key| encode_key(&request.key_names, key).into()).collect(),
            columns_to_get: request.columns.clone(),
            time_range: request.time_range.map(TimeRange::into_message),
            max_versions: request.max_versions,
            ..Default::default()
        };
        let message = proto::BatchGetRowRequest { tables: vec![table] };
        let target = Target::Table(&request.table);
        let answers = self
            .call(&OPERATION, target, &message, |answer: proto::BatchGetRowResponse, origin| {
                let rows = match <[_; 1]>::try_from(answer.tables) {
                    Ok([table]) if table.table_name == request.table && table.rows.len() == keys.len() => {
                        table.rows
                    }
                    _ => return Err("its rows are not those of the request".into()),
                };
                rows.into_iter().zip(keys).map(|(row, key)| row_answer(row, key, origin)).collect()
            })
            .await?;
        self.count_throttled_rows(&answers);
        Ok(answers)
    }
}

/// A row that is not ok must say why; one that is ok must be the row of `key`, or none.
fn row_answer(
    row: proto::RowInBatchGetRowResponse,
    key: &PrimaryKey,
    origin: &Origin<'_>,
) -> Result<RowAnswer<ReadRow>, BoxError> {
    match (row.is_ok, row.error) {
        (true, None) => {
            let units = row.consumed.as_ref().map_or(0, |consumed| origin.read_units(consumed));
            let read = EncodedRow::check(row.row)?;
            if let Some(read) = &read
                && PrimaryKey::from_row(&read.decode()?.key).as_ref() != Some(key)
            {
                return Err("a row has another key than was asked for".into());
            }
            Ok(Ok((read, units)))
        }
        (false, Some(error)) if !error.code.is_empty() => Ok(Err(refused_row(error, origin.request_id))),
        _ => Err("a row contradicts itself".into()),
    }
}
