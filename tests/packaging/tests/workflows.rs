//! What the forge runs: actionlint reads it, with shellcheck for its scripts; every action is pinned to a version.
#![allow(clippy::unwrap_used)]

use std::process::Command;

use mainstay_packaging::{fine, root, tool};

#[test]
fn actionlint_finds_nothing() {
    fine(Command::new(tool("actionlint-1.7.12/actionlint")).arg("-no-color").current_dir(root()));
}

#[test]
fn every_action_is_pinned() {
    for entry in std::fs::read_dir(root().join(".github/workflows")).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        for line in text.lines().filter(|line| line.contains("uses: ")) {
            let version = line.split('@').nth(1).unwrap_or_default().split(' ').next().unwrap_or_default();
            let is_tag =
                version.strip_prefix('v').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
            let is_hash = version.len() == 40 && version.chars().all(|c| c.is_ascii_hexdigit());
            assert!(is_tag || is_hash, "{}: {line}", path.display());
        }
    }
}
