//! Where frames come from.

use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long looking up a name and connecting may take together. After that the stream is the user's, for as long as it goes on.
const CONNECT: Duration = Duration::from_secs(10);

/// Something to read from.
pub(super) struct Source {
    pub(super) bytes: Box<dyn Read>,
    /// A node's, not stored.
    pub(super) live: bool,
}

/// Why there is nothing to read from.
#[derive(Debug)]
pub(super) enum NoSource {
    Neither,
    Open(io::Error),
    Folder,
    Connect(io::Error),
    TooLate,
}

impl fmt::Display for NoSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Neither => f.write_str("no such file, and not HOST:PORT; - is standard input"),
            Self::Open(why) => write!(f, "cannot open it: {why}"),
            Self::Folder => f.write_str("is a folder, not a file"),
            Self::Connect(why) => write!(f, "cannot connect: {why}"),
            Self::TooLate => write!(f, "no connection within {} s", CONNECT.as_secs()),
        }
    }
}

/// Opens what `from` names. A file goes before a host of the same name.
pub(super) fn open(from: &str) -> Result<Source, NoSource> {
    if from == "-" {
        return Ok(Source { bytes: Box::new(io::stdin().lock()), live: false });
    }
    match File::open(from) {
        Ok(file) if file.metadata().is_ok_and(|it| it.is_dir()) => Err(NoSource::Folder),
        Ok(file) => Ok(Source { bytes: Box::new(file), live: false }),
        Err(why) if why.kind() != ErrorKind::NotFound => Err(NoSource::Open(why)),
        Err(_) if is_address(from) => connect(from),
        Err(_) => Err(NoSource::Neither),
    }
}

/// `HOST:PORT`, an IPv6 host in brackets.
fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let bracketed = host.starts_with('[') && host.ends_with(']');
    !host.is_empty()
        && !host.contains('/')
        && (bracketed || !host.contains(':'))
        && port.parse::<u16>().is_ok()
}

fn connect(address: &str) -> Result<Source, NoSource> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(NoSource::Connect)?;
    let connected = runtime.block_on(async { timeout(CONNECT, TcpStream::connect(address)).await });
    let stream = match connected {
        Ok(stream) => stream.and_then(TcpStream::into_std).and_then(|stream| {
            stream.set_nonblocking(false)?;
            Ok(stream)
        }),
        Err(_) => Err(ErrorKind::TimedOut.into()),
    };
    // A name being looked up blocks a thread; nobody waits for it.
    runtime.shutdown_background();
    match stream {
        Ok(stream) => Ok(Source { bytes: Box::new(stream), live: true }),
        Err(why) if why.kind() == ErrorKind::TimedOut => Err(NoSource::TooLate),
        Err(why) => Err(NoSource::Connect(why)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_an_address() {
        for yes in ["127.0.0.1:9876", "node.example.com:9876", "[::1]:9876", "localhost:0"] {
            assert!(is_address(yes), "{yes}");
        }
        for no in ["frames.bin", ":9876", "host:", "host:99999", "::1:9876", "dir/a:1", "host:p2p", ""] {
            assert!(!is_address(no), "{no}");
        }
    }
}
