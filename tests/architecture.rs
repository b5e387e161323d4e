//! The house rules that a compiler does not check: who may use whom. Reads the sources as text, prints every
//! `use crate::` arrow, and fails on a forbidden one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Code of one file without comments and without its test module.
fn product_code(text: &str) -> String {
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// `src/catalog/lease.rs` belongs to `catalog`, `src/cli/demo.rs` to `cli/demo`.
fn module_of(path: &Path) -> String {
    let relative = path.strip_prefix(src()).unwrap().with_extension("");
    let mut parts = relative.iter().map(|part| part.to_string_lossy().into_owned());
    let top = parts.next().unwrap();
    match (top.as_str(), parts.next()) {
        ("cli", Some(command)) => format!("cli/{command}"),
        _ => top,
    }
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Every module of ours that `code` names after `crate::`, grouped imports included.
fn targets(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    for (position, _) in code.match_indices("crate::") {
        let rest = &code[position + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut item = String::new();
            for c in group.chars() {
                match c {
                    '}' if depth == 0 => break,
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    ',' if depth == 0 => {
                        found.insert(word(std::mem::take(&mut item).trim()));
                        continue;
                    }
                    _ => {}
                }
                item.push(c);
            }
            found.insert(word(item.trim()));
        } else {
            found.insert(word(rest));
        }
    }
    // Only modules: types re-exported at the root are no arrows.
    found.retain(|name| name.chars().next().is_some_and(char::is_lowercase));
    found
}

#[test]
fn no_forbidden_arrow_is_used() {
    let mut files = Vec::new();
    sources(&src(), &mut files);
    let mut arrows: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut faults = Vec::new();
    let flows = ["backup", "compact", "delta", "restore", "retention", "verify"];
    let pure = ["model", "plainbuffer", "columnar", "parquet_file"];
    for path in &files {
        let code = product_code(&fs::read_to_string(path).unwrap());
        let module = module_of(path);
        let top = module.split('/').next().unwrap();
        let name = path.strip_prefix(src()).unwrap().display().to_string();
        for target in targets(&code) {
            let forbidden = match (top, target.as_str()) {
                // The pure ones may use each other and nothing else of ours.
                (from, to) if pure.contains(&from) => !pure.contains(&to) && to != "error",
                ("tablestore", "objectstore") | ("objectstore", "tablestore") => true,
                (from, "sandbox") if from != "sandbox" => {
                    !["bench", "cli/sandbox", "cli/demo", "lib"].contains(&module.as_str())
                }
                ("sandbox", to) => {
                    ["tablestore", "objectstore", "catalog", "cli"].contains(&to) || flows.contains(&to)
                }
                ("fold" | "stored" | "stream", to) => flows.contains(&to),
                (from, to) if flows.contains(&from) => flows.contains(&to) && from != to,
                (from, "cli") => !["main", "lib", "cli"].contains(&from),
                _ => false,
            };
            if forbidden {
                faults.push(format!("{name}: {top} -> {target}"));
            }
            if target != top {
                arrows.entry(module.clone()).or_default().insert(target);
            }
        }
        let banned: &[&str] = match top {
            _ if pure.contains(&top) => &[
                "tokio::",
                "reqwest::",
                "clap::",
                "std::fs",
                "std::net",
                "std::time::",
                "jiff::Timestamp::now",
                "Instant::now",
            ],
            "catalog" => &["arrow::", "parquet::"],
            _ => &[],
        };
        faults.extend(
            banned.iter().filter(|word| code.contains(**word)).map(|word| format!("{name}: uses {word}")),
        );
        for printing in ["println!(", "print!(", "eprintln!(", "eprint!("] {
            let is_test = name.ends_with("/tests.rs");
            if top != "cli" && !is_test && code.contains(printing) {
                faults.push(format!("{name}: prints; only cli does"));
            }
        }
        for nameless in ["utils", "util", "common", "helpers", "helper", "types", "misc"] {
            if path.iter().any(|part| Path::new(part).file_stem().is_some_and(|stem| stem == nameless)) {
                faults.push(format!("{name}: a name that says nothing"));
            }
        }
    }
    for (from, to) in &arrows {
        println!("{from} -> {}", to.iter().cloned().collect::<Vec<_>>().join(", "));
    }
    assert!(arrows.len() > 5, "the scan of the sources finds no arrows any more");
    assert!(faults.is_empty(), "forbidden:\n{}", faults.join("\n"));
}

#[test]
fn the_arrow_finder_sees_grouped_imports() {
    let code =
        "use crate::{Error, catalog::{self, Vault}, model::Row, tablestore};\nlet x = crate::sandbox::go();";
    let found: Vec<_> = targets(code).into_iter().collect();
    assert_eq!(found, ["catalog", "model", "sandbox", "tablestore"]);
}
