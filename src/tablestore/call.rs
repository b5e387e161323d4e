//! The retry loop around one exchange, and the checks that every answer must pass.

use std::cell::Cell;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;

use super::counters::SharedCounters;
use super::failure::{BoxError, Failure, ServiceError};
use super::signing::content_md5;
use super::transport::Answer;
use super::{Inner, TableStore};
use crate::credentials::Credentials;
use crate::error::retry::{Backoff, Pace, Retry};
use crate::runtime::Outcome;
use crate::{Error, Kind, Result, proto};

/// An operation of the service.
pub(super) struct Operation {
    /// Last part of the path, and of the string-to-sign.
    pub(super) name: &'static str,
    /// Completes "cannot … table `orders`".
    pub(super) doing: &'static str,
    /// Repeating it after it may have been applied does no harm.
    pub(super) idempotent: bool,
    /// It moves rows or records: it counts for the limit on requests in flight, and learns from its latency.
    pub(super) data: bool,
    /// Field numbers that an answer must have. prost fills missing required fields with defaults: without this check
    /// an empty body would read as "no rows, end of the range".
    pub(super) required: &'static [u32],
}

/// The body of a request, encoded once however often it is sent.
#[derive(Debug, Clone)]
pub(super) struct ReadyBody {
    pub(super) bytes: Bytes,
    /// As [`content_md5`] gives it.
    pub(super) md5: String,
}

impl ReadyBody {
    pub(super) async fn encode(message: &impl Message) -> ReadyBody {
        let bytes = Bytes::from(message.encode_to_vec());
        let md5 = content_md5(&bytes).await;
        ReadyBody { bytes, md5 }
    }
}

/// What a request is about, as its errors name it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Target<'a> {
    /// The instance as a whole.
    Instance,
    /// A table.
    Table(&'a str),
    /// A Stream, by its id.
    Stream(&'a str),
    /// The Stream of a table.
    StreamOf(&'a str),
}

/// What the reader of an answer may want to know besides the message.
pub(super) struct Origin<'a> {
    pub(super) body_bytes: usize,
    pub(super) request_id: Option<&'a str>,
    /// Set by a reader whose answer need not match its MD5: a page whose rows have checksums and that says where the
    /// next one starts. All other answers are small and checked, since a flipped bit can hide an optional field: a
    /// page that lost its next key would end a scan early.
    pub(super) skip_md5: Cell<bool>,
    /// Capacity units that the answer says it cost; they are paid for at the ceilings.
    read_units: Cell<u64>,
    write_units: Cell<u64>,
}

impl Origin<'_> {
    /// Notes the read capacity units of an answer, or of a part of it, and returns them.
    pub(super) fn read_units(&self, consumed: &proto::ConsumedCapacity) -> u64 {
        let units = u64::try_from(consumed.capacity_unit.read()).unwrap_or(0);
        self.read_units.update(|all| all + units);
        units
    }

    /// Notes the write capacity units of an answer, or of a part of it, and returns them.
    pub(super) fn write_units(&self, consumed: &proto::ConsumedCapacity) -> u64 {
        let units = u64::try_from(consumed.capacity_unit.write()).unwrap_or(0);
        self.write_units.update(|all| all + units);
        units
    }
}

/// What one exchange used up.
struct Used<T> {
    result: T,
    read_units: u64,
    write_units: u64,
}

/// Before the first answer of all, a host that cannot be reached is more likely misspelt than down.
const FIRST_CONTACT_BUDGET: Duration = Duration::from_secs(15);

/// Repeats up to this one are normal operation; later ones are logged as warnings.
const QUIET_ATTEMPTS: u32 = 5;

impl TableStore {
    /// The start of an error of `operation`.
    pub(super) fn error(&self, operation: &Operation, target: Target<'_>) -> Error {
        Error::new(Kind::Internal, operation.doing).on(match target {
            Target::Instance => format!("instance `{}`", self.instance()),
            Target::Table(table) => format!("table `{table}`"),
            Target::Stream(id) => format!("Stream `{id}`"),
            Target::StreamOf(table) => format!("the Stream of table `{table}`"),
        })
    }

