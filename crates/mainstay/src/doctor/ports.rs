//! Whether the ports of the settings are free, and whose they are if not.

use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use super::finding::Findings;

/// The state of a listening socket in the system's table.
const LISTENS: &str = "0A";

/// An address to listen on, as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PortSeen {
    /// Whose it is to be: `engine`.
    pub(super) of: String,
    pub(super) address: SocketAddr,
    pub(super) state: State,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    Free,
    /// By whom, if that can be seen.
    Held(Option<Holder>),
    /// It is no address of this machine.
    Elsewhere,
    /// A port for root, and we aren't.
    Denied,
    Other(String),
}

/// A process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Holder {
    pub(super) pid: u32,
    pub(super) name: String,
}

/// Binds it for a moment.
pub(super) fn observe(of: String, address: SocketAddr) -> PortSeen {
    let state = match TcpListener::bind(address) {
        Ok(_) => State::Free,
        Err(why) => match why.kind() {
            ErrorKind::AddrInUse => State::Held(holder(address)),
            ErrorKind::AddrNotAvailable => State::Elsewhere,
            ErrorKind::PermissionDenied => State::Denied,
            _ => State::Other(why.to_string()),
        },
    };
    PortSeen { of, address, state }
}

/// Who listens there. Processes of others are seen by root alone.
fn holder(address: SocketAddr) -> Option<Holder> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| fs::read_to_string(path).unwrap_or_default());
    let sockets: Vec<String> = tables
        .iter()
        .flat_map(|table| listeners(table))
        .filter(|(at, _)| clash(*at, address))
        .map(|(_, inode)| format!("socket:[{inode}]"))
        .collect();
    let mut seen: Vec<Holder> = Vec::new();
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let Ok(files) = fs::read_dir(process.path().join("fd")) else { continue };
        let holds =
            |target: std::path::PathBuf| sockets.iter().any(|socket| target.as_os_str() == socket.as_str());
        if files.flatten().any(|file| fs::read_link(file.path()).is_ok_and(holds)) {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            seen.push(Holder { pid, name: name.trim().to_owned() });
        }
    }
    // systemd keeps what it has passed on: who got it is of more interest.
    let others = seen.iter().position(|holder| holder.name != "systemd").unwrap_or(0);
    (others < seen.len()).then(|| seen.swap_remove(others))
}

/// Whether one keeps the other from being bound.
fn clash(one: SocketAddr, other: SocketAddr) -> bool {
    let any = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && (any || one.ip().to_canonical() == other.ip().to_canonical())
}

/// The listening sockets of `/proc/net/tcp` or `tcp6`, with the number of each. Pure.
fn listeners(table: &str) -> Vec<(SocketAddr, u64)> {
    let row = |line: &str| {
        let mut fields = line.split_whitespace();
        let local = fields.nth(1)?;
        let state = fields.nth(1)?;
        let inode = fields.nth(5)?.parse().ok()?;
        (state == LISTENS).then_some(())?;
        let (ip, port) = local.split_once(':')?;
        Some((SocketAddr::new(address(ip)?, u16::from_str_radix(port, 16).ok()?), inode))
    };
    table.lines().skip(1).filter_map(row).collect()
}

/// The kernel writes its words of an address as numbers of this machine.
fn address(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| u32::from_str_radix(hex.get(at..at + 8)?, 16).ok().map(u32::to_ne_bytes);
    match hex.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?].concat();
            Some(Ipv6Addr::from(<[u8; 16]>::try_from(words).ok()?).into())
        }
        _ => None,
    }
}

/// The mainstay that holds one of the ports, if one does.
pub(super) fn running(ports: &[PortSeen]) -> Option<u32> {
    ports.iter().find_map(|port| match &port.state {
        State::Held(Some(holder)) if holder.name == "mainstay" => Some(holder.pid),
        _ => None,
    })
}

pub(super) fn judge(ports: &[PortSeen], findings: &mut Findings<'_>) {
    for PortSeen { of, address, state } in ports {
        let of = format!("{of} {address}");
        match state {
            State::Free => findings.ok(of, "is free"),
            State::Held(Some(Holder { pid, name })) if name == "mainstay" => {
                findings.ok(of, format!("a mainstay has it (pid {pid})"));
            }
            State::Held(Some(Holder { pid, name })) if name == "systemd" => {
                findings.ok(of, format!("systemd has it (pid {pid}), for a socket unit"));
            }
            State::Held(Some(Holder { pid, name })) => {
                let what = format!("{name} has it (pid {pid})");
                findings.fail(of, what, "stop that, or listen on another port");
            }
            State::Held(None) => {
                let remedy =
                    "as root this says who; if it isn't mainstay, stop that or listen on another port";
                findings.warn(of, "is taken, by whom can't be seen by this user", remedy);
            }
            State::Elsewhere => {
                findings.fail(of, "isn't an address of this machine", "listen on one that is, or on 0.0.0.0");
            }
            State::Denied => {
                let remedy =
                    "take a port from 1024 on, or AmbientCapabilities=CAP_NET_BIND_SERVICE in the unit";
                findings.warn(of, "needs root, or a capability that this user hasn't", remedy);
            }
            State::Other(why) => findings.fail(of, &**why, "listen on another address"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Weight::{self, Fail, Ok, Warn};
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn the_systems_table_is_read() {
        let v4 = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
                  0: 0100007F:1E14 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0000000000000000 100 0 0 10 0\n   \
                  1: 0100007F:1E14 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0000000000000000 20 4 30 10 -1\n";
        assert_eq!(listeners(v4), [("127.0.0.1:7700".parse().unwrap(), 4711)]);
        let v6 = "head\n 0: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 99 1\n junk\n 1: 0:1 2 0A\n";
        assert_eq!(listeners(v6), [("[::1]:80".parse().unwrap(), 99)]);
    }

    #[test]
    fn who_holds_a_port_is_told() {
        let held = |name: &str| State::Held(Some(Holder { pid: 7, name: name.to_owned() }));
        let cases: [(State, Weight, &str); 7] = [
            (State::Free, Ok, "is free"),
            (held("mainstay"), Ok, "a mainstay has it (pid 7)"),
            (held("systemd"), Ok, "systemd has it (pid 7), for a socket unit"),
            (held("haproxy"), Fail, "haproxy has it (pid 7)"),
            (State::Held(None), Warn, "is taken, by whom can't be seen by this user"),
            (State::Elsewhere, Fail, "isn't an address of this machine"),
            (State::Denied, Warn, "needs root, or a capability that this user hasn't"),
        ];
        for (state, weight, what) in cases {
            let mut all = Vec::new();
            let port =
                PortSeen { of: "engine".to_owned(), address: "127.0.0.1:7000".parse().unwrap(), state };
            judge(std::slice::from_ref(&port), &mut Findings { area: "ports", all: &mut all });
            assert_eq!(
                (all[0].weight, all[0].what.as_str(), all[0].of.as_str()),
                (weight, what, "engine 127.0.0.1:7000")
            );
            assert_eq!(running(&[port]), (what.starts_with("a mainstay")).then_some(7));
        }
    }

    #[test]
    fn a_port_that_we_hold_ourselves_is_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let seen = observe(String::new(), listener.local_addr().unwrap());
        let State::Held(Some(holder)) = seen.state else { panic!("{seen:?}") };
        assert_eq!(holder.pid, std::process::id());
    }
}
