//! What every part of one scan shares.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::model::{DefinedColumn, KeyRange, TableDefinition};
use crate::plainbuffer::BlockFormat;
use crate::runtime::ByteBudget;
use crate::tablestore::{ExportRequest, Page, RangeRequest, TableStore};
use crate::{Error, Kind, Result};

/// Smallest reservation for a page that is still on its way. The service stops a page at 4 MB of data or 5,000 rows;
/// PlainBuffer's framing makes the body larger, by how much depends on the table.
const FIRST_RESERVE: u64 = 6 << 20;

/// Reads one table within a byte budget. Clones share everything.
#[derive(Clone)]
pub(super) struct Scan {
    pub client: TableStore,
    table: Arc<TableDefinition>,
    projection: Option<Arc<[String]>>,
    /// Pages come by BulkExport, not by GetRange.
    exports: bool,
    /// Response bodies, requested or waiting.
    pub pages: ByteBudget,
    largest_page: Arc<AtomicU64>,
}

impl Scan {
    /// `projection` names the attribute columns to read; `None` reads all.
    pub(super) fn new(
        client: TableStore,
        table: TableDefinition,
        projection: Option<Vec<String>>,
        pages: ByteBudget,
    ) -> Scan {
        Scan {
            client,
            table: Arc::new(table),
            projection: projection.map(Arc::from),
            exports: false,
            pages,
            largest_page: Arc::new(AtomicU64::new(0)),
        }
    }

    /// The same, with its pages by BulkExport if it `exports`; see [`super::read_api`].
    pub(super) fn exporting(self, exports: bool) -> Scan {
        Scan { exports, ..self }
    }

    /// One page: by BulkExport if the scan does that and the request has no limit, which only GetRange knows.
    pub(super) async fn read(&self, request: &RangeRequest) -> Result<Page> {
        if !self.exports || request.limit.is_some() {
            return self.client.get_range(request).await;
        }
        let range = KeyRange { start: request.start.clone(), end: request.end.clone() };
        let page = self.client.bulk_export(&self.export(&range)).await?;
        match page.format {
            BlockFormat::PlainBuffer => Ok(page),
            BlockFormat::RowMatrix => Err(Error::new(Kind::Unsupported, "read a page of")
                .on(format!("table `{}`", self.table()))
                .because("it is a row matrix, which has no timestamps")
                .hint("use `--read-api get-range`")),
        }
    }

    /// Table name.
    pub(super) fn table(&self) -> &str {
        &self.table.name
    }

    /// The table's definition.
    pub(super) fn definition(&self) -> &TableDefinition {
        &self.table
    }

    /// The predefined columns that are read.
    pub(super) fn defined_columns(&self) -> Vec<DefinedColumn> {
        let read = |column: &&DefinedColumn| {
            self.projection.as_ref().is_none_or(|names| names.contains(&column.name))
        };
        self.table.defined_columns.iter().filter(read).cloned().collect()
    }

    /// The request for every row in `range`, with every cell of it or, in a projection, of the columns asked for. The key is
    /// named with them: a row that has none of the columns is returned all the same.
    pub(super) fn request(&self, range: KeyRange) -> RangeRequest {
        let key_names: Vec<_> = self.table.primary_key.iter().map(|column| column.name.clone()).collect();
        let columns = match &self.projection {
            None => Vec::new(),
            Some(names) => key_names.iter().chain(names.iter()).cloned().collect(),
        };
        RangeRequest { columns, ..RangeRequest::everything(&self.table.name, key_names, range) }
    }

    /// The same by BulkExport.
    pub(super) fn export(&self, range: &KeyRange) -> ExportRequest {
        let RangeRequest { table, key_names, start, end, columns, .. } = self.request(range.clone());
        ExportRequest { table, key_names, start, end, columns, format: BlockFormat::PlainBuffer }
    }

    /// Bytes to reserve before a page is requested: a quarter more than the largest page so far.
    pub(super) fn page_reserve(&self) -> u64 {
        let largest = self.largest_page.load(Relaxed);
        (largest + largest / 4).max(FIRST_RESERVE)
    }

    /// Learns the size of a body.
    pub(super) fn saw_page(&self, body_bytes: usize) {
        self.largest_page.fetch_max(body_bytes as u64, Relaxed);
    }
}
