//! Where a key lies between two others by value: how a range is cut when nobody knows where its rows are.

use super::{KeyPart, KeyRange, PrimaryKey};

/// Bytes of a STRING or BINARY primary key value at most (service limit).
const LONGEST_VALUE: usize = 1_024;

impl KeyRange {
    /// A bound strictly inside, about halfway by value in the first primary key column in which `start` and `end` differ;
    /// the columns after it are `InfMin`. `None` when there is no such bound.
    ///
    /// Halfway by value is halfway by rows only where keys are spread evenly. A STRING bound is valid UTF-8.
    pub fn middle(&self) -> Option<PrimaryKey> {
        let (shared, low, high) = self.first_difference()?;
        let scale = Scale::between(low, high)?;
        let (from, to) = (scale.number(low), scale.number(high));
        let halfway = scale.part(from + (to.saturating_sub(from)) / 2);
        // Neighbours have nothing between them, but `high` itself, with `InfMin` after it, divides them.
        [halfway, high.clone()].into_iter().find_map(|part| {
            let fits = match &part {
                KeyPart::String(text) => text.len() <= LONGEST_VALUE,
                KeyPart::Binary(bytes) => bytes.len() <= LONGEST_VALUE,
                _ => true,
            };
            let mut key = PrimaryKey(self.start.parts().iter().take(shared).cloned().collect());
            key.0.push(part);
            let key = key.padded(self.start.parts().len());
            (key > self.start && key < self.end && fits).then_some(key)
        })
    }

    /// About which share of the range lies before `key`, by value: 0 at `start` or before, 1 at `end` or behind.
    pub fn share_before(&self, key: &PrimaryKey) -> f64 {
        if *key <= self.start {
            return 0.0;
        }
        if *key >= self.end {
            return 1.0;
        }
        let share = self.first_difference().and_then(|(shared, low, high)| {
            let scale = Scale::between(low, high)?;
            let (from, to) = (scale.number(low), scale.number(high));
            let at = scale.number(key.parts().get(shared)?).clamp(from, to);
            (to > from).then(|| (at - from) as f64 / (to - from) as f64)
        });
        share.unwrap_or(0.0)
    }

    /// The first column in which the bounds differ, and its two parts.
    fn first_difference(&self) -> Option<(usize, &KeyPart, &KeyPart)> {
        let mut columns = self.start.parts().iter().zip(self.end.parts()).enumerate();
        columns.find(|(_, (low, high))| low != high).map(|(column, (low, high))| (column, low, high))
    }
}

/// A monotone map between the values of one column and numbers.
enum Scale {
    Integer,
    /// What is left of strings after a shared prefix, as digits.
    Text {
        prefix: String,
        /// Digits are ASCII codes; otherwise Unicode scalar values.
        ascii: bool,
    },
    Bytes {
        prefix: Vec<u8>,
    },
}

/// Digits of a number, so many that it fits 2^127: 17 of 7 bits, 6 of 21 bits, 15 of 8 bits.
const ASCII: (u128, usize) = (0x80, 17);
const UNICODE: (u128, usize) = (0x11_0000 - 0x800, 6);
const BYTES: (u128, usize) = (0x100, 15);

/// Code points that are no Unicode scalar values start here, and there are this many.
const SURROGATES: (u32, u32) = (0xD800, 0x800);

