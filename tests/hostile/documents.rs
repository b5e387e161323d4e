//! Documents made by an enemy.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::forge::{Forge, ForgedVault, expect_no_restore, run_program};

/// Seals a document as schemas/FORMAT.md says.
fn sealed(document: &Value) -> Vec<u8> {
    let mut document = document.clone();
    document.as_object_mut().unwrap().remove("document_sha256");
    let text = serde_json::to_string_pretty(&document).unwrap();
    let digest = hex::encode(Sha256::digest(&text));
    format!("{},\n  \"document_sha256\": \"{digest}\"\n}}", text.strip_suffix("\n}").unwrap()).into_bytes()
}

async fn manifest_of(vault: &ForgedVault) -> Value {
    use object_store::ObjectStoreExt;
    let bytes = vault.vault.store().get(&vault.path.manifest()).await.unwrap().bytes().await.unwrap();
    let text = std::str::from_utf8(&bytes).unwrap();
    let (document, seal) = text.rsplit_once(",\n  \"document_sha256\": \"").expect("a seal");
    let digest = hex::encode(Sha256::digest(format!("{document}\n}}")));
    assert_eq!(seal, format!("{digest}\"\n}}"), "the seal is the one that the format page describes");
    serde_json::from_slice(&bytes).unwrap()
}

#[tokio::test]
async fn hostile_manifests_end_in_exit_code_5() {
    let forge = Forge::new(50).await;
    let vault = forge.vault_with(forge.file.clone(), |_| {}).await;
    let manifest = manifest_of(&vault).await;
    let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut changed = manifest.clone();
        change(&mut changed);
        sealed(&changed)
    };
    let text = serde_json::to_string(&manifest).unwrap();
    let documents: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", vec![]),
        ("a bracket", b"{".to_vec()),
        ("nested 100,000 deep", deep(100_000).into_bytes()),
        ("a field nested 40 deep", text.replacen('{', &format!("{{\"later\":{},", deep(40)), 1).into_bytes()),
        ("a string of 1 MiB", changed(&|m| m["tool"] = json!("x".repeat(1 << 20)))),
        ("17 MiB", vec![b' '; 17 << 20]),
        ("15 MiB of nothing", vec![b' '; 15 << 20]),
        ("zeros", vec![0; 1 << 20]),
        ("another run", changed(&|m| m["run"] = json!("20200101t000000z-00000000"))),
        ("a path for a run", changed(&|m| m["run"] = json!("../../../../etc/passwd"))),
        ("a path for a chain", changed(&|m| m["chain"] = json!("/etc"))),
        (
            "five key columns",
            changed(&|m| {
                let column = m["table"]["primary_key"][0].clone();
                (0..5).for_each(|_| m["table"]["primary_key"].as_array_mut().unwrap().push(column.clone()));
            }),
        ),
        ("no columns", changed(&|m| m["columns"] = json!([]))),
        (
            "a key range of another table",
            changed(&|m| m["key_range"]["start"] = json!(["inf_min", {"integer": 7}, "inf_max"])),
        ),
        (
            "a key of 5,000 bytes",
            changed(&|m| m["key_range"]["start"][0] = json!({"string": "k".repeat(5_000)})),
        ),
        ("entries without end", changed(&|m| m["file_list"]["entries"] = json!(u64::MAX))),
        ("a number too large", changed(&|m| m["totals"]["rows"] = json!(1e300))),
        ("another file list", changed(&|m| m["file_list"]["sha256"] = json!("00".repeat(32)))),
        (
            "a hash that is a path",
            changed(&|m| m["file_list"]["sha256"] = json!("../../../../../../etc/passwd")),
        ),
        ("another table", changed(&|m| m["table"]["name"] = json!("u"))),
        ("a table that is a path", changed(&|m| m["table"]["name"] = json!("../u"))),
        ("other sums", changed(&|m| m["totals"]["rows"] = json!(51))),
        ("exact", changed(&|m| m["kind"] = json!("delta"))),
    ];
    for (what, bytes) in documents {
        vault.put(&vault.path.manifest(), bytes).await;
        let taken = run_program(&forge.stage, &["verify", &vault.url(), "t", "--level", "full"]).await;
        assert_eq!(taken.code, Some(5), "{what}: {}{}", taken.stdout, taken.stderr);
        expect_no_restore(&forge, &vault.url(), what).await;
    }
    assert_eq!(forge.stage.requests("CreateTable"), 0);
    // Not one of them was it that nothing is accepted.
    vault.put(&vault.path.manifest(), sealed(&manifest)).await;
    let taken = run_program(&forge.stage, &["verify", &vault.url(), "t", "--level", "full"]).await;
    assert_eq!(taken.code, Some(0), "{}{}", taken.stdout, taken.stderr);
}

