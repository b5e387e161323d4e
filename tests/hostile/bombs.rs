//! Parquet files made by hand to take much memory or time, with documents that agree with them.

use bytes::Bytes;
use otsvault::model::RowSum;
use parquet::basic::Compression;
use parquet::file::metadata::{
    FileMetaData, KeyValue, ParquetMetaData, ParquetMetaDataBuilder, ParquetMetaDataReader,
    ParquetMetaDataWriter,
};

use crate::forge::{Forge, expect_no_restore, run_program};

const ROWS: u64 = 2_000;

/// The parts of a file, to be put together again.
struct Parts {
    data: Vec<u8>,
    metadata: ParquetMetaData,
}

/// Its dictionary page is where the chunk begins.
fn with_dictionary(chunk: Chunk) -> Chunk {
    // The builder does not tell; a chunk knows.
    let at = chunk.build().unwrap();
    let start = at.data_page_offset();
    at.into_builder().set_dictionary_page_offset(Some(start))
}

impl Parts {
    fn of(file: &Bytes) -> Parts {
        let metadata = ParquetMetaDataReader::new().parse_and_finish(file).unwrap();
        let trailer = file.len() - 8;
        let footer_bytes = u32::from_le_bytes(file[trailer..trailer + 4].try_into().unwrap()) as usize;
        Parts { data: file[..trailer - footer_bytes].to_vec(), metadata }
    }

    /// Writes the file again with another chunk behind the data for a column.
    fn with_chunk(mut self, column: usize, chunk: &[u8], change: impl Fn(Chunk) -> Chunk) -> Bytes {
        let at = self.data.len() as i64;
        self.data.extend_from_slice(chunk);
        let length = chunk.len() as i64;
        self.change_column(column, |builder| {
            change(
                builder
                    .set_data_page_offset(at)
                    .set_dictionary_page_offset(None)
                    .set_total_compressed_size(length)
                    .set_total_uncompressed_size(1 << 40),
            )
        });
        self.write()
    }

    fn change_column(&mut self, column: usize, change: impl FnOnce(Chunk) -> Chunk) {
        let mut groups = self.metadata.row_groups().to_vec();
        let mut columns = groups[0].columns().to_vec();
        columns[column] = change(columns[column].clone().into_builder()).build().unwrap();
        groups[0] = groups[0].clone().into_builder().set_column_metadata(columns).build().unwrap();
        self.metadata = self.metadata.clone().into_builder().set_row_groups(groups).build();
    }

    /// With other rows in the first row group and the file.
    fn with_rows(mut self, rows: i64) -> Parts {
        let mut groups = self.metadata.row_groups().to_vec();
        groups[0] = groups[0].clone().into_builder().set_num_rows(rows).build().unwrap();
        let file = self.metadata.file_metadata();
        let file = FileMetaData::new(
            file.version(),
            rows,
            file.created_by().map(str::to_owned),
            file.key_value_metadata().cloned(),
            file.schema_descr_ptr(),
            file.column_orders().cloned(),
        );
        self.metadata = ParquetMetaDataBuilder::new(file).set_row_groups(groups).build();
        self
    }

    fn with_metadata(mut self, change: impl FnOnce(&mut Vec<KeyValue>)) -> Parts {
        let file = self.metadata.file_metadata();
        let mut entries = file.key_value_metadata().cloned().unwrap_or_default();
        change(&mut entries);
        let file = FileMetaData::new(
            file.version(),
            file.num_rows(),
            file.created_by().map(str::to_owned),
            Some(entries),
            file.schema_descr_ptr(),
            file.column_orders().cloned(),
        );
        let groups = self.metadata.row_groups().to_vec();
        self.metadata = ParquetMetaDataBuilder::new(file).set_row_groups(groups).build();
        self
    }

    fn write(self) -> Bytes {
        let mut file = self.data;
        let at = file.len();
        let mut footer = Vec::new();
        ParquetMetaDataWriter::new(&mut footer, &self.metadata).finish().unwrap();
        assert!(at > 0 && footer.ends_with(b"PAR1"));
        file.extend_from_slice(&footer);
        file.into()
    }
}

type Chunk = parquet::file::metadata::ColumnChunkMetaDataBuilder;

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn zigzag(value: i64) -> Vec<u8> {
    varint(((value << 1) ^ (value >> 63)) as u64)
}

/// A page header: type, sizes, and the struct `inner` of i32 fields. Thrift compact protocol.
fn header(page_type: i64, uncompressed: i64, compressed: i64, inner: u8, fields: &[i64]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for value in [page_type, uncompressed, compressed] {
        bytes.push(0x15);
        bytes.extend(zigzag(value));
    }
    bytes.push(((inner - 3) << 4) | 0x0c);
    for value in fields {
        bytes.push(0x15);
        bytes.extend(zigzag(*value));
    }
    if inner == 8 {
        // is_compressed = false
        bytes.push(0x12);
    }
    bytes.extend([0, 0]);
    bytes
}

