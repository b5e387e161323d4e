//! The rows of a side in key order, a page or a record batch at a time: key and hash of each, and its cells on demand.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use arrow::array::RecordBatch;

use super::data_file::DataFile;
use super::folded::FoldedStream;
use super::side::{RunSide, Side, Sum, TableSide};
use crate::catalog::FileEntry;
use crate::columnar::{ColumnPlan, RowsReader};
use crate::model::{KeyRange, PrimaryKey, Row, RowHasher, RowSum, Value, ValueType};
use crate::parquet_file::Batches;
use crate::runtime::BytePermit;
use crate::tablestore::{Page, RangePages};
use crate::{Error, Kind, Result};

/// Key and hash of a row.
#[derive(Debug)]
pub(super) struct HashedRow {
    pub key: PrimaryKey,
    pub hash: RowSum,
    /// Its place in the block.
    index: usize,
}

/// Some consecutive rows.
pub(super) struct RowBlock {
    pub rows: Vec<HashedRow>,
    body: Body,
    _permit: Option<BytePermit>,
}

enum Body {
    Page(Page),
    Batch(RecordBatch, Arc<ColumnPlan>),
}

/// The versions of each attribute column of a row: timestamp, type and bytes.
pub(super) type Cells = BTreeMap<String, Vec<(Option<i64>, ValueType, Vec<u8>)>>;

/// Rows and row-sum of a page.
pub(super) fn sum_page(page: &Page, hasher: &mut RowHasher) -> Result<Sum> {
    let mut sum = Sum::default();
    let mut reader = page.reader().map_err(|error| bad_page(page, error.into()))?;
    let mut row = Row::default();
    while reader.next_row(&mut row).map_err(|error| bad_page(page, error.into()))? {
        sum = (sum.0 + 1, sum.1 + hasher.row(&row));
    }
    Ok(sum)
}

impl RowBlock {
    fn of_page(page: Page, permit: BytePermit, range: &KeyRange) -> Result<RowBlock> {
        let mut rows = Rows::new(range);
        let mut reader = page.reader().map_err(|error| bad_page(&page, error.into()))?;
        let mut row = Row::default();
        while reader.next_row(&mut row).map_err(|error| bad_page(&page, error.into()))? {
            rows.add(&row)?;
        }
        let rows = rows.rows;
        Ok(RowBlock { rows, body: Body::Page(page), _permit: Some(permit) })
    }

    fn of_batch(batch: RecordBatch, plan: Arc<ColumnPlan>, range: &KeyRange) -> Result<RowBlock> {
        let mut rows = Rows::new(range);
        let mut reader = RowsReader::new(&batch, &plan)?;
        let mut row = Row::default();
        while reader.read(&mut row)? {
            rows.add(&row)?;
        }
        let rows = rows.rows;
        Ok(RowBlock { rows, body: Body::Batch(batch, plan), _permit: None })
    }

    /// The cells of a row. Costs a walk over the block.
    pub(super) fn cells(&self, row: &HashedRow) -> Result<Cells> {
        match &self.body {
            Body::Page(page) => {
                let mut reader = page.reader().map_err(|error| bad_page(page, error.into()))?;
                let mut found = Row::default();
                for _ in 0..=row.index {
                    reader.next_row(&mut found).map_err(|error| bad_page(page, error.into()))?;
                }
                Ok(cells_of(&found))
            }
            Body::Batch(batch, plan) => {
                let slice = batch.slice(row.index, 1);
                let mut reader = RowsReader::new(&slice, plan)?;
                let mut found = Row::default();
                reader.read(&mut found)?;
                Ok(cells_of(&found))
            }
        }
    }
}

/// Collects the rows of a block.
struct Rows<'a> {
    range: &'a KeyRange,
    hasher: RowHasher,
    rows: Vec<HashedRow>,
    count: usize,
}

