use super::*;
use crate::model::{RowHasher, RowSum};

fn tables() -> Vec<GeneratedTable> {
    let shapes = ["iot", "wide", "fat", "sparse", "cjk", "mixed"];
    let settings = [
        "",
        ",key=sequential",
        ",key=hashed",
        ",key=shared-prefix,partitions=7",
        ",key=binary,partitions=8,skew=90",
    ];
    let table = |shape, setting| format!("t={shape}:rows=1234,seed=3{setting}").parse().unwrap();
    shapes.iter().flat_map(|shape| settings.map(|setting| table(shape, setting))).collect()
}

#[test]
fn keys_ascend_and_every_row_is_found_again_by_its_key() {
    for table in tables() {
        for index in 1..table.rows {
            let (before, key) = (table.key(index - 1), table.key(index));
            assert!(before < key, "{table} {index}: {before} {key}");
            if index % 10 == 0 {
                assert_eq!(table.rows_below(&key), index);
                assert_eq!(table.rows_up_to(&key), index + 1);
            }
        }
        assert_eq!(table.rows_below(&PrimaryKey::inf_min(table.key(0).parts().len())), 0);
        assert_eq!(table.rows_below(&PrimaryKey(vec![KeyPart::InfMax; 2])), table.rows);
    }
}

#[test]
fn rows_depend_on_the_seed_alone_and_come_the_same_in_both_directions_and_as_bytes() {
    for table in tables() {
        let read = |table: &GeneratedTable, backward| {
            let (mut hasher, mut sum) = (RowHasher::default(), RowSum::default());
            let (mut keys, mut bytes, mut sizes) = (Vec::new(), Vec::new(), Vec::new());
            table.scan(0..table.rows, backward, |row| {
                let ordered = row.cells.windows(2).all(|pair| {
                    let newer_first = pair[0].timestamp > pair[1].timestamp;
                    pair[0].name < pair[1].name || (pair[0].name == pair[1].name && newer_first)
                });
                assert!(ordered, "{row:?}");
                sum += hasher.row(row);
                keys.push(PrimaryKey::from_row(&row.key).unwrap());
                write_row(&mut bytes, row);
                sizes.push(data_size(row, true));
                ControlFlow::Continue(())
            });
            let (mut encoded, mut encoded_sizes) = (Vec::new(), Vec::new());
            table.encode(0..table.rows, backward, &mut encoded, |_, size, _| {
                encoded_sizes.push(size);
                true
            });
            assert!(encoded == bytes && encoded_sizes == sizes, "{table}");
            if backward {
                keys.reverse();
            }
            assert!((0..table.rows).map(|index| table.key(index)).eq(keys), "{table}");
            sum
        };
        assert_eq!(read(&table, false), read(&table, true));
        let other = GeneratedTable { seed: 4, ..table.clone() };
        assert_ne!(read(&table, false), read(&other, false));
    }
}

#[test]
fn partitions_tile_the_rows_and_begin_at_their_boundaries() {
    for table in tables() {
        let boundaries = table.boundaries();
        assert_eq!(boundaries.len() + 1, table.partitions as usize);
        let mut cuts = vec![0];
        cuts.extend(boundaries.iter().map(|boundary| table.rows_below(boundary)).chain([table.rows]));
        let sizes: Vec<_> = cuts.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(sizes.iter().all(|size| *size > 0), "{table}: {sizes:?}");
        for (boundary, first_row) in boundaries.iter().zip(&cuts[1..]) {
            assert_eq!(table.key(*first_row).parts()[0], boundary.parts()[0], "{table}");
        }
        if let Some(percent) = table.skew {
            let share = sizes[sizes.len() / 2] * 100 / table.rows;
            assert!(share.abs_diff(u64::from(percent)) <= 2, "{table}: {share} %");
        }
    }
}

#[test]
fn rows_have_the_size_that_their_shape_promises() {
    let mut wrong = Vec::new();
    for (shape, expected) in [("iot", 324), ("wide", 2_669), ("fat", 2_174), ("sparse", 461)] {
        let table: GeneratedTable = format!("t={shape}:rows=2000,seed=1").parse().unwrap();
        let mut bytes = Vec::new();
        table.encode(0..table.rows, false, &mut bytes, |_, _, _| true);
        let size = bytes.len() as u64 / table.rows;
        wrong.extend(
            (size.abs_diff(expected) * 50 > expected).then(|| format!("{shape}: {size}, not {expected}")),
        );
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn a_trillion_rows_cost_nothing_until_they_are_read() {
    for setting in ["", ",key=hashed,partitions=64,skew=95"] {
        let table: GeneratedTable = format!("t=iot:rows=1000000000000,seed=1{setting}").parse().unwrap();
        let key = table.key(987_654_321_000);
        assert_eq!(table.rows_below(&key), 987_654_321_000);
    }
}
