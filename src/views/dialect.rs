//! What query engines write differently.

use std::fmt;
use std::str::FromStr;

use crate::model::{PrimaryKeyType, ValueType};

/// A query engine's SQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// DuckDB 1.0 or later.
    DuckDb,
    /// Apache Spark 3.4 or later.
    Spark,
    /// Trino, with a Hive catalog.
    Trino,
    /// Apache DataFusion.
    DataFusion,
}

impl Dialect {
    const NAMES: [(&str, Dialect); 4] = [
        ("duckdb", Dialect::DuckDb),
        ("spark", Dialect::Spark),
        ("trino", Dialect::Trino),
        ("datafusion", Dialect::DataFusion),
    ];

    /// An identifier, whatever is in it.
    pub(super) fn name(self, name: &str) -> String {
        match self {
            Dialect::Spark => format!("`{}`", name.replace('`', "``")),
            _ => format!("\"{}\"", name.replace('"', "\"\"")),
        }
    }

    /// A text literal, whatever is in it.
    pub(super) fn text(self, text: &str) -> String {
        let text = match self {
            Dialect::Spark => text.replace('\\', "\\\\"),
            _ => text.to_owned(),
        };
        format!("'{}'", text.replace('\'', "''"))
    }

    /// How a view that may be there already is made.
    pub(super) fn create_view(self, name: &str) -> String {
        let temporary = if self == Dialect::Spark { "TEMPORARY " } else { "" };
        format!("CREATE OR REPLACE {temporary}VIEW {} AS", self.name(name))
    }

    /// The statement that makes the files of a directory a table; `None` where a query names files.
    pub(super) fn create_table(
        self,
        name: &str,
        directory: &str,
        columns: &[(String, String)],
    ) -> Option<String> {
        let (table, path) = (self.name(name), self.text(directory));
        match self {
            Dialect::DuckDb => None,
            Dialect::Spark => {
                Some(format!("CREATE OR REPLACE TEMPORARY VIEW {table} USING parquet OPTIONS (path {path});"))
            }
            Dialect::DataFusion => Some(format!(
                "CREATE EXTERNAL TABLE IF NOT EXISTS {table} STORED AS PARQUET LOCATION {path};"
            )),
            Dialect::Trino => {
                let columns =
                    columns.iter().map(|(name, sql_type)| format!("  {} {sql_type}", self.name(name)));
                let columns = columns.collect::<Vec<_>>().join(",\n");
                Some(format!(
                    "CREATE TABLE IF NOT EXISTS {table} (\n{columns}\n) WITH (external_location = {path}, format = 'PARQUET');"
                ))
            }
        }
    }

    /// The files of directories as a relation.
    pub(super) fn scan_files(directories: &[String]) -> String {
        let files =
            directories.iter().map(|directory| Dialect::DuckDb.text(&format!("{directory}*.parquet")));
        format!("read_parquet([{}])", files.collect::<Vec<_>>().join(", "))
    }

