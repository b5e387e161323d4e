//! The stage that the flow tests play on: a sandbox, a client, a vault on OSS or on disk.

#![allow(dead_code)]

use std::sync::Arc;

use otsvault::Result;
use otsvault::backup::{Backup, BackupOptions, Runtime, backup};
use otsvault::catalog::Vault;
use otsvault::credentials::Credentials;
use otsvault::model::RowSum;
use otsvault::objectstore::{self, StoreOptions};
use otsvault::runtime::{CpuPool, Progress, Shutdown};
use otsvault::sandbox::faults::{Action, Rule, Service};
use otsvault::sandbox::oss::OssServerOptions;
use otsvault::sandbox::{Sandbox, SandboxOptions};
use otsvault::tablestore::{TableStore, TableStoreConfig};
use otsvault::verify::read_back;

/// Where a test keeps its vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    Oss,
    Disk,
}

pub struct Stage {
    pub sandbox: Sandbox,
    pub directory: tempfile::TempDir,
    pub on: On,
}

impl Stage {
    /// A sandbox with generated tables, such as `t=iot:rows=1000,seed=1`.
    pub async fn with(on: On, tables: &[&str]) -> Stage {
        let options = SandboxOptions {
            tables: tables.iter().map(|table| table.parse().unwrap()).collect(),
            oss: OssServerOptions::default(),
            ..SandboxOptions::default()
        };
        Stage { sandbox: Sandbox::start(options).await.unwrap(), directory: tempfile::tempdir().unwrap(), on }
    }

    pub fn fault(&self, rule: Rule) {
        self.sandbox.faults().add(rule);
    }

    /// The n-th call of an operation of Table Store goes wrong.
    pub fn table_store_fault(&self, operation: &str, nth: u64, action: Action) {
        self.fault(Rule::new(action).on(Service::TableStore, operation).nth(nth));
    }

    /// The n-th call of an operation of OSS goes wrong.
    pub fn oss_fault(&self, operation: &str, nth: u64, action: Action) {
        self.fault(Rule::new(action).on(Service::Oss, operation).nth(nth));
    }

    /// Requests of an operation of Table Store so far.
    pub fn requests(&self, operation: &str) -> u64 {
        self.sandbox.counters().snapshot().operation(Service::TableStore, operation).requests
    }

    /// Requests of an operation that are being answered now.
    pub fn in_flight(&self, service: Service, operation: &str) -> u64 {
        self.sandbox.counters().snapshot().operation(service, operation).in_flight
    }

    pub fn credentials(&self) -> Credentials {
        let at = self.sandbox.description();
        Credentials::new(&*at.access_key_id, &*at.access_key_secret, None)
    }

    pub fn client_config(&self) -> TableStoreConfig {
        let at = self.sandbox.description();
        TableStoreConfig::new(&*at.ots_endpoint, &*at.instance, self.credentials())
    }

    pub fn client(&self) -> TableStore {
        TableStore::new(self.client_config()).unwrap()
    }

    pub fn vault_url(&self) -> String {
        match self.on {
            On::Oss => format!("oss://{}/tests", self.sandbox.description().bucket),
            On::Disk => self.directory.path().join("vault").display().to_string(),
        }
    }

    pub fn store_options(&self) -> StoreOptions {
        let at = self.sandbox.description();
        let options = StoreOptions {
            endpoint: Some(at.oss_endpoint.clone()),
            region: Some(at.region.clone()),
            create_directory: true,
            ..StoreOptions::default()
        };
        options.with_credentials(self.credentials())
    }

    pub async fn vault(&self) -> Vault {
        Vault::open_or_create(objectstore::open(&self.vault_url(), &self.store_options()).unwrap())
            .await
            .unwrap()
    }

    /// Small files and row groups, so that small tables have many.
    pub fn options() -> BackupOptions {
        BackupOptions {
            target_file_bytes: 64 << 10,
            concurrency: 4,
            memory_bytes: 64 << 20,
            // The sandbox shows records at once.
            stream_settle: std::time::Duration::ZERO,
            ..Default::default()
        }
    }

    pub async fn back_up(&self, table: &str, options: &BackupOptions) -> Result<Backup> {
        let runtime = runtime();
        let vault = self.vault().await;
        backup(&self.client(), table, &vault, options, &runtime).await
    }

    /// Reads every byte of a backup back and compares it with the table itself.
    pub async fn assert_equals_table(&self, table: &str, done: &Backup) {
        let vault = self.vault().await;
        let read = read_back(&vault, &done.path, &done.manifest, &CpuPool::new(2).unwrap()).await.unwrap();
        let source = self.sandbox.row_sum(table).unwrap();
        assert_eq!((read.rows, read.row_sum), source, "the files against the table");
        let totals = done.manifest.totals;
        assert_eq!((totals.rows, totals.row_sum), source, "the manifest against the table");
        self.assert_no_open_uploads().await;
    }

    /// Neither on OSS nor, as staging files, on disk.
    pub async fn assert_no_open_uploads(&self) {
        let open = self.vault().await.store().list_uploads(None).await.unwrap();
        assert!(open.is_empty(), "open uploads: {open:?}");
        assert_eq!(self.sandbox.oss().open_uploads().len(), 0, "open uploads");
    }

    pub fn table_sum(&self, table: &str) -> (u64, RowSum) {
        self.sandbox.row_sum(table).unwrap()
    }
}

pub fn runtime() -> Runtime {
    Runtime {
        cpu: CpuPool::new(2).unwrap(),
        progress: Arc::new(Progress::default()),
        shutdown: Shutdown::default(),
    }
}

/// How a run of the program ended.
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Stage {
    /// The program with this sandbox's endpoints and key in its environment.
    pub fn program(&self, arguments: &[&str]) -> tokio::process::Command {
        let at = self.sandbox.description();
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_otsvault"));
        command
            .args(arguments)
            .env_clear()
            .env("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "true")
            .env("OTS_ENDPOINT", &at.ots_endpoint)
            .env("OSS_ENDPOINT", &at.oss_endpoint)
            .env("OSS_REGION", &at.region)
            .env("ALIBABA_CLOUD_ACCESS_KEY_ID", &at.access_key_id)
            .env("ALIBABA_CLOUD_ACCESS_KEY_SECRET", &at.access_key_secret)
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Runs the program to its end, a minute at most.
    pub async fn run(&self, arguments: &[&str]) -> Ended {
        finish(&mut self.program(arguments)).await
    }
}

/// Runs a command to its end, a minute at most.
pub async fn finish(command: &mut tokio::process::Command) -> Ended {
    let output = tokio::time::timeout(std::time::Duration::from_secs(60), command.output());
    let output = output.await.expect("the program ends").unwrap();
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}
