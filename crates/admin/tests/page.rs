//! The page and what feeds it: files, headers, events, history, changes, cases.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mainstay_admin::{Admin, Explain, Lifecycle, Role, Roles, Token, Unexplained, serve};
use mainstay_node::{Action, Figure, Level, Operated, Refused};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

const SOON: Duration = Duration::from_secs(20);
const TOKEN: &str = "a-token-of-the-tests";

/// A role with one node, whose condition and figure are what the test says.
#[derive(Clone)]
struct Fake(Arc<Mutex<(&'static str, f64)>>);

impl Fake {
    fn becomes(&self, condition: &'static str, value: f64) {
        *self.0.lock().unwrap() = (condition, value);
    }
}

impl Operated for Fake {
    type Snapshot = Value;

    fn kind(&self) -> &'static str {
        "engine"
    }
    fn name(&self) -> &str {
        "main"
    }
    fn health(&self) -> (Level, Vec<String>) {
        (Level::Well, Vec::new())
    }
    fn snapshot(&self) -> Value {
        json!({"nodes": [{"name": "el1\n<b>", "condition": self.0.lock().unwrap().0, "reason": "as it is"}]})
    }
    fn actions(&self) -> &'static [&'static str] {
        &["cordon"]
    }
    fn figures(&self) -> Vec<Figure> {
        vec![Figure::new("el1", "latency", "ms", self.0.lock().unwrap().1)]
    }
    fn recent(&self) -> Option<Value> {
        Some(json!({"rounds": [{"seq": 1}]}))
    }
    async fn act(&self, action: Action) -> Result<(), Refused> {
        match action {
            Action::Cordon { .. } => {
                self.becomes("cordoned", 9.0);
                Ok(())
            }
            _ => Err(Refused::Unsupported("not here".to_owned())),
        }
    }
}

struct Running {
    address: SocketAddr,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
    role: Fake,
}

async fn start(explain: Option<Explain>) -> Running {
    let role = Fake(Arc::new(Mutex::new(("fit", 1.5))));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let lifecycle = Lifecycle::new();
    lifecycle.serving();
    let admin = Admin {
        roles: Roles::new(vec![Arc::new(role.clone()) as Arc<dyn Role>]),
        page: Arc::new(|| Ok(String::new())),
        token: Some(Token::new(TOKEN).unwrap()),
        version: "1.2.3".to_owned(),
        lifecycle,
        explain,
        reload: None,
    };
    let stop = CancellationToken::new();
    let task = tokio::spawn(serve(listener, None, admin, stop.clone()));
    Running { address, stop, task, role }
}

impl Running {
    async fn send(&self, method: &str, path: &str, body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    /// Status, head in small letters, body.
    async fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String, String) {
        let mut stream = self.send(method, path, body).await;
        let mut answer = String::new();
        timeout(SOON, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), head.to_lowercase(), body.to_owned())
    }

    async fn json(&self, path: &str) -> Value {
        let (status, _, body) = self.ask("GET", path, "").await;
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    async fn listen(&self) -> Events {
        let mut events = Events { reader: BufReader::new(self.send("GET", "/api/v1/events", "").await) };
        let head = events.until("\r\n").await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert!(head.to_lowercase().contains("content-type: text/event-stream"), "{head}");
        events
    }
}

struct Events {
    reader: BufReader<TcpStream>,
}

impl Events {
    /// Lines up to an empty one.
    async fn until(&mut self, end: &str) -> String {
        let mut text = String::new();
        loop {
            let before = text.len();
            let read = timeout(SOON, self.reader.read_line(&mut text)).await.expect("in time").unwrap();
            assert!(read > 0, "it ended after {text:?}");
            if &text[before..] == end {
                return text;
            }
        }
    }

    /// The next event of this name whose data are as wanted.
    async fn next(&mut self, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            // Chunks have lines of their own between the events.
            let event = self.until("\n").await;
            if !event.contains(&format!("event: {name}\n")) {
                continue;
            }
            let data = event.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
            let data: Value = serde_json::from_str(data).unwrap();
            if wanted(&data) {
                return data;
            }
        }
    }

    async fn ends(mut self) {
        let mut rest = Vec::new();
        timeout(SOON, self.reader.read_to_end(&mut rest)).await.expect("in time").unwrap();
    }
}

