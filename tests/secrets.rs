//! Secrets planted in every source never appear in anything that a command prints or writes, at the highest log level,
//! whether it succeeds or fails.

mod stage;

use std::path::Path;
use std::time::Duration;

use axum::Router;
use axum::http::{Method, StatusCode, Uri};
use base64::Engine as _;
use otsvault::sandbox::oss::OssServerOptions;
use otsvault::sandbox::{Sandbox, SandboxOptions};
use rstest::rstest;
use stage::{Ended, On, Stage, finish};

const SECRET: &str = "CANARY-access-key-secret";
const TOKEN: &str = "CANARY-security-token";
const OIDC: &str = "CANARY-oidc-token";
const METADATA: &str = "CANARY-metadata-token";
const PLANTED: [&str; 4] = [SECRET, TOKEN, OIDC, METADATA];

/// Where the planted key comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    Environment,
    OwnVariables,
    CliProfile,
    SdkProfile,
    Oidc,
    EcsRole,
}

async fn stage() -> Stage {
    let options = SandboxOptions {
        tables: vec!["t=iot:rows=2000,seed=1".parse().unwrap()],
        access_key_id: "planted".into(),
        access_key_secret: Some(SECRET.into()),
        security_token: Some(TOKEN.into()),
        oss: OssServerOptions::default(),
        ..SandboxOptions::default()
    };
    let sandbox = Sandbox::start(options).await.unwrap();
    Stage { sandbox, directory: tempfile::tempdir().unwrap(), on: On::Oss }
}

/// STS and the metadata service; `refuse` makes them quote what they were sent in an error.
async fn issuers(refuse: bool) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let answer = move |method: Method, uri: Uri, body: String| async move {
        let key = format!(
            r#"{{"Code": "Success", "AccessKeyId": "planted", "AccessKeySecret": "{SECRET}", "SecurityToken": "{TOKEN}",
                "Expiration": "2099-01-01T00:00:00Z"}}"#
        );
        match (method.as_str(), uri.path()) {
            _ if refuse => {
                let quoted = format!(r#"{{"Code": "Refused", "Message": "no: {body}", "RequestId": "R"}}"#);
                (StatusCode::FORBIDDEN, quoted)
            }
            ("POST", _) => (StatusCode::OK, format!(r#"{{"Credentials": {key}}}"#)),
            ("PUT", _) => (StatusCode::OK, METADATA.to_owned()),
            ("GET", path) if path.ends_with("/security-credentials/") => (StatusCode::OK, "role".to_owned()),
            _ => (StatusCode::OK, key),
        }
    };
    let router = Router::new().fallback(answer);
    tokio::spawn(async move { axum::serve(listener, router).await });
    endpoint
}

fn write(home: &Path, name: &str, text: &str) {
    let path = home.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// The program with the planted key in one source and nowhere else, at the highest log level.
async fn planted(stage: &Stage, from: From, arguments: &[&str], refuse: bool) -> tokio::process::Command {
    let home = stage.directory.path().join("home");
    std::fs::create_dir_all(&home).unwrap();
    let issuers = issuers(refuse).await;
    let mut command = stage.program(arguments);
    command
        .env_remove("ALIBABA_CLOUD_ACCESS_KEY_ID")
        .env_remove("ALIBABA_CLOUD_ACCESS_KEY_SECRET")
        .env_remove("ALIBABA_CLOUD_ECS_METADATA_DISABLED")
        .env("HOME", &home)
        .env("RUST_LOG", "trace")
        .env("OTSVAULT_LOG", "trace")
        .env("RUST_BACKTRACE", "full")
        .env("OTSVAULT_STS_ENDPOINT", &issuers)
        .env("OTSVAULT_ECS_METADATA_ENDPOINT", &issuers)
        .current_dir(stage.directory.path());
    let variables = |command: &mut tokio::process::Command, prefix: &str| {
        command
            .env(format!("{prefix}_ACCESS_KEY_ID"), "planted")
            .env(format!("{prefix}_ACCESS_KEY_SECRET"), SECRET)
            .env(format!("{prefix}_SECURITY_TOKEN"), TOKEN);
    };
    match from {
        From::Environment => variables(&mut command, "ALIBABA_CLOUD"),
        From::OwnVariables => {
            variables(&mut command, "OTS");
            variables(&mut command, "OSS");
        }
        From::CliProfile => write(
            &home,
            ".aliyun/config.json",
            &format!(
                r#"{{"current": "p", "profiles": [{{"name": "p", "mode": "StsToken", "access_key_id": "planted",
                    "access_key_secret": "{SECRET}", "sts_token": "{TOKEN}"}}]}}"#
            ),
        ),
        From::SdkProfile => write(
            &home,
            ".alibabacloud/credentials",
            &format!(
                "[default]\ntype = sts\naccess_key_id = planted\naccess_key_secret = {SECRET}\nsecurity_token = {TOKEN}\n"
            ),
        ),
        From::Oidc => {
            write(&home, "token", OIDC);
            command
                .env("ALIBABA_CLOUD_ROLE_ARN", "acs:ram::1:role/r")
                .env("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "acs:ram::1:oidc-provider/p")
                .env("ALIBABA_CLOUD_OIDC_TOKEN_FILE", home.join("token"));
        }
        From::EcsRole => {}
    }
    command
}

