//! Parquet files: written, read back, damaged.

use std::sync::Arc;

use arrow::array::RecordBatch;
use bytes::Bytes;
use otsvault::columnar::{BatchBuilder, ColumnPlan, Encoding, RowsReader, Sample, Totals};
use otsvault::model::{
    Cell, PrimaryKeyColumn, PrimaryKeyType, PrimaryKeyValue, Row, RowHasher, RowSum, Value,
};
use otsvault::parquet_file::{
    EncodedFile, EncodingProfile, FileEncoder, FileReader, ReadLimits, WriterSettings, choose_encodings,
};
use otsvault::{Kind, Result};
use parquet::basic::{Encoding as ParquetEncoding, PageType};
use parquet::file::metadata::ParquetMetaDataReader;
use sha2::{Digest, Sha256};

fn key_columns() -> Vec<PrimaryKeyColumn> {
    [("device", PrimaryKeyType::String), ("at", PrimaryKeyType::Integer)]
        .map(|(name, column_type)| PrimaryKeyColumn { name: name.into(), column_type, auto_increment: false })
        .to_vec()
}

/// Calls `with` for rows like those of sensors, in primary key order; every tenth has something for `_overflow`.
fn each_row(count: i64, mut with: impl FnMut(&Row<'_>)) {
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    for n in 0..count {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let device = format!("d-{:05}", n / 200);
        let message = format!("message {random:x}");
        let raw = random.to_le_bytes();
        let written = 1_700_000_000_000 + n * 5_000;
        let mut row = Row {
            key: vec![
                ("device", PrimaryKeyValue::String(&device)),
                ("at", PrimaryKeyValue::Integer(n * 5_000)),
            ],
            ..Row::default()
        };
        let mut put = |name, value| row.cells.push(Cell::put(name, value, Some(written)));
        put("count", Value::Integer(n * 3));
        put("noise", Value::Double((random >> 11) as f64 / (1u64 << 53) as f64));
        put("on", Value::Boolean(random & 1 == 0));
        put("raw", Value::Binary(&raw));
        put("status", Value::String(["ok", "warm", "hot"][(random % 3) as usize]));
        put("temp", Value::Double((20 + random % 9) as f64 + 0.25));
        if n % 4 == 0 {
            put("text", Value::String(&message));
        }
        if n % 10 == 0 {
            row.cells.push(Cell::put("zz", Value::Integer(n), Some(written)));
            row.cells.push(Cell::put("zz", Value::String(""), Some(written - 1)));
            row.cells.push(Cell::put("zz", Value::Double(f64::NAN), None));
        }
        with(&row);
    }
}

fn plan(count: i64) -> ColumnPlan {
    let mut sample = Sample::default();
    each_row(count, |row| sample.observe(row));
    sample.plan(&key_columns(), &[]).unwrap()
}

fn batches(count: i64, plan: &ColumnPlan) -> (Vec<RecordBatch>, Totals) {
    let mut builder = BatchBuilder::new(Arc::new(plan.clone()));
    let mut batches = Vec::new();
    let mut totals = Totals::default();
    let mut finish = |builder: &mut BatchBuilder| {
        let batch = builder.finish().unwrap();
        totals += batch.totals;
        batches.push(batch.record_batch);
    };
    each_row(count, |row| {
        builder.append(row).unwrap();
        if builder.rows() == 1_000 {
            finish(&mut builder);
        }
    });
    finish(&mut builder);
    (batches, totals)
}

fn encode(
    batches: &[RecordBatch],
    plan: &ColumnPlan,
    settings: &WriterSettings,
) -> (Bytes, EncodedFile, usize) {
    let mut encoder = FileEncoder::new(plan, settings, vec![("table".into(), "sensors".into())]).unwrap();
    let mut bytes = Vec::new();
    let mut early = 0;
    for batch in batches {
        encoder.write(batch).unwrap();
        let chunks = encoder.take_bytes();
        early += chunks.len();
        chunks.iter().for_each(|chunk| bytes.extend_from_slice(chunk));
    }
    let file = encoder.finish(vec![("rows".into(), "all".into())]).unwrap();
    file.rest.iter().for_each(|chunk| bytes.extend_from_slice(chunk));
    (bytes.into(), file, early)
}

fn row_sum_of(bytes: Bytes, plan: &ColumnPlan, limits: &ReadLimits) -> Result<RowSum> {
    let reader = FileReader::open(bytes, plan, limits)?;
    let mut hasher = RowHasher::default();
    let mut sum = RowSum::default();
    for batch in reader.batches()? {
        let batch = batch?;
        let mut rows = RowsReader::new(&batch, plan)?;
        let mut row = Row::default();
        while rows.read(&mut row)? {
            sum += hasher.row(&row);
        }
    }
    Ok(sum)
}

#[test]
fn a_file_given_away_in_pieces_reads_back_as_the_same_rows() {
    let plan = plan(5_000);
    let (batches, totals) = batches(5_000, &plan);
    let settings = WriterSettings { row_group_rows: 1_500, ..WriterSettings::default() };
    let (bytes, file, early) = encode(&batches, &plan, &settings);
    assert!(early > 0, "row groups are handed on before the end");
    assert_eq!((file.rows, file.row_groups, file.bytes), (5_000, 4, bytes.len() as u64));
    assert_eq!(file.sha256, <[u8; 32]>::from(Sha256::digest(&bytes)));
    assert_eq!(file.crc64, crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Xz, &bytes));

    let reader = FileReader::open(bytes.clone(), &plan, &ReadLimits::default()).unwrap();
    assert_eq!(reader.rows(), 5_000);
    assert_eq!(reader.row_groups().collect::<Vec<_>>(), [1_500, 1_500, 1_500, 500]);
    assert_eq!(reader.key_value("table"), Some("sensors"));
    assert_eq!(reader.key_value("rows"), Some("all"));
    assert_eq!(reader.key_value("ARROW:schema"), None);
    let last: usize = reader.row_group_batches(vec![3]).unwrap().map(|batch| batch.unwrap().num_rows()).sum();
    assert_eq!(last, 500);
    assert!(reader.row_group_batches(vec![4]).is_err());
    assert_eq!(row_sum_of(bytes, &plan, &ReadLimits::default()).unwrap(), totals.row_sum);
}

