//! Sends requests and says what became of each row.

use std::sync::Arc;

use super::options::OnConflict;
use super::progress::RestoreProgress;
use super::rejects::Reject;
use super::selection::Selection;
use super::unit_rows::{Requests, WideRow};
use super::wide_row;
use crate::catalog::RowCounts;
use crate::model::{PrimaryKey, PrimaryKeyValue, Row, RowHasher};
use crate::plainbuffer::decode_request_row;
use crate::runtime::{BytePermit, CpuPool};
use crate::tablestore::{BatchFiller, BatchTarget, Existence, RowChange, RowRequest, TableStore, WriteBatch};
use crate::{Error, Kind, Result};

/// What the service says when the condition of a row does not hold.
const CONDITION_FAILED: &str = "OTSConditionCheckFail";

/// Writes rows into one table.
pub(super) struct Writer {
    pub client: TableStore,
    pub table: String,
    pub key_names: Vec<String>,
    pub selection: Arc<Selection>,
    pub on_conflict: Option<OnConflict>,
    /// Why rows that are too large for one request cannot be written, if so.
    pub no_wide_rows: Option<&'static str>,
    pub cpu: CpuPool,
    pub progress: Arc<RestoreProgress>,
}

/// What became of some rows.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub rows: RowCounts,
    pub rejects: Vec<Reject>,
    /// Place in the row group and new key value of rows whose key the service assigned.
    pub assigned: Vec<(u64, i64)>,
}

impl Outcome {
    pub(super) fn add(&mut self, other: Outcome) {
        self.rows += other.rows;
        self.rejects.extend(other.rejects);
        self.assigned.extend(other.assigned);
    }
}

impl Writer {
    /// How rows become requests under this conflict policy.
    pub(super) fn requests(&self) -> Requests {
        let put = BatchTarget::put(&*self.table);
        let if_absent = BatchTarget { existence: Existence::NotExists, ..put.clone() };
        let assigned = self.selection.reassigned.is_some();
        match self.on_conflict {
            None | Some(OnConflict::Overwrite) => Requests {
                rows: BatchTarget { return_key: assigned, idempotent: !assigned, ..put },
                keys_alone: None,
            },
            // An update has at least one cell.
            Some(OnConflict::Newer) => {
                Requests { rows: BatchTarget { update: true, ..put }, keys_alone: Some(if_absent) }
            }
            Some(OnConflict::Skip | OnConflict::Fail) => Requests { rows: if_absent, keys_alone: None },
        }
    }

