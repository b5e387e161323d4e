//! Chains: a base and the deltas that follow it without a gap.

use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStore;
use sha2::{Digest, Sha256};

use super::run::child_names;
use super::tombstone::hidden_runs;
use super::{
    ChainGap, DeltaManifest, Manifest, Moment, RunPath, RunState, StreamSpan, TablePath, document, find_runs,
};
use crate::{Error, Kind, Result};

/// A base and its deltas, proven to follow each other.
#[derive(Debug, Clone, PartialEq)]
pub struct Chain {
    /// Where the base is.
    pub path: RunPath,
    /// The base.
    pub base: Box<Manifest>,
    /// SHA-256 of the base's manifest.
    pub base_sha256: [u8; 32],
    /// The deltas in order, the first of which has number 1.
    pub deltas: Vec<Link>,
    /// Records that follow the last run are gone, if somebody marked that.
    pub gap: Option<ChainGap>,
}

/// One delta of a chain.
#[derive(Debug, Clone, PartialEq)]
pub struct Link {
    /// Where it is.
    pub path: RunPath,
    /// What it is.
    pub manifest: Box<DeltaManifest>,
    /// SHA-256 of its manifest.
    pub sha256: [u8; 32],
}

impl Chain {
    /// The newest chain of a table that can be restored to a moment; for the end, the newest one.
    ///
    /// # Errors
    /// [`Kind::NotFound`] when no chain can, with what the newest one says; those of [`Chain::read`].
    pub async fn find(store: &dyn ObjectStore, table: &TablePath, moment: &Moment) -> Result<Chain> {
        let mut refused = None;
        for run in find_runs(store, table).await?.into_iter().rev() {
            let RunState::Committed(path, _) = run else { continue };
            let chain = Chain::read(store, table, &path).await?;
            match chain.cut(moment) {
                Ok(_) => return Ok(chain),
                Err(error) if error.kind() == Kind::NotFound => drop(refused.get_or_insert(error)),
                Err(error) => return Err(error),
            }
        }
        Err(refused.unwrap_or_else(|| {
            Error::new(Kind::NotFound, "find a committed backup")
                .on(format!("of table `{}/{}`", table.instance, table.table))
                .hint("`otsvault list` shows what is there, unfinished runs included")
        }))
    }

    /// Reads the chain of a committed base. Costs a list, and a small read per delta.
    ///
    /// # Errors
    /// [`Kind::NotFound`] without the base. [`Kind::Corrupt`] where a delta is missing, two follow the same run (a fork), a hash is not
    /// the one of the run before, or the places in the Stream do not join.
    pub async fn read(store: &dyn ObjectStore, table: &TablePath, base: &RunPath) -> Result<Chain> {
        let object = base.manifest();
        let bytes = document::read(store, &object, document::LARGEST_DOCUMENT).await?;
        let bytes = bytes.ok_or_else(|| {
            Error::new(Kind::NotFound, "read the chain")
                .on(format!("of `{object}`"))
                .because("its base is gone")
        })?;
        let manifest = Manifest::parse(&bytes)
            .map_err(|error| Error::new(error.kind(), "use").on(format!("`{object}`")).source(error))?;
        let mut chain = Chain {
            path: base.clone(),
            base: Box::new(manifest),
            base_sha256: Sha256::digest(&bytes).into(),
            deltas: Vec::new(),
            gap: None,
        };
        let names = child_names(store, &table.deltas(&base.chain)).await?;
        let paths = names.iter().filter_map(|name| table.parse_delta(&base.chain, name));
        let mut deltas: Vec<Link> = futures::stream::iter(paths)
            .map(|path| async move {
                let read = DeltaManifest::read(store, &path).await?;
                Ok::<_, Error>(read.map(|(manifest, sha256)| Link {
                    path,
                    manifest: Box::new(manifest),
                    sha256,
                }))
            })
            .buffered(16)
            .try_filter_map(|link| async move { Ok(link) })
            .try_collect()
            .await?;
        let hidden = hidden_runs(store, table).await?;
        deltas.retain(|link| !hidden.contains(&link.path.run));
        deltas.sort_by(|a, b| (a.path.sequence, &a.path.run).cmp(&(b.path.sequence, &b.path.run)));
        for link in deltas {
            chain.append(link)?;
        }
        chain.gap = ChainGap::read(store, chain.last()).await?;
        Ok(chain)
    }

