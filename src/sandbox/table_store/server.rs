//! The HTTP face of an instance: who calls, which operation, which fault, and a signed answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use bytes::Bytes;
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};

use super::auth::{Account, ResponseKey, body_digest};
use super::capacity;
use super::compression::{Compressed, deflate, inflate, response_headers};
use super::instance::{Call, Instance};
use super::operations;
use super::range::PageFault;
use super::service_error::{Answer, ServiceError};
use crate::sandbox::counters::Counters;
use crate::sandbox::faults::{Action, Service};
use crate::sandbox::http::{Answer as HttpAnswer, Body, Handler, Reply, Request, flipped};

/// Bytes of a request body (documented as 5 MB).
const MAX_BODY: usize = 5 << 20;

/// Serves one instance.
pub struct Front {
    /// Who may call.
    pub account: Account,
    /// What is served.
    pub instance: Arc<Instance>,
    /// What is counted.
    pub counters: Counters,
    /// Of the next request.
    pub request_number: AtomicU64,
    /// How far the clock for signatures is ahead of the real one, in seconds.
    pub clock_skew: Arc<AtomicI64>,
}

/// What is done to an answer after the operation ran.
#[derive(Default)]
struct AfterFaults {
    drop: bool,
    truncate: bool,
    wrong_checksum: bool,
    corrupt: Option<(u64, u8)>,
    page: PageFault,
    /// The operation is applied and this is answered all the same.
    error: Option<ServiceError>,
    /// How far the server's clock is ahead, in seconds.
    clock_skew: i64,
    /// Not a fault: the client takes a compressed answer.
    deflate: bool,
}

impl Handler for Front {
    async fn handle<'a>(&'a self, request: &'a mut Request) -> HttpAnswer {
        let operation = request.path.trim_start_matches('/').to_owned();
        let counted = match operations::OPERATIONS.contains(&operation.as_str()) {
            true => operation.as_str(),
            false => "unknown",
        };
        let in_flight = self.counters.begin(Service::TableStore, counted);
        let body = match request.body.read_all(MAX_BODY).await {
            Ok(body) => body,
            Err(_) => return HttpAnswer::Drop,
        };
        in_flight.bytes_in(request.body.bytes_read());
        let key = self.account.response_key(&request.headers).unwrap_or_else(|_| self.account.default_key());
        let mut after = AfterFaults::default();
        let arrived = body.clone();
        let verified = match self.check(request, body, 0) {
            Ok((body, compressed)) => {
                after.deflate = compressed.response;
                inflated(body, compressed).await
            }
            Err(refusal) => Err(refusal),
        };
        let body = match verified {
            Ok(body) => body,
            Err(refusal) => {
                in_flight.failed();
                return self.reply(&request.path, key, Err(refusal), AfterFaults::default()).await;
            }
        };
        let table = operations::table_name(&operation, &body);
        let mut verdict = self.instance.faults.verdict(Service::TableStore, &operation, &table);
        if let Some(pace) = &verdict.pace {
            pace.pass(request.body.bytes_read()).await;
        }
        verdict.wait().await;
        let mut refused = Ok(());
        match verdict.action.take() {
            None => {}
            Some(Action::Error { status, code, message }) => {
                in_flight.failed();
                let error = ServiceError::new(status, code, message);
                return self.reply(&request.path, key, Err(error), after).await;
            }
            Some(Action::DropBefore) => {
                in_flight.failed();
                return HttpAnswer::Drop;
            }
            Some(Action::DropAfter) => after.drop = true,
            Some(Action::ErrorAfter { status, code, message }) => {
                after.error = Some(ServiceError::new(status, code, message));
            }
            Some(Action::TruncateRequest) => {
                in_flight.failed();
                return HttpAnswer::Drop;
            }
            Some(Action::CorruptRequest { offset, xor }) => {
                let damaged = arrived.map(|body| flipped(body, 0, offset, xor));
                refused = self.check(request, damaged, 0).map(drop);
            }
            Some(Action::ClockSkew(seconds)) => {
                after.clock_skew = seconds;
                refused = self.check(request, arrived, seconds).map(drop);
            }
            Some(Action::ExpireToken) => refused = Err(self.account.expire_token(&request.headers)),
            Some(Action::TruncateBody) => after.truncate = true,
            Some(Action::CorruptBody { offset, xor }) => after.corrupt = Some((offset, xor)),
            Some(Action::WrongChecksum) => after.wrong_checksum = true,
            Some(Action::Custom(name)) => match &*name {
                "repeat-next-key" => after.page = PageFault::RepeatNextKey,
                "bad-row-checksum" => after.page = PageFault::BadRowChecksum,
                "empty-page" => after.page = PageFault::Empty,
                "timeout-after" => {
                    after.error = Some(ServiceError::new(503, "OTSTimeout", "Operation timeout."));
                }
                _ => {}
            },
            // These only slow down; the verdict has waited for them.
            Some(Action::Delay(_) | Action::Jitter { .. } | Action::Bandwidth(_) | Action::Limit { .. }) => {}
        }
        if let Err(refusal) = refused {
            in_flight.failed();
            return self.reply(&request.path, key, Err(refusal), after).await;
        }
        let instance = Arc::clone(&self.instance);
        let page = after.page;
        // Reads and hashes up to 4 MB: not on a thread that serves connections.
        let name = operation.clone();
        let ran = tokio::task::spawn_blocking(move || {
            let call = Call { operation: &name, now: instance.now(), faults: &instance.faults };
            let answer = operations::run(&instance, &call, &body, page);
            instance.settle().and(answer)
        });
        let mut answer = match ran.await {
            Ok(answer) => answer,
            Err(_) => Err(ServiceError::new(500, "OTSInternalServerError", "The sandbox failed.")),
        };
        if let Ok(body) = &answer {
            let consumed = capacity::consumed(counted, body);
            in_flight.capacity_units(consumed);
        }
        if let (Ok(_), Some(error)) = (&answer, after.error.take()) {
            answer = Err(error);
        }
        if answer.is_err() || after.drop {
            in_flight.failed();
        }
        if after.drop {
            return HttpAnswer::Drop;
        }
        let mut answer = self.reply(&request.path, key, answer, after).await;
        if let HttpAnswer::Reply(reply) = &mut answer {
            in_flight.bytes_out(reply.body.len());
            if let Some(pace) = verdict.pace.take() {
                reply.body = std::mem::replace(&mut reply.body, Body::empty()).paced(pace);
            }
            // Both count until the last byte is gone.
            reply.body.hold((in_flight, verdict));
        }
        answer
    }
}

