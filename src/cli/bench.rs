//! `otsvault bench`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::Output;
use crate::bench::{
    DATA_SETS, DataSet, Forward, Measured, Measurements, Pages, PeerTime, Stage, Target, Verdict, backward,
    forward, read_figures, read_peer_times, records, targets,
};
use crate::error::Context as _;
use crate::{Error, Kind, Result};

#[derive(Debug, Args)]
#[command(
    after_help = "Everything runs on one thread, on tables that are generated in memory; nothing is sent or stored.\n\
    Compare figures of one run with each other: other work on the machine moves them all.\n\n\
    Examples:\n  otsvault bench\n  otsvault bench --sets iot,fat --rounds 9\n  \
    otsvault bench --dump pages && benches/peers/run pages > peers.jsonl\n  \
    otsvault bench --peers peers.jsonl"
)]
pub(super) struct BenchArgs {
    /// Data sets: iot, wide, fat, sparse, mixed, versions, cjk; by default all
    #[arg(long, value_delimiter = ',', value_name = "SET")]
    sets: Vec<String>,
    /// Rounds in which the stages take turns; medians are told
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..), value_name = "N")]
    rounds: u16,
    /// Multiplies the rows of every set
    #[arg(long, default_value_t = 1.0, value_parser = scale, value_name = "FACTOR")]
    scale: f64,
    /// Times that other programs took for the same pages, as `benches/peers/run` prints them
    #[arg(long, value_name = "FILE")]
    peers: Option<PathBuf>,
    /// Figures of runs end to end, as the benches `end_to_end` and `restore_flow` write them
    #[arg(long, value_name = "FILE")]
    figures: Option<PathBuf>,
    /// Write the pages of the sets into FOLDER for other programs, and measure nothing
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["peers", "figures"])]
    dump: Option<PathBuf>,
}

/// Measures on a thread of its own and prints.
pub(super) async fn run(args: BenchArgs, output: Output) -> Result<()> {
    let measuring = tokio::task::spawn_blocking(move || measure(&args, output));
    measuring.await.doing(Kind::Internal, "measure")?
}

fn measure(args: &BenchArgs, output: Output) -> Result<()> {
    let sets = sets(&args.sets)?;
    if let Some(folder) = &args.dump {
        return sets.iter().try_for_each(|set| Pages::of_set(set, args.scale)?.dump(folder));
    }
    let mut measurements = Measurements {
        figures: args.figures.as_deref().map(read_figures).transpose()?.unwrap_or_default(),
        peers: args.peers.as_deref().map(read_peer_times).transpose()?.unwrap_or_default(),
        ..Measurements::default()
    };
    for set in &sets {
        let pages = Pages::of_set(set, args.scale)?;
        let there = forward(&pages, args.rounds.into())?;
        let back = backward(&there.plan, &there.file, args.rounds.into())?;
        let of_records = match set.name {
            "iot" => records(&pages, &there.plan, args.rounds.into())?,
            _ => Measured::default(),
        };
        if !output.json {
            print_stages(&pages, &there, &back, &of_records);
        }
        measurements.forward.insert(set.name, there);
        measurements.backward.insert(set.name, back);
    }
    let targets = targets(&measurements);
    match output.json {
        true => print_json(&measurements, &targets),
        false => {
            print_peers(&measurements.peers);
            print_targets(&targets);
        }
    }
    Ok(())
}

fn sets(names: &[String]) -> Result<Vec<DataSet>> {
    if names.is_empty() {
        return Ok(DATA_SETS.into());
    }
    let named = |name: &String| {
        DataSet::named(name).ok_or_else(|| {
            let known = DATA_SETS.map(|set| set.name).join(", ");
            Error::new(Kind::Usage, "measure a data set")
                .on(format!("`{name}`"))
                .because(format!("there are {known}"))
        })
    };
    names.iter().map(named).collect()
}

fn scale(text: &str) -> std::result::Result<f64, String> {
    let scale: f64 = text.parse().map_err(|_| "it is not a number".to_owned())?;
    (scale > 0.0 && scale <= 100.0).then_some(scale).ok_or_else(|| "it goes from 0 to 100".to_owned())
}

