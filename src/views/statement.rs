//! The statement of a view, part by part.

use object_store::path::Path;

use super::ViewOptions;
use super::dialect::Dialect;
use crate::catalog::Cut;
use crate::columnar::{ColumnPlan, RECORD_COLUMNS, Role, cell_op_name};
use crate::model::{CellOp, ValueType};

/// Places of records are one number: rank, ordinal, and the cell's place in the record. A shard has fewer records than this in a chain, and a record
/// fewer cells of one attribute than that.
const ORDINALS: u64 = 1 << 32;
const INDEXES: u64 = 1 << 11;

/// The place of a row of the base: before every record.
const BASE: i64 = -1;

pub(super) struct Statement<'a> {
    cut: &'a Cut,
    options: &'a ViewOptions,
    dialect: Dialect,
    plan: &'a ColumnPlan,
    keys: Vec<String>,
    /// Column, attribute, type.
    attributes: Vec<(String, &'a str, ValueType)>,
}

impl<'a> Statement<'a> {
    pub(super) fn new(cut: &'a Cut, options: &'a ViewOptions) -> Statement<'a> {
        let (dialect, plan) = (options.dialect, &cut.base.columns);
        let (mut keys, mut attributes) = (Vec::new(), Vec::new());
        for column in plan.columns() {
            match &column.role {
                Role::Key { .. } => keys.push(dialect.name(&column.name)),
                Role::Attribute { attribute, value_type } => {
                    attributes.push((dialect.name(&column.name), attribute.as_str(), *value_type));
                }
                Role::AttributeTimestamp { .. } | Role::RowTimestamp | Role::Overflow => {}
            }
        }
        Statement { cut, options, dialect, plan, keys, attributes }
    }

    pub(super) fn text(&self) -> String {
        let mut text =
            format!("-- {} of {}, {}\n", self.options.name, self.cut.base.source.instance, self.moment());
        text.push_str(&self.tables());
        text.push_str(&format!("{}\nWITH ", self.dialect.create_view(&self.options.name)));
        let parts = [
            ("_rows", self.rows()),
            ("_states", self.states()),
            ("_apart", self.apart()),
            ("_cells", self.cells()),
            ("_alive", self.alive()),
            ("_newest", self.newest()),
        ];
        let parts = parts.map(|(name, query)| format!("{name} AS (\n  {query}\n)"));
        text.push_str(&parts.join(",\n"));
        text.push_str(&format!("\n{}\nUNION ALL\n{};\n", self.whole(), self.put_together()));
        text
    }

    fn moment(&self) -> String {
        match (self.cut.until_clock_us.and(self.cut.at), &self.cut.run) {
            (Some(time), _) => format!("as of {time}"),
            (None, run) => format!("as of run {run}"),
        }
    }

    /// Tables of the directories, for engines whose queries do not name files.
    fn tables(&self) -> String {
        let directories = std::iter::once(self.base_directory()).chain(self.record_directories());
        let tables = directories.enumerate().filter_map(|(number, directory)| {
            let columns = self.column_types(number > 0);
            self.dialect.create_table(&self.table(number), &directory, &columns)
        });
        tables.map(|table| format!("{table}\n")).collect()
    }

    /// The table of the base (0) or of the records of one run.
    fn table(&self, number: usize) -> String {
        match number {
            0 => format!("{}__base", self.options.name),
            number => format!("{}__records_{number}", self.options.name),
        }
    }

    fn base_directory(&self) -> String {
        self.directory(&self.cut.path.data())
    }

    fn record_directories(&self) -> Vec<String> {
        let with_files = self.cut.deltas.iter().filter(|(_, delta)| delta.totals.files > 0);
        with_files.map(|(path, _)| self.directory(&path.records())).collect()
    }

    /// A directory of the vault as the engine writes it, with a `/` at its end.
    fn directory(&self, path: &Path) -> String {
        let parts = path.prefix_match(&self.options.prefix).into_iter().flatten();
        let parts: String = parts.map(|part| format!("{}/", part.as_ref())).collect();
        format!("{}/{parts}", self.options.location.trim_end_matches('/'))
    }

    fn column_types(&self, of_records: bool) -> Vec<(String, String)> {
        let dialect = self.dialect;
        let mut types: Vec<(String, String)> = Vec::new();
        for column in self.plan.columns() {
            let sql_type = match &column.role {
                Role::Key { column_type, .. } => dialect.key_type(*column_type),
                Role::Attribute { value_type, .. } => dialect.value_type(*value_type),
                Role::AttributeTimestamp { .. } | Role::RowTimestamp => "BIGINT",
                Role::Overflow => Dialect::OVERFLOW,
            };
            if column.role == Role::Overflow && of_records {
                let text = |name: &str| matches!(name, "_op" | "_seq_shard");
                types.extend(RECORD_COLUMNS.iter().map(|name| {
                    let sql_type = if text(name) { ValueType::String } else { ValueType::Integer };
                    ((*name).to_owned(), dialect.value_type(sql_type).to_owned())
                }));
            }
            types.push((column.name.clone(), sql_type.to_owned()));
        }
        types
    }

    /// The key columns of a relation, with commas.
    fn keys(&self, relation: &str) -> String {
        self.keys.iter().map(|key| format!("{relation}.{key}")).collect::<Vec<_>>().join(", ")
    }

    /// Whether two relations have the same key.
    fn same_key(&self, a: &str, b: &str) -> String {
        self.keys.iter().map(|key| format!("{a}.{key} = {b}.{key}")).collect::<Vec<_>>().join(" AND ")
    }

    /// Base rows and records in one shape: `_at` is their place, `_did` what they do.
    fn rows(&self) -> String {
        let columns: Vec<_> =
            self.plan.columns().iter().map(|column| self.dialect.name(&column.name)).collect();
        let columns = columns.join(", ");
        let base = match self.dialect {
            Dialect::DuckDb if self.cut.base.totals.files > 0 => {
                Some(Dialect::scan_files(&[self.base_directory()]))
            }
            Dialect::DuckDb => None,
            dialect => Some(dialect.name(&self.table(0))),
        };
        let directories = self.record_directories();
        let records = match (self.dialect, directories.len()) {
            (_, 0) => Vec::new(),
            (Dialect::DuckDb, _) => vec![Dialect::scan_files(&directories)],
            (dialect, count) => (1..=count).map(|number| dialect.name(&self.table(number))).collect(),
        };
        let until =
            self.cut.until_clock_us.map_or_else(String::new, |until| format!(" WHERE _seq_clock <= {until}"));
        let base = base.map(|relation| {
            format!("SELECT {columns}, CAST({BASE} AS BIGINT) AS _at, 'put' AS _did FROM {relation}")
        });
        let records = records.into_iter().map(|relation| {
            format!(
                "SELECT {columns}, _seq_rank * {ORDINALS} + _seq_ordinal AS _at, _op AS _did FROM {relation}{until}"
            )
        });
        base.into_iter().chain(records).collect::<Vec<_>>().join("\n  UNION ALL\n  ")
    }

    /// Per key: the last thing that replaced the whole row, and whether something happened since the base.
    fn states(&self) -> String {
        format!(
            "SELECT {keys}, max(CASE WHEN _did <> 'update' THEN _at END) AS _reset, max(CASE WHEN _did = 'put' THEN _at END) AS _put, max(_at) AS _last\n  \
             FROM _rows AS r\n  GROUP BY {keys}",
            keys = self.keys("r")
        )
    }

    /// Rows that are taken apart: of keys with records or with something in `_overflow`, from the last replacement on.
    fn apart(&self) -> String {
        format!(
            "SELECT r.* FROM _rows AS r JOIN _states AS s ON {}\n  WHERE (s._last > {BASE} OR r._overflow IS NOT NULL) AND r._at >= coalesce(s._reset, {BASE})",
            self.same_key("r", "s")
        )
    }

    /// Every cell of those, with its place.
    fn cells(&self) -> String {
        let carried = format!("{}, _at", self.keys("r"));
        let mut queries: Vec<String> = Vec::new();
        for (column, attribute, value_type) in &self.attributes {
            let values = MEMBERS.map(|other| match other == *value_type {
                true => format!("{column} AS {}", member(other)),
                false => format!("CAST(NULL AS {}) AS {}", self.dialect.value_type(other), member(other)),
            });
            queries.push(format!(
                "SELECT {carried} * {INDEXES} AS _place, {} AS _name, CAST(NULL AS {}) AS _op, {} AS _ts, {}\n  FROM _apart AS r WHERE {column} IS NOT NULL",
                self.dialect.text(attribute),
                self.dialect.value_type(ValueType::String),
                self.timestamp(attribute),
                values.join(", ")
            ));
        }
        let plain = self.keys.join(", ");
        let overflow = self.dialect.overflow_cells("_apart", &format!("{plain}, _at"));
        queries.push(format!(
            "SELECT {plain}, _at * {INDEXES} + _index AS _place, _name, {members}\n  FROM ({overflow}) AS o",
            members = match self.dialect {
                Dialect::Trino =>
                    "_op_ AS _op, _ts_ AS _ts, _i_ AS _i, _d_ AS _d, _s_ AS _s, _b_ AS _b, _x_ AS _x",
                _ => "_op, _ts, _i, _d, _s, _b, _x",
            }
        ));
        queries.join("\n  UNION ALL\n  ")
    }

    /// The timestamp of a promoted cell.
    fn timestamp(&self, attribute: &str) -> String {
        let own = self.plan.columns().iter().find(
            |column| matches!(&column.role, Role::AttributeTimestamp { attribute: of } if of == attribute),
        );
        match own {
            Some(own) => format!("coalesce({}, _ts)", self.dialect.name(&own.name)),
            None => "_ts".to_owned(),
        }
    }

    /// Cells that nothing later undid: a delete of all versions of their attribute, or anything about their own version.
    fn alive(&self) -> String {
        let keys = self.keys("c");
        let plain = self.keys.join(", ");
        format!(
            "SELECT {plain}, _name, _ts, _i, _d, _s, _b, _x FROM (\n    SELECT c.*, max(CASE WHEN _op = '{all}' THEN _place END) OVER (PARTITION BY {keys}, _name) AS _cleared,\n      \
             row_number() OVER (PARTITION BY {keys}, _name, _ts ORDER BY _place DESC) AS _back\n    FROM _cells AS c\n  ) AS c\n  \
             WHERE _op IS NULL AND _back = 1 AND (_cleared IS NULL OR _place > _cleared)",
            all = cell_op_name(CellOp::DeleteAllVersions),
        )
    }

    /// The newest cell of each attribute, unless it has expired.
    fn newest(&self) -> String {
        let expired = self.cut.expiry_horizon_ms().map_or_else(String::new, |at| format!(" AND _ts >= {at}"));
        format!(
            "SELECT * FROM (\n    SELECT c.*, row_number() OVER (PARTITION BY {}, _name ORDER BY _ts DESC) AS _age FROM _alive AS c\n  ) AS c WHERE _age = 1{expired}",
            self.keys("c")
        )
    }

    /// Rows as they are.
    fn whole(&self) -> String {
        let columns =
            self.attributes.iter().map(|(column, attribute, _)| match self.cut.expiry_horizon_ms() {
                None => format!("r.{column}"),
                Some(at) => {
                    format!("CASE WHEN {} >= {at} THEN r.{column} END AS {column}", self.timestamp(attribute))
                }
            });
        let columns: Vec<_> = self.keys.iter().map(|key| format!("r.{key}")).chain(columns).collect();
        let mut query = format!(
            "SELECT {}, NULL AS _more\nFROM _rows AS r JOIN _states AS s ON {}\nWHERE r._at = {BASE} AND s._last = {BASE} AND r._overflow IS NULL",
            columns.join(", "),
            self.same_key("r", "s")
        );
        if let Some(at) = self.cut.expiry_horizon_ms() {
            let alive = self.attributes.iter().map(|(column, attribute, _)| {
                format!("({column} IS NOT NULL AND {} >= {at})", self.timestamp(attribute))
            });
            let empty = self.attributes.iter().map(|(column, ..)| format!("{column} IS NULL"));
            let (alive, empty): (Vec<_>, Vec<_>) = (alive.collect(), empty.collect());
            if !alive.is_empty() {
                query.push_str(&format!("\n  AND ({} OR ({}))", alive.join(" OR "), empty.join(" AND ")));
            }
        }
        query
    }

    /// The newest cells of the others in their columns. A row is there if it was put, or updated since it was deleted or before it ever was.
    fn put_together(&self) -> String {
        let mut columns: Vec<_> = self.keys.iter().map(|key| format!("s.{key}")).collect();
        columns.extend(self.attributes.iter().map(|(column, ..)| format!("n.{column}")));
        let of_attribute = |(column, attribute, value_type): &(String, &str, ValueType)| {
            let value = format!(
                "CASE WHEN _name = {} THEN {} END",
                self.dialect.text(attribute),
                member(*value_type)
            );
            format!("{} AS {column}", self.dialect.any_value(*value_type, &value))
        };
        let mut folded: Vec<_> = self.attributes.iter().map(of_attribute).collect();
        let owned: Vec<_> = self
            .attributes
            .iter()
            .map(|(_, attribute, value_type)| {
                format!("(_name = {} AND {} IS NOT NULL)", self.dialect.text(attribute), member(*value_type))
            })
            .collect();
        let others =
            if owned.is_empty() { "1 = 1".to_owned() } else { format!("NOT ({})", owned.join(" OR ")) };
        folded.push(format!("{} AS _more", self.dialect.more(&others)));
        let there = match self.cut.expiry_horizon_ms() {
            None => String::new(),
            Some(_) => format!(
                " AND (n._cells IS NOT NULL OR NOT EXISTS (SELECT 1 FROM _alive AS c WHERE {}))",
                self.same_key("c", "s")
            ),
        };
        format!(
            "SELECT {columns}, n._more\nFROM _states AS s LEFT JOIN (\n  SELECT {keys}, count(*) AS _cells, {folded}\n  FROM _newest AS c GROUP BY {keys}\n) AS n ON {same}\n\
             WHERE EXISTS (SELECT 1 FROM _apart AS a WHERE {apart})\n  AND (s._put = s._reset OR EXISTS (SELECT 1 FROM _cells AS c WHERE {cell} AND c._op IS NULL)){there}",
            columns = columns.join(", "),
            keys = self.keys("c"),
            folded = folded.join(", "),
            same = self.same_key("n", "s"),
            apart = self.same_key("a", "s"),
            cell = self.same_key("c", "s"),
        )
    }
}

/// The members of a cell with a value, in the order in which a union needs them.
const MEMBERS: [ValueType; 5] =
    [ValueType::Integer, ValueType::Double, ValueType::String, ValueType::Boolean, ValueType::Binary];

fn member(value_type: ValueType) -> &'static str {
    match value_type {
        ValueType::Integer => "_i",
        ValueType::Double => "_d",
        ValueType::Boolean => "_b",
        ValueType::String => "_s",
        ValueType::Binary => "_x",
    }
}
