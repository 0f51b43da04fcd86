//! Where something is listened on: an address, or a unix socket.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Who may connect to a unix socket unless its address says otherwise: its owner and its group.
pub const SOCKET_MODE: u32 = 0o660;
/// The longest path of a unix socket in bytes (`unix(7)`: 108 with the zero at its end).
const LONGEST: usize = 107;

/// Where something is listened on: `IP:PORT`, or `unix:/PATH`, with `#mode=0600` after it for other permissions than 0660.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// TCP. A port of 0 is any that is free.
    Tcp(SocketAddr),
    /// A unix socket.
    Unix {
        /// Its file; absolute.
        path: PathBuf,
        /// The permissions of its file.
        mode: u32,
    },
}

impl Listen {
    /// The address, if it is one of TCP.
    #[must_use]
    pub fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix { .. } => None,
        }
    }

    /// The socket's file, if it is a unix socket.
    #[must_use]
    pub fn unix(&self) -> Option<&Path> {
        match self {
            Self::Tcp(_) => None,
            Self::Unix { path, .. } => Some(path),
        }
    }
}

impl From<SocketAddr> for Listen {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

impl FromStr for Listen {
    type Err = String;

    /// Fails with what comes after "…" in a message.
    fn from_str(text: &str) -> Result<Self, String> {
        let Some(place) = text.strip_prefix("unix:") else {
            return text.parse().map(Self::Tcp).map_err(|_| {
                "is not an IP address with a port, for example \"127.0.0.1:7000\", or a unix socket, for example \
                 \"unix:/run/mainstay/rpc.sock\""
                    .to_owned()
            });
        };
        let (path, option) = match place.split_once('#') {
            Some((path, option)) => (path, Some(option)),
            None => (place, None),
        };
        if !path.starts_with('/') || path.ends_with('/') || path.contains('\0') {
            return Err(
                "needs the socket's whole path after unix:, for example \"unix:/run/mainstay/rpc.sock\""
                    .into(),
            );
        }
        if path.len() > LONGEST {
            return Err(format!("has a path of {} bytes, a unix socket's has {LONGEST} at most", path.len()));
        }
        Ok(Self::Unix { path: path.into(), mode: option.map_or(Ok(SOCKET_MODE), mode)? })
    }
}

/// `mode=0600`: who may read and write, which is to connect.
fn mode(option: &str) -> Result<u32, String> {
    let digits = option.strip_prefix("mode=").unwrap_or_default();
    let is_octal =
        (3..=4).contains(&digits.len()) && digits.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
    match u32::from_str_radix(digits, 8) {
        Ok(mode) if is_octal && mode & 0o600 == 0o600 && mode <= 0o777 => Ok(mode),
        _ => {
            Err("takes after the # only permissions that let its owner in, for example \"#mode=0600\"".into())
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix { path, .. } => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn addresses_and_sockets() {
        for (text, shown, mode) in [
            ("127.0.0.1:7000", "127.0.0.1:7000", None),
            ("[::1]:7000", "[::1]:7000", None),
            ("unix:/run/a.sock", "unix:/run/a.sock", Some(0o660)),
            ("unix:/run/a.sock#mode=0600", "unix:/run/a.sock", Some(0o600)),
            ("unix:/run/a.sock#mode=666", "unix:/run/a.sock", Some(0o666)),
        ] {
            let listen: Listen = text.parse().unwrap();
            let found = match &listen {
                Listen::Tcp(_) => None,
                Listen::Unix { mode, .. } => Some(*mode),
            };
            assert_eq!((listen.to_string().as_str(), found), (shown, mode), "{text}");
        }
    }

    #[test]
    fn what_is_neither_is_told_what_it_should_be() {
        let long = format!("unix:/{}", "x".repeat(107));
        for (text, part) in [
            ("localhost:7000", "is not an IP address with a port"),
            ("7000", "unix:/run/mainstay/rpc.sock"),
            ("unix:", "whole path"),
            ("unix:run/a.sock", "whole path"),
            ("unix:/run/", "whole path"),
            ("unix:/run/a#mode=", "#mode=0600"),
            ("unix:/run/a#mode=0060", "#mode=0600"),
            ("unix:/run/a#mode=0888", "#mode=0600"),
            ("unix:/run/a#mode=1666", "#mode=0600"),
            ("unix:/run/a#owner=me", "#mode=0600"),
            (long.as_str(), "108 bytes"),
        ] {
            let told = text.parse::<Listen>().unwrap_err();
            assert!(told.contains(part), "{text}: {told}");
        }
    }
}
