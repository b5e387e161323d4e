//! A row as it stands after Stream records: what a scan saw of it, and what happened since.
//!
//! Why this is exact although the scan may have seen some of the records already: each record sets things (a whole row, a column, a cell
//! version) to what they were after it, so the last one that touches a thing decides, whatever was there before. The exception is a
//! delete of one version: which versions a column has left then can depend on versions that were trimmed, which neither a scan nor
//! the Stream shows. Such a row is [ambiguous](RowImage::is_ambiguous).

use smallvec::SmallVec;

use super::{Cell, CellOp, RecordType, Row, StreamRecord, Value};

/// The options of a table that decide what a record does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoldRules {
    /// Versions that the table keeps per column, at least 1.
    pub max_versions: usize,
}

/// One row, borrowed from what it was made of.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RowImage<'a> {
    exists: bool,
    /// The row was there before the first record: it may have versions that nobody saw.
    has_past: bool,
    /// By name ascending.
    columns: Vec<Column<'a>>,
    ambiguous: bool,
}

/// Most columns have one.
type Versions<'a> = SmallVec<[(i64, Value<'a>); 1]>;

#[derive(Debug, Clone, Default, PartialEq)]
struct Column<'a> {
    name: &'a str,
    /// Newest first, at most one per timestamp.
    versions: Versions<'a>,
    /// It may have versions that nobody saw.
    has_past: bool,
    /// A version was trimmed since it was last reset.
    trimmed: bool,
    /// The smallest timestamp that a record put here.
    oldest_put: Option<i64>,
}

impl<'a> RowImage<'a> {
    /// A row that is not there, as a scan found it or before anything happened to it.
    pub fn absent() -> RowImage<'a> {
        RowImage::default()
    }

    /// A row as a scan saw it: puts with timestamps, by name ascending and newest first.
    pub fn seen(row: &Row<'a>) -> RowImage<'a> {
        let mut image = RowImage::absent();
        image.see(row);
        image
    }

    /// Becomes [`RowImage::absent`], in the memory that it has.
    pub fn clear(&mut self) {
        self.columns.clear();
        (self.exists, self.has_past, self.ambiguous) = (false, false, false);
    }

    /// Becomes [`RowImage::seen`], in the memory that it has.
    pub fn see(&mut self, row: &Row<'a>) {
        self.clear();
        (self.exists, self.has_past) = (true, true);
        self.columns.reserve(row.cells.len());
        for cell in &row.cells {
            if let (Some(value), Some(timestamp)) = (cell.value, cell.timestamp) {
                put(&mut self.column(cell.name).versions, timestamp, value);
            }
        }
    }

    /// Applies the next record of this row, in the order of (rank, ordinal).
    pub fn apply(&mut self, record: &StreamRecord<'a>, rules: FoldRules) {
        match record.record_type {
            RecordType::Delete => self.clear(),
            RecordType::Put => {
                self.clear();
                self.exists = true;
            }
            // Deletes of cells alone make no row.
            RecordType::Update => self.exists |= record.row.cells.iter().any(|cell| cell.op.is_none()),
        }
        if !self.exists {
            return;
        }
        for cell in &record.row.cells {
            self.apply_cell(cell, rules.max_versions.max(1));
        }
    }

    fn apply_cell(&mut self, cell: &Cell<'a>, max_versions: usize) {
        match (cell.op, cell.value, cell.timestamp) {
            (None, Some(value), Some(timestamp)) => {
                let column = self.column(cell.name);
                column.oldest_put = Some(column.oldest_put.map_or(timestamp, |oldest| oldest.min(timestamp)));
                put(&mut column.versions, timestamp, value);
                column.trimmed |= column.versions.len() > max_versions;
                column.versions.truncate(max_versions);
            }
            (Some(CellOp::DeleteAllVersions), ..) => {
                let column = self.column(cell.name);
                *column = Column { name: cell.name, ..Column::default() };
            }
            (Some(CellOp::DeleteOneVersion), _, Some(timestamp)) => {
                let column = self.column(cell.name);
                let is_full = column.versions.len() >= max_versions;
                // The scan may have seen the column after an older version was trimmed because of this one.
                let hides_older = column.oldest_put.is_some_and(|oldest| oldest < timestamp);
                let is_ambiguous = column.trimmed || (column.has_past && (is_full || hides_older));
                column.versions.retain(|(at, _)| *at != timestamp);
                self.ambiguous |= is_ambiguous;
            }
            // Decoded records have no other cells.
            _ => {}
        }
    }

    fn column(&mut self, name: &'a str) -> &mut Column<'a> {
        // Cells come by name.
        let found = match self.columns.last() {
            Some(last) if last.name < name => Err(self.columns.len()),
            _ => self.columns.binary_search_by(|column| column.name.cmp(name)),
        };
        let at = match found {
            Ok(at) => at,
            Err(at) => {
                let has_past = self.has_past;
                self.columns.insert(at, Column { name, has_past, ..Column::default() });
                at
            }
        };
        &mut self.columns[at]
    }

    /// Whether there is a row.
    pub fn exists(&self) -> bool {
        self.exists
    }

    /// Whether versions that nobody saw may belong to the row. What is shown is right but for those.
    pub fn is_ambiguous(&self) -> bool {
        self.ambiguous
    }

    /// The cells, by name ascending and newest first, without those older than `horizon_ms`; `None` where there is no row.
    pub fn cells(&self, horizon_ms: i64) -> Option<Vec<Cell<'a>>> {
        let mut cells = Vec::new();
        self.exists.then(|| self.put_cells(horizon_ms, &mut cells))?;
        Some(cells)
    }

    /// Appends what [`RowImage::cells`] gives for a row that is there.
    pub fn put_cells(&self, horizon_ms: i64, cells: &mut Vec<Cell<'a>>) {
        cells.reserve(self.columns.len());
        for column in &self.columns {
            let alive = column.versions.iter().filter(|(at, _)| *at >= horizon_ms);
            cells.extend(alive.map(|(at, value)| Cell::put(column.name, *value, Some(*at))));
        }
    }
}

