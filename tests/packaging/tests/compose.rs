//! Compose files: read by the specification's own library, which Docker's compose is made of; and what they start mainstay with,
//! variables too, is put to `mainstay check`.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

use mainstay_packaging::{both, fine, mainstay, root, tool};
use serde_json::Value;

/// What who uses them has to say.
const VARIABLES: [(&str, &str); 14] = [
    ("EL1_IMAGE", "example.org/el1"),
    ("EL2_IMAGE", "example.org/el2"),
    ("EL3_IMAGE", "example.org/el3"),
    ("CL_IMAGE", "example.org/cl"),
    ("BEACON_1", "http://10.0.0.1:5052"),
    ("EXECUTION_1", "http://10.0.0.1:8545"),
    ("BEACON_2", "http://10.0.0.2:5052"),
    ("EXECUTION_2", "http://10.0.0.2:8545"),
    ("NODES", "http://10.0.0.1:8545?_workers=8,http://10.0.0.2:8545"),
    ("PRODUCER", "myproducer"),
    ("OUTER_1", "sentry-1:9876"),
    ("OUTER_2", "sentry-2:9876"),
    ("ALLOW", "10.0.0.0/24"),
    ("JWT_FILE", "./jwt.hex"),
];

/// The file with those filled in: the library's program takes none from its environment.
fn filled(text: &str) -> String {
    let mut filled = text.to_owned();
    for (name, value) in VARIABLES {
        while let Some(at) = filled.find(&format!("${{{name}")) {
            let after = filled.as_bytes()[at + 2 + name.len()];
            assert!(matches!(after, b':' | b'}'), "another variable begins with {name}");
            let end = at + filled[at..].find('}').unwrap();
            filled.replace_range(at..=end, value);
        }
    }
    filled
}

fn read(folder: &Path, name: &str, text: &str) -> std::process::Output {
    std::fs::write(folder.join(name), text).unwrap();
    Command::new(tool("compose-spec-2.16.2/cmd"))
        .args(["-format", "json", name])
        .current_dir(folder)
        .output()
        .unwrap()
}

#[test]
fn every_file_is_sound_and_starts_what_mainstay_takes() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("jwt.hex"), "11".repeat(32)).unwrap();
    let mut seen = 0;
    for entry in std::fs::read_dir(root().join("deploy/compose")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let text = filled(&std::fs::read_to_string(&path).unwrap());
        let output = read(folder.path(), &name, &text);
        assert!(output.status.success(), "{name}: {}", both(&output));
        let model: Value = serde_json::from_slice(&output.stdout).unwrap();
        for (service, about) in model["services"].as_object().unwrap() {
            if !about["image"].as_str().unwrap().contains("/mainstay:") {
                continue;
            }
            seen += 1;
            let at = format!("{name}: {service}");
            assert_eq!(about["read_only"], true, "{at}");
            assert_eq!(about["cap_drop"], serde_json::json!(["ALL"]), "{at}");
            assert_eq!(about["security_opt"], serde_json::json!(["no-new-privileges:true"]), "{at}");
            assert_eq!(about["logging"]["options"]["max-size"], "100m", "{at}");
            let command = about["command"].as_array().unwrap().iter().map(|word| {
                let word = word.as_str().unwrap();
                word.replace("/run/secrets/jwt", "jwt.hex").replace("/var/lib/jwtsecret/jwtsecret", "jwt.hex")
            });
            let environment = about["environment"].as_object().into_iter().flatten();
            let environment = environment.map(|(name, value)| (name, value.as_str().unwrap()));
            let mut check = Command::new(mainstay());
            check.arg("check").args(command).current_dir(folder.path()).env_clear().envs(environment);
            let told = fine(&mut check);
            assert!(told.starts_with("ok: "), "{at}: {told}");
        }
    }
    assert_eq!(seen, 8, "services that are mainstay");
}

#[test]
fn a_file_that_is_wrong_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let text = filled(&std::fs::read_to_string(root().join("deploy/compose/beacon.yml")).unwrap());
    let output = read(folder.path(), "wrong.yml", &text.replace("read_only:", "readonly:"));
    assert!(!output.status.success() && both(&output).contains("readonly"), "{}", both(&output));
}
