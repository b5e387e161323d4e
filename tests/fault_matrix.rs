//! Every kind of fault on every operation that the flows use: each cell ends in success, and then the result is exact, or
//! in an error whose kind says what the caller can do; and nothing half done is visible afterwards.
//!
//! `cargo test --test fault_matrix -- --nocapture` prints the table.

mod stage;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::StreamExt;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};
use otsvault::backup::{BackupOptions, backup};
use otsvault::catalog::{RunState, Vault, find_runs};
use otsvault::credentials::{Credentials, CredentialsProvider, Issued, Source};
use otsvault::model::{
    Cell, KeyPart, PrimaryKey, PrimaryKeyType, Row, Stream, TableDefinition, TableOptions, Value,
};
use otsvault::objectstore::{self, UploadStore, error_of};
use otsvault::runtime::CpuPool;
use otsvault::sandbox::faults::{Action, Rule, Service, When};
use otsvault::sandbox::{Sandbox, SandboxOptions};
use otsvault::tablestore::{
    RowChange, RowRequest, RowsRequest, ShardPosition, ShardStart, TableStore, TableStoreConfig, TableUpdate,
};
use otsvault::verify::read_back;
use otsvault::{Kind, Result};
use stage::{On, Stage, runtime};

const TABLE: &str = "t=iot:rows=4000,seed=5";
/// Cells at the same time: most of them wait.
const AT_ONCE: usize = 12;
/// Long for what passes, short for what stays.
const PATIENT: Duration = Duration::from_secs(20);
const IMPATIENT: Duration = Duration::from_millis(250);

/// One column of the table.
struct Fault {
    name: &'static str,
    /// What happens to which calls; `None` where the service has no such fault.
    rule: fn(Service) -> Option<(Action, When)>,
    budget: Duration,
    /// Kinds of error that are right for an operation that is harmless to repeat; empty: it must succeed.
    kinds: &'static [Kind],
}

const FIRST: When = When::Calls { first: 1, last: 1 };

fn by_service(service: Service, table_store: Action, oss: Action) -> Action {
    match service {
        Service::TableStore => table_store,
        Service::Oss => oss,
    }
}

fn internal(service: Service) -> Action {
    let table_store = Action::error(500, "OTSInternalServerError", "Internal server error.");
    by_service(service, table_store, Action::error(500, "InternalError", "Please try again."))
}

fn denied(service: Service) -> Action {
    let table_store = Action::error(403, "OTSNoPermissionAccess", "You have no permission.");
    by_service(service, table_store, Action::error(403, "AccessDenied", "Access denied."))
}

fn after(action: Action) -> Action {
    match action {
        Action::Error { status, code, message } => Action::ErrorAfter { status, code, message },
        other => other,
    }
}