/// A dictionary page of one entry.
fn dictionary(entry: &[u8]) -> Vec<u8> {
    let page = [&(entry.len() as u32).to_le_bytes()[..], entry].concat();
    let stored = zstd::bulk::compress(&page, 3).unwrap();
    let header = header(2, page.len() as i64, stored.len() as i64, 7, &[1, 0]);
    [header, stored].concat()
}

/// A data page of version 2, not compressed: `rows` values, each of which is there, in an encoding.
fn data_page(rows: u64, encoding: i64, values: &[u8]) -> Vec<u8> {
    let levels = [varint(rows << 1), vec![1]].concat();
    let body = [&levels[..], values].concat();
    let (rows, size) = (rows as i64, body.len() as i64);
    let fields = [rows, 0, rows, encoding, levels.len() as i64, 0];
    [header(3, size, size, 8, &fields), body].concat()
}

/// DELTA_BINARY_PACKED of `count` values that begin with `first` and change once, by `delta`, after it.
fn one_delta(first: i64, delta: i64, count: u64) -> Vec<u8> {
    let mut bytes = [varint(128), varint(4), varint(count), zigzag(first)].concat();
    let min_delta = delta.min(0);
    let mut left = count - 1;
    let mut is_first = true;
    while left > 0 {
        if is_first {
            bytes.extend(zigzag(min_delta));
            bytes.extend([32, 32, 32, 32]);
            for index in 0..128 {
                let delta = if index == 0 { delta } else { 0 };
                bytes.extend(((delta - min_delta) as u32).to_le_bytes());
            }
        } else {
            bytes.extend([0, 0, 0, 0, 0]);
        }
        is_first = false;
        left = left.saturating_sub(128);
    }
    bytes
}

/// What it is, what is said of it, and the file.
type Bomb = (&'static str, &'static str, Bytes);

fn bombs(forge: &Forge) -> Vec<Bomb> {
    [footers(forge), pages(forge), repetitions(forge), places(forge), entries(forge)].concat()
}

/// Place of the first column of strings or binaries, and the rows of the row group.
fn strings(forge: &Forge) -> (usize, u64) {
    let metadata = Parts::of(&forge.file).metadata;
    let group = metadata.row_group(0);
    let column = group.columns().iter().position(|column| {
        let described = column.column_descr();
        (described.max_rep_level(), described.max_def_level()) == (0, 1)
            && column.column_type() == parquet::basic::Type::BYTE_ARRAY
    });
    (column.unwrap(), group.num_rows() as u64)
}

