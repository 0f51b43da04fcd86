//! The rules. What nodeos takes where a key isn't set is in each of them.

use std::net::IpAddr;

use super::ini::{Ini, Line};
use super::{Around, As, Finding, Weight};

/// Inner nodes find back within this many seconds.
const CLEANUP: i64 = 2;
/// The relay's `early`, in milliseconds.
const EARLY: i64 = 1500;
/// Twice that is the relay's `silence_timeout`, in milliseconds.
const KEEPALIVE: i64 = 15_000;
/// What lets whoever reaches the HTTP port pause production, or connect the node past the relay.
const APIS: [&str; 2] = ["eosio::producer_api_plugin", "eosio::net_api_plugin"];
/// Keys that may be there once only, of those that are looked at.
const ONCE: [&str; 14] = [
    "allowed-connection",
    "connection-cleanup-period",
    "cpu-effort-percent",
    "enable-stale-production",
    "http-server-address",
    "max-clients",
    "p2p-accept-transactions",
    "p2p-keepalive-interval-ms",
    "p2p-max-nodes-per-host",
    "pause-on-startup",
    "produce-block-offset-ms",
    "production-pause-vote-timeout-ms",
    "read-mode",
    "vote-threads",
];

/// What has to be mended first, then what is to be thought about, each in the file's order.
#[must_use]
pub fn check(ini: &Ini, node: As, around: &Around) -> Vec<Finding> {
    let mut report = Report { ini, findings: Vec::new() };
    report.shared();
    match node {
        As::Inner => report.inner(around),
        As::Outer => report.outer(around),
        As::Sentry => report.sentry(),
    }
    let mut findings = report.findings;
    findings.sort_by_key(|finding| (finding.weight, finding.line.unwrap_or(usize::MAX)));
    findings
}

struct Report<'a> {
    ini: &'a Ini,
    findings: Vec<Finding>,
}