const FAULTS: &[Fault] = &[
    Fault { name: "5xx", rule: |s| Some((internal(s), FIRST)), budget: PATIENT, kinds: &[] },
    Fault { name: "applied, 5xx", rule: |s| Some((after(internal(s)), FIRST)), budget: PATIENT, kinds: &[] },
    Fault { name: "busy", rule: |s| Some((Action::busy(s), FIRST)), budget: PATIENT, kinds: &[] },
    Fault {
        name: "busy burst",
        rule: |s| Some((Action::busy(s), When::Calls { first: 1, last: 3 })),
        budget: PATIENT,
        kinds: &[],
    },
    Fault { name: "drop before", rule: |_| Some((Action::DropBefore, FIRST)), budget: PATIENT, kinds: &[] },
    Fault { name: "drop after", rule: |_| Some((Action::DropAfter, FIRST)), budget: PATIENT, kinds: &[] },
    Fault { name: "cut answer", rule: |_| Some((Action::TruncateBody, FIRST)), budget: PATIENT, kinds: &[] },
    Fault {
        name: "bad answer",
        rule: |_| Some((Action::CorruptBody { offset: 2, xor: 0x55 }, FIRST)),
        budget: PATIENT,
        // OSS has checksums for objects only: a listing that makes no sense is said to be corrupt.
        kinds: &[Kind::Corrupt],
    },
    Fault {
        name: "bad checksum",
        rule: |_| Some((Action::WrongChecksum, FIRST)),
        budget: PATIENT,
        kinds: &[Kind::Corrupt],
    },
    Fault {
        name: "cut request",
        rule: |_| Some((Action::TruncateRequest, FIRST)),
        budget: PATIENT,
        kinds: &[],
    },
    Fault {
        name: "bad request",
        rule: |_| Some((Action::CorruptRequest { offset: 3, xor: 0x55 }, FIRST)),
        budget: PATIENT,
        // OSS finds the XML malformed or the CRC64 another one.
        kinds: &[Kind::Refused, Kind::Corrupt],
    },
    Fault {
        name: "delay",
        rule: |_| Some((Action::Delay(Duration::from_millis(30)), When::Always)),
        budget: PATIENT,
        kinds: &[],
    },
    Fault {
        name: "latency",
        rule: |_| Some((Action::Latency(Duration::from_millis(30)), When::Always)),
        budget: PATIENT,
        kinds: &[],
    },
    Fault {
        name: "slow line",
        rule: |_| Some((Action::Bandwidth(2 << 20), When::Always)),
        budget: PATIENT,
        kinds: &[],
    },
    Fault {
        name: "one at a time",
        rule: |_| Some((Action::Limit { in_flight: 1, queue: true }, When::Always)),
        budget: PATIENT,
        kinds: &[],
    },
    Fault {
        name: "token expired",
        rule: |_| Some((Action::ExpireToken, FIRST)),
        budget: PATIENT,
        kinds: &[],
    },
    Fault {
        name: "clock off",
        rule: |_| Some((Action::ClockSkew(3600), FIRST)),
        budget: PATIENT,
        kinds: &[Kind::Refused],
    },
    Fault {
        name: "not ready",
        rule: |s| {
            let action = Action::error(404, "OTSTableNotReady", "The table is not ready.");
            (s == Service::TableStore).then_some((action, When::Calls { first: 1, last: 2 }))
        },
        budget: PATIENT,
        kinds: &[],
    },
    Fault {
        name: "denied",
        rule: |s| Some((denied(s), When::Always)),
        budget: IMPATIENT,
        kinds: &[Kind::Permission],
    },
    Fault {
        name: "busy for good",
        rule: |s| Some((Action::busy(s), When::Always)),
        budget: IMPATIENT,
        kinds: &[Kind::Throttled],
    },
    Fault {
        name: "5xx for good",
        rule: |s| Some((internal(s), When::Always)),
        budget: IMPATIENT,
        kinds: &[Kind::Unavailable],
    },
    Fault {
        name: "dead",
        rule: |_| Some((Action::DropBefore, When::Always)),
        budget: IMPATIENT,
        kinds: &[Kind::Unavailable],
    },
];

/// The rows of the table: an operation and the flow that uses it.
const OPERATIONS: &[(Service, &str, Flow)] = &[
    (Service::TableStore, "DescribeTable", Flow::Backup),
    (Service::TableStore, "ComputeSplitPointsBySize", Flow::Backup),
    (Service::TableStore, "GetRange", Flow::Backup),
    (Service::TableStore, "ListTable", Flow::Tables),
    (Service::TableStore, "CreateTable", Flow::Tables),
    (Service::TableStore, "UpdateTable", Flow::Tables),
    (Service::TableStore, "BatchWriteRow", Flow::Rows),
    (Service::TableStore, "PutRow", Flow::Rows),
    (Service::TableStore, "UpdateRow", Flow::Rows),
    (Service::TableStore, "DeleteRow", Flow::Rows),
    (Service::TableStore, "GetRow", Flow::Rows),
    (Service::TableStore, "BatchGetRow", Flow::Rows),
    // Single rows of a batch that succeeds as a request.
    (Service::TableStore, "BatchWriteRow/row", Flow::Rows),
    (Service::TableStore, "BatchGetRow/row", Flow::Rows),
    (Service::TableStore, "ListStream", Flow::Stream),
    (Service::TableStore, "DescribeStream", Flow::Stream),
    (Service::TableStore, "GetShardIterator", Flow::Stream),
    (Service::TableStore, "GetStreamRecord", Flow::Stream),
    (Service::Oss, "PutObject", Flow::Backup),
    (Service::Oss, "GetObject", Flow::Backup),
    (Service::Oss, "ListObjectsV2", Flow::Backup),
    (Service::Oss, "InitiateMultipartUpload", Flow::Object),
    (Service::Oss, "UploadPart", Flow::Object),
    (Service::Oss, "CompleteMultipartUpload", Flow::Object),
    (Service::Oss, "AbortMultipartUpload", Flow::Object),
    (Service::Oss, "ListMultipartUploads", Flow::Object),
    (Service::Oss, "HeadObject", Flow::Object),
    (Service::Oss, "DeleteObject", Flow::Object),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    Backup,
    Tables,
    Rows,
    Stream,
    Object,
}

