//! The values of the open page, encoded as they come or when the page ends.

use arrow::array::types::ByteArrayType;
use arrow::array::{Array, AsArray, BooleanBufferBuilder, GenericByteArray};
use arrow::datatypes::{BinaryType, DataType, Float64Type, Int64Type, Utf8Type};
use parquet::basic::{ConvertedType, Encoding as ParquetEncoding, Type};
use parquet::errors::{ParquetError, Result};
use parquet::schema::types::ColumnDescriptor;

use super::super::profile::EncodingProfile;
use super::bounds::Bounds;
use super::delta::DeltaPacker;
use super::dictionary::{Dictionary, Key};
use super::hybrid;
use super::room::{Progress, make_room};
use crate::columnar::Encoding;

/// What a column stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Stored {
    Integer,
    Double,
    Boolean,
    Text,
    Binary,
}

/// What a column of our files stores.
pub(in super::super) fn stored_as(descriptor: &ColumnDescriptor) -> Stored {
    match (descriptor.physical_type(), descriptor.converted_type()) {
        (Type::BOOLEAN, _) => Stored::Boolean,
        (Type::DOUBLE, _) => Stored::Double,
        (Type::BYTE_ARRAY, ConvertedType::UTF8) => Stored::Text,
        (Type::BYTE_ARRAY, _) => Stored::Binary,
        _ => Stored::Integer,
    }
}

impl Stored {
    pub(super) fn bounds(self) -> Bounds {
        match self {
            Stored::Integer => Bounds::Integer(None),
            Stored::Double => Bounds::Double(None),
            Stored::Boolean => Bounds::Boolean(None),
            Stored::Text => Bounds::Bytes { bounds: None, is_text: true },
            Stored::Binary => Bounds::Bytes { bounds: None, is_text: false },
        }
    }

    /// An empty page in `encoding`, with the dictionary that it needs. An encoding that the type cannot have is PLAIN:
    /// plans come from manifests.
    pub(super) fn values(self, encoding: Encoding) -> (Values, Option<Dictionary>) {
        use Stored::{Binary, Boolean, Double, Integer, Text};
        let values = match (encoding, self) {
            (Encoding::Rle, Boolean) => Values::Runs(BooleanBufferBuilder::new(0)),
            (_, Boolean) => Values::Bits(BooleanBufferBuilder::new(0)),
            (Encoding::Dictionary, Integer | Double) => {
                return (Values::Indices(Vec::new()), Some(Dictionary::of_words()));
            }
            (Encoding::Dictionary, Text | Binary) => {
                return (Values::Indices(Vec::new()), Some(Dictionary::of_bytes()));
            }
            (Encoding::DeltaBinaryPacked, Integer) => Values::Delta(DeltaPacker::default()),
            (Encoding::ByteStreamSplit, Integer | Double) => Values::Split(Vec::new()),
            (Encoding::DeltaLengthByteArray, Text | Binary) => {
                Values::DeltaLength { lengths: DeltaPacker::default(), bytes: Vec::new() }
            }
            (Encoding::DeltaByteArray, Text | Binary) => Values::DeltaBytes {
                prefixes: DeltaPacker::default(),
                suffixes: DeltaPacker::default(),
                bytes: Vec::new(),
                last: Vec::new(),
            },
            _ => Values::Plain(Vec::new()),
        };
        (values, None)
    }

    /// An empty page in the encoding of a dictionary column once its dictionary is full.
    pub(super) fn values_after_dictionary(self, profile: EncodingProfile) -> Values {
        self.values(profile.allowed(match self {
            Stored::Integer => Encoding::DeltaBinaryPacked,
            Stored::Double => Encoding::Plain,
            Stored::Boolean => Encoding::Rle,
            Stored::Text | Stored::Binary => Encoding::DeltaLengthByteArray,
        }))
        .0
    }
}

/// The values of one page; nulls are not among them.
#[derive(Debug)]
pub(super) enum Values {
    /// PLAIN, but booleans.
    Plain(Vec<u8>),
    /// PLAIN booleans.
    Bits(BooleanBufferBuilder),
    /// RLE booleans.
    Runs(BooleanBufferBuilder),
    /// DELTA_BINARY_PACKED.
    Delta(DeltaPacker),
    /// BYTE_STREAM_SPLIT.
    Split(Vec<i64>),
    /// RLE_DICTIONARY.
    Indices(Vec<u32>),
    /// DELTA_LENGTH_BYTE_ARRAY.
    DeltaLength { lengths: DeltaPacker, bytes: Vec<u8> },
    /// DELTA_BYTE_ARRAY.
    DeltaBytes { prefixes: DeltaPacker, suffixes: DeltaPacker, bytes: Vec<u8>, last: Vec<u8> },
}

