//! The extension of a row: the sequence info of a Stream record.

use super::error::{Fault, Parsed, stop, stop_within};
use super::wire::*;
use crate::model::SequenceInfo;

/// What follows the tag of an extension: the sequence info, and sub-tags from a newer service, which are skipped.
#[inline(never)]
pub(super) fn read_extension(rest: &[u8]) -> Parsed<'_, Option<SequenceInfo>> {
    let (mut inside, after) = sized(rest)?;
    let mut sequence = None;
    while let Some((&tag, rest)) = inside.split_first() {
        let in_extension = inside;
        let (body, next) = match sized(rest) {
            Ok(found) => found,
            // Offsets count from the end of the whole input, so this one is at the start of the sub-tag.
            Err(_) => return stop_within(in_extension, after, Fault::Truncated),
        };
        match tag {
            SEQUENCE_INFO if sequence.is_none() => match sequence_info(body) {
                Some(info) => sequence = Some(info),
                None => return stop_within(in_extension, after, Fault::Length),
            },
            // 0x10 and above are free for sub-tags that do not exist yet.
            0x10.. => {}
            found => {
                let expected = "a sub-tag of the extension";
                return stop_within(in_extension, after, Fault::Tag { expected, found });
            }
        }
        inside = next;
    }
    Ok((sequence, after))
}

/// A u32 length and as many bytes.
fn sized(rest: &[u8]) -> Parsed<'_, &[u8]> {
    let found = rest
        .split_first_chunk::<4>()
        .and_then(|(length, bytes)| bytes.split_at_checked(u32::from_le_bytes(*length) as usize));
    match found {
        Some(found) => Ok(found),
        None => stop(rest, Fault::Truncated),
    }
}

fn sequence_info(body: &[u8]) -> Option<SequenceInfo> {
    let (&[SEQUENCE_EPOCH, ref epoch @ ..], rest) = body.split_first_chunk::<5>()? else { return None };
    let (&[SEQUENCE_TIMESTAMP, ref timestamp @ ..], rest) = rest.split_first_chunk::<9>()? else {
        return None;
    };
    let (&[SEQUENCE_ROW_INDEX, ref row_index @ ..], []) = rest.split_first_chunk::<5>()? else {
        return None;
    };
    Some(SequenceInfo {
        epoch: i32::from_le_bytes(*epoch),
        timestamp_us: i64::from_le_bytes(*timestamp),
        row_index: i32::from_le_bytes(*row_index),
    })
}
