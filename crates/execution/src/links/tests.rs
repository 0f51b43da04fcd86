#![allow(clippy::unwrap_used)]

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::atomic::AtomicUsize;

use http::Request;
use mainstay_wire::client::{Delivered, Fault, HttpReply, Posted};
use mainstay_wire::server;
use mainstay_wire::server::RequestBody;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, watch};

use super::*;

const TIMEOUT: Duration = Duration::from_secs(2);

/// What became of copies.
#[derive(Debug)]
struct Told {
    ended: watch::Sender<Vec<(String, &'static str, Duration)>>,
    dropped: AtomicUsize,
}

impl Told {
    fn new() -> Arc<Self> {
        Arc::new(Self { ended: watch::Sender::default(), dropped: AtomicUsize::new(0) })
    }

    /// Waits until so many copies have ended, and gives their methods and words.
    async fn ended(&self, count: usize) -> Vec<(String, &'static str)> {
        let mut ended = self.ended.subscribe();
        let all = ended.wait_for(|ended| ended.len() >= count);
        let all = tokio::time::timeout(Duration::from_secs(600), all).await.expect("they end").unwrap();
        all.iter().map(|(method, word, _)| (method.clone(), *word)).collect()
    }

    fn dropped(&self) -> usize {
        self.dropped.load(Ordering::SeqCst)
    }
}

impl Watch for Told {
    fn ended(&self, link: &str, call: &Call, end: &End, took: Duration) {
        assert_eq!(link, "far");
        self.ended.send_modify(|ended| ended.push((call.method.clone(), end.word(), took)));
    }

    fn dropped(&self, link: &str, _: &Call) {
        assert_eq!(link, "far");
        self.dropped.fetch_add(1, Ordering::SeqCst);
    }
}

fn config(url: &str) -> LinkConfig {
    LinkConfig::new(NodeSpec::parse(&format!("{url}#name=far")).unwrap(), None, TIMEOUT)
}

/// A link over sockets.
fn link_to(address: SocketAddr, clear: Clear, timeout: Duration) -> (Link, Arc<Told>, CancellationToken) {
    let config = LinkConfig { timeout, clear, ..config(&format!("http://{address}")) };
    let transport = config.transport(None).unwrap();
    let (told, stop) = (Told::new(), CancellationToken::new());
    (Link::start(config, transport, told.clone(), &stop), told, stop)
}

fn call(method: &str) -> Arc<Call> {
    Arc::new(Call::new(method, Bytes::from(format!("{{\"method\":\"{method}\"}}"))))
}

/// Answers, and keeps who asked.
#[derive(Clone, Default)]
struct Far(Arc<Mutex<HashSet<SocketAddr>>>);

impl server::Handler for Far {
    async fn call(&self, request: Request<RequestBody>, peer: SocketAddr) -> server::Response {
        self.0.lock().unwrap().insert(peer);
        let body = mainstay_wire::body::read(request.into_body(), 1000).await.unwrap();
        server::Response::new(body.into())
    }
}

async fn far() -> (SocketAddr, Far) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, far) = (listener.local_addr().unwrap(), Far::default());
    let stop = CancellationToken::new();
    tokio::spawn(server::serve(listener, far.clone(), server::Options::default(), stop, Duration::ZERO));
    (address, far)
}

/// sync-proxy's seventh defect: answers of `-proxies` were never closed, so that 100 copies left 100 sockets.
#[tokio::test]
async fn copies_share_connections() {
    for (clear, connections) in [(Clear::Http1, 8), (Clear::Http2, 1)] {
        let (address, far) = far().await;
        let (link, told, _stop) = link_to(address, clear, TIMEOUT);
        for round in 0..10 {
            for _ in 0..20 {
                link.copy(&call("engine_newPayloadV4"));
            }
            assert!(told.ended(20 * (round + 1)).await.iter().all(|(_, word)| *word == "success"));
        }
        assert_eq!(told.dropped(), 0);
        let opened = far.0.lock().unwrap().len();
        assert!(opened <= connections, "{clear:?}: {opened}");
    }
}

