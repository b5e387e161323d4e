//! Whether what follows an exact base agrees with itself and with what the store lists. Reads no file of records.

use std::collections::HashMap;

use futures::TryStreamExt;
use object_store::ObjectStore;

use super::audit::lost_file_list;
use super::layout::file_id;
use super::run::child_names;
use super::{
    Chain, Delta, DeltaEntry, Fault, FileId, Manifest, RunPath, TablePath, document, hidden_runs,
    read_delta_list,
};
use crate::Result;

/// The records of one run of a chain.
#[derive(Debug)]
pub struct AuditedDelta {
    /// Where they are.
    pub path: RunPath,
    /// What its manifest says.
    pub delta: Delta,
    /// The files that are there with the size they should have.
    pub present: Vec<DeltaEntry>,
}

/// What the documents of a chain say.
#[derive(Debug, Default)]
pub struct ChainAudit {
    /// Delta 0 and those that follow, as far as they can be used.
    pub deltas: Vec<AuditedDelta>,
    /// Documents and files of records that were found where they belong.
    pub objects: u64,
    /// Records, and files of them, by the manifests.
    pub records: u64,
    /// Files of records by the manifests.
    pub files: u64,
    /// What is wrong.
    pub faults: Vec<Fault>,
}

/// Audits the chain of a base: hashes from run to run, places that join, file lists, and that exactly their files are there. Costs a list and
/// two small reads per run. Nothing for a fuzzy base.
///
/// # Errors
/// What the store says when it cannot be read; [`crate::Kind::Unsupported`] for a newer format.
pub async fn audit_chain(
    store: &dyn ObjectStore,
    table: &TablePath,
    base: &RunPath,
    manifest: &Manifest,
) -> Result<ChainAudit> {
    let mut audit = ChainAudit::default();
    let Some(zero) = &manifest.delta else { return Ok(audit) };
    let mut runs = vec![(base.clone(), Delta::clone(zero))];
    match Chain::read(store, table, base).await {
        Ok(chain) => {
            audit.objects += chain.deltas.len() as u64;
            runs.extend(chain.deltas.into_iter().map(|link| (link.path, link.manifest.delta)));
        }
        Err(error) => audit.faults.push(Fault::of(&table.deltas(&base.chain), error)?),
    }
    audit.look_for_a_lost_manifest(store, table, base, runs.len() as u64).await?;
    for (path, delta) in runs {
        audit.records = audit.records.saturating_add(delta.totals.records);
        audit.files = audit.files.saturating_add(delta.totals.files);
        match read_delta_list(store, &path, &delta).await {
            Ok(entries) => {
                audit.objects += 1;
                let present = audit.present(store, &path, entries).await?;
                audit.deltas.push(AuditedDelta { path, delta, present });
            }
            Err(error) => {
                let list = path.file_list(&delta.file_list.sha256);
                audit.faults.push(Fault::of(&list, error)?);
            }
        }
    }
    Ok(audit)
}

impl ChainAudit {
    /// A file list is written just before the manifest. Numbers below `next` have one.
    async fn look_for_a_lost_manifest(
        &mut self,
        store: &dyn ObjectStore,
        table: &TablePath,
        base: &RunPath,
        next: u64,
    ) -> Result<()> {
        let hidden = hidden_runs(store, table).await?;
        for name in child_names(store, &table.deltas(&base.chain)).await? {
            let Some(path) = table.parse_delta(&base.chain, &name) else { continue };
            if path.sequence < next || hidden.contains(&path.run) {
                continue;
            }
            if let Some(list) = lost_file_list(store, &path).await? {
                let reason = "there is a file list and no manifest: it was removed, or the delta was interrupted while it was \
                              committed, and the next one takes its place";
                self.faults.push(Fault::new(&path.manifest(), format!("{reason} (`{list}`)")));
            }
        }
        Ok(())
    }

    /// The entries whose files are there with their sizes. The others, and files that no entry names, are faults.
    async fn present(
        &mut self,
        store: &dyn ObjectStore,
        path: &RunPath,
        entries: Vec<DeltaEntry>,
    ) -> Result<Vec<DeltaEntry>> {
        let prefix = path.records();
        let listed: Vec<_> = store
            .list(Some(&prefix))
            .try_collect()
            .await
            .map_err(|error| document::failed("list", &prefix, error))?;
        let mut there: HashMap<FileId, u64> = HashMap::new();
        for object in listed {
            let id = file_id(&object.location).filter(|id| path.record_file(*id) == object.location);
            match id.filter(|id| entries.iter().any(|entry| entry.id == *id)) {
                Some(id) => drop(there.insert(id, object.size)),
                None => {
                    let reason = "it is not in the file list, and a query over the records reads it";
                    self.faults.push(Fault::new(&object.location, reason));
                }
            }
        }
        let mut present = Vec::with_capacity(entries.len());
        for entry in entries {
            let object = path.record_file(entry.id);
            match there.get(&entry.id) {
                Some(bytes) if *bytes == entry.file.bytes => present.push(entry),
                Some(bytes) => {
                    let reason = format!("it has {bytes} bytes, not {}", entry.file.bytes);
                    self.faults.push(Fault::new(&object, reason));
                }
                None => self.faults.push(Fault::new(&object, "it is gone")),
            }
        }
        self.objects += present.len() as u64;
        Ok(present)
    }
}
