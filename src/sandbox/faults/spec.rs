//! Rules as text: one line for the command line, JSON for files.
//!
//! ```text
//! rule      = target word...
//! target    = "*" | "ots/*" | "oss/*" | operation        GetRange, UploadPart, BatchWriteRow/row
//! which     = nth=N | calls=A-B | every=K | rate=P [seed=S] | above=N (per second) | key=PATTERN
//! what      = error=CODE [status=N] | error-after=CODE [status=N] | throttle | table-not-ready | token-expired
//!           | drop-before | drop-after | truncate | corrupt=BYTE | truncate-request | corrupt-request=BYTE
//!           | wrong-checksum | delay=MS [jitter=MS] | latency=MS | bandwidth=BYTES | limit=N [queue] | clock-skew=SECONDS
//!           | empty-page | repeat-next-key | bad-row-checksum
//! message=… may come last and takes the rest of the line.
//! ```
//!
//! A file is a JSON array; each element is such a line or an object, as [`Rule`] is written in JSON.

use std::str::FromStr;
use std::time::Duration;

use super::{Action, Rule, Service, When};
use crate::sandbox::{oss, table_store};

/// What is XORed into a byte that a one-line rule damages.
const DAMAGE: u8 = 0x55;

/// Reads a file of rules, or the JSON of one rule.
///
/// # Errors
/// What is wrong, and in which rule.
pub fn parse_rules(json: &str) -> Result<Vec<Rule>, String> {
    let value: serde_json::Value =
        serde_json::from_str(json).map_err(|error| format!("the rules are not JSON: {error}"))?;
    let list = match value {
        serde_json::Value::Array(list) => list,
        one => vec![one],
    };
    let parse = |value: serde_json::Value| match value {
        serde_json::Value::String(line) => line.parse::<Rule>(),
        object => serde_json::from_value::<Rule>(object).map_err(|error| error.to_string()).and_then(checked),
    };
    let numbered = list.into_iter().enumerate();
    numbered.map(|(at, value)| parse(value).map_err(|why| format!("rule {}: {why}", at + 1))).collect()
}

impl FromStr for Rule {
    type Err = String;

    fn from_str(text: &str) -> Result<Rule, String> {
        let text = text.trim();
        if text.starts_with('{') {
            let rule = serde_json::from_str(text).map_err(|error| error.to_string())?;
            return checked(rule);
        }
        let (text, message) = match text.split_once(" message=") {
            Some((text, message)) => (text, message.to_owned()),
            None => (text, String::new()),
        };
        let (target, words) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let mut words =
            Words(words.split_whitespace().map(|word| word.split_once('=').unwrap_or((word, ""))).collect());
        let (service, operation) = target_of(target)?;
        let key = words.take("key").map(str::to_owned);
        let when = words.when()?;
        let action = words.action(service, message)?;
        if let Some((left, _)) = words.0.first() {
            return Err(format!("`{left}` is not a word of a fault rule, or does not go with the others"));
        }
        checked(Rule { service, operation, key, when, action })
    }
}

/// Which service, which operation; `None` for all of them.
fn target_of(target: &str) -> Result<(Option<Service>, Option<String>), String> {
    match target {
        "" => Err("a fault rule begins with an operation, `ots/*`, `oss/*` or `*`".to_owned()),
        "*" => Ok((None, None)),
        "ots/*" => Ok((Some(Service::TableStore), None)),
        "oss/*" => Ok((Some(Service::Oss), None)),
        operation => match service_of(operation) {
            Some(service) => Ok((Some(service), Some(operation.to_owned()))),
            None => Err(format!("there is no operation `{operation}` in Table Store or OSS")),
        },
    }
}

fn service_of(operation: &str) -> Option<Service> {
    let is_row = matches!(operation, "BatchWriteRow/row" | "BatchGetRow/row");
    if is_row || table_store::operation_names().contains(&operation) {
        Some(Service::TableStore)
    } else if oss::operation_names().contains(&operation) {
        Some(Service::Oss)
    } else {
        None
    }
}

/// What JSON can say and no server does.
fn checked(rule: Rule) -> Result<Rule, String> {
    if let Some(operation) = &rule.operation {
        target_of(operation)?;
    }
    match &rule.action {
        Action::Custom(name) if !table_store::CUSTOM_FAULTS.contains(&&**name) => Err(format!(
            "there is no custom fault `{name}`; there are {}",
            table_store::CUSTOM_FAULTS.join(", ")
        )),
        Action::Error { status, .. } | Action::ErrorAfter { status, .. } if !(400..600).contains(status) => {
            Err(format!("{status} is not the status of an error"))
        }
        Action::Bandwidth(0) => Err("a bandwidth of 0 lets nothing pass".to_owned()),
        _ => match rule.when {
            When::Rate { probability, .. } if !(0.0..=1.0).contains(&probability) => {
                Err(format!("a rate is 0 to 1, not {probability}"))
            }
            _ => Ok(rule),
        },
    }
}