/// The operation whose request carries it: that of a row is its batch.
fn request_of(operation: &str) -> &str {
    operation.split('/').next().unwrap_or(operation)
}

/// Repeating it after it may have been applied could change something, so an ambiguous failure ends it.
fn is_repeatable(operation: &str) -> bool {
    !matches!(request_of(operation), "CreateTable" | "PutRow" | "UpdateRow" | "DeleteRow" | "BatchWriteRow")
}

/// A backup without the right to ask for split points warns and cuts the key ranges itself.
fn does_without(operation: &str, fault: &Fault) -> bool {
    operation == "ComputeSplitPointsBySize" && fault.name == "denied"
}

/// Gives out the next token when the last one was refused.
struct Rotating {
    key: (String, String),
    next: AtomicUsize,
}

#[async_trait::async_trait]
impl Source for Rotating {
    async fn issue(&self) -> Result<Issued> {
        let number = self.next.fetch_add(1, Ordering::Relaxed) + 1;
        let token = Some(format!("token-{number}"));
        Ok(Credentials::new(&*self.key.0, &*self.key.1, token).into())
    }
}

struct Play {
    stage: Stage,
    keys: [CredentialsProvider; 2],
    budget: Duration,
}

impl Play {
    async fn new(budget: Duration) -> Play {
        let options = SandboxOptions {
            tables: vec![TABLE.parse().unwrap()],
            security_token: Some("token-1".into()),
            more_security_tokens: vec!["token-2".into(), "token-3".into()],
            ..SandboxOptions::default()
        };
        let sandbox = Sandbox::start(options).await.unwrap();
        let at = sandbox.description();
        let keys = [(); 2].map(|()| {
            let key = (at.access_key_id.clone(), at.access_key_secret.clone());
            CredentialsProvider::new(Rotating { key, next: AtomicUsize::new(0) })
        });
        let directory = tempfile::tempdir().unwrap();
        Play { stage: Stage { sandbox, directory, on: On::Oss }, keys, budget }
    }

    fn client(&self) -> TableStore {
        let at = self.stage.sandbox.description();
        let config = TableStoreConfig::new(&*at.ots_endpoint, &*at.instance, self.keys[0].clone());
        TableStore::new(TableStoreConfig { retry_budget: self.budget, ..config }).unwrap()
    }

    fn root(&self) -> objectstore::Root {
        let options = objectstore::StoreOptions { retry_budget: self.budget, ..self.stage.store_options() };
        objectstore::open(&self.stage.vault_url(), &options.with_credentials(self.keys[1].clone())).unwrap()
    }

    async fn run(&self, flow: Flow, operation: &str) -> Result<()> {
        match flow {
            Flow::Backup => self.back_up().await,
            Flow::Tables => self.make_a_table(operation).await,
            Flow::Rows => self.write_rows(request_of(operation)).await,
            Flow::Stream => self.read_a_stream().await,
            Flow::Object => self.keep_an_object(&*self.root().store, operation).await,
        }
    }

    async fn back_up(&self) -> Result<()> {
        let options = BackupOptions {
            target_file_bytes: 64 << 10,
            concurrency: 2,
            memory_bytes: 64 << 20,
            ..Default::default()
        };
        let vault = Vault::open_or_create(self.root()).await?;
        let done = backup(&self.client(), "t", &vault, &options, &runtime()).await?;
        // What was left of the fault must not disturb the check.
        self.stage.sandbox.faults().clear();
        let read = read_back(&vault, &done.path, &done.manifest, &CpuPool::new(1).unwrap()).await?;
        let source = self.stage.table_sum("t");
        assert_eq!((read.rows, read.row_sum), source, "the files against the table");
        assert_eq!((done.manifest.totals.rows, done.manifest.totals.row_sum), source, "the manifest");
        assert_eq!(self.stage.sandbox.oss().open_uploads(), [], "open uploads");
        Ok(())
    }