#[tokio::test]
async fn the_page_is_whole_and_strict() {
    let running = start(None).await;
    let (_, _, page) = running.ask("GET", "/", "").await;
    assert_eq!(running.ask("GET", "/dashboard", "").await.2, page);
    let mut paths = vec!["/".to_owned()];
    for part in page.split(['"', '\'']).filter(|part| part.starts_with("ui/")) {
        paths.push(format!("/{part}"));
    }
    assert!(paths.len() > 5, "{paths:?}");
    let mut seen = 0;
    while let Some(path) = paths.get(seen).cloned() {
        seen += 1;
        let (status, head, text) = running.ask("GET", &path, "").await;
        assert_eq!(status, 200, "{path}");
        assert!(
            head.contains("content-security-policy: default-src 'self'; base-uri 'none'"),
            "{path}: {head}"
        );
        assert!(head.contains("x-content-type-options: nosniff"), "{path}: {head}");
        let content_type = match path.rsplit('.').next().unwrap() {
            "js" => "text/javascript",
            "css" => "text/css",
            "svg" => "image/svg+xml",
            _ => "text/html",
        };
        assert!(head.contains(&format!("content-type: {content_type}")), "{path}: {head}");
        // Modules that modules name.
        for line in text.lines().filter(|line| line.starts_with("import ") && path.ends_with(".js")) {
            let name = line.split('"').nth(1).unwrap().strip_prefix("./").unwrap();
            let module = format!("/ui/{name}");
            if !paths.contains(&module) {
                paths.push(module);
            }
        }
    }
    assert!(paths.contains(&"/ui/fields.js".to_owned()), "{paths:?}");
    assert!(!page.contains("<style") && !page.contains(" style=") && !page.contains("<script>"), "{page}");
    assert!(!page.contains("http://") && !page.contains("https://") && !page.contains(" onclick"), "{page}");
    assert_eq!(running.ask("POST", "/", "").await.0, 405);
}

#[test]
fn what_others_wrote_is_as_they_published_it() {
    for (file, sum) in [
        ("uPlot.iife.min.js", "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f"),
        ("uPlot.min.css", "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04"),
    ] {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("ui/vendor").join(file);
        let digest = Sha256::digest(std::fs::read(path).unwrap());
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, sum, "{file}");
    }
}

#[tokio::test]
async fn events_begin_with_everything_and_go_on() {
    let running = start(None).await;
    let mut events = running.listen().await;
    let state = events.next("state", |_| true).await;
    assert_eq!((&state["status"], &state["version"]), (&json!("well"), &json!("1.2.3")));
    assert_eq!(state["roles"][0]["state"]["nodes"][0]["name"], "el1\n<b>");
    assert_eq!(state["roles"][0]["actions"], json!(["cordon"]));
    let recent = events.next("recent", |_| true).await;
    assert_eq!(recent[0]["recent"]["rounds"][0]["seq"], 1);
    events.next("changes", |_| true).await;
    let sample = events.next("sample", |_| true).await;
    assert_eq!((&sample["points"][0]["of"], &sample["points"][0]["value"]), (&json!("el1"), &json!(1.5)));

    running.role.becomes("unfit", 7.0);
    let changes = events.next("changes", |all| all[0]["now"] == "unfit").await;
    assert_eq!((&changes[0]["before"], &changes[0]["why"]), (&json!("fit"), &json!("as it is")));
    // Whoever comes now, for the first time or again, gets all of it too.
    let mut again = running.listen().await;
    let state = again.next("state", |_| true).await;
    assert_eq!(state["roles"][0]["state"]["nodes"][0]["condition"], "unfit");
    again.next("changes", |all| all[0]["now"] == "unfit").await;

    let listed = running.json("/api/v1/changes").await;
    assert_eq!(listed["changes"][0]["of"], "el1\n<b>");
    assert_eq!(running.json("/api/v1/engine/main/recent").await["rounds"][0]["seq"], 1);
    let history = running.json("/api/v1/history").await;
    assert_eq!((&history["every_seconds"], &history["series"][0]["figure"]), (&json!(5), &json!("latency")));
    assert_eq!(
        history["series"][0]["values"].as_array().unwrap().len(),
        history["at_ms"].as_array().unwrap().len()
    );

    // They hold up no stop.
    running.stop.cancel();
    events.ends().await;
    again.ends().await;
    timeout(SOON, running.task).await.unwrap().unwrap();
}

