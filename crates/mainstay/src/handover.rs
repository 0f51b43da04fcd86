//! A new process takes over from the one that runs, and no connection is refused.
//!
//! The one that runs listens on a unix socket. Whoever connects to it gets its listeners, the open sockets themselves, so what clients
//! have begun waits in the same queue whoever takes it from there. When the new process can serve it says so; the old one stops
//! accepting, tells what its roles remember, answers what it has, tells once more, and ends. If the new one goes away before that, nothing has happened.
//!
//! Not by two sockets on one port (`SO_REUSEPORT`): the system has spread new connections over both, and closing one resets those that
//! it holds.

use std::fs::{self, Permissions};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream as StdStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mainstay_admin::Role;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;
use tracing::{info, warn};

/// Listeners in one message; the system takes 253.
const BATCH: usize = 64;
/// How long the other side may take to send its listeners, or to take them.
const EXCHANGE: Duration = Duration::from_secs(5);
/// How long a new process may take from its listeners to its readiness.
const GETS_READY: Duration = Duration::from_secs(120);
/// Said by a process that is about to serve.
const READY: u8 = b'R';
/// What a process may remember, in bytes; 256 builds of ten nodes are a tenth of it.
const MEMORY: u64 = 4 << 20;

/// The process that runs, whose listeners this one has.
pub(crate) struct Predecessor(StdStream);

/// Asks the process behind `path` for its listeners; `None` if there is none.
///
/// # Errors
/// There is one, and it doesn't hand them over.
pub(crate) fn take_over(path: &Path) -> Result<Option<(Predecessor, Vec<OwnedFd>)>, String> {
    let shown = path.display();
    if fs::symlink_metadata(path).is_ok_and(|there| !there.file_type().is_socket()) {
        return Err(format!("{shown} is there and is no socket, choose another path"));
    }
    let stream = match StdStream::connect(path) {
        Ok(stream) => stream,
        Err(why) if matches!(why.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(why) => return Err(format!("cannot reach the process behind {shown}: {why}")),
    };
    let listeners = stream
        .set_read_timeout(Some(EXCHANGE))
        .and_then(|()| receive(&stream))
        .map_err(|why| format!("the process behind {shown} does not hand over its listeners: {why}"))?;
    Ok(Some((Predecessor(stream), listeners)))
}

impl Predecessor {
    /// This process is about to serve: the other one may stop. Gives what that one remembers; if it has gone meanwhile, nothing.
    pub(crate) async fn release(self) -> (Vec<Memory>, Leaving) {
        let heard = async {
            self.0.set_nonblocking(true)?;
            let mut stream = BufReader::new(UnixStream::from_std(self.0)?);
            stream.write_all(&[READY]).await?;
            let memories = timeout(EXCHANGE, memories_from(&mut stream)).await??;
            Ok::<_, io::Error>((memories, stream))
        };
        match heard.await {
            Ok((memories, stream)) => (memories, Leaving(Some(stream))),
            Err(why) => {
                warn!(%why, "the process before this one has not told what it remembers");
                (Vec::new(), Leaving(None))
            }
        }
    }
}

/// The process before this one, while it answers what it has.
pub(crate) struct Leaving(Option<BufReader<UnixStream>>);

impl Leaving {
    /// What it remembers in the end: of calls too that came on connections which clients kept.
    pub(crate) async fn end(self) -> Vec<Memory> {
        let Some(mut stream) = self.0 else { return Vec::new() };
        let heard = timeout(GETS_READY, memories_from(&mut stream)).await;
        heard.ok().and_then(Result::ok).unwrap_or_default()
    }
}

/// A line.
async fn memories_from(stream: &mut BufReader<UnixStream>) -> io::Result<Vec<Memory>> {
    let mut line = Vec::new();
    stream.take(MEMORY).read_until(b'\n', &mut line).await?;
    Ok(serde_json::from_slice(&line)?)
}

/// What a role remembers.
#[derive(Serialize, Deserialize)]
pub(crate) struct Memory {
    kind: String,
    name: String,
    memory: Value,
}

/// The process that takes over.
pub(crate) struct Heir(UnixStream);

impl Heir {
    /// Tells it what roles remember. It serves, whatever becomes of this.
    pub(crate) async fn tell(&mut self, roles: &[Arc<dyn Role>]) {
        let memory = |role: &Arc<dyn Role>| {
            Some(Memory { kind: role.kind().into(), name: role.name().into(), memory: role.memory()? })
        };
        let memories: Vec<Memory> = roles.iter().filter_map(memory).collect();
        let mut line = serde_json::to_vec(&memories).unwrap_or_default();
        line.push(b'\n');
        let _ = timeout(EXCHANGE, self.0.write_all(&line)).await;
    }
}

/// Tells roles what those of the same kind and name remembered.
pub(crate) fn remember(roles: &[Arc<dyn Role>], memories: &[Memory]) {
    for role in roles {
        let own = memories.iter().find(|memory| memory.kind == role.kind() && memory.name == role.name());
        if let Some(Memory { memory, .. }) = own {
            role.remember(memory);
        }
    }
}

/// Messages of a byte, the number of listeners that are with it; the last is 0.
fn receive(stream: &StdStream) -> io::Result<Vec<OwnedFd>> {
    let mut listeners = Vec::new();
    loop {
        let mut count = [0];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
        let mut with = RecvAncillaryBuffer::new(&mut space);
        let got = recvmsg(stream, &mut [IoSliceMut::new(&mut count)], &mut with, RecvFlags::CMSG_CLOEXEC)?;
        if got.bytes == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it has ended, or stops"));
        }
        let sockets = with.drain().flat_map(|message| match message {
            RecvAncillaryMessage::ScmRights(sockets) => sockets.collect::<Vec<OwnedFd>>(),
            _ => Vec::new(),
        });
        let before = listeners.len();
        listeners.extend(sockets);
        match count[0] {
            0 => return Ok(listeners),
            n if usize::from(n) == listeners.len() - before => {}
            _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "some have been lost on the way")),
        }
    }
}

