//! What a client says of its body's digests, checked while the body arrives: `Content-MD5`, and on the S3 face the
//! payload hash that was signed and the `x-amz-checksum-*` headers.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crc_fast::CrcAlgorithm;
use http::HeaderMap;
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use super::error::OssError;

/// A digest on the way.
pub enum Hasher {
    /// A CRC and how many of its low bytes are the value.
    Crc(crc_fast::Digest, usize),
    /// MD5.
    Md5(Md5),
    /// SHA-1.
    Sha1(Sha1),
    /// SHA-256.
    Sha256(Sha256),
}

impl Hasher {
    /// More bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Hasher::Crc(digest, _) => digest.update(bytes),
            Hasher::Md5(digest) => digest.update(bytes),
            Hasher::Sha1(digest) => digest.update(bytes),
            Hasher::Sha256(digest) => digest.update(bytes),
        }
    }

    /// The value, high byte first.
    pub fn finish(self) -> Vec<u8> {
        match self {
            Hasher::Crc(digest, width) => {
                let value = digest.finalize().to_be_bytes();
                value.get(value.len() - width..).unwrap_or_default().to_vec()
            }
            Hasher::Md5(digest) => digest.finalize().to_vec(),
            Hasher::Sha1(digest) => digest.finalize().to_vec(),
            Hasher::Sha256(digest) => digest.finalize().to_vec(),
        }
    }

    fn for_header(name: &str) -> Option<Hasher> {
        let crc = |algorithm, width| Some(Hasher::Crc(crc_fast::Digest::new(algorithm), width));
        match name {
            "content-md5" => Some(Hasher::Md5(Md5::new())),
            "x-amz-checksum-crc32" => crc(CrcAlgorithm::Crc32IsoHdlc, 4),
            "x-amz-checksum-crc32c" => crc(CrcAlgorithm::Crc32Iscsi, 4),
            "x-amz-checksum-crc64nvme" => crc(CrcAlgorithm::Crc64Nvme, 8),
            "x-amz-checksum-sha1" => Some(Hasher::Sha1(Sha1::new())),
            "x-amz-checksum-sha256" | "x-amz-content-sha256" => Some(Hasher::Sha256(Sha256::new())),
            _ => None,
        }
    }
}

/// The digests that a request declares.
pub struct Declared(Vec<(String, Vec<u8>)>);

impl Declared {
    /// Reads the headers. An `x-amz-content-sha256` that is no digest declares nothing.
    ///
    /// # Errors
    /// 400 for a value that cannot be a digest of its kind.
    pub fn of(headers: &HeaderMap) -> Result<Declared, OssError> {
        let mut declared = Vec::new();
        for (name, value) in headers {
            let name = name.as_str();
            let Some(hasher) = Hasher::for_header(name) else { continue };
            let text = value.to_str().unwrap_or_default();
            let bytes = match name {
                "x-amz-content-sha256" if text.len() != 64 => continue,
                "x-amz-content-sha256" => hex::decode(text).ok(),
                _ => STANDARD.decode(text).ok(),
            };
            let bytes = bytes.filter(|bytes| bytes.len() == hasher.finish().len());
            declared.push((name.to_owned(), bytes.ok_or_else(|| mismatch(name, text))?));
        }
        Ok(Declared(declared))
    }

    /// Hashers to feed with the body, one for each declared digest.
    pub fn hashers(&self) -> Vec<Hasher> {
        self.0.iter().filter_map(|(name, _)| Hasher::for_header(name)).collect()
    }

    /// Compares what the hashers found.
    ///
    /// # Errors
    /// 400 `InvalidDigest`, `BadDigest` or `XAmzContentSHA256Mismatch`.
    pub fn check(&self, hashers: Vec<Hasher>) -> Result<(), OssError> {
        for ((name, declared), hasher) in self.0.iter().zip(hashers) {
            if *declared != hasher.finish() {
                return Err(mismatch(name, &STANDARD.encode(declared)));
            }
        }
        Ok(())
    }
}

fn mismatch(header: &str, value: &str) -> OssError {
    match header {
        "content-md5" => OssError::new(400, "InvalidDigest", "The Content-MD5 you specified was invalid.")
            .with("Content-MD5", value),
        "x-amz-content-sha256" => {
            let message = "The provided 'x-amz-content-sha256' header does not match what was computed.";
            OssError::new(400, "XAmzContentSHA256Mismatch", message)
        }
        _ => {
            let message = format!("The {header} you specified did not match the calculated checksum.");
            OssError::new(400, "BadDigest", message)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_declared_digest_is_checked() {
        // Of "123456789": the check values of the CRC catalogue and of the hash functions' test tools.
        let right = [
            ("content-md5", "JfnnlDI7RTiF9RgfG2JNCw=="),
            ("x-amz-checksum-crc32", "y/Q5Jg=="),
            ("x-amz-checksum-crc32c", "4waSgw=="),
            ("x-amz-checksum-crc64nvme", "rosUhgp5mIg="),
            ("x-amz-checksum-sha1", "98O8HYCOBHMq32eZZczDTKeuNEE="),
            ("x-amz-content-sha256", "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"),
        ];
        for (name, value) in right {
            let headers = [(name.parse().unwrap(), value.parse().unwrap())].into_iter().collect();
            let declared = Declared::of(&headers).unwrap();
            let hashed = |text: &str| {
                let mut hashers = declared.hashers();
                hashers.iter_mut().for_each(|hasher| hasher.update(text.as_bytes()));
                declared.check(hashers)
            };
            assert!(hashed("123456789").is_ok() && hashed("12345678").is_err(), "{name}");
            let short = [(name.parse().unwrap(), "AAAA".parse().unwrap())].into_iter().collect();
            assert_eq!(Declared::of(&short).is_ok(), name == "x-amz-content-sha256", "{name}");
        }
    }
}
