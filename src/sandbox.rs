//! The local Table Store and OSS servers: strict, countable, with faults on demand.

mod admin;
pub mod counters;
pub mod faults;
mod http;
pub mod oss;
pub mod table_store;

use std::path::PathBuf;
use std::time::Duration;

use rand::Rng as _;
use rand::distr::Alphanumeric;
use serde::{Deserialize, Serialize};

use self::admin::Admin;
use self::counters::Counters;
use self::faults::Faults;
use self::oss::{OssServer, OssServerOptions};
use self::table_store::{Account, GeneratedTable, TableStore, TableStoreOptions};
use crate::credentials::Credentials;
use crate::model::{Row, RowSum};
use crate::{Error, Kind, Result};

/// What a sandbox is called, whom it lets in, and what is in it at the start.
#[derive(Clone)]
pub struct SandboxOptions {
    /// Table Store instance, 3 to 16 letters, digits and `-`. Default `sandbox`.
    pub instance: String,
    /// OSS bucket. Default `vault`.
    pub bucket: String,
    /// Region that v4 signatures must name. Default `cn-hangzhou`.
    pub region: String,
    /// Access key id. Default `sandbox`.
    pub access_key_id: String,
    /// Access key secret; `None`, the default, makes a random one.
    pub access_key_secret: Option<String>,
    /// When set, every request must carry it. Default none.
    pub security_token: Option<String>,
    /// Port of Table Store on 127.0.0.1; 0, the default, takes a free one.
    pub ots_port: u16,
    /// Tables to generate. Default none.
    pub tables: Vec<GeneratedTable>,
    /// How long a new table answers `OTSTableNotReady`. Default zero.
    pub table_ready_after: Duration,
    /// Directory in which tables survive a restart and a kill; every write is synced to disk before it is answered.
    /// `None`, the default, keeps them in memory alone.
    pub data_dir: Option<PathBuf>,
    /// Bytes of generated pages that are kept and sent again, so that the server costs next to nothing beside the client that
    /// is measured. Checks and faults apply as ever. Default 0.
    pub replay_bytes: u64,
    /// Port, directory and strictness of OSS. Its region, keys, faults and counters are the sandbox's; `bucket` is
    /// added to its buckets.
    pub oss: OssServerOptions,
    /// More tokens that are accepted in place of `security_token`, such as the next one after it has expired. Default none.
    pub more_security_tokens: Vec<String>,
    /// Faults; rules can be added while the sandbox runs.
    pub faults: Faults,
    /// Serve the admin endpoint, on a port of its own. Default no.
    pub admin: bool,
}

impl Default for SandboxOptions {
    fn default() -> SandboxOptions {
        SandboxOptions {
            instance: "sandbox".to_owned(),
            bucket: "vault".to_owned(),
            region: "cn-hangzhou".to_owned(),
            access_key_id: "sandbox".to_owned(),
            access_key_secret: None,
            security_token: None,
            ots_port: 0,
            tables: Vec::new(),
            table_ready_after: Duration::ZERO,
            data_dir: None,
            replay_bytes: 0,
            oss: OssServerOptions::default(),
            more_security_tokens: Vec::new(),
            faults: Faults::new(),
            admin: false,
        }
    }
}

/// How to reach a running sandbox; one line of JSON. The secret opens nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxDescription {
    /// `http://127.0.0.1:PORT` of Table Store.
    pub ots_endpoint: String,
    /// `http://127.0.0.1:PORT` of OSS.
    pub oss_endpoint: String,
    /// Table Store instance.
    pub instance: String,
    /// OSS bucket.
    pub bucket: String,
    /// Region.
    pub region: String,
    /// Access key id.
    pub access_key_id: String,
    /// Access key secret.
    pub access_key_secret: String,
    /// `http://127.0.0.1:PORT` of the admin endpoint, if it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin_endpoint: Option<String>,
    /// Security token, if one is required.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_token: Option<String>,
}

/// Both servers. Dropping it closes them at once; [`Sandbox::stop`] lets requests in flight finish.
pub struct Sandbox {
    description: SandboxDescription,
    table_store: TableStore,
    oss: OssServer,
    faults: Faults,
    counters: Counters,
    _admin: Option<Admin>,
}

