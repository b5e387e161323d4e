//! The aliyun CLI's `~/.aliyun/config.json`.

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::Profile;

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    current: String,
    #[serde(default)]
    profiles: Vec<Entry>,
}

/// The CLI writes every field, empty where it is not used.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Entry {
    name: String,
    mode: String,
    access_key_id: String,
    access_key_secret: Option<SecretString>,
    sts_token: Option<SecretString>,
    ram_role_name: String,
    ram_role_arn: String,
    ram_session_name: String,
    oidc_provider_arn: String,
    oidc_token_file: String,
}

/// The named profile, or the file's current one if that has been filled in.
///
/// # Errors
/// What is wrong with the file; without the parser's words, which quote it.
pub(super) fn find(text: &SecretString, name: Option<&str>) -> Result<Option<(String, Profile)>, String> {
    let config: Config = serde_json::from_str(text.expose_secret()).map_err(|error| {
        format!("it is not the CLI's JSON: line {}, column {}", error.line(), error.column())
    })?;
    let wanted = match name {
        Some(name) => name,
        None if config.current.is_empty() => "default",
        None => &config.current,
    };
    let found = config.profiles.into_iter().find(|entry| entry.name == wanted);
    // `aliyun configure` leaves an empty default profile behind when it is broken off.
    let is_usable = |entry: &Entry| name.is_some() || entry.mode != "AK" || !entry.access_key_id.is_empty();
    Ok(found.filter(is_usable).map(|entry| (entry.name.clone(), entry.into())))
}

impl From<Entry> for Profile {
    fn from(entry: Entry) -> Profile {
        let text = |value: String| Some(value).filter(|value| !value.is_empty());
        let secret = |value: Option<SecretString>| value.filter(|value| !value.expose_secret().is_empty());
        Profile {
            mode: if entry.mode.is_empty() { "AK".to_owned() } else { entry.mode },
            access_key_id: text(entry.access_key_id),
            access_key_secret: secret(entry.access_key_secret),
            sts_token: secret(entry.sts_token),
            ram_role_name: text(entry.ram_role_name),
            ram_role_arn: text(entry.ram_role_arn),
            ram_session_name: text(entry.ram_session_name),
            oidc_provider_arn: text(entry.oidc_provider_arn),
            oidc_token_file: text(entry.oidc_token_file),
        }
    }
}
