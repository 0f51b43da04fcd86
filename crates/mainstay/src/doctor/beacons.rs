//! Beacon nodes: reached, their versions, and whether they are on one network with the same forks.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use mainstay_wire::client::{Attestation, Client, Options};
use serde_json::Value;
use tokio::time::Instant;
use url::Url;

use crate::probe::{Failure, printable, skew, wall_clock};

use super::finding::{Finding, Findings};
use super::nodes::{most, place, short};

/// For all that one of them is asked.
const DEADLINE: Duration = Duration::from_secs(8);
/// More than a spec needs, many times.
const MAX_REPLY: usize = 1 << 20;

const VERSION: &str = "/eth/v1/node/version";

/// A beacon node and what it said.
#[derive(Debug, Clone, Default)]
pub(super) struct BeaconSeen {
    pub(super) group: String,
    pub(super) name: String,
    pub(super) failed: Option<Failure>,
    pub(super) took: Duration,
    pub(super) skew: Option<i64>,
    pub(super) version: Option<String>,
    /// The root that tells networks apart.
    pub(super) genesis: Option<String>,
    /// What of its configuration is about forks, and the network's name and chain id.
    pub(super) spec: BTreeMap<String, String>,
}

/// Asks one.
pub(super) async fn observe(
    group: String,
    name: String,
    url: Url,
    attest: Option<Attestation>,
) -> BeaconSeen {
    let started = Instant::now();
    let deadline = started + DEADLINE;
    let mut seen = BeaconSeen { group, name, ..BeaconSeen::default() };
    let options = Options { max_reply: MAX_REPLY, attest, ..Options::default() };
    let client = match Client::new(&url, options) {
        Ok(client) => client,
        Err(why) => {
            seen.failed = Some(Failure::new(why.to_string(), "mend its URL"));
            return seen;
        }
    };
    let base = url.path().trim_end_matches('/');
    for path in [VERSION, "/eth/v1/beacon/genesis", "/eth/v1/config/spec"] {
        let request = match http::Request::get(format!("{base}{path}")).body(Bytes::new()) {
            Ok(request) => request,
            Err(why) => {
                seen.failed = Some(Failure::new(why.to_string(), "mend its URL"));
                return seen;
            }
        };
        let reply = match client.send(request, deadline).await {
            Ok(reply) => reply,
            Err(why) => {
                seen.failed = Some(Failure::of_call(&why));
                return seen;
            }
        };
        if seen.took.is_zero() {
            seen.took = started.elapsed();
        }
        seen.skew = skew(&reply, wall_clock()).or(seen.skew);
        seen.take(path, reply.status.as_u16(), &reply.body);
        if seen.failed.is_some() {
            return seen;
        }
    }
    seen
}

impl BeaconSeen {
    fn of(&self) -> String {
        place(&self.group, &self.name)
    }

    /// Takes in an answer. Pure.
    fn take(&mut self, path: &str, status: u16, body: &[u8]) {
        let answer: Option<Value> = serde_json::from_slice(body).ok();
        match (status, answer) {
            (200, Some(answer)) if path != VERSION || answer["data"]["version"].is_string() => {
                let data = &answer["data"];
                let text = |key: &str| data[key].as_str().map(printable);
                self.version = text("version").or(self.version.take());
                self.genesis = text("genesis_validators_root").or(self.genesis.take());
                for (key, value) in data.as_object().into_iter().flatten() {
                    let known = key.ends_with("_FORK_EPOCH")
                        || ["CONFIG_NAME", "DEPOSIT_CHAIN_ID"].contains(&key.as_str());
                    if let Some(value) = value.as_str().filter(|_| known) {
                        self.spec.insert(printable(key), printable(value));
                    }
                }
            }
            // Nodes that have not started yet have no genesis; proxies may let some paths through only.
            (200..=499, _) if path != VERSION => {}
            (401 | 403, _) => {
                self.failed = Some(Failure::new(
                    format!("refuses us (HTTP {status}), does its URL need user:password@?"),
                    "write user:password@ before its host, or let it take calls from here",
                ));
            }
            (status, _) => {
                self.failed = Some(Failure::new(
                    format!(
                        "answered {path} with HTTP {status} and no JSON of a beacon node, is this its REST port?"
                    ),
                    "give the URL of its REST API, 5052 mostly",
                ));
            }
        }
    }
}

pub(super) fn judge(beacons: &[BeaconSeen], all: &mut Vec<Finding>) {
    let mut findings = Findings { area: "reachability", all };
    for beacon in beacons {
        match &beacon.failed {
            Some(failed) => findings.fail(beacon.of(), &*failed.what, &*failed.remedy),
            None => findings.ok(beacon.of(), format!("answers within {} ms", beacon.took.as_millis())),
        }
    }
    findings.area = "versions";
    for beacon in beacons {
        if let Some(version) = &beacon.version {
            findings.ok(beacon.of(), &**version);
        }
    }
    findings.area = "forks";
    let mut groups: Vec<&str> = beacons.iter().map(|beacon| beacon.group.as_str()).collect();
    groups.dedup();
    for group in groups {
        let of_group: Vec<&BeaconSeen> = beacons.iter().filter(|beacon| beacon.group == group).collect();
        network(group, &of_group, &mut findings);
    }
}

