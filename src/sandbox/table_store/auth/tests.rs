use http::{HeaderName, HeaderValue, Method};
use serde_json::Value;

use super::*;

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../../../tests/fixtures/vectors/signing.json")).unwrap()
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} in {value}"))
}

fn account(token: Option<&str>) -> Account {
    Account {
        instance: "myinstance".into(),
        region: "cn-hangzhou".into(),
        access_key_id: "LTAIexampleKeyId0000".into(),
        access_key_secret: "exampleSecret/0123456789+abcdEF".into(),
        security_tokens: token.map(str::to_owned).into_iter().collect(),
        expired_tokens: Default::default(),
    }
}

struct Request {
    account: Account,
    path: String,
    headers: HeaderMap,
    body: Vec<u8>,
    now: Timestamp,
}

impl Request {
    fn from(case: &Value) -> Request {
        let headers = case["headers"].as_object().unwrap().iter().map(|(name, value)| {
            let value = HeaderValue::from_str(value.as_str().unwrap()).unwrap();
            (name.parse::<HeaderName>().unwrap(), value)
        });
        Request {
            account: account(case["sts_token"].as_str()),
            path: format!("/{}", text(case, "api")),
            headers: headers.collect(),
            body: hex::decode(text(case, "body_hex")).unwrap(),
            now: vectors()["fixed_now"].as_str().unwrap().parse().unwrap(),
        }
    }

    fn refusal(&self) -> Option<String> {
        self.account
            .verify(&Method::POST, &self.path, &self.headers, &self.body, self.now)
            .err()
            .map(|error| format!("{} {} {}", error.status, error.code, error.message))
    }

    fn with(mut self, name: &'static str, value: &str) -> Request {
        self.headers.insert(name, HeaderValue::from_str(value).unwrap());
        self
    }
}

#[test]
fn every_request_signed_by_an_official_sdk_is_accepted_and_no_altered_one() {
    let all = vectors();
    let cases = all["requests"].as_array().unwrap();
    assert!(cases.len() >= 6);
    for case in cases {
        assert_eq!(Request::from(case).refusal(), None, "{}", case["id"]);
        let altered = Request::from(case).with("x-ots-request-tag", "altered");
        assert_eq!(altered.refusal().as_deref(), Some("403 OTSAuthFailed Signature mismatch."));
        let mut other_path = Request::from(case);
        other_path.path = "/DeleteTable".into();
        assert_eq!(other_path.refusal().as_deref(), Some("403 OTSAuthFailed Signature mismatch."));
        let mut other_secret = Request::from(case);
        other_secret.account.access_key_secret.push('x');
        assert_eq!(other_secret.refusal().as_deref(), Some("403 OTSAuthFailed Signature mismatch."));
    }
}

#[test]
fn every_response_is_signed_as_the_python_sdk_expects() {
    let all = vectors();
    let mut signed = 0;
    for case in all["responses"].as_array().unwrap() {
        let verdict = text(&case["python_sdk"], "outcome");
        if verdict == "client_error" || case["headers"].get("authorization").is_none() {
            continue;
        }
        let headers = case["headers"].as_object().unwrap();
        let now: Timestamp = headers["x-ots-date"].as_str().unwrap().parse().unwrap();
        let account = account(None);
        let key = match text(case, "signature_version") {
            "v4" => ResponseKey(v4_key(&account.access_key_secret, "20240305", "cn-hangzhou")),
            _ => account.default_key(),
        };
        let body = hex::decode(text(case, "body_hex")).unwrap();
        let path = format!("/{}", text(case, "api"));
        let id = headers["x-ots-requestid"].as_str().unwrap();
        for (name, value) in account.response_headers(&key, &path, body_digest(&body), id, now, []) {
            assert_eq!(headers[name].as_str(), Some(value.as_str()), "{} {name}", case["id"]);
        }
        signed += 1;
    }
    assert_eq!(signed, 4);
}

#[test]
fn each_refusal_has_the_services_text() {
    let all = vectors();
    let request = || Request::from(&all["requests"][0]);
    let refused = |request: Request| request.refusal().unwrap_or_default();
    let off = "403 OTSAuthFailed Mismatch between system time and x-ots-date: 2024-03-05T06:07:08.000Z.";
    for seconds in [-901, 901] {
        let mut late = request();
        late.now += SignedDuration::from_secs(seconds);
        assert_eq!(refused(late), off);
    }
    let mut body = request();
    body.body.push(0);
    let text = "403 OTSAuthFailed Mismatch between MD5 value of request body and x-ots-contentmd5 in header.";
    assert_eq!(refused(body), text);
    assert_eq!(
        refused(request().with("x-ots-accesskeyid", "other")),
        "403 OTSAuthFailed The AccessKeyID does not exist."
    );
    assert_eq!(
        refused(request().with("x-ots-instancename", "other")),
        "403 OTSAuthFailed The instance is not found."
    );
    assert_eq!(
        refused(request().with("x-ots-date", "yesterday")),
        "400 OTSParameterInvalid Invalid date format: yesterday."
    );
    assert_eq!(
        refused(request().with("x-ots-apiversion", "2014-08-08")),
        "400 OTSParameterInvalid Invalid API version: 2014-08-08."
    );
    let mut bare = request();
    bare.headers.remove("x-ots-signature");
    assert_eq!(refused(bare), "400 OTSParameterInvalid Missing header: x-ots-signature.");
    let mut token = request();
    token.account.security_tokens = vec!["token".into()];
    assert_eq!(refused(token), "403 OTSAuthFailed The security token is invalid.");
    let get = request();
    let error = get.account.verify(&Method::GET, &get.path, &get.headers, &get.body, get.now).err().unwrap();
    assert_eq!((error.status, error.code.as_str()), (405, "OTSMethodNotAllowed"));
}

#[test]
fn odd_date_fractions_are_accepted_and_do_not_count() {
    let exact: Timestamp = "2024-03-05T06:07:08Z".parse().unwrap();
    for text in ["2024-03-05T06:07:08.3Z", "2024-03-05T06:07:08.11223Z", "2024-03-05T06:07:08.999999Z"] {
        assert_eq!(parse_date(text), Some(exact), "{text}");
    }
    for text in
        ["2024-03-05T06:07:08Z", "2024-03-05T06:07:08.Z", "2024-03-05T06:07:08.1234567Z", "2024-03-05 06:07"]
    {
        assert_eq!(parse_date(text), None, "{text}");
    }
}
