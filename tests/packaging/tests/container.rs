//! The container: what hadolint says of its file; it is built from scratch, and runs as nobody on a file system of which it can write
//! to one folder.
//!
//! The binary under test isn't static, so the libraries that it needs are put beside it after the image is built. Where a container
//! can't be built (no namespaces, no root), only the file is looked at, and that is said.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::Command;

use mainstay_packaging::buildah::Buildah;
use mainstay_packaging::{both, files, fine, mainstay, root, tool};

const FILE: &str = "deploy/container/Containerfile";

#[test]
fn hadolint_finds_nothing() {
    let found: Vec<PathBuf> = files()
        .into_iter()
        .filter(|path| {
            let name = path.file_name().unwrap().to_string_lossy();
            name.starts_with("Containerfile") || name.starts_with("Dockerfile")
        })
        .collect();
    assert!(found.contains(&FILE.into()), "{found:?}");
    fine(Command::new(tool("hadolint-2.15.1/bin/hadolint")).args(&found).current_dir(root()));
}

#[test]
fn it_is_built_from_scratch_and_runs_as_nobody() {
    let Some(buildah) = Buildah::start() else { return };
    let context = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(context.path().join("amd64")).unwrap();
    std::fs::create_dir(context.path().join("state")).unwrap();
    std::fs::copy(mainstay(), context.path().join("amd64/mainstay")).unwrap();
    // TARGETARCH is the machine's; the binary is too.
    std::os::unix::fs::symlink("amd64", context.path().join("arm64")).unwrap();
    let file = root().join(FILE);
    buildah.fine(&[
        "build",
        "--isolation",
        "chroot",
        "--format",
        "docker",
        "--tag",
        "mainstay",
        "--file",
        file.to_str().unwrap(),
        context.path().to_str().unwrap(),
    ]);

    let image: serde_json::Value =
        serde_json::from_str(&buildah.fine(&["inspect", "--type", "image", "mainstay"])).unwrap();
    let config = &image["Docker"]["config"];
    assert_eq!(config["User"], "65532:65532");
    assert_eq!(config["Entrypoint"], serde_json::json!(["/usr/bin/mainstay"]));
    let check = config["Healthcheck"]["Test"].as_array().unwrap();
    assert_eq!(check[0], "CMD", "a shell would be needed for any other form, and there is none");
    let check: Vec<&str> = check[1..].iter().map(|word| word.as_str().unwrap()).collect();

    let container = buildah.fine(&["from", "localhost/mainstay"]);
    let folder = PathBuf::from(buildah.fine(&["mount", &container]));
    let mut there = Vec::new();
    list(&folder, &folder, &mut there);
    assert_eq!(there, ["usr/bin/mainstay"], "nothing else is in it");
    libraries(&folder);

    // `buildah run` needs no service and no namespaces that a container has not: its own root, and its user.
    let run = |arguments: &[&str]| {
        buildah.command(&[&["run", "--isolation", "chroot", &container, "--"], arguments].concat())
    };
    assert!(fine(&mut run(&["/usr/bin/mainstay", "--version"])).starts_with("mainstay "));
    // Nobody answers in it, and the check's own command says so: so it is a command that is there.
    let unhealthy = run(&check).env("MAINSTAY_ADMIN_LISTEN", "127.0.0.1:1").output().unwrap();
    assert_eq!(unhealthy.status.code(), Some(1), "{}", both(&unhealthy));
    assert!(both(&unhealthy).contains("/livez of 127.0.0.1:"), "{}", both(&unhealthy));
    // A whole simulated network runs in it, where it may write to its own folder. Elsewhere it may not: it is nobody.
    let dev = |folder: &str| {
        let words = "/usr/bin/mainstay dev --slots 1 --slot 2s --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0 --control 127.0.0.1:0";
        let words: Vec<&str> = words.split(' ').collect();
        let variable = format!("TMPDIR={folder}");
        let flags = ["run", "--isolation", "chroot", "--env", &variable, &container, "--"];
        both(&buildah.command(&[&flags[..], &words].concat()).output().unwrap())
    };
    let told = dev("/var/lib/mainstay");
    assert!(told.contains("1 slot, 0 missed"), "{told}");
    let told = dev("/usr/bin");
    assert!(told.contains("cannot make a temporary folder: Permission denied"), "{told}");
}

/// Every file under `folder`.
fn list(root: &Path, folder: &Path, there: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            list(root, &path, there);
        } else {
            there.push(path.strip_prefix(root).unwrap().display().to_string());
        }
    }
}

/// Puts what the binary under test is linked to beside it.
fn libraries(folder: &Path) {
    let listed = fine(Command::new("ldd").arg(mainstay()));
    for word in listed.split_whitespace().filter(|word| word.starts_with('/')) {
        let to = folder.join(word.trim_start_matches('/'));
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(word, to).unwrap();
    }
}