/// The page that values are added to.
#[derive(Debug, Clone, Copy)]
pub(super) struct OpenPage {
    /// In the column chunk, from 1.
    pub(super) number: u32,
    pub(super) progress: Progress,
}

/// Rows that are added before somebody looks whether the dictionary is full.
const DICTIONARY_STEP: usize = 1_024;

impl Values {
    /// How many rows of `array` from `start`, `room` at most, should be added before somebody looks whether the page has
    /// `limit` bytes.
    pub(super) fn fitting(&self, array: &dyn Array, start: usize, room: usize, limit: usize) -> usize {
        let (room, left) = match self {
            Values::Indices(_) => (room.min(DICTIONARY_STEP), limit),
            _ => (room, limit.saturating_sub(self.size(None))),
        };
        let offsets = match array.data_type() {
            DataType::Utf8 => array.as_string::<i32>().value_offsets(),
            DataType::Binary => array.as_binary::<i32>().value_offsets(),
            _ => return room,
        };
        let offsets = &offsets[start..=start + room];
        let fits = |end: &i32| (end - offsets[0]) as usize <= left;
        // Mostly all do, and then the places in between need not be fetched.
        if offsets.last().is_some_and(fits) { room } else { (offsets.partition_point(fits) - 1).max(1) }
    }

    /// Adds the values of an array. A value that this page has for the first time is taken into `bounds`. `scratch` is memory.
    pub(super) fn extend(
        &mut self,
        array: &dyn Array,
        dictionary: Option<&mut Dictionary>,
        bounds: &mut Bounds,
        page: OpenPage,
        scratch: &mut Vec<i64>,
    ) -> Result<()> {
        let progress = page.progress;
        match array.data_type() {
            DataType::Int64 => {
                let values = array.as_primitive::<Int64Type>().values();
                self.extend_words(dense(array, values, scratch), dictionary, bounds, progress)
            }
            DataType::Float64 => {
                let values = array.as_primitive::<Float64Type>().values().inner().typed_data();
                self.extend_words(dense(array, values, scratch), dictionary, bounds, progress)
            }
            DataType::Boolean => self.extend_booleans(array, bounds),
            DataType::Utf8 => self.extend_bytes::<Utf8Type>(array.as_string(), dictionary, bounds, page),
            DataType::Binary => self.extend_bytes::<BinaryType>(array.as_binary(), dictionary, bounds, page),
            _ => Err(other_type()),
        }
    }

    fn extend_words(
        &mut self,
        words: &[i64],
        dictionary: Option<&mut Dictionary>,
        bounds: &mut Bounds,
        progress: Progress,
    ) -> Result<()> {
        bounds.add_words(words);
        match (self, dictionary) {
            (Values::Plain(out), _) => {
                let start = out.len();
                make_room(out, words.len() * 8, progress);
                out.resize(start + words.len() * 8, 0);
                for (bytes, word) in out[start..].as_chunks_mut().0.iter_mut().zip(words) {
                    *bytes = word.to_le_bytes();
                }
            }
            (Values::Split(out), _) => {
                make_room(out, words.len(), progress);
                out.extend_from_slice(words);
            }
            (Values::Delta(packer), _) => packer.extend(words),
            (Values::Indices(indices), Some(dictionary)) => {
                make_room(indices, words.len(), progress);
                indices.extend(words.iter().map(|word| dictionary.word(*word)));
            }
            _ => return Err(other_type()),
        }
        Ok(())
    }

    fn extend_booleans(&mut self, array: &dyn Array, bounds: &mut Bounds) -> Result<()> {
        let (Values::Bits(bits) | Values::Runs(bits)) = self else { return Err(other_type()) };
        let (values, start) = (array.as_boolean().values(), bits.len());
        match array.nulls() {
            None => bits.append_buffer(values),
            Some(nulls) => nulls.valid_indices().for_each(|row| bits.append(values.value(row))),
        }
        let set = match array.nulls() {
            None => values.count_set_bits(),
            Some(nulls) => (values & nulls.inner()).count_set_bits(),
        };
        bounds.add_boolean(bits.len() - start > set, set > 0);
        Ok(())
    }

