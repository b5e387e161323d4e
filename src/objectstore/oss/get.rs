//! GetObject: whole objects with their CRC64 verified, or one range. A read that is cut goes on where it stopped.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use crc_fast::CrcAlgorithm::Crc64Xz;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, GetResult, GetResultPayload};
use tokio::time::sleep;

use super::client::{Client, Opened, Request, request_id, text_of};
use super::clock::to_http_date;
use super::failure::Failure;
use super::head::{ObjectInfo, content_length, head};
use super::operation::Operation;
use crate::Kind;
use crate::error::retry::Backoff;

pub(crate) async fn get(
    client: &Arc<Client>,
    location: &Path,
    options: GetOptions,
) -> object_store::Result<GetResult> {
    let failed = |failure: Failure| failure.into_store(&client.bucket, Some(location.as_ref()));
    if options.head {
        let request = conditions(Request::object(Operation::HeadObject, location.as_ref()), &options);
        let info = head(client, location, request).await.map_err(failed)?;
        return Ok(GetResult {
            payload: GetResultPayload::Stream(stream::empty().boxed()),
            range: 0..info.meta.size,
            meta: info.meta,
            attributes: info.attributes,
        });
    }
    let operation = Operation::GetObject;
    let mut request = conditions(Request::object(operation, location.as_ref()), &options);
    if let Some(range) = &options.range {
        range.is_valid().map_err(|error| {
            failed(Failure::fatal(operation, Kind::Usage, format!("the range makes no sense: {error}")))
        })?;
        if *range == GetRange::Suffix(0) {
            return Err(failed(Failure::fatal(operation, Kind::Usage, "the range is empty")));
        }
        request = ranged(request, range.to_string());
    }
    let opened = client.open(&request).await.map_err(failed)?;
    let (range, size) = extent(&opened, options.range.as_ref()).map_err(failed)?;
    let info = ObjectInfo::read(operation, location, &opened.headers, size).map_err(failed)?;
    let whole = range == (0..size);
    let body = Body {
        client: client.clone(),
        location: location.clone(),
        version: options.version.clone(),
        e_tag: info.meta.e_tag.clone(),
        expected_crc64: info.crc64.filter(|_| whole),
        digest: crc_fast::Digest::new(Crc64Xz),
        rest: range.clone(),
        size,
        backoff: client.backoff(),
        opened: Some(opened),
    };
    Ok(GetResult {
        payload: GetResultPayload::Stream(body.into_stream()),
        meta: info.meta,
        range,
        attributes: info.attributes,
    })
}

fn conditions(mut request: Request, options: &GetOptions) -> Request {
    let date = |time: std::time::SystemTime| jiff::Timestamp::try_from(time).ok().and_then(to_http_date);
    let headers = [
        ("if-match", options.if_match.clone()),
        ("if-none-match", options.if_none_match.clone()),
        ("if-modified-since", options.if_modified_since.and_then(|time| date(time.into()))),
        ("if-unmodified-since", options.if_unmodified_since.and_then(|time| date(time.into()))),
    ];
    for (name, value) in headers {
        if let Some(value) = value {
            request = request.header(name, value);
        }
    }
    match &options.version {
        Some(version) => request.query("versionId", version.clone()),
        None => request,
    }
}

/// Without `standard` the service answers the whole object to a range that reaches past its end.
fn ranged(request: Request, range: String) -> Request {
    request.header("range", range).header("x-oss-range-behavior", "standard")
}

/// Which bytes of how many the answer holds; an error if these are not the ones that were asked for.
fn extent(opened: &Opened, asked: Option<&GetRange>) -> Result<(Range<u64>, u64), Failure> {
    let operation = Operation::GetObject;
    let wrong = |reason: &str| {
        Failure::fatal(operation, Kind::Corrupt, reason).with_request_id(request_id(&opened.headers))
    };
    let Some(asked) = asked else {
        let size = content_length(operation, &opened.headers)?;
        return Ok((0..size, size));
    };
    if opened.status != 206 {
        return Err(wrong("asked for a range, the answer is the whole object"));
    }
    let header = text_of(&opened.headers, "content-range").unwrap_or_default();
    let (range, size) =
        content_range(&header).ok_or_else(|| wrong("the answer has no usable `Content-Range`"))?;
    match asked.as_range(size) {
        Ok(wanted) if wanted == range => Ok((range, size)),
        _ => Err(wrong("the answer is another range than was asked for")),
    }
}

