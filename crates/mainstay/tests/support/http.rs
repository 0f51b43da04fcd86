//! A node and a client that know just enough of HTTP.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use super::SOON;

/// A node that answers everything with its name. It is gone once it is dropped.
pub struct Node {
    pub url: String,
    asked: Arc<AtomicUsize>,
    /// While somebody writes, nobody is answered.
    pub gate: Arc<RwLock<()>>,
    /// Readers and the listener look at it.
    alive: Arc<()>,
    address: String,
}

impl Node {
    pub fn start(name: &'static str) -> Self {
        Self::at("127.0.0.1:0", name)
    }

    pub fn at(address: &str, name: &'static str) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (asked, alive) = (Arc::new(AtomicUsize::new(0)), Arc::new(()));
        let gate = Arc::new(RwLock::new(()));
        let node = Self {
            url: format!("http://{address}"),
            asked: asked.clone(),
            gate: gate.clone(),
            alive,
            address,
        };
        let there = Arc::downgrade(&node.alive);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if there.upgrade().is_none() {
                    return;
                }
                let (there, asked, gate) = (there.clone(), asked.clone(), gate.clone());
                std::thread::spawn(move || {
                    answers(stream, |body| {
                        there.upgrade()?;
                        if !body.contains("net_version") {
                            asked.fetch_add(1, Ordering::SeqCst);
                            drop(gate.read());
                        }
                        Some(format!(r#"{{"jsonrpc":"2.0","id":1,"result":"{name}"}}"#))
                    });
                });
            }
        });
        node
    }

    /// Requests so far, those of health left out.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.alive = Arc::new(());
        // Wakes the listener, which ends then.
        let _ = TcpStream::connect(&self.address);
    }
}

/// Answers what is asked on a connection, until there is no answer or it ends.
pub fn answers(mut stream: TcpStream, mut answer: impl FnMut(&str) -> Option<String>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    while let Some((head, body)) = message(&mut reader) {
        assert!(head.starts_with("POST "), "{head}");
        let Some(reply) = answer(&body) else { return };
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            reply.len()
        );
        if stream.write_all((head + &reply).as_bytes()).is_err() {
            return;
        }
    }
}

/// The head and the body of the next message.
fn message(reader: &mut impl BufRead) -> Option<(String, String)> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok())
        .unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((head, String::from_utf8(body).unwrap()))
}

/// An answer.
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Reply {
    #[track_caller]
    pub fn fine(self) -> String {
        assert_eq!(self.status, 200, "{}{}", self.head, self.body);
        self.body
    }
}

/// Sends a request on a connection of its own.
pub fn send(address: &str, method: &str, path: &str, body: &str) -> std::io::Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&address.parse().unwrap(), SOON)?;
    stream.set_read_timeout(Some(SOON))?;
    send_on(&mut stream, address, method, path, body)?;
    Ok(stream)
}

/// Sends a request on a connection that is there.
pub fn send_on(
    stream: &mut TcpStream,
    address: &str,
    method: &str,
    path: &str,
    body: &str,
) -> std::io::Result<()> {
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// The answer that comes on this connection.
pub fn answer(stream: TcpStream) -> Option<Reply> {
    let (head, body) = message(&mut BufReader::new(stream))?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Reply { status, head, body })
}

#[track_caller]
pub fn ask(address: &str, method: &str, path: &str, body: &str) -> Reply {
    answer(send(address, method, path, body).unwrap()).unwrap()
}

/// Asks again and again until the answer is yes.
#[track_caller]
#[allow(clippy::disallowed_methods, reason = "it waits for a process, with a deadline")]
pub fn eventually(what: &str, mut yes: impl FnMut() -> bool) {
    let until = Instant::now() + SOON;
    while !yes() {
        assert!(Instant::now() < until, "not within {SOON:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