/// Its second: calls outlived their clients, so that each that was given up left a connection to whoever hung.
#[tokio::test]
async fn a_link_that_hangs_costs_a_few_connections_and_they_close() {
    for (clear, most) in [(Clear::Http1, 8), (Clear::Http2, 1)] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (open, at_once) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (now_open, most_open) = (open.clone(), at_once.clone());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let count = now_open.fetch_add(1, Ordering::SeqCst) + 1;
                most_open.fetch_max(count, Ordering::SeqCst);
                let now_open = now_open.clone();
                tokio::spawn(async move {
                    // Takes everything in, and says nothing.
                    while stream.read(&mut [0; 4096]).await.is_ok_and(|read| read > 0) {}
                    now_open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        let (link, told, stop) = link_to(address, clear, Duration::from_millis(100));
        for _ in 0..100 {
            link.copy(&call("engine_newPayloadV4"));
        }
        let ended = told.ended(100 - told.dropped()).await;
        assert!(ended.iter().all(|(_, word)| *word == "error"));
        assert!(told.dropped() >= 28, "64 may wait, 8 are under way: {}", told.dropped());
        // The system may tell of new ones before it tells of the end of those whose place they take.
        let at_once = at_once.load(Ordering::SeqCst);
        assert!(at_once <= 2 * most, "{clear:?}: {at_once}");
        stop.cancel();
        drop(link);
        let closed = async {
            while open.load(Ordering::SeqCst) > 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), closed).await.expect("they stay open");
    }
}

#[tokio::test]
async fn a_link_that_is_down_costs_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let (link, told, _stop) = link_to(address, Clear::Http1, TIMEOUT);
    link.copy(&call("engine_newPayloadV4"));
    assert_eq!(told.ended(1).await, [("engine_newPayloadV4".to_owned(), "error")]);
}

/// A way that answers when it is let, and tells what it was given.
struct Way {
    begun: mpsc::Sender<String>,
    let_end: Semaphore,
    status: StatusCode,
}

impl Transport for Way {
    fn post<'a>(&'a self, body: Bytes, _: Option<&'a str>, deadline: Instant) -> Posted<'a> {
        Box::pin(async move {
            self.begun.try_send(String::from_utf8(body.to_vec()).unwrap()).unwrap();
            match tokio::time::timeout_at(deadline, self.let_end.acquire()).await {
                Ok(permit) => permit.unwrap().forget(),
                Err(_) => return Err(CallError::new(Fault::Timeout, Delivered::Maybe)),
            }
            Ok(HttpReply::new(self.status, &HeaderMap::new(), Bytes::new()))
        })
    }
}

struct Bed {
    link: Link,
    told: Arc<Told>,
    way: Arc<Way>,
    begun: mpsc::Receiver<String>,
    stop: CancellationToken,
}

fn bed(status: StatusCode) -> Bed {
    let (begins, begun) = mpsc::channel(1000);
    let way = Arc::new(Way { begun: begins, let_end: Semaphore::new(0), status });
    let (told, stop) = (Told::new(), CancellationToken::new());
    let link = Link::start(config("http://far.example"), way.clone(), told.clone(), &stop);
    Bed { link, told, way, begun, stop }
}

impl Bed {
    fn copy(&self, name: &str, in_order: bool) {
        let call = Call { in_order, ..Call::new(name, Bytes::from(name.to_owned())) };
        self.link.copy(&Arc::new(call));
    }

