//! RestoreObject: archived objects become readable for some days, after a delay that the sandbox's owner sets.

use http::StatusCode;
use jiff::{SignedDuration, Timestamp};

use super::bucket::Object;
use super::call::{Call, Core, Outcome};
use super::error::OssError;
use super::time::http_date;
use super::xml::Element;
use crate::sandbox::http::Reply;

/// The document of a restore has some 100 bytes.
const MAX_DOCUMENT_BYTES: usize = 64 << 10;

/// A restore that was asked for.
#[derive(Debug, Clone, Copy)]
pub struct Restore {
    ready: Timestamp,
    until: Timestamp,
}

impl Restore {
    /// The value of `x-oss-restore`; none once it is over.
    pub fn describe(&self, now: Timestamp) -> Option<String> {
        if now < self.ready {
            return Some("ongoing-request=\"true\"".to_owned());
        }
        let shown = format!("ongoing-request=\"false\", expiry-date=\"{}\"", http_date(self.until));
        (now < self.until).then_some(shown)
    }
}

impl Object {
    /// # Errors
    /// 403 `InvalidObjectState` for an archived object that is not restored.
    pub fn check_readable(&self, call: &Call<'_>) -> Result<(), OssError> {
        let restored =
            self.restore.is_some_and(|restore| restore.ready <= call.now && call.now < restore.until);
        if self.attributes.is_archived() && !restored {
            let message = "The operation is not valid for the object's state";
            return Err(OssError::new(403, "InvalidObjectState", message).with("ObjectName", &call.key));
        }
        Ok(())
    }
}

impl Core {
    pub(super) async fn restore_object(&self, call: &mut Call<'_>) -> Outcome {
        let document = call.read_document(MAX_DOCUMENT_BYTES).await?;
        let request = match document.is_empty() {
            true => Element::default(),
            false => Element::parse(&document)
                .filter(|root| root.name == "RestoreRequest")
                .ok_or_else(OssError::malformed_xml)?,
        };
        let delay = self.restore_delay();
        let reply = self.buckets.with(&call.bucket, |bucket| {
            let version = bucket.version(call)?;
            let Some(object) = &version.object else { return Err(OssError::no_such_key(&call.key)) };
            let days = days(&request, &object.attributes.storage_class)?;
            let state = object.restore.filter(|restore| call.now < restore.until || call.now < restore.ready);
            let ready = match state {
                Some(restore) if call.now < restore.ready => {
                    let message = "The restore operation is in progress.";
                    return Err(OssError::new(409, "RestoreAlreadyInProgress", message));
                }
                Some(restore) => restore.ready,
                None => call.now.saturating_add(delay).unwrap_or(Timestamp::MAX),
            };
            let stay = SignedDuration::from_hours(24 * days);
            let until = ready.max(call.now).saturating_add(stay).unwrap_or(Timestamp::MAX);
            let restored = Object { restore: Some(Restore { ready, until }), ..(**object).clone() };
            let id = version.id.clone();
            bucket.objects.replace(&call.key, &id, restored);
            let status = if state.is_none() { StatusCode::ACCEPTED } else { StatusCode::OK };
            Ok(Reply::new(status).with("x-oss-object-restore-priority", tier(&request)))
        })?;
        Ok(reply)
    }
}

fn tier(request: &Element) -> &str {
    let parameters = request.children.iter().find(|child| child.name == "JobParameters");
    parameters.and_then(|parameters| parameters.child_text("Tier")).unwrap_or("Standard")
}

/// Days asked for, 1 by default; 1 to 7 for Archive, 1 to 365 for the colder ones (OSS, "RestoreObject").
fn days(request: &Element, class: &str) -> Result<i64, OssError> {
    let (most, tiers): (i64, &[&str]) = match class {
        "Archive" => (7, &["Standard"]),
        "ColdArchive" => (365, &["Expedited", "Standard", "Bulk"]),
        "DeepColdArchive" => (365, &["Expedited", "Standard"]),
        _ => {
            let message = "The operation is not supported for this resource";
            return Err(OssError::new(400, "OperationNotSupported", message));
        }
    };
    if !tiers.contains(&tier(request)) {
        return Err(OssError::malformed_xml());
    }
    let days = request.child_text("Days").map_or(Some(1), |days| days.trim().parse().ok());
    days.filter(|days| (1..=most).contains(days)).ok_or_else(OssError::malformed_xml)
}
