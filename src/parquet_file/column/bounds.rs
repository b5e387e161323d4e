//! Smallest and largest value of a page and of a column chunk.
//!
//! Order: INTEGER and DOUBLE by value, a NaN is neither smallest nor largest, strings and binaries bytewise
//! (apache/parquet-format `parquet.thrift`, `ColumnOrder`). Long ones are cut, and say so.

use std::cmp::Ordering;

use parquet::data_type::ByteArray;
use parquet::file::statistics::{Statistics, ValueStatistics};

/// Bytes of a string or binary bound at most.
const LONGEST: usize = 64;

/// Words that are compared side by side: one by one, each comparison would wait for the one before.
const LANES: usize = 8;

/// The values of one physical type between two bounds.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Bounds {
    Integer(Option<(i64, i64)>),
    Double(Option<(f64, f64)>),
    Boolean(Option<(bool, bool)>),
    Bytes { bounds: Option<(Vec<u8>, Vec<u8>)>, is_text: bool },
}

/// Folds all `words` into `start` by `add`, in lanes that `join` brings together.
#[inline(always)]
fn side_by_side<T: Copy>(words: &[i64], start: T, add: impl Fn(T, i64) -> T, join: impl Fn(T, T) -> T) -> T {
    let mut lanes = [start; LANES];
    let (whole, rest) = words.as_chunks::<LANES>();
    for words in whole {
        for (lane, word) in lanes.iter_mut().zip(words) {
            *lane = add(*lane, *word);
        }
    }
    let joined = lanes.into_iter().fold(start, join);
    rest.iter().fold(joined, |bounds, word| add(bounds, *word))
}

