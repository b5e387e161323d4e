//! Arguments that say where the services are, and the connections made from them.

use clap::Args;

use super::source::SourceUrl;
use crate::catalog::Vault;
use crate::credentials::{CredentialChain, CredentialsProvider, Service};
use crate::objectstore::{self, StoreOptions};
use crate::tablestore::{Signature, TableStore, TableStoreConfig};
use crate::{Error, Kind, Result};

/// Whose access key to use, for both services.
#[derive(Debug, Args)]
pub(super) struct KeyArgs {
    /// Profile of ~/.aliyun/config.json or ~/.alibabacloud/credentials to take the access key from, whatever is in the environment
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
}

impl KeyArgs {
    fn provider(&self, service: Service) -> CredentialsProvider {
        CredentialChain::new(service).profile(self.profile.clone()).provider()
    }
}

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
    /// Looks for the access key at once: without one nothing should be begun.
    pub(super) async fn connect(&self, source: &SourceUrl, keys: &KeyArgs) -> Result<TableStore> {
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
        let provider = keys.provider(Service::TableStore);
        provider.current().await?;
        let config = TableStoreConfig::new(endpoint, source.instance.clone(), provider);
        TableStore::new(TableStoreConfig { signature, ..config })
    }
}

impl StoreArgs {
    fn root(&self, vault: &str, create_directory: bool, keys: &KeyArgs) -> Result<objectstore::Root> {
        let options = StoreOptions {
            endpoint: self.oss_endpoint.clone().filter(|endpoint| !endpoint.is_empty()),
            region: self.oss_region.clone().filter(|region| !region.is_empty()),
            create_directory,
            credentials: Some(keys.provider(Service::Oss)),
            ..StoreOptions::default()
        };
        objectstore::open(vault, &options)
    }

    pub(super) async fn open_or_create(&self, vault: &str, keys: &KeyArgs) -> Result<Vault> {
        Vault::open_or_create(self.root(vault, true, keys)?).await
    }

    pub(super) async fn open(&self, vault: &str, keys: &KeyArgs) -> Result<Vault> {
        Vault::open(self.root(vault, false, keys)?).await
    }
}