fn network(group: &str, beacons: &[&BeaconSeen], findings: &mut Findings<'_>) {
    let mut agree = true;
    if let Some(usual) = most(beacons.iter().filter_map(|beacon| beacon.genesis.clone())) {
        for beacon in beacons {
            if let Some(own) = beacon.genesis.as_ref().filter(|own| **own != usual) {
                agree = false;
                let what = format!(
                    "is on another network: its genesis is {}, the others' {}",
                    short(own),
                    short(&usual)
                );
                findings.fail(beacon.of(), what, "take it off the list, or start it on the others' network");
            }
        }
    }
    let told: Vec<&&BeaconSeen> = beacons.iter().filter(|beacon| !beacon.spec.is_empty()).collect();
    let keys: std::collections::BTreeSet<&String> =
        told.iter().flat_map(|beacon| beacon.spec.keys()).collect();
    for key in keys {
        let Some(usual) = most(told.iter().filter_map(|beacon| beacon.spec.get(key))) else { continue };
        for beacon in &told {
            let what = match beacon.spec.get(key) {
                Some(own) if own == usual => continue,
                Some(own) => format!("its {key} is {own}, the others' is {usual}"),
                None => format!("knows no {key}, the others' is {usual}"),
            };
            agree = false;
            findings.fail(beacon.of(), what, "update it, or give it the others' network configuration");
        }
    }
    if agree && told.len() > 1 {
        findings.ok(group, format!("{} beacon nodes have one genesis and the same forks", told.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Weight::{self, Fail, Ok};
    use super::*;

    fn beacon(name: &str, genesis: &str, spec: &[(&str, &str)]) -> BeaconSeen {
        let spec = spec.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        BeaconSeen {
            group: "beacon".to_owned(),
            name: name.to_owned(),
            genesis: Some(genesis.to_owned()),
            spec,
            ..BeaconSeen::default()
        }
    }

    fn told(area: &str, beacons: &[BeaconSeen]) -> Vec<(Weight, String)> {
        let mut all = Vec::new();
        judge(beacons, &mut all);
        let of_area = all.into_iter().filter(|it| it.area == area);
        of_area.map(|it| (it.weight, format!("{}: {}", it.of, it.what))).collect()
    }

    #[test]
    fn one_network_and_the_same_forks() {
        let (a, b) = ("0xaaaaaaaaaaaa", "0xbbbbbbbbbbbb");
        let fulu = [("FULU_FORK_EPOCH", "50"), ("DEPOSIT_CHAIN_ID", "1")];
        let text = |parts: &[(Weight, &str)]| -> Vec<_> {
            parts.iter().map(|(weight, what)| (*weight, (*what).to_owned())).collect()
        };
        assert_eq!(
            told("forks", &[beacon("b1", a, &fulu), beacon("b2", a, &fulu)]),
            text(&[(Ok, "beacon: 2 beacon nodes have one genesis and the same forks")])
        );
        assert_eq!(
            told(
                "forks",
                &[
                    beacon("b1", a, &fulu),
                    beacon("b2", a, &fulu[1..]),
                    beacon("b3", b, &[("FULU_FORK_EPOCH", "60"), fulu[1]])
                ]
            ),
            text(&[
                (
                    Fail,
                    "beacon b3: is on another network: its genesis is 0xbbbbbbbb…, the others' 0xaaaaaaaa…"
                ),
                (Fail, "beacon b2: knows no FULU_FORK_EPOCH, the others' is 50"),
                (Fail, "beacon b3: its FULU_FORK_EPOCH is 60, the others' is 50"),
            ])
        );
        assert_eq!(told("forks", &[beacon("b1", a, &[])]), []);
    }

    #[test]
    fn answers_are_read() {
        let (version, spec) = (VERSION, "/eth/v1/config/spec");
        let mut seen = BeaconSeen::default();
        seen.take(version, 200, br#"{"data":{"version":"Lighthouse/v7\u001b[2J"}}"#);
        seen.take("/eth/v1/beacon/genesis", 404, b"{}");
        seen.take(
            spec,
            200,
            br#"{"data":{"FULU_FORK_EPOCH":"7","SECONDS_PER_SLOT":"12","BLOB_SCHEDULE":[]}}"#,
        );
        assert_eq!(seen.version.as_deref(), Some("Lighthouse/v7[2J"));
        assert_eq!(
            seen.spec.into_iter().collect::<Vec<_>>(),
            [("FULU_FORK_EPOCH".to_owned(), "7".to_owned())]
        );
        assert_eq!(seen.failed, None);
        for (status, body, what) in [
            (401, "", "refuses us"),
            (404, "", "REST port"),
            (200, "<html>", "REST port"),
            (503, "{}", "REST port"),
        ] {
            let mut seen = BeaconSeen::default();
            seen.take(version, status, body.as_bytes());
            assert!(
                seen.failed.as_ref().is_some_and(|failed| failed.what.contains(what)),
                "{status}: {seen:?}"
            );
        }
    }
}
