//! `otsvault sandbox`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::print_line;
use crate::error::Context as _;
use crate::runtime::Shutdown;
use crate::sandbox::faults::{Faults, Rule, parse_rules};
use crate::sandbox::oss::OssServerOptions;
use crate::sandbox::table_store::GeneratedTable;
use crate::sandbox::{Sandbox, SandboxOptions};
use crate::{Error, Kind, Result};

/// Runs both services on loopback until a signal. One line of JSON on stdout says how to reach them, once they listen.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  otsvault sandbox --table readings=iot:rows=1000000,seed=1\n\n\
    The first line on stdout is JSON: ots_endpoint, oss_endpoint, instance, bucket, region,\n\
    access_key_id, access_key_secret, and admin_endpoint with --admin. The official SDKs can be pointed at it as they are.")]
pub(super) struct SandboxArgs {
    /// Table to generate, NAME=SHAPE:rows=N,seed=S[,key=STYLE][,partitions=P][,skew=PERCENT]; can be repeated. SHAPE is
    /// iot, wide, fat, sparse, cjk or mixed; STYLE is sequential, hashed, shared-prefix or binary; PERCENT of the rows are in
    /// one partition
    #[arg(long = "table", value_name = "SPEC")]
    tables: Vec<GeneratedTable>,
    /// Table Store instance
    #[arg(long, default_value = "sandbox")]
    instance: String,
    /// OSS bucket
    #[arg(long, default_value = "vault")]
    bucket: String,
    /// Region that v4 signatures must name
    #[arg(long, default_value = "cn-hangzhou")]
    region: String,
    /// Port of Table Store; 0 takes a free one
    #[arg(long, default_value_t = 0, value_name = "PORT")]
    ots_port: u16,
    /// Port of OSS; 0 takes a free one
    #[arg(long, default_value_t = 0, value_name = "PORT")]
    oss_port: u16,
    /// Directory for tables, so that they survive a restart or a kill [default: in memory]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// How long a new table is not ready, in milliseconds
    #[arg(long, default_value_t = 0, value_name = "MS")]
    table_ready_after: u64,
    /// Directory for objects while the sandbox runs [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    oss_dir: Option<PathBuf>,
    /// Seconds that restoring an archived object takes
    #[arg(long, default_value_t = 0, value_name = "S")]
    restore_delay: u64,
    /// Keep this much of the pages of generated tables and send them again, in MiB: for benchmarks of a client
    #[arg(long, default_value_t = 0, value_name = "MIB")]
    replay: u64,
    /// What goes wrong, such as 'GetRange nth=3 drop-after' or 'oss/* rate=0.05 seed=7 error=InternalError'; can be repeated
    #[arg(long = "fault", value_name = "RULE")]
    fault: Vec<Rule>,
    /// JSON file with an array of fault rules
    #[arg(long, value_name = "FILE")]
    faults: Option<PathBuf>,
    /// Serve an admin endpoint on a port of its own: figures, faults, clocks, partitions and Streams while the sandbox runs
    #[arg(long)]
    admin: bool,
}

fn rules_of(file: &Path) -> Result<Vec<Rule>> {
    let doing = || format!("read the fault rules in `{}`", file.display());
    let text = std::fs::read_to_string(file).doing(Kind::Io, doing())?;
    parse_rules(&text).map_err(|why| Error::new(Kind::Usage, doing()).because(why))
}

pub(super) async fn run(args: SandboxArgs, shutdown: &Shutdown) -> Result<()> {
    let faults = Faults::new();
    let from_file = args.faults.as_deref().map(rules_of).transpose()?.unwrap_or_default();
    from_file.into_iter().chain(args.fault).for_each(|rule| faults.add(rule));
    let sandbox = Sandbox::start(SandboxOptions {
        instance: args.instance,
        bucket: args.bucket,
        region: args.region,
        ots_port: args.ots_port,
        tables: args.tables,
        table_ready_after: Duration::from_millis(args.table_ready_after),
        data_dir: args.data_dir,
        replay_bytes: args.replay.saturating_mul(1 << 20),
        oss: OssServerOptions {
            port: args.oss_port,
            data_dir: args.oss_dir,
            restore_delay: Duration::from_secs(args.restore_delay),
            ..OssServerOptions::default()
        },
        faults,
        admin: args.admin,
        ..SandboxOptions::default()
    })
    .await?;
    print_line(&serde_json::to_string(sandbox.description()).doing(Kind::Internal, "print JSON")?)?;
    shutdown.wait().await;
    sandbox.stop().await;
    Ok(())
}
