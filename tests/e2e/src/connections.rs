//! How many connections a process has to a port, by what the kernel says.

use std::collections::HashSet;
use std::fs;

use crate::process::Process;
use crate::{Failure, Result};

/// Connections of `process` (IPv4) whose other end is `port`, in whatever state they are.
///
/// # Errors
/// If the kernel does not tell.
pub fn connections(process: &Process, port: u16) -> Result<usize> {
    let id = process.id();
    let mut own = HashSet::new();
    for entry in fs::read_dir(format!("/proc/{id}/fd"))? {
        // It may be closed by now.
        let Ok(target) = fs::read_link(entry?.path()) else { continue };
        let inode = target.to_str().and_then(|text| text.strip_prefix("socket:[")?.strip_suffix(']'));
        own.extend(inode.map(str::to_owned));
    }
    let table = fs::read_to_string(format!("/proc/{id}/net/tcp"))?;
    let wanted = format!(":{port:04X}");
    let mut count = 0;
    for line in table.lines().skip(1) {
        // sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid timeout inode
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (Some(remote), Some(inode)) = (fields.get(2), fields.get(9)) else {
            return Err(Failure::new(format!("not a line of /proc/net/tcp: {line}")));
        };
        count += usize::from(remote.ends_with(&wanted) && own.contains(*inode));
    }
    Ok(count)
}
