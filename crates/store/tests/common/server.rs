//! Real Redis servers, each with a directory and a free port of its own on loopback, and ended with the test.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{eventually, within};

/// How often a port that somebody else has taken meanwhile is given up for another.
const STARTS: usize = 5;

/// A running `redis-server` (or one that was killed).
pub struct Redis {
    pub port: u16,
    dir: TempDir,
    options: Vec<String>,
    child: Child,
}

impl Redis {
    /// Starts one with options of the command line; `PORT` in them stands for its port, `DIR` for its directory.
    pub async fn start(options: &[&str]) -> Self {
        Self::start_with(&[], options).await
    }

    /// The same with files in its directory.
    pub async fn start_with(files: &[(&str, &str)], options: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        for _ in 0..STARTS {
            let port = free_port();
            let options: Vec<String> = options
                .iter()
                .map(|option| {
                    option.replace("PORT", &port.to_string()).replace("DIR", dir.path().to_str().unwrap())
                })
                .collect();
            let mut child = run(dir.path(), port, &options);
            if answers(port, &options, &mut child).await {
                return Self { port, dir, options, child };
            }
        }
        panic!("redis-server did not start {STARTS} times over");
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Ends it as a crash does.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again after [`Redis::kill`], on the same port.
    pub async fn restart(&mut self) {
        self.child = run(self.dir.path(), self.port, &self.options);
        assert!(answers(self.port, &self.options, &mut self.child).await, "it does not start again");
    }

    /// Stops it without closing anything, or lets it go on.
    pub fn freeze(&self, frozen: bool) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        kill_process(pid, if frozen { Signal::STOP } else { Signal::CONT }).unwrap();
    }

    /// What `redis-cli` prints, with the end of the line.
    pub async fn cli(&self, arguments: &[&str]) -> String {
        cli(self.port, arguments).await
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub async fn cli(port: u16, arguments: &[&str]) -> String {
    let mut command = tokio::process::Command::new("redis-cli");
    command.arg("-p").arg(port.to_string()).args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let output =
        within(10, command.output()).await.unwrap_or_else(|error| not_installed("redis-cli", &error));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "redis-cli {arguments:?}: {text}");
    text
}

/// Of a port that nobody uses, nor the one 10,000 above it (where a Cluster's nodes talk).
pub fn free_port() -> u16 {
    loop {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        if port < 55_000 && TcpListener::bind((Ipv4Addr::LOCALHOST, port + 10_000)).is_ok() {
            return port;
        }
    }
}

fn run(dir: &Path, port: u16, options: &[String]) -> Child {
    let mut command = Command::new("redis-server");
    // Options that begin with a dash come after a file of the configuration, if there is one.
    let (config, options) = match options.split_first() {
        Some((first, rest)) if !first.starts_with('-') => (Some(first), rest),
        _ => (None, options),
    };
    command.args(config).arg("--dir").arg(dir).args(["--bind", "127.0.0.1"]);
    if !options.iter().any(|option| option == "--sentinel") {
        command.args(["--save", ""]);
    }
    if !options.iter().any(|option| option == "--port") {
        command.arg("--port").arg(port.to_string());
    }
    command.args(options).current_dir(dir).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap_or_else(|error| not_installed("redis-server", &error))
}

fn not_installed(program: &str, error: &std::io::Error) -> ! {
    panic!(
        "cannot run {program} ({error}): install it with tests/tools.sh, or with your system's package manager"
    );
}

/// Whether it says anything on its port, or ends instead. A TLS port just has to be open.
async fn answers(port: u16, options: &[String], child: &mut Child) -> bool {
    let tls = options.iter().any(|option| option == "--tls-port");
    let mut ended = false;
    eventually(10, "an answer of redis-server", async || {
        ended = child.try_wait().unwrap().is_some();
        if ended {
            return true;
        }
        let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else { return false };
        if tls {
            return true;
        }
        stream.write_all(b"PING\r\n").await.unwrap();
        let mut reply = [0; 16];
        let Ok(Ok(length)) = tokio::time::timeout(Duration::from_secs(1), stream.read(&mut reply)).await
        else {
            return false;
        };
        // PONG, NOAUTH, or a TLS alert; not LOADING.
        !reply[..length].starts_with(b"-LOADING")
    })
    .await;
    !ended
}
