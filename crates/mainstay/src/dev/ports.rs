//! The ports of `mainstay dev`.

use std::net::SocketAddr;

use mainstay_settings::Problem;
use tokio::net::TcpListener;

use super::options::Options;
use crate::process::cannot_listen;

/// A port that is bound.
pub(super) struct Port {
    pub(super) listener: TcpListener,
    pub(super) address: SocketAddr,
    /// The one that was wanted, where it was taken.
    pub(super) instead_of: Option<SocketAddr>,
}

/// Binds what `key` wants. A port that nobody asked for may be another one: a second `make run`, or a real mainstay,
/// must not keep this one from starting.
pub(super) async fn bind(options: &Options, key: &str) -> Result<Port, Problem> {
    let (wanted, any_port) = options.wish(key);
    let mut instead_of = None;
    let listener = match TcpListener::bind(wanted).await {
        Err(why) if any_port && why.kind() == std::io::ErrorKind::AddrInUse => {
            instead_of = Some(wanted);
            TcpListener::bind(SocketAddr::new(wanted.ip(), 0)).await
        }
        bound => bound,
    };
    let bound = listener.and_then(|listener| Ok((listener.local_addr()?, listener)));
    match bound {
        Ok((address, listener)) => Ok(Port { listener, address, instead_of }),
        Err(why) => Err(options.problem(key, cannot_listen(wanted, &why))),
    }
}
