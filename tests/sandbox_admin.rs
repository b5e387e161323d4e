//! The admin endpoint and the rules of a sandbox that runs as a process.

mod stage;

use std::io::BufRead as _;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

/// `otsvault sandbox` until it is dropped.
struct Running {
    process: Child,
    at: Value,
    http: reqwest::Client,
}

impl Running {
    fn start(arguments: &[&str]) -> Running {
        let mut process = Command::new(env!("CARGO_BIN_EXE_otsvault"))
            .arg("sandbox")
            .args(["--table", "t=iot:rows=500,seed=1"])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        std::io::BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Running { process, at: serde_json::from_str(&line).unwrap(), http: reqwest::Client::new() }
    }

    fn text(&self, name: &str) -> &str {
        self.at[name].as_str().unwrap()
    }

    async fn ask(&self, method: reqwest::Method, path: &str, body: &str) -> (u16, Value) {
        let url = format!("{}{path}", self.text("admin_endpoint"));
        let answer = self.http.request(method, url).body(body.to_owned()).send().await.unwrap();
        (answer.status().as_u16(), serde_json::from_str(&answer.text().await.unwrap()).unwrap())
    }

    async fn get(&self, path: &str) -> Value {
        let (status, answer) = self.ask(reqwest::Method::GET, path, "").await;
        assert_eq!(status, 200, "{answer}");
        answer
    }

    async fn post(&self, path: &str, body: &str) -> (u16, Value) {
        self.ask(reqwest::Method::POST, path, body).await
    }

    async fn describe(&self) -> Result<(), otsvault::Error> {
        let key = otsvault::credentials::Credentials::new(
            self.text("access_key_id"),
            self.text("access_key_secret").to_owned(),
            None,
        );
        let config = otsvault::tablestore::TableStoreConfig::new(
            self.text("ots_endpoint"),
            self.text("instance"),
            key,
        );
        let config =
            otsvault::tablestore::TableStoreConfig { retry_budget: std::time::Duration::ZERO, ..config };
        otsvault::tablestore::TableStore::new(config).unwrap().describe_table("t").await.map(drop)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn without_asking_there_is_no_admin_endpoint() {
    assert_eq!(Running::start(&[]).at.get("admin_endpoint"), None);
}

#[tokio::test]
async fn figures_faults_and_clocks_can_be_reached_while_it_runs() {
    let sandbox =
        Running::start(&["--admin", "--fault", "DescribeTable nth=1 error=OTSServerBusy message=wait"]);
    let error = sandbox.describe().await.unwrap_err();
    assert!(error.report().contains("OTSServerBusy: wait"), "{}", error.report());
    sandbox.describe().await.unwrap();
    let figures = sandbox.get("/figures").await;
    let describe = &figures["table_store"]["operations"]["DescribeTable"];
    assert_eq!((&describe["requests"], &describe["errors"]), (&json!(2), &json!(1)), "{figures}");
    let rules = sandbox.get("/faults").await;
    assert_eq!((&rules[0]["hits"], &rules[0]["rule"]["operation"]), (&json!(1), &json!("DescribeTable")));

    assert_eq!(sandbox.post("/figures/reset", "").await.0, 200);
    let figures = sandbox.get("/figures").await;
    assert_eq!(figures["table_store"]["operations"]["DescribeTable"]["requests"], json!(0));

    let two = r#"["ots/* error=OTSNoPermissionAccess", {"action": "drop_after"}]"#;
    let (status, added) = sandbox.ask(reqwest::Method::PUT, "/faults", two).await;
    assert_eq!((status, added), (200, json!({"added": 2})));
    assert_eq!(sandbox.describe().await.unwrap_err().service_code(), Some("OTSNoPermissionAccess"));
    sandbox.ask(reqwest::Method::DELETE, "/faults", "").await;
    sandbox.describe().await.unwrap();

    assert_eq!(sandbox.post("/clock", r#"{"skew_seconds": 3600}"#).await.0, 200);
    let error = sandbox.describe().await.unwrap_err();
    assert!(error.report().contains("Mismatch between system time"), "{}", error.report());
    sandbox.post("/clock", r#"{"skew_seconds": 0, "advance_seconds": 60}"#).await;
    sandbox.describe().await.unwrap();

    for (path, body) in [("/faults", "nonsense"), ("/faults", "[1]"), ("/clock", r#"{"years": 1}"#)] {
        let (status, answer) = sandbox.post(path, body).await;
        assert!(status == 400 && answer["error"].is_string(), "{path} {body}: {status} {answer}");
    }
    assert_eq!(sandbox.post("/nowhere", "").await.0, 404);
}

#[tokio::test]
async fn partitions_split_and_merge_and_streams_are_trimmed_while_it_runs() {
    let sandbox = Running::start(&["--admin", "--table", "p=iot:rows=400,seed=1,partitions=4"]);
    let partitions = sandbox.get("/tables/p/partitions").await;
    let rows = |partitions: &Value| -> Vec<u64> {
        partitions.as_array().unwrap().iter().map(|partition| partition["rows"].as_u64().unwrap()).collect()
    };
    let first = partitions[1]["start"].clone();
    assert_eq!((rows(&partitions).len(), rows(&partitions).iter().sum::<u64>()), (4, 400));
    assert_eq!(partitions[0]["start"], Value::Null);
    assert_eq!(sandbox.post("/tables/p/partitions", r#"{"merge": [0, 1]}"#).await, (200, json!({})));
    let merged = sandbox.get("/tables/p/partitions").await;
    assert_eq!(rows(&merged)[0], rows(&partitions)[0] + rows(&partitions)[1]);
    let split = json!({ "split": first }).to_string();
    assert_eq!(sandbox.post("/tables/p/partitions", &split).await.0, 200);
    assert_eq!(sandbox.get("/tables/p/partitions").await, partitions);

    let trim = r#"{"trim": {"shard_id": "s", "records": 1}}"#;
    for (path, body, status, why) in [
        ("/tables/p/partitions", split.as_str(), 400, "there is a boundary already"),
        ("/tables/p/partitions", r#"{"merge": [0, 2]}"#, 400, "not two neighbouring"),
        ("/tables/p/partitions", r#"{"join": [0, 1]}"#, 400, "unknown variant"),
        ("/tables/none/partitions", r#"{"merge": [0, 1]}"#, 404, "does not exist"),
        ("/tables/p/stream", trim, 400, "the table has no Stream"),
    ] {
        let (found, answer) = sandbox.post(path, body).await;
        assert_eq!(found, status, "{path} {body}: {answer}");
        assert!(answer["error"].as_str().unwrap().contains(why), "{path} {body}: {answer}");
    }
}

#[tokio::test]
async fn rules_come_from_a_file_and_a_wrong_one_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("faults.json");
    std::fs::write(
        &file,
        r#"["DescribeTable token-expired", {"operation": "GetRange", "action": "drop_before"}]"#,
    )
    .unwrap();
    let file_name = file.display().to_string();
    let sandbox = Running::start(&["--faults", &file_name]);
    assert_eq!(sandbox.describe().await.unwrap_err().service_code(), Some("OTSAuthFailed"));

    std::fs::write(&file, r#"["DescribeTable drop-after", "GetRnage drop-after"]"#).unwrap();
    let mut refused = tokio::process::Command::new(env!("CARGO_BIN_EXE_otsvault"));
    let ended = stage::finish(
        refused.args(["sandbox", "--faults", &file_name]).stdout(Stdio::piped()).stderr(Stdio::piped()),
    )
    .await;
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains("rule 2: there is no operation `GetRnage`"), "{}", ended.stderr);
}