    pub(super) fn key_type(self, key_type: PrimaryKeyType) -> &'static str {
        self.value_type(match key_type {
            PrimaryKeyType::Integer => ValueType::Integer,
            PrimaryKeyType::String => ValueType::String,
            PrimaryKeyType::Binary => ValueType::Binary,
        })
    }

    pub(super) fn value_type(self, value_type: ValueType) -> &'static str {
        match (value_type, self) {
            (ValueType::Integer, _) => "BIGINT",
            (ValueType::Double, _) => "DOUBLE",
            (ValueType::Boolean, _) => "BOOLEAN",
            (ValueType::String, Dialect::Spark) => "STRING",
            (ValueType::String, _) => "VARCHAR",
            (ValueType::Binary, Dialect::Spark) => "BINARY",
            (ValueType::Binary, Dialect::Trino) => "VARBINARY",
            (ValueType::Binary, Dialect::DuckDb) => "BLOB",
            (ValueType::Binary, Dialect::DataFusion) => "BYTEA",
        }
    }

    /// The type of `_overflow`, for engines that want it said.
    pub(super) const OVERFLOW: &str = "MAP(VARCHAR, ARRAY(ROW(op VARCHAR, ts BIGINT, i BIGINT, d DOUBLE, s VARCHAR, b BOOLEAN, x VARBINARY)))";

    /// A query of the cells in `_overflow` of `relation`: `carried` columns, `_index` from 1 on, `_name`, and the members of a cell.
    pub(super) fn overflow_cells(self, relation: &str, carried: &str) -> String {
        let members = |cell: &str| {
            ["op", "ts", "i", "d", "s", "b", "x"]
                .map(|member| format!("{cell}.{member} AS _{member}"))
                .join(", ")
        };
        match self {
            Dialect::DuckDb | Dialect::DataFusion => {
                let subscripts = match self {
                    Dialect::DuckDb => "generate_subscripts(_list, 1)",
                    _ => "unnest(range(1, CAST(array_length(_list) AS BIGINT) + 1))",
                };
                let cell = if self == Dialect::DuckDb { "_cell" } else { "c._cell" };
                let members = match self {
                    Dialect::DuckDb => members(cell),
                    _ => ["op", "ts", "i", "d", "s", "b", "x"]
                        .map(|member| format!("{cell}['{member}'] AS _{member}"))
                        .join(", "),
                };
                format!(
                    "SELECT {carried}, _index, _name, {members}\n  FROM (\n    SELECT {carried}, _name, unnest(_list) AS _cell, {subscripts} AS _index\n    \
                     FROM (\n      SELECT {carried}, unnest(map_keys(_overflow)) AS _name, unnest(map_values(_overflow)) AS _list\n      FROM {relation}\n    ) AS e\n  ) AS c"
                )
            }
            Dialect::Spark => format!(
                "SELECT {carried}, _position + 1 AS _index, _name, {}\n  FROM {relation}\n  LATERAL VIEW explode(_overflow) e AS _name, _list\n  \
                 LATERAL VIEW posexplode(_list) c AS _position, _cell",
                members("_cell")
            ),
            Dialect::Trino => format!(
                "SELECT {carried}, _index, _name, _op_, _ts_, _i_, _d_, _s_, _b_, _x_\n  FROM {relation}\n  CROSS JOIN UNNEST(_overflow) AS e (_name, _list)\n  \
                 CROSS JOIN UNNEST(_list) WITH ORDINALITY AS c (_op_, _ts_, _i_, _d_, _s_, _b_, _x_, _index)"
            ),
        }
    }

    /// A map of the attributes without a column of their own, out of the cells for which `condition` holds.
    pub(super) fn more(self, condition: &str) -> String {
        match self {
            Dialect::DuckDb => format!(
                "map_from_entries(list({{'key': _name, 'value': {{'i': _i, 'd': _d, 's': _s, 'b': _b, 'x': _x}}}}) FILTER (WHERE {condition}))"
            ),
            Dialect::Spark => format!(
                "map_from_entries(collect_list(CASE WHEN {condition} THEN struct(_name, named_struct('i', _i, 'd', _d, 's', _s, 'b', _b, 'x', _x)) END))"
            ),
            Dialect::Trino => format!(
                "map_agg(_name, CAST(ROW(_i, _d, _s, _b, _x) AS ROW(i BIGINT, d DOUBLE, s VARCHAR, b BOOLEAN, x VARBINARY))) FILTER (WHERE {condition})"
            ),
            Dialect::DataFusion => format!(
                "map(array_agg(_name) FILTER (WHERE {condition}), array_agg(named_struct('i', _i, 'd', _d, 's', _s, 'b', _b, 'x', _x)) FILTER (WHERE {condition}))"
            ),
        }
    }

    /// The value that all rows of a group have, of those that are not null.
    pub(super) fn any_value(self, value_type: ValueType, value: &str) -> String {
        match (self, value_type) {
            (Dialect::Trino, ValueType::Boolean) => format!("bool_or({value})"),
            _ => format!("max({value})"),
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = Dialect::NAMES.into_iter().find(|(_, dialect)| dialect == self);
        f.write_str(named.map_or("", |(name, _)| name))
    }
}

impl FromStr for Dialect {
    type Err = String;

    fn from_str(text: &str) -> Result<Dialect, String> {
        let known = Dialect::NAMES.into_iter().find(|(name, _)| *name == text);
        known
            .map(|(_, dialect)| dialect)
            .ok_or_else(|| "expected duckdb, spark, trino or datafusion".to_owned())
    }
}