fn send(stream: &StdStream, listeners: &[OwnedFd]) -> io::Result<()> {
    for batch in listeners.chunks(BATCH).chain([&[][..]]) {
        let sockets: Vec<_> = batch.iter().map(AsFd::as_fd).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
        let mut with = SendAncillaryBuffer::new(&mut space);
        if !sockets.is_empty() {
            with.push(SendAncillaryMessage::ScmRights(&sockets));
        }
        let count = u8::try_from(sockets.len()).unwrap_or_default();
        sendmsg(stream, &[IoSlice::new(&[count])], &mut with, SendFlags::empty())?;
    }
    Ok(())
}

/// What this process offers to one that takes over from it.
pub(crate) struct Offer {
    path: PathBuf,
    listener: UnixListener,
    /// Makes further handles on the listeners that serve.
    listeners: Listeners,
}

type Listeners = Box<dyn Fn() -> io::Result<Vec<OwnedFd>> + Send + Sync>;

impl Offer {
    /// Offers what `listeners` makes handles on behind `path`, of which whoever was there before is gone or going.
    ///
    /// # Errors
    /// Nothing can be bound there.
    pub(crate) fn make(
        path: &Path,
        listeners: impl Fn() -> io::Result<Vec<OwnedFd>> + Send + Sync + 'static,
    ) -> Result<Self, String> {
        let bound = || {
            match fs::remove_file(path) {
                Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
                _ => {}
            }
            let listener = UnixListener::bind(path)?;
            fs::set_permissions(path, Permissions::from_mode(0o600))?;
            Ok(listener)
        };
        let listener =
            bound().map_err(|why| format!("cannot offer a handover at {}: {why}", path.display()))?;
        Ok(Self { path: path.to_owned(), listener, listeners: Box::new(listeners) })
    }

    /// Waits until another process takes over.
    pub(crate) async fn taken(&self) -> Heir {
        loop {
            let Ok((stream, _)) = self.listener.accept().await else {
                // No file descriptor left, say. That passes, and nobody is in a hurry.
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            };
            match self.hand_over(stream).await {
                Ok(heir) => return heir,
                Err(why) => warn!(%why, "a process that wanted to take over did not"),
            }
        }
    }

