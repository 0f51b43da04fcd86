//! A node that does what its script says, and counts.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Uri};
use mainstay_wire::server::{self, Handler, RequestBody, Response};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// What a node does with a request.
#[derive(Clone)]
pub enum Act {
    /// Answers 200 after so long, with the request's id.
    Answer(Duration),
    /// Answers this.
    Reply(u16, Vec<(&'static str, &'static str)>, Bytes),
    /// Never answers.
    Hang,
    /// Answers 200 once the test lets one through.
    Gate,
    /// Answers this once the test lets one through.
    GateReply(u16, Bytes),
}

/// A request as a node got it.
#[derive(Clone)]
pub struct Got {
    pub uri: Uri,
    pub headers: HeaderMap,
    pub body: Bytes,
}

struct Shared {
    act: Mutex<Act>,
    /// What it does with probes; `None`: answers them well.
    probes: Mutex<Option<Act>>,
    /// Its head and its chain's id, as probes are told.
    chain: Mutex<(u64, u64)>,
    got: Mutex<Vec<Got>>,
    in_flight: AtomicUsize,
    most: AtomicUsize,
    gate: Semaphore,
}

/// A node.
pub struct Node {
    pub address: SocketAddr,
    pub uri: String,
    shared: Arc<Shared>,
    served: JoinHandle<()>,
}

#[derive(Clone)]
struct Served(Arc<Shared>);

struct Counted<'a>(&'a Shared);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Handler for Served {
    async fn call(&self, request: Request<RequestBody>, _: SocketAddr) -> Response {
        let shared = &self.0;
        let (parts, body) = request.into_parts();
        let body = mainstay_wire::body::read(body, 64 << 20).await.unwrap();
        let method = Some(&body)
            .filter(|body| body.len() < 1000)
            .and_then(|body| serde_json::from_slice::<serde_json::Value>(body).ok())
            .and_then(|call| Some(call.get("method")?.as_str()?.to_owned()));
        let method = method.as_deref().unwrap_or_default();
        let (head, id) = *shared.chain.lock().unwrap();
        let result = match method {
            "eth_syncing" => "false".to_owned(),
            "eth_blockNumber" => format!("\"{head:#x}\""),
            "eth_chainId" | "net_version" => format!("\"{id:#x}\""),
            "web3_clientVersion" => r#""fake/1""#.to_owned(),
            _ => {
                shared.got.lock().unwrap().push(Got {
                    uri: parts.uri,
                    headers: parts.headers,
                    body: body.clone(),
                });
                let now = shared.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
                shared.most.fetch_max(now, Ordering::SeqCst);
                let _counted = Counted(shared);
                let act = shared.act.lock().unwrap().clone();
                return shared.act(act, &body).await;
            }
        };
        let act = shared.probes.lock().unwrap().clone();
        match act {
            Some(act) => shared.act(act, &body).await,
            None => Response::new(format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#).into()),
        }
    }
}

impl Shared {
    async fn act(&self, act: Act, body: &Bytes) -> Response {
        match act {
            Act::Answer(after) => {
                if !after.is_zero() {
                    tokio::time::sleep(after).await;
                }
            }
            Act::Reply(status, headers, body) => {
                let mut response = Response::new(body.into());
                *response.status_mut() = status.try_into().unwrap();
                for (name, value) in headers {
                    response.headers_mut().insert(name, value.parse().unwrap());
                }
                return response;
            }
            Act::Hang => std::future::pending().await,
            Act::Gate => self.gate.acquire().await.unwrap().forget(),
            Act::GateReply(status, body) => {
                self.gate.acquire().await.unwrap().forget();
                let mut response = Response::new(body.into());
                *response.status_mut() = status.try_into().unwrap();
                return response;
            }
        }
        let id = serde_json::from_slice::<serde_json::Value>(body).map(|call| call["id"].clone());
        let text = format!(r#"{{"jsonrpc":"2.0","id":{},"result":"ok"}}"#, id.unwrap_or_default());
        let mut response = Response::new(text.into());
        response.headers_mut().insert("content-type", "application/json".parse().unwrap());
        response
    }
}

impl Node {
    /// Answers at once.
    pub async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let shared = Arc::new(Shared {
            act: Mutex::new(Act::Answer(Duration::ZERO)),
            probes: Mutex::default(),
            chain: Mutex::new((16, 1)),
            got: Mutex::default(),
            in_flight: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            gate: Semaphore::new(0),
        });
        let address = listener.local_addr().unwrap();
        let served = serve(listener, shared.clone());
        Self { uri: format!("http://{address}"), address, shared, served }
    }

    /// With so many workers.
    pub async fn workers(workers: u32) -> Self {
        let mut node = Self::new().await;
        node.uri = format!("{}?_workers={workers}", node.uri);
        node
    }

    pub fn act(&self, act: Act) {
        *self.shared.act.lock().unwrap() = act;
    }

    /// What it does with probes; `None`: answers them well.
    pub fn probes(&self, act: Option<Act>) {
        *self.shared.probes.lock().unwrap() = act;
    }

    /// From now on its head is block `head` of chain `id`.
    pub fn is_at(&self, head: u64, id: u64) {
        *self.shared.chain.lock().unwrap() = (head, id);
    }

    /// Lets so many of those at the gate through.
    pub fn open(&self, count: usize) {
        self.shared.gate.add_permits(count);
    }

    /// The process is gone: its port refuses, its connections are reset or closed.
    pub async fn kill(&mut self) {
        self.served.abort();
        let _ = (&mut self.served).await;
    }

    /// It is back on the same port.
    pub async fn revive(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.served = serve(listener, self.shared.clone());
    }

    pub fn got(&self) -> Vec<Got> {
        self.shared.got.lock().unwrap().clone()
    }

    pub fn count(&self) -> usize {
        self.shared.got.lock().unwrap().len()
    }

    pub fn in_flight(&self) -> usize {
        self.shared.in_flight.load(Ordering::SeqCst)
    }

    /// Most requests that it ever worked on at once.
    pub fn most(&self) -> usize {
        self.shared.most.load(Ordering::SeqCst)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.served.abort();
    }
}

fn serve(listener: TcpListener, shared: Arc<Shared>) -> JoinHandle<()> {
    let options = server::Options::default();
    tokio::spawn(server::serve(listener, Served(shared), options, CancellationToken::new(), Duration::ZERO))
}

/// A node that reads a request and closes the connection; gives its URI, and how many it has read. For `health = "none"`.
pub async fn cutting() -> (String, Arc<AtomicUsize>) {
    use tokio::io::AsyncReadExt;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}", listener.local_addr().unwrap());
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut read = [0; 4096];
            if stream.read(&mut read).await.unwrap_or(0) > 0 {
                counted.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    (uri, count)
}
