//! A local STS and a local ECS metadata service on one port. Each key they issue is another one: `STS.1`, `STS.2`, …

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use jiff::{SignedDuration, Timestamp};

/// The secret of every issued key.
pub const KEY: &str = "issued-secret";

pub struct Issuers {
    pub endpoint: String,
    state: Arc<Mutex<Inside>>,
}

#[derive(Default)]
struct Inside {
    requests: Vec<Seen>,
    issued: usize,
    refuse_with: Option<u16>,
    is_without_role: bool,
}

#[derive(Clone)]
pub struct Seen {
    pub method: String,
    pub uri: String,
    body: String,
}

impl Seen {
    pub fn query(&self, name: &str) -> String {
        value(self.uri.split_once('?').unwrap().1, name)
    }

    pub fn form(&self, name: &str) -> String {
        value(&self.body, name)
    }
}

fn value(pairs: &str, name: &str) -> String {
    let mut pairs = url::form_urlencoded::parse(pairs.as_bytes());
    pairs.find(|(key, _)| key == name).unwrap_or_else(|| panic!("no {name}")).1.into_owned()
}

impl Issuers {
    pub async fn start() -> Issuers {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(Inside::default()));
        let router = Router::new().fallback(answer).with_state(Arc::clone(&state));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Issuers { endpoint, state }
    }

    pub fn requests(&self) -> Vec<Seen> {
        self.state.lock().unwrap().requests.clone()
    }

    /// STS answers an error that quotes the token.
    pub fn refuse_with(&self, status: u16) {
        self.state.lock().unwrap().refuse_with = Some(status);
    }

    pub fn without_role(&self) {
        self.state.lock().unwrap().is_without_role = true;
    }
}

async fn answer(
    State(state): State<Arc<Mutex<Inside>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, String) {
    let mut inside = state.lock().unwrap();
    let seen = Seen {
        method: method.to_string(),
        uri: uri.to_string(),
        body: String::from_utf8(body.to_vec()).unwrap(),
    };
    inside.requests.push(seen.clone());
    let has_token = headers.get("X-aliyun-ecs-metadata-token").is_some_and(|token| token == "metadata-token");
    match (method.as_str(), uri.path()) {
        ("POST", "/") => match inside.refuse_with {
            Some(status) => (
                StatusCode::from_u16(status).unwrap(),
                format!(
                    r#"{{"Code": "AuthenticationFail.OIDCToken", "Message": "bad: {}", "RequestId": "R-1"}}"#,
                    seen.form("OIDCToken")
                ),
            ),
            None => (StatusCode::OK, format!(r#"{{"Credentials": {}}}"#, inside.key())),
        },
        ("PUT", "/latest/api/token") if headers.contains_key("X-aliyun-ecs-metadata-token-ttl-seconds") => {
            (StatusCode::OK, "metadata-token".to_owned())
        }
        ("GET", _) if !has_token => (StatusCode::FORBIDDEN, String::new()),
        ("GET", "/latest/meta-data/ram/security-credentials/") if !inside.is_without_role => {
            (StatusCode::OK, "backup-role".to_owned())
        }
        ("GET", "/latest/meta-data/ram/security-credentials/backup-role") if !inside.is_without_role => {
            (StatusCode::OK, inside.key())
        }
        _ => (StatusCode::NOT_FOUND, String::new()),
    }
}

impl Inside {
    fn key(&mut self) -> String {
        self.issued += 1;
        let expiration = Timestamp::now() + SignedDuration::from_hours(1);
        format!(
            r#"{{"Code": "Success", "AccessKeyId": "STS.{0}", "AccessKeySecret": "{KEY}", "SecurityToken": "token-{0}",
                "Expiration": "{1}"}}"#,
            self.issued,
            expiration.strftime("%Y-%m-%dT%H:%M:%SZ")
        )
    }
}
