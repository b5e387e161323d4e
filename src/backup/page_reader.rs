//! The pages of one key range, one request ahead.

use tokio::task::JoinSet;

use super::scan::Scan;
use crate::model::{KeyRange, PrimaryKey};
use crate::runtime::BytePermit;
use crate::tablestore::Page;
use crate::{Error, Kind, Result};

/// Reads a key range page by page. The request for a page is sent as soon as the page before it has said where it
/// starts, before anybody decodes that one; so two bodies per reader are alive at most, each with its permit.
pub(super) struct PageReader<'a> {
    scan: &'a Scan,
    end: PrimaryKey,
    /// One task at most: the request ahead. Aborted when the reader is dropped.
    ahead: JoinSet<Result<(Page, BytePermit)>>,
    ahead_start: PrimaryKey,
}

/// One page with the keys it covers.
pub(super) struct ReadPage {
    /// `[where it was asked to start, where the next page starts)`.
    pub range: KeyRange,
    /// The page.
    pub page: Page,
    /// Holds the body's bytes in the budget.
    pub permit: BytePermit,
}

impl<'a> PageReader<'a> {
    /// Sends the first request.
    pub(super) fn new(scan: &'a Scan, range: &KeyRange) -> PageReader<'a> {
        let mut reader = PageReader {
            scan,
            end: range.end.clone(),
            ahead: JoinSet::new(),
            ahead_start: range.start.clone(),
        };
        reader.request(range.start.clone());
        reader
    }

    /// The next page, or `None` behind the last one. Cancel safe.
    pub(super) async fn next(&mut self) -> Result<Option<ReadPage>> {
        let Some(joined) = self.ahead.join_next().await else {
            return Ok(None);
        };
        let (page, permit) =
            joined.map_err(|error| Error::new(Kind::Internal, "wait for a page").source(error))??;
        let start = self.ahead_start.clone();
        let end = match &page.next_start {
            Some(next) => {
                self.request(next.clone());
                next.clone()
            }
            None => self.end.clone(),
        };
        Ok(Some(ReadPage { range: KeyRange { start, end }, page, permit }))
    }

    fn request(&mut self, start: PrimaryKey) {
        self.ahead_start = start.clone();
        let range = KeyRange { start, end: self.end.clone() };
        let scan = self.scan.clone();
        self.ahead.spawn(async move {
            let mut permit = scan.pages.acquire(scan.page_reserve()).await;
            let page = scan.client.get_range(&scan.request(range)).await?;
            scan.saw_page(page.body_bytes);
            permit.shrink_to(page.body_bytes as u64);
            Ok((page, permit))
        });
    }
}
