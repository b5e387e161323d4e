//! The records of a cut, loaded interval by interval within a budget.
//!
//! Every delta file is read and hashed once for each stretch of keys whose records fit into memory together; mostly that is all of
//! them. Where records are many, the key space is cut into stretches ([`ChainRecords::stretches`]), and a stretch whose records turn
//! out not to fit is loaded part by part ([`Stretch::part_at`]).

use std::ops::Range;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use super::{RecordSet, RecordSetBuilder};
use crate::catalog::{Cut, DeltaEntry, FileEntry, read_delta_list};
use crate::columnar::{ColumnPlan, RECORD_COLUMNS, Role};
use crate::model::{KeyRange, PrimaryKey};
use crate::stored::{DataFile, Holds, Reading};
use crate::{Error, Kind, Result};

/// Files that are read ahead of the one that is decoded.
const FILES_AHEAD: usize = 4;

/// Lists of deltas that are read at the same time.
const LISTS_AHEAD: usize = 16;

/// Bytes in memory of a value, a null or an offset.
const SLOT_BYTES: u64 = 9;

/// Sorting and cutting hold some of the records twice for a moment.
const MEMORY_PER_BYTE: u64 = 2;

/// Every file of records of a cut.
pub struct ChainRecords {
    reading: Reading,
    /// In the order of the chain.
    files: Vec<RecordFile>,
    most_bytes: u64,
}

struct RecordFile {
    path: Path,
    entry: DeltaEntry,
    plan: Arc<ColumnPlan>,
}

/// Some records and the interval of which they are all there are.
#[derive(Debug)]
pub struct RecordPart {
    /// The records, and perhaps others.
    pub records: Arc<RecordSet>,
    /// The interval.
    pub range: KeyRange,
}

impl ChainRecords {
    /// Reads the lists of the deltas. Records in memory take `memory_bytes` together, or those of one key where they are more.
    ///
    /// Four files are read ahead: `reading.largest_whole` must be a quarter of `reading.whole` at most.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] for a list that is not the one of its manifest or does not hold every record once, and for a delta whose key
    /// is not that of the base.
    pub async fn open(cut: &Cut, reading: Reading, memory_bytes: u64) -> Result<ChainRecords> {
        let lists: Vec<_> = futures::stream::iter(&cut.deltas)
            .map(|(path, delta)| async {
                check_key(&cut.base.columns, &delta.columns)
                    .map_err(|error| error.on(format!("of `{}`", path.prefix())))?;
                let entries = read_delta_list(&*reading.store, path, delta).await?;
                let plan = Arc::new(delta.columns.clone());
                let file = |entry: DeltaEntry| RecordFile {
                    path: path.record_file(entry.id),
                    entry,
                    plan: plan.clone(),
                };
                Ok::<_, Error>(entries.into_iter().map(file).collect::<Vec<_>>())
            })
            .buffered(LISTS_AHEAD)
            .try_collect()
            .await?;
        let files = lists.into_iter().flatten().collect();
        Ok(ChainRecords { reading, files, most_bytes: memory_bytes / MEMORY_PER_BYTE })
    }

    /// Bytes that all records would take, about.
    fn bytes(&self) -> u64 {
        let of_file = |file: &RecordFile| {
            let columns = file.plan.columns().len() + RECORD_COLUMNS.len();
            let slots = file.entry.records.saturating_mul(columns as u64 * SLOT_BYTES);
            slots.saturating_add(file.entry.logical_bytes)
        };
        self.files.iter().map(of_file).fold(0, u64::saturating_add)
    }

    /// Cuts the intervals of a base into stretches of neighbours whose records should fit into memory, as places in `entries`. They go
    /// by the rows of the base: nobody knows where the records lie before they are read.
    pub fn stretches(&self, entries: &[FileEntry]) -> Vec<Range<usize>> {
        let wanted = self.bytes().div_ceil(self.most_bytes.max(1)).clamp(1, entries.len().max(1) as u64);
        let weight = |entry: &FileEntry| u128::from(entry.rows) + 1;
        let all: u128 = entries.iter().map(weight).sum();
        let (mut stretches, mut start, mut before) = (Vec::new(), 0, 0);
        for (place, entry) in entries.iter().enumerate() {
            before += weight(entry);
            let is_full = before * u128::from(wanted) >= all * (stretches.len() as u128 + 1);
            if is_full || place + 1 == entries.len() {
                stretches.push(start..place + 1);
                start = place + 1;
            }
        }
        stretches
    }

    /// The records of a stretch of keys, or of as much of it as fits into memory.
    pub async fn stretch(self: &Arc<Self>, range: KeyRange) -> Result<Stretch> {
        let part = Arc::new(self.load(range.clone()).await?);
        let is_whole = part.range.end == range.end;
        Ok(Stretch { source: self.clone(), end: range.end, is_whole, part: Mutex::new(Some(part)) })
    }

