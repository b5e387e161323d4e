//! The speed that we promise, as ratios: what must hold, what we want, and what was measured.

use std::collections::BTreeMap;

use super::{Figure, Forward, Measured, PeerTime, Stage};

/// Everything that targets are held against.
#[derive(Default)]
pub struct Measurements {
    /// The way into a vault, by data set.
    pub forward: BTreeMap<&'static str, Forward>,
    /// The way back, by data set.
    pub backward: BTreeMap<&'static str, Measured>,
    /// Of runs end to end.
    pub figures: Vec<Figure>,
    /// Of other programs.
    pub peers: Vec<PeerTime>,
}

/// One promise.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// What is measured.
    pub what: String,
    /// What must hold.
    pub gate: f64,
    /// What we want.
    pub ambition: f64,
    /// Smaller is better.
    pub at_most: bool,
    /// What was measured, if it was.
    pub measured: Option<f64>,
    /// Digits behind the point that mean something.
    pub digits: usize,
}

/// How a measurement stands to its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// As good as we want.
    Ambition,
    /// As good as it must be.
    Gate,
    /// Not good enough.
    Missed,
    /// Not measured in this run.
    NotMeasured,
}

impl Verdict {
    /// As the table says it.
    pub fn label(self) -> &'static str {
        match self {
            Verdict::Ambition => "ambition",
            Verdict::Gate => "gate",
            Verdict::Missed => "MISSED",
            Verdict::NotMeasured => "not measured",
        }
    }
}

impl Target {
    /// Whether the measurement is good enough.
    pub fn verdict(&self) -> Verdict {
        let meets = |wanted, measured| if self.at_most { measured <= wanted } else { measured >= wanted };
        match self.measured {
            None => Verdict::NotMeasured,
            Some(measured) if meets(self.ambition, measured) => Verdict::Ambition,
            Some(measured) if meets(self.gate, measured) => Verdict::Gate,
            Some(_) => Verdict::Missed,
        }
    }

    fn at_most(what: impl Into<String>, gate: f64, ambition: f64, measured: Option<f64>) -> Target {
        Target { what: what.into(), gate, ambition, at_most: true, measured, digits: 2 }
    }

    fn at_least(what: impl Into<String>, gate: f64, ambition: f64, measured: Option<f64>) -> Target {
        Target { at_most: false, ..Target::at_most(what, gate, ambition, measured) }
    }

    fn digits(self, digits: usize) -> Target {
        Target { digits, ..self }
    }
}

/// The sets that targets are set for.
const SETS: [&str; 4] = ["iot", "wide", "fat", "sparse"];

/// The machine that the target of a restore was set on copied the `iot` pages in so many milliseconds.
const REFERENCE_COPY_MS: f64 = 7.8;

/// Every target.
pub fn targets(measurements: &Measurements) -> Vec<Target> {
    let mut targets = Vec::new();
    let forward = |set: &str| measurements.forward.get(set);
    let ratio = |set: &str, above, below: &[Stage]| forward(set)?.measured.ratio(above, below);
    for set in SETS {
        let measured = ratio(set, Stage::Pipeline, &[Stage::DecodeAndSum, Stage::EncodeSame]);
        let what = format!("pipeline / (decode + ArrowWriter, same settings), {set}");
        targets.push(Target::at_most(what, 1.15, 1.05, measured));
    }
    for (set, gate, ambition) in
        [("iot", 4.0, 2.5), ("wide", 5.0, 3.2), ("fat", 4.0, 2.5), ("sparse", 20.0, 8.0)]
    {
        let what = format!("decode / copy of the same bytes, {set}");
        targets.push(Target::at_most(what, gate, ambition, ratio(set, Stage::Decode, &[Stage::Copy])));
    }
    for set in SETS {
        let measured = checksum_share(forward(set)).map(|share| share * 100.0);
        targets.push(
            Target::at_most(format!("checksums' share of decode in %, {set}"), 25.0, 15.0, measured)
                .digits(0),
        );
    }
    for set in ["iot", "wide"] {
        let measured = ratio(set, Stage::EncodeDefault, &[Stage::Encode]);
        targets.push(Target::at_least(
            format!("ArrowWriter's defaults / our encoder, CPU, {set}"),
            1.8,
            2.4,
            measured,
        ));
    }
    let sizes = [("iot", -20.0, -35.0), ("wide", -20.0, -35.0), ("fat", 2.0, 0.0), ("sparse", 2.0, -15.0)];
    let others = ["mixed", "versions", "cjk"].map(|set| (set, 2.0, 0.0));
    for (set, gate, ambition) in sizes.into_iter().chain(others) {
        let measured = forward(set)
            .map(|forward| (forward.bytes[0] as f64 / forward.default_bytes as f64 - 1.0) * 100.0);
        let what = format!("our file's size against ArrowWriter's defaults in %, {set}");
        targets.push(Target::at_most(what, gate, ambition, measured).digits(1));
    }
    for (peer, set, gate, ambition) in PEERS {
        let ours = forward(set).and_then(|forward| forward.measured.milliseconds(Stage::Pipeline));
        let same = |time: &&PeerTime| time.peer == peer && time.set == set && time.stage == PEER_STAGE;
        let theirs = measurements.peers.iter().find(same).and_then(PeerTime::milliseconds);
        let measured = theirs.zip(ours).map(|(theirs, ours)| theirs / ours);
        let what = format!("{peer} to Parquet / our pipeline, CPU, {set}");
        targets.push(Target::at_least(what, gate, ambition, measured).digits(1));
    }
    for set in SETS {
        let apart = [Stage::ReadParquet, Stage::EncodeRows];
        let whole =
            measurements.backward.get(set).and_then(|back| back.ratio(Stage::ReadAndEncodeRows, &apart));
        let what = format!("reading Parquet and encoding rows apart / in one pass, {set}");
        targets.push(Target::at_least(what, 0.9, 1.0, whole.map(|ratio| 1.0 / ratio)));
    }
    let what = "restore of `iot` / the same with the MD5s of the md-5 crate";
    targets.push(Target::at_most(
        what,
        0.75,
        0.6,
        measurements.backward.get("iot").and_then(hashed_side_by_side),
    ));
    let restore = measurements.backward.get("iot").and_then(|measured| measured.milliseconds(Stage::Restore));
    let copy = forward("iot").and_then(|forward| forward.measured.milliseconds(Stage::Copy));
    let equivalent = restore.zip(copy).map(|(restore, copy)| restore * REFERENCE_COPY_MS / copy);
    let what = "restore of `iot`, MD5 included, in ms of a machine that copies its pages in 7.8 ms";
    targets.push(Target::at_most(what, 170.0, 80.0, equivalent).digits(0));
    for (figure, what, gate, ambition, at_most, digits) in FIGURES {
        let measured =
            measurements.figures.iter().find(|found| found.figure == figure).map(|found| found.value);
        targets.push(Target { what: what.to_owned(), gate, ambition, at_most, measured, digits });
    }
    targets
}

