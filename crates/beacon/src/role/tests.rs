//! The whole role with its nodes in the same process and the clock paused: every check failing and healing, in every way.
//!
//! Rounds are a second apart and take a second at most; a check holds again after two good ones, a guard opens ten seconds later.

#![allow(clippy::unwrap_used)]

mod node;

use std::cell::RefCell;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use mainstay_node::Operated as _;
use prometheus_client::registry::Registry;
use tokio::time::{Instant, sleep, timeout};

use super::*;
use crate::config::SECTION;
use crate::proxy;
use crate::testing::settings;
use node::{Ail, Node, syncing};

/// A round may have begun just before: a second until the next, and one for its answer.
const OUT_BY: Duration = Duration::from_secs(2);
/// A round is under way and fails yet; two more, and the warm-up.
const BACK_BY: Duration = Duration::from_secs(14);
const WARM_UP: Duration = Duration::from_secs(10);
/// Where no clock is to be read.
const STEP: Duration = Duration::from_millis(10);

const SYNCING: &str = "/eth/v1/node/syncing";
const HEALTH: &str = "/eth/v1/node/health";
const FORK: &str = "/eth/v1/beacon/states/head/fork";
const PEERS: &str = "/eth/v1/node/peer_count";
const IDENTITY: &str = "/eth/v1/node/identity";
const EXECUTION: &str = "/";
const OWN: &str = "/own";

/// A guard or two with every check, before nodes of this process.
struct Bed {
    role: Beacon,
    beacons: Vec<Node>,
    execution: Node,
}

impl Bed {
    fn config(count: usize, more: &str) -> Config {
        let nodes: Vec<String> = (0..count).map(|i| format!("\"http://bn{i}\"")).collect();
        let listen: Vec<&str> = (0..count).map(|_| "\"127.0.0.1:0\"").collect();
        let elements: Vec<&str> = (0..count).map(|_| "\"http://el\"").collect();
        let text = format!(
            "[beacon]\nbeacon_node = [{}]\nlisten = [{}]\nexecution_node = [{}]\nmin_peers = [64]\nattnets = \"all\"\n\
             max_sync_distance = \"off\"\n{more}\n\
             [[beacon.check]]\nname = \"own\"\npath = \"/own\"\nexpect = \"body.data.fine\"\n",
            nodes.join(", "),
            listen.join(", "),
            elements.join(", "),
        );
        let (settings, mut problems) = settings(&SECTION, &text);
        let config = Config::from_settings(&settings, &mut problems);
        assert!(problems.is_empty(), "{problems:?}");
        config.unwrap()
    }

    fn new(count: usize, more: &str) -> Self {
        let beacons: Vec<Node> = (0..count).map(|_| Node::default()).collect();
        let execution = Node::default();
        let metrics = Metrics::new(&mut Registry::default());
        let role = Beacon::over(Self::config(count, more), &metrics, &|url, options| {
            let number = url.host_str().unwrap_or_default().strip_prefix("bn");
            let node = number.map_or(&execution, |number| &beacons[number.parse::<usize>().unwrap()]);
            Client::over(Arc::new(node.clone()), url, options)
        });
        Self { role: role.unwrap(), beacons, execution }
    }

    fn is_open(&self, guard: usize) -> bool {
        self.role.handle().snapshot().nodes[guard].fit
    }

    /// Lets time pass until a guard is open or closed, and says how much did.
    async fn until(&self, guard: usize, open: bool, within: Duration, what: &str) -> Duration {
        let began = Instant::now();
        while self.is_open(guard) != open {
            let snapshot = self.role.handle().snapshot();
            assert!(began.elapsed() <= within, "{what}: not within {within:?}: {snapshot:#?}");
            sleep(STEP).await;
        }
        began.elapsed()
    }

    /// A client's request: its status, and the message of a refusal.
    async fn ask(&self, guard: usize) -> (StatusCode, String) {
        let core = &self.role.core;
        let request = Request::get("/eth/v1/beacon/headers").body(Full::new(Bytes::new())).unwrap();
        let response = proxy::request(core, &core.post(guard), request).await;
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        (head.status, body["message"].as_str().unwrap_or_default().to_owned())
    }

