//! Simulated execution clients (EL): each reads a call whole and gives a fixed reply at once, on a thread of its own.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::yield_now;
use tokio::time::Instant;

use crate::Result;
use crate::http::{Reader, reply};

/// How a method is found in the first bytes of a body, and its result. The first that is found counts.
const RESULTS: [(&str, &str); 7] = [
    ("engine_newPayload", PAYLOAD_STATUS),
    (
        "engine_forkchoiceUpdated",
        r#"{"payloadStatus":{"status":"VALID","latestValidHash":"0x1111111111111111111111111111111111111111111111111111111111111111","validationError":null},"payloadId":null}"#,
    ),
    ("eth_chainId", "\"0x1\""),
    ("eth_callBundle", r#"{"bundleGasPrice":"0x1"}"#),
    ("eth_syncing", "false"),
    ("eth_blockNumber", "\"0x64\""),
    ("web3_clientVersion", "\"bench/v0\""),
];

const PAYLOAD_STATUS: &str = r#"{"status":"VALID","latestValidHash":"0x1111111111111111111111111111111111111111111111111111111111111111","validationError":null}"#;

/// Starts `count` of them, on loopback; they serve until the process ends.
pub(crate) fn start(count: usize) -> Result<Vec<SocketAddr>> {
    (0..count).map(|_| start_one()).collect()
}

fn start_one() -> Result<SocketAddr> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("el".into()).spawn(move || {
        runtime.block_on(async {
            match TcpListener::from_std(listener) {
                Ok(listener) => serve(listener, None).await,
                Err(why) => eprintln!("bench: a simulated node can't serve: {why}"),
            }
        });
    })?;
    Ok(address)
}

/// Starts one in the runtime of the caller.
pub(crate) async fn start_here() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(serve(listener, None));
    Ok(address)
}

/// As [`start_here`], one that takes so long for each reply. To be exact it doesn't sleep: the thread has to be one that stays awake anyway.
pub(crate) async fn start_slow(takes: Duration) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(serve(listener, Some(takes)));
    Ok(address)
}

async fn serve(listener: TcpListener, takes: Option<Duration>) {
    let mut replies: Vec<(&str, Vec<u8>)> = Vec::new();
    for (method, result) in RESULTS {
        replies.push((method, reply(&format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#))));
    }
    let unknown = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"no such method here"}}"#;
    replies.push(("", reply(unknown)));
    let replies: &'static [(&str, Vec<u8>)] = Vec::leak(replies);
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            // A client that goes away ends its connection, nothing more.
            let _ = connection(stream, replies, takes).await;
        });
    }
}

async fn connection(
    mut stream: TcpStream,
    replies: &[(&str, Vec<u8>)],
    takes: Option<Duration>,
) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = Reader::new();
    let pick = |_: &[u8], body: &[u8]| {
        let start = &body[..body.len().min(128)];
        replies.iter().position(|(method, _)| contains(start, method.as_bytes())).unwrap_or_default()
    };
    while let Some(index) = reader.next(&mut stream, true, pick).await? {
        if let Some(takes) = takes {
            let done = Instant::now() + takes;
            while Instant::now() < done {
                yield_now().await;
            }
        }
        stream.write_all(&replies[index].1).await?;
    }
    Ok(())
}

pub(crate) fn contains(text: &[u8], part: &[u8]) -> bool {
    part.is_empty() || text.windows(part.len()).any(|window| window == part)
}
