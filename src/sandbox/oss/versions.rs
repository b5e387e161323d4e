//! The objects of a bucket with their versions, and what a write or delete does to them under each versioning state.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use jiff::Timestamp;

use super::bucket::Object;
use super::error::OssError;

/// The id of versions written while versioning was off or suspended.
pub const NULL: &str = "null";

/// Whether a bucket keeps old versions; OSS, "Versioning".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Versioning {
    /// Never switched on: one version per key, no ids.
    Off,
    /// Every write adds a version, every delete a marker.
    Enabled,
    /// Writes and deletes replace the version `null` and keep the others.
    Suspended,
}

/// One version of a key.
#[derive(Clone)]
pub struct Version {
    /// `null`, or 64 hex digits.
    pub id: String,
    /// The object; `None` is a delete marker.
    pub object: Option<Arc<Object>>,
    /// When it was written.
    pub modified: Timestamp,
}

/// What a delete did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Deleted {
    /// The version that was removed, or the marker that was added.
    pub version_id: Option<String>,
    /// It was a marker that was added or removed.
    pub marker: bool,
}

/// The versions of all keys.
#[derive(Default)]
pub struct Objects {
    /// Oldest version first, never empty. The order of strings is the order of their UTF-8 bytes, as listings need it.
    keys: BTreeMap<String, Vec<Version>>,
}

impl Objects {
    /// The newest version of a key, unless it is a marker.
    ///
    /// # Errors
    /// 404 `NoSuchKey`, with `x-oss-delete-marker` when the newest version is a marker.
    pub fn current(&self, key: &str) -> Result<&Version, OssError> {
        match self.newest(key) {
            None => Err(OssError::no_such_key(key)),
            Some(version) if version.object.is_some() => Ok(version),
            Some(marker) => Err(OssError::no_such_key(key)
                .header("x-oss-delete-marker", "true")
                .header("x-oss-version-id", &marker.id)),
        }
    }

    /// One version of a key.
    ///
    /// # Errors
    /// 404 `NoSuchVersion`; 405 `MethodNotAllowed` for a marker.
    pub fn version(&self, key: &str, id: &str) -> Result<&Version, OssError> {
        let found = self.keys.get(key).and_then(|versions| versions.iter().find(|version| version.id == id));
        match found {
            Some(version) if version.object.is_some() => Ok(version),
            Some(_) => Err(OssError::method_not_allowed().header("x-oss-delete-marker", "true")),
            None => {
                let error = OssError::new(404, "NoSuchVersion", "The specified version does not exist.");
                Err(error.with("Key", key).with("VersionId", id))
            }
        }
    }

    /// The newest version of a key, markers included.
    pub fn newest(&self, key: &str) -> Option<&Version> {
        self.keys.get(key)?.last()
    }

    /// Writes an object and returns the id of the new version, if the bucket has ids.
    pub fn put(&mut self, key: &str, object: Arc<Object>, versioning: Versioning) -> Option<String> {
        let modified = object.modified;
        self.add(key, Version { id: NULL.to_owned(), object: Some(object), modified }, versioning)
    }

    /// Puts another object in the place of one version, as a restore does.
    pub fn replace(&mut self, key: &str, id: &str, object: Object) {
        let versions = self.keys.get_mut(key);
        if let Some(version) = versions.and_then(|all| all.iter_mut().find(|version| version.id == id)) {
            version.object = Some(Arc::new(object));
        }
    }

    /// Deletes a key as far as the bucket's versioning lets it go.
    pub fn delete(&mut self, key: &str, versioning: Versioning, now: Timestamp) -> Deleted {
        if versioning == Versioning::Off {
            self.keys.remove(key);
            return Deleted::default();
        }
        let marker = Version { id: NULL.to_owned(), object: None, modified: now };
        Deleted { version_id: self.add(key, marker, versioning), marker: true }
    }

    /// Removes one version for good. One that is not there is a success.
    pub fn delete_version(&mut self, key: &str, id: &str) -> Deleted {
        let mut marker = false;
        if let Some(versions) = self.keys.get_mut(key) {
            versions.retain(|version| {
                marker |= version.id == id && version.object.is_none();
                version.id != id
            });
            if versions.is_empty() {
                self.keys.remove(key);
            }
        }
        Deleted { version_id: Some(id.to_owned()), marker }
    }

    /// Nothing is left, markers included.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The current objects from a key on, in order.
    pub fn from<'a>(&'a self, start: Bound<&str>) -> impl Iterator<Item = (&'a str, &'a Arc<Object>)> {
        self.keys
            .range::<str, _>((start, Bound::Unbounded))
            .filter_map(|(key, versions)| Some((key.as_str(), versions.last()?.object.as_ref()?)))
    }

    /// All versions from a key on: by key, newest first. The flag says that it is the newest of its key.
    pub fn versions_from<'a>(&'a self, start: &str) -> impl Iterator<Item = (&'a str, (&'a Version, bool))> {
        self.keys.range::<str, _>((Bound::Included(start), Bound::Unbounded)).flat_map(|(key, versions)| {
            let newest_first = versions.iter().rev().enumerate();
            newest_first.map(|(age, version)| (key.as_str(), (version, age == 0)))
        })
    }

    fn add(&mut self, key: &str, mut version: Version, versioning: Versioning) -> Option<String> {
        let versions = self.keys.entry(key.to_owned()).or_default();
        match versioning {
            Versioning::Enabled => version.id = format!("{:064x}", rand::random::<u128>()),
            Versioning::Suspended => versions.retain(|old| old.id != NULL),
            Versioning::Off => versions.clear(),
        }
        let id = version.id.clone();
        versions.push(version);
        (versioning != Versioning::Off).then_some(id)
    }
}
