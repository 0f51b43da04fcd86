//! A service that has collateral, in the form of Intel's or of a PCCS, on loopback; and what it does wrong when it is told to.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// What it does.
#[derive(Clone)]
pub enum Does {
    /// Has this collateral, for whoever asks.
    Has(Value),
    /// The same, with the root's list in hex, as a PCCS has it.
    HasInHex(Value),
    /// Closes every connection.
    Down,
    /// Answers with this status.
    Status(u16),
    /// Has this, and another status than 200.
    Refuses(u16, Value),
    /// Answers with this text, whatever it is asked.
    Says(&'static str),
    /// Never answers.
    Hangs,
}

pub struct Service {
    pub address: SocketAddr,
    does: Arc<Mutex<Does>>,
    asked: Arc<Mutex<Vec<String>>>,
    news: Arc<Notify>,
}

impl Service {
    pub async fn start(does: Does) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let service = Self {
            address: listener.local_addr().unwrap(),
            does: Arc::new(Mutex::new(does)),
            asked: Arc::default(),
            news: Arc::default(),
        };
        let (does, asked, news) = (service.does.clone(), service.asked.clone(), service.news.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, does.clone(), asked.clone(), news.clone()));
            }
        });
        service
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn does(&self, does: Does) {
        *self.does.lock().unwrap() = does;
    }

    /// Paths and queries, sorted.
    pub fn asked(&self) -> Vec<String> {
        let mut asked = self.asked.lock().unwrap().clone();
        asked.sort();
        asked
    }

    /// Waits until it has been asked so often.
    pub async fn is_asked(&self, times: usize) {
        loop {
            let news = self.news.notified();
            if self.asked.lock().unwrap().len() >= times {
                return;
            }
            news.await;
        }
    }
}

async fn serve(
    mut stream: TcpStream,
    does: Arc<Mutex<Does>>,
    asked: Arc<Mutex<Vec<String>>>,
    news: Arc<Notify>,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        head.push(byte);
    }
    let head = String::from_utf8(head).unwrap();
    let target = head.split(' ').nth(1).unwrap().to_owned();
    assert!(head.starts_with("GET "), "{head}");
    asked.lock().unwrap().push(target.clone());
    let does = does.lock().unwrap().clone();
    news.notify_waiters();
    let (status, headers, body) = match &does {
        Does::Down => return,
        Does::Hangs => return std::future::pending().await,
        Does::Status(status) => (*status, String::new(), b"{}".to_vec()),
        Does::Refuses(status, json) => {
            let (_, headers, body) = answer(json, &target, false);
            (*status, headers, body)
        }
        Does::Says(text) => (200, String::new(), text.as_bytes().to_vec()),
        Does::Has(json) => answer(json, &target, false),
        Does::HasInHex(json) => answer(json, &target, true),
    };
    let head = format!(
        "HTTP/1.1 {status} X\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all(&[head.as_bytes(), &body].concat()).await;
    let _ = stream.shutdown().await;
}

fn answer(json: &Value, target: &str, hex: bool) -> (u16, String, Vec<u8>) {
    let text = |name: &str| json[name].as_str().unwrap();
    let der = |name: &str| const_hex::decode(text(name)).unwrap();
    let chain = |header: &str, name: &str| {
        format!("{header}: {}\r\n", utf8_percent_encode(text(name), NON_ALPHANUMERIC))
    };
    let signed = |key: &str, name: &str| {
        format!(r#"{{"{key}":{},"signature":"{}"}}"#, text(name), text(&format!("{name}_signature")))
            .into_bytes()
    };
    let path = target.split('?').next().unwrap();
    match path.split_once("/certification/v4/").unwrap().1 {
        "rootcacrl" if hex => (200, String::new(), text("root_ca_crl").as_bytes().to_vec()),
        "rootcacrl" => (200, String::new(), der("root_ca_crl")),
        "pckcrl" => (200, chain("SGX-PCK-CRL-Issuer-Chain", "pck_crl_issuer_chain"), der("pck_crl")),
        "tcb" => {
            // An older PCCS calls it otherwise.
            let header = if hex { "SGX-TCB-Info-Issuer-Chain" } else { "TCB-Info-Issuer-Chain" };
            (200, chain(header, "tcb_info_issuer_chain"), signed("tcbInfo", "tcb_info"))
        }
        "qe/identity" => (
            200,
            chain("SGX-Enclave-Identity-Issuer-Chain", "qe_identity_issuer_chain"),
            signed("enclaveIdentity", "qe_identity"),
        ),
        _ => (404, String::new(), Vec::new()),
    }
}