/// As text, and as the base64 and hex that a careless dump would show.
fn assert_clean(what: &str, text: &[u8]) {
    for secret in PLANTED {
        let base64 = base64::engine::general_purpose::STANDARD.encode(secret);
        for form in [secret.to_owned(), base64.trim_end_matches('=').to_owned(), hex::encode(secret)] {
            let found = text.windows(form.len()).any(|window| window == form.as_bytes());
            assert!(!found, "{what} shows {secret} as {form}:\n{}", String::from_utf8_lossy(text));
        }
    }
}

fn assert_says_nothing(ended: &Ended) {
    assert_clean("stdout", ended.stdout.as_bytes());
    assert_clean("stderr", ended.stderr.as_bytes());
}

/// Manifests, journals, file lists, leases, Parquet.
fn assert_vault_is_clean(stage: &Stage) {
    let oss = stage.sandbox.oss();
    let objects = oss.objects("vault", "");
    for object in &objects {
        assert_clean(&object.key, object.key.as_bytes());
        assert_clean(&object.key, &oss.object_bytes("vault", &object.key).unwrap());
    }
}

#[rstest]
#[tokio::test]
async fn no_command_shows_a_secret_when_it_succeeds(
    #[values(
        From::Environment,
        From::OwnVariables,
        From::CliProfile,
        From::SdkProfile,
        From::Oidc,
        From::EcsRole
    )]
    from: From,
) {
    let stage = stage().await;
    let vault = stage.vault_url();
    for arguments in [
        ["backup", "ots://sandbox/t", &vault, "-vv"].as_slice(),
        &["backup", "ots://sandbox/t", &vault, "--json"],
        &["list", &vault, "-vv"],
        &["show", &vault, "t", "--files", "--json"],
    ] {
        let ended = finish(&mut planted(&stage, from, arguments, false).await).await;
        assert_eq!(ended.code, Some(0), "{from:?} {arguments:?}: {}", ended.stderr);
        assert!(ended.stderr.contains("TRACE"), "the log is at its highest level: {}", ended.stderr);
        assert_says_nothing(&ended);
    }
    assert_vault_is_clean(&stage);
}

#[rstest]
#[tokio::test]
async fn no_command_shows_a_secret_when_it_fails(
    #[values(From::Environment, From::CliProfile, From::Oidc, From::EcsRole)] from: From,
    #[values(
        "* error=OTSAuthFailed",
        "* error=SecurityTokenExpired",
        "* error=AccessDenied",
        "oss/* nth=4 token-expired",
        "ots/* error=OTSParameterInvalid",
        "* clock-skew=7200"
    )]
    fault: &str,
) {
    let stage = stage().await;
    stage.fault(fault.parse().unwrap());
    let arguments = ["backup", "ots://sandbox/t", "oss://vault/x", "-vv", "--json"];
    let ended = finish(&mut planted(&stage, from, &arguments, false).await).await;
    assert_ne!(ended.code, Some(0), "{fault}: {}", ended.stderr);
    assert!(ended.stderr.contains("error: "), "{}", ended.stderr);
    assert_says_nothing(&ended);
    assert_vault_is_clean(&stage);
}

#[rstest]
#[tokio::test]
async fn issuers_that_quote_what_they_were_sent_are_not_repeated(
    #[values(From::Oidc, From::EcsRole)] from: From,
) {
    let stage = stage().await;
    let arguments = ["backup", "ots://sandbox/t", "oss://vault/x", "-vv"];
    let ended = finish(&mut planted(&stage, from, &arguments, true).await).await;
    assert_eq!(ended.code, Some(8), "{}", ended.stderr);
    assert_says_nothing(&ended);
}

#[tokio::test]
async fn the_sandbox_logs_no_secret_of_its_callers() {
    let stage = stage().await;
    // A second sandbox as a process of its own; the first one only lends its environment.
    let log = stage.directory.path().join("sandbox.log");
    let mut server =
        planted(&stage, From::Environment, &["sandbox", "--table", "t=iot:rows=100,seed=1"], false).await;
    server.stderr(std::fs::File::create(&log).unwrap());
    let mut server = server.spawn().unwrap();
    let mut stdout = tokio::io::BufReader::new(server.stdout.take().unwrap());
    let mut line = String::new();
    let read = tokio::io::AsyncBufReadExt::read_line(&mut stdout, &mut line);
    tokio::time::timeout(Duration::from_secs(20), read).await.unwrap().unwrap();
    let at: serde_json::Value = serde_json::from_str(&line).unwrap();
    for id in [at["access_key_id"].as_str().unwrap(), "somebody-else"] {
        let mut client = stage.program(&["backup", "ots://sandbox/t", "oss://vault/x"]);
        client
            .env("OTS_ENDPOINT", at["ots_endpoint"].as_str().unwrap())
            .env("OSS_ENDPOINT", at["oss_endpoint"].as_str().unwrap())
            .env("ALIBABA_CLOUD_ACCESS_KEY_ID", id)
            .env("ALIBABA_CLOUD_ACCESS_KEY_SECRET", SECRET)
            .env("ALIBABA_CLOUD_SECURITY_TOKEN", TOKEN);
        let ended = finish(&mut client).await;
        assert_eq!(ended.code, Some(8), "neither is its key: {}", ended.stderr);
        assert_says_nothing(&ended);
    }
    server.kill().await.unwrap();
    let log = std::fs::read(&log).unwrap();
    assert!(log.windows(5).any(|word| word == b"TRACE" || word == b"DEBUG"), "it logs");
    assert_clean("the sandbox's log", &log);
    // Its own secret is for whoever started it, on stdout; the log is not the place.
    let own = at["access_key_secret"].as_str().unwrap().as_bytes();
    assert!(!log.windows(own.len()).any(|window| window == own), "its own secret is in its log");
}