impl Front {
    /// Checks everything that needs no table, and hands the body out.
    fn check(&self, request: &Request, body: Option<Bytes>, clock_skew: i64) -> Answer<(Bytes, Compressed)> {
        let body = body.ok_or_else(ServiceError::too_large)?;
        let now = self.now(clock_skew);
        self.account.verify(&request.method, &request.path, &request.headers, &body, now)?;
        if !request.query.is_empty() {
            return Err(ServiceError::parameter("A query string is not allowed."));
        }
        Ok((body, Compressed::requested(&request.headers, MAX_BODY)?))
    }

    /// The clock that signatures are checked by, `skew` seconds further ahead.
    fn now(&self, skew: i64) -> Timestamp {
        let ahead = skew.saturating_add(self.clock_skew.load(Ordering::Relaxed));
        Timestamp::now().saturating_add(SignedDuration::from_secs(ahead)).unwrap_or(Timestamp::MAX)
    }

    async fn reply(
        &self,
        path: &str,
        key: ResponseKey,
        answer: Answer<Vec<u8>>,
        after: AfterFaults,
    ) -> HttpAnswer {
        let number = self.request_number.fetch_add(1, Ordering::Relaxed);
        let request_id = format!("00061a2b-5a5b-0000-0000-{number:012x}");
        let (account, path, now) = (self.account.clone(), path.to_owned(), self.now(after.clock_skew));
        let (wrong_checksum, may_deflate) = (after.wrong_checksum, after.deflate);
        let signed = tokio::task::spawn_blocking(move || {
            let (status, body) = match answer {
                Ok(body) => (StatusCode::OK, body),
                Err(error) => (StatusCode::from_u16(error.status).unwrap_or_default(), error.body()),
            };
            let digest = if wrong_checksum { body_digest(b"another body") } else { body_digest(&body) };
            let deflated = (may_deflate && status.is_success()).then(|| deflate(&body)).flatten();
            let (body, more) = match deflated {
                Some(compressed) => (compressed, Vec::from(response_headers(body.len()))),
                None => (body, Vec::new()),
            };
            let headers = account.response_headers(&key, &path, digest, &request_id, now, more);
            (status, headers, body)
        });
        let Ok((status, headers, body)) = signed.await else { return HttpAnswer::Drop };
        let length = body.len() as u64;
        let mut body = Body::from(body);
        if after.truncate {
            body = body.cut_after(length / 2);
        }
        if let Some((offset, xor)) = after.corrupt {
            body = body.corrupt(offset, xor);
        }
        let mut reply = Reply::new(status).with_body(body);
        for (name, value) in headers {
            reply = reply.with(name, value);
        }
        HttpAnswer::Reply(reply)
    }
}

/// The body of a request as its operation reads it. Not on a thread that serves connections.
async fn inflated(body: Bytes, compressed: Compressed) -> Answer<Bytes> {
    let Some(size) = compressed.request_size else { return Ok(body) };
    let work = tokio::task::spawn_blocking(move || inflate(&body, size));
    work.await
        .unwrap_or_else(|_| Err(ServiceError::new(500, "OTSInternalServerError", "The sandbox failed.")))
}
