//! The listener over real sockets, with a role that does as it is told.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mainstay_admin::{
    Admin, BoxFuture, Changed, Lifecycle, Outcome, Page, Reload, Reloaded, Role, Roles, Token, serve,
    serve_metrics,
};
use mainstay_node::{Action, Level, Operated, Refused};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

const TOKEN: &str = "a-token-of-the-tests";

#[derive(Clone)]
struct Fake {
    name: &'static str,
    health: Arc<Mutex<(Level, Vec<String>)>>,
    done: Arc<Mutex<Vec<Action>>>,
}

impl Fake {
    fn named(name: &'static str) -> Self {
        Self { name, health: Arc::new(Mutex::new((Level::Well, vec![]))), done: Arc::default() }
    }

    fn becomes(&self, level: Level, reason: &str) {
        *self.health.lock().unwrap() = (level, vec![reason.to_owned()]);
    }
}

impl Operated for Fake {
    type Snapshot = Value;

    fn kind(&self) -> &'static str {
        "engine"
    }
    fn name(&self) -> &str {
        self.name
    }
    fn health(&self) -> (Level, Vec<String>) {
        self.health.lock().unwrap().clone()
    }
    fn snapshot(&self) -> Value {
        json!({"primary": "geth-1", "nodes": [{"name": "geth-1"}, {"name": "geth 2"}]})
    }
    async fn act(&self, action: Action) -> Result<(), Refused> {
        let result = match &action {
            Action::Remove { node } if node == "nobody" => Err(Refused::NoSuchNode(node.clone())),
            Action::Remove { node } if node == "kept" => {
                Err(Refused::Unavailable("the list is away".to_owned()))
            }
            Action::Add { uri, .. } if uri == "ftp://x" => Err(Refused::Bad("not http".to_owned())),
            Action::Drain { .. } => Err(Refused::Unsupported("engine nodes are not drained".to_owned())),
            Action::Uncordon { .. } => panic!("as the test wants it"),
            _ => Ok(()),
        };
        self.done.lock().unwrap().push(action);
        result
    }
}

