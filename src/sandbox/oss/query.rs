//! The query of a request: decoded, in the order it was sent.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::error::OssError;

/// What signatures and listings leave as it is: `A-Z a-z 0-9 - . _ ~`.
const STRICT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The same and `/`, for keys.
const KEY: &AsciiSet = &STRICT.remove(b'/');

/// Percent-encodes everything but `A-Z a-z 0-9 - . _ ~`.
pub fn encode(text: &str) -> String {
    utf8_percent_encode(text, STRICT).to_string()
}

/// Percent-encodes everything but `A-Z a-z 0-9 - . _ ~ /`.
pub fn encode_key(key: &str) -> String {
    utf8_percent_encode(key, KEY).to_string()
}

/// Decodes `%XX`; `None` when the result is not UTF-8.
pub fn decode(text: &str) -> Option<String> {
    percent_decode_str(text).decode_utf8().ok().map(|text| text.into_owned())
}

/// The parameters of a request.
#[derive(Debug, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Takes the query apart. `+` is a space, as in a form; a literal plus arrives as `%2B`.
    ///
    /// # Errors
    /// 400 `InvalidArgument` when a parameter is not UTF-8.
    pub fn parse(raw: &str) -> Result<Query, OssError> {
        let pairs = raw.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let text = |raw: &str| decode(&raw.replace('+', " "));
            text(name).zip(text(value)).ok_or_else(|| {
                OssError::invalid_argument("A query parameter is not valid UTF-8.", "query", pair)
            })
        });
        Ok(Query(pairs.collect::<Result<_, _>>()?))
    }

    /// Whether the parameter is there, with or without a value. Sub-resources are asked for like this.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }

    /// The parameter's value; an empty one counts as absent, because oss2 sends all parameters it knows.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
            .filter(|v| !v.is_empty())
    }

    /// All parameters, in the order they were sent.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// A number within `range`, or `default` when the parameter is absent.
    ///
    /// # Errors
    /// 400 `InvalidArgument` when it is no number or outside.
    pub fn number(
        &self,
        name: &str,
        default: usize,
        range: std::ops::RangeInclusive<usize>,
    ) -> Result<usize, OssError> {
        let Some(text) = self.get(name) else { return Ok(default) };
        text.parse().ok().filter(|number| range.contains(number)).ok_or_else(|| {
            let message =
                format!("Argument {name} must be an integer between {} and {}.", range.start(), range.end());
            OssError::invalid_argument(message, name, text)
        })
    }
}
