//! Arguments that say where the services are, and the connections made from them.

use clap::Args;

use super::source::SourceUrl;
use crate::catalog::Vault;
use crate::credentials::{Credentials, Service};
use crate::objectstore::{self, StoreOptions};
use crate::tablestore::{Signature, TableStore, TableStoreConfig};
use crate::{Error, Kind, Result};

/// Where Table Store is.
#[derive(Debug, Args)]
pub(super) struct TableStoreArgs {
    /// Table Store endpoint, such as http://127.0.0.1:8080; by default the public endpoint of the source's region
    #[arg(long, env = "OTS_ENDPOINT", value_name = "URL")]
    ots_endpoint: Option<String>,
}

/// Where OSS is, for `oss://` vaults.
#[derive(Debug, Args)]
pub(super) struct StoreArgs {
    /// OSS endpoint, such as oss-cn-hangzhou.aliyuncs.com or http://127.0.0.1:9000
    #[arg(long, env = "OSS_ENDPOINT", value_name = "URL")]
    oss_endpoint: Option<String>,
    /// OSS region for signing, such as cn-hangzhou; by default taken from the endpoint
    #[arg(long, env = "OSS_REGION", value_name = "REGION")]
    oss_region: Option<String>,
}

impl TableStoreArgs {
    pub(super) fn connect(&self, source: &SourceUrl) -> Result<TableStore> {
        let endpoint = self.ots_endpoint.clone().filter(|endpoint| !endpoint.is_empty());
        let endpoint = endpoint.or_else(|| source.public_endpoint()).ok_or_else(|| {
            Error::new(Kind::Usage, "find the Table Store endpoint")
                .on(format!("of instance `{}`", source.instance))
                .hint("write the region into the source (ots://instance.cn-hangzhou/table) or give `--ots-endpoint`")
        })?;
        let signature = match &source.region {
            Some(region) => Signature::V4 { region: region.clone() },
            None => Signature::V2,
        };
        let credentials = Credentials::from_environment(Service::TableStore)?;
        TableStore::new(TableStoreConfig {
            signature,
            ..TableStoreConfig::new(endpoint, source.instance.clone(), credentials)
        })
    }
}

impl StoreArgs {
    fn root(&self, vault: &str, create_directory: bool) -> Result<objectstore::Root> {
        let options = StoreOptions {
            endpoint: self.oss_endpoint.clone().filter(|endpoint| !endpoint.is_empty()),
            region: self.oss_region.clone().filter(|region| !region.is_empty()),
            create_directory,
            ..StoreOptions::default()
        };
        let options = match vault.starts_with("oss://") {
            true => options.with_credentials(Credentials::from_environment(Service::Oss)?),
            false => options,
        };
        objectstore::open(vault, &options)
    }

    pub(super) async fn open_or_create(&self, vault: &str) -> Result<Vault> {
        Vault::open_or_create(self.root(vault, true)?).await
    }

    pub(super) async fn open(&self, vault: &str) -> Result<Vault> {
        Vault::open(self.root(vault, false)?).await
    }
}
