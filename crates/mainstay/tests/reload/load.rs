//! Clients that ask without a pause, each on the one connection that it has.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::support::SOON;
use crate::support::http::{Reply, answer, eventually};

const CLIENTS: usize = 4;

/// The clients. One whose connection ends has failed: it opens no other.
pub struct Load {
    go_on: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    failed: Arc<Mutex<Vec<String>>>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    /// They POST `body`; `headers` makes more lines of a request's head.
    pub fn start(address: &str, body: &[u8], headers: fn() -> String) -> Self {
        let length = body.len();
        let body = body.to_vec();
        let request = move |address: &str| {
            let head = format!(
                "POST / HTTP/1.1\r\nhost: {address}\r\n{}content-type: application/json\r\ncontent-length: {length}\r\n\r\n",
                headers()
            );
            [head.as_bytes(), &body].concat()
        };
        Self::sending(address, request)
    }

    /// They send this.
    pub fn sending(address: &str, request: impl Fn(&str) -> Vec<u8> + Clone + Send + 'static) -> Self {
        let mut load = Self {
            go_on: Arc::new(AtomicBool::new(true)),
            answered: Arc::default(),
            failed: Arc::default(),
            clients: Vec::new(),
        };
        for _ in 0..CLIENTS {
            let (go_on, answered, failed) = (load.go_on.clone(), load.answered.clone(), load.failed.clone());
            let (address, request) = (address.to_owned(), request.clone());
            let mut stream = connect(&address);
            load.clients.push(std::thread::spawn(move || {
                while go_on.load(Ordering::Relaxed) {
                    match call(&mut stream, &request(&address)) {
                        Ok(Reply { status: 200, .. }) => {
                            answered.fetch_add(1, Ordering::Relaxed);
                        }
                        Ok(reply) => {
                            failed.lock().unwrap().push(format!("{}{}", reply.head, reply.body));
                        }
                        Err(why) => {
                            failed.lock().unwrap().push(why.to_string());
                            return;
                        }
                    }
                }
            }));
        }
        load
    }

    fn answered(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }

    /// Some more requests have been answered.
    #[track_caller]
    pub fn goes_on(&self) {
        let before = self.answered();
        eventually("requests are answered", || {
            let failed = self.failed.lock().unwrap();
            assert!(failed.is_empty(), "{:?}", failed.first());
            self.answered() > before + 50
        });
    }

    /// None has failed, and every client still has its first connection.
    #[track_caller]
    pub fn end(self) {
        self.go_on.store(false, Ordering::Relaxed);
        for client in self.clients {
            client.join().unwrap();
        }
        let failed = self.failed.lock().unwrap();
        assert!(failed.is_empty(), "{} failed, the first: {:?}", failed.len(), failed.first());
    }
}

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address.parse().unwrap(), SOON).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

fn call(stream: &mut TcpStream, request: &[u8]) -> std::io::Result<Reply> {
    stream.write_all(request)?;
    answer(stream.try_clone()?).ok_or_else(|| ErrorKind::UnexpectedEof.into())
}

/// A request whose head is written by hand, without its host, its length and its end.
pub fn raw(address: &str, head: &str) -> Reply {
    let request = format!("{head}host: {address}\r\ncontent-length: 0\r\n\r\n");
    call(&mut connect(address), request.as_bytes()).unwrap()
}
