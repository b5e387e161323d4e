//! A multipart upload: Initiate, UploadPart, Complete, Abort.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use object_store::path::Path;
use object_store::{MultipartUpload, PutPayload, PutResult, UploadPart};
use tokio::time::sleep;

use super::client::{Client, Request, crc64_of, request_id, text_of};
use super::failure::{Failure, STORE};
use super::head::find_same;
use super::operation::Operation;
use super::put::{damaged, send_checked};
use super::{uploads, xml};
use crate::error::retry::Pace;
use crate::objectstore::checksum::Crc64;
use crate::objectstore::part_size::MOST_PARTS;
use crate::{Error, Kind};

/// How often the object is looked for after a lost Complete: the service goes on with it after we are gone.
const LOOKS: u32 = 4;

/// An open upload. Dropped without complete or abort it stays open at the service, and its id is logged.
#[derive(Debug)]
pub(crate) struct OssUpload {
    upload: Arc<Upload>,
    handed_out: u32,
    ended: bool,
}

#[derive(Debug)]
struct Upload {
    client: Arc<Client>,
    location: Path,
    id: String,
    /// By number: ETag and checksum of the parts that the service has.
    parts: Mutex<BTreeMap<u32, (String, Crc64)>>,
}

impl OssUpload {
    pub(crate) async fn begin(
        client: &Arc<Client>,
        location: &Path,
        headers: Vec<(String, String)>,
    ) -> object_store::Result<OssUpload> {
        let operation = Operation::InitiateUpload;
        let request = Request::object(operation, location.as_ref()).query("uploads", "").headers(headers);
        let failed = |failure: Failure| failure.into_store(&client.bucket, Some(location.as_ref()));
        let answer = client.send(&request).await.map_err(failed)?;
        let id = xml::upload_id(&answer.body)
            .map_err(|error| failed(Failure::malformed(operation, request_id(&answer.headers), error)))?;
        let upload = Upload {
            client: client.clone(),
            location: location.clone(),
            id,
            parts: Mutex::new(BTreeMap::new()),
        };
        Ok(OssUpload { upload: Arc::new(upload), handed_out: 0, ended: false })
    }
}

impl Upload {
    fn failed(&self, failure: Failure) -> object_store::Error {
        failure.into_store(&self.client.bucket, Some(self.location.as_ref()))
    }

    fn misused(&self, reason: &str) -> object_store::Error {
        let error = Error::new(Kind::Internal, "complete an upload")
            .on(format!("`{}` in bucket `{}`", self.location, self.client.bucket))
            .because(reason.to_owned());
        object_store::Error::Generic { store: STORE, source: Box::new(error) }
    }

    async fn put_part(&self, number: u32, data: PutPayload) -> object_store::Result<()> {
        if number > MOST_PARTS {
            return Err(self.misused("more than 10,000 parts"));
        }
        let operation = Operation::UploadPart(number);
        let content = Crc64::of_all(data.as_ref()).await;
        let request = Request::object(operation, self.location.as_ref())
            .query("partNumber", number.to_string())
            .query("uploadId", self.id.clone())
            .body(data);
        let put =
            send_checked(&self.client, &request, content).await.map_err(|failure| self.failed(failure))?;
        let Some(e_tag) = put.e_tag else {
            let failure = Failure::fatal(operation, Kind::Corrupt, "the answer has no `ETag`");
            return Err(self.failed(failure));
        };
        self.parts.lock().unwrap_or_else(PoisonError::into_inner).insert(number, (e_tag, content));
        Ok(())
    }

    async fn complete(&self, handed_out: u32) -> object_store::Result<PutResult> {
        let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if parts.len() != handed_out as usize {
            return Err(self.misused("a part is not uploaded"));
        }
        let whole = parts.values().fold(Crc64::default(), |whole, (_, part)| whole.then(*part));
        let body = xml::complete_body(parts.iter().map(|(number, (e_tag, _))| (*number, e_tag.as_str())));
        let request = Request::object(Operation::CompleteUpload, self.location.as_ref())
            .query("uploadId", self.id.clone())
            .header("content-type", "application/xml")
            .body(Bytes::from(body))
            .look_first();
        let mut backoff = self.client.backoff();
        loop {
            let failure = match self.send_complete(&request, whole).await {
                Ok(result) => return Ok(result),
                Err(failure) => failure,
            };
            // The object may be there though its answer was lost, or another answer came in its place.
            let gone = failure.code == "NoSuchUpload";
            if !failure.ambiguous && !gone {
                return Err(self.failed(failure));
            }
            let looks = if gone { LOOKS } else { 1 };
            let failure = match self.resolve(failure, whole, looks).await {
                Ok(result) => return Ok(result),
                Err(failure) => failure,
            };
            match backoff.next_pause(Pace::Fault) {
                Some(pause) if !gone => sleep(pause).await,
                _ => return Err(self.failed(failure)),
            }
        }
    }

    async fn send_complete(&self, request: &Request, whole: Crc64) -> Result<PutResult, Failure> {
        let operation = request.operation;
        let answer = self.client.send(request).await?;
        let id = request_id(&answer.headers);
        let e_tag = xml::completed(&answer.body).map_err(|error| {
            let mut failure = Failure::malformed(operation, id.clone(), error);
            failure.ambiguous = true;
            failure
        })?;
        match crc64_of(&answer.headers) {
            Some(theirs) if theirs != whole.value() => Err(damaged(operation, id, whole.value(), theirs)),
            _ => Ok(PutResult { e_tag, version: text_of(&answer.headers, "x-oss-version-id") }),
        }
    }

    /// Is the object there, with our size and CRC64? If not, the failure stands.
    async fn resolve(&self, failure: Failure, whole: Crc64, looks: u32) -> Result<PutResult, Failure> {
        let mut backoff = self.client.backoff();
        for look in 1..=looks {
            if let Ok(Some(info)) = find_same(&self.client, &self.location, whole).await {
                tracing::debug!(
                    object = self.location.as_ref(),
                    upload_id = self.id,
                    "complete whose answer was lost had succeeded"
                );
                return Ok(PutResult { e_tag: info.meta.e_tag, version: info.meta.version });
            }
            match backoff.next_pause(Pace::Throttled) {
                Some(pause) if look < looks => sleep(pause).await,
                _ => break,
            }
        }
        Err(failure)
    }
}

#[async_trait]
impl MultipartUpload for OssUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.handed_out = self.handed_out.saturating_add(1);
        let (upload, number) = (self.upload.clone(), self.handed_out);
        async move { upload.put_part(number, data).await }.boxed()
    }

    async fn complete(&mut self) -> object_store::Result<PutResult> {
        if self.handed_out == 0 {
            // Complete wants at least one part.
            self.put_part(PutPayload::new()).await?;
        }
        let result = self.upload.complete(self.handed_out).await?;
        self.ended = true;
        Ok(result)
    }

    async fn abort(&mut self) -> object_store::Result<()> {
        let upload = &self.upload;
        uploads::abort(&upload.client, upload.location.as_ref(), &upload.id).await?;
        self.ended = true;
        tracing::debug!(object = upload.location.as_ref(), upload_id = upload.id, "upload aborted");
        Ok(())
    }
}

impl Drop for OssUpload {
    fn drop(&mut self) {
        if !self.ended {
            tracing::warn!(
                object = self.upload.location.as_ref(),
                upload_id = self.upload.id,
                "upload left open"
            );
        }
    }
}
