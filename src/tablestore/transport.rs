//! One HTTP exchange: a signed POST, the whole answer within bounds.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

use super::carrier::{Carrier, Response};
use super::config::{Priority, TableStoreConfig};
use super::failure::Failure;
use super::signing::{Signer, content_md5};
use crate::credentials::{Credentials, CredentialsProvider};
use crate::{Error, Kind, Result};

pub(super) struct Transport {
    carrier: Carrier,
    endpoint: String,
    credentials: CredentialsProvider,
    signer: Signer,
    verify_md5: bool,
    priority: Option<Priority>,
}

/// A complete answer.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Bytes,
    pub(super) request_id: Option<String>,
    /// `x-ots-contentmd5` as sent.
    md5: Option<String>,
    pub(super) content_type: Option<String>,
}

impl Answer {
    /// Whether the body differs from what the service says it sent; `false` if it does not say.
    pub(super) async fn is_damaged(&self) -> bool {
        match &self.md5 {
            Some(md5) => *md5 != content_md5(&self.body).await,
            None => false,
        }
    }
}

impl Transport {
    pub(super) fn new(config: TableStoreConfig) -> Result<Transport> {
        let url = check_endpoint(&config.endpoint)?;
        check_instance(&config.instance)?;
        let carrier = Carrier::new(&url, &config)?;
        Ok(Transport {
            carrier,
            endpoint: url.as_str().trim_end_matches('/').to_owned(),
            credentials: config.credentials,
            signer: Signer::new(config.instance, config.signature),
            verify_md5: config.verify_response_md5,
            priority: config.priority,
        })
    }

    /// Answers every request with `body`, as a success without an MD5.
    pub(super) fn answering(config: TableStoreConfig, body: Bytes) -> Transport {
        let mut headers = HeaderMap::new();
        headers.insert("x-ots-requestid", HeaderValue::from_static("prepared"));
        Transport {
            carrier: Carrier::prepared(Response { status: 200, headers, body, has_an_end: true }),
            endpoint: config.endpoint,
            credentials: config.credentials,
            signer: Signer::new(config.instance, config.signature),
            verify_md5: false,
            priority: None,
        }
    }

    pub(super) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Who gives the access key of each attempt.
    pub(super) fn credentials(&self) -> &CredentialsProvider {
        &self.credentials
    }

    /// Sends `body`, whose MD5 is `md5`, once, signed with `credentials` for this moment.
    pub(super) async fn exchange(
        &self,
        operation: &str,
        body: Bytes,
        md5: &str,
        credentials: &Credentials,
    ) -> Result<Answer, Failure> {
        let mut headers = HeaderMap::new();
        let now = jiff::Timestamp::now();
        let priority =
            self.priority.map(|priority| ("x-ots-request-priority", priority.header_value().to_owned()));
        for (name, value) in self.signer.headers(credentials, operation, md5, now, priority.as_slice()) {
            let mut value = HeaderValue::from_str(value.trim()).map_err(|_| Failure::HeaderValue)?;
            value.set_sensitive(name.starts_with("x-ots-signature") || name == "x-ots-ststoken");
            headers.insert(HeaderName::from_static(name), value);
        }
        let response = self.carrier.post(&format!("/{operation}"), headers, body).await?;
        let has_an_end = response.has_an_end;
        let answer = Answer {
            status: response.status,
            request_id: response.text("x-ots-requestid"),
            md5: response.text("x-ots-contentmd5"),
            content_type: response.text("content-type"),
            body: response.body,
        };
        // A body that ends with its connection may have lost its tail; only the MD5 can tell.
        if (self.verify_md5 || !has_an_end) && answer.md5.is_none() && answer.status < 300 {
            return Err(Failure::Damaged { request_id: answer.request_id, md5: false });
        }
        if (self.verify_md5 || !has_an_end) && answer.is_damaged().await {
            return Err(Failure::Damaged { request_id: answer.request_id, md5: true });
        }
        Ok(answer)
    }
}

fn check_endpoint(endpoint: &str) -> Result<Url> {
    let wrong = |why: &str| {
        Error::new(Kind::Usage, "use the Table Store endpoint")
            .because(why)
            .hint("an endpoint looks like `https://<instance>.<region>.ots.aliyuncs.com`")
    };
    let url = Url::parse(endpoint.trim()).map_err(|error| wrong("it is not a URL").source(error))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err(wrong("it is not an `http` or `https` URL"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("it contains a user name or password"));
    }
    if !url.path().trim_matches('/').is_empty() || url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("there is something after the host").hint("the instance is not part of the path"));
    }
    Ok(url)
}

fn check_instance(instance: &str) -> Result<()> {
    if instance.trim().is_empty() || HeaderValue::from_str(instance.trim()).is_err() {
        return Err(Error::new(Kind::Usage, "use the instance name")
            .because("it is empty or has characters that a header cannot carry"));
    }
    Ok(())
}
