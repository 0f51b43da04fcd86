//! eth_chainId: calls per second, latency, and what each costs the proxy.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::Result;
use crate::http::post;
use crate::load::{Calls, Clients, Until};
use crate::machine::{cpu_time, pin};
use crate::options::Options;
use crate::proxy::{Bench, Proxy, Way};

/// Connections at once.
pub(crate) const CONNECTIONS: [usize; 3] = [1, 16, 128];
const WARM_UP: Duration = Duration::from_millis(200);

/// Where processes may run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// The proxy on one core; clients and node on the others, where they never sleep: else a proxy would pay for waking
    /// them, the more often the slower it is.
    OneCore,
    /// Wherever the system puts them, as they are started by default.
    Anywhere,
}

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

struct ChainId(Vec<u8>);

impl Calls for ChainId {
    fn next(&mut self) -> &[u8] {
        &self.0
    }

    fn answer(&self) -> &'static str {
        "\"0x1\""
    }
}

/// Every round measures each way at each number of connections.
pub(crate) async fn measure(bench: &Bench, options: &Options, cores: usize) -> Result<Vec<Series>> {
    let mut all = Vec::new();
    let harness = std::process::id();
    if cores > 1 && pin(harness, &format!("1-{}", cores - 1)).is_ok() {
        all.append(&mut at(bench, options, Place::OneCore, Some("0")).await?);
        pin(harness, &format!("0-{}", cores - 1))?;
    } else {
        eprintln!("bench: processes can't be pinned to cores here: those tables are left out");
    }
    all.append(&mut at(bench, options, Place::Anywhere, None).await?);
    Ok(all)
}

/// Keeps this thread from sleeping until it is dropped.
struct Awake(JoinHandle<()>);

impl Awake {
    fn keep() -> Self {
        Self(tokio::spawn(async {
            loop {
                tokio::task::yield_now().await;
            }
        }))
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn at(bench: &Bench, options: &Options, place: Place, core: Option<&str>) -> Result<Vec<Series>> {
    let _awake = (place == Place::OneCore).then(Awake::keep);
    let mut proxies = Vec::new();
    for way in bench.ways() {
        proxies.push((way, bench.start(way, core).await?));
    }
    let mut all = Vec::new();
    for connections in CONNECTIONS {
        let mut series: Vec<Series> = proxies
            .iter()
            .map(|(way, _)| Series { place, connections, way: *way, rounds: Vec::new() })
            .collect();
        for _ in 0..options.rounds {
            for ((_, proxy), series) in proxies.iter().zip(&mut series) {
                series.rounds.push(round(bench, options, proxy, connections).await?);
            }
        }
        all.append(&mut series);
    }
    Ok(all)
}

async fn round(bench: &Bench, options: &Options, proxy: &Proxy, connections: usize) -> Result<Round> {
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":[]}"#;
    let request = post(&proxy.address.to_string(), &bench.token(), body);
    let calls = |_| -> Box<dyn Calls> { Box::new(ChainId(request.clone())) };
    let mut clients = Clients::connect(proxy.address, connections, calls).await?;
    clients.run(Until::Time(Instant::now() + WARM_UP)).await?;
    let used = || proxy.pid().map(cpu_time).transpose();
    let before = used()?;
    let outcome = clients.run(Until::Time(Instant::now() + options.slice)).await?;
    let cpu = before.zip(used()?).map(|(before, after)| after.saturating_sub(before));
    let latencies = &outcome.latencies;
    Ok(Round {
        per_second: outcome.per_second(),
        p50: latencies.percentile(0.5),
        p99: latencies.percentile(0.99),
        cpu: cpu.map(|cpu| cpu.as_secs_f64() * 1e6 / latencies.count() as f64),
    })
}