    /// The records from the start of `range` on: all of them, or as many as fit.
    async fn load(self: &Arc<Self>, range: KeyRange) -> Result<RecordPart> {
        let mut waiting = (0..self.files.len()).filter(|file| self.files[*file].is_inside(&range));
        let mut builder = RecordSetBuilder::new(range.clone(), self.most_bytes);
        // In tasks of their own: what is read goes on while something else is decoded.
        let mut opening: JoinSet<Result<(usize, DataFile)>> = JoinSet::new();
        loop {
            while opening.len() < FILES_AHEAD
                && let Some(file) = waiting.next()
            {
                let source = self.clone();
                opening.spawn(async move { Ok((file, source.open_file(file).await?)) });
            }
            let Some(joined) = opening.join_next().await else { break };
            let (file, opened) =
                joined.map_err(|error| Error::new(Kind::Internal, "open a delta").source(error))??;
            let file = &self.files[file];
            // The end may have moved down since.
            if file.is_inside(builder.range()) {
                builder = self.add(builder, file, &opened).await?;
            }
        }
        let (records, range) = self.reading.cpu.run(move || builder.finish()).await??;
        Ok(RecordPart { records: Arc::new(records), range })
    }

    async fn open_file(&self, file: usize) -> Result<DataFile> {
        let RecordFile { path, entry, plan } = &self.files[file];
        self.reading.open(path.clone(), &entry.file, plan, Holds::Records, entry.records).await
    }

    /// Adds the records of a file.
    async fn add(
        &self,
        mut builder: RecordSetBuilder,
        file: &RecordFile,
        opened: &DataFile,
    ) -> Result<RecordSetBuilder> {
        for index in row_groups(opened, file, builder.range()).await? {
            let bytes = opened.batches(index).await?;
            let (plan, entry) = (file.plan.clone(), file.entry.clone());
            let add = move || {
                for batch in bytes.batches {
                    builder.add(&batch?, &plan, (&entry.first_key, &entry.last_key))?;
                }
                drop(bytes.permit);
                Ok::<_, Error>(builder)
            };
            builder = self.reading.cpu.run(add).await?.map_err(|error| opened.failed(error))?;
        }
        Ok(builder)
    }
}

impl RecordFile {
    /// Whether it may have records inside `range`.
    fn is_inside(&self, range: &KeyRange) -> bool {
        self.entry.last_key >= range.start && self.entry.first_key < range.end
    }
}

/// The row groups of a file that may have records inside `range`. The records of one key may lie in two.
async fn row_groups(opened: &DataFile, file: &RecordFile, range: &KeyRange) -> Result<Range<usize>> {
    let all = 0..opened.row_groups();
    if all.len() == 1 || (file.entry.first_key >= range.start && file.entry.last_key < range.end) {
        return Ok(all);
    }
    let mut wanted = all.clone();
    for index in all.skip(1) {
        match opened.first_key(index).await? {
            Some(first) if first < range.start => wanted.start = index,
            Some(first) if first >= range.end => {
                wanted.end = index;
                break;
            }
            _ => {}
        }
    }
    Ok(wanted)
}

/// A delta's rows have the key of the base.
fn check_key(base: &ColumnPlan, delta: &ColumnPlan) -> Result<()> {
    let key = |plan: &ColumnPlan| {
        let columns = plan.columns().iter().map(|column| column.role.clone());
        columns.take_while(|role| matches!(role, Role::Key { .. })).collect::<Vec<_>>()
    };
    match key(base) == key(delta) {
        true => Ok(()),
        false => {
            Err(Error::new(Kind::Corrupt, "use a delta").because("its primary key is not that of the base"))
        }
    }
}

/// A stretch of keys and the part of its records that is in memory.
pub struct Stretch {
    source: Arc<ChainRecords>,
    end: PrimaryKey,
    is_whole: bool,
    part: Mutex<Option<Arc<RecordPart>>>,
}

impl Stretch {
    /// Whether all records are in memory: then everybody may work on it at once. Otherwise it is to be gone through from its start to its
    /// end by one.
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// The part that begins at or before `start` and ends behind it. Loads it where it is not there; the part before it is let go first.
    ///
    /// # Errors
    /// What reading files can fail with; [`Kind::Corrupt`] for records that are not what their list says.
    pub async fn part_at(&self, start: &PrimaryKey) -> Result<Arc<RecordPart>> {
        let mut held = self.part.lock().await;
        if let Some(part) = held.as_ref().filter(|part| part.range.contains(start)) {
            return Ok(part.clone());
        }
        *held = None;
        let rest = KeyRange { start: start.clone(), end: self.end.clone() };
        let part = Arc::new(self.source.load(rest).await?);
        *held = Some(part.clone());
        Ok(part)
    }
}
