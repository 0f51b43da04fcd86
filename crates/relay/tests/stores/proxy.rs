//! A TCP proxy that loses, holds and delays what passes it.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What becomes of what passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Pass,
    /// Connections are closed, new ones at once.
    Cut,
    /// Nothing passes either way; it does later, when that is over.
    Hang,
    /// Questions pass, answers don't before that is over.
    Deaf,
    /// Nothing passes on connections that are open now, as where a machine is gone, and they don't end. New ones are well.
    Gone,
    /// Connections that are open now end when something passes: a question that gets there, or doesn't. New ones are well.
    Stale {
        gets_there: bool,
    },
    /// Answers come later.
    Delay(Duration),
}

/// Ends with all its connections when dropped.
pub struct Proxy {
    pub port: u16,
    mode: watch::Sender<Mode>,
    accepted: Arc<AtomicUsize>,
    /// Counts connections that are led on.
    open: watch::Sender<usize>,
    _tasks: JoinSet<()>,
}

impl Proxy {
    /// In front of a port of loopback.
    pub async fn start(upstream: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mode = watch::Sender::new(Mode::Pass);
        let accepted = Arc::new(AtomicUsize::new(0));
        let open = watch::Sender::new(0);
        let (modes, counted, opened) = (mode.subscribe(), Arc::clone(&accepted), open.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let Ok((client, _)) = listener.accept().await else { continue };
                counted.fetch_add(1, Ordering::SeqCst);
                while connections.try_join_next().is_some() {}
                let (modes, opened) = (modes.clone(), opened.clone());
                opened.send_modify(|open| *open += 1);
                connections.spawn(async move {
                    serve(client, upstream, modes).await;
                    opened.send_modify(|open| *open -= 1);
                });
            }
        });
        Self { port, mode, accepted, open, _tasks: tasks }
    }

    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// The same, and waits until no connection is left that is older: who sets [`Mode::Cut`] and passes on soon after would else leave some of them as they are.
    pub async fn cut(&self) {
        self.set(Mode::Cut);
        self.open.subscribe().wait_for(|open| *open == 0).await.unwrap();
    }

    /// How many connections there have been.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

async fn serve(client: TcpStream, upstream: u16, mut mode: watch::Receiver<Mode>) {
    if *mode.borrow() == Mode::Cut {
        return;
    }
    let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, upstream)).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let is_new = matches!(*mode.borrow(), Mode::Stale { .. } | Mode::Gone);
    let (up, down) = (mode.clone(), mode.clone());
    tokio::select! {
        () = pump(from_client, to_server, up, false, is_new) => {}
        () = pump(from_server, to_client, down, true, is_new) => {}
        _ = mode.wait_for(|mode| *mode == Mode::Cut) => {}
    }
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut mode: watch::Receiver<Mode>,
    answers: bool,
    is_new: bool,
) {
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let Ok(length @ 1..) = from.read(&mut bytes).await else { return };
        let now = *mode.borrow();
        if let Mode::Delay(time) = now
            && answers
        {
            tokio::time::sleep(time).await;
        }
        if let Mode::Stale { gets_there } = now
            && !is_new
            && gets_there == answers
        {
            return;
        }
        let held = |mode: &Mode| {
            *mode == Mode::Hang || *mode == Mode::Gone && !is_new || answers && *mode == Mode::Deaf
        };
        if mode.wait_for(|mode| !held(mode)).await.is_err() || to.write_all(&bytes[..length]).await.is_err() {
            return;
        }
    }
}