#[tokio::test]
async fn hostile_file_lists_end_in_exit_code_5() {
    let forge = Forge::new(50).await;
    let vault = forge.vault_with(forge.file.clone(), |_| {}).await;
    let manifest = manifest_of(&vault).await;
    let entry = serde_json::to_value(&forge.entry).unwrap();
    let line = |change: &dyn Fn(&mut Value)| {
        let mut entry = entry.clone();
        change(&mut entry);
        serde_json::to_vec(&entry).unwrap()
    };
    let compressed = |lines: &[u8]| zstd::encode_all(lines, 3).unwrap();
    let mut long_window = zstd::stream::Encoder::new(Vec::new(), 3).unwrap();
    long_window.window_log(27).unwrap();
    std::io::Write::write_all(&mut long_window, &vec![b' '; 140 << 20]).unwrap();
    let lists: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", vec![]),
        ("not zstd", b"{}".to_vec()),
        ("128 MiB of spaces", compressed(&vec![b' '; 128 << 20])),
        ("a window of 128 MiB", long_window.finish().unwrap()),
        ("32 MiB of line feeds", compressed(&vec![b'\n'; 32 << 20])),
        ("one entry a million times", compressed(&[line(&|_| {}), b"\n".to_vec()].concat().repeat(200_000))),
        ("a path for an id", compressed(&line(&|e| e["id"] = json!("../../../../../etc")))),
        ("an id in upper case", compressed(&line(&|e| e["id"] = json!("00FF00FF00FF00FF")))),
        ("a file that is not there", compressed(&line(&|e| e["id"] = json!("00ff00ff00ff00ff")))),
        ("an empty interval", compressed(&line(&|e| e["range"]["end"] = e["range"]["start"].clone()))),
        ("a file of 2^60 bytes", compressed(&line(&|e| e["file"]["bytes"] = json!(1u64 << 60)))),
        ("rows without end", compressed(&line(&|e| e["rows"] = json!(u64::MAX)))),
        ("nested", compressed(&[b"[".repeat(100_000), b"]".repeat(100_000)].concat())),
        ("cut", {
            let mut list = compressed(&line(&|_| {}));
            list.truncate(list.len() - 3);
            list
        }),
    ];
    for (what, list) in lists {
        let digest = Sha256::digest(&list);
        let mut forged = manifest.clone();
        forged["file_list"]["bytes"] = json!(list.len());
        forged["file_list"]["sha256"] = json!(hex::encode(digest));
        forged["file_list"]["entries"] = json!(if what.contains("million") { 200_000 } else { 1 });
        let object =
            vault.path.prefix().clone().join(format!("files-{}.jsonl.zst", hex::encode(&digest[..8])));
        vault.put(&object, list).await;
        vault.put(&vault.path.manifest(), sealed(&forged)).await;
        let taken = run_program(&forge.stage, &["verify", &vault.url(), "t"]).await;
        assert_eq!(taken.code, Some(5), "{what}: {}{}", taken.stdout, taken.stderr);
        let shown = run_program(&forge.stage, &["show", &vault.url(), "t"]).await;
        // `show` reads no data files: what only they can tell is not its business.
        let is_of_files = ["a file that is not there", "a file of 2^60 bytes"].contains(&what);
        assert!(shown.code == Some(5) || is_of_files, "{what}: {:?} {}", shown.code, shown.stderr);
        let made = forge.stage.requests("CreateTable");
        expect_no_restore(&forge, &vault.url(), what).await;
        assert!(is_of_files || forge.stage.requests("CreateTable") == made, "{what}");
    }
}