    /// Writes a batch; `_memory` is given back afterwards. A request that is refused as a whole because of one of its
    /// rows is divided until that row is alone.
    ///
    /// # Errors
    /// What does not lie in the rows: no connection, no permission, no table.
    pub(super) async fn write(&self, batch: WriteBatch, _memory: Arc<BytePermit>) -> Result<Outcome> {
        let mut outcome = Outcome::default();
        let mut waiting = vec![batch];
        while let Some(batch) = waiting.pop() {
            match self.client.write_batch(&batch).await {
                Ok(written) => {
                    let mut one = Outcome::default();
                    one.rows.written = (batch.len() - written.failures.len()) as u64;
                    one.rows.write_capacity_units = written.write_capacity_units;
                    for (index, key) in &written.returned {
                        one.assigned.extend(batch.number(*index).zip(self.assigned_value(key)));
                    }
                    for (index, error) in written.failures {
                        self.failed(&batch, index, error, &mut one).await?;
                    }
                    let rows = batch.len() as u64;
                    let bytes = batch.body().len() as u64;
                    self.progress.request(rows, one.rows.rejected, written.row_retries, bytes);
                    outcome.add(one);
                }
                Err(error) if error.kind() == Kind::Refused && batch.len() > 1 => {
                    waiting.extend(self.halves(batch).await?);
                }
                Err(error) if error.kind() == Kind::Refused => {
                    self.failed(&batch, 0, error, &mut outcome).await?;
                    self.progress.request(1, 1, 0, batch.body().len() as u64);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(outcome)
    }

    /// What a row that was not written counts as.
    ///
    /// # Errors
    /// Failures that all rows would share.
    async fn failed(
        &self,
        batch: &WriteBatch,
        index: usize,
        error: Error,
        outcome: &mut Outcome,
    ) -> Result<()> {
        if matches!(error.kind(), Kind::Permission | Kind::NotFound) {
            return Err(error);
        }
        let mut row = Row::default();
        let bytes = batch.row(index).unwrap_or_default();
        decode_request_row(bytes, &mut row)
            .map_err(|error| Error::new(Kind::Internal, "read a row again").source(error))?;
        let number = batch.number(index).unwrap_or_default();
        self.not_written(&row, number, error, outcome).await
    }

    async fn not_written(
        &self,
        row: &Row<'_>,
        number: u64,
        error: Error,
        outcome: &mut Outcome,
    ) -> Result<()> {
        let is_conflict = error.service_code() == Some(CONDITION_FAILED);
        match self.on_conflict {
            Some(OnConflict::Skip | OnConflict::Newer) if is_conflict => outcome.rows.skipped += 1,
            Some(OnConflict::Fail) if is_conflict && self.is_there(row).await? => outcome.rows.there += 1,
            _ => {
                outcome.rows.rejected += 1;
                // The placeholder of a new key has no place in a key; the row's number still says which one it is.
                let key = row.key.iter().map(|(name, value)| match value {
                    PrimaryKeyValue::AutoIncrement => (*name, PrimaryKeyValue::Integer(0)),
                    value => (*name, *value),
                });
                let key = PrimaryKey::from_row(&key.collect::<Vec<_>>());
                let key = key.unwrap_or_else(|| PrimaryKey::inf_min(row.key.len()));
                outcome.rejects.push(Reject::new(number, key, &error));
            }
        }
        Ok(())
    }

    /// Whether the target has exactly this row.
    async fn is_there(&self, row: &Row<'_>) -> Result<bool> {
        let Some(key) = PrimaryKey::from_row(&row.key) else { return Ok(false) };
        let request = RowRequest {
            table: self.table.clone(),
            key_names: self.key_names.clone(),
            key,
            columns: Vec::new(),
            max_versions: Some(i32::MAX),
            time_range: None,
        };
        let Some(there) = self.client.get_row(&request).await? else { return Ok(false) };
        let there = there.decode().map_err(|error| {
            Error::new(Kind::Corrupt, "read a row of").on(format!("table `{}`", self.table)).source(error)
        })?;
        let mut hasher = RowHasher::default();
        Ok(self.selection.hash(&mut hasher, row) == self.selection.hash(&mut hasher, &there))
    }

    fn assigned_value(&self, key: &crate::tablestore::EncodedRow) -> Option<i64> {
        let row = key.decode().ok()?;
        row.key.iter().find_map(|(name, value)| match value {
            PrimaryKeyValue::Integer(value) if self.selection.reassigned.as_deref() == Some(name) => {
                Some(*value)
            }
            _ => None,
        })
    }

    async fn halves(&self, batch: WriteBatch) -> Result<Vec<WriteBatch>> {
        let requests = self.requests();
        let is_key_alone = |bytes: &[u8]| {
            let mut row = Row::default();
            decode_request_row(bytes, &mut row).is_ok() && row.cells.is_empty()
        };
        self.cpu
            .run(move || {
                let middle = batch.len() / 2;
                let mut halves = Vec::new();
                for part in [0..middle, middle..batch.len()] {
                    let alone = batch.row(part.start).is_some_and(is_key_alone);
                    let target = requests.keys_alone.as_ref().filter(|_| alone).unwrap_or(&requests.rows);
                    let mut filler = BatchFiller::new(target.clone());
                    for index in part {
                        if let Some((row, number)) = batch.row(index).zip(batch.number(index)) {
                            // What was small enough together is in halves.
                            filler.push(row, 0, number);
                        }
                    }
                    halves.extend(filler.finish());
                }
                halves
            })
            .await
    }

    /// Writes a row that is too large for one request, part by part.
    pub(super) async fn write_wide(&self, wide: WideRow, _memory: Arc<BytePermit>) -> Result<Outcome> {
        let mut outcome = Outcome::default();
        let mut row = Row::default();
        decode_request_row(&wide.bytes, &mut row)
            .map_err(|error| Error::new(Kind::Internal, "read a row again").source(error))?;
        let refused = |code: &str, reason: String| {
            Error::new(Kind::Refused, "write a row to")
                .on(format!("table `{}`", self.table))
                .code(code)
                .because(reason)
        };
        let parts = match self.no_wide_rows {
            Some(reason) => Err(refused("RowTooLarge", reason.to_owned())),
            None => {
                let put = self.on_conflict != Some(OnConflict::Newer);
                wide_row::parts(&row, put).map_err(|reason| refused("ValueTooLarge", reason))
            }
        };
        let written = match parts {
            Ok(parts) => self.write_parts(&parts).await,
            Err(error) => Err(error),
        };
        match written {
            Ok(units) => {
                outcome.rows.written = 1;
                outcome.rows.write_capacity_units = units;
            }
            Err(error) if matches!(error.kind(), Kind::Refused) => {
                self.not_written(&row, wide.number, error, &mut outcome).await?;
            }
            Err(error) => return Err(error),
        }
        self.progress.request(1, outcome.rows.rejected, 0, wide.bytes.len() as u64);
        Ok(outcome)
    }

    async fn write_parts(&self, parts: &[RowChange]) -> Result<u64> {
        let mut units = 0;
        for part in parts {
            units += self.client.write_row(&self.table, part).await?.write_capacity_units;
        }
        Ok(units)
    }
}