    async fn hand_over(&self, stream: UnixStream) -> Result<Heir, String> {
        let peer = stream.peer_cred().map_err(|why| why.to_string())?;
        let own = rustix::process::geteuid();
        if peer.uid() != own.as_raw() && peer.uid() != 0 {
            return Err(format!("it belongs to user {}, not to {}", peer.uid(), own.as_raw()));
        }
        info!(pid = peer.pid(), "another process takes over");
        let stream = stream.into_std().map_err(|why| why.to_string())?;
        let sent = stream
            .set_nonblocking(false)
            .and_then(|()| stream.set_write_timeout(Some(EXCHANGE)))
            // A few hundred bytes into a socket that is empty.
            .and_then(|()| send(&stream, &(self.listeners)()?))
            .and_then(|()| stream.set_nonblocking(true));
        sent.map_err(|why| why.to_string())?;
        let mut stream = UnixStream::from_std(stream).map_err(|why| why.to_string())?;
        match timeout(GETS_READY, stream.read_u8()).await {
            Ok(Ok(READY)) => Ok(Heir(stream)),
            Ok(Ok(_)) => Err("it said something else".to_owned()),
            Ok(Err(_)) => Err("it went away before it served".to_owned()),
            Err(_) => Err(format!("it does not serve after {GETS_READY:?}")),
        }
    }

    /// Nobody is to take over any more.
    pub(crate) fn withdraw(self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    use std::net::TcpListener as StdListener;

    fn listeners(n: usize) -> Vec<OwnedFd> {
        std::iter::repeat_with(|| StdListener::bind("127.0.0.1:0").unwrap().into()).take(n).collect()
    }

    fn addresses(listeners: &[OwnedFd]) -> Vec<std::net::SocketAddr> {
        let address =
            |listener: &OwnedFd| StdListener::from(listener.try_clone().unwrap()).local_addr().unwrap();
        listeners.iter().map(address).collect()
    }

    fn make(path: &Path, own: Vec<OwnedFd>) -> Result<Offer, String> {
        Offer::make(path, move || own.iter().map(OwnedFd::try_clone).collect())
    }

    async fn ask(path: &Path) -> Result<Option<(Predecessor, Vec<OwnedFd>)>, String> {
        let path = path.to_owned();
        tokio::task::spawn_blocking(move || take_over(&path)).await.unwrap()
    }

    #[tokio::test]
    async fn listeners_go_over_as_they_are_whoever_comes_first_and_gives_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("handover");
        assert!(ask(&path).await.unwrap().is_none(), "nobody is there");
        // More than one message holds.
        let own = listeners(BATCH + 3);
        let expected = addresses(&own);
        let offer = make(&path, own).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let taken = tokio::spawn(async move {
            let mut heir = offer.taken().await;
            heir.tell(&[]).await;
            drop(offer);
            heir.tell(&[]).await;
        });
        let (gave_up, _) = ask(&path).await.unwrap().unwrap();
        drop(gave_up);
        let (predecessor, theirs) = ask(&path).await.unwrap().unwrap();
        assert_eq!(addresses(&theirs), expected);
        let (memories, leaving) = predecessor.release().await;
        assert!(memories.is_empty() && leaving.0.is_some());
        assert!(leaving.end().await.is_empty());
        taken.await.unwrap();
        // The sockets live on with who has them.
        std::net::TcpStream::connect(expected[0]).unwrap();
        // What is left of the other is in nobody's way.
        assert!(ask(&path).await.unwrap().is_none());
        make(&path, Vec::new()).unwrap().withdraw();
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_place_that_cannot_be_used_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("no such folder").join("handover");
        let told = make(&path, Vec::new()).err().unwrap();
        assert!(told.contains(&path.display().to_string()) && told.contains("No such file"), "{told}");
        // Something listens there that is no mainstay.
        let path = folder.path().join("other");
        let other = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let answers = std::thread::spawn(move || drop(other.accept().unwrap()));
        let told = ask(&path).await.err().unwrap();
        assert!(told.contains("does not hand over its listeners: it has ended"), "{told}");
        answers.join().unwrap();
    }
}
