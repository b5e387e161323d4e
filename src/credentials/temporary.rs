//! What STS and the metadata service have in common: small JSON answers with a key that expires.

use std::time::Duration;

use jiff::Timestamp;
use secrecy::SecretString;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{Credentials, Issued};
use crate::network::Network;
use crate::{Error, Kind, Result};

/// Longest answer that is read, in bytes; the real ones have one or two thousand.
const LONGEST_ANSWER: usize = 64 << 10;

/// A temporary key as both services spell it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct TemporaryKey {
    access_key_id: String,
    access_key_secret: SecretString,
    security_token: SecretString,
    expiration: Timestamp,
}

impl From<TemporaryKey> for Issued {
    fn from(key: TemporaryKey) -> Issued {
        let TemporaryKey { access_key_id, access_key_secret, security_token, expiration } = key;
        let credentials = Credentials::of(access_key_id, access_key_secret, Some(security_token));
        Issued { credentials, expires: Some(expiration) }
    }
}

/// Reads an answer. The parser's own words are left out: they quote the text, which has secrets in it.
pub(super) fn parse<T: DeserializeOwned>(body: &[u8], doing: &'static str) -> Result<T> {
    serde_json::from_slice(body).map_err(|error| {
        Error::new(Kind::Unavailable, doing).because(format!(
            "the answer makes no sense at line {}, column {}",
            error.line(),
            error.column()
        ))
    })
}

/// One request: the status and the body of its answer.
pub(super) async fn exchange(
    request: reqwest::RequestBuilder,
    doing: &'static str,
) -> Result<(u16, Vec<u8>)> {
    let lost = |error: reqwest::Error| {
        // The URL is in the error that the caller makes.
        Error::new(Kind::Unavailable, doing).because("no answer").source(error.without_url())
    };
    let mut response = request.send().await.map_err(lost)?;
    let status = response.status().as_u16();
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(lost)? {
        if body.len() + piece.len() > LONGEST_ANSWER {
            return Err(Error::new(Kind::Unavailable, doing)
                .because(format!("the answer is longer than {LONGEST_ANSWER} bytes")));
        }
        body.extend_from_slice(&piece);
    }
    Ok((status, body))
}

/// A client for one short conversation; connections are not worth keeping for an hour. Without a `network` it asks
/// nobody but the host itself.
pub(super) fn http_client(
    connect: Duration,
    whole: Duration,
    network: Option<(&Network, bool)>,
) -> Result<reqwest::Client> {
    let builder = reqwest::Client::builder()
        .connect_timeout(connect)
        .timeout(whole)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("otsvault/", env!("CARGO_PKG_VERSION")));
    let builder = match network {
        Some((network, loopback)) => network.apply(builder, loopback)?,
        None => builder.no_proxy(),
    };
    builder.build().map_err(|error| Error::new(Kind::Io, "set up the HTTP client").source(error))
}