fn put<'a>(versions: &mut Versions<'a>, timestamp: i64, value: Value<'a>) {
    match versions.binary_search_by(|(at, _)| timestamp.cmp(at)) {
        Ok(at) => versions[at].1 = value,
        Err(at) => versions.insert(at, (timestamp, value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::SequenceInfo;

    const RULES: FoldRules = FoldRules { max_versions: 2 };

    fn record(record_type: RecordType, cells: Vec<Cell<'static>>) -> StreamRecord<'static> {
        let sequence = SequenceInfo { epoch: 0, timestamp_us: 0, row_index: 0 };
        StreamRecord { record_type, sequence, row: Row { cells, ..Row::default() } }
    }

    fn value(number: i64, timestamp: i64) -> Cell<'static> {
        Cell::put("a", Value::Integer(number), Some(timestamp))
    }

    fn delete(op: CellOp, timestamp: Option<i64>) -> Cell<'static> {
        Cell { name: "a", value: None, op: Some(op), timestamp }
    }

    fn shown(image: &RowImage<'_>) -> Option<Vec<i64>> {
        image.cells(i64::MIN).map(|cells| cells.iter().filter_map(|cell| cell.timestamp).collect())
    }

    #[test]
    fn puts_replace_updates_merge_and_deletes_remove() {
        let mut image = RowImage::absent();
        image.apply(&record(RecordType::Update, vec![delete(CellOp::DeleteAllVersions, None)]), RULES);
        assert_eq!(shown(&image), None, "deletes of cells make no row");
        image.apply(&record(RecordType::Update, vec![value(1, 10)]), RULES);
        image.apply(&record(RecordType::Update, vec![value(2, 30), value(3, 20)]), RULES);
        assert_eq!(shown(&image), Some(vec![30, 20]), "the oldest of three is trimmed");
        image.apply(&record(RecordType::Update, vec![delete(CellOp::DeleteAllVersions, None)]), RULES);
        assert_eq!(shown(&image), Some(vec![]), "a row without cells is a row");
        image.apply(&record(RecordType::Delete, vec![]), RULES);
        assert_eq!(shown(&image), None);
        image.apply(&record(RecordType::Put, vec![value(4, 5)]), RULES);
        assert_eq!(shown(&image), Some(vec![5]));
        assert_eq!(image.cells(6), Some(vec![]), "expired");
        assert!(!image.is_ambiguous());
    }

    #[test]
    fn a_delete_of_one_version_of_a_full_column_is_ambiguous_until_the_row_is_replaced() {
        let seen = Row { cells: vec![value(1, 30), value(1, 20)], ..Row::default() };
        let mut image = RowImage::seen(&seen);
        image.apply(&record(RecordType::Update, vec![delete(CellOp::DeleteOneVersion, Some(30))]), RULES);
        assert_eq!((shown(&image), image.is_ambiguous()), (Some(vec![20]), true));
        image.apply(&record(RecordType::Put, vec![value(1, 40)]), RULES);
        assert!(!image.is_ambiguous());
        image.apply(&record(RecordType::Update, vec![delete(CellOp::DeleteOneVersion, Some(40))]), RULES);
        assert_eq!(
            (shown(&image), image.is_ambiguous()),
            (Some(vec![]), false),
            "nothing older was ever there"
        );
    }

    type Versions = std::collections::BTreeMap<i64, i64>;

    /// What a service does that trims a column when it is written to; column to timestamp to value.
    #[derive(Clone, Default, PartialEq, Debug)]
    struct Service(Option<std::collections::BTreeMap<&'static str, Versions>>);

    impl Service {
        fn apply(&mut self, record: &StreamRecord<'static>) {
            let puts = record.row.cells.iter().any(|cell| cell.op.is_none());
            match record.record_type {
                RecordType::Delete => self.0 = None,
                RecordType::Put => self.0 = Some(Default::default()),
                RecordType::Update if self.0.is_none() && puts => self.0 = Some(Default::default()),
                RecordType::Update => {}
            }
            let Some(row) = &mut self.0 else { return };
            for cell in &record.row.cells {
                let versions = row.entry(cell.name).or_default();
                match (cell.op, cell.value, cell.timestamp) {
                    (None, Some(Value::Integer(value)), Some(timestamp)) => {
                        versions.insert(timestamp, value);
                        while versions.len() > RULES.max_versions {
                            versions.pop_first();
                        }
                    }
                    (Some(CellOp::DeleteAllVersions), ..) => versions.clear(),
                    (_, _, timestamp) => drop(versions.remove(&timestamp.unwrap())),
                }
            }
            row.retain(|_, versions| !versions.is_empty());
        }

        fn cells(&self) -> Option<Vec<Cell<'static>>> {
            let of_column = |(name, versions): (&&'static str, &Versions)| {
                let cells = versions
                    .iter()
                    .rev()
                    .map(|(at, value)| Cell::put(name, Value::Integer(*value), Some(*at)));
                cells.collect::<Vec<_>>()
            };
            self.0.as_ref().map(|row| row.iter().flat_map(of_column).collect())
        }
    }

    fn any_record(random: &mut impl rand::Rng, number: i64) -> StreamRecord<'static> {
        let record_type = match random.random_range(0..12) {
            0 | 1 => RecordType::Put,
            2 => RecordType::Delete,
            _ => RecordType::Update,
        };
        let mut cells = Vec::new();
        for name in ["a", "b"] {
            let timestamp = random.random_range(0..6);
            match (record_type, random.random_range(0..8)) {
                (RecordType::Delete, _) | (_, 0..=2) => {}
                (RecordType::Update, 3) => {
                    cells.push(Cell {
                        name,
                        value: None,
                        op: Some(CellOp::DeleteAllVersions),
                        timestamp: None,
                    });
                }
                (RecordType::Update, 4) => cells.push(Cell {
                    name,
                    value: None,
                    op: Some(CellOp::DeleteOneVersion),
                    timestamp: Some(timestamp),
                }),
                _ => cells.push(Cell::put(name, Value::Integer(number), Some(timestamp))),
            }
        }
        record(record_type, cells)
    }

    /// The lemma of exactness: a row as it was at any moment, and the records from any earlier moment on.
    #[test]
    fn whatever_a_scan_saw_replaying_from_before_it_gives_the_row_unless_it_is_ambiguous() {
        use rand::SeedableRng;
        let (mut replays, mut ambiguous) = (0u32, 0u32);
        for seed in 0..3_000 {
            let mut random = rand::rngs::StdRng::seed_from_u64(seed);
            let records: Vec<_> = (0..9).map(|number| any_record(&mut random, number)).collect();
            let mut states = vec![Service::default()];
            for record in &records {
                let mut next = states.last().cloned().unwrap_or_default();
                next.apply(record);
                states.push(next);
            }
            let end = states.last().and_then(Service::cells);
            for (seen_at, state) in states.iter().enumerate() {
                for from in 0..=seen_at {
                    let seen = state.cells().map(|cells| Row { cells, ..Row::default() });
                    let mut image = seen.as_ref().map_or_else(RowImage::absent, RowImage::seen);
                    records[from..].iter().for_each(|record| image.apply(record, RULES));
                    replays += 1;
                    if image.is_ambiguous() {
                        ambiguous += 1;
                        continue;
                    }
                    assert_eq!(
                        image.cells(i64::MIN),
                        end,
                        "seed {seed}, seen after {seen_at}, from {from}: {records:#?}"
                    );
                }
            }
        }
        println!("{ambiguous} of {replays} replays are ambiguous");
        assert!(ambiguous * 3 < replays, "the fold gives too much up: {ambiguous} of {replays}");
    }
}
