//! What was measured, as tables and as a document.

use std::fmt::Write as _;

use serde_json::json;

use crate::bench::{Forward, Measured, Measurements, Pages, PeerTime, Stage, Target, Verdict};

/// The stages of one data set.
pub(super) fn stages_table(pages: &Pages, there: &Forward, back: &Measured) -> String {
    let mut out = String::new();
    let megabytes = pages.bytes() as f64 / 1e6;
    let _ = writeln!(out, "\n{}", pages.describe());
    let _ = writeln!(
        out,
        "| {:<38} | {:>8} | {:>6} | {:>8} | {:>6} |",
        "stage", "ms CPU", "ms/MB", "M rows/s", "copies"
    );
    let _ = writeln!(out, "|---|---|---|---|---|");
    let copy = there.measured.milliseconds(Stage::Copy).unwrap_or(f64::NAN);
    let measured = there.measured.clone().and(back.clone());
    for stage in measured.stages() {
        let Some(milliseconds) = measured.milliseconds(stage) else { continue };
        let _ = writeln!(
            out,
            "| {:<38} | {milliseconds:>8.1} | {:>6.2} | {:>8.2} | {:>6.1} |",
            stage.label(),
            milliseconds / megabytes,
            pages.rows as f64 / 1e3 / milliseconds,
            milliseconds / copy,
        );
    }
    let per_row = |bytes: usize| bytes as f64 / pages.rows as f64;
    let [zstd_1, zstd_3, zstd_6] = there.bytes.map(per_row);
    let _ = writeln!(
        out,
        "bytes of Parquet per row: {zstd_1:.2} at zstd 1, {zstd_3:.2} at 3, {zstd_6:.2} at 6; {:.2} by ArrowWriter's defaults at 1",
        per_row(there.default_bytes),
    );
    out.truncate(out.trim_end().len());
    out
}

/// What other programs took.
pub(super) fn peers_table(peers: &[PeerTime]) -> String {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "\nOther programs, on the same pages\n| program | set | up to | ms CPU | what it was |\n|---|---|---|---|---|"
    );
    for peer in peers {
        let time = peer.milliseconds().map_or_else(String::new, |time| format!("{time:.0}"));
        let what =
            peer.skipped.as_ref().map_or_else(|| peer.note.clone(), |why| format!("not measured: {why}"));
        let _ = writeln!(out, "| {} | {} | {} | {time} | {what} |", peer.peer, peer.set, peer.stage);
    }
    out.truncate(out.trim_end().len());
    out
}

/// Every target and whether it is met.
pub(super) fn targets_table(targets: &[Target]) -> String {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "\nTargets\n| {:<86} | {:>6} | {:>8} | {:>8} | {:<12} |",
        "what", "gate", "ambition", "measured", "met"
    );
    let _ = writeln!(out, "|---|---|---|---|---|");
    for target in targets {
        let measured = target.measured.map_or_else(String::new, |value| format!("{value:.*}", target.digits));
        let sign = if target.at_most { "<=" } else { ">=" };
        let _ = writeln!(
            out,
            "| {:<86} | {sign}{:>4} | {:>8} | {measured:>8} | {:<12} |",
            target.what,
            target.gate,
            target.ambition,
            target.verdict().label(),
        );
    }
    let count = |verdict| targets.iter().filter(|target| target.verdict() == verdict).count();
    let _ = writeln!(
        out,
        "{} at the ambition, {} within the gate, {} missed, {} not measured in this run",
        count(Verdict::Ambition),
        count(Verdict::Gate),
        count(Verdict::Missed),
        count(Verdict::NotMeasured),
    );
    out.truncate(out.trim_end().len());
    out
}

/// All of it, for a program.
pub(super) fn document(measurements: &Measurements, targets: &[Target]) -> serde_json::Value {
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
    json!({ "sets": sets, "targets": targets })
}