#[test]
fn a_row_group_ends_at_its_byte_limit() {
    let plan = plan(5_000);
    let (batches, _) = batches(5_000, &plan);
    let settings = WriterSettings { row_group_bytes: 32 << 10, ..WriterSettings::default() };
    let (_, file, _) = encode(&batches, &plan, &settings);
    assert!(file.row_groups > 3, "{} row groups", file.row_groups);
}

#[test]
fn an_empty_file_is_a_file() {
    let plan = plan(10);
    let (bytes, file, _) = encode(&[], &plan, &WriterSettings::default());
    assert_eq!((file.rows, file.row_groups), (0, 0));
    assert_eq!(row_sum_of(bytes, &plan, &ReadLimits::default()).unwrap(), RowSum::default());
}

#[test]
fn trials_choose_the_encodings_that_measured_best() {
    let plan = plan(20_000);
    let (batches, _) = batches(20_000, &plan);
    let chosen = choose_encodings(&batches, &plan, &WriterSettings::default()).unwrap();
    let encoding = |name: &str| chosen.columns().iter().find(|column| column.name == name).unwrap().encoding;
    assert_eq!(encoding("device"), Encoding::Dictionary, "200 rows per device");
    assert_eq!(encoding("at"), Encoding::DeltaBinaryPacked);
    assert_eq!(encoding("count"), Encoding::DeltaBinaryPacked);
    assert_eq!(encoding("noise"), Encoding::ByteStreamSplit);
    assert_eq!(encoding("temp"), Encoding::Dictionary);
    assert_eq!(encoding("status"), Encoding::Dictionary);
    assert_ne!(encoding("text"), Encoding::Dictionary);
    let size = |plan| encode(&batches, plan, &WriterSettings::default()).0.len();
    assert!(size(&chosen) <= size(&plan));
}

