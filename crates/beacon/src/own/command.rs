//! A program that is a check: started without a shell, in a process group of its own, and ended with all of that group.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Stdio;

use bytes::Bytes;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;

use super::MAX_BODY;

/// Everything that a program has started, unless it has left the group. Ended when this is dropped.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // Fails if nobody is left, which is as well.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Runs a program to its end: its exit status (128 and the signal's number if a signal ended it) and what it wrote. What it
/// leaves running is killed, and so is everything when the future is dropped.
///
/// Its environment is mainstay's own without the variables of mainstay, which may hold secrets, and with those in `told`.
pub(super) async fn run(
    program: &Path,
    args: &[String],
    told: &[(&str, &str)],
) -> Result<(i64, Bytes), String> {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    command.process_group(0).kill_on_drop(true);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("MAINSTAY_") {
            command.env_remove(name);
        }
    }
    command.envs(told.iter().copied());

    let mut child = command.spawn().map_err(|error| format!("the program can't be started: {error}"))?;
    let group = Group(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw));
    let output = child.stdout.take().ok_or("the program has no output")?;
    let mut reading = std::pin::pin!(read(output));
    let failed = |error: std::io::Error| format!("the program is lost: {error}");
    let (status, body) = tokio::select! {
        biased;
        body = &mut reading => {
            // Who writes too much isn't waited for.
            let body = body?;
            (child.wait().await, body)
        }
        status = child.wait() => {
            // Who was left behind with the output open would be waited for.
            drop(group);
            (status, reading.await?)
        }
    };
    let status = status.map_err(failed)?;
    let number = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1);
    Ok((i64::from(number), body))
}

async fn read(output: impl AsyncRead + Unpin) -> Result<Bytes, String> {
    let mut body = Vec::new();
    let read = output.take(MAX_BODY as u64 + 1).read_to_end(&mut body).await;
    match read {
        Ok(length) if length > MAX_BODY => Err("the program writes more than 1 MiB".to_owned()),
        Ok(_) => Ok(body.into()),
        Err(error) => Err(format!("what the program writes can't be read: {error}")),
    }
}
