//! The data that is measured.

/// A generated table of a size at which a stage takes milliseconds to seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataSet {
    /// What it is called in tables, on the command line and in files.
    pub name: &'static str,
    /// The generator's shape.
    pub shape: &'static str,
    /// Rows at scale 1.
    pub rows: u64,
    /// Versions of every cell; older ones are a second apart each.
    pub versions: u32,
}

/// Every data set, the most usual first.
pub const DATA_SETS: [DataSet; 7] = [
    DataSet { name: "iot", shape: "iot", rows: 200_000, versions: 1 },
    DataSet { name: "wide", shape: "wide", rows: 50_000, versions: 1 },
    DataSet { name: "fat", shape: "fat", rows: 60_000, versions: 1 },
    DataSet { name: "sparse", shape: "sparse", rows: 200_000, versions: 1 },
    DataSet { name: "mixed", shape: "mixed", rows: 50_000, versions: 1 },
    DataSet { name: "versions", shape: "iot", rows: 50_000, versions: 3 },
    DataSet { name: "cjk", shape: "cjk", rows: 100_000, versions: 1 },
];

impl DataSet {
    /// The set of that name.
    pub fn named(name: &str) -> Option<DataSet> {
        DATA_SETS.into_iter().find(|set| set.name == name)
    }

    /// The generator's specification of it, `scale` times as many rows.
    pub fn table(&self, scale: f64) -> String {
        let rows = ((self.rows as f64 * scale) as u64).max(1);
        format!("{}={}:rows={rows},seed=7", self.name, self.shape)
    }
}
