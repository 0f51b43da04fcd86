//! The book builds, whole. (Links, examples and command lines: `crates/mainstay/tests/docs.rs`.)
#![allow(clippy::unwrap_used)]

use std::process::Command;

use mainstay_packaging::{fine, root, tool};

#[test]
fn it_builds_without_a_warning_and_has_every_page() {
    let folder = tempfile::tempdir().unwrap();
    let printed = fine(
        Command::new(tool("mdbook-0.5.4/bin/mdbook"))
            .args(["build", "docs", "--dest-dir"])
            .arg(folder.path())
            .current_dir(root()),
    );
    assert!(!printed.contains("WARN") && !printed.contains("ERROR"), "{printed}");
    for entry in std::fs::read_dir(root().join("docs")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if let Some(page) = name.strip_suffix(".md").filter(|page| *page != "SUMMARY") {
            let page = if page == "README" { "index" } else { page };
            let html = std::fs::read_to_string(folder.path().join(format!("{page}.html"))).unwrap();
            // Links out of the folder lead to the repository.
            assert!(!html.contains("href=\"../"), "{name} has a link that the book can't follow");
        }
    }
}
