//! Runs the real binary.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

pub mod http;
pub mod markdown;

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// For anything that should take no time at all, on a machine that is busy.
pub const SOON: Duration = Duration::from_secs(30);

/// `mainstay dev` with ports that disturb nobody.
pub fn dev<'a>(flags: &[&'a str]) -> Vec<&'a str> {
    let ports = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--control", "127.0.0.1:0"];
    [&["dev"], &ports[..], flags].concat()
}

/// A folder with a secret in `jwt.hex`, in which the binary runs.
pub struct Place {
    folder: TempDir,
    program: PathBuf,
}

impl Place {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = Self { folder, program: env!("CARGO_BIN_EXE_mainstay").into() };
        place.file("jwt.hex", &"11".repeat(32));
        place
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// From now on the binary is called by a link of this name.
    pub fn called(mut self, name: &str) -> Self {
        let link = self.path().join(name);
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_mainstay"), &link).unwrap();
        self.program = link;
        self
    }

    /// The binary in this folder, without what the environment of the tests may hold.
    pub fn command(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).current_dir(self.path()).env_clear().envs(variables.iter().copied());
        command.stdin(Stdio::null());
        command
    }

    pub fn run(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Done {
        Done::from(self.command(arguments, variables).output().unwrap())
    }

    pub fn start(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Running {
        Running::of(self.command(arguments, variables))
    }

    /// The same with something to type into.
    pub fn start_typing(&self, arguments: &[&str], variables: &[(&str, &str)]) -> (Running, ChildStdin) {
        let mut command = self.command(arguments, variables);
        command.stdin(Stdio::piped());
        let mut running = Running::of(command);
        let input = running.child.stdin.take().unwrap();
        (running, input)
    }
}

impl Running {
    /// What `command` starts.
    pub fn of(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (line, lines) = channel();
        let out = child.stdout.take().unwrap();
        std::thread::spawn(move || {
            for read in BufReader::new(out).lines().map_while(Result::ok) {
                let _ = line.send(read);
            }
        });
        Running { child, lines, seen: Vec::new(), looked_at: 0 }
    }
}

/// What a run came to.
pub struct Done {
    pub status: Option<i32>,
    pub out: String,
    pub err: String,
}

impl From<Output> for Done {
    fn from(output: Output) -> Self {
        Self {
            status: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Done {
    /// The configuration was refused with exactly these lines.
    #[track_caller]
    pub fn refused(&self, lines: &[&str]) {
        let told: Vec<&str> = self.err.lines().collect();
        assert_eq!(told, lines);
        assert_eq!(self.status, Some(2));
        assert_eq!(self.out, "");
    }

    #[track_caller]
    pub fn fine(&self) -> &str {
        assert_eq!((self.status, self.err.as_str()), (Some(0), ""));
        &self.out
    }
}

/// A process that serves; killed when dropped.
pub struct Running {
    child: Child,
    lines: Receiver<String>,
    pub seen: Vec<String>,
    looked_at: usize,
}

impl Running {
    /// The first line not looked at before that holds all of `parts`.
    #[track_caller]
    #[allow(clippy::disallowed_methods, reason = "it waits for a process, with a deadline")]
    pub fn line(&mut self, parts: &[&str]) -> String {
        // For this line: others may come all the time.
        let until = Instant::now() + SOON;
        loop {
            while let Some(line) = self.seen.get(self.looked_at) {
                self.looked_at += 1;
                if parts.iter().all(|part| line.contains(part)) {
                    return line.clone();
                }
            }
            match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => self.seen.push(line),
                Err(_) => self.fail(&format!("no line with {parts:?}")),
            }
        }
    }

    #[track_caller]
    fn fail(&mut self, what: &str) -> ! {
        let _ = self.child.kill();
        let mut err = String::new();
        let _ = self.child.stderr.take().unwrap().read_to_string(&mut err);
        panic!("{what}; log: {:#?}; stderr: {err}", self.seen);
    }

    /// Where `role` listens, from a log in logfmt.
    #[track_caller]
    pub fn address(&mut self, role: &str) -> String {
        let line = self.line(&["msg=listening", &format!("role={role} ")]);
        line.split("address=").nth(1).unwrap().split(' ').next().unwrap().to_owned()
    }

    /// The address, or path, that the heading of `mainstay dev` gives for `name`. Ask in the heading's order.
    #[track_caller]
    pub fn heading(&mut self, name: &str) -> String {
        let line = self.line(&[&format!("  {name} ")]);
        line.split_whitespace().nth(1).unwrap().trim_start_matches("http://").to_owned()
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().try_into().unwrap()).unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Where `role` listens, from a log of JSON lines.
    #[track_caller]
    pub fn address_in_json(&mut self, role: &str) -> String {
        let line = self.line(&["\"msg\":\"listening\"", &format!("\"role\":\"{role}\"")]);
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        line["address"].as_str().unwrap().to_owned()
    }

    /// The exit status, once it has closed its log.
    #[track_caller]
    pub fn ended(&mut self) -> Option<i32> {
        loop {
            match self.lines.recv_timeout(SOON) {
                Ok(line) => self.seen.push(line),
                Err(RecvTimeoutError::Disconnected) => return self.child.wait().unwrap().code(),
                Err(RecvTimeoutError::Timeout) => self.fail("still running"),
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
