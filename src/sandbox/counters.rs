//! What the servers were asked and what they did: by service and operation, plus gauges such as open uploads.
//!
//! A test asserts on a [`Snapshot`]: "no orphan uploads", "at most 8 parts at once", "no page read twice".

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use super::faults::Service;

/// The counters of a sandbox; clones share them.
#[derive(Clone, Default)]
pub struct Counters(Arc<Mutex<Tables>>);

#[derive(Default)]
struct Tables {
    operations: BTreeMap<(Service, String), Arc<Operation>>,
    gauges: BTreeMap<(Service, &'static str), i64>,
}

#[derive(Default)]
struct Operation {
    requests: AtomicU64,
    errors: AtomicU64,
    replayed: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    capacity_units: AtomicU64,
    in_flight: AtomicU64,
    in_flight_peak: AtomicU64,
}

impl Counters {
    /// All zero.
    pub fn new() -> Counters {
        Counters::default()
    }

    /// Counts a request in, and in flight until the returned guard is dropped.
    pub fn begin(&self, service: Service, operation: &str) -> InFlight {
        let mut tables = self.lock();
        let key = (service, operation.to_owned());
        let operation = Arc::clone(tables.operations.entry(key).or_default());
        drop(tables);
        operation.requests.fetch_add(1, Ordering::Relaxed);
        let now = operation.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        operation.in_flight_peak.fetch_max(now, Ordering::Relaxed);
        InFlight(operation)
    }

    /// Moves a gauge by `change`.
    pub fn move_gauge(&self, service: Service, gauge: &'static str, change: i64) {
        *self.lock().gauges.entry((service, gauge)).or_default() += change;
    }

    /// Starts again from zero; requests in flight and gauges stay, as they are what is there now.
    pub fn reset(&self) {
        for operation in self.lock().operations.values() {
            let Operation {
                requests,
                errors,
                replayed,
                bytes_in,
                bytes_out,
                capacity_units,
                in_flight,
                in_flight_peak,
            } = &**operation;
            for figure in [requests, errors, replayed, bytes_in, bytes_out, capacity_units] {
                figure.store(0, Ordering::Relaxed);
            }
            in_flight_peak.store(in_flight.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    /// The figures now.
    pub fn snapshot(&self) -> Snapshot {
        let tables = self.lock();
        let mut snapshot = Snapshot::default();
        for ((service, name), operation) in &tables.operations {
            let figures = OperationFigures {
                requests: operation.requests.load(Ordering::Relaxed),
                errors: operation.errors.load(Ordering::Relaxed),
                replayed: operation.replayed.load(Ordering::Relaxed),
                bytes_in: operation.bytes_in.load(Ordering::Relaxed),
                bytes_out: operation.bytes_out.load(Ordering::Relaxed),
                capacity_units: operation.capacity_units.load(Ordering::Relaxed),
                in_flight: operation.in_flight.load(Ordering::Relaxed),
                in_flight_peak: operation.in_flight_peak.load(Ordering::Relaxed),
            };
            snapshot.services.entry(*service).or_default().operations.insert(name.clone(), figures);
        }
        for ((service, name), value) in &tables.gauges {
            snapshot.services.entry(*service).or_default().gauges.insert((*name).to_owned(), *value);
        }
        snapshot
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Tables> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Counters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.snapshot().fmt(f)
    }
}

/// A request in flight; dropping it says that the request is over.
pub struct InFlight(Arc<Operation>);

impl InFlight {
    /// Counts bytes of the request's body.
    pub fn bytes_in(&self, bytes: u64) {
        self.0.bytes_in.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts bytes of the answer's body.
    pub fn bytes_out(&self, bytes: u64) {
        self.0.bytes_out.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts capacity units, read and write together.
    pub fn capacity_units(&self, units: u64) {
        self.0.capacity_units.fetch_add(units, Ordering::Relaxed);
    }

    /// Counts the request as answered from what was kept.
    pub fn replayed(&self) {
        self.0.replayed.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts the request as failed, which includes a connection dropped on purpose.
    pub fn failed(&self) {
        self.0.errors.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// All figures at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Snapshot {
    /// By service; a service that was never called is absent.
    #[serde(flatten)]
    pub services: BTreeMap<Service, ServiceFigures>,
}

impl Snapshot {
    /// The figures of one operation; zero when it was never called.
    pub fn operation(&self, service: Service, operation: &str) -> OperationFigures {
        let figures = self.services.get(&service).and_then(|service| service.operations.get(operation));
        figures.copied().unwrap_or_default()
    }

    /// A gauge; zero when it never moved.
    pub fn gauge(&self, service: Service, gauge: &str) -> i64 {
        self.services.get(&service).and_then(|service| service.gauges.get(gauge)).copied().unwrap_or_default()
    }
}

/// The figures of one service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ServiceFigures {
    /// By operation name.
    pub operations: BTreeMap<String, OperationFigures>,
    /// By gauge name.
    pub gauges: BTreeMap<String, i64>,
}

/// The figures of one operation since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct OperationFigures {
    /// Requests that were recognised as this operation, also those refused later.
    pub requests: u64,
    /// Of these, answered with 4xx or 5xx, or dropped on purpose.
    pub errors: u64,
    /// Of these, answered with a page that was kept; 0 without `replay_bytes`.
    pub replayed: u64,
    /// Bytes of request bodies that were read.
    pub bytes_in: u64,
    /// Bytes of answer bodies that were promised.
    pub bytes_out: u64,
    /// Read and write capacity units that answers reported; 0 for OSS.
    pub capacity_units: u64,
    /// Being served now, until the last byte of the answer is handed to the socket.
    pub in_flight: u64,
    /// Most at one time.
    pub in_flight_peak: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_in_flight_and_their_peak_are_counted_by_operation() {
        let counters = Counters::new();
        let first = counters.begin(Service::Oss, "UploadPart");
        let second = counters.begin(Service::Oss, "UploadPart");
        first.bytes_in(10);
        second.failed();
        drop(first);
        counters.move_gauge(Service::Oss, "open_uploads", 1);
        let snapshot = counters.snapshot();
        let parts = snapshot.operation(Service::Oss, "UploadPart");
        let expected = OperationFigures {
            requests: 2,
            errors: 1,
            replayed: 0,
            bytes_in: 10,
            bytes_out: 0,
            capacity_units: 0,
            in_flight: 1,
            in_flight_peak: 2,
        };
        assert_eq!(parts, expected);
        assert_eq!(snapshot.gauge(Service::Oss, "open_uploads"), 1);
        assert_eq!(snapshot.operation(Service::TableStore, "GetRange"), OperationFigures::default());
        let json = serde_json::to_value(&snapshot).unwrap();
        assert_eq!(json["oss"]["operations"]["UploadPart"]["in_flight_peak"], 2);
    }
}