impl Scale {
    /// A scale on which `low` and `high` differ, as far as its digits go; `None` between two infinities, whose column
    /// could have any type.
    fn between(low: &KeyPart, high: &KeyPart) -> Option<Scale> {
        let text = |part: &KeyPart| match part {
            KeyPart::String(text) => text.clone(),
            _ => String::new(),
        };
        let bytes = |part: &KeyPart| match part {
            KeyPart::Binary(bytes) => bytes.clone(),
            _ => Vec::new(),
        };
        match (low, high) {
            (KeyPart::Integer(_), _) | (_, KeyPart::Integer(_)) => Some(Scale::Integer),
            (KeyPart::String(_), _) | (_, KeyPart::String(_)) => {
                let (low, high) = (text(low), text(high));
                let shared = low.chars().zip(high.chars()).take_while(|(a, b)| a == b);
                let prefix: String = shared.map(|(c, _)| c).collect();
                Some(Scale::Text { prefix, ascii: low.is_ascii() && high.is_ascii() })
            }
            (KeyPart::Binary(_), _) | (_, KeyPart::Binary(_)) => {
                let (low, high) = (bytes(low), bytes(high));
                let shared = low.iter().zip(&high).take_while(|(a, b)| a == b).count();
                Some(Scale::Bytes { prefix: low.into_iter().take(shared).collect() })
            }
            _ => None,
        }
    }

    fn base_and_digits(&self) -> (u128, usize) {
        match self {
            Scale::Integer => (1 << 64, 1),
            Scale::Text { ascii: true, .. } => ASCII,
            Scale::Text { ascii: false, .. } => UNICODE,
            Scale::Bytes { .. } => BYTES,
        }
    }

    fn number(&self, part: &KeyPart) -> u128 {
        let (base, count) = self.base_and_digits();
        match (self, part) {
            (_, KeyPart::InfMin) => 0,
            (Scale::Integer, KeyPart::Integer(value)) => u128::from(value.abs_diff(i64::MIN)),
            (Scale::Text { prefix, ascii }, KeyPart::String(text)) => {
                match text.strip_prefix(prefix.as_str()) {
                    Some(rest) => {
                        let digits = rest
                            .chars()
                            .map(|c| if *ascii { u128::from(c as u32 & 0x7f) } else { scalar_digit(c) });
                        from_digits(digits, base, count)
                    }
                    None if text < prefix => 0,
                    None => base.pow(count as u32),
                }
            }
            (Scale::Bytes { prefix }, KeyPart::Binary(bytes)) => {
                match bytes.strip_prefix(prefix.as_slice()) {
                    Some(rest) => from_digits(rest.iter().map(|byte| u128::from(*byte)), base, count),
                    None if bytes < prefix => 0,
                    None => base.pow(count as u32),
                }
            }
            _ => base.pow(count as u32),
        }
    }

    fn part(&self, number: u128) -> KeyPart {
        let (base, count) = self.base_and_digits();
        match self {
            Scale::Integer => {
                let value = i128::from(i64::MIN) + i128::try_from(number).unwrap_or(i128::MAX >> 1);
                KeyPart::Integer(i64::try_from(value).unwrap_or(i64::MAX))
            }
            Scale::Text { prefix, ascii } => {
                let digit = |digit: u128| if *ascii { char::from(digit as u8 & 0x7f) } else { scalar(digit) };
                let rest = to_digits(number, base, count).into_iter().map(digit);
                KeyPart::String(prefix.chars().chain(rest).collect())
            }
            Scale::Bytes { prefix } => {
                let rest = to_digits(number, base, count).into_iter().map(|digit| digit as u8);
                KeyPart::Binary(prefix.iter().copied().chain(rest).collect())
            }
        }
    }
}

fn from_digits(digits: impl Iterator<Item = u128>, base: u128, count: usize) -> u128 {
    digits.chain(std::iter::repeat(0)).take(count).fold(0, |number, digit| number * base + digit)
}

/// Most significant first, without the zeros at the end.
fn to_digits(mut number: u128, base: u128, count: usize) -> Vec<u128> {
    let mut digits = vec![0; count];
    for digit in digits.iter_mut().rev() {
        *digit = number % base;
        number /= base;
    }
    while digits.last() == Some(&0) {
        digits.pop();
    }
    digits
}

fn scalar_digit(c: char) -> u128 {
    let code = c as u32;
    u128::from(if code >= SURROGATES.0 { code - SURROGATES.1 } else { code })
}

