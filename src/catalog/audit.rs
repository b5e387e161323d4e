//! Whether the documents of a run agree with each other and with what the store lists. Reads no data file.

use std::collections::{HashMap, HashSet};

use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStore;
use object_store::path::Path;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::layout::file_id;
use super::{FileEntry, FileId, Manifest, RunPath, StartedRun, TablePath, document, lease, read_file_list};
use crate::{Error, Kind, Result};

/// Journal entries that are read at the same time.
const READS_IN_FLIGHT: usize = 64;

/// Faults of one run that are named.
const MOST_FAULTS: usize = 100_000;

/// Something in a vault that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The object.
    pub object: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Fault {
    /// A fault of an object.
    pub fn new(object: &Path, reason: impl Into<String>) -> Fault {
        Fault { object: object.to_string(), reason: reason.into() }
    }

    /// What an error says of an object, if it says that the object is damaged or gone; the error itself otherwise.
    pub fn of(object: &Path, error: Error) -> Result<Fault> {
        match error.kind() {
            Kind::Corrupt | Kind::Verification | Kind::NotFound => Ok(Fault::new(object, error.one_line())),
            _ => Err(error),
        }
    }
}

/// How much of the documents is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditDepth {
    /// Manifest, file list, `started.json`, and one list of everything: names and sizes.
    Listed,
    /// Every journal entry and lease as well, which no reader needs.
    Everything,
}

/// What the documents of a run say.
#[derive(Debug, Default)]
pub struct Audit {
    /// `None` where there is no manifest that can be used.
    pub manifest: Option<Manifest>,
    /// Of the file list; `None` where it cannot be used.
    pub entries: Option<Vec<FileEntry>>,
    /// Data files that are there with the size they should have.
    pub present: HashSet<FileId>,
    /// Documents and data objects that were found where they belong.
    pub objects: u64,
    /// What is wrong.
    pub faults: Vec<Fault>,
}

/// Audits one run. A directory that holds no committed run, and no trace of one, gives no manifest and no faults.
///
/// # Errors
/// What the store says when it cannot be read; [`Kind::Unsupported`] for a newer format.
pub async fn audit_run(
    store: &dyn ObjectStore,
    table: &TablePath,
    path: &RunPath,
    depth: AuditDepth,
) -> Result<Audit> {
    let mut audit = Audit::default();
    match Manifest::read(store, path).await {
        Ok(Some(manifest)) => audit.manifest = Some(manifest),
        Ok(None) => {
            audit.look_for_a_lost_manifest(store, path).await?;
            return Ok(audit);
        }
        Err(error) => {
            audit.faults.push(Fault::of(&path.manifest(), error)?);
            return Ok(audit);
        }
    }
    let Some(manifest) = audit.manifest.clone() else { return Ok(audit) };
    audit.check_stored(store, &path.manifest(), &manifest).await?;
    audit.check_started(store, path, &manifest).await?;
    match read_file_list(store, path, &manifest).await {
        Ok(entries) => audit.entries = Some(entries),
        Err(error) => {
            audit.faults.push(Fault::of(&path.file_list(&manifest.file_list.sha256), error)?);
            return Ok(audit);
        }
    }
    audit.objects += 1;
    audit.check_objects(store, path, depth).await?;
    if depth == AuditDepth::Everything {
        for (object, error) in lease::unreadable(store, table).await? {
            audit.faults.push(Fault::of(&object, error)?);
        }
    }
    Ok(audit)
}

impl Audit {
    /// A file list is written just before the manifest.
    async fn look_for_a_lost_manifest(&mut self, store: &dyn ObjectStore, path: &RunPath) -> Result<()> {
        if let Some(list) = lost_file_list(store, path).await? {
            let reason = "there is a file list and no manifest: it was removed, or the backup was interrupted while it was \
                          committed, and goes on when it is run again";
            self.faults.push(Fault::new(&path.manifest(), format!("{reason} (`{list}`)")));
        }
        Ok(())
    }

    /// Reads a document once more, as bytes, and looks whether it is what its writer wrote.
    async fn check_stored<T: Serialize>(
        &mut self,
        store: &dyn ObjectStore,
        object: &Path,
        document: &T,
    ) -> Result<()> {
        let bytes = document::read(store, object, document::LARGEST_DOCUMENT).await?;
        if bytes.is_some_and(|bytes| document::is_as_written(&bytes, document)) {
            self.objects += 1;
        } else {
            self.faults.push(Fault::new(
                object,
                "it has been changed: it has no seal and a field that nobody writes",
            ));
        }
        Ok(())
    }

    async fn check_started(
        &mut self,
        store: &dyn ObjectStore,
        path: &RunPath,
        manifest: &Manifest,
    ) -> Result<()> {
        let object = path.started();
        let started = match read_as_written::<StartedRun>(store, &object).await {
            Ok(started) => started,
            Err(error) => {
                self.faults.push(Fault::of(&object, error)?);
                return Ok(());
            }
        };
        let zero = manifest.delta.as_ref();
        let agrees = started.chain == manifest.chain
            && started.run == manifest.run
            && started.source == manifest.source
            && started.table == manifest.table
            && started.key_range == manifest.key_range
            && started.projection == manifest.projection
            && started.storage_class == manifest.storage_class
            && started.started_at == manifest.started_at
            && started.columns == manifest.columns
            && started.stream.as_ref().map(|stream| &stream.to) == zero.map(|zero| &zero.stream.from);
        if agrees {
            self.objects += 1;
        } else {
            self.faults.push(Fault::new(&object, "it is of another run than the manifest beside it"));
        }
        Ok(())
    }

