//! What a chunk holds, read back by the `parquet` crate.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray,
    new_null_array,
};
use bytes::Bytes;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::file::metadata::PageIndexPolicy;
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use proptest::prelude::*;

use crate::columnar::{ColumnPlan, Encoding, PlannedColumn, Role, arrow_schema};
use crate::model::{PrimaryKeyType, ValueType};
use crate::parquet_file::{EncodingProfile, FileEncoder, WriterSettings};

const ENCODINGS: [Encoding; 7] = [
    Encoding::Plain,
    Encoding::Dictionary,
    Encoding::Rle,
    Encoding::DeltaBinaryPacked,
    Encoding::DeltaLengthByteArray,
    Encoding::DeltaByteArray,
    Encoding::ByteStreamSplit,
];

fn plan(value_type: ValueType, encoding: Encoding) -> ColumnPlan {
    let column = |field_id, name: &str, role, encoding| PlannedColumn {
        field_id,
        name: name.to_owned(),
        role,
        encoding,
    };
    let key = Role::Key { column: "id".to_owned(), column_type: PrimaryKeyType::Integer };
    let value = Role::Attribute { attribute: "value".to_owned(), value_type };
    ColumnPlan::new(vec![
        column(1, "id", key, Encoding::DeltaBinaryPacked),
        column(2, "value", value, encoding),
        column(3, "_ts", Role::RowTimestamp, Encoding::DeltaBinaryPacked),
        column(4, "_overflow", Role::Overflow, Encoding::Plain),
    ])
    .unwrap()
}

fn batch(plan: &ColumnPlan, first_key: usize, values: ArrayRef) -> RecordBatch {
    let schema = arrow_schema(plan);
    let rows = values.len();
    let keys = Int64Array::from_iter_values((first_key..first_key + rows).map(|key| key as i64 * 3 - 50));
    let nulls = [2, 3].map(|column| new_null_array(schema.field(column).data_type(), rows));
    let [timestamps, overflow] = nulls;
    RecordBatch::try_new(schema, vec![Arc::new(keys), values, timestamps, overflow]).unwrap()
}

/// Writes arrays as batches of one column and checks that they come back, bit for bit, and lie inside the bounds that
/// the file says. Data pages of the column.
fn check(arrays: &[ArrayRef], value_type: ValueType, encoding: Encoding, settings: &WriterSettings) -> usize {
    let plan = plan(value_type, encoding);
    let mut file = FileEncoder::new(&plan, settings, vec![]).unwrap();
    let (mut first_key, mut bytes, mut batches) = (0, Vec::new(), Vec::new());
    for array in arrays {
        batches.push(batch(&plan, first_key, array.clone()));
        first_key += array.len();
        file.write(batches.last().unwrap()).unwrap();
        bytes.extend(file.take_bytes());
    }
    bytes.extend(file.finish(vec![]).unwrap().rest);
    let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Required);
    let reader =
        ParquetRecordBatchReaderBuilder::try_new_with_options(Bytes::from(bytes.concat()), options).unwrap();
    let metadata = reader.metadata().clone();
    let read: Vec<_> = reader.with_batch_size(1 << 20).build().unwrap().map(Result::unwrap).collect();
    let schema = arrow_schema(&plan);
    let as_one = |batches: &[RecordBatch], column: usize| {
        let arrays: Vec<_> = batches.iter().map(|batch| &**batch.column(column)).collect();
        arrow::compute::concat(&arrays).unwrap().to_data()
    };
    let mut pages = 0;
    if first_key > 0 {
        for column in 0..schema.fields().len() {
            assert_eq!(as_one(&read, column), as_one(&batches, column), "{value_type:?} {encoding:?}");
        }
        for group in 0..metadata.num_row_groups() {
            let index = &metadata.offset_index().unwrap()[group][1];
            pages += index.page_locations().len();
            if let ColumnIndexMetaData::INT64(bounds) = &metadata.column_index().unwrap()[group][0] {
                let least = bounds.min_values_iter().flatten().copied().collect::<Vec<_>>();
                let most = bounds.max_values_iter().flatten().copied().collect::<Vec<_>>();
                assert!(least.is_sorted() && most.is_sorted(), "the keys ascend");
                assert!(least.iter().zip(&most).all(|(least, most)| least <= most));
            }
        }
    }
    pages
}

/// Pages and dictionaries so small that every array has several.
fn small(page_rows: usize) -> WriterSettings {
    WriterSettings {
        data_page_rows: page_rows,
        data_page_bytes: 600,
        dictionary_page_bytes: 200,
        row_group_rows: 300,
        ..WriterSettings::default()
    }
}

