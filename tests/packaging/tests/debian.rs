//! The Debian package: built, installed into a clean root, checked, run from there, removed, purged. Where there is no dpkg that can't be, and is said.
#![allow(clippy::unwrap_used)]
#![allow(
    clippy::disallowed_methods,
    reason = "nothing of it is async: a process is waited for, with a deadline"
)]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mainstay_packaging::machine::stripped;
use mainstay_packaging::{fine, installed, root};

/// The package of the binary under test, compressed in a hurry.
fn built(to: &Path) -> PathBuf {
    std::fs::create_dir(to).unwrap();
    let binary = to.with_extension("stripped");
    stripped(&binary);
    let architecture = fine(Command::new("dpkg").arg("--print-architecture"));
    fine(
        Command::new(root().join("deploy/deb/build.sh"))
            .arg(binary)
            .arg(architecture.trim())
            .arg(to)
            .arg("--fast")
            .env("SOURCE_DATE_EPOCH", "1700000000"),
    );
    let package = std::fs::read_dir(to).unwrap().next().unwrap().unwrap().path();
    let name = format!("mainstay_{}_{}.deb", env!("CARGO_PKG_VERSION"), architecture.trim());
    assert_eq!(package.file_name().unwrap().to_str(), Some(name.as_str()));
    package
}

/// dpkg for a root of its own, whose scripts aren't run in it: there is no shell.
fn dpkg(clean: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("dpkg");
    command.arg(format!("--root={}", clean.display())).arg("--force-script-chrootless,not-root,depends");
    command.args(arguments);
    command
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn it_is_installed_into_a_clean_root_and_runs_and_goes() {
    if installed("dpkg-deb").is_none() {
        eprintln!("there is no dpkg-deb here: the Debian package is not built");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let package = built(&folder.path().join("package"));
    let clean = folder.path().join("clean");
    for place in ["info", "updates"] {
        std::fs::create_dir_all(clean.join("var/lib/dpkg").join(place)).unwrap();
    }
    std::fs::write(clean.join("var/lib/dpkg/status"), "").unwrap();
    fine(&mut dpkg(&clean, &["--install", package.to_str().unwrap()]));
    assert!(fine(&mut dpkg(&clean, &["--status", "mainstay"])).contains("Status: install ok installed"));
    for (path, mode) in [
        ("usr/bin/mainstay", 0o755),
        ("usr/lib/systemd/system/mainstay.service", 0o644),
        ("usr/lib/systemd/system/mainstay.socket", 0o644),
        ("etc/mainstay/mainstay.toml", 0o644),
        ("usr/share/doc/mainstay/copyright", 0o644),
        ("usr/share/man/man1/mainstay.1.gz", 0o644),
        ("usr/share/man/man1/mainstay-engine.1.gz", 0o644),
        ("usr/share/bash-completion/completions/mainstay", 0o644),
        ("usr/share/zsh/vendor-completions/_mainstay", 0o644),
        ("usr/share/fish/vendor_completions.d/mainstay.fish", 0o644),
    ] {
        use std::os::unix::fs::PermissionsExt as _;
        let about = std::fs::metadata(clean.join(path)).unwrap_or_else(|why| panic!("{path}: {why}"));
        assert_eq!(about.permissions().mode() & 0o777, mode, "{path}");
    }

    let completions =
        std::fs::read_to_string(clean.join("usr/share/bash-completion/completions/mainstay")).unwrap();
    assert!(completions.contains("complete -F _mainstay "), "{completions}");
    let page =
        fine(Command::new("gzip").arg("-dc").arg(clean.join("usr/share/man/man1/mainstay-engine.1.gz")));
    assert!(page.contains(".TH MAINSTAY"), "{page}");

    // As it comes it has no role, and says so; with one it serves.
    let program = clean.join("usr/bin/mainstay");
    let config = clean.join("etc/mainstay/mainstay.toml");
    let check =
        || Command::new(&program).arg("check").arg("--config").arg(&config).env_clear().output().unwrap();
    assert!(String::from_utf8_lossy(&check().stderr).contains("has no role to run"), "{:?}", check());
    let shipped = std::fs::read_to_string(&config).unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let role = format!(
        "[rpc]\nlisten = \"127.0.0.1:0\"\nnodes = [\"http://127.0.0.1:1\"]\n[admin]\nlisten = \"127.0.0.1:{port}\"\n"
    );
    std::fs::write(&config, shipped + &role).unwrap();
    let ok = check();
    assert!(ok.status.success(), "{ok:?}");
    let mut serving = Command::new(&program);
    serving.arg("run").arg("--config").arg(&config).env_clear().stdout(Stdio::null()).stderr(Stdio::null());
    let running = Running(serving.spawn().unwrap());
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let alive =
            Command::new(&program).arg("healthcheck").arg("--config").arg(&config).env_clear().output();
        if alive.unwrap().status.success() {
            break;
        }
        assert!(Instant::now() < until, "it doesn't serve");
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(running);

    // The configuration was changed, so it stays until it is purged.
    fine(&mut dpkg(&clean, &["--remove", "mainstay"]));
    assert!(!program.exists() && config.exists());
    std::fs::create_dir_all(clean.join("var/lib/mainstay/evidence")).unwrap();
    fine(&mut dpkg(&clean, &["--purge", "mainstay"]));
    assert!(!config.exists() && !clean.join("var/lib/mainstay").exists());
}

#[test]
fn the_same_binary_makes_the_same_package() {
    if installed("dpkg-deb").is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (built(&folder.path().join("one")), built(&folder.path().join("other")));
    assert!(std::fs::read(one).unwrap() == std::fs::read(other).unwrap());
}
