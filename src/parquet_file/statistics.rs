//! Whether the statistics of a row group are true. Readers skip row groups by them, so a wrong one hides rows.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::statistics::Statistics;

use super::RowGroups;
use crate::{Error, Kind, Result};

/// Watches the batches of one row group and compares what it saw with what the footer says.
#[derive(Debug)]
pub struct StatisticsCheck<'a> {
    index: usize,
    group: &'a RowGroupMetaData,
    /// One per leaf column, in file order.
    seen: Vec<Seen>,
}

/// What a leaf column really holds.
#[derive(Debug, Default, Clone)]
struct Seen {
    nulls: u64,
    bounds: Option<Bounds>,
    /// NaN is in no bounds.
    has_nan: bool,
}

#[derive(Debug, Clone)]
enum Bounds {
    Integer(i64, i64),
    Double(f64, f64),
    Boolean(bool, bool),
    Bytes(Vec<u8>, Vec<u8>),
}

impl<'a> StatisticsCheck<'a> {
    /// For row group `index` of the file of this footer.
    ///
    /// # Errors
    /// `Internal` where it is not there.
    pub fn new(footer: &'a RowGroups, index: usize) -> Result<StatisticsCheck<'a>> {
        let group = footer.group(index)?;
        Ok(StatisticsCheck { index, group, seen: vec![Seen::default(); group.columns().len()] })
    }

    /// The next batch of the row group.
    pub fn batch(&mut self, batch: &RecordBatch) {
        let mut leaves = Vec::with_capacity(self.seen.len());
        batch.columns().iter().for_each(|column| collect_leaves(column, &mut leaves));
        for (seen, leaf) in self.seen.iter_mut().zip(leaves) {
            seen.array(&leaf);
        }
    }

    /// All batches have been seen.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] naming the column whose statistics are not true.
    pub fn end(self) -> Result<()> {
        for (column, seen) in self.group.columns().iter().zip(&self.seen) {
            let Some(statistics) = column.statistics() else { continue };
            // Of a nested column nulls are counted that no array shows.
            let is_flat = column.column_descr().max_rep_level() == 0;
            let wrong_nulls =
                is_flat && statistics.null_count_opt().is_some_and(|claimed| claimed != seen.nulls);
            if wrong_nulls || !seen.agrees_with(statistics) {
                return Err(Error::new(Kind::Corrupt, "read a data file").because(format!(
                    "the statistics of row group {}, column `{}` are not true",
                    self.index,
                    column.column_path()
                )));
            }
        }
        Ok(())
    }
}

/// The arrays of the leaf columns of `array`, in the order of the file.
fn collect_leaves(array: &ArrayRef, leaves: &mut Vec<ArrayRef>) {
    match array.data_type() {
        DataType::Map(..) => {
            let map = array.as_map();
            collect_leaves(map.keys(), leaves);
            collect_leaves(map.values(), leaves);
        }
        DataType::List(_) => collect_leaves(array.as_list::<i32>().values(), leaves),
        DataType::Struct(_) => {
            array.as_struct().columns().iter().for_each(|column| collect_leaves(column, leaves));
        }
        _ => leaves.push(array.clone()),
    }
}

impl Seen {
    fn array(&mut self, array: &ArrayRef) {
        self.nulls += array.null_count() as u64;
        match array.data_type() {
            DataType::Int64 => {
                let values = array.as_primitive::<Int64Type>();
                let bounds = arrow::compute::min(values).zip(arrow::compute::max(values));
                self.widen(bounds.map(|(min, max)| Bounds::Integer(min, max)));
            }
            DataType::Float64 => {
                let mut bounds: Option<(f64, f64)> = None;
                for value in array.as_primitive::<Float64Type>().iter().flatten() {
                    if value.is_nan() {
                        self.has_nan = true;
                    } else {
                        let (min, max) = bounds.unwrap_or((value, value));
                        bounds = Some((min.min(value), max.max(value)));
                    }
                }
                self.widen(bounds.map(|(min, max)| Bounds::Double(min, max)));
            }
            DataType::Boolean => {
                let values = array.as_boolean();
                let (trues, all) = (values.true_count(), values.len() - values.null_count());
                self.widen((all > 0).then_some(Bounds::Boolean(trues == all, trues > 0)));
            }
            DataType::Utf8 => self.bytes(array.as_string::<i32>().iter().flatten().map(str::as_bytes)),
            DataType::Binary => self.bytes(array.as_binary::<i32>().iter().flatten()),
            _ => {}
        }
    }

