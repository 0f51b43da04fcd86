//! The static binaries that `make static` has left in target/dist: they depend on nothing of the machine, name no path of the one that
//! built them, serve, and go into a container for both machines. One for another machine runs under qemu, if that is installed.
//! It takes minutes to build them, so these are run by `make static` and not by `make test`.
#![allow(clippy::unwrap_used)]
#![allow(
    clippy::disallowed_methods,
    reason = "nothing of it is async: a process is waited for, with a deadline"
)]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use mainstay_packaging::buildah::Buildah;
use mainstay_packaging::{fine, installed, root};

/// `MAINSTAY_DIST`, else target/dist.
fn dist() -> PathBuf {
    std::env::var_os("MAINSTAY_DIST").map_or_else(|| root().join("target/dist"), PathBuf::from)
}

/// Debian's word for a machine, what this one is called where it is that, and what starts its programs elsewhere.
const MACHINES: [(&str, &str, &str); 2] =
    [("amd64", "x86_64", "qemu-x86_64-static"), ("arm64", "aarch64", "qemu-aarch64-static")];

/// Each binary with what starts it here: itself, or an emulator.
fn binaries() -> Vec<(PathBuf, Vec<PathBuf>)> {
    let mut found = Vec::new();
    for (machine, here, emulator) in MACHINES {
        let binary = dist().join(machine).join("mainstay");
        if !binary.exists() {
            eprintln!("there is no {}: `make static` builds it", binary.display());
        } else if std::env::consts::ARCH == here {
            found.push((binary.clone(), vec![binary]));
        } else if let Some(emulator) = installed(emulator) {
            found.push((binary.clone(), vec![emulator, binary]));
        } else {
            eprintln!("{emulator} is not installed: {} is not run", binary.display());
        }
    }
    assert!(!found.is_empty(), "nothing is in {}: run `make static`", dist().display());
    found
}

fn run(words: &[PathBuf]) -> Command {
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).env_clear();
    command
}

#[test]
#[ignore = "make static"]
fn nothing_of_the_machine_is_in_them() {
    for (binary, words) in binaries() {
        let headers =
            fine(Command::new("readelf").args(["--program-headers", "--dynamic", "--wide"]).arg(&binary));
        assert!(
            !headers.contains("INTERP") && !headers.contains("NEEDED"),
            "{}: {headers}",
            binary.display()
        );
        assert_eq!(fine(run(&words).arg("--version")), concat!("mainstay ", env!("CARGO_PKG_VERSION"), "\n"));
        let bytes = std::fs::read(&binary).unwrap();
        let home = std::env::var("HOME").unwrap();
        for path in [root().display().to_string(), format!("{home}/")] {
            let within = bytes.windows(path.len()).position(|bytes| bytes == path.as_bytes());
            let around = within.map(|at| String::from_utf8_lossy(&bytes[at..(at + 200).min(bytes.len())]));
            assert_eq!(around, None, "{}", binary.display());
        }
    }
}

/// mainstay, which is ended with this.
struct Serving {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Serving {
    fn start(words: &[PathBuf], config: &Path) -> Self {
        let mut command = run(words);
        command.arg("run").arg("--config").arg(config).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().unwrap();
        let log = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || log.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, lines }
    }

    /// Where `role` listens, as its log says.
    fn address(&self, role: &str) -> String {
        let mut seen = String::new();
        loop {
            let line = self.lines.recv_timeout(Duration::from_secs(60));
            let line = line.unwrap_or_else(|why| panic!("{role} doesn't listen ({why}): {seen}"));
            if line.contains("listening") && line.contains(role) {
                let (_, address) = line.split_once("address=").unwrap();
                return address.trim().to_owned();
            }
            seen = format!("{seen}{line}\n");
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
#[ignore = "make static"]
fn they_serve_tls_and_a_whole_network() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost";
    fine(Command::new("openssl").args(words.split(' ')).args([
        "-keyout",
        &file("key.pem"),
        "-out",
        &file("cert.pem"),
    ]));
    let config = folder.path().join("mainstay.toml");
    let (cert, key) = (file("cert.pem"), file("key.pem"));
    std::fs::write(
        &config,
        format!(
            "[admin]\nlisten = \"127.0.0.1:0\"\n\
            [rpc]\nlisten = \"127.0.0.1:0\"\nnodes = [\"http://127.0.0.1:1\"]\ntls_cert = \"{cert}\"\ntls_key = \"{key}\"\n"
        ),
    )
    .unwrap();
    for (_, words) in binaries() {
        let serving = Serving::start(&words, &config);
        let port = serving.address("role=\"rpc\"").rsplit(':').next().unwrap().to_owned();
        let admin = serving.address("role=\"admin\"");
        let page = fine(
            Command::new("curl")
                .args(["--silent", "--show-error", "--fail", "--max-time", "60", "--cacert", &cert])
                .arg(format!("https://localhost:{port}/")),
        );
        assert_eq!(page.trim(), "prio-load-balancer");
        // As a container asks.
        fine(run(&words).arg("healthcheck").env("MAINSTAY_ADMIN_LISTEN", admin));
        drop(serving);

        // Every role's code and its allocator, on many threads.
        let told = fine(run(&words).args(
            "dev --slots 2 --slot 1s --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0 --control 127.0.0.1:0".split(' '),
        ));
        assert!(told.contains("2 slots, 0 missed"), "{told}");
    }
}

#[test]
#[ignore = "make static"]
fn the_container_is_built_for_each_machine() {
    let Some(buildah) = Buildah::start() else { return };
    let context = tempfile::tempdir().unwrap();
    std::fs::create_dir(context.path().join("state")).unwrap();
    let file = root().join("deploy/container/Containerfile");
    for (machine, ..) in MACHINES {
        let binary = dist().join(machine).join("mainstay");
        if !binary.exists() {
            eprintln!("there is no {}: no container is built of it", binary.display());
            continue;
        }
        std::fs::create_dir(context.path().join(machine)).unwrap();
        std::fs::copy(binary, context.path().join(machine).join("mainstay")).unwrap();
        let platform = format!("linux/{machine}");
        buildah.fine(&[
            "build",
            "--isolation",
            "chroot",
            "--format",
            "docker",
            "--platform",
            &platform,
            "--manifest",
            "mainstay",
            "--tag",
            machine,
            "--file",
            file.to_str().unwrap(),
            context.path().to_str().unwrap(),
        ]);
        let image: serde_json::Value =
            serde_json::from_str(&buildah.fine(&["inspect", "--type", "image", machine])).unwrap();
        assert_eq!(image["Docker"]["architecture"], *machine);
    }
}