    /// As [`TableStore::call_ready`], for a message.
    pub(super) async fn call<A: Message + Default, T>(
        &self,
        operation: &Operation,
        target: Target<'_>,
        request: &impl Message,
        read: impl Fn(A, &Origin<'_>) -> Result<T, BoxError>,
    ) -> Result<T> {
        self.call_ready(operation, target, &ReadyBody::encode(request).await, read).await
    }

    /// Sends `body` until it is answered or given up. `read` turns the decoded answer into the result; what it
    /// refuses is an invalid answer.
    pub(super) async fn call_ready<A: Message + Default, T>(
        &self,
        operation: &Operation,
        target: Target<'_>,
        body: &ReadyBody,
        read: impl Fn(A, &Origin<'_>) -> Result<T, BoxError>,
    ) -> Result<T> {
        let counters = &self.0.counters;
        let transport = &self.0.transport;
        let began = std::time::Instant::now();
        let mut backoff = Backoff::new(self.0.retry_budget);
        let mut damaged = 0;
        let mut has_new_key = false;
        loop {
            let mut signed_with = None;
            let failure = match self.attempt(operation, body, &mut signed_with, &read).await {
                Ok(result) => return Ok(result),
                Err(failure) => failure,
            };
            if !has_new_key && failure.refuses_the_key() && self.replace_key(signed_with).await {
                has_new_key = true;
                SharedCounters::add(&counters.retries, 1);
                continue;
            }
            damaged += u32::from(failure.may_be_damage());
            let pace = failure.retry(damaged).pace(operation.idempotent);
            if pace == Some(Pace::Throttled) {
                SharedCounters::add(&counters.throttles, 1);
            }
            let unreachable = matches!(failure, Failure::Transport { sent: false, .. })
                && counters.read().answers == 0
                && began.elapsed() >= FIRST_CONTACT_BUDGET;
            let pause = match pace {
                Some(pace) if !unreachable => backoff.next_pause(pace),
                _ => None,
            };
            let Some(pause) = pause else {
                let may_be_applied =
                    !operation.idempotent && matches!(failure.retry(damaged), Retry::IfIdempotent(_));
                let mut error = failure.into_error(self.error(operation, target), transport.endpoint());
                if may_be_applied {
                    error = error.hint("the request may have been carried out all the same");
                }
                if pace.is_some() {
                    error = error.hint(format!("gave up after {} attempts", backoff.attempts() + 1));
                }
                return Err(error);
            };
            log_retry(operation, target, &failure, backoff.attempts(), pause);
            SharedCounters::add(&counters.retries, 1);
            tokio::time::sleep(pause).await;
        }
    }

    async fn attempt<A: Message + Default, T>(
        &self,
        operation: &Operation,
        body: &ReadyBody,
        signed_with: &mut Option<Credentials>,
        read: impl Fn(A, &Origin<'_>) -> Result<T, BoxError>,
    ) -> Result<T, Failure> {
        let Inner { transport, counters, concurrency, ceilings, .. } = &*self.0;
        // Asked for each attempt: a repeated request never carries an expired token.
        let credentials = transport.credentials().current().await.map_err(Failure::NoKey)?;
        let credentials = signed_with.insert(credentials);
        let permit = match operation.data {
            true => Some(concurrency.permit().await),
            false => None,
        };
        SharedCounters::add(&counters.requests, 1);
        let mut moved = body.bytes.len() as u64;
        let outcome =
            match transport.exchange(operation.name, body.bytes.clone(), &body.md5, credentials).await {
                Ok(answer) => {
                    SharedCounters::add(&counters.answers, 1);
                    SharedCounters::add(&counters.response_bytes, answer.body.len() as u64);
                    moved += answer.body.len() as u64;
                    read_answer(operation, answer, read).await
                }
                Err(failure) => Err(failure),
            };
        // Given back before anybody waits for anything else.
        if let Some(permit) = permit {
            match &outcome {
                Ok(_) => permit.finish(Outcome::Answered),
                Err(failure) if failure.retry(0).is_throttled() => permit.finish(Outcome::Throttled),
                Err(_) => drop(permit),
            }
        }
        ceilings.bytes(moved).await;
        let Used { result, read_units, write_units } = outcome?;
        ceilings.units(read_units, write_units).await;
        Ok(result)
    }

    /// Whether there is another key than the refused one: it was rotated, or its token ended before its time.
    async fn replace_key(&self, refused: Option<Credentials>) -> bool {
        let Some(refused) = refused else { return false };
        match self.0.transport.credentials().replace(&refused).await {
            Ok(newer) => newer.is_some(),
            Err(error) => {
                // The refusal itself is what the caller gets to see.
                tracing::warn!(%error, "the access key was refused and there is no other one");
                false
            }
        }
    }
}

async fn read_answer<A: Message + Default, T>(
    operation: &Operation,
    answer: Answer,
    read: impl Fn(A, &Origin<'_>) -> Result<T, BoxError>,
) -> Result<Used<T>, Failure> {
    let not_table_store =
        |answer: Answer| Failure::NotTableStore { status: answer.status, content_type: answer.content_type };
    if !(200..300).contains(&answer.status) {
        let id = answer.request_id.clone();
        return Err(match ServiceError::decode(answer.status, id, &answer.body) {
            Some(service) => Failure::Service(service),
            None => not_table_store(answer),
        });
    }
    // Every answer of the service has one; an empty 200 of some other server must not read as "no tables".
    if answer.request_id.is_none() {
        return Err(not_table_store(answer));
    }
    let (result, skip_md5, read_units, write_units) = {
        let origin = Origin {
            body_bytes: answer.body.len(),
            request_id: answer.request_id.as_deref(),
            skip_md5: Cell::new(false),
            read_units: Cell::new(0),
            write_units: Cell::new(0),
        };
        let result = decode(operation, &answer.body).and_then(|message| read(message, &origin));
        (result, origin.skip_md5.get(), origin.read_units.get(), origin.write_units.get())
    };
    let source = match result {
        Ok(result) if skip_md5 || !answer.is_damaged().await => {
            return Ok(Used { result, read_units, write_units });
        }
        Ok(_) => return Err(Failure::Damaged { request_id: answer.request_id, md5: true }),
        Err(source) => source,
    };
    // Only now is the MD5 worth its time: it tells damage on the way from nonsense at the source.
    Err(match answer.is_damaged().await {
        true => Failure::Damaged { request_id: answer.request_id, md5: true },
        false => Failure::Invalid { source, request_id: answer.request_id },
    })
}

fn decode<A: Message + Default>(operation: &Operation, body: &Bytes) -> Result<A, BoxError> {
    let message = A::decode(body.clone())?;
    let mut present = 0_u32;
    let mut rest = body.as_ref();
    while !rest.is_empty() {
        let (field, wire_type) = prost::encoding::decode_key(&mut rest)?;
        prost::encoding::skip_field(wire_type, field, &mut rest, Default::default())?;
        present |= 1_u32.checked_shl(field).unwrap_or(0);
    }
    match operation.required.iter().find(|field| present & (1 << **field) == 0) {
        Some(field) => Err(format!("required field {field} is missing").into()),
        None => Ok(message),
    }
}

fn log_retry(operation: &Operation, target: Target<'_>, failure: &Failure, attempt: u32, pause: Duration) {
    let (operation, reason, request_id) = (operation.name, failure.reason(), failure.request_id());
    if attempt <= QUIET_ATTEMPTS {
        tracing::debug!(operation, ?target, attempt, ?pause, reason, request_id, "request repeated");
    } else {
        tracing::warn!(operation, ?target, attempt, ?pause, reason, request_id, "request repeated again");
    }
}
