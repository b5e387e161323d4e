//! Documents: 1 KB of JSON and 1 KB of text per row, out of 1,024 words of which some are frequent.

use std::fmt::Write as _;
use std::sync::LazyLock;

use super::draft::{Columns, Draft};
use super::{FIRST_TIMESTAMP, Random, hash, names};
use crate::model::PrimaryKeyType;

/// Bytes after which a value ends with the word that reached them.
const SIZE: usize = 1_005;

const WORDS: usize = 1_024;

const SYLLABLES: [&str; 16] =
    ["ba", "cor", "den", "el", "fi", "gra", "hu", "in", "ka", "lo", "mer", "no", "pol", "ri", "sta", "ve"];

const KEY: [(&str, PrimaryKeyType); 1] = [("id", PrimaryKeyType::String)];

pub(super) static COLUMNS: LazyLock<Columns> =
    LazyLock::new(|| Columns::new(&KEY, names(["document", "number", "text"])));

/// Two to four syllables each, the same on every machine.
static VOCABULARY: LazyLock<Vec<String>> = LazyLock::new(|| {
    let mut random = Random(WORDS as u64);
    let syllable = |random: &mut Random| SYLLABLES[random.below(SYLLABLES.len() as u64) as usize];
    let mut word = |_| (0..2 + random.below(3)).map(|_| syllable(&mut random)).collect();
    (0..WORDS).map(&mut word).collect()
});

pub(super) fn fill(seed: u64, index: u64, draft: &mut Draft) {
    let mut random = Random(hash(seed, index));
    draft.timestamp = FIRST_TIMESTAMP + (index * 40) as i64 + random.below(40) as i64;
    let vocabulary = VOCABULARY.as_slice();
    let text = &mut draft.text;
    let _ = write!(text, "{{\"id\":{index},\"customer\":\"{:08x}\",\"lines\":[", random.below(1 << 32));
    while text.len() < SIZE {
        let _ = write!(text, "{{\"sku\":\"{:06}\",\"quantity\":", random.below(1_000_000));
        let _ = write!(text, "{},\"name\":\"", 1 + random.below(9));
        add_words(text, vocabulary, &mut random, 3);
        text.push_str("\"},");
    }
    text.pop();
    text.push_str("]}");
    let document_end = text.len();
    draft.text(0, 0);
    draft.integer(1, random.below(1 << 20) as i64);
    while draft.text.len() < document_end + SIZE {
        add_words(&mut draft.text, vocabulary, &mut random, 3);
    }
    draft.text(2, document_end);
}

/// Words, each with a space behind it; three fit one random number.
fn add_words(text: &mut String, vocabulary: &[String], random: &mut Random, count: u32) {
    let mut bits = random.next();
    for _ in 0..count {
        // The product of two numbers prefers small ones.
        let place = ((bits & 1_023) * (bits >> 10 & 1_023)) >> 10;
        bits >>= 20;
        text.push_str(&vocabulary[place as usize]);
        text.push(' ');
    }
}
