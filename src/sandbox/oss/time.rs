//! The three ways OSS writes a moment.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// `Fri, 02 Jan 2026 03:04:05 GMT`, as in HTTP headers.
pub fn http_date(moment: Timestamp) -> String {
    moment.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// `2026-01-02T03:04:05.000Z`, as in XML.
pub fn xml_date(moment: Timestamp) -> String {
    moment.strftime("%Y-%m-%dT%H:%M:%S.000Z").to_string()
}

/// Reads an HTTP date.
pub fn parse_http_date(text: &str) -> Option<Timestamp> {
    let text = text.strip_suffix(" GMT")?;
    in_utc(DateTime::strptime("%a, %d %b %Y %H:%M:%S", text).ok()?)
}

/// Reads `20260102T030405Z`, as in V4 signatures.
pub fn parse_basic_date(text: &str) -> Option<Timestamp> {
    if text.len() != 16 {
        return None;
    }
    in_utc(DateTime::strptime("%Y%m%dT%H%M%SZ", text).ok()?)
}

fn in_utc(moment: DateTime) -> Option<Timestamp> {
    Some(moment.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

/// The same moment without its fraction of a second: dates in headers have none, and conditions compare with them.
pub fn whole_second(moment: Timestamp) -> Timestamp {
    Timestamp::from_second(moment.as_second()).unwrap_or(moment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_forms_name_the_same_moment() {
        let moment = parse_basic_date("20260102T030405Z").unwrap();
        assert_eq!(http_date(moment), "Fri, 02 Jan 2026 03:04:05 GMT");
        assert_eq!(parse_http_date("Fri, 02 Jan 2026 03:04:05 GMT"), Some(moment));
        assert_eq!(xml_date(moment), "2026-01-02T03:04:05.000Z");
        for wrong in ["", "2026", "20261302T030405Z", "20260102T030405", "Fri, 02 Jan 2026 03:04:05 CET"] {
            assert_eq!((parse_basic_date(wrong), parse_http_date(wrong)), (None, None), "{wrong}");
        }
    }
}
