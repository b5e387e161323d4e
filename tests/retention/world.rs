//! A vault in a directory, made object by object, with every age and in every state that a killed writer leaves.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use object_store::ObjectStoreExt;
use object_store::path::Path;
use otsvault::catalog::{
    FileEntry, FileId, Manifest, ReadCost, RunId, RunPath, Source, StartedRun, StoredFile, TablePath, Vault,
    hide_run, prepare_commit, publish, write_journal,
};
use otsvault::model::{KeyPart, KeyRange, PrimaryKey, RowSum};
use otsvault::objectstore::{self, Root, StoreOptions, UploadStore};
use rand::Rng;
use rand::rngs::StdRng;

/// What manifests of tests say besides what is tested.
fn template() -> Manifest {
    Manifest::parse(include_bytes!("../fixtures/manifest-v1.json")).unwrap()
}

pub struct World {
    pub directory: tempfile::TempDir,
    pub store: Arc<dyn UploadStore>,
    pub vault: Vault,
    pub table: TablePath,
}

impl World {
    pub async fn new() -> World {
        // In memory where there is such a place: every object is flushed to the disk, and there are many.
        let memory = std::path::Path::new("/dev/shm");
        let directory = match memory.is_dir() {
            true => tempfile::tempdir_in(memory).unwrap(),
            false => tempfile::tempdir().unwrap(),
        };
        let options = StoreOptions { create_directory: true, ..StoreOptions::default() };
        let root = objectstore::open(directory.path().to_str().unwrap(), &options).unwrap();
        let vault = Vault::open_or_create(root).await.unwrap();
        World { store: vault.store().clone(), table: vault.table("i", "orders").unwrap(), vault, directory }
    }

    /// The same directory behind another store.
    pub async fn behind(&self, store: Arc<dyn UploadStore>) -> Vault {
        Vault::open(Root { store, prefix: Path::default(), url: "test".to_owned() }).await.unwrap()
    }

    /// A run that started so long ago, with `started.json` alone.
    pub async fn started(&self, ago: SignedDuration) -> (RunPath, StartedRun) {
        let started_at = Timestamp::now() - ago;
        let run = RunId::new(started_at);
        let path = self.table.base(&run);
        let from = template();
        let started = StartedRun {
            format_version: from.format_version,
            tool: from.tool,
            chain: run.clone(),
            run,
            source: Source { instance: self.table.instance.clone(), ..from.source },
            table: from.table,
            key_range: KeyRange::all(3),
            projection: None,
            storage_class: None,
            started_at,
            columns: from.columns,
            stream: None,
        };
        started.write(&*self.store, &path).await.unwrap();
        (path, started)
    }

    /// Data files with their journal entries that tile the key range of a run.
    pub async fn write_files(&self, path: &RunPath, started: &StartedRun, files: usize) -> Vec<FileEntry> {
        let point = |n: usize| {
            PrimaryKey(vec![KeyPart::String(format!("k{n:03}")), KeyPart::InfMin, KeyPart::InfMin])
        };
        let ranges = started.key_range.split_at((1..files).map(point));
        let mut entries = Vec::new();
        for range in ranges {
            let entry = FileEntry {
                id: FileId::random(),
                range,
                rows: 1,
                cells: 1,
                logical_bytes: 10,
                row_sum: RowSum::default(),
                file: Some(StoredFile {
                    bytes: 7,
                    sha256: "00".repeat(32),
                    crc64: "00".repeat(8),
                    row_groups: 1,
                }),
                read: ReadCost::default(),
            };
            self.put(&path.data_file(entry.id)).await;
            write_journal(&*self.store, path, &entry).await.unwrap();
            entries.push(entry);
        }
        entries
    }

    /// A committed run that finished so long ago.
    pub async fn committed(&self, ago: SignedDuration, files: usize) -> (RunPath, Manifest) {
        let (path, started) = self.started(ago).await;
        let entries = self.write_files(&path, &started, files).await;
        let manifest = prepare_commit(&*self.store, &path, &started, &entries, None, Timestamp::now() - ago)
            .await
            .unwrap();
        publish(&*self.store, &path, &manifest).await.unwrap();
        (path, manifest)
    }

    pub async fn hide(&self, run: &RunPath) {
        hide_run(&*self.store, &self.table, run, Timestamp::now()).await.unwrap();
    }

    /// Seven bytes of anything.
    pub async fn put(&self, path: &Path) {
        self.store.put(path, Bytes::from_static(b"content").into()).await.unwrap();
    }

    fn file(&self, path: &Path) -> PathBuf {
        path.parts().fold(self.directory.path().to_owned(), |file, part| file.join(part.as_ref()))
    }

    /// Makes an object, or a whole prefix, look as old.
    pub fn age(&self, path: &Path, ago: SignedDuration) {
        let time = SystemTime::now() - Duration::try_from(ago).unwrap();
        let mut left = vec![self.file(path)];
        while let Some(path) = left.pop() {
            if path.is_dir() {
                left.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            } else {
                std::fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
            }
        }
    }

    /// Every file of the vault, staging files too, with its content.
    pub fn everything(&self) -> BTreeMap<String, Vec<u8>> {
        let mut found = BTreeMap::new();
        let mut left = vec![self.directory.path().to_owned()];
        while let Some(path) = left.pop() {
            if path.is_dir() {
                left.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            } else {
                let name = path.strip_prefix(self.directory.path()).unwrap().to_str().unwrap().to_owned();
                found.insert(name, std::fs::read(&path).unwrap());
            }
        }
        found
    }

    /// A half-done upload of an object, so old.
    pub fn stage_upload(&self, path: &Path, ago: SignedDuration) {
        let file = self.file(path).with_file_name(format!("{}#1", path.filename().unwrap()));
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, b"half").unwrap();
        let time = SystemTime::now() - Duration::try_from(ago).unwrap();
        std::fs::File::options().write(true).open(&file).unwrap().set_modified(time).unwrap();
    }

    /// Objects of other people, some of them where ours are.
    pub async fn strangers(&self, beside: Option<&RunPath>) -> BTreeSet<String> {
        let mut paths = vec![
            Path::from("README.txt"),
            Path::from("i/orders/notes.txt"),
            Path::from("i/orders/lease/1.json"),
            Path::from("i/orders/tombstone/readme"),
            Path::from("i/orders/archive/base/data/x.parquet"),
            Path::from("i/orders2/20200101t000000z-00000000/base/readme"),
            Path::from("logs/2024/a.log"),
        ];
        if let Some(run) = beside {
            paths.push(run.prefix().clone().join("notes.txt"));
            paths.push(run.data().join("mine.parquet"));
            paths.push(run.journal().join("0123456789abcdef.json.bak"));
            paths.push(run.prefix().clone().join("files-0123.jsonl.zst"));
        }
        for path in &paths {
            self.put(path).await;
            self.age(path, SignedDuration::from_hours(24 * 100));
        }
        paths.iter().map(Path::to_string).collect()
    }
}

/// Days ago, mostly on one side of the limits.
pub fn days(random: &mut StdRng, range: std::ops::Range<i64>) -> SignedDuration {
    SignedDuration::from_hours(24 * random.random_range(range) + 2)
}
