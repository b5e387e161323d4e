//! Alibaba Cloud OSS as an [`object_store::ObjectStore`].
//!
//! - **Consistency.** An object appears whole, with the answer to its put or Complete. `PutMode::Create` is
//!   `x-oss-forbid-overwrite`; versioned buckets ignore that header (OSS, "Versioning").
//! - **Integrity.** Every put, part and completed object is compared with the CRC64 that the service computed; so is a
//!   whole object while it is read. A ranged read cannot be (the header is of the whole object). A service that sends
//!   no CRC64 is believed, except where a lost answer has to be resolved.
//! - **Retries.** Every request is repeated by the one table in [`crate::error::retry`] within
//!   [`StoreOptions::retry_budget`]. A read that is cut goes on where it stopped.
//! - **Lost answers.** A Complete or a create whose answer was lost counts as done if a HEAD then shows the same size
//!   and CRC64.
//! - **Cancellation.** Dropping a future drops its connection; the service may or may not have applied the request. An
//!   upload that is dropped without complete or abort stays open and is logged with its id.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult,
};

use self::attributes::ObjectHeaders;
use self::client::{Client, Request};
use self::endpoint::Endpoint;
use self::operation::Operation;
use super::{OpenUpload, StoreOptions, StoredContent, UploadStore};
use crate::Result;
use crate::credentials::{CredentialChain, Service};

mod attributes;
mod client;
mod clock;
mod copy;
mod delete;
mod endpoint;
mod failure;
mod get;
mod head;
mod list;
mod multipart;
mod operation;
mod put;
mod request;
mod retention;
mod signing;
mod signing_v1;
mod uploads;
mod xml;

#[doc(hidden)]
pub use xml::read_every_xml;

/// One bucket. Cheap to clone; clones share connections and the clock correction.
#[derive(Debug, Clone)]
pub struct OssStore {
    client: Arc<Client>,
    defaults: Arc<ObjectHeaders>,
}

impl OssStore {
    /// Sends nothing yet.
    ///
    /// # Errors
    /// [`crate::Kind::Usage`] for endpoint and region.
    pub fn open(bucket: &str, options: &StoreOptions) -> Result<OssStore> {
        let endpoint = Endpoint::resolve(options, |name| std::env::var(name).ok())?;
        let credentials = options.credentials.clone();
        let chain = || CredentialChain::new(Service::Oss).network(options.network.clone());
        let credentials = credentials.unwrap_or_else(|| chain().provider());
        let client = Client::new(bucket, endpoint, credentials, options)?;
        let defaults = ObjectHeaders::new(options.storage_class, options.encryption.clone());
        Ok(OssStore { client: Arc::new(client), defaults: Arc::new(defaults) })
    }
}

impl fmt::Display for OssStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "oss://{}", self.client.bucket)
    }
}

#[async_trait]
impl ObjectStore for OssStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> object_store::Result<PutResult> {
        put::put(&self.client, &self.defaults, location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        let headers = self.defaults.for_object(&options.attributes, &options.tags)?;
        Ok(Box::new(multipart::OssUpload::begin(&self.client, location, headers).await?))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        get::get(&self.client, location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        delete::delete_stream(self.client.clone(), locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        list::list(self.client.clone(), prefix, None)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        list::list(self.client.clone(), prefix, Some(offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        list::list_with_delimiter(&self.client, prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> object_store::Result<()> {
        copy::copy(&self.client, &self.defaults, from, to, options).await
    }
}

#[async_trait]
impl UploadStore for OssStore {
    async fn list_uploads(&self, prefix: Option<&Path>) -> object_store::Result<Vec<OpenUpload>> {
        uploads::list_uploads(&self.client, prefix).await
    }

    async fn abort_upload(&self, upload: &OpenUpload) -> object_store::Result<()> {
        uploads::abort(&self.client, upload.path.as_ref(), &upload.upload_id).await
    }

    async fn retention(&self) -> object_store::Result<Option<Duration>> {
        retention::retention(&self.client).await
    }

    async fn stored_content(&self, path: &Path) -> object_store::Result<StoredContent> {
        let request = Request::object(Operation::HeadObject, path.as_ref());
        match head::head(&self.client, path, request).await {
            Ok(info) => Ok(StoredContent { bytes: info.meta.size, crc64: info.crc64 }),
            Err(failure) => Err(failure.into_store(&self.client.bucket, Some(path.as_ref()))),
        }
    }
}
