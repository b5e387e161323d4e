//! The PlainBuffer walk, checksums and UTF-8 included, against copying the same bytes.
//!
//! Pages of the sandbox's `iot` (2 key columns, 8 attributes, one timestamp per row, 5,000 rows per page) and `mixed`
//! (changing types, versions, a timestamp per cell) tables. Throughput in bytes of PlainBuffer, on one core.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use otsvault::bench::Pages;
use otsvault::model::Row;
use otsvault::plainbuffer::RowReader;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[expect(clippy::print_stderr, reason = "a bench states the shape of its data")]
fn walk(criterion: &mut Criterion) {
    for table in ["iot=iot:rows=100000,seed=7", "mixed=mixed:rows=50000,seed=7"] {
        let pages = Pages::of(table).expect("pages");
        eprintln!("{}", pages.describe());
        let mut group = criterion.benchmark_group(pages.table.name.clone());
        group.sample_size(20).throughput(Throughput::Bytes(pages.bytes() as u64));
        let mut buffer = Vec::new();
        group.bench_function("copy the pages", |bencher| {
            bencher.iter(|| {
                for body in &pages.bodies {
                    buffer.clear();
                    buffer.extend_from_slice(black_box(body));
                    black_box(&buffer);
                }
            });
        });
        group.bench_function("walk the rows", |bencher| {
            bencher.iter(|| {
                let mut cells = 0;
                for body in &pages.bodies {
                    let mut reader = RowReader::new(black_box(body)).expect("a page");
                    let mut row = Row::default();
                    while reader.next_row(&mut row).expect("a row") {
                        cells += black_box(&row).cells.len();
                    }
                }
                cells
            });
        });
        group.finish();
    }
}

criterion_group!(benches, walk);
criterion_main!(benches);
