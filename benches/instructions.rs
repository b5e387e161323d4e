//! Instructions that the stages of a backup take, counted by callgrind: the same in every run to three thousandths, where times
//! on a busy machine move by a quarter.
//!
//! A stage of a set runs once, in a process of its own under `valgrind`, without which this fails. Options through the
//! environment: `SETS` (iot,wide,fat,sparse), `SCALE` (0.02) times their rows. Two things to know: valgrind has no AVX-512, so
//! what chooses its instructions as it runs takes older ones there; and a load that misses every cache is one instruction too.

#![allow(clippy::print_stdout, reason = "a bench prints its table")]

use std::hint::black_box;
use std::process::Command;
use std::sync::Arc;

use otsvault::bench::{DataSet, Pages, Stage, walk};
use otsvault::columnar::BatchBuilder;
use otsvault::parquet_file::{FileEncoder, WriterSettings};

/// Set and stage of a process that is counted.
const COUNTED: &str = "COUNTED";

const STAGES: [Stage; 6] = [
    Stage::WalkUnchecked,
    Stage::Walk,
    Stage::DecodeUnchecked,
    Stage::Decode,
    Stage::DecodeAndSum,
    Stage::Encode,
];

fn main() {
    let set_named = |name: &str| DataSet::named(name).expect("a data set");
    let option = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
    let scale: f64 = option("SCALE", "0.02").parse().expect("a number");
    if let Ok(counted) = std::env::var(COUNTED) {
        let (set, label) = counted.split_once(':').expect("a set and a stage");
        let stage = STAGES.into_iter().find(|stage| stage.label() == label).expect("a stage");
        return run(&Pages::of_set(&set_named(set), scale).expect("pages"), stage);
    }
    // Without `--bench` somebody only wants to know that it runs.
    if !std::env::args().any(|argument| argument == "--bench") {
        let pages = Pages::of_set(&set_named("iot"), 0.001).expect("pages");
        return STAGES.into_iter().for_each(|stage| run(&pages, stage));
    }
    println!("| set | stage | instructions per row | per byte of PlainBuffer |\n|---|---|---|---|");
    for set in option("SETS", "iot,wide,fat,sparse").split(',') {
        let pages = Pages::of_set(&set_named(set), scale).expect("pages");
        for stage in STAGES.map(Stage::label) {
            let count = instructions(&format!("{set}:{stage}")) as f64;
            let (per_row, per_byte) = (count / pages.rows as f64, count / pages.bytes() as f64);
            println!("| {set} | {stage} | {per_row:.0} | {per_byte:.2} |");
        }
    }
}

/// Instructions of this program between the start and the end of [`counted`], when it runs that set and stage.
fn instructions(of: &str) -> u64 {
    let program = std::env::current_exe().expect("the path of this program");
    let run = Command::new("valgrind")
        .args([
            "--tool=callgrind",
            "--callgrind-out-file=/dev/null",
            "--toggle-collect=*instructions*counted*",
        ])
        .arg(program)
        .env(COUNTED, of)
        .output()
        .expect("valgrind is installed");
    let told = String::from_utf8_lossy(&run.stderr);
    let collected = told.lines().find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok());
    match (run.status.success(), collected) {
        (true, Some(count)) if count > 0 => count,
        _ => panic!("{of}: callgrind counted nothing: {told}"),
    }
}

fn run(pages: &Pages, stage: Stage) {
    let settings = WriterSettings::default();
    let plan = Arc::new(pages.plan(&settings).expect("a plan"));
    let rows = || BatchBuilder::unsummed(plan.clone());
    let checked = rows().expected();
    let unchecked = (*checked).clone().without_checksums();
    let decode = |expected, rows| {
        let shown =
            pages.each_batch_expecting(expected, rows, plan.batch_bytes(), |batch| _ = black_box(batch));
        shown.expect("pages of the plan");
    };
    match stage {
        Stage::WalkUnchecked => counted(|| _ = walk(pages, &unchecked).expect("rows")),
        Stage::Walk => counted(|| _ = walk(pages, &checked).expect("rows")),
        Stage::DecodeUnchecked => counted(|| decode(&unchecked, rows())),
        Stage::Decode => counted(|| decode(&checked, rows())),
        Stage::DecodeAndSum => {
            counted(|| decode(&checked, BatchBuilder::new(plan.clone())));
        }
        Stage::Encode => {
            let mut batches = Vec::new();
            let shown = pages.each_batch(rows(), plan.batch_bytes(), |batch| batches.push(batch));
            shown.expect("pages of the plan");
            counted(|| {
                let mut file = FileEncoder::new(&plan, &settings, vec![]).expect("a file");
                batches.iter().for_each(|batch| file.write(batch).expect("a batch of the plan"));
                black_box(file.finish(vec![]).expect("the end of the file"));
            });
        }
        other => panic!("{other:?} is not counted"),
    }
}

#[inline(never)]
fn counted(mut work: impl FnMut()) {
    work();
    black_box(());
}