    fn extend_bytes<T: ByteArrayType<Offset = i32>>(
        &mut self,
        array: &GenericByteArray<T>,
        dictionary: Option<&mut Dictionary>,
        bounds: &mut Bounds,
        page: OpenPage,
    ) -> Result<()> {
        let progress = page.progress;
        let offsets = array.value_offsets();
        let all_bytes = (offsets[array.len()] - offsets[0]) as usize;
        match (self, dictionary) {
            (Values::Plain(out), _) => {
                make_room(out, all_bytes + 4 * array.len(), progress);
                each_value(array, |value| {
                    bounds.add_bytes(value);
                    out.extend_from_slice(&(value.len() as u32).to_le_bytes());
                    out.extend_from_slice(value);
                });
            }
            (Values::Indices(indices), Some(dictionary)) => {
                make_room(indices, array.len() - array.null_count(), progress);
                let look_up = LookUp { dictionary, bounds, column_page: page.number, indices };
                match array.nulls() {
                    None => look_up.all(array, 0..array.len()),
                    Some(nulls) => look_up.all(array, nulls.valid_indices()),
                }
            }
            (Values::DeltaLength { lengths, bytes }, _) => {
                make_room(bytes, all_bytes, progress);
                each_value(array, |value| {
                    bounds.add_bytes(value);
                    lengths.push(value.len() as i64);
                    bytes.extend_from_slice(value);
                });
            }
            (Values::DeltaBytes { prefixes, suffixes, bytes, last }, _) => each_value(array, |value| {
                bounds.add_bytes(value);
                let prefix = last.iter().zip(value).take_while(|(last, byte)| last == byte).count();
                prefixes.push(prefix as i64);
                suffixes.push((value.len() - prefix) as i64);
                bytes.extend_from_slice(&value[prefix..]);
                last.truncate(prefix);
                last.extend_from_slice(&value[prefix..]);
            }),
            _ => return Err(other_type()),
        }
        Ok(())
    }

    /// Bytes that they take encoded, about.
    pub(super) fn size(&self, dictionary: Option<&Dictionary>) -> usize {
        match self {
            Values::Plain(bytes) => bytes.len(),
            Values::Bits(bits) | Values::Runs(bits) => bits.len() / 8,
            Values::Delta(packer) => packer.size(),
            Values::Split(words) => words.len() * 8,
            Values::Indices(indices) => {
                let width = dictionary.map_or(8, |dictionary| dictionary.index_width() as usize);
                indices.len() * width / 8
            }
            Values::DeltaLength { lengths, bytes } => lengths.size() + bytes.len(),
            Values::DeltaBytes { prefixes, suffixes, bytes, .. } => {
                prefixes.size() + suffixes.size() + bytes.len()
            }
        }
    }

    /// Puts the values into `out`, which is empty, and starts the next page.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>, dictionary: Option<&Dictionary>) -> ParquetEncoding {
        match self {
            Values::Plain(bytes) => {
                std::mem::swap(bytes, out);
                ParquetEncoding::PLAIN
            }
            Values::Bits(bits) => {
                out.extend_from_slice(bits.as_slice());
                bits.truncate(0);
                ParquetEncoding::PLAIN
            }
            Values::Runs(bits) => {
                out.extend_from_slice(&[0; 4]);
                hybrid::write_bits(out, bits.as_slice(), bits.len());
                let length = out.len() as u32 - 4;
                out[..4].copy_from_slice(&length.to_le_bytes());
                bits.truncate(0);
                ParquetEncoding::RLE
            }
            Values::Delta(packer) => {
                packer.finish(out);
                ParquetEncoding::DELTA_BINARY_PACKED
            }
            Values::Split(words) => {
                split_streams(words, out);
                words.clear();
                ParquetEncoding::BYTE_STREAM_SPLIT
            }
            Values::Indices(indices) => {
                let width = dictionary.map_or(32, Dictionary::index_width);
                out.push(width as u8);
                hybrid::write_values(out, indices, width);
                indices.clear();
                ParquetEncoding::RLE_DICTIONARY
            }
            Values::DeltaLength { lengths, bytes } => {
                lengths.finish(out);
                out.extend_from_slice(bytes);
                bytes.clear();
                ParquetEncoding::DELTA_LENGTH_BYTE_ARRAY
            }
            Values::DeltaBytes { prefixes, suffixes, bytes, last } => {
                prefixes.finish(out);
                suffixes.finish(out);
                out.extend_from_slice(bytes);
                bytes.clear();
                last.clear();
                ParquetEncoding::DELTA_BYTE_ARRAY
            }
        }
    }
}

