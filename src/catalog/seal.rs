//! The seal of a document: the SHA-256 of the document itself, as its last field.
//!
//! A manifest is the root of a run's checksums, so nothing else could vouch for it. The seal finds damage, not forgery:
//! whoever can change a document can seal it again.

use sha2::{Digest, Sha256};

const FIELD: &[u8] = b",\n  \"document_sha256\": \"";
const END: &[u8] = b"\n}";
const DIGITS: usize = 64;

/// What a document says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seal {
    /// It is as it was written.
    Intact,
    /// It has been changed.
    Broken,
    /// It has none.
    Missing,
}

/// Adds the seal to a pretty-printed JSON object of at least one field.
pub(super) fn seal(document: &[u8]) -> Vec<u8> {
    let Some(open) = document.strip_suffix(END) else { return document.to_vec() };
    let digits = hex::encode(Sha256::digest(document));
    [open, FIELD, digits.as_bytes(), b"\"", END].concat()
}

/// Looks at the seal of a document as it was stored.
pub(super) fn check(document: &[u8]) -> Seal {
    let Some((rest, digits)) = document
        .strip_suffix(END)
        .and_then(|rest| rest.strip_suffix(b"\""))
        .and_then(|rest| rest.split_at_checked(rest.len().checked_sub(DIGITS)?))
    else {
        return Seal::Missing;
    };
    let Some(open) = rest.strip_suffix(FIELD) else { return Seal::Missing };
    let digest = Sha256::new().chain_update(open).chain_update(END).finalize();
    if hex::encode(digest).as_bytes() == digits { Seal::Intact } else { Seal::Broken }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &[u8] = b"{\n  \"a\": 1,\n  \"b\": {\n    \"c\": \"d\"\n  }\n}";

    #[test]
    fn no_bit_of_a_sealed_document_can_change_without_being_seen() {
        let sealed = seal(DOCUMENT);
        assert_eq!(check(&sealed), Seal::Intact);
        assert!(serde_json::from_slice::<serde_json::Value>(&sealed).unwrap()["document_sha256"].is_string());
        for bit in 0..sealed.len() * 8 {
            let mut damaged = sealed.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(check(&damaged), Seal::Intact, "bit {bit}");
        }
    }

    #[test]
    fn a_document_without_a_seal_is_told_from_a_broken_one() {
        assert_eq!(check(DOCUMENT), Seal::Missing);
        assert_eq!(check(b""), Seal::Missing);
        let mut sealed = seal(DOCUMENT);
        sealed[8] = b'2';
        assert_eq!(check(&sealed), Seal::Broken);
    }
}
