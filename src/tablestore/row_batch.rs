//! Batches whose rows fail one by one: only those that may be repeated are, until each has its answer.

use super::TableStore;
use super::call::{Operation, Target};
use super::counters::SharedCounters;
use super::failure::ServiceError;
use crate::error::retry::{Backoff, Pace};
use crate::{Error, Result, proto};

/// What the service said about one row.
pub(super) type RowAnswer<T> = Result<T, ServiceError>;

/// Rows on their way to an answer. Send what [`RowBatch::waiting`] gives, hand the answers to
/// [`RowBatch::answered`], and repeat.
pub(super) struct RowBatch<'a, I, T> {
    client: &'a TableStore,
    operation: &'a Operation,
    table: &'a str,
    backoff: Backoff,
    waiting: Vec<(usize, I)>,
    outcomes: Vec<(usize, Result<T>)>,
    row_retries: u64,
}

impl<'a, I: Copy, T> RowBatch<'a, I, T> {
    pub(super) fn new(
        client: &'a TableStore,
        operation: &'a Operation,
        table: &'a str,
        items: impl IntoIterator<Item = I>,
    ) -> RowBatch<'a, I, T> {
        RowBatch {
            client,
            operation,
            table,
            backoff: Backoff::new(client.0.retry_budget),
            waiting: items.into_iter().enumerate().collect(),
            outcomes: Vec::new(),
            row_retries: 0,
        }
    }

    /// The items to send now, or `None` when each has its outcome.
    pub(super) fn waiting(&self) -> Option<Vec<I>> {
        (!self.waiting.is_empty()).then(|| self.waiting.iter().map(|(_, item)| *item).collect())
    }

    /// Takes one answer per item sent, in their order, and pauses if some are to be sent again. `idempotent` says
    /// whether an item may be repeated after it may have been applied.
    pub(super) async fn answered(&mut self, answers: Vec<RowAnswer<T>>, idempotent: impl Fn(I) -> bool) {
        let mut failed = Vec::new();
        for ((index, item), answer) in std::mem::take(&mut self.waiting).into_iter().zip(answers) {
            match answer {
                Ok(row) => self.outcomes.push((index, Ok(row))),
                Err(service) => match service.retry().pace(idempotent(item)) {
                    Some(pace) => failed.push((index, item, service, pace)),
                    None => self.outcomes.push((index, Err(self.error(service)))),
                },
            }
        }
        if failed.is_empty() {
            return;
        }
        let throttled = failed.iter().any(|(.., pace)| *pace == Pace::Throttled);
        let pace = if throttled { Pace::Throttled } else { Pace::Fault };
        let Some(pause) = self.backoff.next_pause(pace) else {
            for (index, _, service, _) in failed {
                let hint = format!("gave up after {} attempts", self.backoff.attempts() + 1);
                self.outcomes.push((index, Err(self.error(service).hint(hint))));
            }
            return;
        };
        let (operation, table, attempt) = (self.operation.name, self.table, self.backoff.attempts());
        tracing::debug!(operation, table, rows = failed.len(), attempt, ?pause, "rows sent again");
        SharedCounters::add(&self.client.0.counters.retries, 1);
        self.row_retries += failed.len() as u64;
        self.waiting = failed.into_iter().map(|(index, item, ..)| (index, item)).collect();
        tokio::time::sleep(pause).await;
    }

    /// One outcome per item, in their order, and how often a single one was sent again.
    pub(super) fn finish(mut self) -> (Vec<Result<T>>, u64) {
        self.outcomes.sort_by_key(|(index, _)| *index);
        (self.outcomes.into_iter().map(|(_, outcome)| outcome).collect(), self.row_retries)
    }

    fn error(&self, service: ServiceError) -> Error {
        self.client.row_error(self.operation, self.table, service)
    }
}

impl TableStore {
    /// Counts the rows that were refused because the service is over its capacity, and asks for less at a time.
    pub(super) fn count_throttled_rows<'a, T: 'a>(
        &self,
        answers: impl IntoIterator<Item = &'a RowAnswer<T>>,
    ) {
        let throttled = answers.into_iter().filter(|answer| {
            answer.as_ref().is_err_and(|failed| failed.retry().pace(false) == Some(Pace::Throttled))
        });
        let throttled = throttled.count() as u64;
        if throttled > 0 {
            SharedCounters::add(&self.0.counters.throttles, throttled);
            self.0.concurrency.throttled();
        }
    }

    /// The error of one row.
    pub(super) fn row_error(&self, operation: &Operation, table: &str, failed: ServiceError) -> Error {
        let request_id = failed.request_id.clone();
        failed.fill(self.error(operation, Target::Table(table)).request_id(request_id))
    }
}

/// The service's error of one row, which has no HTTP status: the code decides.
pub(super) fn refused_row(error: proto::Error, request_id: Option<&str>) -> ServiceError {
    ServiceError { status: 0, request_id: request_id.map(str::to_owned), error: Box::new(error) }
}