    fn bytes<'b>(&mut self, values: impl Iterator<Item = &'b [u8]>) {
        let bounds = values.fold(None, |bounds: Option<(&[u8], &[u8])>, value| {
            let (min, max) = bounds.unwrap_or((value, value));
            Some((min.min(value), max.max(value)))
        });
        self.widen(bounds.map(|(min, max)| Bounds::Bytes(min.to_vec(), max.to_vec())));
    }

    fn widen(&mut self, bounds: Option<Bounds>) {
        self.bounds = match (self.bounds.take(), bounds) {
            (Some(Bounds::Integer(a, b)), Some(Bounds::Integer(c, d))) => {
                Some(Bounds::Integer(a.min(c), b.max(d)))
            }
            (Some(Bounds::Double(a, b)), Some(Bounds::Double(c, d))) => {
                Some(Bounds::Double(a.min(c), b.max(d)))
            }
            (Some(Bounds::Boolean(a, b)), Some(Bounds::Boolean(c, d))) => Some(Bounds::Boolean(a & c, b | d)),
            (Some(Bounds::Bytes(a, b)), Some(Bounds::Bytes(c, d))) => Some(Bounds::Bytes(a.min(c), b.max(d))),
            (known, bounds) => bounds.or(known),
        };
    }

    /// Whether everything seen lies inside the claimed bounds, and reaches them where they claim to be exact.
    fn agrees_with(&self, claimed: &Statistics) -> bool {
        let exact = (claimed.min_is_exact(), claimed.max_is_exact());
        match (claimed, &self.bounds) {
            (Statistics::Int64(claimed), Some(Bounds::Integer(min, max))) => {
                agree(claimed.min_opt(), min, exact.0, i64::le)
                    && agree(claimed.max_opt(), max, exact.1, i64::ge)
            }
            (Statistics::Double(claimed), Some(Bounds::Double(min, max))) => {
                // 0.0 and -0.0 are one number here, as for every reader that compares with bounds. A bound of NaN
                // claims nothing.
                let known = |bound: &&f64| !bound.is_nan();
                agree(claimed.min_opt().filter(known), min, exact.0, f64::le)
                    && agree(claimed.max_opt().filter(known), max, exact.1, f64::ge)
            }
            (Statistics::Boolean(claimed), Some(Bounds::Boolean(min, max))) => {
                agree(claimed.min_opt(), min, exact.0, bool::le)
                    && agree(claimed.max_opt(), max, exact.1, bool::ge)
            }
            (Statistics::ByteArray(claimed), Some(Bounds::Bytes(min, max))) => {
                let (low, high) =
                    (claimed.min_opt().map(|min| min.data()), claimed.max_opt().map(|max| max.data()));
                agree(low, &min.as_slice(), exact.0, |a, b| *a <= *b)
                    && agree(high, &max.as_slice(), exact.1, |a, b| *a >= *b)
            }
            // Bounds of nothing, or of NaN alone.
            (claimed, None) => self.has_nan || claimed.min_bytes_opt().is_none(),
            _ => false,
        }
    }
}

/// `claimed` bounds `seen` on the side that `bounds` says, and is it where it is exact. No claim is no lie.
fn agree<T: PartialEq>(
    claimed: Option<impl std::borrow::Borrow<T>>,
    seen: &T,
    is_exact: bool,
    bounds: impl Fn(&T, &T) -> bool,
) -> bool {
    claimed.is_none_or(|claimed| {
        let claimed = claimed.borrow();
        if is_exact { claimed == seen } else { bounds(claimed, seen) }
    })
}
