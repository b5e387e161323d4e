//! Where access keys come from: each source against files and local servers, and the order between them.

mod issuers;

use std::path::{Path, PathBuf};

use issuers::{Issuers, KEY};
use jiff::{SignedDuration, Timestamp};
use otsvault::Kind;
use otsvault::credentials::{CredentialChain, Credentials, Service, Source};
use otsvault::network::Network;
use rstest::rstest;

const ID: &str = "ALIBABA_CLOUD_ACCESS_KEY_ID";
const SECRET: &str = "ALIBABA_CLOUD_ACCESS_KEY_SECRET";
/// Nothing listens there.
const NOBODY: &str = "http://127.0.0.1:1";

/// A home directory and the variables of a process that lives in it.
struct Home {
    directory: tempfile::TempDir,
    variables: Vec<(String, String)>,
}

impl Home {
    fn new() -> Home {
        let directory = tempfile::tempdir().unwrap();
        let home = directory.path().display().to_string();
        let home = Home { directory, variables: vec![("HOME".into(), home)] };
        home.with("OTSVAULT_ECS_METADATA_ENDPOINT", NOBODY).with("OTSVAULT_STS_ENDPOINT", NOBODY)
    }

    fn with(mut self, name: &str, value: impl ToString) -> Home {
        self.variables.push((name.to_owned(), value.to_string()));
        self
    }

    fn with_file(self, name: &str, text: &str) -> Home {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    fn with_oidc(self, endpoint: &str) -> Home {
        let file = self.path("token");
        self.with("ALIBABA_CLOUD_ROLE_ARN", "acs:ram::1:role/backup")
            .with("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "acs:ram::1:oidc-provider/ack")
            .with("ALIBABA_CLOUD_OIDC_TOKEN_FILE", file.display())
            .with("OTSVAULT_STS_ENDPOINT", endpoint)
    }

    fn path(&self, name: &str) -> PathBuf {
        Path::new(self.directory.path()).join(name)
    }

    fn chain(&self) -> CredentialChain {
        CredentialChain::new(Service::Oss).with_variables(self.variables.clone())
    }

    async fn key(&self) -> Credentials {
        self.chain().issue().await.unwrap().credentials
    }

    async fn refusal(&self) -> otsvault::Error {
        self.chain().issue().await.unwrap_err()
    }
}

fn parts(key: &Credentials) -> (&str, &str, Option<&str>) {
    (&key.access_key_id, key.secret(), key.token())
}

#[tokio::test]
async fn a_services_own_variables_come_before_the_shared_ones() {
    let home = Home::new().with(ID, "a").with(SECRET, "b");
    assert_eq!(parts(&home.key().await), ("a", "b", None));
    let home = home.with("OSS_ACCESS_KEY_ID", "c").with("OSS_ACCESS_KEY_SECRET", "d");
    let home = home.with("OSS_SESSION_TOKEN", "t");
    assert_eq!(parts(&home.key().await), ("c", "d", Some("t")));
    let table_store = CredentialChain::new(Service::TableStore).with_variables(home.variables.clone());
    assert_eq!(table_store.issue().await.unwrap().credentials.access_key_id, "a");
}

#[tokio::test]
async fn half_a_key_is_an_error_and_not_a_reason_to_look_further() {
    let home = Home::new().with("OSS_ACCESS_KEY_ID", "c").with(ID, "a").with(SECRET, "b");
    let error = home.refusal().await;
    assert_eq!(error.kind(), Kind::Permission);
    assert!(error.report().contains("`OSS_ACCESS_KEY_SECRET`"), "{}", error.report());
}

const CLI_CONFIG: &str = r#"{"current": "work", "profiles": [
    {"name": "default", "mode": "AK", "access_key_id": "", "access_key_secret": "", "expired_seconds": 0},
    {"name": "work", "mode": "AK", "access_key_id": "w", "access_key_secret": "ws", "sts_token": ""},
    {"name": "sts", "mode": "StsToken", "access_key_id": "s", "access_key_secret": "ss", "sts_token": "st"},
    {"name": "role", "mode": "RamRoleArn", "access_key_id": "s", "access_key_secret": "CANARY"},
    {"name": "half", "mode": "AK", "access_key_id": "h"}]}"#;

const SDK_FILE: &str = "; both services\n[default]\ntype = access_key\naccess_key_id = d\naccess_key_secret = ds=\n\
    [sts2]\ntype = sts\naccess_key_id = s2\naccess_key_secret = ss2\nsecurity_token = st2\n";