    /// What has just begun closes the first guard in time, with these words; what ends it opens the guard again in time.
    async fn out_and_back(&self, what: &str, told: &str, heal: impl FnOnce(&Self)) {
        self.until(0, false, OUT_BY, what).await;
        // While it lasts, it stays closed.
        let asked = self.beacons[0].asked("/eth/v1/beacon/headers");
        for _ in 0..40 {
            let (status, message) = self.ask(0).await;
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{what}");
            assert!(message.contains(told), "{what}: no {told} in {message}");
            sleep(Duration::from_millis(350)).await;
        }
        assert_eq!(self.beacons[0].asked("/eth/v1/beacon/headers"), asked, "{what}: it reached the node");
        heal(self);
        let took = self.until(0, true, BACK_BY, what).await;
        assert!(took > WARM_UP, "{what}: back after {took:?}");
        assert_eq!(self.ask(0).await.0, StatusCode::OK, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_check_in_every_way_of_not_answering_it() {
    let bed = Bed::new(1, "");
    bed.until(0, true, OUT_BY, "at start").await;
    let second = Duration::from_secs(1);
    let ways: [(Ail, &str); 8] = [
        (Ail::Reset, "connection reset"),
        (Ail::Truncated, "connection reset"),
        (Ail::Hang, "no answer within 1.0 s"),
        (Ail::Slow(5 * second), "no answer within 1.0 s"),
        (Ail::Status(500), "500"),
        (Ail::Status(206), "206"),
        (Ail::Body("{\"data\":"), "unreadable answer"),
        (Ail::Body("{\"data\":[7]}"), "unreadable answer"),
    ];
    for (check, path) in [
        ("syncing", SYNCING),
        ("health", HEALTH),
        ("chain", FORK),
        ("execution", EXECUTION),
        ("peers", PEERS),
        ("subnets", IDENTITY),
        ("own", OWN),
    ] {
        let node = if check == "execution" { &bed.execution } else { &bed.beacons[0] };
        for (ail, words) in &ways {
            let what = format!("{check}, {ail:?}");
            let told = match (check, ail) {
                // Only the status counts.
                ("health", Ail::Body(_)) => continue,
                // It has no wrong status but that of an expression of its own.
                ("own", Ail::Status(_)) => continue,
                ("own", Ail::Body("{\"data\":")) => "own: body is text".to_owned(),
                ("own", Ail::Body(_)) => "own: body.data".to_owned(),
                (_, Ail::Status(status)) => format!("{check}: HTTP {status}"),
                ("execution", Ail::Body(_)) => format!("{check}: eth_syncing: {words}"),
                _ => format!("{check}: {words}"),
            };
            node.ails(path, *ail);
            bed.out_and_back(&what, &told, |_| node.heals()).await;
        }
        // Slow, yet in time.
        node.ails(path, Ail::Slow(second / 4));
        for _ in 0..400 {
            assert!(bed.is_open(0), "{check}, a little slow");
            sleep(STEP).await;
        }
        node.heals();
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_refuses_is_gone_whatever_is_asked() {
    let bed = Bed::new(1, "fall = 5");
    bed.until(0, true, OUT_BY, "at start").await;
    bed.beacons[0].ails("/", Ail::Refused);
    bed.out_and_back("beacon node", "syncing: connection refused", |bed| bed.beacons[0].heals()).await;
    // An execution node that can't be had is a check that fails, five rounds of it.
    bed.execution.ails("/", Ail::Refused);
    let took = bed.until(0, false, Duration::from_secs(6), "execution node").await;
    assert!(took > Duration::from_secs(3), "after {took:?}");
    assert!(bed.ask(0).await.1.contains("execution: connection refused"));
}

#[tokio::test(start_paused = true)]
async fn every_check_by_what_the_node_says() {
    let bed = Bed::new(2, "");
    bed.until(0, true, OUT_BY, "at start").await;
    bed.until(1, true, OUT_BY, "at start").await;
    type Change = fn(&Bed);
    let well: Change = |bed| bed.beacons[0].says(|says| *says = Default::default());
    let says: [(&str, Change, Change); 12] = [
        (
            "syncing: is_syncing: true",
            |bed| first(bed, |s| s.syncing = syncing(100, "true", "false", "false")),
            well,
        ),
        (
            "is_optimistic: true",
            |bed| first(bed, |s| s.syncing = syncing(100, "false", "true", "false")),
            well,
        ),
        ("el_offline: true", |bed| first(bed, |s| s.syncing = syncing(100, "false", "false", "true")), well),
        (
            "health: HTTP 206: it syncs",
            |bed| bed.beacons[0].ails(HEALTH, Ail::Status(206)),
            |bed| bed.beacons[0].heals(),
        ),
        (
            "health: HTTP 503",
            |bed| bed.beacons[0].ails(HEALTH, Ail::Status(503)),
            |bed| bed.beacons[0].heals(),
        ),
        ("peers: 63 peers, at least 64", |bed| first(bed, |s| s.peers = 63), well),
        ("subnets: 63 of 64 subnets, lacks 0", |bed| first(bed, |s| s.attnets = "0xfeffffffffffffff"), well),
        (
            "own: status = 200, body.data.fine = false",
            |bed| first(bed, |s| s.own = r#"{"data":{"fine":false}}"#),
            well,
        ),
        ("own: body.data.fine: no such key", |bed| first(bed, |s| s.own = r#"{"data":{}}"#), well),
        (
            "lag: head 97, 3 slots behind",
            |bed| first(bed, |s| s.syncing = syncing(97, "false", "false", "false")),
            well,
        ),
        (
            "execution: eth_syncing: it syncs",
            |bed| bed.execution.says(|s| s.eth_syncing = r#"{"currentBlock":"0x7","highestBlock":"0x9"}"#),
            |bed| bed.execution.says(|s| *s = Default::default()),
        ),
        (
            "execution: block 7 is",
            |bed| bed.execution.says(|s| s.block_time = "0x1".to_owned()),
            |bed| bed.execution.says(|s| *s = Default::default()),
        ),
    ];
    for (told, fail, heal) in says {
        fail(&bed);
        bed.out_and_back(told, told, heal).await;
        bed.until(1, true, BACK_BY, told).await;
    }
    // Two on different chains: the first is right, the second is out.
    bed.beacons[1].says(|says| says.fork = "0x07000000");
    bed.until(1, false, OUT_BY, "fork").await;
    assert!(bed.ask(1).await.1.contains("chain: fork 0x07000000"), "{:?}", bed.ask(1).await);
    assert!(bed.is_open(0));
}

fn first(bed: &Bed, change: impl FnOnce(&mut node::Says)) {
    bed.beacons[0].says(change);
}

/// Traffic counts with the very request, and what waits for a frozen node is let go when a check finds out.
#[tokio::test(start_paused = true)]
async fn what_traffic_shows_counts_at_once() {
    let bed = Bed::new(1, "");
    bed.until(0, true, OUT_BY, "at start").await;
    const PATH: &str = "/eth/v1/beacon/headers";
    bed.beacons[0].ails(PATH, Ail::Reset);
    let (status, message) = bed.ask(0).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(message.contains("traffic: connection reset") && !bed.is_open(0), "{message}");
    bed.beacons[0].heals();
    assert!(bed.until(0, true, BACK_BY, "traffic").await > WARM_UP);

    bed.beacons[0].ails("/", Ail::Hang);
    let began = Instant::now();
    let (status, message) = bed.ask(0).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(message.contains("no answer within 1.0 s") && began.elapsed() <= OUT_BY, "{message}");
}

/// The guard may have closed and opened again since a request began to wait: it is let go with the node all the same.
#[tokio::test(start_paused = true)]
async fn a_request_that_waits_since_before_is_let_go_too() {
    let bed = Bed::new(1, "");
    bed.until(0, true, OUT_BY, "at start").await;
    bed.beacons[0].ails("/eth/v1/beacon/headers", Ail::Hang);
    let asking = timeout(Duration::from_secs(60), bed.ask(0));
    let meanwhile = async {
        first(&bed, |says| says.peers = 3);
        bed.until(0, false, OUT_BY, "few peers").await;
        first(&bed, |says| says.peers = 70);
        bed.until(0, true, BACK_BY, "enough peers").await;
        bed.beacons[0].ails("/", Ail::Hang);
    };
    let (asked, ()) = tokio::join!(asking, meanwhile);
    let (status, message) = asked.unwrap();
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(message.contains("no answer within 1.0 s"), "{message}");
}

/// A node that gives up idle connections sooner than its client seems to reset them: those of all checks are dropped before.
#[tokio::test(start_paused = true)]
async fn no_connection_is_kept_idle_for_longer_than_told() {
    let kept = RefCell::new(Vec::new());
    let metrics = Metrics::new(&mut Registry::default());
    let role = Beacon::over(Bed::config(1, "node_idle_timeout = \"700ms\""), &metrics, &|url, options| {
        kept.borrow_mut().push(options.idle_timeout);
        Client::over(Arc::new(Node::default()), url, options)
    });
    assert!(role.is_ok());
    assert_eq!(kept.into_inner(), [Duration::from_millis(700); 5]);
}

/// A node that comes and goes faster than `rise` and the warm-up never gets a request; one that stays is back for good.
#[tokio::test(start_paused = true)]
async fn a_node_that_flaps_stays_out() {
    let bed = Bed::new(1, "");
    bed.until(0, true, OUT_BY, "at start").await;
    for _ in 0..20 {
        first(&bed, |says| says.peers = 3);
        sleep(OUT_BY).await;
        first(&bed, |says| says.peers = 70);
        for _ in 0..80 {
            sleep(Duration::from_millis(100)).await;
            assert!(!bed.is_open(0));
        }
    }
    bed.until(0, true, BACK_BY, "it stays").await;
    let flips = bed.role.handle().snapshot().nodes[0].flips.len();
    sleep(Duration::from_secs(3600)).await;
    assert!(bed.is_open(0));
    assert_eq!(bed.role.handle().snapshot().nodes[0].flips.len(), flips);
}
