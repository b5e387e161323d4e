//! Short byte strings, compared and copied without calls, which cost more than the bytes do.

/// Bytes that [`append`] copies whatever the length of a value, up to here.
pub const SHORT: usize = 32;

/// Whether both are the same 8 to 16 bytes.
#[inline(always)]
pub fn are_one(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len()
        && (8..=16).contains(&a.len())
        && a.first_chunk::<8>() == b.first_chunk::<8>()
        && a.last_chunk::<8>() == b.last_chunk::<8>()
}

/// Appends `value`, with which `page` starts; a short one without a call, which costs more than the bytes do, and where more
/// bytes follow it without a look at its length, which a processor could not predict.
#[inline(always)]
pub fn append(data: &mut Vec<u8>, value: &[u8], page: &[u8]) {
    let end = data.len() + value.len();
    if let (0..=SHORT, Some(first)) = (value.len(), page.first_chunk::<SHORT>()) {
        data.extend_from_slice(first);
        return data.truncate(end);
    }
    match (value.len(), value.first_chunk::<8>(), value.last_chunk::<8>()) {
        (8..=16, Some(first), Some(last)) => {
            data.extend_from_slice(first);
            // The two overlap where there are fewer than sixteen.
            data.truncate(end - 8);
            data.extend_from_slice(last);
        }
        (4..=7, ..) => {
            if let (Some(first), Some(last)) = (value.first_chunk::<4>(), value.last_chunk::<4>()) {
                data.extend_from_slice(first);
                data.truncate(end - 4);
                data.extend_from_slice(last);
            }
        }
        (0..=3, ..) => value.iter().for_each(|byte| data.push(*byte)),
        _ => data.extend_from_slice(value),
    }
    debug_assert_eq!(data.len(), end);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_every_length_are_appended_whole() {
        let (mut data, mut expected) = (Vec::new(), Vec::<u8>::new());
        for length in 0..40_u8 {
            let value: Vec<u8> = (0..length).collect();
            for behind in [0, 1, 20, 40] {
                let page = [value.as_slice(), &vec![0xee; behind]].concat();
                append(&mut data, &value, &page);
                expected.extend(&value);
                assert_eq!(data, expected, "{length} {behind}");
            }
        }
    }
}