#[rstest]
#[case::current(None, ("w", "ws", None))]
#[case::sts(Some("sts"), ("s", "ss", Some("st")))]
#[case::only_in_the_second_file(Some("sts2"), ("s2", "ss2", Some("st2")))]
#[tokio::test]
async fn profiles_are_found_in_both_files(
    #[case] profile: Option<&str>,
    #[case] expected: (&str, &str, Option<&str>),
) {
    let home = Home::new()
        .with_file(".aliyun/config.json", CLI_CONFIG)
        .with_file(".alibabacloud/credentials", SDK_FILE);
    let home = match profile {
        Some(profile) => home.with("ALIBABA_CLOUD_PROFILE", profile),
        None => home,
    };
    assert_eq!(parts(&home.key().await), expected);
}

#[tokio::test]
async fn the_sdks_file_can_lie_elsewhere_and_has_a_default_section() {
    let home = Home::new().with_file("keys", SDK_FILE);
    let file = home.path("keys").display().to_string();
    let home = home.with("ALIBABA_CLOUD_CREDENTIALS_FILE", file);
    assert_eq!(parts(&home.key().await), ("d", "ds=", None));
}

#[tokio::test]
async fn a_profile_that_is_asked_for_comes_before_the_environment() {
    let home = Home::new().with_file(".aliyun/config.json", CLI_CONFIG).with(ID, "a").with(SECRET, "b");
    assert_eq!(home.key().await.access_key_id, "a");
    let asked = home.chain().profile(Some("work".into()));
    assert_eq!(asked.issue().await.unwrap().credentials.access_key_id, "w");
}

#[rstest]
#[case::unknown("nobody", "no profile `nobody`")]
#[case::unsupported("role", "`RamRoleArn` is not supported")]
#[case::half("half", "no `access_key_secret`")]
#[tokio::test]
async fn a_named_profile_that_gives_no_key_is_an_error(#[case] name: &str, #[case] said: &str) {
    let home = Home::new().with_file(".aliyun/config.json", CLI_CONFIG).with("ALIBABA_CLOUD_PROFILE", name);
    let error = home.refusal().await;
    assert_eq!(error.kind(), Kind::Permission);
    assert!(error.report().contains(said), "{}", error.report());
    assert!(!error.report().contains("CANARY"), "{}", error.report());
}

#[rstest]
#[case::json(
    ".aliyun/config.json",
    r#"{"profiles": [{"name": 1, "access_key_secret": "CANARY"}]}"#,
    "line 1"
)]
#[case::cut_json(".aliyun/config.json", r#"{"profiles": [{"access_key_secret": "CANARY"#, "line 1")]
#[case::ini(".alibabacloud/credentials", "[default]\naccess_key_secret: CANARY\n", "line 2")]
#[tokio::test]
async fn a_damaged_profile_file_is_named_and_not_quoted(
    #[case] file: &str,
    #[case] text: &str,
    #[case] said: &str,
) {
    let error = Home::new().with_file(file, text).refusal().await;
    let report = error.report();
    assert!(report.contains(said) && report.contains(file) && !report.contains("CANARY"), "{report}");
}

#[tokio::test]
async fn without_a_key_the_error_names_every_source_and_why_it_has_none() {
    let home = Home::new();
    let error = home.refusal().await;
    assert_eq!(error.exit_code(), 8);
    let report = error.report().replace(&home.directory.path().display().to_string(), "~");
    insta::assert_snapshot!(report);
}

#[tokio::test]
async fn oidc_trades_the_token_in_the_file_as_it_is_now_for_a_key() {
    let issuers = Issuers::start().await;
    let home = Home::new().with_file("token", "jwt-1\n").with_oidc(&issuers.endpoint);
    let chain = home.chain();
    let first = chain.issue().await.unwrap();
    assert_eq!(parts(&first.credentials), ("STS.1", KEY, Some("token-1")));
    let left = first.expires.unwrap().duration_since(Timestamp::now());
    assert!(left > SignedDuration::from_mins(59) && left <= SignedDuration::from_mins(60), "{left:?}");

    std::fs::write(home.path("token"), "jwt-2").unwrap();
    assert_eq!(chain.issue().await.unwrap().credentials.access_key_id, "STS.2");
    let asked = issuers.requests();
    assert_eq!(asked.len(), 2);
    for (request, token) in asked.iter().zip(["jwt-1", "jwt-2"]) {
        assert_eq!(request.method, "POST");
        assert_eq!(request.query("Action"), "AssumeRoleWithOIDC");
        assert_eq!(request.query("Version"), "2015-04-01");
        assert_eq!(request.form("OIDCToken"), token);
        assert_eq!(request.form("RoleArn"), "acs:ram::1:role/backup");
        assert_eq!(request.form("OIDCProviderArn"), "acs:ram::1:oidc-provider/ack");
        assert_eq!(request.form("RoleSessionName"), "otsvault");
        assert!(!request.uri.contains("jwt"), "no secret in a URL: {}", request.uri);
    }
}

