//! A child process with a log: start, kill, freeze, thaw, terminate.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use crate::{Failure, Lab, Result, ensure, until};

/// A running (or killed) program, the leader of its own process group; the whole group is killed on drop.
pub struct Process {
    name: String,
    command: Command,
    child: Child,
    group: Pid,
    log: PathBuf,
}

impl Process {
    /// Starts `command` in its folder, or the lab's if it has none (Lodestar leaves files where it is started); what it
    /// prints is appended to `name`.log in the lab's.
    ///
    /// # Errors
    /// If the program cannot be started.
    pub fn spawn(lab: &Lab, name: &str, command: Command) -> Result<Process> {
        let log = lab.log(name);
        let file = File::options().create(true).append(true).open(&log)?;
        let shown = command.get_program().to_string_lossy().into_owned();
        let folder = command.get_current_dir().map_or_else(|| lab.path(""), Path::to_owned);
        let mut command = dies_with_us(command);
        command
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .process_group(0);
        let child = command
            .spawn()
            .map_err(|error| Failure::new(format!("{name}: could not start {shown}: {error}")))?;
        let group = Pid::from_child(&child);
        Ok(Process { name: name.to_owned(), command, child, group, log })
    }

    /// Kills it where it still runs, and starts it anew with the same command.
    ///
    /// # Errors
    /// If the system refuses.
    pub(crate) fn again(&mut self) -> Result<()> {
        self.kill()?;
        self.kill_children();
        self.child = self.command.spawn()?;
        self.group = Pid::from_child(&self.child);
        Ok(())
    }

    /// Its group may hold children that outlive it, so the group is killed even where the leader is gone.
    fn kill_children(&self) {
        let _ = kill_process_group(self.group, Signal::KILL);
    }

    /// Its name in logs.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that takes what the process prints.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Its process id, also that of its group.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`: gone without a word to anyone.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn kill(&mut self) -> Result<()> {
        if self.child.try_wait()?.is_none() {
            kill_process_group(self.group, Signal::KILL)?;
            self.child.wait()?;
        }
        Ok(())
    }

    /// SIGSTOP: the kernel still takes connections for it, but it answers none. Returns when all of its threads have stopped: a busy
    /// machine may let them run for a while after the signal was sent.
    ///
    /// # Errors
    /// If it is not running.
    pub fn freeze(&self) -> Result<()> {
        kill_process_group(self.group, Signal::STOP)?;
        let stopped = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(self.group), stopped)?;
        Ok(())
    }

    /// SIGCONT: goes on where it was frozen.
    ///
    /// # Errors
    /// If it is not running.
    pub fn thaw(&self) -> Result<()> {
        Ok(kill_process_group(self.group, Signal::CONT)?)
    }

    /// SIGTERM, then waits for its end.
    ///
    /// # Errors
    /// If it still runs after `limit`.
    pub async fn terminate(&mut self, limit: Duration) -> Result<ExitStatus> {
        if let Some(status) = self.child.try_wait()? {
            return Ok(status);
        }
        kill_process_group(self.group, Signal::TERM)?;
        let what = format!("{} to end after SIGTERM", self.name);
        until(&what, limit, async || Ok(self.child.try_wait()?)).await
    }

    /// Fails where the process has ended by itself; for loops that wait for it to be ready.
    ///
    /// # Errors
    /// If it is not running.
    pub fn must_run(&mut self) -> Result<()> {
        let ended = self.child.try_wait()?;
        ensure!(ended.is_none(), "{} has ended by itself: {ended:?}, see its log", self.name);
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill_children();
        let _ = self.child.wait();
    }
}

/// Lets the kernel kill the program when the test itself is killed, where `setpriv` (util-linux) is there.
/// The same call from within needs `unsafe`, which this workspace forbids.
fn dies_with_us(command: Command) -> Command {
    let Some(setpriv) =
        ["/usr/bin/setpriv", "/bin/setpriv"].into_iter().find(|path| Path::new(path).exists())
    else {
        return command;
    };
    let mut wrapped = Command::new(setpriv);
    wrapped.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => wrapped.env(name, value),
            None => wrapped.env_remove(name),
        };
    }
    wrapped
}

/// The next port to try. It starts at a place of the process's own, so that two runs hardly meet.
static NEXT_PORT: AtomicU16 = AtomicU16::new(0);

/// A port on loopback that nobody listens on.
///
/// Not one that binding port 0 gives: those come from the range that the kernel also takes for outgoing
/// connections, and a client that is killed and restarted on its port would now and then find it taken.
///
/// # Errors
/// If no port is free.
pub fn free_port() -> Result<u16> {
    const FIRST: u16 = 20_000;
    const COUNT: u16 = 12_000;
    let start = u16::try_from(std::process::id() % 375).unwrap_or_default() * 32;
    for _ in 0..COUNT {
        let step = NEXT_PORT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + (start + step % COUNT) % COUNT;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    Err(Failure::new("no free port between 20000 and 32000"))
}
