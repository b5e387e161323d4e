//! A vault: a URL prefix that holds backups.

use std::sync::Arc;

use object_store::path::Path;
use serde::{Deserialize, Serialize};

use super::audit::{Fault, read_as_written};
use super::layout::VAULT_MARKER;
use super::manifest::check_version;
use super::run::child_names;
use super::{FORMAT_VERSION, TablePath, document};
use crate::objectstore::{Root, UploadStore};
use crate::{Error, Kind, Result};

/// An open vault.
#[derive(Clone)]
pub struct Vault {
    store: Arc<dyn UploadStore>,
    prefix: Path,
    url: String,
}

#[derive(Serialize, Deserialize)]
struct Marker {
    format_version: u32,
    format: String,
}

impl Vault {
    /// Opens a vault for writing; the first run creates it.
    ///
    /// # Errors
    /// [`Kind::Unsupported`] for a vault of a newer format; what the store says when it cannot be written.
    pub async fn open_or_create(root: Root) -> Result<Vault> {
        let vault = Vault { store: root.store, prefix: root.prefix, url: root.url };
        if !vault.check_marker().await? {
            let marker = Marker { format_version: FORMAT_VERSION, format: "otsvault".to_owned() };
            document::create(&*vault.store, &vault.marker(), document::to_bytes(&marker)?).await?;
        }
        Ok(vault)
    }

    /// Opens a vault for reading.
    ///
    /// # Errors
    /// [`Kind::NotFound`] when there is none.
    pub async fn open(root: Root) -> Result<Vault> {
        let vault = Vault { store: root.store, prefix: root.prefix, url: root.url };
        if vault.check_marker().await? {
            return Ok(vault);
        }
        Err(Error::new(Kind::NotFound, "open the vault")
            .on(format!("`{}`", vault.url))
            .because(format!("there is no `{VAULT_MARKER}`"))
            .hint("a vault is made by the first `otsvault backup` into it"))
    }

    /// The store.
    pub fn store(&self) -> &Arc<dyn UploadStore> {
        &self.store
    }

    /// The URL it was opened by, without credentials.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where the vault's objects are in its store.
    pub fn prefix(&self) -> &Path {
        &self.prefix
    }

    /// The place of one table.
    pub fn table(&self, instance: &str, table: &str) -> Result<TablePath> {
        TablePath::new(&self.prefix, instance, table)
    }

    /// Every table with at least one run directory, by instance and name. Costs one list per instance.
    pub async fn tables(&self) -> Result<Vec<TablePath>> {
        let mut tables = Vec::new();
        for instance in child_names(&*self.store, &self.prefix).await? {
            for table in child_names(&*self.store, &self.prefix.clone().join(instance.as_str())).await? {
                // Other people's directories beside ours.
                tables.extend(self.table(&instance, &table).ok());
            }
        }
        Ok(tables)
    }

    /// What is wrong with the object that says that this is a vault, if anything is. Costs a small read.
    pub async fn audit(&self) -> Result<Option<Fault>> {
        let path = self.marker();
        match read_as_written::<Marker>(&*self.store, &path).await {
            Ok(_) => Ok(None),
            Err(error) => Fault::of(&path, error).map(Some),
        }
    }

    fn marker(&self) -> Path {
        self.prefix.clone().join(VAULT_MARKER)
    }

    async fn check_marker(&self) -> Result<bool> {
        let path = self.marker();
        let Some(bytes) = document::read(&*self.store, &path, document::LARGEST_DOCUMENT).await? else {
            return Ok(false);
        };
        check_version(&bytes).map_err(|error| {
            Error::new(error.kind(), "open the vault").on(format!("`{}`", self.url)).source(error)
        })?;
        let marker: Marker = document::parse(&path, &bytes)?;
        if marker.format != "otsvault" {
            return Err(Error::new(Kind::Corrupt, "open the vault")
                .on(format!("`{}`", self.url))
                .because(format!("`{path}` is of another program")));
        }
        Ok(true)
    }
}
