//! Profiles: the aliyun CLI's `config.json` and the SDKs' `credentials` file.

mod cli_config;
mod sdk_file;

use std::path::PathBuf;

use secrecy::SecretString;

use super::Credentials;
use super::chain::Look;
use super::ecs_role::EcsRole;
use super::environment::Environment;
use super::oidc::Oidc;
use crate::network::Network;
use crate::{Error, Kind, Result};

/// What both files can say about a profile, in the CLI's words.
#[derive(Default)]
struct Profile {
    mode: String,
    access_key_id: Option<String>,
    access_key_secret: Option<SecretString>,
    sts_token: Option<SecretString>,
    ram_role_name: Option<String>,
    ram_role_arn: Option<String>,
    ram_session_name: Option<String>,
    oidc_provider_arn: Option<String>,
    oidc_token_file: Option<String>,
}

/// Both files and the profile that is wanted.
pub(super) struct Profiles<'a> {
    environment: &'a Environment,
    network: &'a Network,
    /// `None` takes the file's own choice.
    name: Option<String>,
}

enum Format {
    Cli,
    Sdk,
}

impl<'a> Profiles<'a> {
    pub(super) fn new(
        environment: &'a Environment,
        network: &'a Network,
        name: Option<String>,
    ) -> Profiles<'a> {
        Profiles { environment, network, name }
    }

    /// The key of the profile, from the first file that has it.
    ///
    /// # Errors
    /// [`Kind::Permission`] for a profile that was named and is nowhere, for one that is incomplete or of a kind that is
    /// not supported, and for a file that cannot be read.
    pub(super) async fn look(&self) -> Result<Look> {
        let mut looked = Vec::new();
        for (path, format) in self.files() {
            let shown = path.display().to_string();
            let text = match tokio::fs::read_to_string(&path).await {
                Ok(text) => SecretString::from(text),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    looked.push(format!("no `{shown}`"));
                    continue;
                }
                Err(error) => {
                    return Err(Error::new(Kind::Permission, "read the profile file")
                        .on(format!("`{shown}`"))
                        .source(error));
                }
            };
            let wanted = self.name.as_deref();
            let found = match format {
                Format::Cli => cli_config::find(&text, wanted),
                Format::Sdk => sdk_file::find(&text, wanted),
            };
            let found = found.map_err(|why| {
                Error::new(Kind::Permission, "read the profile file").on(format!("`{shown}`")).because(why)
            })?;
            match found {
                Some((name, profile)) => return self.use_profile(&name, profile, &shown).await,
                None => looked.push(match wanted {
                    Some(name) => format!("no profile `{name}` in `{shown}`"),
                    None => format!("no default profile with a key in `{shown}`"),
                }),
            }
        }
        let why = if looked.is_empty() { "`HOME` is not set".to_owned() } else { looked.join(", ") };
        match &self.name {
            Some(name) => {
                Err(Error::new(Kind::Permission, "find the profile").on(format!("`{name}`")).because(why))
            }
            None => Ok(Look::Nothing(why)),
        }
    }

    fn files(&self) -> Vec<(PathBuf, Format)> {
        let home = self.environment.home();
        let below_home = |name: &str| home.as_ref().map(|home| home.join(name));
        let sdk = self.environment.variable("ALIBABA_CLOUD_CREDENTIALS_FILE").map(PathBuf::from);
        [
            (below_home(".aliyun/config.json"), Format::Cli),
            (sdk.or_else(|| below_home(".alibabacloud/credentials")), Format::Sdk),
        ]
        .into_iter()
        .filter_map(|(path, format)| Some((path?, format)))
        .collect()
    }

    async fn use_profile(&self, name: &str, profile: Profile, file: &str) -> Result<Look> {
        let wrong = |why: String| {
            Error::new(Kind::Permission, "use the profile").on(format!("`{name}` of `{file}`")).because(why)
        };
        let missing = |what: &str| wrong(format!("it has no `{what}`"));
        match profile.mode.as_str() {
            mode @ ("AK" | "StsToken") => {
                let id = profile.access_key_id.ok_or_else(|| missing("access_key_id"))?;
                let secret = profile.access_key_secret.ok_or_else(|| missing("access_key_secret"))?;
                if mode == "StsToken" && profile.sts_token.is_none() {
                    return Err(missing("sts_token"));
                }
                let token = profile.sts_token.filter(|_| mode == "StsToken");
                Ok(Look::Key(Credentials::of(id, secret, token).into()))
            }
            "EcsRamRole" => EcsRole::named(self.environment, profile.ram_role_name).look(true).await,
            "OIDC" => {
                let oidc = Oidc::new(
                    self.environment,
                    profile.ram_role_arn.ok_or_else(|| missing("ram_role_arn"))?,
                    profile.oidc_provider_arn.ok_or_else(|| missing("oidc_provider_arn"))?,
                    profile.oidc_token_file.ok_or_else(|| missing("oidc_token_file"))?,
                    profile.ram_session_name,
                );
                oidc.look(self.network).await
            }
            other => Err(wrong(format!("its kind `{other}` is not supported"))
                .hint("supported are access keys, STS tokens, ECS RAM roles and OIDC")),
        }
    }
}