/// Every encoding, and those of old readers.
fn each_way(page_rows: usize) -> impl Iterator<Item = (Encoding, WriterSettings)> {
    let compatible = WriterSettings { profile: EncodingProfile::Compatible, ..small(page_rows) };
    let old = [Encoding::Plain, Encoding::Dictionary].map(|encoding| (encoding, compatible.clone()));
    ENCODINGS.map(|encoding| (encoding, small(page_rows))).into_iter().chain(old)
}

fn options<T: Clone + std::fmt::Debug + 'static>(
    value: impl Strategy<Value = T> + Clone + 'static,
) -> impl Strategy<Value = Vec<Vec<Option<T>>>> {
    let array = prop_oneof![
        prop::collection::vec(value.clone().prop_map(Some), 0..400),
        prop::collection::vec(prop::option::weighted(0.7, value.clone()), 0..400),
        prop::collection::vec(prop::option::weighted(0.02, value), 0..400),
    ];
    prop::collection::vec(array, 1..4)
}

fn arrays<T: Clone, A: Array + From<Vec<Option<T>>> + 'static>(values: &[Vec<Option<T>>]) -> Vec<ArrayRef> {
    values.iter().map(|values| Arc::new(A::from(values.clone())) as ArrayRef).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn integers_come_back(values in options(prop_oneof![0..9_i64, any::<i64>()]), page_rows in 1..200_usize) {
        for (encoding, settings) in each_way(page_rows) {
            check(&arrays::<_, Int64Array>(&values), ValueType::Integer, encoding, &settings);
        }
    }

    #[test]
    fn doubles_come_back(values in options(any::<u64>().prop_map(f64::from_bits)), page_rows in 1..200_usize) {
        for (encoding, settings) in each_way(page_rows) {
            check(&arrays::<_, Float64Array>(&values), ValueType::Double, encoding, &settings);
        }
    }

    #[test]
    fn booleans_come_back(values in options(prop::bool::weighted(0.05)), page_rows in 1..200_usize) {
        for (encoding, settings) in each_way(page_rows) {
            check(&arrays::<_, BooleanArray>(&values), ValueType::Boolean, encoding, &settings);
        }
    }

    #[test]
    fn strings_come_back(values in options(prop_oneof!["[a-c]{0,2}", ".{0,90}"]), page_rows in 1..200_usize) {
        for (encoding, settings) in each_way(page_rows) {
            check(&arrays::<_, StringArray>(&values), ValueType::String, encoding, &settings);
        }
    }

    #[test]
    fn binaries_come_back(
        values in options(prop::collection::vec(prop_oneof![Just(0xff_u8), any::<u8>()], 0..90)),
        page_rows in 1..200_usize,
    ) {
        let array = |values: &Vec<Option<Vec<u8>>>| {
            Arc::new(values.iter().map(Option::as_deref).collect::<BinaryArray>()) as ArrayRef
        };
        for (encoding, settings) in each_way(page_rows) {
            let arrays: Vec<_> = values.iter().map(array).collect();
            check(&arrays, ValueType::Binary, encoding, &settings);
        }
    }
}

#[test]
fn a_batch_of_another_plan_is_refused() {
    let (numbers, texts) =
        (plan(ValueType::Integer, Encoding::Plain), plan(ValueType::String, Encoding::Plain));
    let mut file = FileEncoder::new(&numbers, &WriterSettings::default(), vec![]).unwrap();
    let text = batch(&texts, 0, Arc::new(StringArray::from_iter_values(["a"])));
    assert_eq!(file.write(&text).unwrap_err().kind(), crate::Kind::Internal);
    assert_eq!(file.finish(vec![]).unwrap().rows, 0);
}

#[test]
fn pages_end_at_their_limits_and_a_full_dictionary_is_left() {
    let settings = WriterSettings { data_page_rows: 1_000, ..WriterSettings::default() };
    let numbers = Arc::new(Int64Array::from_iter_values((0..10_000).map(|n| n * n))) as ArrayRef;
    for encoding in ENCODINGS {
        assert_eq!(
            check(std::slice::from_ref(&numbers), ValueType::Integer, encoding, &settings),
            10,
            "{encoding:?}"
        );
    }
    let text = "x".repeat(100_000);
    let texts = Arc::new(StringArray::from_iter_values((0..100).map(|n| format!("{n}{text}")))) as ArrayRef;
    for encoding in [Encoding::Plain, Encoding::DeltaLengthByteArray, Encoding::Dictionary] {
        let pages =
            check(std::slice::from_ref(&texts), ValueType::String, encoding, &WriterSettings::default());
        assert!((9..13).contains(&pages), "{encoding:?}: {pages} pages");
    }
}
