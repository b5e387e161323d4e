//! `otsvault sandbox`.

use std::path::PathBuf;

use clap::Args;

use super::print_line;
use crate::runtime::Shutdown;
use crate::sandbox::oss::OssServerOptions;
use crate::sandbox::table_store::GeneratedTable;
use crate::sandbox::{Sandbox, SandboxOptions};
use crate::{Error, Kind, Result};

#[derive(Debug, Args)]
#[command(
    after_help = "Prints one line of JSON when it is ready: ots_endpoint, oss_endpoint, instance, bucket, \
    region, access_key_id, access_key_secret. Stops on SIGINT or SIGTERM.\n\n\
    Example:\n  otsvault sandbox --table iot=iot:rows=10000000,seed=7"
)]
pub(super) struct SandboxArgs {
    /// A table that is generated row by row and never stored: NAME=SHAPE:rows=N,seed=S; shapes: iot, mixed
    #[arg(long = "table", value_name = "NAME=SHAPE:rows=N,seed=S")]
    tables: Vec<GeneratedTable>,
    /// Table Store port on 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = 0, value_name = "PORT")]
    ots_port: u16,
    /// OSS port on 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = 0, value_name = "PORT")]
    oss_port: u16,
    /// Directory for OSS objects; by default a temporary one that is removed at the end
    #[arg(long, value_name = "DIR")]
    oss_dir: Option<PathBuf>,
    /// Instance name
    #[arg(long, default_value = "sandbox")]
    instance: String,
    /// OSS bucket
    #[arg(long, default_value = "vault")]
    bucket: String,
    /// Access key id; the secret is made up at each start unless SANDBOX_ACCESS_KEY_SECRET gives one
    #[arg(long, default_value = "sandbox", value_name = "ID")]
    access_key_id: String,
}

pub(super) async fn run(args: SandboxArgs, shutdown: &Shutdown) -> Result<()> {
    let sandbox = Sandbox::start(SandboxOptions {
        instance: args.instance,
        bucket: args.bucket,
        access_key_id: args.access_key_id,
        access_key_secret: std::env::var("SANDBOX_ACCESS_KEY_SECRET")
            .ok()
            .filter(|secret| !secret.is_empty()),
        ots_port: args.ots_port,
        tables: args.tables,
        oss: OssServerOptions { port: args.oss_port, data_dir: args.oss_dir, ..OssServerOptions::default() },
        ..SandboxOptions::default()
    })
    .await?;
    let ready = serde_json::to_string(sandbox.description())
        .map_err(|error| Error::new(Kind::Internal, "describe the sandbox").source(error))?;
    print_line(&ready)?;
    shutdown.wait().await;
    sandbox.stop().await;
    Ok(())
}
