//! Commands that go through the tables of a vault, one after the other.

use std::str::FromStr;

use globset::GlobMatcher;
use serde::Serialize;

use super::summary::{Failure, TableFailure, exit_code};
use super::tables::parse_glob;
use super::{Output, print_json, print_line};
use crate::catalog::{TablePath, Vault};
use crate::runtime::Shutdown;
use crate::{Error, Kind, Result};

/// Tables of a vault: `table` or `instance/table`, either of them a pattern.
#[derive(Debug, Clone)]
pub(super) struct VaultTables {
    text: String,
    instance: Option<GlobMatcher>,
    table: GlobMatcher,
}

impl FromStr for VaultTables {
    type Err = String;

    fn from_str(text: &str) -> Result<VaultTables, String> {
        let (instance, table) = match text.split_once('/') {
            Some((instance, table)) => (Some(parse_glob(instance)?), table),
            None => (None, text),
        };
        Ok(VaultTables { text: text.to_owned(), instance, table: parse_glob(table)? })
    }
}

impl VaultTables {
    fn selects(&self, table: &TablePath) -> bool {
        self.table.is_match(&table.table)
            && self.instance.as_ref().is_none_or(|instance| instance.is_match(&table.instance))
    }
}

/// The tables of a vault that are meant; all of them when nothing is said.
///
/// # Errors
/// [`Kind::NotFound`] when something is said and no table is that.
pub(super) async fn select(vault: &Vault, wanted: Option<&VaultTables>) -> Result<Vec<TablePath>> {
    let mut tables = vault.tables().await?;
    let Some(wanted) = wanted else { return Ok(tables) };
    tables.retain(|table| wanted.selects(table));
    if tables.is_empty() {
        return Err(Error::new(Kind::NotFound, format!("find table `{}`", wanted.text))
            .on(format!("in {}", vault.url()))
            .hint("`otsvault list` shows what is there"));
    }
    Ok(tables)
}

/// What a command did with each table.
#[derive(Debug, Serialize)]
pub(super) struct Outcomes<T> {
    vault: String,
    /// Whether anything was changed; without `--commit` nothing is.
    committed: bool,
    pub tables: Vec<T>,
    failed: Vec<TableFailure>,
    exit_code: u8,
}

impl<T: Serialize> Outcomes<T> {
    /// Runs `work` on each table. One that fails leaves the others alone; a wish to stop ends it.
    pub(super) async fn of<W: Future<Output = Result<T>>>(
        vault: &Vault,
        tables: &[TablePath],
        committed: bool,
        shutdown: &Shutdown,
        work: impl Fn(TablePath) -> W,
    ) -> Outcomes<T> {
        let (mut done, mut failed) = (Vec::new(), Vec::new());
        for table in tables {
            match work(table.clone()).await {
                Ok(outcome) => done.push(outcome),
                Err(error) => {
                    eprintln!("{}", error.report());
                    let signal_code = shutdown.requested().map(|signal| signal.exit_code());
                    let failure = Failure::new(&error, signal_code);
                    failed
                        .push(TableFailure { table: format!("{}/{}", table.instance, table.table), failure });
                    if error.kind() == Kind::Stopped {
                        break;
                    }
                }
            }
        }
        let codes: Vec<u8> = failed.iter().map(|failed| failed.failure.exit_code).collect();
        let exit_code = exit_code(&codes, done.len());
        Outcomes { vault: vault.url().to_owned(), committed, tables: done, failed, exit_code }
    }

    /// Prints them and says the exit code.
    pub(super) fn print(&self, output: Output, text: impl FnOnce(&[T]) -> String) -> Result<u8> {
        if output.json {
            print_json(self)?;
        } else if !self.tables.is_empty() || self.failed.is_empty() {
            print_line(&text(&self.tables))?;
        }
        Ok(self.exit_code)
    }
}

#[cfg(test)]
mod tests {
    use object_store::path::Path;

    use super::*;

    #[test]
    fn tables_are_meant_by_name_or_pattern_with_or_without_their_instance() {
        let selects = |wanted: &str, instance: &str, table: &str| {
            let path = TablePath::new(&Path::from("v"), instance, table).unwrap();
            wanted.parse::<VaultTables>().unwrap().selects(&path)
        };
        assert!(selects("orders", "a", "orders") && !selects("orders", "a", "orders_2"));
        assert!(selects("a/orders", "a", "orders") && !selects("b/orders", "a", "orders"));
        assert!(
            selects("*", "a", "orders") && selects("a/o*", "a", "orders") && !selects("b*/o*", "a", "orders")
        );
    }
}