/// Parses `bytes 0-9/100`: inclusive there, end exclusive here.
fn content_range(text: &str) -> Option<(Range<u64>, u64)> {
    let (range, size) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, end): (u64, u64) = (first.parse().ok()?, last.parse::<u64>().ok()?.checked_add(1)?);
    let size = size.parse().ok()?;
    (first < end && end <= size).then_some((first..end, size))
}

/// The bytes of a GET that are still to come.
struct Body {
    client: Arc<Client>,
    location: Path,
    version: Option<String>,
    e_tag: Option<String>,
    /// Only when the whole object is read.
    expected_crc64: Option<u64>,
    digest: crc_fast::Digest,
    rest: Range<u64>,
    size: u64,
    /// Starts again whenever bytes arrive.
    backoff: Backoff,
    opened: Option<Opened>,
}

impl Body {
    fn into_stream(self) -> BoxStream<'static, object_store::Result<Bytes>> {
        let stream = stream::try_unfold(self, |mut body| async move {
            match body.next().await {
                Ok(Some(piece)) => Ok(Some((piece, body))),
                Ok(None) => Ok(None),
                Err(failure) => Err(failure.into_store(&body.client.bucket, Some(body.location.as_ref()))),
            }
        });
        stream.boxed()
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            if self.rest.is_empty() {
                return self.verify();
            }
            let failure = match self.piece().await {
                Ok(Some(piece)) => return self.take(piece).map(Some),
                // The connection ended in good order, but too early.
                Ok(None) => Failure::transport(
                    Operation::GetObject,
                    true,
                    "the answer is shorter than the object",
                    None,
                ),
                Err(failure) => failure,
            };
            self.opened = None;
            let pause = failure.retry.pace(true).and_then(|pace| self.backoff.next_pause(pace));
            let Some(pause) = pause else { return Err(failure) };
            tracing::debug!(
                object = self.location.as_ref(),
                offset = self.rest.start,
                attempt = self.backoff.attempts(),
                "read was cut, going on where it stopped"
            );
            sleep(pause).await;
        }
    }

    async fn piece(&mut self) -> Result<Option<Bytes>, Failure> {
        if self.opened.is_none() {
            self.opened = Some(self.reopen().await?);
        }
        match &mut self.opened {
            Some(opened) => opened.next().await,
            None => Ok(None),
        }
    }

    /// Asks for the rest, of the same object.
    async fn reopen(&self) -> Result<Opened, Failure> {
        let range = GetRange::Bounded(self.rest.clone());
        let mut request = Request::object(Operation::GetObject, self.location.as_ref());
        if let Some(e_tag) = &self.e_tag {
            request = request.header("if-match", e_tag);
        }
        if let Some(version) = &self.version {
            request = request.query("versionId", version);
        }
        let opened = self.client.open(&ranged(request, range.to_string())).await?;
        match extent(&opened, Some(&range))? {
            (_, size) if size != self.size => {
                let reason = "the object changed while it was read";
                Err(Failure::fatal(Operation::GetObject, Kind::Corrupt, reason))
            }
            _ => Ok(opened),
        }
    }

    fn take(&mut self, piece: Bytes) -> Result<Bytes, Failure> {
        let length = piece.len() as u64;
        if length > self.rest.end - self.rest.start {
            let reason = "the answer is longer than it said";
            return Err(Failure::fatal(Operation::GetObject, Kind::Corrupt, reason));
        }
        if self.expected_crc64.is_some() {
            self.digest.update(&piece);
        }
        self.rest.start += length;
        self.backoff = self.client.backoff();
        Ok(piece)
    }

    fn verify(&mut self) -> Result<Option<Bytes>, Failure> {
        let ours = self.digest.finalize();
        match self.expected_crc64.take() {
            Some(theirs) if theirs != ours => {
                let reason = format!("CRC64 of what arrived is {ours}, of the object {theirs}");
                Err(Failure::fatal(Operation::GetObject, Kind::Corrupt, reason))
            }
            _ => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges_are_read_and_impossible_ones_refused() {
        assert_eq!(content_range("bytes 0-9/100"), Some((0..10, 100)));
        assert_eq!(content_range("bytes 99-99/100"), Some((99..100, 100)));
        for bad in ["", "bytes */100", "bytes 5-4/100", "bytes 0-100/100", "bytes 0-18446744073709551615/1"] {
            assert_eq!(content_range(bad), None, "{bad}");
        }
    }
}
