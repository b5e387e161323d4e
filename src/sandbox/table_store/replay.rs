//! Pages that are kept and sent again, so that a benchmark measures its client and not this server.
//!
//! Promises: a request gets the bytes that it would get without; whoever may not read still may not, since only the
//! page itself is kept and every check goes before it. Kept are pages of generated tables, of which clients can change neither
//! rows nor options: such a page depends on the request alone. A client cannot create a generated table either, so a
//! name means the same rows as long as one is there. A page that was full is also the answer to the same request with
//! another end, if the row that comes next is before it; so a scan is replayed although its ranges were cut elsewhere.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use prost::Message;

use super::answer::PreparedAnswer;
use super::instance::{Call, Instance};
use super::range::bound;
use super::table::Table;
use crate::model::PrimaryKey;
use crate::{plainbuffer, proto};

/// The request for a page that is the same whenever it is asked for.
#[derive(Debug, Clone)]
pub struct PageRequest {
    /// Without its end.
    head: Bytes,
    end: PrimaryKey,
}

impl PageRequest {
    /// What a call asks for; `None` where the answer may be another one next time.
    pub fn of(instance: &Instance, call: &Call<'_>, body: &Bytes) -> Option<PageRequest> {
        if call.operation != "GetRange" {
            return None;
        }
        let mut request = proto::GetRangeRequest::decode(body.clone()).ok()?;
        if request.transaction_id.is_some() || request.direction != proto::Direction::Forward as i32 {
            return None;
        }
        let end = std::mem::take(&mut request.exclusive_end_primary_key);
        // Checked as without: a wrong end must not get what a right one does.
        let of_generated = |table: &Table| match table.generated_rows() {
            Some(_) => bound(table, &end).map(Some),
            None => Ok(None),
        };
        let end = instance.read(&request.table_name, call.now, of_generated).ok()??;
        Some(PageRequest { head: request.encode_to_vec().into(), end })
    }
}

/// The pages kept; the first ones asked for stay, as scans that repeat would otherwise drive out what they need next.
pub struct Replay {
    limit_bytes: u64,
    pages: Mutex<Pages>,
}

#[derive(Default)]
struct Pages {
    bytes: u64,
    /// By request without its end; few ends each.
    by_head: HashMap<Bytes, Vec<Page>>,
}

struct Page {
    answer: PreparedAnswer,
    end: PrimaryKey,
    /// Of a full page: the key of the next row.
    next: Option<PrimaryKey>,
}

impl Page {
    fn answers(&self, end: &PrimaryKey) -> bool {
        self.end == *end || self.next.as_ref().is_some_and(|next| next < end)
    }
}

impl Replay {
    /// Room for this many bytes of requests and answers. With 0 nothing is kept.
    pub fn new(limit_bytes: u64) -> Replay {
        Replay { limit_bytes, pages: Mutex::default() }
    }

    /// Whether anything is ever kept.
    pub fn is_on(&self) -> bool {
        self.limit_bytes > 0
    }

    /// The page, if it is kept.
    pub fn get(&self, request: &PageRequest) -> Option<PreparedAnswer> {
        let pages = self.pages();
        let page = pages.by_head.get(&request.head)?.iter().find(|page| page.answers(&request.end))?;
        Some(page.answer.clone())
    }

    /// Keeps the page that answers a request, if there is room. Returns the bytes that this took.
    pub fn keep(&self, request: PageRequest, answer: &PreparedAnswer) -> u64 {
        let next = proto::GetRangeResponse::decode(answer.body.clone()).ok();
        let next = next.and_then(|page| page.next_start_primary_key);
        let next = next.and_then(|key| plainbuffer::decode_key(&key).ok());
        let PageRequest { head, end } = request;
        let bytes = (head.len() + answer.body.len()) as u64;
        let mut pages = self.pages();
        if pages.bytes + bytes > self.limit_bytes {
            return 0;
        }
        let same_head = pages.by_head.entry(head).or_default();
        // Asked for twice at the same time.
        if same_head.iter().any(|page| page.answers(&end)) {
            return 0;
        }
        same_head.push(Page { answer: answer.clone(), end, next });
        pages.bytes += bytes;
        bytes
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::KeyPart;

    fn at(key: i64) -> PrimaryKey {
        PrimaryKey(vec![KeyPart::Integer(key)])
    }

    fn request(head: &'static str, end: i64) -> PageRequest {
        PageRequest { head: Bytes::from(head), end: at(end) }
    }

    /// A page of 100 bytes of rows, before a row at `next` if there is one.
    fn page(next: Option<i64>) -> PreparedAnswer {
        let next = next.map(|next| plainbuffer::encode_key(&["id"], &at(next)).into());
        let response = proto::GetRangeResponse {
            rows: vec![7; 100].into(),
            next_start_primary_key: next,
            ..proto::GetRangeResponse::default()
        };
        PreparedAnswer::new("GetRange", Ok(response.encode_to_vec()), false)
    }

    #[test]
    fn pages_are_kept_until_there_is_no_room() {
        let replay = Replay::new(250);
        assert!(replay.keep(request("a", 9), &page(None)) > 100);
        assert_eq!(replay.keep(request("a", 9), &page(None)), 0, "it is there");
        assert!(replay.keep(request("b", 9), &page(None)) > 100);
        assert_eq!(replay.keep(request("c", 9), &page(None)), 0, "there is no room");
        assert!(replay.get(&request("b", 9)).is_some_and(|kept| kept.body == page(None).body));
        assert!(replay.get(&request("c", 9)).is_none());
        assert!(Replay::new(250).is_on() && !Replay::new(0).is_on());
    }

    #[test]
    fn a_full_page_answers_every_end_behind_the_row_that_comes_next() {
        let replay = Replay::new(1_000);
        replay.keep(request("a", 100), &page(Some(50)));
        let is_kept = |end| replay.get(&request("a", end)).is_some();
        assert!(is_kept(100) && is_kept(51) && is_kept(1_000));
        // The row at 50 is not in the range: the page would not name it.
        assert!(!is_kept(50) && !is_kept(20));
        replay.keep(request("a", 20), &page(None));
        assert!(is_kept(20) && !is_kept(19) && !is_kept(21));
    }
}
