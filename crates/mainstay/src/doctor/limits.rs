//! What the system lets mainstay have: open files and memory.

use std::fs;
use std::path::PathBuf;

use rustix::process::{Resource, getrlimit};

use super::finding::Findings;

/// Open files that a process has besides connections: logs, stores, probes, the admin listener's clients.
pub(super) const BESIDES: u64 = 256;
/// With fewer than that no role works well.
const LEAST: u64 = 256;
/// Bytes under which large payloads at once don't fit.
const MEMORY: u64 = 256 << 20;

/// The limits of a process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Limits {
    /// The mainstay that runs; `None`: ours, as what is started from here would have.
    pub(super) pid: Option<u32>,
    /// The soft limit of open files; `None`: there is none, or it can't be read.
    pub(super) files: Option<u64>,
    /// How many the settings allow for.
    pub(super) needs: u64,
    /// The limit of the control group in bytes; `None`: there is none.
    pub(super) memory: Option<u64>,
}

/// Those of `pid`, or our own.
pub(super) fn observe(pid: Option<u32>, needs: u64) -> Limits {
    let process = pid.map_or_else(|| "self".to_owned(), |pid| pid.to_string());
    let files = match pid {
        None => getrlimit(Resource::Nofile).current,
        Some(_) => {
            fs::read_to_string(format!("/proc/{process}/limits")).ok().and_then(|text| open_files(&text))
        }
    };
    let groups = fs::read_to_string(format!("/proc/{process}/cgroup")).unwrap_or_default();
    Limits { pid, files, needs, memory: group(&groups).and_then(|path| memory(&path)) }
}

/// The soft limit in `/proc/…/limits`. Pure.
fn open_files(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The control group (version 2) in `/proc/…/cgroup`. Pure.
fn group(text: &str) -> Option<PathBuf> {
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(PathBuf::from("/sys/fs/cgroup").join(path))
}

/// The least limit of the group and those that it is in.
fn memory(group: &std::path::Path) -> Option<u64> {
    let limit = |folder: &std::path::Path| -> Option<u64> {
        fs::read_to_string(folder.join("memory.max")).ok()?.trim().parse().ok()
    };
    group.ancestors().take_while(|folder| folder.starts_with("/sys/fs/cgroup")).filter_map(limit).min()
}

pub(super) fn judge(limits: &Limits, findings: &mut Findings<'_>) {
    let of = match limits.pid {
        Some(pid) => format!("mainstay, pid {pid}"),
        None => "this shell".to_owned(),
    };
    let raise = "raise LimitNOFILE= in the unit (--ulimit nofile= for containers), or lower max_connections";
    match limits.files {
        None => findings.ok(&*of, "no limit of open files"),
        Some(files) if files < LEAST => {
            findings.fail(&*of, format!("{files} open files are too few for any role"), raise);
        }
        Some(files) if files < limits.needs => {
            let what = format!("{files} open files, and the settings let in clients for {}", limits.needs);
            findings.warn(&*of, what, raise);
        }
        Some(files) => findings.ok(&*of, format!("{files} open files, {} may be needed", limits.needs)),
    }
    if let Some(memory) = limits.memory {
        let what = format!("{} MiB of memory for its control group", memory >> 20);
        match memory < MEMORY {
            true => findings.warn(&*of, what, "raise MemoryMax= in the unit (--memory= for containers) to 256 MiB or more: several large payloads are held at once"),
            false => findings.ok(&*of, what),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Weight::{self, Fail, Ok, Warn};
    use super::*;

    #[test]
    fn what_is_enough() {
        let cases: [(Option<u64>, Option<u64>, &[Weight]); 6] = [
            (None, None, &[Ok]),
            (Some(65536), None, &[Ok]),
            (Some(1024), None, &[Warn]),
            (Some(100), None, &[Fail]),
            (Some(65536), Some(64 << 20), &[Ok, Warn]),
            (Some(65536), Some(1 << 30), &[Ok, Ok]),
        ];
        for (files, memory, weights) in cases {
            let mut all = Vec::new();
            judge(
                &Limits { pid: None, files, needs: 20_000, memory },
                &mut Findings { area: "limits", all: &mut all },
            );
            assert_eq!(all.iter().map(|it| it.weight).collect::<Vec<_>>(), weights, "{files:?} {memory:?}");
        }
    }

    #[test]
    fn the_systems_words_are_read() {
        let text = "Limit                     Soft Limit           Hard Limit           Units     \n\
                    Max processes             95                   96                   processes \n\
                    Max open files            1024                 524288               files     \n";
        assert_eq!(open_files(text), Some(1024));
        assert_eq!(
            open_files("Max open files            unlimited            unlimited            files"),
            None
        );
        assert_eq!(
            group("0::/system.slice/mainstay.service\n"),
            Some("/sys/fs/cgroup/system.slice/mainstay.service".into())
        );
        assert_eq!(group("5:memory:/x\n"), None);
    }
}
