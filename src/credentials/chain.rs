//! Where keys come from, source by source.

use std::collections::HashMap;
use std::sync::OnceLock;

use async_trait::async_trait;

use super::ecs_role::EcsRole;
use super::environment::Environment;
use super::oidc::Oidc;
use super::profile::Profiles;
use super::provider::{Issued, Source};
use super::{CredentialsProvider, Service};
use crate::network::Network;
use crate::{Error, Kind, Result};

/// What a source says when it is asked.
pub(super) enum Look {
    /// A key.
    Key(Issued),
    /// It is not set up; the next one is asked. The reason is shown when none has a key.
    Nothing(String),
}

impl Look {
    pub(super) fn nothing(why: impl Into<String>) -> Look {
        Look::Nothing(why.into())
    }
}

/// The sources of keys for one service, in the order in which they are asked:
///
/// 1. a profile, if [`CredentialChain::profile`] names one;
/// 2. the environment: `OTS_ACCESS_KEY_ID`, `…_ACCESS_KEY_SECRET`, `…_SECURITY_TOKEN` (for OSS `OSS_…`), then
///    `ALIBABA_CLOUD_…` of the same names;
/// 3. a profile file: `~/.aliyun/config.json`, then `~/.alibabacloud/credentials` (`ALIBABA_CLOUD_CREDENTIALS_FILE`); the
///    profile is `ALIBABA_CLOUD_PROFILE`, else the file's current or `default` one;
/// 4. OIDC: `ALIBABA_CLOUD_ROLE_ARN`, `ALIBABA_CLOUD_OIDC_PROVIDER_ARN`, `ALIBABA_CLOUD_OIDC_TOKEN_FILE`;
/// 5. the RAM role of the ECS instance, unless `ALIBABA_CLOUD_ECS_METADATA_DISABLED` is `true`.
///
/// The source that gave the first key gives all later ones.
pub struct CredentialChain {
    service: Service,
    environment: Environment,
    network: Network,
    profile: Option<String>,
    chosen: OnceLock<Step>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    NamedProfile,
    Environment,
    Profile,
    Oidc,
    EcsRole,
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Step::NamedProfile => "the profile asked for",
            Step::Environment => "environment",
            Step::Profile => "profile file",
            Step::Oidc => "OIDC",
            Step::EcsRole => "ECS RAM role",
        }
    }
}

impl CredentialChain {
    /// For one service, with the variables of this process. Nothing is read yet.
    pub fn new(service: Service) -> CredentialChain {
        let environment = Environment::OfProcess;
        let network = Network::default();
        CredentialChain { service, environment, network, profile: None, chosen: OnceLock::new() }
    }

    /// With these variables in place of the process's, `HOME` included.
    pub fn with_variables<K: Into<String>, V: Into<String>>(
        mut self,
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> CredentialChain {
        let variables: HashMap<String, String> =
            variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        self.environment = Environment::Of(variables);
        self
    }

    /// With a profile that is used whatever else is set.
    pub fn profile(mut self, name: Option<String>) -> CredentialChain {
        self.profile = name;
        self
    }

    /// How STS is reached. The metadata service of an ECS instance is always asked directly, and without TLS.
    pub fn network(mut self, network: Network) -> CredentialChain {
        self.network = network;
        self
    }

    /// The provider that a client holds.
    pub fn provider(self) -> CredentialsProvider {
        CredentialsProvider::new(self)
    }

    fn steps(&self) -> &'static [Step] {
        match self.profile {
            Some(_) => &[Step::NamedProfile],
            None => &[Step::Environment, Step::Profile, Step::Oidc, Step::EcsRole],
        }
    }

    /// `again` when this step has given a key before.
    async fn look(&self, step: Step, again: bool) -> Result<Look> {
        let environment = &self.environment;
        match step {
            Step::Environment => environment.look(self.service),
            Step::NamedProfile => {
                Profiles::new(environment, &self.network, self.profile.clone()).look().await
            }
            Step::Profile => {
                let name = environment.variable("ALIBABA_CLOUD_PROFILE");
                Profiles::new(environment, &self.network, name).look().await
            }
            Step::Oidc => match Oidc::of(environment) {
                Ok(oidc) => oidc.look(&self.network).await,
                Err((false, missing)) => Ok(Look::Nothing(missing)),
                Err((true, missing)) => {
                    Err(Error::new(Kind::Permission, "take on the RAM role by OIDC").because(missing))
                }
            },
            Step::EcsRole => match EcsRole::of(environment) {
                Some(role) => role.look(again).await,
                None => Ok(Look::nothing("`ALIBABA_CLOUD_ECS_METADATA_DISABLED` is set")),
            },
        }
    }

    fn error(&self, kind: Kind) -> Error {
        Error::new(kind, format!("get an access key for {}", self.service.name()))
    }

    fn failed(&self, step: Step, error: Error, tried: &[String]) -> Error {
        let mut reason = format!("{} failed", step.name());
        if !tried.is_empty() {
            reason.push_str(&format!("; before it: {}", tried.join("; ")));
        }
        self.error(error.kind()).because(reason).source(error)
    }
}

#[async_trait]
impl Source for CredentialChain {
    async fn issue(&self) -> Result<Issued> {
        if let Some(step) = self.chosen.get().copied() {
            return match self.look(step, true).await {
                Ok(Look::Key(issued)) => Ok(issued),
                Ok(Look::Nothing(why)) => Err(self
                    .error(Kind::Permission)
                    .because(format!("{} gives none any more: {why}", step.name()))),
                Err(error) => Err(self.failed(step, error, &[])),
            };
        }
        let mut tried = Vec::new();
        for &step in self.steps() {
            match self.look(step, false).await {
                Ok(Look::Key(issued)) => {
                    tracing::info!(service = self.service.name(), source = step.name(), "access key found");
                    let _ = self.chosen.set(step);
                    return Ok(issued);
                }
                Ok(Look::Nothing(why)) => tried.push(format!("{}: {why}", step.name())),
                Err(error) => return Err(self.failed(step, error, &tried)),
            }
        }
        let own = self.service.prefix();
        Err(self.error(Kind::Permission).because(format!("no source has one: {}", tried.join("; "))).hint(format!(
            "set `ALIBABA_CLOUD_ACCESS_KEY_ID` and `ALIBABA_CLOUD_ACCESS_KEY_SECRET` (or `{own}_ACCESS_KEY_ID` and \
             `{own}_ACCESS_KEY_SECRET`), or name a profile of the aliyun CLI with `--profile`"
        )))
    }
}
