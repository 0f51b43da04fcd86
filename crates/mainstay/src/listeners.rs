//! Where a process has its listeners from: systemd, the process that it takes over from, a role that another takes over from, or the
//! system; and further handles on all that it serves, for a process or a role that comes in its place.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener as StdListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::PathBuf;

use listenfd::ListenFd;
use mainstay_settings::Listen;
use mainstay_wire::socket::{Listener, Ownership, UnixSocket};
use tokio::net::TcpListener;

use crate::process::cannot_listen;
use crate::shared::Shared;

/// A further handle on a listener. As long as it is there, the port is open.
#[derive(Debug)]
pub(crate) struct Held {
    /// As the settings have it.
    listen: Option<Listen>,
    handle: OwnedFd,
    /// Of a unix socket that is not systemd's: its file.
    file: Option<Ownership>,
}

impl Held {
    fn on(listen: Option<&Listen>, listener: &impl AsFd, file: Option<Ownership>) -> io::Result<Self> {
        Ok(Self { listen: listen.cloned(), handle: rustix::io::dup(listener)?, file })
    }

    /// A handle on a listener that nobody is to take over by its place.
    ///
    /// # Errors
    /// No file descriptor is left.
    pub(crate) fn of(listener: &impl AsFd) -> io::Result<Self> {
        Self::on(None, listener, None)
    }

    /// The same, for a place that the settings call so: any port is one then, but may be another when it is bound anew.
    pub(crate) fn called(self, listen: Listen) -> Self {
        Self { listen: Some(listen), ..self }
    }

    /// Another one.
    ///
    /// # Errors
    /// No file descriptor is left.
    pub(crate) fn again(&self) -> io::Result<Self> {
        Self::on(self.listen.as_ref(), &self.handle, self.file.clone())
    }

    /// Where `listens` are to be bound by who comes in place of the one that has these: where one of them means any port and stood there
    /// before, that port.
    pub(crate) fn wanted(these: &[Self], listens: Vec<Listen>) -> Vec<Listen> {
        let mut left: Vec<&Self> = these.iter().collect();
        let wanted = |listen: Listen| {
            let Some(nth) = left.iter().position(|held| held.listen.as_ref() == Some(&listen)) else {
                return listen;
            };
            let handle = left.swap_remove(nth).handle.try_clone();
            let address = handle.and_then(|handle| StdListener::from(handle).local_addr());
            // Of a unix socket there is none.
            address.map_or(listen, Listen::Tcp)
        };
        listens.into_iter().map(wanted).collect()
    }
}

/// What is open in this process, each for the role that serves it by its number; 0 for what belongs to none.
#[derive(Clone, Default)]
pub(crate) struct Open(Shared<All>);

#[derive(Default)]
struct All {
    held: Vec<(u64, Held)>,
    /// Nothing is to be kept open any more.
    is_closed: bool,
}

impl Open {
    /// These too.
    pub(crate) fn add(&self, of: u64, held: impl IntoIterator<Item = Held>) {
        let mut all = self.0.lock();
        if !all.is_closed {
            all.held.extend(held.into_iter().map(|held| (of, held)));
        }
    }

    /// No longer those of this role.
    pub(crate) fn remove(&self, of: u64) {
        self.0.lock().held.retain(|(other, _)| *other != of);
    }

    /// Further handles on those of this role.
    ///
    /// # Errors
    /// No file descriptor is left.
    pub(crate) fn of(&self, of: u64) -> io::Result<Vec<Held>> {
        let all = self.0.lock();
        all.held.iter().filter(|(other, _)| *other == of).map(|(_, held)| held.again()).collect()
    }

    /// Further handles on all of them.
    ///
    /// # Errors
    /// No file descriptor is left.
    pub(crate) fn handles(&self) -> io::Result<Vec<OwnedFd>> {
        self.0.lock().held.iter().map(|(_, held)| held.handle.try_clone()).collect()
    }

    /// The files of unix sockets are this process's: the one that had them ends.
    pub(crate) fn take_files(&self) {
        self.0.lock().held.iter().filter_map(|(_, held)| held.file.as_ref()).for_each(Ownership::take);
    }

    /// They are another process's now.
    pub(crate) fn give_files(&self) {
        self.0.lock().held.iter().filter_map(|(_, held)| held.file.as_ref()).for_each(Ownership::give);
    }

    /// Keeps nothing open any more.
    pub(crate) fn close(&self) {
        let mut all = self.0.lock();
        all.is_closed = true;
        all.held.clear();
    }
}

/// Listeners that are open already, each to be used for the address that it is bound to.
#[derive(Default)]
pub(crate) struct Inherited {
    tcp: Vec<(SocketAddr, StdListener)>,
    unix: Vec<Adopted>,
    /// Files of unix sockets that a role of this process had, and another has from now on.
    passed: Vec<Ownership>,
}

struct Adopted {
    path: PathBuf,
    listener: StdUnixListener,
    owner: Owner,
}

/// Who removes the file of a unix socket that is open already.
#[derive(Clone)]
enum Owner {
    /// Whoever opened it.
    Systemd,
    /// The process before this one, as long as it runs.
    Before,
    /// A role of this process that ends.
    Role(Ownership),
}