/// Up to where another program does what our pipeline does.
const PEER_STAGE: &str = "decode+columns+parquet";

/// Other programs, and how many times our CPU time they take for a data set.
const PEERS: [(&str, &str, f64, f64); 8] = [
    ("python-c-parser", "iot", 20.0, 35.0),
    ("python-c-parser", "wide", 9.0, 14.0),
    ("python-c-parser", "fat", 1.8, 2.2),
    ("python-c-parser", "sparse", 5.0, 12.0),
    ("aliyun-tablestore-rs", "iot", 4.0, 7.0),
    ("aliyun-tablestore-rs", "wide", 4.0, 6.0),
    ("aliyun-tablestore-rs", "fat", 1.8, 2.3),
    ("aliyun-tablestore-rs", "sparse", 1.8, 4.0),
];

/// Figures of runs end to end: name, what it is, gate, ambition, smaller is better, digits.
const FIGURES: [(&str, &str, f64, f64, bool, usize); 7] = [
    ("client-cpu-iot-ms-per-mb", "client CPU end to end, `iot`, plain HTTP, in ms per MB", 1.3, 1.0, true, 2),
    ("sandbox-cpu-share", "sandbox's CPU / the client's there", 0.25, 0.25, true, 2),
    (
        "backup-wall-20ms",
        "backup under 20 ms: pages x latency / ranges, of its wall time",
        0.9,
        0.97,
        false,
        2,
    ),
    ("backup-wall-50ms", "backup under 50 ms: the same", 0.9, 0.97, false, 2),
    (
        "restore-wall-20ms",
        "restore under 20 ms: rows x latency / (200 x in flight), of its wall time",
        0.9,
        0.97,
        false,
        2,
    ),
    ("peak-rss-10gbit-mib", "peak resident set in MiB, 32 ranges at 50 ms", 768.0, 512.0, true, 0),
    ("peak-rss-growth-10x", "peak resident set of a backup of 10 M `iot` rows / of 1 M", 1.05, 1.05, true, 2),
];

/// A restore, of what it would take if one body were hashed after the other.
fn hashed_side_by_side(measured: &Measured) -> Option<f64> {
    let [whole, hashes, of_crate] =
        [Stage::Restore, Stage::Md5, Stage::Md5Crate].map(|stage| measured.milliseconds(stage));
    Some(whole? / (whole? - hashes? + of_crate?))
}

/// What decoding takes more with checksums than without, of what it takes with them.
fn checksum_share(forward: Option<&Forward>) -> Option<f64> {
    Some(1.0 - forward?.measured.ratio(Stage::DecodeUnchecked, &[Stage::Decode])?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_measurement_meets_the_ambition_the_gate_or_nothing() {
        let verdict = |measured| Target::at_most("x", 4.0, 2.5, measured).verdict();
        assert_eq!(verdict(Some(2.5)), Verdict::Ambition);
        assert_eq!(verdict(Some(2.6)), Verdict::Gate);
        assert_eq!(verdict(Some(4.1)), Verdict::Missed);
        assert_eq!(verdict(None), Verdict::NotMeasured);
        assert_eq!(Target::at_least("x", 0.9, 0.97, Some(0.89)).verdict(), Verdict::Missed);
        assert_eq!(Target::at_least("x", 0.9, 0.97, Some(0.98)).verdict(), Verdict::Ambition);
    }

    #[test]
    fn what_was_not_measured_is_in_the_table_and_says_so() {
        let targets = targets(&Measurements::default());
        assert!(targets.len() > 30, "{}", targets.len());
        assert!(targets.iter().all(|target| target.verdict() == Verdict::NotMeasured));
    }

    #[test]
    fn a_peer_is_compared_at_the_stage_that_does_the_same() {
        let time = |stage: &str| PeerTime {
            peer: "aliyun-tablestore-rs".into(),
            set: "iot".into(),
            stage: stage.into(),
            cpu_ms: vec![3.0, 1.0, 2.0],
            parquet_bytes: None,
            note: String::new(),
            skipped: None,
        };
        assert_eq!(time("decode").milliseconds(), Some(2.0));
        let measurements = Measurements { peers: vec![time(PEER_STAGE)], ..Measurements::default() };
        // Without our own time there is no ratio.
        assert!(targets(&measurements).iter().all(|target| target.measured.is_none()));
    }
}