    /// What has begun since it was last asked, once nothing moves any more.
    async fn begun(&mut self) -> Vec<String> {
        // With time paused it passes only when every task waits.
        tokio::time::sleep(Duration::from_millis(1)).await;
        std::iter::from_fn(|| self.begun.try_recv().ok()).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_waits_for_what_came_before_it_and_payloads_for_nobody() {
    let mut bed = bed(StatusCode::OK);
    for (name, in_order) in [("payload 1", false), ("head 1", true), ("payload 2", false), ("head 2", true)] {
        bed.copy(name, in_order);
    }
    assert_eq!(bed.begun().await, ["payload 1", "payload 2"]);
    assert_eq!(bed.link.load(), (2, 2));
    bed.way.let_end.add_permits(1);
    assert_eq!(bed.begun().await, ["head 1"]);
    bed.way.let_end.add_permits(1);
    assert_eq!(bed.begun().await, [""; 0], "payload 2 and head 1 were before it");
    bed.way.let_end.add_permits(1);
    assert_eq!(bed.begun().await, ["head 2"]);
    bed.way.let_end.add_permits(1);
    let ended = bed.told.ended(4).await;
    assert_eq!(ended.last(), Some(&("head 2".to_owned(), "success")));
    assert_eq!(bed.link.load(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_link_that_has_nothing_to_do_wakes_for_a_copy() {
    let mut bed = bed(StatusCode::OK);
    for name in ["first", "second"] {
        assert_eq!(bed.begun().await, [""; 0], "its task waits");
        bed.copy(name, false);
        assert_eq!(bed.begun().await, [name]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_hangs_is_given_up_in_time_and_what_has_no_room_is_dropped() {
    let mut bed = bed(StatusCode::OK);
    let started = Instant::now();
    for number in 0..100 {
        bed.copy(&number.to_string(), false);
    }
    assert_eq!(Instant::now(), started, "nobody waits");
    assert_eq!(bed.told.dropped(), 36, "64 wait");
    let oldest: Vec<String> = (36..44).map(|number: usize| number.to_string()).collect();
    assert_eq!(bed.begun().await, oldest);
    let ended = bed.told.ended(64).await;
    assert!(ended.iter().all(|(_, word)| *word == "error"));
    assert_eq!(started.elapsed().as_secs(), 16, "8 at once, 2 s each");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_no_success() {
    let bed = bed(StatusCode::UNAUTHORIZED);
    bed.copy("payload", false);
    bed.way.let_end.add_permits(1);
    assert_eq!(bed.told.ended(1).await, [("payload".to_owned(), "http_error")]);
}

#[tokio::test(start_paused = true)]
async fn on_stop_all_is_dropped() {
    let mut bed = bed(StatusCode::OK);
    bed.copy("payload", false);
    bed.copy("head", true);
    assert_eq!(bed.begun().await, ["payload"]);
    bed.stop.cancel();
    bed.begun().await;
    assert_eq!(bed.link.load(), (1, 0), "what was under way is given up, nothing else begins");
    bed.copy("late", false);
    assert_eq!(bed.link.load(), (1, 0));
    assert_eq!(Arc::strong_count(&bed.way), 2, "the task is gone");
}

#[test]
fn a_links_own_timeout_lowers_the_general_one() {
    for (text, milliseconds) in
        [("http://a", 2000), ("http://a#timeout=500", 500), ("http://a#timeout=9000", 2000)]
    {
        let config = LinkConfig::new(NodeSpec::parse(text).unwrap(), None, TIMEOUT);
        assert_eq!(config.timeout.as_millis(), milliseconds, "{text}");
    }
    for (method, in_order) in [("engine_forkchoiceUpdatedV3", true), ("engine_newPayloadV4", false)] {
        assert_eq!(Call::new(method, Bytes::new()).in_order, in_order, "{method}");
    }
}

#[test]
fn no_secret_is_shown() {
    let secret = Secret::from_hex(&"5a".repeat(32)).unwrap();
    let spec = NodeSpec::parse("http://user:hunter2@far:1/").unwrap();
    let shown = format!("{:?}", LinkConfig::new(spec, Some(secret), TIMEOUT));
    assert!(!shown.contains("5a5a") && !shown.contains("hunter2"), "{shown}");
}
