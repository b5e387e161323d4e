//! A vault that can be written again with any file, any file list and any manifest, consistent to the last hash.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use crc_fast::CrcAlgorithm::Crc64Xz;
use jiff::Timestamp;
use object_store::{ObjectStoreExt, PutPayload};
use otsvault::catalog::{
    FORMAT_VERSION, FileEntry, Manifest, RunPath, StartedRun, StoredFile, Vault, prepare_commit, publish,
    read_file_list, write_journal,
};
use otsvault::objectstore::{self, StoreOptions};
use otsvault::restore::{self, Job};
use otsvault::runtime::CpuPool;
use otsvault::verify::{Level, RunReport, Verifier, VerifyOptions, VerifyProgress, verify_table};
use otsvault::{Kind, Result};
use sha2::{Digest, Sha256};

use crate::stage::{On, Stage};

/// A backup of one file, taken apart.
pub struct Forge {
    pub stage: Stage,
    pub manifest: Manifest,
    pub entry: FileEntry,
    pub file: Bytes,
}

impl Forge {
    /// Of a table of `rows` rows of a shape that has every type and `_overflow`.
    pub async fn new(rows: u64) -> Forge {
        let stage = Stage::with(On::Disk, &[&format!("t=mixed:rows={rows},seed=5")]).await;
        let done = stage.back_up("t", &Default::default()).await.unwrap();
        let vault = stage.vault().await;
        let entries = read_file_list(&**vault.store(), &done.path, &done.manifest).await.unwrap();
        assert_eq!(entries.len(), 1, "one file, so that there is one thing to forge");
        let entry = entries[0].clone();
        let object = vault.store().get(&done.path.data_file(entry.id)).await.unwrap();
        let file = object.bytes().await.unwrap();
        Forge { stage, manifest: done.manifest, entry, file }
    }

    /// A new vault that holds `file`, which its documents describe to the last bit, with `change` made to its entry.
    pub async fn vault_with(&self, file: Bytes, change: impl FnOnce(&mut FileEntry)) -> ForgedVault {
        let directory = tempfile::tempdir().unwrap();
        let options = StoreOptions { create_directory: true, ..StoreOptions::default() };
        let root = objectstore::open(&directory.path().display().to_string(), &options).unwrap();
        let vault = Vault::open_or_create(root).await.unwrap();
        let path =
            vault.table("sandbox", "t").unwrap().base_in_chain(&self.manifest.chain, &self.manifest.run);
        let manifest = &self.manifest;
        let started = StartedRun {
            format_version: FORMAT_VERSION,
            tool: manifest.tool.clone(),
            chain: manifest.chain.clone(),
            run: manifest.run.clone(),
            source: manifest.source.clone(),
            table: manifest.table.clone(),
            key_range: manifest.key_range.clone(),
            projection: None,
            storage_class: None,
            started_at: manifest.started_at,
            columns: manifest.columns.clone(),
            stream: None,
        };
        let store = vault.store();
        started.write(&**store, &path).await.unwrap();
        let mut entry = self.entry.clone();
        entry.file = Some(StoredFile {
            bytes: file.len() as u64,
            sha256: hex::encode(Sha256::digest(&file)),
            crc64: format!("{:016x}", crc_fast::checksum(Crc64Xz, &file)),
            row_groups: entry.file.unwrap().row_groups,
        });
        change(&mut entry);
        store.put(&path.data_file(entry.id), PutPayload::from(file)).await.unwrap();
        write_journal(&**store, &path, &entry).await.unwrap();
        let forged =
            prepare_commit(&**store, &path, &started, &[entry], None, Timestamp::now()).await.unwrap();
        publish(&**store, &path, &forged).await.unwrap();
        ForgedVault { directory, vault, path }
    }
}

/// What an enemy has made.
pub struct ForgedVault {
    pub directory: tempfile::TempDir,
    pub vault: Vault,
    pub path: RunPath,
}

impl ForgedVault {
    pub fn url(&self) -> String {
        self.directory.path().display().to_string()
    }

    /// Replaces an object.
    pub async fn put(&self, path: &object_store::path::Path, bytes: impl Into<PutPayload>) {
        self.vault.store().put(path, bytes.into()).await.unwrap();
    }

