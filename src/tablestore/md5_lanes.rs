//! MD5 of several buffers side by side.
//!
//! MD5 cannot be hurried within one buffer: each step waits for the one before. But a vector register takes a step of
//! eight buffers at once. Each of them is a lane; a lane that is through with its buffer takes the next one.
//!
//! No intrinsics: the steps are plain loops over the lanes, compiled once per instruction set. With AVX-512 it takes about
//! a third of the CPU time of the `md-5` crate (`otsvault bench`). More lanes are not faster: bringing the words of
//! the lanes together is the limit.

use std::array::from_fn;

use md5::{Digest, Md5};

const INITIAL: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];

/// Left rotations of each round (RFC 1321, 3.4).
const ROTATIONS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];

/// `floor(2^32 * abs(sin(step + 1)))`, the table T of RFC 1321.
#[rustfmt::skip]
const SINES: [u32; 64] = [
    0xd76a_a478, 0xe8c7_b756, 0x2420_70db, 0xc1bd_ceee, 0xf57c_0faf, 0x4787_c62a, 0xa830_4613, 0xfd46_9501,
    0x6980_98d8, 0x8b44_f7af, 0xffff_5bb1, 0x895c_d7be, 0x6b90_1122, 0xfd98_7193, 0xa679_438e, 0x49b4_0821,
    0xf61e_2562, 0xc040_b340, 0x265e_5a51, 0xe9b6_c7aa, 0xd62f_105d, 0x0244_1453, 0xd8a1_e681, 0xe7d3_fbc8,
    0x21e1_cde6, 0xc337_07d6, 0xf4d5_0d87, 0x455a_14ed, 0xa9e3_e905, 0xfcef_a3f8, 0x676f_02d9, 0x8d2a_4c8a,
    0xfffa_3942, 0x8771_f681, 0x6d9d_6122, 0xfde5_380c, 0xa4be_ea44, 0x4bde_cfa9, 0xf6bb_4b60, 0xbebf_bc70,
    0x289b_7ec6, 0xeaa1_27fa, 0xd4ef_3085, 0x0488_1d05, 0xd9d4_d039, 0xe6db_99e5, 0x1fa2_7cf8, 0xc4ac_5665,
    0xf429_2244, 0x432a_ff97, 0xab94_23a7, 0xfc93_a039, 0x655b_59c3, 0x8f0c_cc92, 0xffef_f47d, 0x8584_5dd1,
    0x6fa8_7e4f, 0xfe2c_e6e0, 0xa301_4314, 0x4e08_11a1, 0xf753_7e82, 0xbd3a_f235, 0x2ad7_d2bb, 0xeb86_d391,
];

/// Fewer busy lanes than this are slower than one buffer after the other.
const WORTH_LANES: usize = 3;

type Block = [u8; 64];

/// The four words of every lane.
type State<const LANES: usize> = [[u32; LANES]; 4];

/// The MD5 of each buffer, in their order.
pub fn md5_of_each(buffers: &[&[u8]]) -> Vec<[u8; 16]> {
    if buffers.len() < WORTH_LANES {
        return buffers.iter().map(|buffer| Md5::digest(buffer).into()).collect();
    }
    #[cfg(target_arch = "x86_64")]
    {
        if std::arch::is_x86_feature_detected!("avx512f") && std::arch::is_x86_feature_detected!("avx512vl") {
            // SAFETY: `run_avx512` needs the two features detected above and nothing else.
            return in_lanes(buffers, |state, lanes| unsafe { run_avx512::<8>(state, lanes) });
        }
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: `run_avx2` needs the feature detected above and nothing else.
            return in_lanes(buffers, |state, lanes| unsafe { run_avx2::<8>(state, lanes) });
        }
    }
    in_lanes(buffers, run::<4>)
}

/// A buffer in its lane.
#[derive(Clone, Copy)]
struct Lane<'a> {
    buffer: usize,
    /// Whole blocks not hashed yet.
    blocks: &'a [Block],
}