/// The words that are not used up yet, as name and value.
struct Words<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Words<'a> {
    fn take(&mut self, name: &str) -> Option<&'a str> {
        let at = self.0.iter().position(|(known, _)| *known == name)?;
        Some(self.0.remove(at).1)
    }

    fn number<T: FromStr>(&mut self, name: &str) -> Result<Option<T>, String> {
        let Some(text) = self.take(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| format!("`{name}={text}`: not a number that fits"))
    }

    fn when(&mut self) -> Result<When, String> {
        let mut found = Vec::new();
        if let Some(nth) = self.number("nth")? {
            found.push(When::Calls { first: nth, last: nth });
        }
        if let Some(calls) = self.take("calls") {
            let parsed = calls.split_once('-').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
            let (first, last) = parsed.ok_or_else(|| format!("`calls={calls}`: write `calls=2-5`"))?;
            found.push(When::Calls { first, last });
        }
        found.extend(self.number("every")?.map(When::Every));
        if let Some(probability) = self.number("rate")? {
            found.push(When::Rate { probability, seed: self.number("seed")?.unwrap_or(0) });
        }
        found.extend(self.number("above")?.map(When::AbovePerSecond));
        match found.as_slice() {
            [] => Ok(When::Always),
            [when] => Ok(*when),
            _ => Err("only one of nth, calls, every, rate and above can be given".to_owned()),
        }
    }

    fn action(&mut self, service: Option<Service>, message: String) -> Result<Action, String> {
        let mut found = Vec::new();
        for name in ["error", "error-after"] {
            let Some(code) = self.take(name) else { continue };
            let status = match self.number("status")? {
                Some(status) => status,
                None => status_of(code).ok_or_else(|| format!("`{name}={code}` needs `status=…`"))?,
            };
            let (code, message) = (code.to_owned(), message.clone());
            found.push(match name {
                "error" => Action::Error { status, code, message },
                _ => Action::ErrorAfter { status, code, message },
            });
        }
        if let Some(delay) = self.number::<u64>("delay")? {
            found.push(match self.number::<u64>("jitter")? {
                Some(jitter) => Action::Jitter { least_ms: delay, most_ms: delay.saturating_add(jitter) },
                None => Action::Delay(Duration::from_millis(delay)),
            });
        }
        found.extend(self.number("latency")?.map(Duration::from_millis).map(Action::Latency));
        if let Some(in_flight) = self.number("limit")? {
            found.push(Action::Limit { in_flight, queue: self.take("queue").is_some() });
        }
        found.extend(self.number("bandwidth")?.map(Action::Bandwidth));
        found.extend(self.number("clock-skew")?.map(Action::ClockSkew));
        found.extend(self.number("corrupt")?.map(|offset| Action::CorruptBody { offset, xor: DAMAGE }));
        found.extend(
            self.number("corrupt-request")?.map(|offset| Action::CorruptRequest { offset, xor: DAMAGE }),
        );
        let plain = [
            ("drop-before", Action::DropBefore),
            ("drop-after", Action::DropAfter),
            ("truncate", Action::TruncateBody),
            ("truncate-request", Action::TruncateRequest),
            ("wrong-checksum", Action::WrongChecksum),
            ("token-expired", Action::ExpireToken),
            ("throttle", Action::busy(service.unwrap_or(Service::TableStore))),
            ("table-not-ready", Action::error(404, "OTSTableNotReady", "The table is not ready.")),
        ];
        found.extend(plain.into_iter().filter_map(|(name, action)| self.take(name).map(|_| action)));
        for name in table_store::CUSTOM_FAULTS {
            found.extend(self.take(name).map(|_| Action::Custom(name.into())));
        }
        match found.len() {
            1 => Ok(found.remove(0)),
            0 => Err(
                "a fault rule says what happens, such as `error=OTSServerBusy`, `drop-after` or `delay=50`"
                    .to_owned(),
            ),
            _ => Err("a fault rule has one action; add another rule for the other one".to_owned()),
        }
    }
}

