//! Which tables of an instance a source means.

use globset::{Glob, GlobMatcher};
use serde::Serialize;

use crate::tablestore::TableStore;
use crate::{Error, Kind, Result};

/// Characters that make a table name a pattern; no table name has any of them.
const PATTERN: [char; 6] = ['*', '?', '[', ']', '{', '}'];

/// The tables to copy.
#[derive(Debug, Default)]
pub(super) struct Selection {
    /// In the order of their names.
    pub tables: Vec<String>,
    /// Secondary indexes among them that are left out.
    pub indexes: Vec<SkippedIndex>,
}

/// A secondary index that matched: its rows are copies of columns of its table, whose definition keeps it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct SkippedIndex {
    pub index: String,
    pub table: String,
}

/// Reads a pattern as clap gives it.
pub(super) fn parse_glob(text: &str) -> Result<GlobMatcher, String> {
    Glob::new(text).map(|glob| glob.compile_matcher()).map_err(|error| error.to_string())
}

/// Whether a source names one table rather than a pattern.
pub(super) fn is_name(table: &str) -> bool {
    !table.contains(PATTERN)
}

/// The table of that name, without asking whether it is there; or every table that matches the pattern and none of
/// `exclude`. Costs one ListTable, and one DescribeTable for each that matches.
///
/// # Errors
/// [`Kind::NotFound`] when nothing matches.
pub(super) async fn select(client: &TableStore, source: &str, exclude: &[GlobMatcher]) -> Result<Selection> {
    if is_name(source) {
        return Ok(Selection { tables: vec![source.to_owned()], indexes: Vec::new() });
    }
    let matcher = parse_glob(source)
        .map_err(|reason| Error::new(Kind::Usage, format!("use the pattern `{source}`")).because(reason))?;
    let mut tables = client.list_tables().await?;
    let listed = tables.len();
    tables.retain(|table| matcher.is_match(table) && !exclude.iter().any(|glob| glob.is_match(table)));
    tables.sort();
    let mut indexes = Vec::new();
    for table in &tables {
        let described = match client.describe_table(table).await {
            Ok(described) => described,
            // The copy of that table will say it again, by name.
            Err(_) => continue,
        };
        let names = described.definition.indexes.into_iter().map(|index| index.name);
        indexes.extend(
            names
                .filter(|name| tables.contains(name))
                .map(|index| SkippedIndex { index, table: table.clone() }),
        );
    }
    tables.retain(|table| !indexes.iter().any(|skipped| skipped.index == *table));
    if tables.is_empty() {
        return Err(Error::new(Kind::NotFound, "find a table")
            .on(format!("that matches `{source}` in instance `{}`", client.instance()))
            .because(format!("none of its {listed} tables does")));
    }
    Ok(Selection { tables, indexes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_no_patterns_and_patterns_match_whole_names() {
        assert!(is_name("orders_2") && !is_name("iot_*") && !is_name("iot_?"));
        let matches = |pattern: &str, name: &str| parse_glob(pattern).unwrap().is_match(name);
        assert!(matches("iot_*", "iot_1") && !matches("iot_*", "aiot_1") && matches("{a,b}_[0-9]", "b_7"));
        assert!(parse_glob("a[").is_err());
    }
}