    async fn make_a_table(&self, operation: &str) -> Result<()> {
        let client = self.client();
        let definition =
            TableDefinition { name: "made".into(), ..client.describe_table("t").await?.definition };
        match operation {
            "ListTable" => assert_eq!(client.list_tables().await?, ["t"]),
            "CreateTable" => client.create_table(&definition, &[]).await?,
            _ => {
                client.create_table(&definition, &[]).await?;
                let options = TableOptions { max_versions: Some(3), ..definition.options };
                client
                    .update_table("made", TableUpdate { options: Some(options), ..Default::default() })
                    .await?;
            }
        }
        Ok(())
    }

    /// Makes a table like the first one, with or without a Stream.
    async fn make_rows(&self, client: &TableStore, name: &str, stream: Option<Stream>) -> Result<Rows> {
        let described = client.describe_table("t").await?.definition;
        let definition = TableDefinition { name: name.into(), stream, ..described };
        client.create_table(&definition, &[]).await?;
        Ok(Rows::new(&definition))
    }

    /// Writes 20 rows or one, and reads them back as they were written; or deletes one.
    async fn write_rows(&self, operation: &str) -> Result<()> {
        let client = self.client();
        let made = self.make_rows(&client, "w", None).await?;
        let rows = made.rows();
        let is_batch = matches!(operation, "BatchWriteRow" | "BatchGetRow");
        let wanted = if is_batch { rows.len() } else { 1 };
        match operation {
            "BatchWriteRow" | "BatchGetRow" => {
                let changes: Vec<RowChange> = rows.iter().map(RowChange::put).collect();
                let written = client.write_rows("w", &changes).await?;
                if let Some((_, error)) = written.failures.into_iter().next() {
                    return Err(error);
                }
            }
            "UpdateRow" => drop(client.update_row("w", &rows[0]).await?),
            _ => drop(client.put_row("w", &rows[0]).await?),
        }
        if operation == "BatchGetRow" {
            let RowRequest { table, key_names, columns, max_versions, time_range, .. } = made.request(0);
            let keys = made.keys.clone();
            let request = RowsRequest { table, key_names, keys, columns, max_versions, time_range };
            let read = client.batch_get_row(&request).await?.all()?;
            for (found, row) in read.iter().zip(&rows) {
                let found = found.as_ref().expect("the row is there");
                assert_eq!(found.decode().unwrap().cells, row.cells);
            }
            return Ok(());
        }
        if operation == "DeleteRow" {
            client.delete_row("w", &rows[0]).await?;
            assert_eq!(client.get_row(&made.request(0)).await?, None, "the row is gone");
            return Ok(());
        }
        for (index, row) in rows.iter().enumerate().take(wanted) {
            let found = client.get_row(&made.request(index)).await?.expect("the row is there");
            assert_eq!(found.decode().unwrap().cells, row.cells);
        }
        Ok(())
    }

    /// Puts 20 rows and reads the Stream that shows them, a few records at a time, each once and in order.
    async fn read_a_stream(&self) -> Result<()> {
        let client = self.client();
        let stream = Stream {
            stream_id: String::new(),
            expiration_hours: 24,
            last_enable_time_us: 0,
            columns: Vec::new(),
        };
        let made = self.make_rows(&client, "s", Some(stream)).await?;
        let rows = made.rows();
        for row in &rows {
            client.put_row("s", row).await?;
        }
        let streams = client.list_streams(Some("s")).await?;
        let stream_id = &streams[0].stream_id;
        let shards = client.describe_stream(stream_id).await?.shards;
        let shard = &shards[0].shard_id;
        let mut iterator = client.get_shard_iterator(stream_id, shard, ShardStart::Oldest).await?;
        let mut seen = Vec::new();
        loop {
            let page = client.get_stream_record("s", &iterator, Some(7)).await?;
            for record in &page.records {
                let record = record.decode().expect("a record decodes");
                seen.push((PrimaryKey::from_row(&record.row.key).unwrap(), record.row.cells.len()));
            }
            match page.position {
                ShardPosition::More(next) => iterator = next,
                ShardPosition::CaughtUp(_) => break,
                ShardPosition::Closed => panic!("the shard is open"),
            }
        }
        let expected: Vec<_> = made.keys.iter().map(|key| (key.clone(), 1)).collect();
        assert_eq!(seen, expected, "every record once, in order");
        Ok(())
    }