#[tokio::test]
async fn sts_is_asked_through_the_proxy_and_the_metadata_service_never() {
    let issuers = Issuers::start().await;
    let network = || Network::default().with_proxy(&issuers.endpoint).unwrap();
    // The name exists nowhere; a proxy is asked in absolute form.
    let home = Home::new().with_file("token", "jwt").with_oidc("http://sts.invalid");
    let issued = home.chain().network(network()).issue().await.unwrap();
    assert_eq!(issued.credentials.access_key_id, "STS.1");
    assert!(issuers.requests()[0].uri.starts_with("http://sts.invalid/?"), "{}", issuers.requests()[0].uri);

    let home = Home::new()
        .with("ALIBABA_CLOUD_ECS_METADATA", "backup-role")
        .with("OTSVAULT_ECS_METADATA_ENDPOINT", NOBODY);
    assert!(home.chain().network(network()).issue().await.is_err());
    assert_eq!(issuers.requests().len(), 1, "nobody asks a proxy for the metadata");
}

#[rstest]
#[case::refused(400, Kind::Permission)]
#[case::busy(503, Kind::Unavailable)]
#[tokio::test]
async fn what_sts_answers_is_told_without_the_token(#[case] status: u16, #[case] kind: Kind) {
    let issuers = Issuers::start().await;
    issuers.refuse_with(status);
    let home = Home::new().with_file("token", "CANARY").with_oidc(&issuers.endpoint);
    let error = home.refusal().await;
    assert_eq!(error.kind(), kind);
    let report = error.report();
    assert!(report.contains("AuthenticationFail.OIDCToken") && report.contains("request id R-1"), "{report}");
    assert!(report.contains("before it: environment") && !report.contains("CANARY"), "{report}");
}

#[rstest]
#[case::no_file("missing", None, "OIDC token file")]
#[case::empty_file("token", Some(" \n"), "empty")]
#[tokio::test]
async fn an_oidc_token_that_is_not_there_is_named(
    #[case] name: &str,
    #[case] text: Option<&str>,
    #[case] said: &str,
) {
    let home = Home::new().with_oidc(NOBODY);
    if let Some(text) = text {
        std::fs::write(home.path(name), text).unwrap();
    }
    let error = home.refusal().await;
    assert_eq!(error.kind(), Kind::Permission);
    assert!(error.report().contains(said), "{}", error.report());
}

#[rstest]
#[case::found_by_itself(None, 3)]
#[case::named(Some("backup-role"), 2)]
#[tokio::test]
async fn the_role_of_an_ecs_instance_is_read_with_a_metadata_token(
    #[case] role: Option<&str>,
    #[case] requests: usize,
) {
    let issuers = Issuers::start().await;
    let home = Home::new().with("OTSVAULT_ECS_METADATA_ENDPOINT", &issuers.endpoint);
    let home = match role {
        Some(role) => home.with("ALIBABA_CLOUD_ECS_METADATA", role),
        None => home,
    };
    let key = home.key().await;
    assert_eq!(parts(&key), ("STS.1", KEY, Some("token-1")));
    assert_eq!(issuers.requests().len(), requests);
}

#[tokio::test]
async fn an_instance_without_a_role_is_the_end_of_the_chain_and_a_wrong_role_is_an_error() {
    let issuers = Issuers::start().await;
    issuers.without_role();
    let home = Home::new().with("OTSVAULT_ECS_METADATA_ENDPOINT", &issuers.endpoint);
    let report = home.refusal().await.report();
    assert!(report.contains("no source has one") && report.contains("has no RAM role"), "{report}");

    let home = home.with("ALIBABA_CLOUD_ECS_METADATA", "nobody");
    let report = home.refusal().await.report();
    assert!(report.contains("`nobody`: the instance has no such role"), "{report}");
}

#[tokio::test]
async fn the_source_that_gave_the_first_key_is_not_left_for_another_one() {
    let issuers = Issuers::start().await;
    let home = Home::new().with("OTSVAULT_ECS_METADATA_ENDPOINT", &issuers.endpoint);
    let chain = home.chain();
    chain.issue().await.unwrap();
    // A profile that turns up later is somebody else's.
    let home = home.with_file(".aliyun/config.json", CLI_CONFIG);
    assert_eq!(chain.issue().await.unwrap().credentials.access_key_id, "STS.2");
    issuers.without_role();
    let error = chain.issue().await.unwrap_err();
    assert!(error.report().contains("ECS RAM role failed"), "{}", error.report());
    drop(home);
}
