//! Arguments that say where the services are, and the connections made from them.

use std::path::PathBuf;

use clap::Args;

use super::source::SourceUrl;
use crate::catalog::Vault;
use crate::credentials::{CredentialChain, CredentialsProvider, Service};
use crate::network::Network;
use crate::objectstore::{self, ServerSideEncryption, SignatureVersion, StorageClass, StoreOptions};
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
    fn provider(&self, service: Service, network: Network) -> CredentialsProvider {
        CredentialChain::new(service).profile(self.profile.clone()).network(network).provider()
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
    /// Use the region's endpoint inside Alibaba Cloud's network, whose traffic is free, instead of the public one
    #[arg(long)]
    oss_internal: bool,
    /// How requests to OSS are signed: v4, or v1 for what knows nothing newer
    #[arg(long, default_value = "v4", value_name = "VERSION")]
    oss_signature: SignatureVersion,
    /// Proxy for both services, http://host:port; by default what HTTPS_PROXY says, which may hold a password
    #[arg(long, value_name = "URL")]
    proxy: Option<String>,
    /// PEM file with certificate authorities to trust besides the system's, for both services
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

/// How the objects of a vault on OSS are stored.
#[derive(Debug, Default, Args)]
pub(super) struct StoredArgs {
    /// Storage class of data files: Standard, IA, Archive, ColdArchive or DeepColdArchive; by default the bucket's.
    /// Manifests and journals are always Standard
    #[arg(long, value_name = "CLASS")]
    storage_class: Option<StorageClass>,
    /// Encryption at rest: AES256, SM4, KMS or KMS:key-id; by default the bucket's
    #[arg(long, value_name = "ALGORITHM")]
    sse: Option<ServerSideEncryption>,
}

impl StoredArgs {
    pub(super) fn storage_class(&self) -> Option<StorageClass> {
        self.storage_class
    }
}

impl TableStoreArgs {
    /// Looks for the access key at once: without one nothing should be begun. `set_up` has the last word on the rest.
    pub(super) async fn connect_with(
        &self,
        source: &SourceUrl,
        keys: &KeyArgs,
        network: Network,
        set_up: impl FnOnce(&mut TableStoreConfig),
    ) -> Result<TableStore> {
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
        let provider = keys.provider(Service::TableStore, network.clone());
        provider.current().await?;
        let mut config = TableStoreConfig::new(endpoint, source.instance.clone(), provider);
        (config.signature, config.network) = (signature, network);
        set_up(&mut config);
        TableStore::new(config)
    }
}

impl StoreArgs {
    /// How this machine reaches both services.
    pub(super) fn network(&self) -> Result<Network> {
        let mut network = Network::default();
        if let Some(url) = &self.proxy {
            network = network.with_proxy(url)?;
        }
        if let Some(file) = &self.ca_file {
            network = network.with_authorities(file)?;
        }
        Ok(network)
    }

    fn root(
        &self,
        vault: &str,
        stored: &StoredArgs,
        keys: &KeyArgs,
        create_directory: bool,
    ) -> Result<objectstore::Root> {
        // S3 has its own settings in the environment.
        let is_oss = vault.starts_with("oss://");
        let network = self.network()?;
        let options = StoreOptions {
            endpoint: self.oss_endpoint.clone().filter(|endpoint| is_oss && !endpoint.is_empty()),
            region: self.oss_region.clone().filter(|region| is_oss && !region.is_empty()),
            internal: self.oss_internal,
            signature: self.oss_signature,
            credentials: is_oss.then(|| keys.provider(Service::Oss, network.clone())),
            network,
            storage_class: stored.storage_class,
            encryption: stored.sse.clone(),
            create_directory,
            ..StoreOptions::default()
        };
        objectstore::open(vault, &options)
    }

    /// A place beside the vault, which is made if need be.
    pub(super) fn open_beside(&self, url: &str, keys: &KeyArgs) -> Result<objectstore::Root> {
        self.root(url, &StoredArgs::default(), keys, true)
    }

    pub(super) async fn open_or_create(
        &self,
        vault: &str,
        stored: &StoredArgs,
        keys: &KeyArgs,
    ) -> Result<Vault> {
        Vault::open_or_create(self.root(vault, stored, keys, true)?).await
    }

    /// `None` when there is no vault yet.
    pub(super) async fn open_if_there(&self, vault: &str, keys: &KeyArgs) -> Result<Option<Vault>> {
        match self.open(vault, keys).await {
            Ok(vault) => Ok(Some(vault)),
            Err(error) if error.kind() == Kind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn open(&self, vault: &str, keys: &KeyArgs) -> Result<Vault> {
        Vault::open(self.root(vault, &StoredArgs::default(), keys, false)?).await
    }
}
