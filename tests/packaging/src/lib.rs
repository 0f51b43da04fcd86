//! What mainstay is delivered in, held against the tools that will read it: the book, scripts, container, compose files, units,
//! Debian package, chart, workflows. Tools are pinned and put in place by `make tools` (`tests/tools.sh`).

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "it is the tests' own harness: it looks at real clocks and starts real programs"
)]

pub mod buildah;
pub mod machine;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// A program under `$E2E_TOOLS`, else `target/tools`.
///
/// # Panics
/// If it isn't there.
pub fn tool(path: &str) -> PathBuf {
    let tools = match std::env::var_os("E2E_TOOLS").filter(|folder| !folder.is_empty()) {
        Some(folder) => std::path::absolute(folder).unwrap(),
        None => root().join("target/tools"),
    };
    let tool = tools.join(path);
    assert!(tool.exists(), "{} is missing: run `make tools`", tool.display());
    tool
}

/// A program of the system's, if it is installed.
pub fn installed(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    places.map(|place| place.join(name)).find(|program| program.is_file())
}

/// The binary under test, as `cargo build --workspace` makes it beside the tests.
///
/// # Panics
/// If it isn't there.
pub fn mainstay() -> PathBuf {
    let here = std::env::current_exe().unwrap();
    // target/debug/deps/TEST
    let binary = here.parent().and_then(Path::parent).unwrap().join("mainstay");
    assert!(binary.exists(), "{} is missing: run `cargo build -p mainstay`", binary.display());
    binary
}

/// Every file that is delivered or kept in the repository, from its root: what `git ls-files` would tell, without git.
pub fn files() -> Vec<PathBuf> {
    fn find(root: &Path, folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_symlink() || ["target", "node_modules", ".git"].contains(&name.as_str()) {
                continue;
            }
            if path.is_dir() {
                find(root, &path, found);
            } else {
                found.push(path.strip_prefix(root).unwrap().to_owned());
            }
        }
    }
    let mut found = Vec::new();
    find(&root(), &root(), &mut found);
    found.sort();
    found
}

/// Runs it; what it printed, both outputs together.
///
/// # Panics
/// If it can't be started or fails, with what it printed.
#[track_caller]
pub fn fine(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|why| panic!("{command:?}: {why}"));
    let printed = both(&output);
    assert!(output.status.success(), "{command:?} ended with {}:\n{printed}", output.status);
    printed
}

/// Both outputs together.
pub fn both(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