/// Hashes all buffers. `run` hashes the blocks of all lanes, of which there are equally many.
fn in_lanes<const LANES: usize>(
    buffers: &[&[u8]],
    run: impl Fn(&mut State<LANES>, &[&[Block]; LANES]),
) -> Vec<[u8; 16]> {
    let mut digests = vec![[0; 16]; buffers.len()];
    let mut state: State<LANES> = INITIAL.map(|word| [word; LANES]);
    let mut lanes: [Option<Lane<'_>>; LANES] = [None; LANES];
    // The longest first: at the end, those that are left are short.
    let mut waiting: Vec<usize> = (0..buffers.len()).collect();
    waiting.sort_by_key(|buffer| buffers[*buffer].len());
    loop {
        for (index, lane) in lanes.iter_mut().enumerate().filter(|(_, lane)| lane.is_none()) {
            *lane = waiting.pop().map(|buffer| Lane { buffer, blocks: buffers[buffer].as_chunks().0 });
            (0..4).for_each(|word| state[word][index] = INITIAL[word]);
        }
        let busy = lanes.iter().flatten();
        let few = busy.clone().count() < WORTH_LANES;
        let Some(some) = busy.min_by_key(|lane| lane.blocks.len()).copied() else { return digests };
        if !few {
            let count = some.blocks.len();
            // What an idle lane hashes is never looked at.
            run(&mut state, &from_fn(|lane| lanes[lane].map_or(some.blocks, |lane| &lane.blocks[..count])));
            lanes.iter_mut().flatten().for_each(|lane| lane.blocks = &lane.blocks[count..]);
        }
        for (index, lane) in lanes.iter_mut().enumerate() {
            if let Some(Lane { buffer, blocks }) = lane.take_if(|lane| few || lane.blocks.is_empty()) {
                let own = from_fn(|word| [state[word][index]]);
                digests[buffer] = finish(own, blocks, buffers[buffer]);
            }
        }
    }
}

/// The digest of `buffer`, of which all but `blocks` and what no block holds has been hashed into `state`.
fn finish(mut state: State<1>, blocks: &[Block], buffer: &[u8]) -> [u8; 16] {
    run(&mut state, &[blocks]);
    let rest = buffer.as_chunks::<64>().1;
    let mut last = [0; 128];
    last[..rest.len()].copy_from_slice(rest);
    last[rest.len()] = 0x80;
    // The length in bits takes eight bytes behind the mark.
    let end = if rest.len() < 56 { 64 } else { 128 };
    last[end - 8..end].copy_from_slice(&(buffer.len() as u64).wrapping_mul(8).to_le_bytes());
    run(&mut state, &[last[..end].as_chunks().0]);
    let mut digest = [0; 16];
    for (bytes, [word]) in digest.as_chunks_mut::<4>().0.iter_mut().zip(state) {
        *bytes = word.to_le_bytes();
    }
    digest
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl")]
fn run_avx512<const LANES: usize>(state: &mut State<LANES>, lanes: &[&[Block]; LANES]) {
    run(state, lanes);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn run_avx2<const LANES: usize>(state: &mut State<LANES>, lanes: &[&[Block]; LANES]) {
    run(state, lanes);
}

/// Hashes as many blocks of each lane as the first lane has.
#[inline(always)]
fn run<const LANES: usize>(state: &mut State<LANES>, lanes: &[&[Block]; LANES]) {
    let count = lanes.first().map_or(0, |blocks| blocks.len());
    // Checks the bounds here and not in the loop.
    let lanes: [&[Block]; LANES] = from_fn(|lane| &lanes[lane][..count]);
    for index in 0..count {
        compress(state, &words_of(&lanes, index));
    }
}

/// The sixteen words of one block of each lane.
#[inline(always)]
fn words_of<const LANES: usize>(lanes: &[&[Block]; LANES], index: usize) -> [[u32; LANES]; 16] {
    from_fn(|word| from_fn(|lane| u32::from_le_bytes(lanes[lane][index].as_chunks::<4>().0[word])))
}

/// One block of each lane; `words` are its sixteen words.
#[inline(always)]
fn compress<const LANES: usize>(state: &mut State<LANES>, words: &[[u32; LANES]; 16]) {
    let [mut a, mut b, mut c, mut d] = *state;
    macro_rules! round {
        ($round:literal, $mix:expr, $word_of_step:expr) => {
            for step in 0..16 {
                let mix = $mix;
                let word = &words[$word_of_step(step) % 16];
                let sine = SINES[16 * $round + step];
                let rotation = ROTATIONS[$round][step % 4];
                let next = from_fn(|lane| {
                    a[lane]
                        .wrapping_add(mix(b[lane], c[lane], d[lane]))
                        .wrapping_add(word[lane].wrapping_add(sine))
                        .rotate_left(rotation)
                        .wrapping_add(b[lane])
                });
                (a, b, c, d) = (d, next, b, c);
            }
        };
    }
    round!(0, |b: u32, c: u32, d: u32| d ^ (b & (c ^ d)), |step: usize| step);
    round!(1, |b: u32, c: u32, d: u32| c ^ (d & (b ^ c)), |step: usize| 5 * step + 1);
    round!(2, |b: u32, c: u32, d: u32| b ^ c ^ d, |step: usize| 3 * step + 5);
    round!(3, |b: u32, c: u32, d: u32| c ^ (b | !d), |step: usize| 7 * step);
    for (word, add) in state.iter_mut().zip([a, b, c, d]) {
        *word = from_fn(|lane| word[lane].wrapping_add(add[lane]));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn expected(buffers: &[&[u8]]) -> Vec<[u8; 16]> {
        buffers.iter().map(|buffer| Md5::digest(buffer).into()).collect()
    }

    fn filler(length: usize, seed: usize) -> Vec<u8> {
        (0..length).map(|at| (at * 31 + at / 97 + seed * 7) as u8).collect()
    }

    fn check(buffers: &[Vec<u8>]) {
        let buffers: Vec<&[u8]> = buffers.iter().map(Vec::as_slice).collect();
        let expected = expected(&buffers);
        assert_eq!(md5_of_each(&buffers), expected, "what this processor uses");
        assert_eq!(in_lanes(&buffers, run::<1>), expected, "1 lane");
        assert_eq!(in_lanes(&buffers, run::<4>), expected, "4 lanes");
        assert_eq!(in_lanes(&buffers, run::<16>), expected, "16 lanes");
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the feature was detected above.
            let found = in_lanes(&buffers, |state, lanes| unsafe { run_avx2::<8>(state, lanes) });
            assert_eq!(found, expected, "AVX2");
        }
    }

    #[test]
    fn every_length_up_to_300_alone_and_with_all_others() {
        let buffers: Vec<_> = (0..=300).map(|length| filler(length, length)).collect();
        check(&buffers);
        for buffer in buffers {
            check(&[buffer]);
        }
    }

    #[test]
    fn no_buffer_has_no_digest() {
        check(&[]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn lanes_of_any_lengths_have_the_digests_of_the_crate(
            lengths in prop::collection::vec(
                prop_oneof![0..200_usize, 0..5_000_usize, Just(4_096), 60_000..70_000_usize], 0..40,
            ),
        ) {
            check(&lengths.iter().enumerate().map(|(seed, length)| filler(*length, seed)).collect::<Vec<_>>());
        }
    }
}
