//! What a monitor scrapes of `delta --follow`, as Prometheus metrics.

use std::net::SocketAddr;

use metrics::{counter, describe_counter, describe_gauge, gauge};
use metrics_exporter_prometheus::PrometheusBuilder;

use crate::delta::{Appended, FollowStatus};
use crate::{Error, Kind, Result};

const LAG: &str = "otsvault_delta_lag_seconds";
const RETENTION_USED: &str = "otsvault_delta_retention_used_ratio";
const WAITING: &str = "otsvault_delta_waiting_records";
const DELTAS: &str = "otsvault_deltas_total";
const RECORDS: &str = "otsvault_delta_records_total";
const STORED: &str = "otsvault_delta_stored_bytes_total";

/// Serves them at `/metrics` of an address until the process ends.
///
/// # Errors
/// [`Kind::Io`] for an address that cannot be listened on.
pub(super) fn serve(address: SocketAddr) -> Result<()> {
    PrometheusBuilder::new()
        .with_http_listener(address)
        .install()
        .map_err(|error| Error::new(Kind::Io, "serve metrics").on(format!("on {address}")).source(error))?;
    describe_gauge!(LAG, "Seconds since the moment up to which everything is committed to the vault");
    describe_gauge!(
        RETENTION_USED,
        "Share of the Stream's retention that has passed since all of it was read; at 1 records are lost"
    );
    describe_gauge!(WAITING, "Records that are read and not committed");
    describe_counter!(DELTAS, "Deltas committed by this process");
    describe_counter!(RECORDS, "Records in them");
    describe_counter!(STORED, "Bytes of their files");
    Ok(())
}

/// Where following stands. Nothing happens where nobody serves.
pub(super) fn looked(table: &str, status: FollowStatus) {
    if let Some(lag) = status.lag {
        gauge!(LAG, "table" => table.to_owned()).set(lag.as_secs_f64());
    }
    gauge!(RETENTION_USED, "table" => table.to_owned()).set(status.retention_used);
    gauge!(WAITING, "table" => table.to_owned()).set(status.waiting_records as f64);
}

/// A delta is committed.
pub(super) fn committed(table: &str, appended: &Appended) {
    let totals = appended.manifest.delta.totals;
    counter!(DELTAS, "table" => table.to_owned()).increment(1);
    counter!(RECORDS, "table" => table.to_owned()).increment(totals.records);
    counter!(STORED, "table" => table.to_owned()).increment(totals.stored_bytes);
}