#[test]
fn each_profile_keeps_the_rows_and_what_it_promises() {
    let plan = plan(20_000);
    let (batches, totals) = batches(20_000, &plan);
    let sizes = ["fast", "balanced", "smallest", "compatible"].map(|name| {
        let profile: EncodingProfile = name.parse().unwrap();
        assert_eq!(profile.to_string(), name);
        let settings =
            WriterSettings { profile, zstd_level: profile.zstd_level(), ..WriterSettings::default() };
        let plan = choose_encodings(&batches, &plan, &settings).unwrap();
        let (bytes, ..) = encode(&batches, &plan, &settings);
        assert_eq!(
            row_sum_of(bytes.clone(), &plan, &ReadLimits::default()).unwrap(),
            totals.row_sum,
            "{name}"
        );
        let metadata = ParquetMetaDataReader::new().parse_and_finish(&bytes).unwrap();
        let columns = metadata.row_group(0).columns();
        let is_old = columns.iter().all(|column| {
            let known = [ParquetEncoding::PLAIN, ParquetEncoding::RLE, ParquetEncoding::RLE_DICTIONARY];
            let pages = column.page_encoding_stats().into_iter().flatten();
            column.encodings().all(|encoding| known.contains(&encoding))
                && pages.into_iter().all(|stats| stats.page_type != PageType::DATA_PAGE_V2)
        });
        assert_eq!(is_old, name == "compatible");
        bytes.len()
    });
    let [fast, balanced, smallest, compatible] = sizes;
    assert!(smallest <= balanced && balanced <= fast && balanced <= compatible, "{sizes:?}");
    assert!("quick".parse::<EncodingProfile>().unwrap_err().contains("fast, balanced, smallest, compatible"));
}