fn print_stages(pages: &Pages, there: &Forward, back: &Measured, of_records: &Measured) {
    let megabytes = pages.bytes() as f64 / 1e6;
    println!("\n{}", pages.describe());
    println!("| {:<38} | {:>8} | {:>6} | {:>8} | {:>6} |", "stage", "ms CPU", "ms/MB", "M rows/s", "copies");
    println!("|---|---|---|---|---|");
    let copy = there.measured.milliseconds(Stage::Copy).unwrap_or(f64::NAN);
    let measured = there.measured.clone().and(back.clone()).and(of_records.clone());
    for stage in measured.stages() {
        let Some(milliseconds) = measured.milliseconds(stage) else { continue };
        println!(
            "| {:<38} | {milliseconds:>8.1} | {:>6.2} | {:>8.2} | {:>6.1} |",
            stage.label(),
            milliseconds / megabytes,
            pages.rows as f64 / 1e3 / milliseconds,
            milliseconds / copy,
        );
    }
    let per_row = |bytes: usize| bytes as f64 / pages.rows as f64;
    let [zstd_1, zstd_3, zstd_6] = there.bytes.map(per_row);
    println!(
        "bytes of Parquet per row: {zstd_1:.2} at zstd 1, {zstd_3:.2} at 3, {zstd_6:.2} at 6; {:.2} by ArrowWriter's defaults at 1",
        per_row(there.default_bytes),
    );
}

fn print_peers(peers: &[PeerTime]) {
    if peers.is_empty() {
        return;
    }
    println!(
        "\nOther programs, on the same pages\n| program | set | up to | ms CPU | what it was |\n|---|---|---|---|---|"
    );
    for peer in peers {
        let time = peer.milliseconds().map_or_else(String::new, |time| format!("{time:.0}"));
        let what =
            peer.skipped.as_ref().map_or_else(|| peer.note.clone(), |why| format!("not measured: {why}"));
        println!("| {} | {} | {} | {time} | {what} |", peer.peer, peer.set, peer.stage);
    }
}

fn print_targets(targets: &[Target]) {
    println!(
        "\nTargets\n| {:<86} | {:>6} | {:>8} | {:>8} | {:<12} |",
        "what", "gate", "ambition", "measured", "met"
    );
    println!("|---|---|---|---|---|");
    for target in targets {
        let measured = target.measured.map_or_else(String::new, |value| format!("{value:.*}", target.digits));
        let sign = if target.at_most { "<=" } else { ">=" };
        println!(
            "| {:<86} | {sign}{:>4} | {:>8} | {measured:>8} | {:<12} |",
            target.what,
            target.gate,
            target.ambition,
            target.verdict().label(),
        );
    }
    let count = |verdict| targets.iter().filter(|target| target.verdict() == verdict).count();
    println!(
        "{} at the ambition, {} within the gate, {} missed, {} not measured in this run",
        count(Verdict::Ambition),
        count(Verdict::Gate),
        count(Verdict::Missed),
        count(Verdict::NotMeasured),
    );
}

fn print_json(measurements: &Measurements, targets: &[Target]) {
    let stages = |measured: &Measured| -> serde_json::Map<String, serde_json::Value> {
        let times = measured
            .stages()
            .filter_map(|stage| Some((stage.label().to_owned(), json!(measured.milliseconds(stage)?))));
        times.collect()
    };
    let sets: Vec<_> = measurements
        .forward
        .iter()
        .map(|(set, there)| {
            let back = measurements.backward.get(set).map(&stages).unwrap_or_default();
            json!({ "set": set, "cpu_ms": stages(&there.measured).into_iter().chain(back).collect::<serde_json::Map<_, _>>(),
                "parquet_bytes_at_zstd_1_3_6": there.bytes, "arrow_writer_default_bytes": there.default_bytes })
        })
        .collect();
    let targets: Vec<_> = targets
        .iter()
        .map(|target| {
            json!({ "what": target.what, "gate": target.gate, "ambition": target.ambition, "at_most": target.at_most,
                "measured": target.measured, "met": target.verdict().label() })
        })
        .collect();
    println!("{}", json!({ "sets": sets, "targets": targets }));
}