impl Bounds {
    /// The same type without a value.
    pub(super) fn empty(&self) -> Bounds {
        match self {
            Bounds::Integer(_) => Bounds::Integer(None),
            Bounds::Double(_) => Bounds::Double(None),
            Bounds::Boolean(_) => Bounds::Boolean(None),
            Bounds::Bytes { is_text, .. } => Bounds::Bytes { bounds: None, is_text: *is_text },
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        match self {
            Bounds::Integer(bounds) => bounds.is_none(),
            Bounds::Double(bounds) => bounds.is_none(),
            Bounds::Boolean(bounds) => bounds.is_none(),
            Bounds::Bytes { bounds, .. } => bounds.is_none(),
        }
    }

    /// Takes eight-byte values in; a DOUBLE comes as its bits.
    pub(super) fn add_words(&mut self, words: &[i64]) {
        match self {
            Bounds::Integer(bounds) => {
                let start = bounds.unwrap_or((i64::MAX, i64::MIN));
                let within = |bounds: (i64, i64), word| (bounds.0.min(word), bounds.1.max(word));
                let (least, most) = side_by_side(words, start, within, |a, b| (a.0.min(b.0), a.1.max(b.1)));
                if !words.is_empty() {
                    *bounds = Some((least, most));
                }
            }
            Bounds::Double(bounds) => {
                let start = bounds.unwrap_or((f64::INFINITY, f64::NEG_INFINITY));
                // A comparison with a NaN is false.
                let lower = |a: f64, b: f64| if b < a { b } else { a };
                let higher = |a: f64, b: f64| if b > a { b } else { a };
                let within = |bounds: (f64, f64), word: i64| {
                    let value = f64::from_bits(word as u64);
                    (lower(bounds.0, value), higher(bounds.1, value))
                };
                let (least, most) =
                    side_by_side(words, start, within, |a, b| (lower(a.0, b.0), higher(a.1, b.1)));
                if least <= most {
                    *bounds = Some((least, most));
                }
            }
            Bounds::Boolean(_) | Bounds::Bytes { .. } => debug_assert!(false, "the column has words"),
        }
    }

    pub(super) fn add_boolean(&mut self, has_false: bool, has_true: bool) {
        if let (Bounds::Boolean(bounds), true) = (self, has_false | has_true) {
            let (least, most) = bounds.unwrap_or((true, false));
            *bounds = Some((least & !has_false, most | has_true));
        }
    }

    #[inline]
    pub(super) fn add_bytes(&mut self, bytes: &[u8]) {
        let Bounds::Bytes { bounds, .. } = self else { return };
        match bounds {
            Some((least, most)) => {
                let order = (compare(bytes, least), compare(bytes, most));
                if order.0 == Ordering::Less {
                    least.clear();
                    least.extend_from_slice(bytes);
                }
                if order.1 == Ordering::Greater {
                    most.clear();
                    most.extend_from_slice(bytes);
                }
            }
            None => *bounds = Some((bytes.to_vec(), bytes.to_vec())),
        }
    }

    /// Takes the values of another one in.
    pub(super) fn merge(&mut self, other: &Bounds) {
        match (&mut *self, other) {
            (Bounds::Integer(_), Bounds::Integer(Some((least, most)))) => self.add_words(&[*least, *most]),
            (Bounds::Double(_), Bounds::Double(Some((least, most)))) => {
                self.add_words(&[least.to_bits() as i64, most.to_bits() as i64]);
            }
            (Bounds::Boolean(_), Bounds::Boolean(Some((least, most)))) => self.add_boolean(!least, *most),
            (Bounds::Bytes { .. }, Bounds::Bytes { bounds: Some((least, most)), .. }) => {
                self.add_bytes(least);
                self.add_bytes(most);
            }
            _ => {}
        }
    }

    /// How both bounds compare with those of another page: `None` where one is higher and the other one lower.
    pub(super) fn order(&self, other: &Bounds) -> Option<Ordering> {
        let (least, most) = match (self, other) {
            (Bounds::Integer(Some(a)), Bounds::Integer(Some(b))) => (a.0.cmp(&b.0), a.1.cmp(&b.1)),
            (Bounds::Double(Some(a)), Bounds::Double(Some(b))) => {
                (a.0.partial_cmp(&b.0)?, a.1.partial_cmp(&b.1)?)
            }
            (Bounds::Boolean(Some(a)), Bounds::Boolean(Some(b))) => (a.0.cmp(&b.0), a.1.cmp(&b.1)),
            (Bounds::Bytes { bounds: Some(a), .. }, Bounds::Bytes { bounds: Some(b), .. }) => {
                (a.0.cmp(&b.0), a.1.cmp(&b.1))
            }
            _ => return None,
        };
        match (least, most) {
            (Ordering::Equal, order) | (order, Ordering::Equal) => Some(order),
            (least, most) => (least == most).then_some(least),
        }
    }

    /// Both bounds as the page index has them; `None` without a value.
    pub(super) fn encoded(&self) -> Option<(Vec<u8>, Vec<u8>)> {
        match self {
            Bounds::Integer(bounds) => {
                bounds.map(|(least, most)| (least.to_le_bytes().to_vec(), most.to_le_bytes().to_vec()))
            }
            Bounds::Double(bounds) => bounds
                .map(with_signed_zeros)
                .map(|(least, most)| (least.to_le_bytes().to_vec(), most.to_le_bytes().to_vec())),
            Bounds::Boolean(bounds) => bounds.map(|(least, most)| (vec![least.into()], vec![most.into()])),
            Bounds::Bytes { bounds, is_text } => bounds
                .as_ref()
                .map(|(least, most)| (cut_below(least, *is_text).0, cut_above(most, *is_text).0)),
        }
    }

    /// The statistics of a column chunk with so many nulls.
    pub(super) fn statistics(&self, nulls: u64) -> Statistics {
        // Signed types have their bounds in the fields that older readers know, too.
        match self {
            Bounds::Integer(bounds) => ValueStatistics::new(
                bounds.map(|bounds| bounds.0),
                bounds.map(|bounds| bounds.1),
                None,
                Some(nulls),
                false,
            )
            .with_backwards_compatible_min_max(true)
            .into(),
            Bounds::Double(bounds) => {
                let bounds = bounds.map(with_signed_zeros);
                let (least, most) = (bounds.map(|bounds| bounds.0), bounds.map(|bounds| bounds.1));
                ValueStatistics::new(least, most, None, Some(nulls), false)
                    .with_backwards_compatible_min_max(true)
                    .into()
            }
            Bounds::Boolean(bounds) => {
                let (least, most) = (bounds.map(|bounds| bounds.0), bounds.map(|bounds| bounds.1));
                ValueStatistics::new(least, most, None, Some(nulls), false).into()
            }
            Bounds::Bytes { bounds: None, .. } => {
                ValueStatistics::<ByteArray>::new(None, None, None, Some(nulls), false).into()
            }
            Bounds::Bytes { bounds: Some((least, most)), is_text } => {
                let (least, least_cut) = cut_below(least, *is_text);
                let (most, most_cut) = cut_above(most, *is_text);
                ValueStatistics::new(
                    Some(ByteArray::from(least)),
                    Some(ByteArray::from(most)),
                    None,
                    Some(nulls),
                    false,
                )
                .with_min_is_exact(!least_cut)
                .with_max_is_exact(!most_cut)
                .into()
            }
        }
    }
}

/// As `a.cmp(b)`, mostly without a call.
#[inline]
fn compare(a: &[u8], b: &[u8]) -> Ordering {
    match (a.first_chunk::<8>(), b.first_chunk::<8>()) {
        (Some(first), Some(other)) if first != other => {
            u64::from_be_bytes(*first).cmp(&u64::from_be_bytes(*other))
        }
        _ => a.cmp(b),
    }
}

/// Readers may not tell the zeros apart, so both are inside.
fn with_signed_zeros((least, most): (f64, f64)) -> (f64, f64) {
    (if least == 0.0 { -0.0 } else { least }, if most == 0.0 { 0.0 } else { most })
}

/// Where a value may be cut to be no longer than [`LONGEST`]: between characters of a text.
fn cut_at(value: &[u8], is_text: bool) -> usize {
    let is_between = |at: &usize| !is_text || value[*at] & 0xc0 != 0x80;
    (1..=LONGEST).rev().find(is_between).unwrap_or(LONGEST)
}

/// A value that is not above `value`, and whether it is another one.
fn cut_below(value: &[u8], is_text: bool) -> (Vec<u8>, bool) {
    match value.len() > LONGEST {
        true => (value[..cut_at(value, is_text)].to_vec(), true),
        false => (value.to_vec(), false),
    }
}

/// A value that is not below `value`, and whether it is another one.
fn cut_above(value: &[u8], is_text: bool) -> (Vec<u8>, bool) {
    if value.len() <= LONGEST {
        return (value.to_vec(), false);
    }
    let cut = &value[..cut_at(value, is_text)];
    match std::str::from_utf8(cut) {
        Ok(text) if is_text => {
            for (at, last) in text.char_indices().rev() {
                // Surrogates are no characters.
                let next =
                    if last == '\u{d7ff}' { Some('\u{e000}') } else { char::from_u32(last as u32 + 1) };
                if let Some(next) = next {
                    return (format!("{}{next}", &text[..at]).into_bytes(), true);
                }
            }
        }
        _ => {
            if let Some(at) = cut.iter().rposition(|byte| *byte < 0xff) {
                let mut above = cut[..=at].to_vec();
                above[at] += 1;
                return (above, true);
            }
        }
    }
    (value.to_vec(), false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(values: &[&[u8]], is_text: bool) -> Bounds {
        let mut bounds = Bounds::Bytes { bounds: None, is_text };
        values.iter().for_each(|value| bounds.add_bytes(value));
        bounds
    }

    #[test]
    fn a_nan_is_no_bound_and_both_zeros_are_inside() {
        let mut bounds = Bounds::Double(None);
        bounds.add_words(&[f64::NAN.to_bits() as i64]);
        assert!(bounds.is_empty());
        bounds.add_words(&[0.0_f64, f64::NAN].map(|value| value.to_bits() as i64));
        let zeros = [(-0.0_f64).to_le_bytes().to_vec(), 0.0_f64.to_le_bytes().to_vec()];
        assert_eq!(bounds.encoded(), Some(zeros.into()));
        bounds.add_words(&[f64::INFINITY, -1.5].map(|value| value.to_bits() as i64));
        assert_eq!(bounds, Bounds::Double(Some((-1.5, f64::INFINITY))));
    }

    #[test]
    fn long_bounds_are_cut_and_still_bounds() {
        let texts: Vec<Vec<u8>> = ["z", "\u{7f}", "\u{d7ff}", "\u{10ffff}", "grün", "日本"]
            .iter()
            .flat_map(|text| [text.repeat(70).into_bytes(), format!("a{}", text.repeat(70)).into_bytes()])
            .collect();
        for text in &texts {
            let (least, most) = bytes(&[text], true).encoded().unwrap();
            assert!(least <= *text && *text <= most, "{text:?}");
            assert!(std::str::from_utf8(&least).is_ok() && std::str::from_utf8(&most).is_ok());
            assert!(least.len() <= LONGEST && (most.len() <= LONGEST + 3 || text.starts_with(&[0xf4])));
        }
        for value in [vec![7; 65], vec![0xff; 65], [vec![1], vec![0xff; 90]].concat()] {
            let (least, most) = bytes(&[&value], false).encoded().unwrap();
            assert!(least <= value && value <= most);
        }
        let short = bytes(&[b"b", b"a", b"c"], true);
        assert_eq!(short.encoded(), Some((b"a".to_vec(), b"c".to_vec())));
    }

    #[test]
    fn pages_in_order_are_seen() {
        let page = |least: i64, most: i64| Bounds::Integer(Some((least, most)));
        assert_eq!(page(1, 5).order(&page(2, 5)), Some(Ordering::Less));
        assert_eq!(page(1, 5).order(&page(1, 5)), Some(Ordering::Equal));
        assert_eq!(page(1, 5).order(&page(0, 6)), None);
    }
}
