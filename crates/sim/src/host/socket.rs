//! The sockets of a node that can be gone: a port that is kept while nobody listens on it, and
//! connections that end with a reset.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpSocket, TcpStream},
};
use tokio_util::sync::CancellationToken;

/// A port, open or not.
pub(super) enum Gate {
    /// Accepting.
    Open(TcpListener),
    /// Bound and not listening: connections are refused, and nobody else gets the port.
    Held(TcpSocket),
    /// Not even bound.
    Closed,
}

const BACKLOG: u32 = 1024;

fn bound(addr: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // Connections that the last listener had may still be on their way out.
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    Ok(socket)
}

impl Gate {
    pub(super) fn open(addr: SocketAddr) -> io::Result<(Gate, SocketAddr)> {
        let listener = bound(addr)?.listen(BACKLOG)?;
        let addr = listener.local_addr()?;
        Ok((Gate::Open(listener), addr))
    }

    /// Stops listening and keeps the port where the system lets it.
    pub(super) fn shut(&mut self, addr: SocketAddr) {
        if let Gate::Open(listener) = std::mem::replace(self, Gate::Closed) {
            drop(listener);
            *self = bound(addr).map_or(Gate::Closed, Gate::Held);
        }
    }

    /// Listens again; an error leaves it closed, to be tried once more.
    pub(super) fn reopen(&mut self, addr: SocketAddr) -> io::Result<()> {
        *self = match std::mem::replace(self, Gate::Closed) {
            Gate::Open(listener) => Gate::Open(listener),
            Gate::Held(socket) => Gate::Open(socket.listen(BACKLOG)?),
            Gate::Closed => Gate::open(addr)?.0,
        };
        Ok(())
    }
}

/// A connection that is reset, not closed, once its process is gone.
pub(super) struct Connection {
    stream: TcpStream,
    gone: CancellationToken,
}

impl Connection {
    pub(super) fn new(stream: TcpStream, gone: CancellationToken) -> Connection {
        // Small answers go out at once; a socket that refuses this works all the same.
        let _ = stream.set_nodelay(true);
        Connection { stream, gone }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.gone.is_cancelled() {
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
