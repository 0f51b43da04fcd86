//! A clean Debian that is booted: systemd is process 1 of it, in namespaces, and nothing of what is written there outlives it.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::{both, fine, installed, tool};

/// How long anything in it may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// It runs until this is dropped.
pub struct Machine {
    nspawn: Child,
    /// Its process 1, as the number is out here.
    first: u32,
    log: tempfile::NamedTempFile,
}

impl Machine {
    /// Boots one in which `binds`, places out here and in there, can be read. `None` where that can't be done, and that is said.
    ///
    /// # Panics
    /// If it begins and does not come to its end.
    #[must_use]
    pub fn boot(binds: &[(&Path, &str)]) -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let not = |why: &str| eprintln!("no system is booted: {why}");
        if !rustix::process::geteuid().is_root() {
            not("only root can");
            return None;
        }
        if installed("systemd-nspawn").is_none() {
            not("systemd-nspawn is not installed");
            return None;
        }
        if installed("apt-get").is_none() {
            not("there is no Debian to make it of");
            return None;
        }
        let log = tempfile::NamedTempFile::new().unwrap();
        let told = log.reopen().unwrap();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        // It ends with us, however we end.
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "TERM", "--", "systemd-nspawn", "--quiet", "--boot"])
            .args([
                "--register=no",
                "--keep-unit",
                "--private-network",
                "--volatile=overlay",
                "--console=pipe",
            ])
            .arg(format!("--machine=mainstay-{}-{number}", std::process::id()))
            .arg(format!("--directory={}", tool("debian").display()))
            .args(binds.iter().map(|(out, within)| format!("--bind-ro={}:{within}", out.display())))
            .stdin(Stdio::null())
            .stdout(told.try_clone().unwrap())
            .stderr(told);
        let mut machine = Self { nspawn: command.spawn().unwrap(), first: 0, log };
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = machine.nspawn.try_wait().unwrap() {
                not(&format!("systemd-nspawn ended with {status}: {}", machine.log()));
                return None;
            }
            if machine.first == 0 {
                machine.first = first_of(machine.nspawn.id()).unwrap_or(0);
            } else if machine
                .output("[[ $(systemctl is-system-running --wait) =~ running|degraded ]]")
                .status
                .success()
            {
                return Some(machine);
            }
            assert!(Instant::now() < until, "it doesn't come up: {}", machine.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.log.path()).unwrap()).into_owned()
    }

    /// What comes of `script`, which bash runs in it as root.
    pub fn output(&self, script: &str) -> Output {
        Command::new("nsenter")
            .args(["--all", "--target", &self.first.to_string(), "--"])
            .args([
                "/usr/bin/env",
                "-i",
                "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
                "HOME=/root",
                "LC_ALL=C.UTF-8",
            ])
            .args(["DEBIAN_FRONTEND=noninteractive", "/usr/bin/timeout", &PATIENCE.as_secs().to_string()])
            .args(["/bin/bash", "-euo", "pipefail", "-c", script])
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// What it prints, without the end of the last line.
    ///
    /// # Panics
    /// If it fails.
    #[track_caller]
    pub fn run(&self, script: &str) -> String {
        let output = self.output(script);
        let journal = || both(&self.output("journalctl --no-pager --unit mainstay --lines 50"));
        assert!(
            output.status.success(),
            "{script} ended with {}:\n{}\n{}",
            output.status,
            both(&output),
            journal()
        );
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    /// A property of a unit, as systemd tells it.
    #[track_caller]
    pub fn property(&self, unit: &str, name: &str) -> String {
        self.run(&format!("systemctl show {unit} --property {name} --value"))
    }

    /// Waits for what `script` prints to be so.
    ///
    /// # Panics
    /// If it isn't in two minutes.
    #[track_caller]
    pub fn eventually(&self, script: &str, is_so: impl Fn(&str) -> bool) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            let told = self.run(script);
            if is_so(&told) {
                return told;
            }
            assert!(Instant::now() < until, "{script}: {told}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Writes a file in it.
    #[track_caller]
    pub fn write(&self, path: &str, text: &str) {
        // Its root as it sees it, mounts and all.
        std::fs::write(format!("/proc/{}/root{path}", self.first), text).unwrap();
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // The kernel ends all of it with its process 1; systemd-nspawn then takes its own mounts away and ends.
        match i32::try_from(self.first).ok().and_then(rustix::process::Pid::from_raw) {
            Some(first) => drop(rustix::process::kill_process(first, rustix::process::Signal::KILL)),
            None => drop(self.nspawn.kill()),
        }
        let _ = self.nspawn.wait();
    }
}

/// The process 1 that this systemd-nspawn has started, when it is systemd already.
fn first_of(nspawn: u32) -> Option<u32> {
    let children = std::fs::read_to_string(format!("/proc/{nspawn}/task/{nspawn}/children")).ok()?;
    let child = children.split_whitespace().next()?.parse().ok()?;
    let name = std::fs::read_to_string(format!("/proc/{child}/comm")).ok()?;
    (name.trim() == "systemd").then_some(child)
}

/// The binary under test without what only a debugger reads, which is most of it.
pub fn stripped(to: &Path) {
    fine(Command::new("strip").arg("-o").arg(to).arg(crate::mainstay()));
}