    /// An object in three parts, looked at, read and deleted; an upload that is found and aborted.
    async fn keep_an_object(&self, store: &dyn UploadStore, operation: &str) -> Result<()> {
        let path = Path::from("tests/object");
        let bytes: Vec<u8> = (0..250_000_u32).map(|n| ((n * 7919) >> 3) as u8).collect();
        let part = |range: std::ops::Range<usize>| PutPayload::from(bytes[range].to_vec());
        let mut upload = store.put_multipart(&path).await.map_err(error_of)?;
        for range in [0..110_000, 110_000..220_000, 220_000..250_000] {
            upload.put_part(part(range)).await.map_err(error_of)?;
        }
        if operation == "AbortMultipartUpload" {
            upload.abort().await.map_err(error_of)?;
            assert_eq!(self.stage.sandbox.oss().open_uploads(), []);
            return Ok(());
        }
        if operation == "ListMultipartUploads" {
            let open = store.list_uploads(None).await.map_err(error_of)?;
            assert_eq!(open.len(), 1);
            store.abort_upload(&open[0]).await.map_err(error_of)?;
            assert_eq!(self.stage.sandbox.oss().open_uploads(), []);
            return Ok(());
        }
        upload.complete().await.map_err(error_of)?;
        let found = store.head(&path).await.map_err(error_of)?;
        assert_eq!(found.size, bytes.len() as u64);
        let read = store.get(&path).await.map_err(error_of)?.bytes().await.map_err(error_of)?;
        assert!(read == bytes, "the object is what was written");
        if operation == "DeleteObject" {
            store.delete(&path).await.map_err(error_of)?;
            assert!(self.stage.sandbox.oss().objects("vault", "tests/object").is_empty());
        }
        Ok(())
    }

    /// After a failure: nothing that looks finished, and the same again without the fault succeeds and is exact.
    async fn assert_nothing_half_visible(&self, flow: Flow, operation: &str) {
        let oss = self.stage.sandbox.oss();
        for object in oss.objects("vault", "tests/object") {
            assert_eq!(object.length, 250_000, "whole or not there");
        }
        if flow != Flow::Backup {
            return;
        }
        if !oss.objects("vault", "tests/otsvault.json").is_empty() {
            let vault = Vault::open(self.root()).await.unwrap();
            let runs = find_runs(&**vault.store(), &vault.table("sandbox", "t").unwrap()).await.unwrap();
            let committed = runs.iter().any(|run| !matches!(run, RunState::Unfinished(..)));
            assert!(!committed, "a failed run is not committed");
        }
        self.run(flow, operation).await.unwrap();
    }
}

/// Twenty rows for a table.
struct Rows {
    table: String,
    names: Vec<String>,
    keys: Vec<PrimaryKey>,
    at: i64,
}

impl Rows {
    fn new(definition: &TableDefinition) -> Rows {
        let key_of = |n: i64| {
            let parts = definition.primary_key.iter().map(|column| match column.column_type {
                PrimaryKeyType::Integer => KeyPart::Integer(n),
                PrimaryKeyType::String => KeyPart::String(format!("k{n:03}")),
                PrimaryKeyType::Binary => KeyPart::Binary(n.to_be_bytes().to_vec()),
            });
            PrimaryKey(parts.collect())
        };
        Rows {
            table: definition.name.clone(),
            names: definition.primary_key.iter().map(|column| column.name.clone()).collect(),
            keys: (0..20).map(key_of).collect(),
            at: now(),
        }
    }

