//! The judges of OSS: the official SDKs in Python and Node.js, boto3, and other people's Rust in `stores`, a program of its
//! own. What each of them and our own client wrote, all the others read.

use std::process::Command;
use std::sync::OnceLock;

use bytes::Bytes;
use libtest_mimic::{Failed, Trial};
use object_store::path::Path;
use object_store::{Attributes, ObjectStoreExt};
use otsvault::credentials::Credentials;
use otsvault::objectstore::{self, ObjectWriter, PartSizePolicy, StoreOptions, UploadStore};
use sha2::{Digest, Sha256};

use crate::language::Language::{self, Node, Python};
use crate::provision::{Interpreter, copied, installed, run, sources};
use crate::sandbox_process::SandboxProcess;
use crate::{judged, needing};

/// Answers about keys that contain `damaged` carry a wrong CRC64.
const DAMAGE: &str = r#"{"service":"oss","operation":"PutObject","key":"damaged","action":"wrong_checksum"}"#;

pub fn cases() -> Vec<Trial> {
    vec![
        sdk("alibabacloud_oss_v2_makes_every_request_with_v4_and_v1", Python, "oss_v2.py"),
        sdk("boto3_makes_every_request_on_the_s3_face", Python, "oss_boto3.py"),
        sdk("ali_oss_makes_every_request_with_v1_and_v4", Node, "oss_ali.js"),
        rust("opendal_reads_and_writes_oss", "opendal_oss"),
        rust("opendal_reads_and_writes_the_s3_face", "opendal_s3"),
        rust("object_store_reads_and_writes_the_s3_face", "object_store"),
        Trial::ignorable_test("what_one_client_of_oss_wrote_every_other_one_reads", || {
            let needed = Python.interpreter().and_then(|python| Ok((python, Node.interpreter()?, stores()?)));
            judged(needed, |(python, node, stores)| cross(python, node, stores))
        }),
    ]
}

fn sdk(name: &str, language: Language, script: &'static str) -> Trial {
    needing(language, name, move |interpreter| play(interpreter, script))
}

fn rust(name: &str, case: &'static str) -> Trial {
    Trial::ignorable_test(name, move || judged(stores(), |stores| play(stores, case))).with_kind("Rust")
}

fn play(interpreter: &Interpreter, script: &str) -> Result<(), Failed> {
    let sandbox = SandboxProcess::start_with(&["--fault", DAMAGE]);
    interpreter.run(script, sandbox.description())?;
    sandbox.stop();
    Ok(())
}

/// Everybody writes and then reads everything, in two rounds: the first one has less to read.
fn cross(python: &Interpreter, node: &Interpreter, stores: &Interpreter) -> Result<(), Failed> {
    let sandbox = SandboxProcess::start(&[]);
    let at = sandbox.description();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut read = Vec::new();
    for _round in 0..2 {
        read.clear();
        let said = [
            python.run("oss_cross.py", at)?,
            node.run("oss_cross.js", at)?,
            stores.run("cross", at)?,
            runtime.block_on(ours(at)),
        ];
        for line in said.iter().flat_map(|text| text.lines()) {
            let count = line.rsplit_once(" read ").and_then(|(_, count)| count.parse::<u32>().ok());
            // SDKs say other things too.
            read.extend(count.map(|count| (line.to_owned(), count)));
        }
    }
    sandbox.stop();
    // Four SDKs in Python and two in Node.js wrote four objects each, three in Rust and ours three.
    let all = 6 * 4 + 4 * 3;
    assert_eq!(read.len(), 10, "{read:?}");
    assert!(read.iter().all(|(_, count)| *count == all), "not all read {all}: {read:?}");
    Ok(())
}

/// Our client's part, in the words of the scripts.
async fn ours(sandbox: &str) -> String {
    let at: serde_json::Value = serde_json::from_str(sandbox).expect("JSON");
    let field = |name: &str| at[name].as_str().expect("a description").to_owned();
    let options = StoreOptions {
        endpoint: Some(field("oss_endpoint")),
        region: Some(field("region")),
        ..StoreOptions::default()
    };
    let key = Credentials::new(field("access_key_id"), field("access_key_secret"), None);
    let url = format!("oss://{}", field("bucket"));
    let store = objectstore::open(&url, &options.with_credentials(key)).expect("a store").store;
    let there = read_all(&*store).await;
    for (name, length) in [("plain", 5), ("späce & plus+%€", 0), ("large", 256_000)] {
        let body = Bytes::from((0..length).map(|n: u32| (n * 31 % 251) as u8).collect::<Vec<u8>>());
        let path =
            Path::parse(format!("cross/otsvault/{name}/{}", hex::encode(Sha256::digest(&body)))).unwrap();
        let parts = PartSizePolicy::starting_at(100 << 10);
        let mut writer = ObjectWriter::new(store.clone(), path, Attributes::new(), parts, 2);
        writer.write(body, ()).await.expect("written");
        writer.finish().await.expect("stored");
    }
    format!("otsvault read {there}")
}

async fn read_all(store: &dyn UploadStore) -> usize {
    use futures::TryStreamExt;
    let there: Vec<_> = store.list(Some(&Path::from("cross"))).try_collect().await.expect("a list");
    for meta in &there {
        let body = store.get(&meta.location).await.expect("an object").bytes().await.expect("its bytes");
        assert!(meta.location.as_ref().ends_with(&hex::encode(Sha256::digest(&body))), "{}", meta.location);
    }
    there.len()
}

/// The program in `stores`, built on first use; or why it cannot be.
fn stores() -> Result<&'static Interpreter, &'static str> {
    static BUILT: OnceLock<Result<Interpreter, String>> = OnceLock::new();
    BUILT.get_or_init(build_stores).as_ref().map_err(String::as_str)
}

fn build_stores() -> Result<Interpreter, String> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let version = run(Command::new(&cargo).arg("--version"))?;
    let (files, wanted) = copied(&sources("stores"))?;
    let directory = installed("stores", &format!("{version}\n{wanted}"), |directory| {
        for (name, content) in &files {
            std::fs::write(directory.join(name), content).map_err(|error| format!("{name}: {error}"))?;
        }
        let build = ["build", "--quiet", "--locked", "--target-dir", "target"];
        run(Command::new(&cargo).args(build).current_dir(directory).env_remove("RUSTFLAGS"))?;
        Ok(())
    })?;
    Ok(Interpreter {
        program: directory.join("target/debug/stores"),
        arguments: Vec::new(),
        scripts: Default::default(),
        environment: Vec::new(),
    })
}
