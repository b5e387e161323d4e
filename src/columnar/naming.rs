//! Parquet column names: Table Store's own where that is safe, else an escaped one.
//!
//! Table Store names are case-sensitive, while Spark, DuckDB and Hive resolve names without regard to case; and
//! some names are ours. The plan maps every Parquet name back, so nothing is ever parsed out of a name.

use std::collections::HashSet;

use xxhash_rust::xxh3::xxh3_64;

use crate::model::ValueType;

/// The names that a plan has given out so far.
#[derive(Debug, Default)]
pub struct Names {
    /// Lower case.
    taken: HashSet<String>,
}

impl Names {
    /// The base name for a Table Store column: `name` itself unless it clashes with an earlier one or with ours or
    /// holds a `$`; then `name$x` and 8 hex digits of its XXH3-64, every `$` of its own replaced by `_`.
    pub fn claim(&mut self, name: &str) -> String {
        if !is_reserved(name) && self.taken.insert(name.to_lowercase()) {
            return name.to_owned();
        }
        let hash = xxh3_64(name.as_bytes());
        let stem = name.replace('$', "_");
        // The second round needs two escaped names whose 32 bits are equal.
        let mut escaped = format!("{stem}$x{:08x}", hash >> 32);
        let mut round = 1;
        while !self.taken.insert(escaped.to_lowercase()) {
            escaped = format!("{stem}$x{hash:016x}{round}");
            round += 1;
        }
        escaped
    }
}

/// Whether a name is, or may become, one of our own.
fn is_reserved(name: &str) -> bool {
    let lower = name.to_lowercase();
    name.is_empty()
        || name.contains('$')
        || ["_ts", "_overflow", "_op"].contains(&lower.as_str())
        || lower.starts_with("_seq")
}

/// The name of a column for a less frequent type of an attribute.
pub fn typed(base: &str, value_type: ValueType) -> String {
    let suffix = match value_type {
        ValueType::Integer => "int",
        ValueType::Double => "double",
        ValueType::Boolean => "bool",
        ValueType::String => "string",
        ValueType::Binary => "binary",
    };
    format!("{base}${suffix}")
}

/// The name of an attribute's timestamp column.
pub fn timestamp(base: &str) -> String {
    format!("{base}$ts")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clashing_names_get_an_escaped_name_and_stay_apart() {
        let mut names = Names::default();
        let given: Vec<String> =
            ["id", "Temp", "temp", "ID", "_ts", "_OP", "_sequence", "a$b", "a_b", "", "ok"]
                .iter()
                .map(|name| names.claim(name))
                .collect();
        assert_eq!(given[0], "id");
        assert_eq!(given[1], "Temp");
        assert!(given[2].starts_with("temp$x"), "{}", given[2]);
        assert!(given[4].starts_with("_ts$x"), "{}", given[4]);
        assert!(given[7].starts_with("a_b$x"), "{}", given[7]);
        assert_eq!(given[8], "a_b");
        assert_eq!(given[10], "ok");
        let unique: HashSet<String> = given.iter().map(|name| name.to_lowercase()).collect();
        assert_eq!(unique.len(), given.len());
    }
}
