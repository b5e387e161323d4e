//! GetBucketWorm: the bucket's retention policy.

use std::time::Duration;

use super::client::{Client, Request, request_id};
use super::failure::Failure;
use super::operation::Operation;
use super::xml;

/// How long objects are protected; `None` without a policy, or with one that lapsed before it was locked.
pub(crate) async fn retention(client: &Client) -> object_store::Result<Option<Duration>> {
    let operation = Operation::GetRetention;
    let failed = |failure: Failure| failure.into_store(&client.bucket, None);
    let answer = match client.send(&Request::bucket(operation).query("worm", "")).await {
        Ok(answer) => answer,
        Err(failure) if failure.code == "NoSuchWORMConfiguration" => return Ok(None),
        Err(failure) => return Err(failed(failure)),
    };
    let days = xml::retention_days(&answer.body)
        .map_err(|error| failed(Failure::malformed(operation, request_id(&answer.headers), error)))?;
    Ok(days.map(|days| Duration::from_secs(u64::from(days) * 24 * 3600)))
}
