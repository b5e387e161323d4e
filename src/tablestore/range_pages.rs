//! The pages of one key range, one request ahead, within a byte budget.

use tokio::task::JoinSet;

use super::{Page, RangeRequest, TableStore};
use crate::runtime::{ByteBudget, BytePermit};
use crate::{Error, Kind, Result};

/// Smallest reservation for a page that is still on its way. The service stops a page at 4 MB of data or 5,000 rows;
/// PlainBuffer's framing makes the body larger, by how much depends on the table.
const FIRST_RESERVE: u64 = 6 << 20;

/// Reads what a request asks for, page by page. The request for a page is sent as soon as the page before it has said
/// where it starts; so two bodies are alive at most, each with its permit.
pub struct RangePages {
    client: TableStore,
    /// Its start is that of the page on its way.
    request: RangeRequest,
    budget: ByteBudget,
    largest_page: u64,
    /// One task at most. Aborted when the reader is dropped.
    ahead: JoinSet<Result<(Page, BytePermit)>>,
}

impl RangePages {
    /// Sends the first request.
    pub fn new(client: &TableStore, request: RangeRequest, budget: ByteBudget) -> RangePages {
        let (client, ahead) = (client.clone(), JoinSet::new());
        let mut pages = RangePages { client, request, budget, largest_page: 0, ahead };
        pages.send();
        pages
    }

    /// The next page with the bytes that it holds in the budget, or `None` behind the last one. Cancel safe.
    ///
    /// # Errors
    /// Those of [`TableStore::get_range`].
    pub async fn next(&mut self) -> Result<Option<(Page, BytePermit)>> {
        let Some(joined) = self.ahead.join_next().await else { return Ok(None) };
        let (page, permit) =
            joined.map_err(|error| Error::new(Kind::Internal, "wait for a page").source(error))??;
        self.largest_page = self.largest_page.max(page.body_bytes as u64);
        if let Some(start) = &page.next_start {
            self.request.start = start.clone();
            self.send();
        }
        Ok(Some((page, permit)))
    }

    fn send(&mut self) {
        let (client, request, budget) = (self.client.clone(), self.request.clone(), self.budget.clone());
        let reserve = (self.largest_page + self.largest_page / 4).max(FIRST_RESERVE);
        self.ahead.spawn(async move {
            let mut permit = budget.acquire(reserve).await;
            let page = client.get_range(&request).await?;
            permit.shrink_to(page.body_bytes as u64);
            Ok((page, permit))
        });
    }
}