impl Report<'_> {
    fn add(&mut self, weight: Weight, line: Option<&Line>, what: String, write: Option<&str>) {
        let (line, write) = (line.map(|line| line.number), write.map(str::to_owned));
        self.findings.push(Finding { weight, line, what, write });
    }

    /// Of a key that is there: `key = value: why`. Not for keys whose values are secret.
    fn line(&mut self, weight: Weight, line: &Line, why: &str, write: Option<&str>) {
        self.add(weight, Some(line), format!("{} = {}: {why}", line.key, shown(&line.value)), write);
    }

    fn wrong(&mut self, line: &Line, why: &str, write: Option<&str>) {
        self.line(Weight::Wrong, line, why, write);
    }

    fn advice(&mut self, line: &Line, why: &str, write: Option<&str>) {
        self.line(Weight::Advice, line, why, write);
    }

    /// Of a key that isn't there.
    fn missing(&mut self, weight: Weight, what: &str, write: Option<&str>) {
        self.add(weight, None, what.to_owned(), write);
    }

    /// A number has to be in a range; `default`: what nodeos takes.
    fn number(&mut self, key: &str, default: i64, right: impl Fn(i64) -> bool, why: &str, write: &str) {
        let ini = self.ini;
        match ini.one(key) {
            None if right(default) => {}
            None => {
                let what = format!("{key} isn't set, nodeos takes {default}: {why}");
                self.missing(Weight::Wrong, &what, Some(write));
            }
            Some(line) => match line.number_of() {
                Some(number) if right(number) => {}
                Some(_) => self.wrong(line, why, Some(write)),
                None => self.wrong(line, "isn't a number", Some(write)),
            },
        }
    }

    fn is_on(&self, key: &str) -> Option<&Line> {
        self.ini.one(key).filter(|line| line.switch() == Some(true))
    }

    /// What holds for all.
    fn shared(&mut self) {
        let ini = self.ini;
        for key in ONCE {
            for line in ini.all(key).skip(1) {
                self.wrong(line, "is set a second time, nodeos doesn't start with that", None);
            }
        }
        if let Some(line) = ini.one("read-mode").filter(|line| line.value == "irreversible") {
            self.wrong(line, "the node neither produces nor passes on new blocks", Some("read-mode = head"));
        }
        if let Some(line) = ini.one("http-server-address").filter(|line| is_open(&line.value)) {
            let apis: Vec<&str> =
                APIS.into_iter().filter(|api| ini.all("plugin").any(|plugin| plugin.value == *api)).collect();
            if !apis.is_empty() {
                let why = format!(
                    "{} is served there: whoever reaches it can pause production or connect the node to others",
                    apis.join(" and ")
                );
                self.wrong(line, &why, Some("http-server-address = 127.0.0.1:8888"));
            }
        }
        self.number(
            "p2p-keepalive-interval-ms",
            10_000,
            |number| number > 0 && number < KEEPALIVE,
            "the relay closes a leg on which nothing was said for 30 s (silence_timeout)",
            "p2p-keepalive-interval-ms = 10000",
        );
    }

    fn inner(&mut self, around: &Around) {
        let ini = self.ini;
        if ini.one("producer-name").is_none() {
            self.missing(
                Weight::Wrong,
                "producer-name isn't set: the node produces nothing",
                Some("producer-name = NAME"),
            );
        }
        if ini.one("signature-provider").is_none() {
            self.missing(
                Weight::Wrong,
                "signature-provider isn't set, nodeos takes the development key, which everybody has",
                Some("signature-provider = PUB_K1_…=KEY:… (or KEOSD:…)"),
            );
        }
        self.inner_peers(around);
        self.inner_listens();
        self.number(
            "connection-cleanup-period",
            30,
            |number| (1..=CLEANUP).contains(&number),
            "the node may take as long to dial again when the relay was restarted or an outer node was lost",
            "connection-cleanup-period = 1",
        );
        for key in ["p2p-auto-bp-peer", "p2p-producer-peer", "p2p-bp-gossip-endpoint"] {
            for line in ini.all(key) {
                self.wrong(line, "connects the node to others past the relay, take it out", None);
            }
        }
        self.accepts_transactions(
            "the node's blocks stay empty, as transactions come by this one connection",
        );
        if let Some(line) = self.is_on("pause-on-startup").cloned() {
            let why = "the node doesn't produce before somebody resumes it; with a relay all nodes produce";
            self.wrong(&line, why, Some("pause-on-startup = false"));
        }
        if let Some(line) = self.is_on("enable-stale-production").cloned() {
            let why = "after a start the node produces before it has caught up; such blocks are suppressed, and it takes the node time to \
                       come back from them";
            self.advice(&line, why, Some("enable-stale-production = false"));
        }
        self.number(
            "produce-block-offset-ms",
            450,
            |number| (0..=EARLY).contains(&number),
            "the last blocks of a round come that much early, and the relay takes them up to 1.5 s early (early)",
            "produce-block-offset-ms = 450",
        );
        self.number(
            "cpu-effort-percent",
            90,
            // The last of twelve blocks is twelve times as early as the first.
            |percent| (0..=100).contains(&percent) && 12 * (100 - percent) * 5 <= EARLY,
            "the last blocks of a round come more than 1.5 s early, and the relay takes none of those (early)",
            "cpu-effort-percent = 90",
        );
        self.inner_votes();
    }

    fn inner_peers(&mut self, around: &Around) {
        let ini = self.ini;
        let peers: Vec<&Line> = ini.all("p2p-peer-address").filter(|line| !line.value.is_empty()).collect();
        let relay = around.relays.first().map_or("127.0.0.1:9876", String::as_str);
        let write = format!("p2p-peer-address = {relay}");
        if peers.is_empty() {
            let what = "p2p-peer-address isn't set: the node has no way to the relay";
            self.missing(Weight::Wrong, what, Some(&write));
        }
        for line in &peers {
            let address = without_kind(&line.value);
            if address != line.value {
                let why = "the node would get only transactions, or only blocks";
                self.wrong(line, why, Some(&format!("p2p-peer-address = {address}")));
            }
            if ini.all("p2p-listen-endpoint").any(|listen| without_kind(&listen.value) == address) {
                self.wrong(line, "is where the node listens itself: it would dial itself", None);
            }
            if !around.relays.is_empty() && !around.relays.iter().any(|relay| relay == address) {
                let why = format!(
                    "isn't a relay ({}): what the node says there goes past the relay, and two blocks for one slot are public; take it out",
                    around.relays.join(", ")
                );
                self.wrong(line, &why, None);
            }
        }
        if around.relays.is_empty() && peers.len() > 1 {
            let all: Vec<&str> = peers.iter().map(|line| line.value.as_str()).collect();
            let what = format!(
                "p2p-peer-address is set {} times ({}): each of them has to be a relay or its tunnel (--relay says which are)",
                all.len(),
                all.join(", ")
            );
            self.add(Weight::Advice, Some(peers[1]), what, None);
        }
    }

    fn inner_listens(&mut self) {
        const WHY: &str = "whoever connects there gets the node's blocks past the relay";
        const WRITE: Option<&str> = Some("p2p-listen-endpoint = 127.0.0.1:9875");
        let ini = self.ini;
        if ini.one("p2p-listen-endpoint").is_none() {
            let what = format!("p2p-listen-endpoint isn't set, nodeos takes 0.0.0.0:9876: {WHY}");
            self.missing(Weight::Wrong, &what, WRITE);
        }
        for line in ini.all("p2p-listen-endpoint").filter(|line| is_open(&line.value)) {
            self.wrong(line, WHY, WRITE);
        }
    }

    /// Savanna.
    fn inner_votes(&mut self) {
        let ini = self.ini;
        if let Some(line) = ini.one("vote-threads").filter(|line| line.number_of() == Some(0)) {
            self.wrong(line, "the node neither votes nor passes votes on", Some("vote-threads = 4"));
        }
        if let Some(line) = ini.one("production-pause-vote-timeout-ms") {
            match line.number_of::<i64>() {
                Some(0) => {
                    let why = "a node that is cut off goes on producing for itself";
                    self.advice(line, why, Some("production-pause-vote-timeout-ms = 6000"));
                }
                Some(1..3000) => {
                    let why = "a relay that is restarted costs two slots and a few votes: the node may pause for that";
                    self.advice(line, why, Some("production-pause-vote-timeout-ms = 6000"));
                }
                Some(_) => {}
                None => self.wrong(line, "isn't a number", Some("production-pause-vote-timeout-ms = 6000")),
            }
        }
        if let Some(line) = ini.all("signature-provider").find(|line| line.value.starts_with("PUB_BLS_")) {
            // The key itself is nobody's business, and behind it is the private one.
            let what = "signature-provider = PUB_BLS_…: no other node may have this finalizer key. No relay makes a shared one safe; give each \
                        node its own, registered on chain, one of them active";
            self.add(Weight::Advice, Some(line), what.to_owned(), None);
        }
    }

    fn outer(&mut self, around: &Around) {
        let ini = self.ini;
        let legs = i64::from(around.legs);
        self.number(
            "p2p-max-nodes-per-host",
            1,
            |number| number >= legs,
            &format!("the relay connects once for each inner node, so up to {legs} times; more are closed without a word"),
            &format!("p2p-max-nodes-per-host = {}", legs.max(2)),
        );
        self.number(
            "max-clients",
            25,
            |number| number == 0 || number >= legs,
            &format!("up to {legs} legs are clients, besides whoever else connects"),
            &format!("max-clients = {}", legs + 25),
        );
        for line in ini.all("p2p-listen-endpoint") {
            if line.value.is_empty() {
                self.wrong(
                    line,
                    "the relay has nothing to connect to",
                    Some("p2p-listen-endpoint = 0.0.0.0:9876"),
                );
            } else if without_kind(&line.value) != line.value {
                let why = "legs would carry only transactions, or only blocks";
                self.wrong(line, why, Some(&format!("p2p-listen-endpoint = {}", without_kind(&line.value))));
            } else if !is_open(&line.value) {
                self.advice(line, "only a relay on this machine can connect", None);
            }
        }
        match ini.one("allowed-connection") {
            Some(line) if line.value == "none" => {
                self.wrong(line, "the relay can't connect", Some("allowed-connection = any"));
            }
            Some(line) if line.value != "any" => {
                let why = "the relay passes on the inner nodes' own handshakes: each of their keys (their peer-private-key) has to be a peer-key \
                           here";
                self.advice(line, why, None);
            }
            _ => {}
        }
        self.accepts_transactions("no transaction reaches the inner nodes by this one");
        if ini.one("p2p-peer-address").is_none_or(|line| line.value.is_empty()) {
            let what = "p2p-peer-address isn't set: the node's way to the network hangs on others that connect to it";
            self.missing(Weight::Advice, what, None);
        }
        self.passes_votes();
        self.produces_not();
    }

    fn sentry(&mut self) {
        for line in self.ini.all("p2p-listen-endpoint").filter(|line| !is_open(&line.value)) {
            self.advice(
                line,
                "nobody from elsewhere can connect",
                Some("p2p-listen-endpoint = 0.0.0.0:9876"),
            );
        }
        self.accepts_transactions("no transaction reaches the producer by this one");
        self.passes_votes();
        self.produces_not();
    }

    fn accepts_transactions(&mut self, why: &str) {
        let ini = self.ini;
        if let Some(line) = ini.one("p2p-accept-transactions").filter(|line| line.switch() != Some(true)) {
            self.wrong(line, why, Some("p2p-accept-transactions = true"));
        }
    }

    /// Who doesn't produce passes votes on only if told (Spring).
    fn passes_votes(&mut self) {
        const WHY: &str =
            "votes of finalizers don't pass through the node (Spring, Savanna; Leap doesn't know the key)";
        let ini = self.ini;
        match ini.one("vote-threads") {
            Some(line) if line.number_of().is_some_and(|threads: u32| threads > 0) => {}
            Some(line) => self.wrong(line, WHY, Some("vote-threads = 4")),
            None => {
                self.missing(
                    Weight::Advice,
                    &format!("vote-threads isn't set: {WHY}"),
                    Some("vote-threads = 4"),
                );
            }
        }
    }

    fn produces_not(&mut self) {
        let ini = self.ini;
        for line in ini.all("producer-name") {
            self.wrong(line, "what this node produces goes past the relay, take it out", None);
        }
        for line in ini.all("signature-provider") {
            // Not what it says: that may be the private key.
            let what = "signature-provider: keys belong on inner nodes only, take it out".to_owned();
            self.add(Weight::Wrong, Some(line), what, None);
        }
    }
}

/// An address without `:trx` or `:blk`, and without the limit of a rate that may be behind it.
fn without_kind(address: &str) -> &str {
    let mut at = address;
    if let Some((rest, _)) = at.split_once(":trx").or_else(|| at.split_once(":blk")) {
        at = rest;
    }
    at
}

/// Whether something that is listened on can be reached from other machines. A name could be anything.
fn is_open(listen: &str) -> bool {
    let address = without_kind(listen);
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if listen.is_empty() || host == "localhost" {
        return false;
    }
    host.parse::<IpAddr>().map_or(true, |ip| !ip.to_canonical().is_loopback())
}

/// A value, short and on one line.
fn shown(value: &str) -> String {
    value.chars().take(80).map(|c| if c.is_control() { '?' } else { c }).collect()
}