impl Inherited {
    /// Those that systemd opened for this process (`sd_listen_fds(3)`), if it did.
    ///
    /// # Errors
    /// What it passed is no listening socket of TCP or a unix stream socket.
    pub(crate) fn of_systemd() -> Result<Self, String> {
        let mut passed = ListenFd::from_env();
        let mut inherited = Self::default();
        for nth in 0..passed.len() {
            let tcp = passed.take_tcp_listener(nth);
            let socket = match tcp {
                Ok(listener) => listener.map(OwnedFd::from),
                Err(_) => passed.take_unix_listener(nth).map(|listener| listener.map(OwnedFd::from)).map_err(|why| {
                    format!("socket {} of those that systemd passed is no listener for TCP or a unix socket: {why}", nth + 1)
                })?,
            };
            inherited.put(socket.into_iter(), &Owner::Systemd)?;
        }
        Ok(inherited)
    }

    /// And these, of the process that this one takes over from.
    ///
    /// # Errors
    /// One isn't bound.
    pub(crate) fn add(&mut self, listeners: impl Iterator<Item = OwnedFd>) -> Result<(), String> {
        self.put(listeners, &Owner::Before)
    }

    /// And these, of roles that end.
    ///
    /// # Errors
    /// What to tell the user.
    pub(crate) fn add_held(&mut self, held: Vec<Held>) -> Result<(), String> {
        for Held { handle, file, .. } in held {
            self.put(std::iter::once(handle), &file.map_or(Owner::Systemd, Owner::Role))?;
        }
        Ok(())
    }

    fn put(&mut self, listeners: impl Iterator<Item = OwnedFd>, owner: &Owner) -> Result<(), String> {
        let passed = |why| format!("a listener that was passed: {why}");
        for listener in listeners {
            let listener = StdListener::from(listener);
            // Of a unix socket it has no address to tell.
            if let Ok(address) = listener.local_addr() {
                self.tcp.push((address, listener));
                continue;
            }
            let listener = StdUnixListener::from(OwnedFd::from(listener));
            let address = listener.local_addr().map_err(passed)?;
            let path = address.as_pathname().ok_or("a unix socket that was passed has no path")?.to_owned();
            self.unix.push(Adopted { path, listener, owner: owner.clone() });
        }
        Ok(())
    }

    /// A listener for that place: the one that is open, else a new one; and a further handle on it.
    ///
    /// # Errors
    /// It can't be bound; what to tell the user.
    pub(crate) async fn bind(&mut self, listen: &Listen) -> Result<(Listener, Held), String> {
        let (listener, file) = match listen {
            Listen::Tcp(address) => (Listener::Tcp(self.bind_tcp(*address).await?), None),
            Listen::Unix { path, mode } => {
                let open = self.unix.iter().position(|open| open.path == *path);
                let socket = match open.map(|nth| self.unix.swap_remove(nth)) {
                    Some(Adopted { listener, owner, .. }) => {
                        let socket = UnixSocket::adopt(listener);
                        let socket = socket.map_err(|why| format!("cannot listen on {listen}: {why}"))?;
                        let file = (!matches!(owner, Owner::Systemd)).then(|| socket.ownership());
                        if let Owner::Role(before) = owner {
                            self.passed.push(before);
                        }
                        (socket, file)
                    }
                    None => {
                        let socket = UnixSocket::bind_with_mode(path, *mode)?;
                        let file = socket.ownership();
                        (socket, Some(file))
                    }
                };
                let (socket, file) = socket;
                (Listener::Unix(socket), file)
            }
        };
        let held = Held::on(Some(listen), &listener, file);
        let held = held.map_err(|why| format!("cannot listen on {listen}: {why}"))?;
        Ok((listener, held))
    }

    /// The same, for an address of TCP.
    ///
    /// # Errors
    /// It can't be bound; what to tell the user.
    pub(crate) async fn bind_tcp(&mut self, address: SocketAddr) -> Result<TcpListener, String> {
        let listener = match self.tcp.iter().position(|(open, _)| serves(*open, address)) {
            Some(nth) => {
                let (_, listener) = self.tcp.swap_remove(nth);
                listener.set_nonblocking(true).and_then(|()| TcpListener::from_std(listener))
            }
            None => TcpListener::bind(address).await,
        };
        listener.map_err(|why| match self.tcp.iter().find(|(open, _)| open.port() == address.port()) {
            Some((open, _)) if why.kind() == io::ErrorKind::AddrInUse => {
                format!(
                    "cannot listen on {address} while {open}, which is to be let go, is open yet: restart, or choose another port"
                )
            }
            _ => cannot_listen(address, &why),
        })
    }

    /// Where those listen that nobody wanted.
    pub(crate) fn left(&self) -> impl Iterator<Item = String> {
        let tcp = self.tcp.iter().map(|(address, _)| address.to_string());
        tcp.chain(self.unix.iter().map(|open| format!("unix:{}", open.path.display())))
    }

    /// Closes what nobody wanted. From now on the files of unix sockets that were a role's are another's.
    pub(crate) fn pass_files(self) {
        self.passed.iter().for_each(Ownership::give);
    }
}

/// Whether a listener that is open at one address does for another. A port of 0 means any, so none that is open does.
fn serves(open: SocketAddr, wanted: SocketAddr) -> bool {
    let everywhere = |address: IpAddr| address.is_unspecified();
    // systemd's `ListenStream=7000` is [::]:7000, which takes IPv4 too.
    let both = open.is_ipv6() && everywhere(open.ip()) && everywhere(wanted.ip());
    wanted.port() != 0 && open.port() == wanted.port() && (open.ip() == wanted.ip() || both)
}

#[cfg(test)]
mod tests;
