//! The program: arguments in, output out. The only module that prints.
//!
//! stdout is data: what a script reads, JSON with `--json`. stderr is for people: progress, warnings, errors.

mod backup;
#[cfg(feature = "sandbox")]
mod bench;
mod cleanup;
mod compact;
mod connect;
mod delta;
#[cfg(feature = "sandbox")]
mod demo;
mod diff;
mod differences;
mod drill;
mod dry_run;
mod encoding;
mod events;
mod expire;
mod list;
mod progress;
mod restore;
mod restore_progress;
mod restore_summary;
#[cfg(feature = "sandbox")]
mod sandbox;
mod show;
mod size;
mod source;
mod summary;
mod tables;
mod vault_tables;
mod verify;
mod verify_progress;
mod views;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::runtime::Shutdown;
use crate::{Error, Kind, Result};

/// Lossless, resumable backups of Alibaba Cloud Table Store (OTS) as zstd Parquet.
#[derive(Debug, Parser)]
#[command(name = "otsvault", version, max_term_width = 100)]
#[command(after_help = "Access keys come from the environment, never from arguments:\n  \
    ALIBABA_CLOUD_ACCESS_KEY_ID, ALIBABA_CLOUD_ACCESS_KEY_SECRET, ALIBABA_CLOUD_SECURITY_TOKEN\n  \
    (or OTS_ACCESS_KEY_ID … for Table Store and OSS_ACCESS_KEY_ID … for OSS),\n  \
    else from a profile file, OIDC or the RAM role of an ECS instance\n\n\
    Exit codes: 0 ok, 1 failed, 2 usage, 3 some tables or rows left out,\n  \
    4 Stream records are gone, 5 corrupt or different, 6 locked by another run, 7 not found,\n  \
    8 credentials or permission, 130/143 stopped by a signal and resumable")]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Print data as JSON on stdout; `backup` prints one event per line
    #[arg(long, global = true, help_heading = "Output")]
    json: bool,
    /// Say more on stderr; twice for every request
    #[arg(short, long, global = true, help_heading = "Output", action = clap::ArgAction::Count)]
    verbose: u8,
    /// No progress; of the events of `backup --json` only the last
    #[arg(short, long, global = true, help_heading = "Output")]
    quiet: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Copy a table into a vault, or go on with an interrupted copy
    Backup(Box<backup::BackupArgs>),
    /// Append what a table's Stream says since its exact base or the last delta
    Delta(Box<delta::DeltaArgs>),
    /// Write a backup into a table, or go on with an interrupted restore
    Restore(Box<restore::RestoreArgs>),
    /// Write the rows again that a finished restore had to leave out
    RetryRejects(Box<restore::RestoreArgs>),
    /// List the tables and backups in a vault
    List(list::ListArgs),
    /// Show the newest backup of a table: schema, files, sizes, key intervals
    Show(show::ShowArgs),
    /// Fold the deltas of a table into a new base, without reading the table
    Compact(compact::CompactArgs),
    /// Remove backups that a policy does not keep
    Expire(expire::ExpireArgs),
    /// Remove what dead runs left behind: stale uploads, orphans, runs that nobody goes on with
    Cleanup(cleanup::CleanupArgs),
    /// Prove that backups are what they say: their objects, every byte, or the table itself
    Verify(Box<verify::VerifyArgs>),
    /// Print SQL that shows a table with its deltas in a query engine, at the end of them or at a moment
    Views(views::ViewsArgs),
    /// Name the rows that differ between two backups, or a backup and a table
    Diff(Box<diff::DiffArgs>),
    /// Serve a local Table Store and OSS on loopback until stopped
    #[cfg(feature = "sandbox")]
    Sandbox(sandbox::SandboxArgs),
    /// See it work: a million rows backed up to a local sandbox, restored and proven equal
    #[cfg(feature = "sandbox")]
    Demo(demo::DemoArgs),
    /// Measure every stage on generated tables, and hold it against what other programs take
    #[cfg(feature = "sandbox")]
    Bench(bench::BenchArgs),
}

