//! Which crate may depend on which (ARCHITECTURE.md). Roles never see each other.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// What crates of ours a crate may use; tests may use `sim` besides.
const ALLOWED: [(&str, &[&str]); 18] = [
    (
        "mainstay",
        &[
            "admin",
            "antelope",
            "attest",
            "attested",
            "beacon",
            "engine",
            "execution",
            "node",
            "otel",
            "relay",
            "rpc",
            "settings",
            "sim",
            "store",
            "sync",
            "wire",
        ],
    ),
    ("admin", &["node", "wire"]),
    ("antelope", &[]),
    ("attest", &[]),
    ("attested", &["attest", "settings", "wire"]),
    ("beacon", &["node", "otel", "settings", "wire"]),
    ("bench", &["antelope", "rpc", "wire"]),
    ("engine", &["execution", "node", "otel", "settings", "wire"]),
    ("execution", &["node", "otel", "settings", "wire"]),
    ("node", &["attest", "wire"]),
    ("otel", &["settings", "wire"]),
    ("relay", &["antelope", "node", "settings", "store", "wire"]),
    ("rpc", &["node", "otel", "settings", "store", "wire"]),
    ("settings", &[]),
    ("sim", &["antelope", "wire"]),
    ("store", &[]),
    ("sync", &["execution", "node", "otel", "settings", "wire"]),
    ("wire", &[]),
];

#[test]
fn crates_depend_in_one_direction_only() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--offline", "--no-deps"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.into();
    let mut seen = BTreeSet::new();
    for package in metadata["packages"].as_array().unwrap() {
        let name = short(package["name"].as_str().unwrap());
        // Tests of the binary from outside, with no crate of ours in them.
        let may: &[&str] = if ["e2e", "packaging"].contains(&name) {
            &[]
        } else {
            allowed.get(name).unwrap_or_else(|| panic!("where does {name} stand?"))
        };
        seen.insert(name.to_owned());
        for dependency in package["dependencies"].as_array().unwrap() {
            let full = dependency["name"].as_str().unwrap();
            if !full.starts_with("mainstay") {
                continue;
            }
            let uses = short(full);
            let in_tests = dependency["kind"] == "dev" && uses == "sim";
            assert!(may.contains(&uses) || in_tests, "{name} must not depend on {uses}");
        }
    }
    for (name, _) in ALLOWED {
        assert!(seen.contains(name), "{name} is gone: take it out of this table");
    }
}

fn short(package: &str) -> &str {
    package.strip_prefix("mainstay-").unwrap_or(package)
}