    /// Adds the next delta.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] when it does not follow the last one.
    pub fn append(&mut self, link: Link) -> Result<()> {
        let (run, sha256) = self
            .deltas
            .last()
            .map_or((&self.path.run, &self.base_sha256), |last| (&last.path.run, &last.sha256));
        let next = self.deltas.len() as u64 + 1;
        let parent = &link.manifest.parent;
        let reason = if link.path.sequence < next {
            Some("two deltas have this number: two writers believed to hold the lease")
        } else if link.path.sequence > next {
            Some("the delta before it is missing")
        } else if (&parent.run, &parent.manifest_sha256) != (run, sha256) {
            Some("it does not follow the run before it, or that run was changed")
        } else if !self.end().is_some_and(|end| end.is_followed_by(&link.manifest.delta.stream)) {
            Some("it does not begin where the run before it ends")
        } else {
            None
        };
        match reason {
            None => {
                self.deltas.push(link);
                Ok(())
            }
            Some(reason) => Err(Error::new(Kind::Corrupt, "use the delta")
                .on(format!("`{}`", link.path.prefix()))
                .because(reason)),
        }
    }

    /// Where the last run is.
    pub fn last(&self) -> &RunPath {
        self.deltas.last().map_or(&self.path, |link| &link.path)
    }

    /// The part of the Stream that the last run holds; `None` for a base that no delta can follow.
    pub fn end(&self) -> Option<&StreamSpan> {
        match self.deltas.last() {
            Some(last) => Some(&last.manifest.delta.stream),
            None => self.base.delta.as_ref().map(|delta| &delta.stream),
        }
    }