#[cold]
fn other_type() -> ParquetError {
    ParquetError::General("the values are not of the column's type".to_owned())
}

/// The values that are not null; in `scratch` if there are nulls between them.
fn dense<'a>(array: &dyn Array, values: &'a [i64], scratch: &'a mut Vec<i64>) -> &'a [i64] {
    match array.nulls() {
        None => values,
        Some(nulls) => {
            scratch.clear();
            scratch.extend(nulls.valid_indices().map(|row| values[row]));
            scratch
        }
    }
}

fn each_value<T: ByteArrayType<Offset = i32>>(array: &GenericByteArray<T>, mut visit: impl FnMut(&[u8])) {
    let (offsets, data) = (array.value_offsets(), array.value_data());
    let mut visit = |row: usize| visit(&data[offsets[row] as usize..offsets[row + 1] as usize]);
    match array.nulls() {
        None => (0..array.len()).for_each(visit),
        Some(nulls) => nulls.valid_indices().for_each(&mut visit),
    }
}

/// Strings or binaries on their way into a dictionary.
struct LookUp<'a> {
    dictionary: &'a mut Dictionary,
    bounds: &'a mut Bounds,
    column_page: u32,
    indices: &'a mut Vec<u32>,
}

impl LookUp<'_> {
    /// Appends the indices of the values of `rows`. All of it is one loop: calls would cost as much as the look-ups.
    fn all<T: ByteArrayType<Offset = i32>>(
        self,
        array: &GenericByteArray<T>,
        rows: impl Iterator<Item = usize>,
    ) {
        let (offsets, data) = (array.value_offsets(), array.value_data());
        for row in rows {
            let (start, end) = (offsets[row] as usize, offsets[row + 1] as usize);
            let found = self.dictionary.bytes(Key::of(data, start, end), self.column_page);
            if found.is_new_in_page {
                self.bounds.add_bytes(&data[start..end]);
            }
            self.indices.push(found.index);
        }
    }
}

/// Words whose bytes change places together.
const SQUARE: usize = 8;

/// The first byte of every word, then the second one, and so on.
fn split_streams(words: &[i64], out: &mut Vec<u8>) {
    out.resize(words.len() * SQUARE, 0);
    let (squares, rest) = words.as_chunks::<SQUARE>();
    let mut streams = out.chunks_exact_mut(words.len().max(1));
    let mut streams: [&mut [u8]; SQUARE] = std::array::from_fn(|_| streams.next().unwrap_or_default());
    for (at, square) in squares.iter().enumerate() {
        for (stream, bytes) in streams.iter_mut().zip(transposed(square)) {
            stream[at * SQUARE..][..SQUARE].copy_from_slice(&bytes.to_le_bytes());
        }
    }
    for (at, word) in rest.iter().enumerate() {
        for (stream, byte) in streams.iter_mut().zip(word.to_le_bytes()) {
            stream[squares.len() * SQUARE + at] = byte;
        }
    }
}

/// Eight words as a square of bytes, mirrored: the lowest bytes of all in the first word, and so on.
#[inline(always)]
fn transposed(square: &[i64; SQUARE]) -> [u64; SQUARE] {
    let mut words = square.map(|word| word as u64);
    // Bytes, then pairs, then halves trade places across the diagonal of their squares of two by two.
    for (distance, mask) in
        [(1, 0x00ff_00ff_00ff_00ff), (2, 0x0000_ffff_0000_ffff), (4, 0x0000_0000_ffff_ffff)]
    {
        for row in (0..SQUARE).filter(|row| row & distance == 0) {
            let traded = (words[row] >> (8 * distance) ^ words[row + distance]) & mask;
            words[row] ^= traded << (8 * distance);
            words[row + distance] ^= traded;
        }
    }
    words
}
