//! Names that want to be paths.

use object_store::path::Path;
use otsvault::Kind;
use otsvault::catalog::{FileId, RunId, Vault};
use otsvault::objectstore::{self, StoreOptions};

/// Over 300 names, none of which a table, a run or a file can have.
fn names() -> Vec<String> {
    let mut names: Vec<String> = [
        "",
        " ",
        ".",
        "..",
        "...",
        "/",
        "//",
        "../",
        "/..",
        "../..",
        "..\\..",
        "\\",
        "C:\\",
        "~",
        "~root",
        "-",
        "--help",
        "a/../b",
        "a/./b",
        "a//b",
        "./a",
        "/etc/passwd",
        "/dev/stdin",
        "/proc/self/environ",
        "file:///etc/passwd",
        "oss://b/p",
        "%2e%2e",
        "%2e%2e%2f",
        "%252e%252e",
        "..%2f",
        "..%5c",
        "%00",
        "a%00b",
        "..%c0%af",
        "%c0%ae%c0%ae",
        "a\0",
        "\0",
        "a\0/../b",
        "a\n",
        "a\r\n",
        "a\r\nHost: x",
        "\t",
        "a\u{7f}",
        "\u{1b}[2J",
        "é",
        "ａ",
        "．．",
        "․․",
        "‥",
        "…",
        "..\u{200b}",
        "\u{202e}..",
        "\u{feff}a",
        "a\u{301}",
        "ﬀ",
        "𝒂",
        "con",
        "nul.",
        "aux.txt",
        "a:b",
        "a*",
        "a?b",
        "a[b]",
        "{a,b}",
        "$HOME",
        "${HOME}",
        "$(id)",
        "`id`",
        "a;b",
        "a|b",
        "a&b",
        "a'b",
        "a\"b",
        "<a>",
        "a#1",
        "a=b",
        "a@b",
        "a!",
        "a,b",
        "a+b",
        "a b",
        "'; drop table t; --",
        "manifest.json",
        "00ff.parquet",
        "..parquet",
    ]
    .map(str::to_owned)
    .to_vec();
    for length in [256, 1_000, 2_000, 4_096, 65_536] {
        names.push("a".repeat(length));
        names.push("../".repeat(length / 3));
    }
    // Every control character, and every separator beside a name that is allowed.
    for byte in (0u8..0x20).chain([0x7f]) {
        names.push(format!("a{}b", char::from(byte)));
        names.push(char::from(byte).to_string());
    }
    for byte in (0x21u8..0x7f).filter(|byte| !byte.is_ascii_alphanumeric() && !b"_-".contains(byte)) {
        for place in 0..5 {
            let mut name = "name".to_owned();
            name.insert(place, char::from(byte));
            names.push(name);
        }
    }
    for prefix in ["..", "/etc", "%2e%2e", "..\0", "..\\"] {
        for rest in ["a", "otsvault.json", "20261122t161530z-9f3a2c71", "00ff00ff00ff00ff"] {
            names.push(format!("{prefix}/{rest}"));
            names.push(format!("{rest}/{prefix}"));
        }
    }
    names
}

#[tokio::test]
async fn no_hostile_name_becomes_a_path() {
    let outside = tempfile::tempdir().unwrap();
    let inside = outside.path().join("vault");
    let options = StoreOptions { create_directory: true, ..StoreOptions::default() };
    let root = objectstore::open(&inside.display().to_string(), &options).unwrap();
    let vault = Vault::open_or_create(root).await.unwrap();
    let names = names();
    assert!(names.len() >= 300, "{}", names.len());
    for name in &names {
        assert!(name.parse::<RunId>().is_err(), "{name:?}");
        assert!(name.parse::<FileId>().is_err(), "{name:?}");
        // `con`, `a` times 255 and the like are names of tables.
        let is_allowed = !name.is_empty()
            && name.len() <= 255
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        match vault.table("inst", name) {
            Err(error) => assert_eq!(error.kind(), Kind::Usage, "{name:?}"),
            Ok(table) => {
                assert!(is_allowed, "{name:?}");
                assert_eq!(table.prefix(), Path::from("inst").join(name.as_str()));
            }
        }
        if !is_allowed && *name != "-" && *name != "--help" {
            assert!(vault.table(name, "t").is_err(), "{name:?}");
        }
    }
    let left: Vec<_> =
        std::fs::read_dir(outside.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["vault"], "nothing but the vault was touched");
}
