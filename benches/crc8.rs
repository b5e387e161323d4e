//! CRC-8 of values from one cell to a page: byte by byte, by tables, and as this machine does it.
//!
//! Throughput in bytes, one core. Each answer is compared with the definition before anything is measured.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use otsvault::plainbuffer::{checksum, checksum_by_tables};

const SIZES: [usize; 5] = [9, 16, 64, 1 << 10, 1_860_000];

/// The definition with one table look-up per byte.
fn byte_by_byte(table: &[u8; 256], bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |crc, byte| table[usize::from(crc ^ byte)])
}

fn table() -> [u8; 256] {
    std::array::from_fn(|byte| (0..8).fold(byte as u8, |crc, _| (crc << 1) ^ (0x07 * (crc >> 7))))
}

fn sizes(criterion: &mut Criterion) {
    let table = table();
    for size in SIZES {
        let bytes: Vec<u8> = (0..size).map(|at| (at * 31 + at / 7) as u8).collect();
        let expected = byte_by_byte(&table, &bytes);
        assert_eq!((checksum_by_tables(&bytes), checksum(&bytes)), (expected, expected));
        let mut group = criterion.benchmark_group("crc8");
        group.sample_size(20).throughput(Throughput::Bytes(size as u64));
        group.bench_with_input(BenchmarkId::new("byte by byte", size), &bytes, |bencher, bytes| {
            bencher.iter(|| byte_by_byte(&table, black_box(bytes)));
        });
        group.bench_with_input(BenchmarkId::new("tables", size), &bytes, |bencher, bytes| {
            bencher.iter(|| checksum_by_tables(black_box(bytes)));
        });
        group.bench_with_input(BenchmarkId::new("this machine", size), &bytes, |bencher, bytes| {
            bencher.iter(|| checksum(black_box(bytes)));
        });
        group.finish();
    }
}

criterion_group!(benches, sizes);
criterion_main!(benches);
