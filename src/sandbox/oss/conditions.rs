//! `If-Match` and its relatives, on reads and on the source of a copy.

use http::HeaderMap;
use jiff::Timestamp;

use super::error::OssError;
use super::time::{parse_http_date, whole_second};

/// How a request may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// As usual.
    Proceed,
    /// With 304: the client has it already.
    NotModified,
}

/// Checks the conditions against an object, by RFC 9110's precedence: an ETag condition makes the date condition beside it
/// void. `prefix` is empty for reads and `x-oss-copy-source-` for copies. ETags match with or without quotes.
///
/// # Errors
/// 412 `PreconditionFailed`.
pub fn check(
    headers: &HeaderMap,
    prefix: &str,
    etag: &str,
    modified: Timestamp,
) -> Result<Verdict, OssError> {
    let modified = whole_second(modified);
    let header = |name: &str| headers.get(format!("{prefix}{name}")).and_then(|value| value.to_str().ok());
    let matches = |list: &str| {
        let bare = |tag: &str| tag.trim().trim_start_matches("W/").trim_matches('"').to_owned();
        list.split(',').any(|tag| tag.trim() == "*" || bare(tag).eq_ignore_ascii_case(etag))
    };
    if let Some(list) = header("if-match") {
        if !matches(list) {
            return Err(OssError::precondition_failed("If-Match"));
        }
    } else if let Some(date) = header("if-unmodified-since").and_then(parse_http_date)
        && modified > date
    {
        return Err(OssError::precondition_failed("If-Unmodified-Since"));
    }
    let unchanged = match header("if-none-match") {
        Some(list) => matches(list),
        None => header("if-modified-since").and_then(parse_http_date).is_some_and(|date| modified <= date),
    };
    Ok(if unchanged { Verdict::NotModified } else { Verdict::Proceed })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::oss::time::http_date;

    #[test]
    fn etags_win_over_dates_and_may_lack_their_quotes() {
        let modified = Timestamp::from_millisecond(1_767_323_045_500).unwrap();
        let (same, earlier) = (http_date(modified), http_date(modified - jiff::SignedDuration::from_secs(1)));
        let verdict = |list: &[(&'static str, &str)]| {
            let headers =
                list.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
            check(&headers, "", "ABC", modified).ok()
        };
        let (proceed, not_modified) = (Some(Verdict::Proceed), Some(Verdict::NotModified));
        assert_eq!(verdict(&[]), proceed);
        for etag in ["ABC", "\"ABC\"", "\"X\", \"ABC\"", "*"] {
            assert_eq!(verdict(&[("if-match", etag), ("if-unmodified-since", &earlier)]), proceed, "{etag}");
            assert_eq!(verdict(&[("if-none-match", etag)]), not_modified, "{etag}");
        }
        assert_eq!(verdict(&[("if-match", "X")]), None);
        assert_eq!(verdict(&[("if-unmodified-since", &earlier)]), None);
        assert_eq!(verdict(&[("if-unmodified-since", &same)]), proceed);
        assert_eq!(verdict(&[("if-modified-since", &same)]), not_modified);
        assert_eq!(verdict(&[("if-modified-since", &earlier)]), proceed);
        assert_eq!(verdict(&[("if-none-match", "X"), ("if-modified-since", &same)]), proceed);
    }
}
