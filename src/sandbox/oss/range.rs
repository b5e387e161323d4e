//! The two ways OSS reads a `Range` header.

use super::error::OssError;

/// What a request wants of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// All of it, answered with 200.
    Whole,
    /// `start..start + length`, answered with 206.
    Slice {
        /// The first byte, from 0.
        start: u64,
        /// How many bytes.
        length: u64,
    },
}

/// Reads the header's value for an object of `size` bytes.
///
/// Not `standard`, the service's default: a range that does not lie within the object is ignored and the whole object sent.
/// `standard`: it is clamped, or refused when nothing of it is there. Several ranges, other units and nonsense are ignored
/// either way.
///
/// # Errors
/// 416 `InvalidRange`, only when `standard`.
pub fn wanted(value: &str, size: u64, standard: bool) -> Result<Wanted, OssError> {
    let Some((first, last)) = value.trim().strip_prefix("bytes=").and_then(|range| range.split_once('-'))
    else {
        return Ok(Wanted::Whole);
    };
    let (first, last) = (first.trim(), last.trim());
    let number =
        |text: &str| text.parse::<u64>().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
    // Both ends inclusive, as in the header, except that `end` may lie outside of the object.
    let (start, end) = match (number(first), number(last)) {
        (Some(start), Some(end)) if start <= end => (start, end),
        (Some(start), None) if last.is_empty() => (start, size.saturating_sub(1).max(start)),
        (None, Some(count)) if first.is_empty() => {
            if count > size && !standard {
                return Ok(Wanted::Whole);
            }
            // The last 0 bytes begin behind the end, like the last bytes of nothing.
            (size - count.min(size), size.saturating_sub(1))
        }
        _ => return Ok(Wanted::Whole),
    };
    if start >= size {
        if !standard {
            return Ok(Wanted::Whole);
        }
        let error = OssError::new(416, "InvalidRange", "The requested range cannot be satisfied.");
        return Err(error.with("ActualObjectSize", size.to_string()).with("RangeRequested", value));
    }
    if end >= size && !standard {
        return Ok(Wanted::Whole);
    }
    Ok(Wanted::Slice { start, length: end.min(size - 1) - start + 1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(start: u64, length: u64) -> Option<Wanted> {
        Some(Wanted::Slice { start, length })
    }

    #[test]
    fn ranges_outside_of_the_object_are_ignored_by_default_and_clamped_or_refused_in_standard_mode() {
        let whole = Some(Wanted::Whole);
        let cases = [
            ("bytes=0-9", slice(0, 10), slice(0, 10)),
            ("bytes=999-999", slice(999, 1), slice(999, 1)),
            ("bytes=500-", slice(500, 500), slice(500, 500)),
            ("bytes=-1", slice(999, 1), slice(999, 1)),
            ("bytes=-1000", slice(0, 1000), slice(0, 1000)),
            ("bytes=500-2000", whole, slice(500, 500)),
            ("bytes=500-1000", whole, slice(500, 500)),
            ("bytes=-2000", whole, slice(0, 1000)),
            ("bytes=1000-", whole, None),
            ("bytes=1000-2000", whole, None),
            ("bytes=-0", whole, None),
            ("bytes=9-1", whole, whole),
            ("bytes=1-2,4-5", whole, whole),
            ("bytes=+1-2", whole, whole),
            ("lines=1-2", whole, whole),
            ("bytes=a-b", whole, whole),
        ];
        for (value, default, standard) in cases {
            assert_eq!(wanted(value, 1000, false).ok(), default, "{value} by default");
            assert_eq!(wanted(value, 1000, true).ok(), standard, "{value} in standard mode");
        }
        assert_eq!(wanted("bytes=0-", 0, false).ok(), whole);
        assert_eq!(wanted("bytes=0-0", 0, true).ok(), None);
    }
}