impl<'a> Rows<'a> {
    fn new(range: &'a KeyRange) -> Rows<'a> {
        Rows { range, hasher: RowHasher::default(), rows: Vec::new(), count: 0 }
    }

    fn add(&mut self, row: &Row<'_>) -> Result<()> {
        let index = self.count;
        self.count += 1;
        let key = PrimaryKey::from_row(&row.key).ok_or_else(|| wrong("a row has no key"))?;
        if !self.range.contains(&key) {
            return Ok(());
        }
        if self.rows.last().is_some_and(|last| last.key >= key) {
            return Err(wrong("its keys do not ascend"));
        }
        let hash = self.hasher.row(row);
        self.rows.push(HashedRow { key, hash, index });
        Ok(())
    }
}

fn cells_of(row: &Row<'_>) -> Cells {
    let mut cells = Cells::new();
    for cell in &row.cells {
        let Some(value) = cell.value else { continue };
        let bytes = match value {
            Value::Integer(value) => value.to_le_bytes().to_vec(),
            Value::Double(value) => value.to_bits().to_le_bytes().to_vec(),
            Value::Boolean(value) => vec![u8::from(value)],
            Value::String(value) => value.as_bytes().to_vec(),
            Value::Binary(value) => value.to_vec(),
        };
        cells.entry(cell.name.to_owned()).or_default().push((cell.timestamp, value.value_type(), bytes));
    }
    cells
}

/// Gives the rows of one side in one key range.
pub(super) struct RowStream<'a> {
    range: KeyRange,
    source: Source<'a>,
}

enum Source<'a> {
    Table { table: &'a TableSide, pages: RangePages },
    Run { run: &'a RunSide, entries: VecDeque<&'a FileEntry>, open: Option<Box<OpenFile>> },
    Folded { run: &'a RunSide, rows: Box<FoldedStream<'a>> },
}

/// The file that is being read.
struct OpenFile {
    file: DataFile,
    next_group: usize,
    batches: Option<(Batches, Option<BytePermit>)>,
}

impl<'a> RowStream<'a> {
    pub(super) fn new(side: &'a Side, range: &KeyRange) -> RowStream<'a> {
        let source = match side {
            Side::Table(table) => Source::Table { pages: table.rows(range), table },
            Side::Run(run) => {
                let entries = run.entries_in(range);
                match &run.folding {
                    None => Source::Run { entries: entries.iter().collect(), run, open: None },
                    Some(folding) => {
                        Source::Folded { rows: Box::new(FoldedStream::new(folding, entries)), run }
                    }
                }
            }
        };
        RowStream { range: range.clone(), source }
    }

    /// The next block, perhaps without rows; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<RowBlock>> {
        let range = self.range.clone();
        match &mut self.source {
            Source::Table { table, pages } => {
                let Some((page, permit)) = pages.next().await? else { return Ok(None) };
                table.cpu.run(move || RowBlock::of_page(page, permit, &range)).await?.map(Some)
            }
            Source::Run { run, entries, open } => {
                let Some(batch) = next_batch(run, entries, open).await? else { return Ok(None) };
                block_of(run, batch, range).await.map(Some)
            }
            Source::Folded { run, rows } => {
                let Some(batch) = rows.next().await? else { return Ok(None) };
                block_of(run, batch, range).await.map(Some)
            }
        }
    }
}

async fn block_of(run: &RunSide, batch: RecordBatch, range: KeyRange) -> Result<RowBlock> {
    let plan = run.reading.plan().clone();
    run.reading.cpu().run(move || RowBlock::of_batch(batch, plan, &range)).await?
}

async fn next_batch(
    run: &RunSide,
    entries: &mut VecDeque<&FileEntry>,
    open: &mut Option<Box<OpenFile>>,
) -> Result<Option<RecordBatch>> {
    loop {
        let Some(file) = open else {
            let Some(entry) = entries.pop_front() else { return Ok(None) };
            if entry.file.is_some() {
                let object = run.path.data_file(entry.id);
                let file = run.reading.open(&run.path, entry).await.map_err(|error| {
                    Error::new(error.kind(), "read").on(format!("`{object}`")).source(error)
                })?;
                *open = Some(Box::new(OpenFile { file, next_group: 0, batches: None }));
            }
            continue;
        };
        if let Some((mut batches, permit)) = file.batches.take() {
            let (batch, batches) = run.reading.cpu().run(move || (batches.next(), batches)).await?;
            if let Some(batch) = batch {
                file.batches = Some((batches, permit));
                return batch.map(Some);
            }
        }
        if file.next_group == file.file.row_groups() {
            *open = None;
            continue;
        }
        file.batches = Some(file.file.batches(&run.reading, file.next_group).await?);
        file.next_group += 1;
    }
}

#[cold]
fn bad_page(page: &Page, source: Box<dyn std::error::Error + Send + Sync>) -> Error {
    Error::new(Kind::Unavailable, "use a page").request_id(page.request_id.clone()).source(source)
}

#[cold]
fn wrong(reason: &'static str) -> Error {
    Error::new(Kind::Corrupt, "compare rows").because(reason)
}