    fn rows(&self) -> Vec<Row<'_>> {
        let row = |(n, key)| Row {
            key: self
                .names
                .iter()
                .map(String::as_str)
                .zip(PrimaryKey::parts(key).iter().map(KeyPart::as_value))
                .collect(),
            cells: vec![Cell::put("a", Value::Integer(n as i64), Some(self.at))],
            ..Row::default()
        };
        self.keys.iter().enumerate().map(row).collect()
    }

    fn request(&self, index: usize) -> RowRequest {
        RowRequest {
            table: self.table.clone(),
            key_names: self.names.clone(),
            key: self.keys[index].clone(),
            columns: vec![],
            max_versions: Some(1),
            time_range: None,
        }
    }
}

fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// Plays one cell and says how it ended: `ok` or the kind of the error.
async fn cell(
    service: Service,
    operation: &'static str,
    flow: Flow,
    fault: &'static Fault,
) -> Option<String> {
    let (action, when) = (fault.rule)(service)?;
    // A row of a batch can be refused, and nothing else can happen to it alone.
    if operation.ends_with("/row") && !matches!(action, Action::Error { .. }) {
        return None;
    }
    let play = Play::new(fault.budget).await;
    play.stage.fault(Rule::new(action).on(service, operation).when(when));
    let name = format!("{} x {operation}", fault.name);
    let faults = play.stage.sandbox.faults().clone();
    let began = std::time::Instant::now();
    let ended = tokio::time::timeout(Duration::from_secs(40), play.run(flow, operation)).await;
    let ended = ended.unwrap_or_else(|_| panic!("{name}: still running after {:?}", began.elapsed()));
    let requests =
        play.stage.sandbox.counters().snapshot().operation(service, request_of(operation)).requests;
    let is_hit = !operation.ends_with("/row") || faults.hits() != [0];
    assert!(requests > 0 && is_hit, "{name}: never called");
    let Err(error) = ended else {
        assert!(
            fault.budget == PATIENT || does_without(operation, fault),
            "{name}: succeeded against a fault that stays"
        );
        return Some("ok".to_owned());
    };
    faults.clear();
    let kind = error.kind();
    let may_be_ambiguous =
        !is_repeatable(operation) && matches!(kind, Kind::Unavailable | Kind::AlreadyExists | Kind::Corrupt);
    assert!(fault.kinds.contains(&kind) || may_be_ambiguous, "{name}: {}", error.report());
    let said = error.report();
    assert!(said.contains("because") || said.contains(": "), "{name} says why: {said}");
    assert!(!said.contains("token-"), "{name} shows a secret: {said}");
    play.assert_nothing_half_visible(flow, operation).await;
    Some(format!("{kind:?}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_on_every_operation_ends_in_success_or_a_named_error() {
    let cells = OPERATIONS.iter().flat_map(|row| FAULTS.iter().map(move |fault| (row, fault)));
    let plays = cells.map(|((service, operation, flow), fault)| async move {
        let play = tokio::spawn(cell(*service, operation, *flow, fault));
        let ended = play.await.map_err(|failed| (format!("{} x {operation}", fault.name), failed));
        (*operation, fault.name, ended)
    });
    let ended: Vec<_> = futures::stream::iter(plays).buffer_unordered(AT_ONCE).collect().await;
    let mut table: BTreeMap<(&str, &str), String> = BTreeMap::new();
    let mut broken = Vec::new();
    for (operation, fault, outcome) in ended {
        match outcome {
            Ok(Some(outcome)) => drop(table.insert((operation, fault), outcome)),
            Ok(None) => {}
            Err((name, _)) => broken.push(name),
        }
    }
    for fault in FAULTS {
        println!("\n{}", fault.name);
        for (_, operation, _) in OPERATIONS {
            if let Some(outcome) = table.get(&(*operation, fault.name)) {
                println!("  {operation:<28}{outcome}");
            }
        }
    }
    let ok = table.values().filter(|outcome| *outcome == "ok").count();
    println!("\n{} cells: {ok} succeed, {} end in a named error", table.len(), table.len() - ok);
    assert!(broken.is_empty(), "broken cells, see above: {broken:#?}");
    assert!(table.len() >= 150, "{} cells", table.len());
}
