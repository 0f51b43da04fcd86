//! A proxy before what a member of etcd hears of the others, which may be deaf to some of them. They say who they are in the
//! head of each request (`X-Server-From`).

use std::net::Ipv4Addr;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Ends with all its connections when dropped.
pub struct Peers {
    pub port: u16,
    deaf_to: watch::Sender<Vec<String>>,
    _tasks: JoinSet<()>,
}

impl Peers {
    pub async fn start(upstream: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let deaf_to = watch::Sender::new(Vec::new());
        let mut tasks = JoinSet::new();
        let deaf = deaf_to.subscribe();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let Ok((client, _)) = listener.accept().await else { continue };
                while connections.try_join_next().is_some() {}
                connections.spawn(serve(client, upstream, deaf.clone()));
            }
        });
        Self { port, deaf_to, _tasks: tasks }
    }

    /// Their connections end, and new ones at once.
    pub fn deaf_to(&self, names: Vec<String>) {
        self.deaf_to.send_replace(names);
    }
}

async fn serve(mut client: TcpStream, upstream: u16, mut deaf_to: watch::Receiver<Vec<String>>) {
    let mut head = vec![0; 16 * 1024];
    let Ok(length @ 1..) = client.read(&mut head).await else { return };
    let text = String::from_utf8_lossy(&head[..length]).to_ascii_lowercase();
    let from =
        text.lines().find_map(|line| line.strip_prefix("x-server-from: ")).unwrap_or_default().to_owned();
    // Probes tell no name, and are followed by others on their connection.
    let heard = |names: &Vec<String>| names.is_empty() || !from.is_empty() && !names.contains(&from);
    if !heard(&deaf_to.borrow()) {
        return;
    }
    let Ok(mut server) = TcpStream::connect((Ipv4Addr::LOCALHOST, upstream)).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    if server.write_all(&head[..length]).await.is_err() {
        return;
    }
    tokio::select! {
        _ = copy_bidirectional(&mut client, &mut server) => {}
        _ = deaf_to.wait_for(|names| !heard(names)) => {}
    }
}
