//! The pages of one key range, one request ahead.

use tokio::task::JoinSet;

use super::queue::SplitQueue;
use super::scan::Scan;
use crate::catalog::ReadCost;
use crate::model::KeyRange;
use crate::runtime::BytePermit;
use crate::tablestore::{Page, RangeRequest};
use crate::{Error, Kind, Result};

/// A page with the bytes that it holds in the budget.
pub(super) type HeldPage = (Page, BytePermit);

/// Reads a key range page by page. The request for a page is sent as soon as the page before it has said where it
/// starts, before anybody decodes that one; so two bodies per reader are alive at most, each with its permit.
///
/// The end of the range may move down meanwhile: a page that reaches beyond is dropped and asked for again.
pub(super) struct PageReader<'a> {
    scan: &'a Scan,
    queue: &'a SplitQueue,
    worker: usize,
    /// One task at most: the request ahead. Aborted when the reader is dropped.
    ahead: JoinSet<Result<HeldPage>>,
    /// What that one asks for.
    asked: KeyRange,
    /// Of pages that were dropped.
    cost: ReadCost,
}

/// One page with the keys it covers.
pub(super) struct ReadPage {
    /// `[where it was asked to start, where the next page starts)`.
    pub range: KeyRange,
    /// The page.
    pub page: Page,
    /// Holds the body's bytes in the budget.
    pub permit: BytePermit,
    /// What reading it took.
    pub cost: ReadCost,
}

impl<'a> PageReader<'a> {
    /// Sends the first request, unless the `first` page of the range is there already. `worker` holds the range in
    /// `queue`.
    pub(super) fn new(
        scan: &'a Scan,
        queue: &'a SplitQueue,
        worker: usize,
        range: &KeyRange,
        first: Option<HeldPage>,
    ) -> PageReader<'a> {
        let mut reader = PageReader {
            scan,
            queue,
            worker,
            ahead: JoinSet::new(),
            asked: range.clone(),
            cost: ReadCost::default(),
        };
        match first {
            Some(page) => drop(reader.ahead.spawn(std::future::ready(Ok(page)))),
            None => reader.request(range.clone()),
        }
        reader
    }

    /// The next page, or `None` behind the last one. Cancel safe.
    pub(super) async fn next(&mut self) -> Result<Option<ReadPage>> {
        while let Some(joined) = self.ahead.join_next().await {
            let (page, permit) =
                joined.map_err(|error| Error::new(Kind::Internal, "wait for a page").source(error))??;
            self.cost.pages += 1;
            self.cost.response_bytes += page.body_bytes as u64;
            self.cost.capacity_units += page.read_capacity_units;
            let KeyRange { start, end } = self.asked.clone();
            let page_end = page.next_start.clone().unwrap_or(end);
            match self.queue.accept(self.worker, &page_end, page.body_bytes) {
                Ok(end) => {
                    if page_end < end {
                        self.request(KeyRange { start: page_end.clone(), end });
                    }
                    let range = KeyRange { start, end: page_end };
                    let cost = std::mem::take(&mut self.cost);
                    return Ok(Some(ReadPage { range, page, permit, cost }));
                }
                // Somebody else reads from there on.
                Err(end) => self.request(KeyRange { start, end }),
            }
        }
        Ok(None)
    }

    fn request(&mut self, range: KeyRange) {
        self.asked = range.clone();
        let scan = self.scan.clone();
        self.ahead.spawn(async move { page(&scan, &scan.request(range)).await });
    }
}

/// Asks for one page within the byte budget.
pub(super) async fn page(scan: &Scan, request: &RangeRequest) -> Result<HeldPage> {
    let mut permit = scan.pages.acquire(scan.page_reserve()).await;
    let page = scan.read(request).await?;
    scan.saw_page(page.body_bytes);
    permit.shrink_to(page.body_bytes as u64);
    Ok((page, permit))
}
