//! S3 and what speaks like it, through `object_store`'s own client. Feature `s3`.
//!
//! - **Integrity.** Each put and part carries the SHA-256 of its bytes in its signature; a service that checks signatures
//!   refuses damaged ones. What is read is not checked: the vault's own checksums are.
//! - **Settings** come from the environment in AWS's words (`AWS_ACCESS_KEY_ID`, `AWS_REGION`, `AWS_ENDPOINT`, …); what
//!   [`StoreOptions`] says goes before it.
//! - **Uploads.** The client has no way to list open uploads: a killed run's stay until the bucket's lifecycle rule aborts
//!   them. [`UploadStore::list_uploads`] says so with `NotSupported`.
//! - **Commits.** A put with `PutMode::Create` sends `If-None-Match: *`. AWS honours it; a service that does not know it may
//!   overwrite. OSS does not promise it on its S3 face: use `oss://` there.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, AwsCredential, S3CopyIfNotExists};
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, Certificate, ClientOptions, CopyOptions, CredentialProvider, GetOptions,
    GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions,
    PutPayload, PutResult, RetryConfig,
};

use super::{AlwaysReadable, OpenUpload, ServerSideEncryption, StorageClass, StoreOptions, UploadStore};
use crate::credentials::CredentialsProvider;
use crate::error::Context as _;
use crate::network::Network;
use crate::{Error, Kind, Result};

/// One bucket.
#[derive(Debug)]
pub struct S3Store {
    inner: AmazonS3,
    bucket: String,
    /// The class of new objects that name none.
    storage_class: Option<&'static str>,
}

impl S3Store {
    /// Sends nothing yet.
    ///
    /// # Errors
    /// [`Kind::Usage`] for settings that make no sense, and for a class or an encryption that S3 does not have.
    pub fn open(bucket: &str, options: &StoreOptions) -> Result<S3Store> {
        let mut builder = AmazonS3Builder::from_env()
            .with_bucket_name(bucket)
            .with_copy_if_not_exists(S3CopyIfNotExists::Multipart)
            .with_retry(RetryConfig { retry_timeout: options.retry_budget, ..RetryConfig::default() });
        let mut plain_http = std::env::var("AWS_ALLOW_HTTP").is_ok_and(|value| value == "true");
        if let Some(endpoint) = &options.endpoint {
            plain_http |= endpoint.starts_with("http://");
            builder = builder.with_endpoint(endpoint);
        }
        if let Some(region) = &options.region {
            builder = builder.with_region(region);
        }
        let storage_class = options.storage_class.map(class_name).transpose()?;
        if let Some(encryption) = &options.encryption {
            builder = encrypted(builder, encryption)?;
        }
        builder = builder.with_client_options(client_options(&options.network, plain_http)?);
        if let Some(credentials) = &options.credentials {
            builder = builder.with_credentials(Arc::new(Keys(credentials.clone())));
        }
        let inner = builder.build().doing(Kind::Usage, "set up the S3 client")?;
        Ok(S3Store { inner, bucket: bucket.to_owned(), storage_class })
    }

    fn with_class(&self, mut attributes: Attributes, class: Option<&'static str>) -> Attributes {
        if let Some(class) = class
            && attributes.get(&Attribute::StorageClass).is_none()
        {
            attributes.insert(Attribute::StorageClass, class.into());
        }
        attributes
    }
}

/// Our source of access keys in the words of `object_store`; asked before each request.
#[derive(Debug)]
struct Keys(CredentialsProvider);

#[async_trait]
impl CredentialProvider for Keys {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let key = self.0.current().await.map_err(|error| {
            let (path, source) = (String::new(), Box::new(error));
            object_store::Error::Unauthenticated { path, source }
        })?;
        Ok(Arc::new(AwsCredential {
            key_id: key.access_key_id.clone(),
            secret_key: key.secret().to_owned(),
            token: key.token().map(str::to_owned),
        }))
    }
}

fn class_name(class: StorageClass) -> Result<&'static str> {
    match class {
        StorageClass::Standard => Ok("STANDARD"),
        StorageClass::InfrequentAccess => Ok("STANDARD_IA"),
        StorageClass::Archive => Ok("GLACIER"),
        colder => Err(Error::new(Kind::Usage, "choose the storage class")
            .because(format!("S3 has none like `{}`", colder.as_str()))
            .hint("use `Standard`, `IA` or `Archive`")),
    }
}

fn encrypted(builder: AmazonS3Builder, encryption: &ServerSideEncryption) -> Result<AmazonS3Builder> {
    const ALGORITHM: &str = "aws_server_side_encryption";
    const KEY: &str = "aws_sse_kms_key_id";
    let set = |builder: AmazonS3Builder, name: &str, value: &str| -> Result<AmazonS3Builder> {
        let key: AmazonS3ConfigKey = name.parse().doing(Kind::Internal, "choose the encryption")?;
        Ok(builder.with_config(key, value))
    };
    match encryption {
        ServerSideEncryption::Aes256 => set(builder, ALGORITHM, "AES256"),
        ServerSideEncryption::Kms { key_id: None } => set(builder, ALGORITHM, "aws:kms"),
        ServerSideEncryption::Kms { key_id: Some(id) } => set(set(builder, ALGORITHM, "aws:kms")?, KEY, id),
        ServerSideEncryption::Sm4 => Err(Error::new(Kind::Usage, "choose the encryption")
            .because("S3 has no SM4")
            .hint("use `AES256`, `KMS` or `KMS:key-id`")),
    }
}

fn client_options(network: &Network, plain_http: bool) -> Result<ClientOptions> {
    let mut client = ClientOptions::default().with_allow_http(plain_http);
    if let Some(proxy) = network.proxy() {
        client = client.with_proxy_url(proxy);
    }
    for bundle in network.authorities() {
        for authority in Certificate::from_pem_bundle(bundle).doing(Kind::Usage, "read the certificates")? {
            client = client.with_root_certificate(authority);
        }
    }
    Ok(client)
}

impl fmt::Display for S3Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}", self.bucket)
    }
}

#[async_trait]
impl ObjectStore for S3Store {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        mut options: PutOptions,
    ) -> object_store::Result<PutResult> {
        let class = match options.extensions.remove::<AlwaysReadable>() {
            Some(AlwaysReadable) => Some("STANDARD"),
            None => self.storage_class,
        };
        options.attributes = self.with_class(options.attributes, class);
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        mut options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        options.attributes = self.with_class(options.attributes, self.storage_class);
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> object_store::Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[async_trait]
impl UploadStore for S3Store {
    async fn list_uploads(&self, _prefix: Option<&Path>) -> object_store::Result<Vec<OpenUpload>> {
        let source = Error::new(Kind::Unsupported, "list open uploads")
            .on(format!("in bucket `{}`", self.bucket))
            .because("the S3 client has no such request")
            .hint("let a lifecycle rule of the bucket abort incomplete uploads after some days");
        Err(object_store::Error::NotSupported { source: Box::new(source) })
    }

    async fn abort_upload(&self, upload: &OpenUpload) -> object_store::Result<()> {
        match self.inner.abort_multipart(&upload.path, &upload.upload_id).await {
            Err(object_store::Error::NotFound { .. }) => Ok(()),
            done => done,
        }
    }
}
