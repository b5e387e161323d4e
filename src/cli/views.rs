//! `otsvault views`.

use clap::Args;

use super::connect::{KeyArgs, StoreArgs};
use super::vault_tables::{VaultTables, select};
use super::{Output, print_json, print_line};
use crate::catalog::{Chain, Moment};
use crate::views::{Dialect, ViewOptions, sql};
use crate::{Error, Kind, Result};

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    otsvault views ./vault orders | duckdb shop.db\n  \
    otsvault views oss://backups/prod orders --dialect spark --at 2026-11-26T18:00:00Z\n\n\
    The view has the key columns, and for every attribute its newest version under the name that `show` prints;\n\
    _more maps attributes without a column of their own to their newest version.")]
pub(super) struct ViewsArgs {
    /// Vault: oss://bucket/prefix, file:///dir or a path
    vault: String,
    /// Table, as `table` or `instance/table`
    table: VaultTables,
    /// Whose SQL: duckdb, spark, trino or datafusion
    #[arg(long, default_value_t = Dialect::DuckDb, value_name = "DIALECT")]
    dialect: Dialect,
    /// Show the table as it was then: a time such as 2026-11-26T18:00:00Z, or the id of a run; by default as of the last delta
    #[arg(long, value_name = "MOMENT")]
    at: Option<Moment>,
    /// Name of the view; by default the table's
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// How the engine reaches the vault, where that is not its own URL; DuckDB reads oss:// as s3:// by default
    #[arg(long, value_name = "URL")]
    location: Option<String>,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    keys: KeyArgs,
}

pub(super) async fn run(args: ViewsArgs, output: Output) -> Result<()> {
    let vault = args.store.open(&args.vault, &args.keys).await?;
    let tables = select(&vault, Some(&args.table)).await?;
    let [table] = tables.as_slice() else {
        return Err(Error::new(Kind::Usage, "make a view")
            .because(format!("{} tables are meant", tables.len()))
            .hint("name one: `instance/table`"));
    };
    let moment = args.at.unwrap_or_default();
    let cut = Chain::find(&**vault.store(), table, &moment).await?.cut(&moment)?;
    let url = vault.url().to_owned();
    let location = args.location.unwrap_or_else(|| match (args.dialect, url.strip_prefix("oss://")) {
        (Dialect::DuckDb, Some(rest)) => format!("s3://{rest}"),
        _ => url,
    });
    let options = ViewOptions {
        name: args.name.unwrap_or_else(|| table.table.clone()),
        dialect: args.dialect,
        location,
        prefix: vault.prefix().clone(),
    };
    let text = sql(&cut, &options);
    match output.json {
        true => print_json(&serde_json::json!({
            "instance": table.instance, "table": table.table, "run": cut.run.to_string(), "at": cut.at,
            "dialect": args.dialect.to_string(), "sql": text,
        })),
        false => print_line(text.trim_end()),
    }
}
