//! Access keys for both services. Never on a command line, never in a log, never in an error text.

use secrecy::{ExposeSecret, SecretString};

use crate::{Error, Kind, Result};

/// An access key, with the security token when it is a temporary one. Has no `Display`; `Debug` hides the secrets.
#[derive(Clone)]
pub struct Credentials {
    /// Access key id; not a secret, it is sent in clear with every request.
    pub access_key_id: String,
    secret: SecretString,
    token: Option<SecretString>,
}

impl Credentials {
    /// A key pair and, for temporary credentials, the token.
    pub fn new(
        access_key_id: impl Into<String>,
        access_key_secret: impl Into<String>,
        security_token: Option<String>,
    ) -> Credentials {
        Credentials {
            access_key_id: access_key_id.into(),
            secret: SecretString::from(access_key_secret.into()),
            token: security_token.filter(|token| !token.is_empty()).map(SecretString::from),
        }
    }

    /// The secret, for signing only.
    pub fn secret(&self) -> &str {
        self.secret.expose_secret()
    }

    /// The security token, for the request header only.
    pub fn token(&self) -> Option<&str> {
        self.token.as_ref().map(ExposeSecret::expose_secret)
    }

    /// Reads `<PREFIX>_ACCESS_KEY_ID`, `…_ACCESS_KEY_SECRET` and the token of the service (`OTS` or `OSS`), then the
    /// `ALIBABA_CLOUD_…` names that both services share.
    ///
    /// # Errors
    /// [`Kind::Permission`] when neither set is complete.
    pub fn from_environment(service: Service) -> Result<Credentials> {
        Credentials::from_variables(service, |name| {
            std::env::var(name).ok().filter(|value| !value.is_empty())
        })
    }

    fn from_variables(service: Service, variable: impl Fn(&str) -> Option<String>) -> Result<Credentials> {
        let own = service.prefix();
        for (prefix, tokens) in
            [(own, ["SECURITY_TOKEN", "SESSION_TOKEN"]), ("ALIBABA_CLOUD", ["SECURITY_TOKEN"; 2])]
        {
            let id = variable(&format!("{prefix}_ACCESS_KEY_ID"));
            let secret = variable(&format!("{prefix}_ACCESS_KEY_SECRET"));
            match (id, secret) {
                (Some(id), Some(secret)) => {
                    let token = tokens.iter().find_map(|name| variable(&format!("{prefix}_{name}")));
                    return Ok(Credentials::new(id, secret, token));
                }
                (None, None) => {}
                _ => {
                    return Err(Error::new(Kind::Permission, "read credentials from the environment")
                        .because(format!(
                            "only one of `{prefix}_ACCESS_KEY_ID` and `{prefix}_ACCESS_KEY_SECRET` is set"
                        )));
                }
            }
        }
        Err(Error::new(Kind::Permission, format!("find credentials for {}", service.name()))
            .because("no access key in the environment")
            .hint(format!(
                "set `ALIBABA_CLOUD_ACCESS_KEY_ID` and `ALIBABA_CLOUD_ACCESS_KEY_SECRET` (or `{own}_ACCESS_KEY_ID` \
                 and `{own}_ACCESS_KEY_SECRET`)"
            )))
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}

/// The service that a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// Table Store: `OTS_…`.
    TableStore,
    /// OSS: `OSS_…`.
    Oss,
}

impl Service {
    fn prefix(self) -> &'static str {
        match self {
            Service::TableStore => "OTS",
            Service::Oss => "OSS",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Service::TableStore => "Table Store",
            Service::Oss => "OSS",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(variables: &[(&str, &str)]) -> Result<Credentials> {
        Credentials::from_variables(Service::Oss, |name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn a_services_own_variables_come_before_the_shared_ones() {
        let shared = [("ALIBABA_CLOUD_ACCESS_KEY_ID", "a"), ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "b")];
        assert_eq!(from(&shared).unwrap().access_key_id, "a");
        let own = [("OSS_ACCESS_KEY_ID", "c"), ("OSS_ACCESS_KEY_SECRET", "d"), ("OSS_SESSION_TOKEN", "t")];
        let found = from(&[shared.as_slice(), own.as_slice()].concat()).unwrap();
        assert_eq!((found.access_key_id.as_str(), found.secret(), found.token()), ("c", "d", Some("t")));
    }

    #[test]
    fn half_a_key_is_an_error_and_debug_shows_no_secret() {
        assert_eq!(from(&[("OSS_ACCESS_KEY_ID", "c")]).unwrap_err().exit_code(), 8);
        let shown = format!("{:?}", Credentials::new("id", "hush", Some("token".into())));
        assert!(!shown.contains("hush") && !shown.contains("token"), "{shown}");
    }
}
