//! The RAM role of the ECS instance that this runs on, from its metadata service (the token flow, "IMDSv2", only).

use std::time::Duration;

use super::Issued;
use super::chain::Look;
use super::environment::Environment;
use super::temporary::{TemporaryKey, exchange, http_client, parse};
use crate::{Error, Kind, Result};

/// Where every ECS instance finds its metadata (ECS user guide, "Instance metadata").
const METADATA: &str = "http://100.100.100.200";

/// On an instance the answer comes within a millisecond; elsewhere nobody should wait long to be told.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(5);

/// Lifetime of the metadata token in seconds; one is fetched for each refresh.
const TOKEN_SECONDS: &str = "60";

const DOING: &str = "get the key of the instance's RAM role";

/// Where to ask and for which role.
#[derive(Debug)]
pub(super) struct EcsRole {
    endpoint: String,
    role: Option<String>,
    /// The user has named this source: an instance that is not there is an error.
    wanted: bool,
}

impl EcsRole {
    /// From `ALIBABA_CLOUD_ECS_METADATA` (the role's name; by default the metadata says it). `None` when
    /// `ALIBABA_CLOUD_ECS_METADATA_DISABLED` forbids asking.
    pub(super) fn of(environment: &Environment) -> Option<EcsRole> {
        if environment.is_true("ALIBABA_CLOUD_ECS_METADATA_DISABLED") {
            return None;
        }
        let role = environment.variable("ALIBABA_CLOUD_ECS_METADATA");
        Some(EcsRole { wanted: role.is_some(), ..EcsRole::named(environment, role) })
    }

    /// The role that a profile names.
    pub(super) fn named(environment: &Environment, role: Option<String>) -> EcsRole {
        let endpoint = environment.variable("OTSVAULT_ECS_METADATA_ENDPOINT");
        EcsRole { endpoint: endpoint.unwrap_or_else(|| METADATA.to_owned()), role, wanted: true }
    }

    /// `again` when this source has given a key before.
    pub(super) async fn look(&self, again: bool) -> Result<Look> {
        // The address exists inside the instance only: no proxy knows it.
        let http = http_client(CONNECT_TIMEOUT, TIMEOUT, None)?;
        let folder = format!("{}/latest/meta-data/ram/security-credentials/", self.endpoint);
        let ask = http
            .put(format!("{}/latest/api/token", self.endpoint))
            .header("X-aliyun-ecs-metadata-token-ttl-seconds", TOKEN_SECONDS);
        let (status, token) = match exchange(ask, DOING).await {
            Ok(answer) => answer,
            Err(_) if !self.wanted && !again => {
                return Ok(Look::nothing(format!(
                    "no metadata service at {}: not an ECS instance",
                    self.endpoint
                )));
            }
            Err(error) => return Err(error.on(format!("at {}", self.endpoint))),
        };
        if status != 200 {
            return Err(self.refused("hand out a token", status));
        }
        let mut token = http::HeaderValue::from_bytes(&token)
            .map_err(|_| Error::new(Kind::Unavailable, DOING).because("the metadata token makes no sense"))?;
        token.set_sensitive(true);
        let get = |url: &str| http.get(url).header("X-aliyun-ecs-metadata-token", token.clone());

        let role = match &self.role {
            Some(role) => role.clone(),
            None => match exchange(get(&folder), DOING).await? {
                (200, body) => role_name(&body)?,
                (404, _) if !self.wanted && !again => {
                    return Ok(Look::nothing("the ECS instance has no RAM role"));
                }
                (status, _) => return Err(self.refused("name the role", status)),
            },
        };
        match exchange(get(&format!("{folder}{role}")), DOING).await? {
            (200, body) => Ok(Look::Key(Issued::from(parse::<TemporaryKey>(&body, DOING)?))),
            (404, _) => Err(Error::new(Kind::Permission, DOING)
                .on(format!("`{role}`"))
                .because("the instance has no such role")
                .hint("attach the role to the instance, or correct `ALIBABA_CLOUD_ECS_METADATA`")),
            (status, _) => Err(self.refused("give a key", status)),
        }
    }

    fn refused(&self, what: &str, status: u16) -> Error {
        let kind = if status >= 500 || status == 429 { Kind::Unavailable } else { Kind::Permission };
        Error::new(kind, DOING)
            .because(format!("the metadata service at {} did not {what}: status {status}", self.endpoint))
    }
}

/// A role's name goes into a path: letters, digits and a few signs (RAM, "CreateRole").
fn role_name(body: &[u8]) -> Result<String> {
    let name = std::str::from_utf8(body).unwrap_or_default().trim();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_plain) {
        return Err(Error::new(Kind::Unavailable, DOING).because("the metadata service names no role"));
    }
    Ok(name.to_owned())
}
