//! The HTTP face of an instance: who calls, which operation, which fault, and a signed answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};

use super::answer::PreparedAnswer;
use super::auth::{Account, ResponseKey, body_digest};
use super::compression::{Compressed, inflate};
use super::instance::{Call, Instance};
use super::operations;
use super::range::PageFault;
use super::replay::{PageRequest, Replay};
use super::service_error::{Answer, ServiceError};
use crate::sandbox::counters::{Counters, InFlight};
use crate::sandbox::faults::{Action, Service};
use crate::sandbox::http::{Answer as HttpAnswer, Body, Handler, Reply, Request, flipped};

/// Bytes of a request body (documented as 5 MB).
const MAX_BODY: usize = 5 << 20;

/// Bytes that are kept to be sent again.
const REPLAY_GAUGE: &str = "replay_bytes";

/// Serves one instance.
pub struct Front {
    /// Who may call.
    pub account: Account,
    /// What is served.
    pub instance: Arc<Instance>,
    /// Answers that are sent again.
    pub replay: Replay,
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
        let arrived = Instant::now();
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
        let as_sent = body.clone();
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
                return self.refuse(&request.path, &key, &refusal, AfterFaults::default());
            }
        };
        let table = operations::table_name(&operation, &body);
        let mut verdict = self.instance.faults.verdict(Service::TableStore, &operation, &table);
        if let Some(pace) = &verdict.pace {
            pace.pass(request.body.bytes_read()).await;
        }
        verdict.wait().await;
        let action = verdict.action.take();
        let outcome = match self.begin(request, as_sent, action, &mut after) {
            Ok(()) => self.perform(operation, body, &mut after, &in_flight).await,
            Err(outcome) => outcome,
        };
        verdict.wait_to_answer(arrived).await;
        let mut answer = match outcome {
            Outcome::Answered(prepared) => {
                if !prepared.status.is_success() {
                    in_flight.failed();
                }
                self.reply(&request.path, &key, prepared, after)
            }
            Outcome::Dropped => {
                in_flight.failed();
                return HttpAnswer::Drop;
            }
        };
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

/// What becomes of a call that was let in.
enum Outcome {
    Answered(PreparedAnswer),
    /// The connection is lost.
    Dropped,
}

impl From<ServiceError> for Outcome {
    fn from(refusal: ServiceError) -> Outcome {
        Outcome::Answered(PreparedAnswer::refusal(&refusal))
    }
}

impl Front {
    /// What a fault does before the operation runs; what it does afterwards goes to `after`.
    ///
    /// # Errors
    /// How the call ends if the operation does not run.
    fn begin(
        &self,
        request: &Request,
        as_sent: Option<Bytes>,
        action: Option<Action>,
        after: &mut AfterFaults,
    ) -> std::result::Result<(), Outcome> {
        match action {
            None => {}
            Some(Action::Error { status, code, message }) => {
                return Err(ServiceError::new(status, code, message).into());
            }
            Some(Action::DropBefore | Action::TruncateRequest) => return Err(Outcome::Dropped),
            Some(Action::DropAfter) => after.drop = true,
            Some(Action::ErrorAfter { status, code, message }) => {
                after.error = Some(ServiceError::new(status, code, message));
            }
            Some(Action::CorruptRequest { offset, xor }) => {
                let damaged = as_sent.map(|body| flipped(body, 0, offset, xor));
                self.check(request, damaged, 0)?;
            }
            Some(Action::ClockSkew(seconds)) => {
                after.clock_skew = seconds;
                self.check(request, as_sent, seconds)?;
            }
            Some(Action::ExpireToken) => return Err(self.account.expire_token(&request.headers).into()),
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
            // These only slow down; the verdict waits for them.
            Some(
                Action::Delay(_)
                | Action::Jitter { .. }
                | Action::Latency(_)
                | Action::Bandwidth(_)
                | Action::Limit { .. },
            ) => {}
        }
        Ok(())
    }

    /// Runs the operation, or takes its answer from those that were kept.
    async fn perform(
        &self,
        operation: String,
        body: Bytes,
        after: &mut AfterFaults,
        in_flight: &InFlight,
    ) -> Outcome {
        let call = Call { operation: &operation, now: self.instance.now(), faults: &self.instance.faults };
        let is_plain = self.replay.is_on() && after.page == PageFault::None && !after.deflate;
        let page_request = is_plain.then(|| PageRequest::of(&self.instance, &call, &body)).flatten();
        let prepared = match page_request.as_ref().and_then(|request| self.replay.get(request)) {
            Some(kept) => {
                in_flight.replayed();
                kept
            }
            None => {
                let prepared = self.run(operation, body, after).await;
                if let Some(request) = page_request.filter(|_| prepared.status.is_success()) {
                    let bytes = i64::try_from(self.replay.keep(request, &prepared)).unwrap_or(i64::MAX);
                    self.counters.move_gauge(Service::TableStore, REPLAY_GAUGE, bytes);
                }
                prepared
            }
        };
        in_flight.capacity_units(prepared.capacity_units);
        match after.error.take() {
            _ if after.drop => Outcome::Dropped,
            Some(error) if prepared.status.is_success() => error.into(),
            _ => Outcome::Answered(prepared),
        }
    }

    async fn run(&self, operation: String, body: Bytes, after: &AfterFaults) -> PreparedAnswer {
        let instance = Arc::clone(&self.instance);
        let (page, may_deflate) = (after.page, after.deflate);
        // Reads and hashes up to 4 MB: not on a thread that serves connections.
        let ran = tokio::task::spawn_blocking(move || {
            let call = Call { operation: &operation, now: instance.now(), faults: &instance.faults };
            let answer = operations::run(&instance, &call, &body, page);
            PreparedAnswer::new(&operation, instance.settle().and(answer), may_deflate)
        });
        let failed = |_| ServiceError::new(500, "OTSInternalServerError", "The sandbox failed.");
        ran.await.unwrap_or_else(|error| PreparedAnswer::refusal(&failed(error)))
    }

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

    fn refuse(
        &self,
        path: &str,
        key: &ResponseKey,
        refusal: &ServiceError,
        after: AfterFaults,
    ) -> HttpAnswer {
        self.reply(path, key, PreparedAnswer::refusal(refusal), after)
    }

    /// Signs an answer and spoils it as `after` says.
    fn reply(&self, path: &str, key: &ResponseKey, answer: PreparedAnswer, after: AfterFaults) -> HttpAnswer {
        let number = self.request_number.fetch_add(1, Ordering::Relaxed);
        let request_id = format!("00061a2b-5a5b-0000-0000-{number:012x}");
        let more = answer.compression_headers();
        let digest = if after.wrong_checksum { body_digest(b"another body") } else { answer.digest };
        let now = self.now(after.clock_skew);
        let headers = self.account.response_headers(key, path, digest, &request_id, now, more);
        let length = answer.body.len() as u64;
        let mut body = Body::from(answer.body);
        if after.truncate {
            body = body.cut_after(length / 2);
        }
        if let Some((offset, xor)) = after.corrupt {
            body = body.corrupt(offset, xor);
        }
        let mut reply = Reply::new(answer.status).with_body(body);
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
