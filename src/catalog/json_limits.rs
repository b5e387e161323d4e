//! What a document may ask of the JSON parser. A vault is untrusted: depth and lengths are looked at first.

/// Objects and arrays inside each other; ours have 7.
const MAX_DEPTH: usize = 32;

/// Bytes of a string as written, names of fields included. The longest of ours is a key value: 1,024 bytes (service
/// limit), six times that where every one of them is escaped.
const MAX_STRING_BYTES: usize = 64 << 10;

/// Looks once over the text of a document, before it is parsed.
pub(super) fn check(text: &[u8]) -> Result<(), String> {
    let mut depth = 0usize;
    let mut position = 0;
    while let Some(byte) = text.get(position) {
        match byte {
            b'{' | b'[' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err(format!("its JSON is nested deeper than {MAX_DEPTH}"));
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => {
                let string = text.get(position + 1..).unwrap_or_default();
                let length = string_length(string);
                if length > MAX_STRING_BYTES {
                    return Err(format!("its JSON has a string of more than {MAX_STRING_BYTES} bytes"));
                }
                position += length + 1;
            }
            _ => {}
        }
        position += 1;
    }
    Ok(())
}

/// Bytes up to the closing quote; all of them when it is missing.
fn string_length(text: &[u8]) -> usize {
    let mut is_escaped = false;
    let end = text.iter().position(|byte| {
        let closes = *byte == b'"' && !is_escaped;
        is_escaped = *byte == b'\\' && !is_escaped;
        closes
    });
    end.unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_and_strings_are_limited_and_brackets_in_strings_do_not_count() {
        assert_eq!(check(br#"{"a": ["[[[[\"[", {"b": "\\"}, "]]"]}"#), Ok(()));
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert_eq!(check(nested(32).as_bytes()), Ok(()));
        assert!(check(nested(33).as_bytes()).unwrap_err().contains("deeper"));
        let string = |length: usize| format!("{{\"a\": \"{}\"}}", "x".repeat(length));
        assert_eq!(check(string(65_536).as_bytes()), Ok(()));
        assert!(check(string(65_537).as_bytes()).unwrap_err().contains("string"));
        // Cut in the middle of a string, or of an escape.
        assert_eq!(check(br#"{"a"#), Ok(()));
        assert_eq!(check(br#"{"a\"#), Ok(()));
    }
}
