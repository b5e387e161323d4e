//! The key to sign with now, refreshed before it expires.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use http::HeaderValue;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Mutex, MutexGuard};

use super::Credentials;
use crate::{Error, Kind, Result};

/// A temporary key is replaced this long before it expires.
const REFRESH_BEFORE: SignedDuration = SignedDuration::from_mins(5);

/// A source that keeps handing out a key which is about to expire, or fails while there still is a valid one, is asked
/// again after this time.
const ASK_AGAIN: SignedDuration = SignedDuration::from_secs(10);

/// A key is not used for a request that starts this close to its end.
const LAST_MOMENT: SignedDuration = SignedDuration::from_secs(5);

/// How long one answer of a source may take, all its requests together.
const LONGEST_ISSUE: Duration = Duration::from_secs(30);

/// A key and how long it may be used.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The key.
    pub credentials: Credentials,
    /// When it stops being valid; `None` for a key that does not.
    pub expires: Option<Timestamp>,
}

impl From<Credentials> for Issued {
    fn from(credentials: Credentials) -> Issued {
        Issued { credentials, expires: None }
    }
}

/// Something that issues keys. Asked again before each expiry, and after a service refused a key.
#[async_trait]
pub trait Source: Send + Sync + 'static {
    /// A key that is valid now.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] and [`Kind::Throttled`] for what asking again may cure: the request that needs the key is
    /// then repeated within its retry budget. [`Kind::Permission`] for everything else.
    async fn issue(&self) -> Result<Issued>;
}

#[async_trait]
impl Source for Credentials {
    async fn issue(&self) -> Result<Issued> {
        Ok(self.clone().into())
    }
}

/// Gives the key to sign an attempt with. Cheap to clone; clones share the key and its refresh.
///
/// What it promises: a key is issued at the first use and replaced 5 minutes before it expires; one refresh runs at a
/// time, and while the old key is valid nobody waits for it; a refresh that fails is no error before the key has expired.
#[derive(Clone)]
pub struct CredentialsProvider(Arc<Inner>);

struct Inner {
    source: Box<dyn Source>,
    held: RwLock<Option<Held>>,
    /// Held while the source is asked.
    refreshing: Mutex<()>,
}

#[derive(Clone)]
struct Held {
    issued: Issued,
    refresh_at: Option<Timestamp>,
}

impl CredentialsProvider {
    /// Keys from `source`, which is not asked yet.
    pub fn new(source: impl Source) -> CredentialsProvider {
        let source = Box::new(source);
        CredentialsProvider(Arc::new(Inner { source, held: RwLock::new(None), refreshing: Mutex::new(()) }))
    }

    /// The key to sign with now. Waits for nothing but the first key and one that replaces an expired key.
    ///
    /// # Errors
    /// Those of the source, and [`Kind::Permission`] for a key with characters that no header can carry.
    pub async fn current(&self) -> Result<Credentials> {
        let now = Timestamp::now();
        let valid = self.held().filter(|held| held.is_valid(now));
        let Some(valid) = valid else {
            let _refreshing = self.0.refreshing.lock().await;
            // Somebody else may have been faster.
            if let Some(held) = self.held().filter(|held| held.is_valid(now)) {
                return Ok(held.issued.credentials);
            }
            return self.ask(&_refreshing).await;
        };
        if valid.refresh_at.is_none_or(|at| now < at) {
            return Ok(valid.issued.credentials);
        }
        let Ok(refreshing) = self.0.refreshing.try_lock() else { return Ok(valid.issued.credentials) };
        match self.ask(&refreshing).await {
            Ok(fresh) => Ok(fresh),
            Err(error) => {
                tracing::warn!(%error, "the access key could not be refreshed; it is still valid");
                self.hold(Held { refresh_at: Some(later(now, ASK_AGAIN)), ..valid.clone() });
                Ok(valid.issued.credentials)
            }
        }
    }

    /// What to do after a service refused `refused`: the key that has replaced it meanwhile, or one that the source
    /// issues now, or `None` when the source still gives the same one.
    ///
    /// # Errors
    /// As [`CredentialsProvider::current`].
    pub async fn replace(&self, refused: &Credentials) -> Result<Option<Credentials>> {
        let refreshing = self.0.refreshing.lock().await;
        let is_new = |credentials: &Credentials| !credentials.is_same(refused);
        if let Some(newer) = self.held().map(|held| held.issued.credentials).filter(is_new) {
            return Ok(Some(newer));
        }
        Ok(Some(self.ask(&refreshing).await?).filter(is_new))
    }

    async fn ask(&self, _refreshing: &MutexGuard<'_, ()>) -> Result<Credentials> {
        let Ok(issued) = tokio::time::timeout(LONGEST_ISSUE, self.0.source.issue()).await else {
            return Err(Error::new(Kind::Unavailable, "get an access key")
                .because(format!("its source did not answer within {} s", LONGEST_ISSUE.as_secs())));
        };
        let issued = issued?;
        check_characters(&issued.credentials)?;
        let now = Timestamp::now();
        let refresh_at = issued.expires.map(|expires| {
            let wanted = expires.saturating_sub(REFRESH_BEFORE).unwrap_or(Timestamp::MIN);
            wanted.max(later(now, ASK_AGAIN))
        });
        let credentials = issued.credentials.clone();
        tracing::debug!(access_key_id = credentials.access_key_id, ?refresh_at, "access key issued");
        self.hold(Held { issued, refresh_at });
        Ok(credentials)
    }

    fn held(&self) -> Option<Held> {
        self.0.held.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn hold(&self, held: Held) {
        *self.0.held.write().unwrap_or_else(PoisonError::into_inner) = Some(held);
    }
}

impl Held {
    fn is_valid(&self, now: Timestamp) -> bool {
        self.issued.expires.is_none_or(|expires| later(now, LAST_MOMENT) < expires)
    }
}

fn later(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.saturating_add(by).unwrap_or(Timestamp::MAX)
}

fn check_characters(credentials: &Credentials) -> Result<()> {
    let plain = |value: &str| HeaderValue::from_str(value.trim()).is_ok();
    if plain(&credentials.access_key_id) && credentials.token().is_none_or(plain) {
        return Ok(());
    }
    Err(Error::new(Kind::Permission, "use the access key")
        .because("the access key id or the security token has characters that a header cannot carry"))
}

impl From<Credentials> for CredentialsProvider {
    fn from(credentials: Credentials) -> CredentialsProvider {
        CredentialsProvider::new(credentials)
    }
}

impl fmt::Debug for CredentialsProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.held().map(|held| held.issued.credentials.access_key_id);
        f.debug_struct("CredentialsProvider").field("access_key_id", &id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
