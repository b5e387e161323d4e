//! The SDKs' `~/.alibabacloud/credentials`: sections of `name = value` lines.
//!
//! Read here and not by a crate: the errors of an INI parser quote the line they do not like, and that may be the secret.

use std::collections::HashMap;

use secrecy::{ExposeSecret, SecretString};

use super::Profile;

/// The named section, or `default` if it has a type.
///
/// # Errors
/// The number of the line that is neither a section, a value nor a comment.
pub(super) fn find(text: &SecretString, name: Option<&str>) -> Result<Option<(String, Profile)>, String> {
    let wanted = name.unwrap_or("default");
    let mut is_inside = false;
    let mut found: Option<HashMap<String, &str>> = None;
    for (number, line) in text.expose_secret().lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(section) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            is_inside = section.trim() == wanted;
            if is_inside {
                found.get_or_insert_default();
            }
            continue;
        }
        let Some((key, value)) = line.split_once('=') else {
            return Err(format!("line {} is neither `[section]` nor `name = value`", number + 1));
        };
        if is_inside && !value.trim().is_empty() {
            found.get_or_insert_default().insert(key.trim().to_ascii_lowercase(), value.trim());
        }
    }
    let Some(mut values) = found else { return Ok(None) };
    if name.is_none() && !values.contains_key("type") {
        return Ok(None);
    }
    let mut take = |key: &str| values.remove(key).map(str::to_owned);
    let mode = match take("type").as_deref() {
        Some("access_key") | None => "AK".to_owned(),
        Some("sts") => "StsToken".to_owned(),
        Some("ecs_ram_role") => "EcsRamRole".to_owned(),
        Some("oidc_role_arn") => "OIDC".to_owned(),
        Some(other) => other.to_owned(),
    };
    let profile = Profile {
        mode,
        access_key_id: take("access_key_id"),
        access_key_secret: take("access_key_secret").map(SecretString::from),
        sts_token: take("security_token").map(SecretString::from),
        ram_role_name: take("role_name"),
        ram_role_arn: take("role_arn"),
        ram_session_name: take("role_session_name"),
        oidc_provider_arn: take("oidc_provider_arn"),
        oidc_token_file: take("oidc_token_file_path"),
    };
    Ok(Some((wanted.to_owned(), profile)))
}
