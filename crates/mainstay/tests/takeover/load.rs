//! Clients that ask without a pause, and open another connection when theirs is closed as it should be.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::support::http::{answer, eventually, send, send_on};

const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"eth_callBundle","params":[]}"#;

/// Clients that ask without a pause until they are told to stop.
pub struct Load {
    go_on: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    failed: Arc<Mutex<Vec<String>>>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    /// Half of them with a connection for each request, half with one for as long as it is kept.
    pub fn start(address: &str) -> Self {
        let mut load = Self {
            go_on: Arc::new(AtomicBool::new(true)),
            answered: Arc::default(),
            failed: Arc::default(),
            clients: Vec::new(),
        };
        for keeps in [false, true, false, true] {
            let address = address.to_owned();
            let (go_on, answered) = (load.go_on.clone(), load.answered.clone());
            let failed = load.failed.clone();
            load.clients.push(std::thread::spawn(move || {
                let mut kept = None;
                while go_on.load(Ordering::Relaxed) {
                    match call(&address, kept.take(), keeps) {
                        Ok(connection) => {
                            kept = connection;
                            answered.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(why) => failed.lock().unwrap().push(why),
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
        eventually("requests are answered", || self.answered() > before + 20);
    }

    #[track_caller]
    pub fn end(self) {
        self.go_on.store(false, Ordering::Relaxed);
        for client in self.clients {
            client.join().unwrap();
        }
        let failed = self.failed.lock().unwrap();
        assert!(
            failed.is_empty(),
            "{} of {}: {:?}",
            failed.len(),
            self.answered.load(Ordering::Relaxed),
            &failed[..failed.len().min(5)]
        );
    }
}

/// A request; the connection, if it may be used again.
fn call(address: &str, kept: Option<TcpStream>, keep: bool) -> Result<Option<TcpStream>, String> {
    let stream = match kept {
        Some(mut stream) => {
            send_on(&mut stream, address, "POST", "/", CALL).map_err(|why| format!("kept: {why}"))?;
            stream
        }
        None => send(address, "POST", "/", CALL).map_err(|why| format!("new: {why}"))?,
    };
    let reply = answer(stream.try_clone().unwrap()).ok_or("no answer")?;
    if reply.status != 200 {
        return Err(format!("{} {}", reply.head, reply.body));
    }
    let closes = reply.head.to_ascii_lowercase().contains("connection: close");
    Ok(Some(stream).filter(|_| keep && !closes))
}
