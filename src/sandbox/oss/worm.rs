//! WORM: a bucket's retention policy, and its refusals. OSS, "Retention policies".
//!
//! A policy protects from the moment it is initiated. Unlocked it can be aborted, and lapses after 24 hours; locked it can
//! only be extended.

use http::StatusCode;
use jiff::{SignedDuration, Timestamp};

use super::bucket::{Bucket, Object};
use super::call::{Call, Core, Outcome, xml_reply};
use super::error::OssError;
use super::time::xml_date;
use super::xml::{Element, Xml};
use crate::sandbox::http::Reply;

/// Retention in days: 1 to 70 years.
const MOST_DAYS: i64 = 25_550;

/// The documents of these operations have some 100 bytes.
const MAX_DOCUMENT_BYTES: usize = 64 << 10;

/// A retention policy.
pub struct Worm {
    id: String,
    days: i64,
    created: Timestamp,
    locked: bool,
}

impl Worm {
    fn is_in_force(&self, now: Timestamp) -> bool {
        self.locked || now.duration_since(self.created) < SignedDuration::from_hours(24)
    }
}

impl Bucket {
    /// Refuses when a retention policy protects this object.
    ///
    /// # Errors
    /// 409 `FileImmutable`.
    pub fn check_mutable(&self, object: Option<&Object>, now: Timestamp) -> Result<(), OssError> {
        let in_force = self.worm.as_ref().filter(|worm| worm.is_in_force(now));
        let (Some(worm), Some(object)) = (in_force, object) else { return Ok(()) };
        if now.duration_since(object.modified) >= SignedDuration::from_hours(24 * worm.days) {
            return Ok(());
        }
        let message = "The object you specified is immutable.";
        Err(OssError::new(409, "FileImmutable", message).ec("0055-00000011"))
    }

    fn worm(&self, now: Timestamp) -> Result<&Worm, OssError> {
        let worm = self.worm.as_ref().filter(|worm| worm.is_in_force(now));
        worm.ok_or_else(|| {
            let message = "The WORM Configuration does not exist.";
            OssError::new(404, "NoSuchWORMConfiguration", message)
        })
    }
}

impl Core {
    pub(super) async fn initiate_bucket_worm(&self, call: &mut Call<'_>) -> Outcome {
        let days = retention_days(call, "InitiateWormConfiguration").await?;
        let id = format!("{:032X}", rand::random::<u128>());
        self.buckets.with(&call.bucket, |bucket| {
            if bucket.worm(call.now).is_ok() {
                let message = "The WORM Configuration already exists.";
                return Err(OssError::new(409, "WORMConfigurationAlreadyExists", message));
            }
            bucket.worm = Some(Worm { id: id.clone(), days, created: call.now, locked: false });
            Ok(())
        })?;
        Ok(Reply::new(StatusCode::OK).with("x-oss-worm-id", id))
    }

    pub(super) fn abort_bucket_worm(&self, call: &Call<'_>) -> Outcome {
        self.buckets.with(&call.bucket, |bucket| {
            if bucket.worm(call.now)?.locked {
                return Err(locked());
            }
            bucket.worm = None;
            Ok(())
        })?;
        Ok(Reply::new(StatusCode::NO_CONTENT))
    }

    pub(super) fn complete_bucket_worm(&self, call: &Call<'_>) -> Outcome {
        self.with_worm(call, |worm| {
            worm.locked = true;
            Ok(())
        })
    }

    pub(super) async fn extend_bucket_worm(&self, call: &mut Call<'_>) -> Outcome {
        let days = retention_days(call, "ExtendWormConfiguration").await?;
        self.with_worm(call, |worm| {
            if !worm.locked || days < worm.days {
                let message = "A retention policy can be extended once it is locked, and never shortened.";
                return Err(OssError::new(409, "InvalidWORMConfiguration", message));
            }
            worm.days = days;
            Ok(())
        })
    }

    pub(super) fn get_bucket_worm(&self, call: &Call<'_>) -> Outcome {
        let mut xml = Xml::new("WormConfiguration");
        self.buckets.with(&call.bucket, |bucket| {
            let worm = bucket.worm(call.now)?;
            xml.text("WormId", &worm.id)
                .text("State", if worm.locked { "Locked" } else { "InProgress" })
                .text("RetentionPeriodInDays", &worm.days.to_string())
                .text("CreationDate", &xml_date(worm.created));
            Ok(())
        })?;
        Ok(xml_reply(xml))
    }

    fn with_worm(&self, call: &Call<'_>, act: impl FnOnce(&mut Worm) -> Result<(), OssError>) -> Outcome {
        self.buckets.with(&call.bucket, |bucket| {
            bucket.worm(call.now)?;
            match &mut bucket.worm {
                Some(worm) if call.query.get("wormId") == Some(worm.id.as_str()) => act(worm),
                _ => Err(OssError::new(404, "NoSuchWORMConfiguration", "There is no policy of this id.")),
            }
        })?;
        Ok(Reply::new(StatusCode::OK))
    }
}

async fn retention_days(call: &mut Call<'_>, root: &str) -> Result<i64, super::error::Failure> {
    let document = call.read_document(MAX_DOCUMENT_BYTES).await?;
    let days = Element::parse(&document).filter(|element| element.name == root).and_then(|element| {
        element
            .child_text("RetentionPeriodInDays")?
            .trim()
            .parse()
            .ok()
            .filter(|days| (1..=MOST_DAYS).contains(days))
    });
    Ok(days.ok_or_else(OssError::malformed_xml)?)
}

fn locked() -> OssError {
    OssError::new(409, "WORMConfigurationLocked", "The WORM Configuration is locked.")
}