    /// The last run, and what a delta that follows it says of it.
    pub fn parent_of_next(&self) -> super::Parent {
        let (run, manifest_sha256) = self
            .deltas
            .last()
            .map_or((&self.path.run, self.base_sha256), |last| (&last.path.run, last.sha256));
        super::Parent { run: run.clone(), manifest_sha256 }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use object_store::ObjectStoreExt;
    use object_store::memory::InMemory;
    use object_store::path::Path;

    use super::*;
    use crate::catalog::{
        Consistency, Delta, DeltaEntry, DeltaTotals, FileId, Parent, ReadCost, RunId, RunKind, ShardPlace,
        ShardProgress, ShardSlice, StoredFile, StreamIdentity, hide_run, read_delta_list, write_file_list,
    };
    use crate::model::{KeyPart, PrimaryKey, RowSum};

    fn progress(ordinal: u64) -> Vec<ShardProgress> {
        vec![ShardProgress {
            shard_id: "s".to_owned(),
            parents: Vec::new(),
            rank: 0,
            ordinal,
            clock_us: ordinal as i64,
            last: None,
            caught_up_at: Timestamp::UNIX_EPOCH,
            place: ShardPlace::Iterator(format!("at {ordinal}")),
        }]
    }

    struct Setting {
        store: InMemory,
        table: TablePath,
        base: RunPath,
    }

    impl Setting {
        /// A vault with an exact base that ends at record 10.
        async fn new() -> Setting {
            let (store, table) = (InMemory::new(), TablePath::new(&Path::from("v"), "i", "t").unwrap());
            let mut manifest = template();
            let base = table.base(&manifest.run);
            (manifest.consistency, manifest.delta) =
                (Consistency::Exact, Some(Box::new(delta(&store, &base, 0, 10).await)));
            crate::catalog::publish(&store, &base, &manifest).await.unwrap();
            Setting { store, table, base }
        }

        async fn chain(&self) -> Result<Chain> {
            Chain::read(&self.store, &self.table, &self.base).await
        }

        /// A delta run from one record to another that says what it follows.
        async fn follow(&self, sequence: u64, parent: Parent, from: u64, to: u64) -> RunPath {
            let run: RunId = format!("20261126t000000z-{:08x}", rand::random::<u32>()).parse().unwrap();
            let path = self.table.delta(&self.base.chain, sequence, &run);
            let manifest = DeltaManifest {
                format_version: 1,
                tool: "test".to_owned(),
                kind: RunKind::Delta,
                chain: self.base.chain.clone(),
                run,
                sequence,
                parent,
                source: template().source,
                table: template().table,
                started_at: Timestamp::UNIX_EPOCH,
                finished_at: Timestamp::UNIX_EPOCH,
                delta: delta(&self.store, &path, from, to).await,
            };
            manifest.publish(&self.store, &path).await.unwrap();
            path
        }
    }

    fn template() -> Manifest {
        Manifest::parse(include_bytes!("../../tests/fixtures/manifest-v1.json")).unwrap()
    }

    async fn delta(store: &InMemory, path: &RunPath, from: u64, to: u64) -> Delta {
        let key = |n: u64| PrimaryKey(vec![KeyPart::Integer(n as i64)]);
        let entries: Vec<DeltaEntry> = (from..to)
            .step_by(5)
            .map(|at| DeltaEntry {
                id: FileId::random(),
                first_key: key(at),
                last_key: key(at + 4),
                records: 5,
                cells: 5,
                logical_bytes: 50,
                record_sum: RowSum(at.into()),
                shards: vec![ShardSlice { rank: 0, from: at, to: at + 5 }],
                file: StoredFile { bytes: 9, sha256: "00".repeat(32), crc64: "00".repeat(8), row_groups: 1 },
                read: ReadCost::default(),
            })
            .collect();
        let identity = StreamIdentity { stream_id: "s".to_owned(), enabled_at_us: 1, table_created_at: None };
        let (from, to) = (progress(from), progress(to));
        Delta {
            stream: StreamSpan { identity, expiration_hours: 24, from, to },
            columns: template().columns,
            file_list: write_file_list(store, path, &entries).await.unwrap(),
            totals: DeltaTotals::of(&entries),
        }
    }

    #[tokio::test]
    async fn a_chain_is_its_base_and_the_deltas_that_follow_it_one_by_one() {
        let setting = Setting::new().await;
        let mut chain = setting.chain().await.unwrap();
        assert!(chain.deltas.is_empty());
        for (sequence, from, to) in [(1, 10, 20), (2, 20, 20), (3, 20, 40)] {
            setting.follow(sequence, chain.parent_of_next(), from, to).await;
            chain = setting.chain().await.unwrap();
        }
        assert_eq!(chain.deltas.len(), 3);
        let last = chain.deltas.last().unwrap();
        let entries = read_delta_list(&setting.store, &last.path, &last.manifest.delta).await.unwrap();
        assert_eq!((entries.len(), last.manifest.delta.totals.records), (4, 20));
        // What was hidden is not there, from the end on.
        hide_run(&setting.store, &setting.table, &last.path, Timestamp::UNIX_EPOCH).await.unwrap();
        assert_eq!(setting.chain().await.unwrap().deltas.len(), 2);
    }

    #[tokio::test]
    async fn forks_holes_changed_parents_and_gaps_between_places_are_refused() {
        let reason = async |setting: &Setting| {
            let error = setting.chain().await.unwrap_err();
            assert_eq!(error.kind(), Kind::Corrupt);
            error.report()
        };
        let fork = Setting::new().await;
        let parent = fork.chain().await.unwrap().parent_of_next();
        for to in [20, 30] {
            fork.follow(1, parent.clone(), 10, to).await;
        }
        assert!(reason(&fork).await.contains("two deltas have this number"));

        let hole = Setting::new().await;
        hole.follow(2, hole.chain().await.unwrap().parent_of_next(), 10, 20).await;
        assert!(reason(&hole).await.contains("the delta before it is missing"));

        let places = Setting::new().await;
        places.follow(1, places.chain().await.unwrap().parent_of_next(), 15, 20).await;
        assert!(reason(&places).await.contains("does not begin where"));

        let changed = Setting::new().await;
        changed.follow(1, changed.chain().await.unwrap().parent_of_next(), 10, 20).await;
        changed.chain().await.unwrap();
        let object = changed.base.manifest();
        let mut bytes = changed.store.get(&object).await.unwrap().bytes().await.unwrap().to_vec();
        bytes.push(b'\n');
        changed.store.put(&object, bytes.into()).await.unwrap();
        assert!(reason(&changed).await.contains("or that run was changed"));
    }

    #[tokio::test]
    async fn a_list_that_lacks_a_record_or_has_one_twice_is_refused() {
        let setting = Setting::new().await;
        let chain = setting.chain().await.unwrap();
        let delta = chain.base.delta.as_ref().unwrap();
        let entries = read_delta_list(&setting.store, &chain.path, delta).await.unwrap();
        delta.check_covered_by(&entries).unwrap();
        let mut twice = entries.clone();
        twice.push(entries[0].clone());
        let mut foreign = entries.clone();
        foreign[0].shards.push(ShardSlice { rank: 9, from: 0, to: 1 });
        for wrong in [entries[1..].to_vec(), entries[..1].to_vec(), twice, foreign] {
            assert_eq!(delta.check_covered_by(&wrong).unwrap_err().kind(), Kind::Corrupt);
        }
    }
}
