//! What the machine is, what a process has used of it, and which cores a process may use.

use std::fs;
use std::process::Command;
use std::time::Duration;

use crate::Result;

/// The machine, as the report names it.
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) memory: String,
    pub(crate) kernel: String,
    /// Load average of the last minute, before the run.
    pub(crate) load: String,
}

impl Machine {
    pub(crate) fn look() -> Self {
        let line = |path: &str, name: &str| {
            let text = fs::read_to_string(path).unwrap_or_default();
            let found = text.lines().find_map(|line| line.strip_prefix(name)?.split_once(':'));
            found.map_or_else(|| "unknown".to_owned(), |(_, value)| value.trim().to_owned())
        };
        let memory = line("/proc/meminfo", "MemTotal");
        let kilobytes: Option<u64> = memory.strip_suffix(" kB").and_then(|number| number.parse().ok());
        let first_word = |path: &str| {
            let text = fs::read_to_string(path).unwrap_or_default();
            text.split_whitespace().next().unwrap_or("unknown").to_owned()
        };
        Self {
            cpu: line("/proc/cpuinfo", "model name"),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory: kilobytes.map_or(memory, |kb| format!("{:.0} GB", kb as f64 * 1024.0 / 1e9)),
            kernel: first_word("/proc/sys/kernel/osrelease"),
            load: first_word("/proc/loadavg"),
        }
    }
}

/// While it lives, this process and those that it starts go before whatever else runs, as far as the system allows (root, as a rule):
/// measured is what is compared, not who else wanted a core.
pub(crate) struct First;

/// Of the session that this process is in; missing where the system makes no groups of sessions.
const GROUP: &str = "/proc/self/autogroup";

impl First {
    pub(crate) fn now() -> Self {
        // Where it isn't allowed the figures are those of a busier machine, nothing more.
        let _ = rustix::process::setpriority_process(None, -20);
        let _ = fs::write(GROUP, "-20");
        Self
    }
}

impl Drop for First {
    fn drop(&mut self) {
        let _ = fs::write(GROUP, "0");
    }
}

/// User and system time of a process with all its threads, those that have ended too.
pub(crate) fn cpu_time(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in parentheses may hold anything; utime and stime are fields 14 and 15.
    let (_, fields) = stat.rsplit_once(')').ok_or("unreadable /proc/PID/stat")?;
    let mut ticks = 0;
    for field in fields.split_whitespace().skip(11).take(2) {
        ticks += field.parse::<u64>()?;
    }
    Ok(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
}

/// How long the threads of a process were ready to run and something else had the core, so far.
pub(crate) fn kept_waiting(pid: u32) -> Result<Duration> {
    let mut nanos = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end meanwhile.
        let stat = fs::read_to_string(thread?.path().join("schedstat")).unwrap_or_default();
        nanos += stat.split_whitespace().nth(1).and_then(|waited| waited.parse().ok()).unwrap_or(0);
    }
    Ok(Duration::from_nanos(nanos))
}

/// Resident memory of a process, now and at its highest, in bytes.
pub(crate) fn memory(pid: u32) -> Result<(u64, u64)> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let bytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        let kilobytes: u64 = line.trim_start_matches(':').trim().strip_suffix(" kB")?.parse().ok()?;
        Some(kilobytes * 1024)
    };
    bytes("VmRSS").zip(bytes("VmHWM")).ok_or_else(|| "unreadable /proc/PID/status".into())
}

/// Lets a process and all its threads run on `cores` only, as taskset writes them: `0`, `1-7`.
pub(crate) fn pin(pid: u32, cores: &str) -> Result<()> {
    let done = Command::new("taskset").args(["-a", "-c", "-p", cores, &pid.to_string()]).output()?;
    if done.status.success() { Ok(()) } else { Err(format!("taskset can't pin to {cores}").into()) }
}