    /// Every data object and journal entry of the file list is there with its size, and no other is. Costs one list.
    async fn check_objects(
        &mut self,
        store: &dyn ObjectStore,
        path: &RunPath,
        depth: AuditDepth,
    ) -> Result<()> {
        let entries = self.entries.take().unwrap_or_default();
        let mut missing_data: HashMap<FileId, u64> = entries
            .iter()
            .filter_map(|entry| entry.file.as_ref().map(|file| (entry.id, file.bytes)))
            .collect();
        let mut missing_journal: HashMap<FileId, &FileEntry> =
            entries.iter().map(|entry| (entry.id, entry)).collect();
        let mut to_read = Vec::new();
        let (data, journal) = (format!("{}/", path.data()), format!("{}/", path.journal()));
        let mut listed = store.list(Some(path.prefix()));
        while let Some(object) =
            listed.try_next().await.map_err(|error| document::failed("list", path.prefix(), error))?
        {
            let (object, bytes) = (object.location, object.size);
            let id = file_id(&object);
            if object.as_ref().starts_with(&data) {
                let expected =
                    id.filter(|id| path.data_file(*id) == object).and_then(|id| missing_data.remove(&id));
                match (id, expected) {
                    (Some(id), Some(expected)) if expected == bytes => {
                        self.present.insert(id);
                        self.objects += 1;
                    }
                    (_, Some(expected)) => {
                        self.fault(&object, format!("it has {bytes} bytes, not {expected}"))?;
                    }
                    (_, None) => {
                        self.fault(
                            &object,
                            "it is not in the file list, and a query over the data files reads it",
                        )?;
                    }
                }
            } else if object.as_ref().starts_with(&journal) {
                let own = id.filter(|id| path.journal_entry(*id) == object);
                match own.and_then(|id| missing_journal.remove(&id)) {
                    // As this version writes it; other sizes are for a look inside.
                    Some(entry)
                        if depth == AuditDepth::Listed
                            && document::to_bytes(entry)?.len() as u64 == bytes =>
                    {
                        self.objects += 1;
                    }
                    Some(entry) => to_read.push((object, entry)),
                    None => self.fault(&object, "it is of no file in the file list")?,
                }
            }
        }
        drop(listed);
        for id in missing_data.into_keys() {
            self.fault(&path.data_file(id), "it is gone")?;
        }
        for id in missing_journal.into_keys() {
            self.fault(&path.journal_entry(id), "it is gone")?;
        }
        let mut reads = futures::stream::iter(to_read)
            .map(|(object, entry)| async move {
                let found = read_as_written::<FileEntry>(store, &object).await;
                (object, entry, found)
            })
            .buffer_unordered(READS_IN_FLIGHT);
        while let Some((object, entry, found)) = reads.next().await {
            match found {
                Ok(found) if found == *entry => self.objects += 1,
                Ok(_) => self.fault(&object, "it is not the entry in the file list")?,
                Err(error) => self.faults.push(Fault::of(&object, error)?),
            }
        }
        drop(reads);
        self.entries = Some(entries);
        Ok(())
    }

    /// # Errors
    /// [`Kind::Corrupt`] where there are so many that a list of them would be of no use.
    fn fault(&mut self, object: &Path, reason: impl Into<String>) -> Result<()> {
        if self.faults.len() >= MOST_FAULTS {
            return Err(Error::new(Kind::Corrupt, "verify a run")
                .on(format!("at `{object}`"))
                .because(format!("more than {MOST_FAULTS} objects are not as they should be")));
        }
        self.faults.push(Fault::new(object, reason));
        Ok(())
    }
}

/// A file list of a run, whose manifest is not there.
pub(super) async fn lost_file_list(store: &dyn ObjectStore, path: &RunPath) -> Result<Option<Path>> {
    let listed = store
        .list_with_delimiter(Some(path.prefix()))
        .await
        .map_err(|error| document::failed("list", path.prefix(), error))?;
    let is_file_list = |object: &Path| {
        let name = object.filename().unwrap_or_default();
        name.starts_with("files-") && name.ends_with(".jsonl.zst")
    };
    Ok(listed.objects.into_iter().map(|object| object.location).find(is_file_list))
}

pub(super) async fn read_as_written<T: DeserializeOwned + Serialize>(
    store: &dyn ObjectStore,
    object: &Path,
) -> Result<T> {
    let wrong = |kind, reason: &str| {
        Err(Error::new(kind, "use").on(format!("`{object}`")).because(reason.to_owned()))
    };
    let Some(bytes) = document::read(store, object, document::LARGEST_DOCUMENT).await? else {
        return wrong(Kind::NotFound, "it is gone");
    };
    let document: T = document::parse(object, &bytes)?;
    match document::is_as_written(&bytes, &document) {
        true => Ok(document),
        false => wrong(Kind::Corrupt, "it has been changed: it has no seal and a field that nobody writes"),
    }
}
