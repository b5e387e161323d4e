//! One file of Stream records: its hash first, then its records.

use std::collections::HashSet;

use super::data_file::{Reading, differs};
use crate::catalog::{DeltaEntry, ENTRY_METADATA, RecordFileMark, RunPath, ShardSlice};
use crate::columnar::{ColumnPlan, RecordsReader, SplitBatch};
use crate::model::{PrimaryKey, RecordHasher, RecordPlace, RowSum};
use crate::parquet_file::{FileReader, RowGroups, StatisticsCheck};
use crate::{Error, Kind, Result};

impl Reading {
    /// Reads a file of records to its last bit: SHA-256 and CRC64, what its footer says, the order of keys and places, that each place is one of
    /// its slices' and none is there twice, counts, record-sum, statistics.
    ///
    /// # Errors
    /// [`Kind::Verification`] or [`Kind::Corrupt`] for what is not as it should be.
    pub(super) async fn check_records(
        &self,
        path: &RunPath,
        entry: &DeltaEntry,
        plan: &ColumnPlan,
    ) -> Result<()> {
        let (body, permit) = self.whole(&path.record_file(entry.id), &entry.file).await?;
        let (entry, plan, limits) = (entry.clone(), plan.clone(), self.limits().clone());
        let check = move || {
            let file = FileReader::open_records(body, &plan, &limits)?;
            check_mark(file.footer(), &entry)?;
            let mut records = Records::new(&entry)?;
            for index in 0..file.row_groups().len() {
                let mut statistics = StatisticsCheck::new(file.footer(), index)?;
                for batch in file.row_group_batches(vec![index])? {
                    let batch = batch?;
                    statistics.batch(&batch);
                    let split = SplitBatch::new(&batch, &plan)?;
                    for placed in RecordsReader::new(&split, &plan)? {
                        let placed = placed?;
                        let key = PrimaryKey::from_row(&placed.record.row.key)
                            .ok_or_else(|| differs("a record has no key".to_owned()))?;
                        records.sum += records.hasher.record(&placed.record, placed.place);
                        records.next(key, placed.place, placed.record.row.cells.len())?;
                    }
                }
                statistics.end()?;
            }
            drop(permit);
            records.end(&entry)
        };
        self.cpu().run(check).await?
    }

    /// Whether a file of records is the one of its entry by what its footer says.
    pub(super) async fn check_records_footer(
        &self,
        path: &RunPath,
        entry: &DeltaEntry,
        plan: &ColumnPlan,
    ) -> Result<()> {
        let (footer, permit) = self.footer(&path.record_file(entry.id), entry.file.bytes).await?;
        let (entry, plan, limits) = (entry.clone(), plan.clone(), self.limits().clone());
        let check = move || {
            let footer = RowGroups::open_records(&footer, entry.file.bytes, &plan, &limits)?;
            drop(permit);
            check_mark(&footer, &entry)
        };
        self.cpu().run(check).await?
    }
}

fn check_mark(footer: &RowGroups, entry: &DeltaEntry) -> Result<()> {
    let text =
        footer.key_value(ENTRY_METADATA).ok_or_else(|| differs("its footer names no entry".to_owned()))?;
    let mark: RecordFileMark = serde_json::from_str(text)
        .map_err(|error| Error::new(Kind::Corrupt, "use what its footer says").source(error))?;
    if mark != RecordFileMark::of(entry) {
        let reason = format!("it is file {}, not {}, by what its footer says", mark.id, entry.id);
        return Err(differs(reason));
    }
    let rows: u64 = footer.rows().fold(0, u64::saturating_add);
    match (rows, footer.rows().len()) == (entry.records, entry.file.row_groups) {
        true => Ok(()),
        false => Err(differs(format!("its footer has {rows} records; its entry says {}", entry.records))),
    }
}

/// The records of a file so far.
struct Records {
    slices: Vec<ShardSlice>,
    seen: HashSet<(u64, u64)>,
    first: Option<PrimaryKey>,
    last: Option<(PrimaryKey, RecordPlace)>,
    cells: u64,
    hasher: RecordHasher,
    sum: RowSum,
}

impl Records {
    fn new(entry: &DeltaEntry) -> Result<Records> {
        let lengths = entry.shards.iter().map(|slice| slice.to.saturating_sub(slice.from));
        if lengths.fold(0, u64::saturating_add) != entry.records {
            return Err(differs("its slices of shards are of another number of records".to_owned()));
        }
        let (seen, hasher) = Default::default();
        let slices = entry.shards.clone();
        Ok(Records { slices, seen, first: None, last: None, cells: 0, hasher, sum: RowSum::default() })
    }

    fn next(&mut self, key: PrimaryKey, place: RecordPlace, cells: usize) -> Result<()> {
        let is_after = self.last.as_ref().is_none_or(|(last, before)| match last.cmp(&key) {
            std::cmp::Ordering::Less => true,
            // Places of a key ascend, and its clock never falls.
            std::cmp::Ordering::Equal => *before < place && before.clock_us <= place.clock_us,
            std::cmp::Ordering::Greater => false,
        });
        if !is_after {
            return Err(differs("its records are not in the order of keys and places".to_owned()));
        }
        let RecordPlace { rank, ordinal, .. } = place;
        let mut slices = self.slices.iter().filter(|slice| slice.rank == rank);
        let is_of_slice = slices.any(|slice| (slice.from..slice.to).contains(&ordinal));
        if !is_of_slice || !self.seen.insert((rank, ordinal)) {
            return Err(differs(format!("record {ordinal} of rank {rank} is twice in it, or not its own")));
        }
        self.cells += cells as u64;
        self.first.get_or_insert_with(|| key.clone());
        self.last = Some((key, place));
        Ok(())
    }

    fn end(self, entry: &DeltaEntry) -> Result<()> {
        let last = self.last.map(|(key, _)| key);
        if (self.first.as_ref(), last.as_ref()) != (Some(&entry.first_key), Some(&entry.last_key)) {
            return Err(differs("its first and last key are not those of its entry".to_owned()));
        }
        let found = (self.seen.len() as u64, self.cells, self.sum);
        match found == (entry.records, entry.cells, entry.record_sum) {
            true => Ok(()),
            false => Err(differs(format!(
                "it holds {} records, {} cells, record-sum {}; its entry says {}, {}, {}",
                found.0, found.1, found.2, entry.records, entry.cells, entry.record_sum
            ))),
        }
    }
}
