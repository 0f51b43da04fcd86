//! Simulated execution clients (EL), and calls as consensus clients make them.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::{SystemTime, UNIX_EPOCH};

use mainstay_sim::chain::{Block, Chain, genesis};
use mainstay_sim::request::{Forkchoice, forkchoice_updated, new_payload};
use mainstay_sim::{El, ElHandle, ElServer, Family};
use mainstay_wire::jwt::Secret;
use tokio::runtime::Runtime;

use crate::support::SOON;
use crate::support::http::{Reply, answer};

/// The wall clock, for tokens and slots.
#[allow(clippy::disallowed_methods)] // consensus clients have a clock too
pub fn wall() -> SystemTime {
    SystemTime::now()
}

/// ELs, and a chain whose next blocks are of the slots of now.
pub struct Lab {
    pub runtime: Runtime,
    pub els: Vec<ElHandle>,
    pub chain: Chain,
}

impl Lab {
    pub fn new(els: usize) -> Self {
        Self::with_secret(els, None)
    }

    pub fn with_secret(els: usize, secret: Option<&Secret>) -> Self {
        let runtime = Runtime::new().unwrap();
        let now = wall().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let first = genesis(7, now - 120);
        let start = |at: usize| {
            let el = El::new(&format!("el{}", at + 1), first.clone());
            runtime.block_on(ElServer::start(el, secret.cloned())).unwrap().0
        };
        let els = (0..els).map(start).collect();
        Self { els, chain: Chain::from(first), runtime }
    }

    pub fn builders(&self) -> String {
        let hosts: Vec<String> = self.els.iter().map(|el| el.addr().to_string()).collect();
        hosts.join(", ")
    }

    pub fn waits_for_calls(&self, el: usize, family: Family, count: usize) {
        self.runtime.block_on(self.els[el].wait_for_calls(family, count, SOON)).unwrap();
    }
}

/// A call as it comes through a proxy in front.
pub fn from(address: &str, client: &str, token: Option<&str>, body: &[u8]) -> Reply {
    let mut stream = TcpStream::connect_timeout(&address.parse::<SocketAddr>().unwrap(), SOON).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let token = token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
    let head = format!(
        "POST / HTTP/1.1\r\nhost: {address}\r\nx-forwarded-for: {client}\r\n{token}content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
    answer(stream).unwrap()
}

pub fn payload(block: &Block) -> Vec<u8> {
    new_payload(1, 4, block).to_vec()
}

pub fn head(block: &Block) -> Vec<u8> {
    forkchoice_updated(1, 3, Forkchoice::head(block.hash), None).to_vec()
}