fn footers(forge: &Forge) -> Vec<Bomb> {
    let small = |footer: &[u8]| {
        let length = (footer.len() as u32).to_le_bytes();
        Bytes::from([b"PAR1", footer, &length, b"PAR1"].concat())
    };
    let list_of = |count: u64| [vec![0xfc], varint(count)].concat();
    // Version 2; a schema of one element, called `r`; no rows.
    let schema = [0x15, 0x04, 0x19, 0x1c, 0x48, 0x01, b'r', 0x00, 0x16, 0x00];
    let mut long_footer = forge.file.to_vec();
    let at = long_footer.len() - 8;
    long_footer[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    let row_groups = [&schema[..], &[0x19], &list_of(1_000_000), &vec![0; 1 << 20], &[0]].concat();
    let elements = [&[0x15, 0x04, 0x19][..], &list_of(1_000_000), &vec![0; 1 << 20]].concat();
    vec![
        ("nothing", "too short", Bytes::new()),
        ("eight bytes", "does not start", Bytes::from_static(b"PAR1PAR1")),
        ("cut", "does not end", forge.file.slice(..forge.file.len() - 9)),
        ("a footer of 4 GiB", "its footer has", long_footer.into()),
        ("a million row groups in 1 MiB", "row groups", small(&row_groups)),
        ("a million schema elements", "elements", small(&elements)),
        ("a footer nested without end", "damaged", small(&vec![0x1c; 1 << 20])),
        ("lists in lists without end", "damaged", small(&vec![0x19; 1 << 20])),
    ]
}

fn pages(forge: &Forge) -> Vec<Bomb> {
    let parts = || Parts::of(&forge.file);
    let (strings, rows) = strings(forge);
    let nested = parts()
        .metadata
        .row_group(0)
        .columns()
        .iter()
        .position(|column| column.column_path().string().ends_with("element.ts"));
    let keep = |chunk: Chunk| chunk;
    let billion = |chunk: Chunk| chunk.set_num_values(1_000_000_000);
    let zeros = zstd::bulk::compress(&vec![0; 60 << 20], 3).unwrap();
    let ratio = [header(0, 60 << 20, zeros.len() as i64, 5, &[rows as i64, 0, 3, 3]), zeros].concat();
    let huge = header(3, 0x7fff_ffff, 10, 8, &[rows as i64, 0, rows as i64, 0, 0, 0]);
    let huge_dictionary = header(2, 0x7fff_ffff, 10, 7, &[1, 0]);
    let two_empty_entries = zstd::bulk::compress(&[0; 8], 3).unwrap();
    let entries = header(2, 8, two_empty_entries.len() as i64, 7, &[1_000_000_000, 0]);
    let entries = [entries, two_empty_entries, data_page(rows, 8, &[1, 0])].concat();
    let many_nested = [header(3, 8, 8, 8, &[60 << 20, 0, rows as i64, 5, 0, 0]), vec![0; 8]].concat();
    let of_billion = data_page(1_000_000_000, 8, &[0]);
    vec![
        ("a page of 2 GiB", "a page of 2147483647", parts().with_chunk(strings, &huge, keep)),
        (
            "a dictionary of 2 GiB",
            "a page of 2147483647",
            parts().with_chunk(strings, &huge_dictionary, with_dictionary),
        ),
        ("a dictionary of 10^9 entries", "may take", parts().with_chunk(strings, &entries, with_dictionary)),
        (
            "10^9 values in a page",
            "it claims 1000000000 values",
            parts().with_chunk(strings, &of_billion, billion),
        ),
        (
            "10^9 rows",
            "in 1000000000 rows",
            parts().with_rows(1_000_000_000).with_chunk(strings, &of_billion, billion),
        ),
        (
            "60 Mi nested values",
            "may take",
            parts().with_chunk(nested.unwrap(), &many_nested, |chunk| chunk.set_num_values(60 << 20)),
        ),
        ("a ratio of 10,000", "compresses more", parts().with_chunk(strings, &ratio, keep)),
        (
            "another codec",
            "compression",
            parts().with_chunk(strings, &data_page(rows, 0, &[]), |chunk| {
                chunk.set_compression(Compression::SNAPPY)
            }),
        ),
    ]
}

/// Few stored bytes that stand for gigabytes.
fn repetitions(forge: &Forge) -> Vec<Bomb> {
    let parts = || Parts::of(&forge.file);
    let (strings, rows) = strings(forge);
    let all_the_first = [&[1][..], &varint(rows << 1), &[0]].concat();
    let entry = |bytes: usize| [dictionary(&vec![b'x'; bytes]), data_page(rows, 8, &all_the_first)].concat();
    let prefix = |length: i64| {
        let suffixes = one_delta(length, -length, rows);
        data_page(rows, 7, &[one_delta(0, length, rows), suffixes, vec![b'x'; length as usize]].concat())
    };
    let modest = |chunk: Chunk| chunk.set_total_uncompressed_size((2 << 20) + (64 << 10));
    let modest_dictionary = |chunk: Chunk| with_dictionary(modest(chunk));
    vec![
        (
            "2 MiB per row by a dictionary",
            "more data than",
            parts().with_chunk(strings, &entry(2 << 20), modest_dictionary),
        ),
        (
            "2 MiB per row by a prefix",
            "more data than",
            parts().with_chunk(strings, &prefix(2 << 20), modest),
        ),
        (
            "an entry larger than any value",
            "a value of 3145728",
            parts().with_chunk(strings, &entry(3 << 20), with_dictionary),
        ),
        (
            "a prefix larger than any value",
            "a value of 3145728",
            parts().with_chunk(strings, &prefix(3 << 20), |chunk| chunk),
        ),
        ("1 TiB in its pages, it says", "expands to", parts().with_chunk(strings, &prefix(8), |chunk| chunk)),
    ]
}

fn places(forge: &Forge) -> Vec<Bomb> {
    let (strings, _) = strings(forge);
    let with = |change: &dyn Fn(Chunk) -> Chunk| Parts::of(&forge.file).with_chunk(strings, &[], change);
    vec![
        ("a chunk before the file", "outside", with(&|chunk| chunk.set_data_page_offset(-1))),
        ("a chunk behind the file", "outside", with(&|chunk| chunk.set_data_page_offset(1 << 60))),
        ("a chunk of negative size", "outside", with(&|chunk| chunk.set_total_compressed_size(-1))),
        ("pages in another file", "another file", with(&|chunk| chunk.set_file_path("/etc/passwd".into()))),
    ]
}

fn entries(forge: &Forge) -> Vec<Bomb> {
    let with = |change: &dyn Fn(&mut Vec<KeyValue>)| Parts::of(&forge.file).with_metadata(change).write();
    let other = |entries: &mut Vec<KeyValue>| {
        let text = entries[0].value.as_ref().unwrap();
        entries[0].value = Some(text.replace(&forge.entry.id.to_string(), "00ff00ff00ff00ff"));
    };
    vec![
        ("no entry in its metadata", "names no entry", with(&Vec::clear)),
        (
            "an entry nested without end",
            "nested deeper",
            with(&|entries| entries[0].value = Some("[".repeat(1 << 20))),
        ),
        ("an entry of another file", "by what its footer says", with(&other)),
    ]
}

/// The rows are those of the file list; what the footer says beside them is nothing that a restore needs.
const DESCRIBED_WRONGLY: [&str; 3] =
    ["no entry in its metadata", "an entry nested without end", "an entry of another file"];

#[tokio::test]
async fn bombs_end_in_exit_code_5_soon_and_in_little_memory() {
    let forge = Forge::new(ROWS).await;
    for (what, says, file) in bombs(&forge) {
        let vault = forge.vault_with(file, |_| {}).await;
        let taken = run_program(&forge.stage, &["verify", &vault.url(), "t", "--level", "full"]).await;
        println!("{what}: {:?}, {}", taken.cpu, taken.stdout.lines().last().unwrap_or_default());
        assert_eq!(taken.code, Some(5), "{what}: {}{}", taken.stdout, taken.stderr);
        assert!(taken.stdout.contains(says), "{what}: {}{}", taken.stdout, taken.stderr);
        assert!(!taken.stderr.contains("panicked"), "{what}: {}", taken.stderr);
        match DESCRIBED_WRONGLY.contains(&what) {
            true => vault.expect_true_rows(&forge, what).await,
            false => expect_no_restore(&forge, &vault.url(), what).await,
        }
    }
}

#[tokio::test]
async fn an_arrow_schema_in_a_file_is_ignored() {
    let forge = Forge::new(ROWS).await;
    let schema = |entries: &mut Vec<KeyValue>| {
        entries.push(KeyValue::new("ARROW:schema".to_owned(), "/////w".repeat(1_000)));
    };
    let vault = forge.vault_with(Parts::of(&forge.file).with_metadata(schema).write(), |_| {}).await;
    assert_eq!(vault.finding().await, None);
}

#[tokio::test]
async fn a_file_that_says_that_it_is_another_one_is_found_by_quick() {
    let forge = Forge::new(ROWS).await;
    let vault =
        forge.vault_with(forge.file.clone(), |entry| entry.id = "00ff00ff00ff00ff".parse().unwrap()).await;
    let taken = run_program(&forge.stage, &["verify", &vault.url(), "t"]).await;
    assert_eq!(taken.code, Some(5));
    assert!(taken.stdout.contains("by what its footer says"), "{}", taken.stdout);
}

#[tokio::test]
async fn an_entry_that_promises_less_than_the_file_has_is_found() {
    let forge = Forge::new(ROWS).await;
    for change in [
        |entry: &mut otsvault::catalog::FileEntry| entry.rows -= 1,
        |entry: &mut otsvault::catalog::FileEntry| entry.cells += 1,
        |entry: &mut otsvault::catalog::FileEntry| entry.logical_bytes /= 2,
        |entry: &mut otsvault::catalog::FileEntry| entry.row_sum = Default::default(),
    ] {
        let vault = forge.vault_with(forge.file.clone(), change).await;
        assert!(vault.finding().await.is_some());
    }
}

#[tokio::test]
async fn a_row_sum_that_is_not_that_of_the_rows_is_a_difference_though_no_row_differs() {
    let forge = Forge::new(ROWS).await;
    let (true_sum, wrong_sum) = (forge.entry.row_sum.to_string(), RowSum::default().to_string());
    let wrong = |entries: &mut Vec<KeyValue>| {
        let text = entries[0].value.as_ref().unwrap();
        assert!(text.contains(&true_sum), "{text}");
        entries[0].value = Some(text.replace(&true_sum, &wrong_sum));
    };
    let file = Parts::of(&forge.file).with_metadata(wrong).write();
    let vault = forge.vault_with(file, |entry| entry.row_sum = RowSum::default()).await;
    let url = vault.url();
    let live = ["verify", &url, "t", "--level", "live", "--against", "ots://sandbox/t"];
    let taken = run_program(&forge.stage, &live).await;
    assert_eq!(taken.code, Some(5), "{}{}", taken.stdout, taken.stderr);
    assert!(taken.stdout.contains("1 key range with other row-sums"), "{}", taken.stdout);
}
