//! Keys and settings from environment variables.

use std::collections::HashMap;
use std::path::PathBuf;

use super::chain::Look;
use super::{Credentials, Service};
use crate::{Error, Kind, Result};

/// The variables of the process, or those of a test. Empty values count as unset.
pub(super) enum Environment {
    OfProcess,
    Of(HashMap<String, String>),
}

impl Environment {
    pub(super) fn variable(&self, name: &str) -> Option<String> {
        let value = match self {
            Environment::OfProcess => std::env::var(name).ok(),
            Environment::Of(variables) => variables.get(name).cloned(),
        };
        value.map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    pub(super) fn is_true(&self, name: &str) -> bool {
        self.variable(name).is_some_and(|value| value.eq_ignore_ascii_case("true") || value == "1")
    }

    pub(super) fn home(&self) -> Option<PathBuf> {
        self.variable("HOME").or_else(|| self.variable("USERPROFILE")).map(PathBuf::from)
    }

    /// `<PREFIX>_ACCESS_KEY_ID`, `…_ACCESS_KEY_SECRET` and the token of the service (`OTS` or `OSS`), then the
    /// `ALIBABA_CLOUD_…` names that both services share.
    ///
    /// # Errors
    /// [`Kind::Permission`] when only one half of a pair is set.
    pub(super) fn look(&self, service: Service) -> Result<Look> {
        let own = service.prefix();
        for prefix in [own, "ALIBABA_CLOUD"] {
            let id = self.variable(&format!("{prefix}_ACCESS_KEY_ID"));
            let secret = self.variable(&format!("{prefix}_ACCESS_KEY_SECRET"));
            match (id, secret) {
                (Some(id), Some(secret)) => {
                    let tokens = ["SECURITY_TOKEN", "SESSION_TOKEN"];
                    let token = tokens.iter().find_map(|name| self.variable(&format!("{prefix}_{name}")));
                    return Ok(Look::Key(Credentials::new(id, secret, token).into()));
                }
                (None, None) => {}
                _ => {
                    return Err(Error::new(Kind::Permission, "read the access key from the environment")
                        .because(format!(
                            "only one of `{prefix}_ACCESS_KEY_ID` and `{prefix}_ACCESS_KEY_SECRET` is set"
                        )));
                }
            }
        }
        Ok(Look::nothing(format!("neither `{own}_ACCESS_KEY_ID` nor `ALIBABA_CLOUD_ACCESS_KEY_ID` is set")))
    }
}
