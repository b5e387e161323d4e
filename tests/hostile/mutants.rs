//! Data files that were changed at random, with documents that agree with every change.

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use otsvault::Kind;

use crate::forge::Forge;

const MUTANTS: u64 = 300;

/// Numbers that parsers stumble over, as varints: -1, 0, 2^31 - 1, 2^32, 2^63 - 1.
const VARINTS: [&[u8]; 5] = [
    &[0x01],
    &[0x00],
    &[0xfe, 0xff, 0xff, 0xff, 0x0f],
    &[0x80, 0x80, 0x80, 0x80, 0x20],
    &[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
];

/// Changes the footer or the pages of a file; a footer that has grown says so at its end.
fn mutate(file: &[u8], random: &mut StdRng) -> Bytes {
    let trailer = file.len() - 8;
    let footer_bytes = u32::from_le_bytes(file[trailer..trailer + 4].try_into().unwrap()) as usize;
    let footer = trailer - footer_bytes;
    let mut bytes = file.to_vec();
    // Footers are a small part of a file and most of its traps.
    let (from, to) = if random.random_bool(0.7) { (footer, trailer) } else { (4, footer) };
    for _ in 0..random.random_range(1..4) {
        let at = random.random_range(from..to.min(bytes.len() - 8));
        match random.random_range(0..4) {
            0 => bytes[at] = random.random(),
            1 => bytes[at] ^= 1 << random.random_range(0..8),
            2 => {
                let varint = VARINTS[random.random_range(0..VARINTS.len())];
                bytes.splice(at..at + 1, varint.iter().copied());
            }
            _ => drop(bytes.remove(at)),
        }
    }
    if from == footer {
        let length = (bytes.len() - 8 - footer) as u32;
        let at = bytes.len() - 8;
        bytes[at..at + 4].copy_from_slice(&length.to_le_bytes());
    }
    bytes.into()
}

#[tokio::test]
async fn mutants_are_errors_or_the_same_rows_and_never_a_panic() {
    let forge = Forge::new(400).await;
    let whole = forge.vault_with(forge.file.clone(), |_| {}).await;
    assert_eq!(whole.finding().await, None, "a forged vault with the true file is sound");
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut found = 0;
    let mut refused = 0;
    for mutant in 0..MUTANTS {
        let file = mutate(&forge.file, &mut random);
        let vault = forge.vault_with(file, |_| {}).await;
        let began = std::time::Instant::now();
        // Sound means that every row, key, sum and statistic is as before: the change was in what nobody reads.
        let finding = vault.finding().await;
        if let Some(finding) = &finding {
            found += 1;
            assert!(!finding.contains("panicked"), "seed {seed}, mutant {mutant}: {finding}");
        }
        let took = began.elapsed();
        assert!(took.as_secs() < 30, "seed {seed}, mutant {mutant} took {took:?}");
        // A restore writes what decodes: where no more than sums or statistics are wrong, the rows that the file really has.
        let target = format!("copy_{mutant}");
        let restored = vault.restore(&forge, &target).await;
        let sum = forge.stage.sandbox.row_sum(&target).ok();
        if sum.is_some() {
            // An instance has 64 tables at most.
            forge.stage.client().delete_table(&target).await.unwrap();
        }
        let what = format!("seed {seed}, mutant {mutant}: {finding:?}, {restored:?}, {sum:?}");
        assert!(!what.contains("panicked"), "{what}");
        match (restored, finding) {
            (Ok(()), None) => assert_eq!(sum, Some(forge.stage.table_sum("t")), "{what}"),
            (Ok(()), Some(finding)) => {
                let row_sum = sum.map_or_else(String::new, |(_, row_sum)| row_sum.to_string());
                let as_held = finding.contains(&format!("row-sum {row_sum}; its entry says"));
                // What is wrong beside the rows is found before anybody has added them up.
                assert!(as_held || !finding.contains("its entry says 400"), "{what}");
            }
            (Err(error), _) => {
                assert_eq!((error.kind(), sum.map_or(0, |(rows, _)| rows)), (Kind::Corrupt, 0), "{what}");
                refused += 1;
            }
        }
    }
    println!("{found} of {MUTANTS} mutants were found, {refused} were not restored");
    assert!(refused > found * 2 / 3, "{refused} of {found} were not restored");
    assert!(found > MUTANTS / 2, "{found} of {MUTANTS} mutants were found");
}