impl Sandbox {
    /// Starts both servers on loopback.
    ///
    /// # Errors
    /// [`Kind::Usage`] for an instance name that the service would not accept or two tables of one name,
    /// [`Kind::Io`] when a port is taken or the data directory cannot be used.
    pub async fn start(options: SandboxOptions) -> Result<Sandbox> {
        check_instance(&options.instance)?;
        check_tables(&options.tables)?;
        let secret = options.access_key_secret.unwrap_or_else(random_secret);
        let tokens: Vec<String> =
            options.security_token.iter().chain(&options.more_security_tokens).cloned().collect();
        let account = Account {
            instance: options.instance.clone(),
            region: options.region.clone(),
            access_key_id: options.access_key_id.clone(),
            access_key_secret: secret.clone(),
            security_tokens: tokens.clone(),
            expired_tokens: Default::default(),
        };
        let counters = Counters::new();
        let table_store = TableStore::start(TableStoreOptions {
            port: options.ots_port,
            account,
            tables: options.tables,
            table_ready_after: options.table_ready_after,
            data_dir: options.data_dir.as_deref(),
            replay_bytes: options.replay_bytes,
            faults: options.faults.clone(),
            counters: counters.clone(),
        })
        .await?;
        let with_token = |token| Credentials::new(&*options.access_key_id, &*secret, token);
        let keys = match tokens.is_empty() {
            true => vec![with_token(None)],
            false => tokens.iter().cloned().map(|token| with_token(Some(token))).collect(),
        };
        let mut buckets = options.oss.buckets.clone();
        buckets.push(options.bucket.clone());
        let oss = OssServer::start(OssServerOptions {
            region: options.region.clone(),
            access_keys: keys,
            buckets,
            faults: options.faults.clone(),
            counters: counters.clone(),
            ..options.oss
        })
        .await?;
        let admin = match options.admin {
            true => Some(Admin::start(&options.faults, &counters, &table_store, &oss).await?),
            false => None,
        };
        let description = SandboxDescription {
            admin_endpoint: admin.as_ref().map(Admin::endpoint),
            ots_endpoint: table_store.endpoint(),
            oss_endpoint: oss.endpoint(),
            instance: options.instance,
            bucket: options.bucket,
            region: options.region,
            access_key_id: options.access_key_id,
            access_key_secret: secret,
            security_token: options.security_token,
        };
        Ok(Sandbox { description, table_store, oss, faults: options.faults, counters, _admin: admin })
    }

    /// How to reach it.
    pub fn description(&self) -> &SandboxDescription {
        &self.description
    }

    /// The rules of what goes wrong; rows of a batch answer to `BatchWriteRow/row` and `BatchGetRow/row`.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// The Table Store server: partitions, Stream clocks, retention, the oracle.
    pub fn table_store(&self) -> &TableStore {
        &self.table_store
    }

    /// The OSS server: its objects and open uploads.
    pub fn oss(&self) -> &OssServer {
        &self.oss
    }

    /// What the servers were asked and did.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Shows every row of a table that a client could read now, with all readable versions, in key order.
    ///
    /// # Errors
    /// [`Kind::NotFound`].
    pub fn table_rows(&self, table: &str, visit: impl FnMut(&Row<'_>)) -> Result<()> {
        self.table_store.for_each_row(table, visit)
    }

    /// Rows and row-sum of a table as a client could read it now: what a complete backup must hold.
    ///
    /// # Errors
    /// [`Kind::NotFound`].
    pub fn row_sum(&self, table: &str) -> Result<(u64, RowSum)> {
        self.table_store.row_sum(table)
    }

    /// Moves the clock that cell timestamps and TTL go by; signatures go by the real one.
    pub fn advance_clock(&self, by: Duration) {
        self.table_store.advance_clock(by);
    }

    /// Lets requests in flight finish, then closes.
    pub async fn stop(self) {
        tokio::join!(self.table_store.stop(), self.oss.stop());
    }
}

fn check_instance(name: &str) -> Result<()> {
    let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if is_plain && (3..=16).contains(&name.len()) {
        return Ok(());
    }
    Err(Error::new(Kind::Usage, "start the sandbox")
        .because(format!("`{name}` is not an instance name: 3 to 16 letters, digits and `-`")))
}

fn check_tables(tables: &[GeneratedTable]) -> Result<()> {
    let mut names: Vec<_> = tables.iter().map(|table| table.name.as_str()).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        None => Ok(()),
        Some(pair) => Err(Error::new(Kind::Usage, "start the sandbox")
            .because(format!("there are two tables called `{}`", pair[0]))),
    }
}

fn random_secret() -> String {
    rand::rng().sample_iter(Alphanumeric).take(30).map(char::from).collect()
}