fn scalar(digit: u128) -> char {
    let code = u32::try_from(digit).unwrap_or(0);
    let code = if code >= SURROGATES.0 { code + SURROGATES.1 } else { code };
    char::from_u32(code).unwrap_or(char::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn int(value: i64) -> KeyPart {
        KeyPart::Integer(value)
    }

    fn text(value: &str) -> KeyPart {
        KeyPart::String(value.to_owned())
    }

    fn range(start: Vec<KeyPart>, end: Vec<KeyPart>) -> KeyRange {
        KeyRange { start: PrimaryKey(start), end: PrimaryKey(end) }
    }

    #[test]
    fn the_middle_is_halfway_in_the_first_column_that_differs() {
        let middle = |start, end| range(start, end).middle().map(|key| key.0);
        assert_eq!(middle(vec![int(10)], vec![int(20)]), Some(vec![int(15)]));
        assert_eq!(middle(vec![int(i64::MIN)], vec![int(i64::MAX)]), Some(vec![int(-1)]));
        assert_eq!(
            middle(vec![text("a"), int(10)], vec![text("a"), int(20)]),
            Some(vec![text("a"), int(15)])
        );
        assert_eq!(
            middle(vec![text("d-10"), int(5)], vec![text("d-14"), int(2)]),
            Some(vec![text("d-12"), KeyPart::InfMin])
        );
        // Neighbours are divided before the higher one; nothing divides a key from itself.
        assert_eq!(middle(vec![int(5), int(9)], vec![int(6), int(1)]), Some(vec![int(6), KeyPart::InfMin]));
        assert_eq!(middle(vec![int(5)], vec![int(6)]), None);
        assert_eq!(range(vec![KeyPart::InfMin], vec![KeyPart::InfMax]).middle(), None);
        assert_eq!(middle(vec![KeyPart::InfMin], vec![int(0)]), Some(vec![int(i64::MIN / 2)]));
        let binary = |bytes: &[u8]| KeyPart::Binary(bytes.to_vec());
        assert_eq!(middle(vec![binary(&[7, 0])], vec![binary(&[7, 200])]), Some(vec![binary(&[7, 100])]));
    }

    #[test]
    fn shares_grow_from_0_to_1() {
        let range = range(vec![text("key-000")], vec![text("key-999")]);
        let shares: Vec<_> = ["key-000", "key-250", "key-500", "key-750", "key-999"]
            .iter()
            .map(|key| range.share_before(&PrimaryKey(vec![text(key)])))
            .collect();
        assert_eq!((shares[0], shares[4]), (0.0, 1.0));
        assert!(shares.windows(2).all(|pair| pair[0] < pair[1]), "{shares:?}");
        assert!((0.4..0.6).contains(&shares[2]), "{shares:?}");
    }

    fn parts() -> impl Strategy<Value = Vec<KeyPart>> {
        let part =
            prop_oneof![any::<String>().prop_map(KeyPart::String), "[a-c]{0,4}".prop_map(KeyPart::String)];
        let edge = prop_oneof![8 => any::<i64>().prop_map(KeyPart::Integer), 1 => Just(KeyPart::InfMin), 1 => Just(KeyPart::InfMax)];
        let bytes = proptest::collection::vec(any::<u8>(), 0..20).prop_map(KeyPart::Binary);
        (part, edge, bytes).prop_map(|(a, b, c)| vec![a, b, c])
    }

    proptest! {
        /// Whatever the keys: a middle is strictly inside and a value that the service takes, so that cutting there
        /// tiles the range.
        #[test]
        fn a_middle_is_strictly_inside(a in parts(), b in parts()) {
            let (start, end) = if a < b { (a, b) } else { (b, a) };
            let mut range = range(start, end);
            for step in 0..200 {
                let Some(middle) = range.middle() else { break };
                prop_assert!(middle > range.start && middle < range.end, "{middle} in {range:?}");
                let share = range.share_before(&middle);
                prop_assert!((0.0..=1.0).contains(&share));
                if step % 2 == 0 { range.end = middle } else { range.start = middle }
            }
        }
    }
}