struct Running {
    address: SocketAddr,
    lifecycle: Lifecycle,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

async fn start(roles: Vec<Fake>, token: Option<&str>) -> Running {
    start_with(roles, token, None).await
}

fn page(registry: Registry) -> Page {
    Arc::new(move || {
        let mut page = String::new();
        prometheus_client::encoding::text::encode(&mut page, &registry).map(|()| page)
    })
}

async fn start_with(roles: Vec<Fake>, token: Option<&str>, reload: Option<Arc<dyn Reload>>) -> Running {
    let mut registry = Registry::default();
    let counter: Counter = Counter::default();
    counter.inc();
    registry.register("mainstay_test", "a counter of the test", counter);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let lifecycle = Lifecycle::new();
    lifecycle.serving();
    let admin = Admin {
        roles: Roles::new(roles.into_iter().map(|role| Arc::new(role) as Arc<dyn Role>).collect()),
        page: page(registry),
        token: token.map(|token| Token::new(token).unwrap()),
        version: "1.2.3".to_owned(),
        lifecycle: lifecycle.clone(),
        explain: None,
        reload,
    };
    let stop = CancellationToken::new();
    let task = tokio::spawn(serve(listener, None, admin, stop.clone()));
    Running { address, lifecycle, stop, task }
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    fn error(&self) -> String {
        self.json()["error"]["message"].as_str().unwrap().to_owned()
    }
}

impl Running {
    async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], "").await
    }

    async fn post(&self, path: &str, body: &str) -> Answer {
        self.ask("POST", path, &[], body).await
    }

    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let host = self.address.to_string();
        let mut head =
            format!("{method} {path} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
        if !headers.iter().any(|(name, _)| *name == "host") {
            head.push_str(&format!("host: {host}\r\n"));
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let exchange = async {
            let mut stream = TcpStream::connect(self.address).await.unwrap();
            stream.write_all(format!("{head}\r\n{body}").as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let answer = tokio::time::timeout(Duration::from_secs(10), exchange).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_lowercase(), body: body.to_owned() }
    }
}

#[tokio::test]
async fn livez_is_always_well() {
    let role = Fake::named("a");
    role.becomes(Level::Down, "no node");
    let running = start(vec![role], None).await;
    running.lifecycle.stopping();
    assert_eq!(running.get("/livez").await.status, 200);
    assert_eq!(running.ask("HEAD", "/livez", &[], "").await.status, 200);
}

#[tokio::test]
async fn healthz_tells_the_worst_and_why() {
    let (one, other) = (Fake::named("a"), Fake::named("b"));
    let running = start(vec![one.clone(), other.clone()], None).await;

    let well = running.get("/healthz").await;
    assert_eq!(well.status, 200);
    assert_eq!(
        well.json(),
        json!({"status": "well", "version": "1.2.3", "roles": [
            {"role": "engine", "name": "a", "status": "well", "reasons": []},
            {"role": "engine", "name": "b", "status": "well", "reasons": []},
        ]})
    );
    assert!(
        well.head.contains("content-type: application/json") && well.head.contains("cache-control: no-store")
    );

    other.becomes(Level::Degraded, "geth-2 is unfit: refused");
    let degraded = running.get("/healthz").await;
    assert_eq!((degraded.status, degraded.json()["status"].as_str()), (206, Some("degraded")));
    assert_eq!(degraded.json()["roles"][1]["reasons"], json!(["geth-2 is unfit: refused"]));
    assert_eq!(running.get("/readyz").await.status, 200);

    one.becomes(Level::Down, "no node");
    assert_eq!(running.get("/healthz").await.status, 503);
    assert_eq!(running.get("/readyz").await.status, 503);
    assert_eq!(running.get("/api/v1/status").await.json()["status"], "down");
}

#[tokio::test]
async fn readyz_follows_the_process() {
    let before = now();
    let starting = Lifecycle::new();
    let admin = Admin {
        roles: Roles::default(),
        page: page(Registry::default()),
        token: None,
        version: String::new(),
        lifecycle: starting.clone(),
        explain: None,
        reload: None,
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stop = CancellationToken::new();
    let running = Running {
        address: listener.local_addr().unwrap(),
        lifecycle: starting,
        stop: stop.clone(),
        task: tokio::spawn(serve(listener, None, admin, stop)),
    };
    assert_eq!(running.get("/readyz").await.body, "starting\n");
    running.lifecycle.serving();
    assert_eq!(running.get("/readyz").await.status, 200);
    running.lifecycle.stopping();
    running.lifecycle.serving();
    let stopping = running.get("/readyz").await;
    assert_eq!((stopping.status, stopping.body.as_str()), (503, "stopping\n"));
    for path in ["/api/v1/status", "/api/v1/roles"] {
        let told = running.get(path).await.json();
        let process = if path.ends_with("roles") { &told["process"] } else { &told };
        assert_eq!(process["phase"], "stopping");
        let started = process["started_at_ms"].as_u64().unwrap() / 1000;
        assert!((before..=now()).contains(&started), "{started}");
        assert!(process["up_seconds"].as_u64().unwrap() <= now() - before);
    }
}

#[tokio::test]
async fn metrics_are_open_metrics() {
    let running = start(vec![], None).await;
    let metrics = running.get("/metrics").await;
    assert!(
        metrics.head.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    assert!(metrics.body.contains("mainstay_test_total 1\n"), "{}", metrics.body);
    assert!(metrics.body.ends_with("# EOF\n"));
}

#[tokio::test]
async fn a_listener_for_metrics_alone_has_nothing_else() {
    let mut registry = Registry::default();
    registry.register("mainstay_test", "a counter of the test", Counter::<u64>::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let task = tokio::spawn(serve_metrics(listener, None, page(registry), stop.clone()));
    let running = Running { address, lifecycle: Lifecycle::new(), stop, task };
    let page = running.get("/metrics").await;
    assert!(page.status == 200 && page.body.contains("mainstay_test_total 0"), "{}", page.body);
    for path in ["/", "/healthz", "/api/v1/roles", "/api/v1/engine/a/recheck", "/metrics/"] {
        for method in ["GET", "POST", "DELETE"] {
            assert_eq!(running.ask(method, path, &[], "").await.status, 404, "{method} {path}");
        }
    }
    assert_eq!(running.post("/metrics", "").await.status, 405);
}

#[tokio::test]
async fn roles_and_nodes_are_shown() {
    let running = start(vec![Fake::named("a")], None).await;
    let roles = running.get("/api/v1/roles").await.json();
    assert_eq!(roles["roles"][0]["state"]["primary"], "geth-1");
    assert_eq!(running.get("/api/v1/engine/a").await.json()["state"]["primary"], "geth-1");
    assert_eq!(running.get("/api/v1/engine").await.json(), json!({"roles": roles["roles"]}));
    let nodes = running.get("/api/v1/engine/a/nodes").await.json();
    assert_eq!(nodes, json!({"nodes": [{"name": "geth-1"}, {"name": "geth 2"}]}));
    for path in [
        "/api/v1/engine/x/nodes",
        "/api/v1/sync/a/nodes",
        "/api/v1/sync/a",
        "/api/v1/sync",
        "/nothing",
        "/api/v1",
    ] {
        let missing = running.get(path).await;
        assert_eq!(missing.status, 404, "{path}");
        assert!(missing.error().contains("/api/v1/"), "{path}: {}", missing.body);
    }
}

#[tokio::test]
async fn every_action_reaches_its_role() {
    let role = Fake::named("a");
    let running = start(vec![Fake::named("other"), role.clone()], None).await;
    let nodes = running.post("/api/v1/engine/a/nodes", r#"{"uri": "http://x"}"#).await;
    assert_eq!((nodes.status, nodes.json()["nodes"].as_array().unwrap().len()), (200, 2));
    let forced = r#"{"uri": "http://y", "force": true}"#;
    assert_eq!(running.post("/api/v1/engine/a/nodes", forced).await.status, 200);
    assert_eq!(running.ask("DELETE", "/api/v1/engine/a/nodes/geth%202", &[], "").await.status, 200);
    assert_eq!(running.post("/api/v1/engine/a/nodes/geth-1/cordon", "").await.status, 200);
    assert_eq!(running.post("/api/v1/engine/a/recheck", "").await.status, 200);
    assert_eq!(running.post("/api/v1/engine/a/nodes/geth-1/prefer", "").await.status, 200);
    assert_eq!(running.post("/api/v1/engine/a/unprefer", "").await.status, 200);
    let node = |name: &str| name.to_owned();
    assert_eq!(
        *role.done.lock().unwrap(),
        [
            Action::Add { uri: node("http://x"), force: false },
            Action::Add { uri: node("http://y"), force: true },
            Action::Remove { node: node("geth 2") },
            Action::Cordon { node: node("geth-1") },
            Action::Recheck,
            Action::Prefer { node: Some(node("geth-1")) },
            Action::Prefer { node: None },
        ]
    );
}

#[tokio::test]
async fn what_a_role_refuses_is_said() {
    let running = start(vec![Fake::named("a")], None).await;
    let missing = running.ask("DELETE", "/api/v1/engine/a/nodes/nobody", &[], "").await;
    assert_eq!((missing.status, missing.error()), (404, "no node is called nobody".to_owned()));
    let away = running.ask("DELETE", "/api/v1/engine/a/nodes/kept", &[], "").await;
    assert_eq!((away.status, away.error()), (503, "the list is away".to_owned()));
    let refused = running.post("/api/v1/engine/a/nodes", r#"{"uri":"ftp://x"}"#).await;
    assert_eq!((refused.status, refused.error()), (400, "not http".to_owned()));
    let unsupported = running.post("/api/v1/engine/a/nodes/geth-1/drain", "").await;
    assert_eq!((unsupported.status, unsupported.error()), (405, "engine nodes are not drained".to_owned()));
    let broken = running.post("/api/v1/engine/a/nodes/geth-1/uncordon", "").await;
    assert_eq!((broken.status, broken.error()), (500, "failed: see the log".to_owned()));
}

#[tokio::test]
async fn bad_requests_get_a_clear_error_that_quotes_nothing() {
    let role = Fake::named("a");
    let running = start(vec![role.clone()], None).await;
    let path = "/api/v1/engine/a/nodes";
    for body in [
        "",
        "{",
        "[]",
        "{}",
        r#"{"uri": 1}"#,
        r#"{"url": "http://user:hunter2@x"}"#,
        r#"{"uri":"a","x":1}"#,
        r#"{"uri":"http://u:hunter2@x","force":1}"#,
    ] {
        let bad = running.post(path, body).await;
        assert_eq!(bad.status, 400, "{body}");
        assert!(bad.error().contains("uri") && !bad.body.contains("hunter2"), "{}", bad.body);
    }
    let large = running.post(path, &"x".repeat(64 * 1024 + 1)).await;
    assert_eq!(large.status, 413);
    let method = running.ask("PUT", path, &[], "").await;
    assert_eq!(method.status, 405);
    assert!(method.error().contains("method"));
    assert!(role.done.lock().unwrap().is_empty());
}

#[tokio::test]
async fn changes_from_elsewhere_need_the_token() {
    let role = Fake::named("a");
    let open = start(vec![role.clone()], None).await;
    let closed = start(vec![role.clone()], Some(TOKEN)).await;
    let path = "/api/v1/engine/a/recheck";
    let proxied = ("x-forwarded-for", "192.0.2.7");
    let right = format!("Bearer {TOKEN}");

    let unset = open.ask("POST", path, &[proxied], "").await;
    assert_eq!(unset.status, 403);
    assert!(unset.error().contains("token"), "{}", unset.body);
    let missing = closed.ask("POST", path, &[proxied], "").await;
    assert_eq!(missing.status, 401);
    assert!(missing.head.contains("www-authenticate: bearer"), "{}", missing.head);
    assert_eq!(closed.ask("POST", path, &[proxied, ("authorization", "Bearer wrong")], "").await.status, 401);
    assert_eq!(closed.ask("POST", path, &[("host", "evil.example")], "").await.status, 401);
    assert!(role.done.lock().unwrap().is_empty());

    assert_eq!(closed.ask("POST", path, &[proxied, ("authorization", &right)], "").await.status, 200);
    assert_eq!(closed.post(path, "").await.status, 200);
    assert_eq!(open.ask("GET", "/api/v1/roles", &[proxied], "").await.status, 200);
}

#[tokio::test]
async fn changes_from_pages_of_other_origins_are_refused() {
    let role = Fake::named("a");
    let running = start(vec![role.clone()], None).await;
    let path = "/api/v1/engine/a/recheck";
    let own = format!("http://{}", running.address);
    assert_eq!(running.ask("POST", path, &[("origin", "http://evil.example")], "").await.status, 403);
    assert_eq!(running.ask("POST", path, &[("origin", "null")], "").await.status, 403);
    assert!(role.done.lock().unwrap().is_empty());
    assert_eq!(running.ask("POST", path, &[("origin", &own)], "").await.status, 200);
}

#[tokio::test]
async fn the_document_is_served_and_its_reads_work() {
    let running = start(vec![Fake::named("a")], None).await;
    let document = running.get("/api/v1/openapi.json").await.json();
    assert_eq!(document, mainstay_admin::openapi());
    for (path, methods) in document["paths"].as_object().unwrap() {
        // Events have no end.
        if methods.get("get").is_some() && path != "/api/v1/events" {
            let path = path.replace("{role}", "engine").replace("{name}", "a");
            assert_eq!(running.get(&path).await.status, 200, "{path}");
        }
    }
}

#[tokio::test]
async fn it_stops_when_told() {
    let running = start(vec![], None).await;
    assert_eq!(running.get("/livez").await.status, 200);
    running.stop.cancel();
    tokio::time::timeout(Duration::from_secs(10), running.task).await.unwrap().unwrap();
    assert!(TcpStream::connect(running.address).await.is_err());
}

/// Comes to `outcome`, and remembers who asked.
struct FakeReload {
    outcome: Outcome,
    last: Mutex<Option<Arc<Reloaded>>>,
}

impl FakeReload {
    fn new(outcome: Outcome) -> Arc<Self> {
        Arc::new(Self { outcome, last: Mutex::default() })
    }
}

struct Shared(Arc<FakeReload>);

impl Reload for Shared {
    fn reload(&self, by: String) -> BoxFuture<'static, Reloaded> {
        let fake = self.0.clone();
        Box::pin(async move {
            let changed = Changed {
                role: "rpc".to_owned(),
                name: "a".to_owned(),
                key: "[rpc] tries".to_owned(),
                origin: "m.toml:3".to_owned(),
                was: Value::Null,
                now: serde_json::json!(3),
                text: "[rpc] tries: 3 (was not set)".to_owned(),
            };
            let is_applied = fake.outcome == Outcome::Applied;
            let problems = ["m.toml:3: no", "m.toml:9: nor that"].map(str::to_owned);
            let problems = if is_applied { Vec::new() } else { problems.to_vec() };
            let outcome = fake.outcome;
            let reloaded = Reloaded { number: 1, at_ms: 5, by, outcome, changes: vec![changed], problems };
            *fake.last.lock().unwrap() = Some(Arc::new(reloaded.clone()));
            reloaded
        })
    }

    fn last(&self) -> Option<Arc<Reloaded>> {
        self.0.last.lock().unwrap().clone()
    }
}

#[tokio::test]
async fn settings_are_read_anew_for_whoever_may_change_something() {
    let nothing = start(vec![], None).await;
    assert_eq!(nothing.post("/api/v1/reload", "").await.status, 404);
    for (outcome, status) in [(Outcome::Applied, 200), (Outcome::Wrong, 422), (Outcome::NotNow, 409)] {
        let fake = FakeReload::new(outcome);
        let running = start_with(vec![], Some(TOKEN), Some(Arc::new(Shared(fake.clone())))).await;
        assert_eq!(running.get("/api/v1/status").await.json()["reload"], Value::Null);
        let proxied = [("x-forwarded-for", "1.2.3.4")];
        assert_eq!(running.ask("POST", "/api/v1/reload", &proxied, "").await.status, 401);
        assert!(fake.last.lock().unwrap().is_none());
        let bearer = format!("Bearer {TOKEN}");
        let answer = running
            .ask("POST", "/api/v1/reload", &[("x-forwarded-for", "1.2.3.4"), ("authorization", &bearer)], "")
            .await;
        assert_eq!(answer.status, status, "{}", answer.body);
        let told = answer.json();
        if outcome == Outcome::Applied {
            assert_eq!(told["changes"][0]["text"], "[rpc] tries: 3 (was not set)");
        } else {
            assert_eq!(answer.error(), "m.toml:3: no\nm.toml:9: nor that");
            assert_eq!(told["error"]["problems"][1], "m.toml:9: nor that");
        }
        let last = running.get("/api/v1/status").await.json()["reload"].clone();
        assert!(last["by"].as_str().unwrap().ends_with("admin token"), "{last}");
        assert_eq!(running.get("/api/v1/roles").await.json()["process"]["reload"], last);
        let until = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
        loop {
            let changes = running.get("/api/v1/changes").await.json()["changes"].clone();
            if let Some(change) = changes.as_array().unwrap().first() {
                assert_eq!((change["role"].as_str(), change["at_ms"].as_u64()), (Some("process"), Some(5)));
                assert!(change["now"].as_str().unwrap().starts_with("reload"), "{change}");
                break;
            }
            assert!(tokio::time::Instant::now() < until, "never among the changes");
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }
}

/// Seconds since 1970.
#[allow(clippy::disallowed_methods)] // a process starts by the clock on the wall
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}
