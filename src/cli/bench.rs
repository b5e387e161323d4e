//! `otsvault bench`.

mod table;

use std::path::PathBuf;

use clap::Args;

use self::table::{document, peers_table, stages_table, targets_table};
use super::{Output, print_json, print_line};
use crate::bench::{
    DATA_SETS, DataSet, Measurements, Pages, backward, forward, read_figures, read_peer_times, records,
    targets,
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
        let mut back = backward(&there.plan, &there.file, args.rounds.into())?;
        if set.name == "iot" {
            back = back.and(records(&pages, &there.plan, args.rounds.into())?);
        }
        if !output.json {
            print_line(&stages_table(&pages, &there, &back))?;
        }
        measurements.forward.insert(set.name, there);
        measurements.backward.insert(set.name, back);
    }
    let targets = targets(&measurements);
    match output.json {
        true => print_json(&document(&measurements, &targets)),
        false => {
            if !measurements.peers.is_empty() {
                print_line(&peers_table(&measurements.peers))?;
            }
            print_line(&targets_table(&targets))
        }
    }
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
