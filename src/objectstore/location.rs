//! Vault URLs: which store, and where in it.

use std::fmt;
use std::path::PathBuf;

use object_store::path::Path;

use crate::{Error, Kind, Result};

/// A parsed vault URL. Displays as a URL again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// `oss://bucket/prefix`.
    Oss {
        /// 3 to 63 characters of `a-z 0-9 -`, no hyphen at the ends (OSS, "Bucket naming conventions").
        bucket: String,
        /// Empty for the whole bucket.
        prefix: Path,
    },
    /// `s3://bucket/prefix`.
    S3 {
        /// 3 to 63 characters of `a-z 0-9 - .` (Amazon S3, "Bucket naming rules"); the service checks the rest.
        bucket: String,
        /// Empty for the whole bucket.
        prefix: Path,
    },
    /// `file:///dir` or a bare path, which may be relative.
    Local {
        /// The directory.
        directory: PathBuf,
    },
    /// `memory://`, for tests.
    Memory,
}

impl Location {
    /// Parses a vault URL.
    ///
    /// # Errors
    /// [`Kind::Usage`] with the schemes that exist, or with what is wrong about the bucket or the prefix.
    pub fn parse(url: &str) -> Result<Location> {
        let Some((scheme, rest)) = url.split_once("://") else {
            if url.is_empty() {
                return Err(bad_url("an empty URL"));
            }
            return Ok(Location::Local { directory: PathBuf::from(url) });
        };
        match scheme {
            "oss" => parse_bucket("oss", rest, b"-").map(|(bucket, prefix)| Location::Oss { bucket, prefix }),
            "s3" => parse_bucket("s3", rest, b"-.").map(|(bucket, prefix)| Location::S3 { bucket, prefix }),
            "file" => url::Url::parse(url)
                .ok()
                .filter(|url| url.query().is_none() && url.fragment().is_none())
                .and_then(|url| url.to_file_path().ok())
                .map(|directory| Location::Local { directory })
                .ok_or_else(|| bad_url("a `file` URL needs an absolute path, as in `file:///backups`")),
            "memory" => Ok(Location::Memory),
            // The scheme is quoted, the rest is not: it could hold a password.
            _ => Err(bad_url(format!("unknown scheme `{scheme}`"))),
        }
    }
}

/// Bucket and prefix; `marks` are what a bucket may hold, but not at its ends, besides letters and digits.
fn parse_bucket(scheme: &str, rest: &str, marks: &[u8]) -> Result<(String, Path)> {
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    if bucket.contains(['@', ':']) {
        let endpoint = if scheme == "oss" { "`--oss-endpoint` or `OSS_ENDPOINT`" } else { "`AWS_ENDPOINT`" };
        return Err(bad_url(format!("`{scheme}` URLs hold no access key and no port"))
            .hint(format!("set the key in the environment, and the endpoint with {endpoint}")));
    }
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let well_formed = (3..=63).contains(&bucket.len())
        && bucket.bytes().all(|byte| plain(byte) || marks.contains(&byte))
        && bucket.bytes().next().is_some_and(plain)
        && bucket.bytes().last().is_some_and(plain);
    if !well_formed {
        return Err(bad_url(format!(
            "`{bucket}` is no bucket name: 3 to 63 characters of a-z, 0-9 and `{}`, letters or digits at the ends",
            String::from_utf8_lossy(marks)
        )));
    }
    let prefix = Path::parse(prefix)
        .map_err(|error| bad_url(format!("`{prefix}` is no usable prefix")).source(error))?;
    Ok((bucket.to_owned(), prefix))
}

fn bad_url(reason: impl Into<String>) -> Error {
    Error::new(Kind::Usage, "read the vault URL")
        .because(reason)
        .hint("a vault is `oss://bucket/prefix`, `s3://bucket/prefix`, `file:///directory` or a plain path (tests: `memory://`)")
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::Oss { bucket, prefix } if prefix.as_ref().is_empty() => write!(f, "oss://{bucket}"),
            Location::Oss { bucket, prefix } => write!(f, "oss://{bucket}/{prefix}"),
            Location::S3 { bucket, prefix } if prefix.as_ref().is_empty() => write!(f, "s3://{bucket}"),
            Location::S3 { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
            Location::Local { directory } => match url::Url::from_file_path(directory) {
                Ok(url) => f.write_str(url.as_str()),
                Err(()) => write!(f, "{}", directory.display()),
            },
            Location::Memory => f.write_str("memory://"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_vault_url_is_understood_and_shown_again() {
        for url in
            ["oss://backups", "oss://backups/a/b c", "s3://back.ups/a", "memory://", "file:///var/backups"]
        {
            assert_eq!(Location::parse(url).unwrap().to_string(), url);
        }
        assert_eq!(Location::parse("oss://backups/a/").unwrap(), Location::parse("oss://backups/a").unwrap());
        let bare = Location::Local { directory: PathBuf::from("relative/dir") };
        assert_eq!(Location::parse("relative/dir").unwrap(), bare);
        let spaced = Location::Local { directory: PathBuf::from("/a b") };
        assert_eq!(Location::parse("file:///a%20b").unwrap(), spaced);
    }

    #[test]
    fn an_unknown_scheme_is_a_usage_error_that_lists_the_schemes() {
        let error = Location::parse("ftp://user:hush@host/dir").unwrap_err();
        assert_eq!(error.kind(), Kind::Usage);
        let report = error.report();
        assert!(report.contains("`ftp`") && report.contains("oss://bucket/prefix"), "{report}");
        assert!(!report.contains("hush"), "{report}");
    }

    #[test]
    fn bad_buckets_and_prefixes_are_refused_and_keys_in_urls_are_not_repeated() {
        for url in
            ["oss://", "oss://ab", "oss://Upper", "oss://-dash", "oss://good/a//b", "oss://good/..", ""]
        {
            assert_eq!(Location::parse(url).unwrap_err().kind(), Kind::Usage, "{url}");
        }
        assert_eq!(Location::parse("file://host/dir").unwrap_err().kind(), Kind::Usage);
        let report = Location::parse("oss://id:hush@bucket/prefix").unwrap_err().report();
        assert!(!report.contains("hush"), "{report}");
    }
}