/// How to speak to the user; the global options.
#[derive(Debug, Clone, Copy)]
struct Output {
    json: bool,
    quiet: bool,
}

/// Runs the program and says how it ended.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    start_log(cli.verbose);
    let output = Output { json: cli.json, quiet: cli.quiet };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&Error::new(Kind::Io, "start").source(error), output, None),
    };
    let shutdown = Shutdown::default();
    let outcome = runtime.block_on(async {
        shutdown.on_signals().map_err(|error| Error::new(Kind::Io, "listen for signals").source(error))?;
        match cli.command {
            Command::Backup(args) => return backup::run(*args, output, &shutdown).await,
            Command::Delta(args) => return delta::run(*args, output, &shutdown).await,
            Command::Expire(args) => return expire::run(args, output, &shutdown).await,
            Command::Cleanup(args) => return cleanup::run(args, output, &shutdown).await,
            Command::Compact(args) => return compact::run(args, output, &shutdown).await,
            Command::Restore(args) => return restore::run(*args, output, &shutdown).await,
            Command::RetryRejects(args) => return restore::retry(*args, output, &shutdown).await,
            Command::Verify(args) => return verify::run(*args, output, &shutdown).await,
            Command::Diff(args) => return until_stopped(diff::run(*args, output), &shutdown).await,
            Command::List(args) => until_stopped(list::run(args, output), &shutdown).await,
            Command::Views(args) => until_stopped(views::run(args, output), &shutdown).await,
            Command::Show(args) => until_stopped(show::run(args, output), &shutdown).await,
            #[cfg(feature = "sandbox")]
            Command::Sandbox(args) => sandbox::run(args, &shutdown).await,
            #[cfg(feature = "sandbox")]
            Command::Demo(args) => demo::run(args, output, &shutdown).await,
            #[cfg(feature = "sandbox")]
            Command::Bench(args) => until_stopped(bench::run(args, output), &shutdown).await,
        }
        .map(|()| 0)
    });
    // Requests that nobody waits for any more must not hold up the exit.
    runtime.shutdown_background();
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(error) => fail(&error, output, shutdown.requested().map(|signal| signal.exit_code())),
    }
}

/// A command that only reads can be dropped at any moment.
async fn until_stopped<T>(command: impl Future<Output = Result<T>>, shutdown: &Shutdown) -> Result<T> {
    tokio::select! {
        outcome = command => outcome,
        _ = shutdown.wait() => Err(Error::new(Kind::Stopped, "finish").because("it was asked to stop")),
    }
}

fn fail(error: &Error, output: Output, signal_code: Option<u8>) -> ExitCode {
    eprintln!("{}", error.report());
    let failure = summary::Failure::new(error, signal_code);
    if output.json {
        // The report above is out already; there is nobody left to tell that stdout is closed.
        let _ = events::Event::Error(&failure).print();
    }
    ExitCode::from(failure.exit_code)
}

/// Logs go to stderr; `OTSVAULT_LOG` overrides the level in the syntax of `RUST_LOG`.
fn start_log(verbose: u8) {
    let level = match verbose {
        0 => "warn",
        1 => "otsvault=info,warn",
        _ => "otsvault=debug,warn",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("OTSVAULT_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false).init();
}

/// Prints a document as JSON on stdout.
fn print_json(document: &impl serde::Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(document)
        .map_err(|error| Error::new(Kind::Internal, "print JSON").source(error))?;
    print_line(&text)
}

/// Prints a document as one line of JSON on stdout.
fn print_json_line(document: &impl serde::Serialize) -> Result<()> {
    let text = serde_json::to_string(document)
        .map_err(|error| Error::new(Kind::Internal, "print JSON").source(error))?;
    print_line(&text)
}

/// Prints a line on stdout. A closed pipe (`| head`) ends the output, not the program with a panic.
fn print_line(line: &str) -> Result<()> {
    use std::io::Write;
    match writeln!(std::io::stdout(), "{line}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::new(Kind::Io, "write to stdout").source(error))
        }
        _ => Ok(()),
    }
}
