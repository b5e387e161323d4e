//! A RAM role taken on with an OIDC token, as pods on ACK do (RRSA): STS `AssumeRoleWithOIDC`, which needs no signature.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::Issued;
use super::chain::Look;
use super::environment::Environment;
use super::temporary::{TemporaryKey, exchange, http_client, parse};
use crate::network::Network;
use crate::{Error, Kind, Result};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(20);

/// Lifetime of the key in seconds; the role's own limit is at least this (STS, "AssumeRoleWithOIDC": 900 to the role's
/// maximum, by default 3600).
const KEY_SECONDS: &str = "3600";

const DOING: &str = "take on the RAM role by OIDC";

/// Who to become, and what to prove it with.
#[derive(Debug)]
pub(super) struct Oidc {
    pub(super) role_arn: String,
    pub(super) provider_arn: String,
    /// Read again for each key: whoever mounts it renews it.
    pub(super) token_file: PathBuf,
    pub(super) session_name: Option<String>,
    endpoint: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    credentials: TemporaryKey,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Refusal {
    code: String,
    message: String,
    request_id: String,
}

impl Oidc {
    pub(super) fn new(
        environment: &Environment,
        role_arn: String,
        provider_arn: String,
        token_file: String,
        session_name: Option<String>,
    ) -> Oidc {
        let endpoint = endpoint(environment);
        Oidc { role_arn, provider_arn, token_file: token_file.into(), session_name, endpoint }
    }

    /// From the variables that RRSA sets. `Err` names the ones that are missing, with whether any is there.
    pub(super) fn of(environment: &Environment) -> Result<Oidc, (bool, String)> {
        let names =
            ["ALIBABA_CLOUD_ROLE_ARN", "ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "ALIBABA_CLOUD_OIDC_TOKEN_FILE"];
        match names.map(|name| environment.variable(name)) {
            [Some(role), Some(provider), Some(file)] => {
                let session = environment.variable("ALIBABA_CLOUD_ROLE_SESSION_NAME");
                Ok(Oidc::new(environment, role, provider, file, session))
            }
            found => {
                let missing: Vec<_> = std::iter::zip(names, &found)
                    .filter(|(_, value)| value.is_none())
                    .map(|(name, _)| format!("`{name}`"))
                    .collect();
                // The role alone is used by other sources too.
                let is_partly_set = found[1].is_some() || found[2].is_some();
                Err((is_partly_set, format!("{} not set", missing.join(", "))))
            }
        }
    }

    pub(super) async fn look(&self, network: &Network) -> Result<Look> {
        let file = self.token_file.display().to_string();
        let token = tokio::fs::read_to_string(&self.token_file).await.map_err(|error| {
            Error::new(Kind::Permission, "read the OIDC token file").on(format!("`{file}`")).source(error)
        })?;
        let token = SecretString::from(token.trim());
        if token.expose_secret().is_empty() {
            return Err(Error::new(Kind::Permission, "read the OIDC token file")
                .on(format!("`{file}`"))
                .because("it is empty"));
        }
        let form = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("RoleArn", &self.role_arn)
            .append_pair("OIDCProviderArn", &self.provider_arn)
            .append_pair("RoleSessionName", self.session_name.as_deref().unwrap_or("otsvault"))
            .append_pair("DurationSeconds", KEY_SECONDS)
            .append_pair("OIDCToken", token.expose_secret())
            .finish();
        let timestamp = jiff::Timestamp::now().strftime("%Y-%m-%dT%H%%3A%M%%3A%SZ");
        let nonce = format!("{:032x}", rand::random::<u128>());
        let url = format!(
            "{}/?Action=AssumeRoleWithOIDC&Format=JSON&Version=2015-04-01&Timestamp={timestamp}&SignatureNonce={nonce}",
            self.endpoint
        );
        let request = http_client(CONNECT_TIMEOUT, TIMEOUT, Some((network, is_local(&self.endpoint))))?
            .post(url)
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body(form);
        let (status, body) =
            exchange(request, DOING).await.map_err(|error| error.on(format!("at {}", self.endpoint)))?;
        if status == 200 {
            return Ok(Look::Key(Issued::from(parse::<Answer>(&body, DOING)?.credentials)));
        }
        Err(self.refused(status, &body, &token))
    }

    fn refused(&self, status: u16, body: &[u8], token: &SecretString) -> Error {
        let Refusal { code, message, request_id } = serde_json::from_slice(body).unwrap_or_default();
        let kind = if status >= 500 || status == 429 || code.starts_with("Throttling") {
            Kind::Unavailable
        } else {
            Kind::Permission
        };
        let code = if code.is_empty() { format!("HTTP status {status}") } else { code };
        let error = Error::new(kind, DOING)
            .on(format!("`{}`", self.role_arn))
            .code(code)
            .request_id(Some(request_id));
        let error = match message.is_empty() {
            true => error,
            // Whatever the service quotes of the request.
            false => error.because(message.replace(token.expose_secret(), "(token)")),
        };
        match kind {
            Kind::Permission => error.hint(format!(
                "check the role's trust policy, the OIDC provider `{}` and the token in `{}`",
                self.provider_arn,
                self.token_file.display()
            )),
            _ => error,
        }
    }
}

fn endpoint(environment: &Environment) -> String {
    if let Some(endpoint) = environment.variable("OTSVAULT_STS_ENDPOINT") {
        return endpoint.trim_end_matches('/').to_owned();
    }
    let host = if environment.is_true("ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED") { "sts-vpc" } else { "sts" };
    match environment.variable("ALIBABA_CLOUD_STS_REGION") {
        Some(region) => format!("https://{host}.{region}.aliyuncs.com"),
        None => "https://sts.aliyuncs.com".to_owned(),
    }
}

fn is_local(endpoint: &str) -> bool {
    ["http://127.0.0.1", "http://localhost", "http://[::1]"].iter().any(|start| endpoint.starts_with(start))
}