#[test]
fn the_encoding_of_a_column_follows_values_that_drift() {
    const FEW: i64 = 30_000;
    let key_column =
        PrimaryKeyColumn { name: "id".into(), column_type: PrimaryKeyType::Integer, auto_increment: false };
    let text = |id: i64| match id < FEW {
        true => format!("one of {} texts", id % 5),
        false => format!("{:016x}", (id as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
    };
    let each_row = |visit: &mut dyn FnMut(&Row<'_>)| {
        for id in 0..3 * FEW {
            let text = text(id);
            let key = vec![("id", PrimaryKeyValue::Integer(id))];
            let cells = vec![Cell::put("text", Value::String(&text), Some(1))];
            visit(&Row { key, cells, ..Row::default() });
        }
    };
    let mut sample = Sample::default();
    each_row(&mut |row| sample.observe(row));
    let plan = sample.plan(&[key_column], &[]).unwrap();
    let plan = plan.with_encodings(|_, column| match column.name.as_str() {
        "text" => Encoding::Dictionary,
        _ => column.encoding,
    });
    let (mut builder, mut batches, mut totals) =
        (BatchBuilder::new(Arc::new(plan.clone())), vec![], Totals::default());
    each_row(&mut |row| {
        builder.append(row).unwrap();
        if builder.rows() == 1_500 {
            let batch = builder.finish().unwrap();
            totals += batch.totals;
            batches.push(batch.record_batch);
        }
    });
    let settings = WriterSettings { row_group_rows: 2_048, ..WriterSettings::default() };
    let (bytes, ..) = encode(&batches, &plan, &settings);
    assert_eq!(row_sum_of(bytes.clone(), &plan, &ReadLimits::default()).unwrap(), totals.row_sum);
    let metadata = ParquetMetaDataReader::new().parse_and_finish(&bytes).unwrap();
    let has_dictionary = |group: usize| {
        let mut encodings = metadata.row_group(group).column(1).encodings();
        encodings.any(|encoding| encoding == ParquetEncoding::RLE_DICTIONARY)
    };
    let last = metadata.num_row_groups() - 1;
    assert!(has_dictionary(0) && has_dictionary(FEW as usize / 2_048 + 1), "not yet");
    assert!(!has_dictionary(last), "{last} row groups");
}

#[test]
fn the_footer_says_how_rows_are_sorted_and_columns_encoded() {
    let plan = plan(2_000);
    let (batches, _) = batches(2_000, &plan);
    let (bytes, _, _) = encode(&batches, &plan, &WriterSettings::default());
    let metadata = ParquetMetaDataReader::new().parse_and_finish(&bytes).unwrap();
    let created_by = metadata.file_metadata().created_by().unwrap();
    // As parquet-java takes it apart: what it cannot read it distrusts, and refuses DELTA_BYTE_ARRAY.
    assert_eq!(created_by, format!("otsvault version {}", env!("CARGO_PKG_VERSION")));
    let group = metadata.row_group(0);
    let sorted: Vec<i32> = group.sorting_columns().unwrap().iter().map(|column| column.column_idx).collect();
    assert_eq!(sorted, [0, 1]);
    let column =
        |name: &str| group.columns().iter().find(|column| column.column_path().string() == name).unwrap();
    let has = |name, encoding| column(name).encodings().any(|used| used == encoding);
    assert!(has("at", ParquetEncoding::DELTA_BINARY_PACKED) && !has("at", ParquetEncoding::RLE_DICTIONARY));
    assert!(has("_ts", ParquetEncoding::DELTA_BINARY_PACKED));
    assert!(has("status", ParquetEncoding::RLE_DICTIONARY));
    assert!(has("_overflow.key_value.value.list.element.ts", ParquetEncoding::DELTA_BINARY_PACKED));
    assert!(column("at").column_index_offset().is_some(), "page statistics");
    let root = metadata.file_metadata().schema_descr().root_schema();
    assert!(root.get_fields().iter().all(|field| field.get_basic_info().has_id()));
}

#[test]
fn a_file_of_another_plan_is_refused() {
    let plan = plan(100);
    let (batches, _) = batches(100, &plan);
    let (bytes, _, _) = encode(&batches, &plan, &WriterSettings::default());
    let mut columns = plan.columns().to_vec();
    let index = columns.iter().position(|column| column.name == "temp").unwrap();
    columns[index].name = "temperature".into();
    let other = ColumnPlan::new(columns).unwrap();
    let error = FileReader::open(bytes, &other, &ReadLimits::default()).unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt);
}

#[test]
fn claims_over_the_limits_are_refused_before_anything_is_decoded() {
    let plan = plan(3_000);
    let (batches, _) = batches(3_000, &plan);
    let settings = WriterSettings { row_group_rows: 1_000, ..WriterSettings::default() };
    let (bytes, _, _) = encode(&batches, &plan, &settings);
    let defaults = ReadLimits::default;
    for (limits, says) in [
        (ReadLimits { row_groups: 2, ..defaults() }, "row groups"),
        (ReadLimits { columns: 5, ..defaults() }, "columns"),
        (ReadLimits { footer_bytes: 100, ..defaults() }, "footer"),
        (ReadLimits { page_bytes: 1_000, ..defaults() }, "a page of"),
        (ReadLimits { dictionary_bytes: 10, ..defaults() }, "a page of"),
    ] {
        let error = FileReader::open(bytes.clone(), &plan, &limits).unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[test]
fn wide_rows_come_in_smaller_batches() {
    let plan = plan(4_000);
    let (batches, totals) = batches(4_000, &plan);
    let (bytes, _, _) = encode(&batches, &plan, &WriterSettings::default());
    let limits = ReadLimits { batch_bytes: 10_000, ..ReadLimits::default() };
    let reader = FileReader::open(bytes.clone(), &plan, &limits).unwrap();
    assert!(reader.batches().unwrap().all(|batch| batch.unwrap().num_rows() < 1_000));
    assert_eq!(row_sum_of(bytes, &plan, &limits).unwrap(), totals.row_sum);
}

/// A damaged file is an error or reads as some rows; it never panics and never takes the process down.
#[test]
fn damaged_files_are_errors_not_panics() {
    let plan = plan(300);
    let (batches, totals) = batches(300, &plan);
    let (bytes, _, _) = encode(&batches, &plan, &WriterSettings::default());
    let limits = ReadLimits::default();
    for end in (0..bytes.len()).step_by(97) {
        assert!(FileReader::open(bytes.slice(..end), &plan, &limits).is_err(), "cut at {end}");
    }
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let (mut refused, mut other_rows) = (0, 0);
    for _ in 0..2_000 {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let at = (random >> 8) as usize % bytes.len();
        let mut damaged = bytes.to_vec();
        damaged[at] ^= (random as u8).max(1);
        let result = std::panic::catch_unwind(|| row_sum_of(damaged.into(), &plan, &limits));
        match result.unwrap_or_else(|_| panic!("a panic got through with byte {at} changed")) {
            Err(_) => refused += 1,
            Ok(sum) => other_rows += i32::from(sum != totals.row_sum),
        }
    }
    assert!(refused > 500, "{refused} refused, {other_rows} read as other rows");
}

#[test]
fn an_impossible_compression_level_is_a_usage_error() {
    let settings = WriterSettings { zstd_level: 99, ..WriterSettings::default() };
    let error = FileEncoder::new(&plan(1), &settings, vec![]).err().unwrap();
    assert_eq!(error.kind(), Kind::Usage);
}
