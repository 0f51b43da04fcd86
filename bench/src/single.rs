//! Calls that one node answers: how many a second, how long they take, and what each costs the proxy.

use std::time::Duration;

use tokio::time::Instant;

use crate::Result;
use crate::http::request;
use crate::load::{Calls, Clients, Until};
use crate::machine::cpu_time;
use crate::options::Options;
use crate::place::{Place, on_each};
use crate::proxy::{Bench, Proxy, Way};

/// Connections at once.
pub(crate) const CONNECTIONS: [usize; 3] = [1, 16, 128];
const WARM_UP: Duration = Duration::from_millis(200);
/// One measurement.
#[derive(Clone, Copy)]
pub(crate) struct Round {
    pub(crate) per_second: f64,
    /// Milliseconds.
    pub(crate) p50: f64,
    /// Milliseconds.
    pub(crate) p99: f64,
    /// CPU time of the proxy for one call, in microseconds; `None` without a proxy.
    pub(crate) cpu: Option<f64>,
}

/// All rounds of one way.
pub(crate) struct Series {
    pub(crate) place: Place,
    pub(crate) connections: usize,
    pub(crate) way: Way,
    pub(crate) rounds: Vec<Round>,
}

const JSON: &str = "content-type: application/json\r\n";
const BEACON: &[Way] = &[Way::Direct, Way::Beacon, Way::Haproxy];
const ROOT: &str = "0x4b363db94e286120d76eb905340fdd4e54bfe9f06bf33ff6cf5ad27f511bfe95";

/// What is called, and through what.
pub(crate) struct Case {
    pub(crate) ways: &'static [Way],
    /// Whether calls have a token.
    signed: bool,
    /// Method and path.
    pub(crate) what: &'static str,
    /// Header fields, each with its line end.
    fields: &'static str,
    body: String,
    /// What the reply has to contain.
    answer: &'static str,
}

impl Case {
    /// Through `engine`: a call of no size that its primary answers.
    pub(crate) fn chain_id() -> Self {
        Self {
            ways: &[Way::Direct, Way::Engine, Way::Haproxy],
            signed: true,
            what: "POST /",
            fields: JSON,
            body: r#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":[]}"#.to_owned(),
            answer: "\"0x1\"",
        }
    }

    /// Through `rpc`: a bundle to simulate, of exactly `bytes` bytes, with a small answer.
    pub(crate) fn bundle(bytes: usize) -> Self {
        let body = |transaction: &str| {
            format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"eth_callBundle","params":[{{"txs":["0x{transaction}"],"blockNumber":"0x64"}}]}}"#
            )
        };
        Self {
            ways: &[Way::Direct, Way::Rpc, Way::Haproxy, Way::HaproxyQueue, Way::Nginx],
            signed: false,
            what: "POST /",
            fields: JSON,
            body: body(&"5".repeat(bytes.saturating_sub(body("").len()))),
            answer: "\"bundleGasPrice\"",
        }
    }

    /// Through `beacon`: a question with a small answer.
    pub(crate) fn small() -> Self {
        Self {
            ways: BEACON,
            signed: false,
            what: "GET /eth/v1/beacon/states/head/root",
            fields: "accept: application/json\r\n",
            body: String::new(),
            answer: "\"root\"",
        }
    }

    /// Through `beacon`: a block in SSZ.
    pub(crate) fn block() -> Self {
        Self {
            ways: BEACON,
            signed: false,
            what: "GET /eth/v2/beacon/blocks/head",
            fields: "accept: application/octet-stream\r\n",
            body: String::new(),
            answer: "",
        }
    }

    /// Through `beacon`: the attestations of so many validators.
    pub(crate) fn attestations(count: usize) -> Self {
        let one = format!(
            r#"{{"committee_index":"1","attester_index":"12345","data":{{"slot":"1","index":"0","beacon_block_root":"{ROOT}","source":{{"epoch":"0","root":"{ROOT}"}},"target":{{"epoch":"1","root":"{ROOT}"}}}},"signature":"0x{}"}}"#,
            "a5".repeat(96)
        );
        Self {
            ways: BEACON,
            signed: false,
            what: "POST /eth/v2/beacon/pool/attestations",
            fields: "content-type: application/json\r\neth-consensus-version: fulu\r\n",
            body: format!("[{}]", vec![one; count].join(",")),
            answer: "",
        }
    }

    /// How long the body of a call is.
    pub(crate) fn bytes(&self) -> usize {
        self.body.len()
    }
}

/// A case's call, as it goes out over and over.
pub(crate) struct Fixed {
    pub(crate) request: Vec<u8>,
    pub(crate) answer: &'static str,
}

impl Calls for Fixed {
    fn next(&mut self) -> &[u8] {
        &self.request
    }

    fn answer(&self) -> &'static str {
        self.answer
    }
}

/// Every round measures each way at each number of connections.
pub(crate) async fn measure(
    bench: &Bench,
    options: &Options,
    cores: usize,
    case: &Case,
) -> Result<Vec<Series>> {
    on_each(cores, async |place| at(bench, options, case, place).await).await
}

async fn at(bench: &Bench, options: &Options, case: &Case, place: Place) -> Result<Vec<Series>> {
    let (_awake, core) = place.set_up();
    let mut proxies = Vec::new();
    for way in case.ways.iter().filter(|way| bench.has(**way)) {
        proxies.push((*way, bench.start(*way, core).await?));
    }
    let mut all = Vec::new();
    for connections in CONNECTIONS {
        let mut series: Vec<Series> = proxies
            .iter()
            .map(|(way, _)| Series { place, connections, way: *way, rounds: Vec::new() })
            .collect();
        for _ in 0..place.rounds(options) {
            for ((_, proxy), series) in proxies.iter().zip(&mut series) {
                series.rounds.push(round(bench, options, case, proxy, place, connections).await?);
            }
        }
        all.append(&mut series);
    }
    Ok(all)
}

async fn round(
    bench: &Bench,
    options: &Options,
    case: &Case,
    proxy: &Proxy,
    place: Place,
    connections: usize,
) -> Result<Round> {
    let mut fields = case.fields.to_owned();
    if case.signed {
        fields.push_str(&format!("authorization: Bearer {}\r\n", bench.token()));
    }
    let request = request(case.what, &proxy.address.to_string(), &fields, &case.body);
    let calls = |_| -> Box<dyn Calls> { Box::new(Fixed { request: request.clone(), answer: case.answer }) };
    let mut clients = Clients::connect(proxy.address, connections, calls).await?;
    clients.run(Until::Time(Instant::now() + WARM_UP)).await?;
    let used = || proxy.pid().map(cpu_time).transpose();
    let before = used()?;
    let (outcome, calls) = place.run(proxy, &mut clients, options.slice).await?;
    let cpu = before.zip(used()?).map(|(before, after)| after.saturating_sub(before));
    let latencies = &outcome.latencies;
    Ok(Round {
        per_second: outcome.per_second(),
        p50: latencies.percentile(0.5),
        p99: latencies.percentile(0.99),
        cpu: cpu.map(|cpu| cpu.as_secs_f64() * 1e6 / calls as f64),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_is_json_of_exactly_the_size() {
        for bytes in [200, 120_000] {
            let body = Case::bundle(bytes).body;
            assert_eq!(body.len(), bytes);
            assert!(serde_json::from_str::<serde_json::Value>(&body).is_ok());
        }
    }

    #[test]
    fn attestations_are_json() {
        let all: serde_json::Value = serde_json::from_str(&Case::attestations(64).body).unwrap();
        assert_eq!(all.as_array().unwrap().len(), 64);
    }
}
