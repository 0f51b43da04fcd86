//! Every shell script is one that shellcheck finds nothing in.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

use mainstay_packaging::{files, fine, root};

#[test]
fn shellcheck_finds_nothing() {
    let is_script = |path: &&std::path::PathBuf| {
        let bytes = std::fs::read(root().join(path)).unwrap();
        let first = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let first = String::from_utf8_lossy(first);
        first.starts_with("#!") && first.ends_with("sh")
    };
    let all = files();
    let scripts: Vec<_> = all.iter().filter(is_script).collect();
    assert!(scripts.iter().any(|path| *path == Path::new(".ci/run")), "{scripts:?}");
    fine(Command::new("shellcheck").args(&scripts).current_dir(root()));
}