    /// Verifies it in this process.
    pub async fn verify(&self) -> Result<Option<RunReport>> {
        let verifier =
            Verifier { cpu: CpuPool::new(1).unwrap(), progress: Arc::new(VerifyProgress::default()) };
        let options = VerifyOptions { level: Level::Full, ..VerifyOptions::default() };
        let table = self.vault.table("sandbox", "t").unwrap();
        verify_table(&self.vault, &table, None, &options, &verifier).await
    }

    /// Restores it in this process.
    pub async fn restore(&self, forge: &Forge, target: &str) -> Result<()> {
        let runtime = restore::Runtime {
            cpu: CpuPool::new(1).unwrap(),
            progress: Default::default(),
            shutdown: Default::default(),
        };
        let table = self.vault.table("sandbox", "t").unwrap();
        let job = Job { table, target: target.to_owned(), state: None };
        restore::restore(&forge.stage.client(), &self.vault, &job, &Default::default(), &runtime)
            .await
            .map(drop)
    }

    /// Restores it in this process, to the rows that were backed up.
    pub async fn expect_true_rows(&self, forge: &Forge, what: &str) {
        let made = forge.stage.requests("CreateTable");
        let target = format!("true_{made}");
        self.restore(forge, &target).await.unwrap();
        assert_eq!(forge.stage.table_sum(&target), forge.stage.table_sum("t"), "{what}");
    }

    /// What was found, or that nothing was.
    pub async fn finding(&self) -> Option<String> {
        match self.verify().await {
            Ok(report) => {
                let faults = report.expect("a run, or a fault of one").faults;
                faults.first().map(|fault| fault.reason.clone())
            }
            Err(error) => {
                let expected = matches!(error.kind(), Kind::Corrupt | Kind::Verification | Kind::Unsupported);
                assert!(expected, "{}", error.report());
                Some(error.report())
            }
        }
    }
}

/// Everything that puts rows into a table.
const ROW_WRITES: [&str; 4] = ["BatchWriteRow", "PutRow", "UpdateRow", "BulkImport"];

/// Restores a vault with the program, which finds out what the vault is before it writes a row.
pub async fn expect_no_restore(forge: &Forge, url: &str, what: &str) {
    let writes = || ROW_WRITES.iter().map(|operation| forge.stage.requests(operation)).sum::<u64>();
    let (made, written) = (forge.stage.requests("CreateTable"), writes());
    let target = format!("ots://sandbox/copy_{made}");
    let taken = run_program(&forge.stage, &["restore", url, "t", &target]).await;
    assert_eq!(taken.code, Some(5), "{what}: {}{}", taken.stdout, taken.stderr);
    assert!(!taken.stderr.contains("panicked"), "{what}: {}", taken.stderr);
    assert_eq!(writes(), written, "{what}: {}", taken.stderr);
}

/// How the program took it.
pub struct Taken {
    pub code: Option<i32>,
    pub stderr: String,
    pub stdout: String,
    /// Processor time.
    pub cpu: Duration,
}

/// One child at a time, so that what children have used is what this one has used.
static CHILDREN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Runs the program on a vault and measures it: 2 s of processor time and less than 512 MiB at most, whatever is in it.
pub async fn run_program(stage: &Stage, arguments: &[&str]) -> Taken {
    let _alone = CHILDREN.lock().await;
    let (before, _) = children();
    let began = Instant::now();
    let ended = stage.run(arguments).await;
    let (after, peak_kib) = children();
    let cpu = after - before;
    assert!(cpu < Duration::from_secs(2), "{cpu:?} of processor time, {:?} in all", began.elapsed());
    assert!(peak_kib < 512 << 10, "{peak_kib} KiB at its peak");
    Taken { code: ended.code, stderr: ended.stderr, stdout: ended.stdout, cpu }
}

/// Processor time of all children so far, and the largest resident set of any of them in KiB.
fn children() -> (Duration, i64) {
    // SAFETY: getrusage fills the struct, which is plain numbers.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::getrusage(libc::RUSAGE_CHILDREN, &mut usage), 0);
        usage
    };
    let time = |time: libc::timeval| {
        Duration::from_secs(time.tv_sec as u64) + Duration::from_micros(time.tv_usec as u64)
    };
    (time(usage.ru_utime) + time(usage.ru_stime), usage.ru_maxrss)
}
