//! Access keys for both services. Never on a command line, never in a log, never in an error text.
//!
//! - [`Credentials`] is one key; [`CredentialsProvider`] gives the one to sign the next attempt with, and is what both
//!   clients hold. It refreshes temporary keys before they expire, one refresh at a time.
//! - [`CredentialChain`] is where keys come from: the environment, a profile file, OIDC, the RAM role of an ECS instance,
//!   in this order. The first source that is set up decides; one that is set up and fails is an error, not a reason to go
//!   on as somebody else.
//! - Anything else that issues keys implements [`Source`].

mod chain;
mod ecs_role;
mod environment;
mod oidc;
mod profile;
mod provider;
mod temporary;

pub use chain::CredentialChain;
pub use provider::{CredentialsProvider, Issued, Source};

use secrecy::{ExposeSecret, SecretString};

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
        access_key_secret: impl Into<SecretString>,
        security_token: Option<String>,
    ) -> Credentials {
        Credentials::of(
            access_key_id.into(),
            access_key_secret.into(),
            security_token.map(SecretString::from),
        )
    }

    fn of(access_key_id: String, secret: SecretString, token: Option<SecretString>) -> Credentials {
        let token = token.filter(|token| !token.expose_secret().is_empty());
        Credentials { access_key_id, secret, token }
    }

    /// The secret, for signing only.
    pub fn secret(&self) -> &str {
        self.secret.expose_secret()
    }

    /// The security token, for the request header only.
    pub fn token(&self) -> Option<&str> {
        self.token.as_ref().map(ExposeSecret::expose_secret)
    }

    /// Whether it is the same key, token included.
    pub(crate) fn is_same(&self, other: &Credentials) -> bool {
        self.access_key_id == other.access_key_id
            && self.secret() == other.secret()
            && self.token() == other.token()
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

    #[test]
    fn debug_shows_no_secret() {
        let shown = format!("{:?}", Credentials::new("id", "hush", Some("token".into())));
        assert!(!shown.contains("hush") && !shown.contains("token"), "{shown}");
    }
}