/// The status that comes with a code; where the service has several, the usual one.
fn status_of(code: &str) -> Option<u16> {
    Some(match code {
        "OTSServerBusy"
        | "OTSTimeout"
        | "OTSServerUnavailable"
        | "OTSPartitionUnavailable"
        | "ServiceUnavailable"
        | "QpsLimitExceeded"
        | "DownloadTrafficRateLimitExceeded"
        | "UploadTrafficRateLimitExceeded" => 503,
        "OTSInternalServerError" | "InternalError" => 500,
        "OTSTableNotReady"
        | "OTSObjectNotExist"
        | "OTSTrimmedDataAccess"
        | "NoSuchKey"
        | "NoSuchBucket"
        | "NoSuchUpload" => 404,
        "OTSRowOperationConflict" | "OTSObjectAlreadyExist" | "FileAlreadyExists" => 409,
        "OTSParameterInvalid" | "OTSInvalidPK" | "InvalidArgument" | "InvalidDigest" | "RequestTimeout" => {
            400
        }
        "OTSAuthFailed"
        | "OTSNoPermissionAccess"
        | "OTSNotEnoughCapacityUnit"
        | "OTSQuotaExhausted"
        | "OTSConditionCheckFail"
        | "AccessDenied"
        | "SecurityTokenExpired"
        | "InvalidAccessKeyId"
        | "SignatureDoesNotMatch"
        | "RequestTimeTooSkewed"
        | "InvalidObjectState" => 403,
        "PreconditionFailed" => 412,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> Rule {
        text.parse().unwrap_or_else(|why| panic!("{text}: {why}"))
    }

    #[test]
    fn a_line_is_a_rule() {
        let busy = || Action::error(503, "OTSServerBusy", "slow down, please");
        let on = |operation: &str, action: Action| Rule::new(action).on(Service::TableStore, operation);
        assert_eq!(
            rule("GetRange rate=0.1 seed=7 error=OTSServerBusy message=slow down, please"),
            on("GetRange", busy()).when(When::Rate { probability: 0.1, seed: 7 })
        );
        assert_eq!(
            rule("oss/* key=vault/*.parquet calls=2-5 drop-after"),
            Rule::new(Action::DropAfter)
                .service(Service::Oss)
                .key("vault/*.parquet")
                .when(When::Calls { first: 2, last: 5 })
        );
        assert_eq!(rule("* delay=20"), Rule::new(Action::Delay(Duration::from_millis(20))));
        assert_eq!(
            rule("GetRange delay=20 jitter=5"),
            on("GetRange", Action::Jitter { least_ms: 20, most_ms: 25 })
        );
        assert_eq!(rule("GetRange latency=20"), on("GetRange", Action::Latency(Duration::from_millis(20))));
        assert_eq!(
            rule("GetRange limit=8 queue"),
            on("GetRange", Action::Limit { in_flight: 8, queue: true })
        );
        assert_eq!(rule("BatchWriteRow/row every=3 error=OTSRowOperationConflict").when, When::Every(3));
        assert_eq!(rule("UploadPart throttle").action, Action::busy(Service::Oss));
    }

    #[test]
    fn a_line_that_is_no_rule_says_why() {
        for (text, why) in [
            ("", "begins with an operation"),
            ("GetRange", "says what happens"),
            ("GetRnage drop-after", "no operation `GetRnage`"),
            ("GetRange drop-after drop-before", "one action"),
            ("GetRange nth=1 every=2 drop-after", "only one of"),
            ("GetRange nth=x drop-after", "`nth=x`"),
            ("GetRange calls=3 drop-after", "calls=2-5"),
            ("GetRange rate=2 drop-after", "0 to 1"),
            ("GetRange error=Strange", "needs `status="),
            ("GetRange error=Strange status=200", "not the status of an error"),
            ("GetRange drop-after jitter=3", "`jitter`"),
            ("GetRange latency=20 jitter=3", "`jitter`"),
            (r#"{"action": "burn"}"#, "unknown variant"),
            (r#"{"action": "drop_after", "operatoin": "GetRange"}"#, "operatoin"),
            (r#"{"action": {"custom": "nonsense"}}"#, "no custom fault"),
        ] {
            let said = text.parse::<Rule>().expect_err(text);
            assert!(said.contains(why), "{text}: {said}");
        }
    }

    #[test]
    fn a_file_mixes_lines_and_objects_and_every_rule_survives_json() {
        let rules = parse_rules(
            r#"["GetRange nth=2 drop-after",
                {"service": "oss", "operation": "GetObject", "when": {"every": 3}, "action": {"delay": 250}},
                {"action": {"latency": 20}}]"#,
        )
        .unwrap();
        let expected = Rule::new(Action::Delay(Duration::from_millis(250))).on(Service::Oss, "GetObject");
        assert_eq!(rules[1], expected.when(When::Every(3)));
        assert_eq!(rules[2], Rule::new(Action::Latency(Duration::from_millis(20))));
        let again = parse_rules(&serde_json::to_string(&rules).unwrap()).unwrap();
        assert_eq!(again, rules);
        assert!(parse_rules(r#"["* drop-after", "nonsense"]"#).unwrap_err().starts_with("rule 2:"));
    }
}