#[tokio::test]
async fn listeners_are_bounded_and_give_their_place_back() {
    let running = start(None).await;
    let mut all = Vec::new();
    for _ in 0..32 {
        all.push(running.listen().await);
    }
    let (status, _, body) = running.ask("GET", "/api/v1/events", "").await;
    assert_eq!(status, 503);
    assert!(body.contains("32 listen already"), "{body}");
    all.pop();
    let came = async {
        loop {
            let mut stream = running.send("GET", "/api/v1/events", "").await;
            let mut head = [0; 12];
            stream.read_exact(&mut head).await.unwrap();
            if &head == b"HTTP/1.1 200" {
                return;
            }
        }
    };
    timeout(SOON, came).await.expect("the place of who has gone is free again");
}

/// What somebody doesn't read is not kept for him: he gets whole frames later, and the role is looked at all the same.
#[tokio::test]
async fn who_reads_nothing_holds_nobody_up() {
    let running = start(None).await;
    let idle = running.listen().await;
    let mut events = running.listen().await;
    for condition in ["lagging", "fit", "unfit"] {
        running.role.becomes(condition, 2.0);
        events.next("state", |state| state["roles"][0]["state"]["nodes"][0]["condition"] == condition).await;
    }
    drop(idle);
}

#[tokio::test]
async fn what_is_done_is_told_with_who_did_it() {
    let running = start(None).await;
    let mut events = running.listen().await;
    let done = running.ask("POST", "/api/v1/engine/main/nodes/el1/cordon", "").await;
    assert_eq!(done.0, 200, "{}", done.2);
    let changes =
        events.next("changes", |all| all.as_array().unwrap().iter().any(|one| one["before"] == "")).await;
    let acted = changes.as_array().unwrap().iter().find(|one| one["before"] == "").unwrap();
    assert_eq!(acted["now"], "Cordon(\"el1\"): done");
    let why = acted["why"].as_str().unwrap();
    assert!(why.starts_with("127.0.0.1:") && why.ends_with(", this machine"), "{why}");
    assert_eq!(running.ask("POST", "/api/v1/engine/main/recheck", "").await.0, 405);
    events
        .next("changes", |all| {
            all.as_array().unwrap().iter().any(|one| one["now"] == "Recheck: refused: not here")
        })
        .await;
}

#[tokio::test]
async fn cases_are_played_by_whoever_made_the_listener() {
    let explain: Explain = Arc::new(|what, case| match what {
        "verdict" if case.contains_key("votes") => Ok(json!({"told": case["votes"]})),
        "verdict" => Err(Unexplained::Bad(vec!["votes: is needed".to_owned(), "more".to_owned()])),
        "panic" => panic!("as the test wants it"),
        _ => Err(Unexplained::Unknown("there is verdict".to_owned())),
    });
    let running = start(Some(explain)).await;
    let ask = async |what: &str, body: &str| {
        let (status, _, body) = running.ask("POST", &format!("/api/v1/explain/{what}"), body).await;
        (status, serde_json::from_str::<Value>(&body).unwrap())
    };
    assert_eq!(ask("verdict", r#"{"votes": "V"}"#).await, (200, json!({"told": "V"})));
    let (status, told) = ask("verdict", "{}").await;
    assert_eq!((status, &told["error"]["problems"][1]), (400, &json!("more")));
    assert_eq!(ask("weather", "{}").await, (404, json!({"error": {"message": "there is verdict"}})));
    assert_eq!(ask("verdict", "[]").await.0, 400);
    assert_eq!(ask("panic", "{}").await.0, 500);
    assert_eq!(ask("verdict", &"x".repeat(70_000)).await.0, 413);
    let none = start(None).await;
    assert_eq!(none.ask("POST", "/api/v1/explain/verdict", "{}").await.0, 404);
}
