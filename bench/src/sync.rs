//! What `mainstay sync` passes on to two execution clients (EL), against one EL called directly; and what it is to the consensus
//! client that one of the two hangs.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::Result;
use crate::el;
use crate::fan_out::Payloads;
use crate::http::post;
use crate::load::{Calls, Clients, Until};
use crate::options::Options;
use crate::place::{Place, on_each};
use crate::proxy::{Bench, Proxy};
use crate::single::{CONNECTIONS, Fixed};

/// Bytes of a forkchoiceUpdated and of a newPayload.
pub(crate) const SIZES: [usize; 2] = [354, 120_000];
/// How long a node takes where what a hung one does is judged: less than a real one, but long enough for the proxy to have sent all that it sends.
pub(crate) const TAKES: Duration = Duration::from_micros(200);
const WARM_UP: Duration = Duration::from_millis(300);
const HASH: &str = "0x1111111111111111111111111111111111111111111111111111111111111111";

/// What is called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Call {
    /// forkchoiceUpdated, over and over to the same head, as a CL does within a slot.
    Head,
    /// newPayload, each of another block.
    Payload,
}

impl Call {
    pub(crate) const ALL: [Self; 2] = [Self::Head, Self::Payload];

    /// Its request's bytes.
    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::Head => SIZES[0],
            Self::Payload => SIZES[1],
        }
    }
}

/// Who answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Path {
    /// One EL.
    Direct,
    /// mainstay with two ELs.
    Two,
    /// mainstay with two ELs, one of which takes calls and never answers.
    OneHangs,
    /// mainstay with one EL and no other.
    One,
}

impl Path {
    pub(crate) const ALL: [Self; 4] = [Self::Direct, Self::Two, Self::OneHangs, Self::One];
}

/// One measurement.
#[derive(Clone, Copy)]
pub(crate) struct Round {
    pub(crate) per_second: f64,
    /// Milliseconds.
    pub(crate) p50: f64,
    /// Milliseconds.
    pub(crate) p99: f64,
}

/// All rounds of one kind of call at one number of connections.
pub(crate) struct Series {
    pub(crate) place: Place,
    pub(crate) call: Call,
    pub(crate) connections: usize,
    pub(crate) path: Path,
    pub(crate) rounds: Vec<Round>,
}

/// Every round measures all paths, one after the other.
pub(crate) async fn measure(bench: &Bench, options: &Options, cores: usize) -> Result<Vec<Series>> {
    on_each(cores, async |place| {
        let nodes = match place {
            // On the clients' own thread, which is then the only one that has to stay awake.
            Place::OneCore => [el::start_slow(TAKES).await?, el::start_slow(TAKES).await?],
            Place::Anywhere => el::start(2)?.try_into().map_err(|_| "two nodes")?,
        };
        at(bench, options, place, nodes).await
    })
    .await
}

async fn at(bench: &Bench, options: &Options, place: Place, nodes: [SocketAddr; 2]) -> Result<Vec<Series>> {
    let hung = hang().await?;
    let (_awake, core) = place.set_up();
    let mut found = Vec::new();
    for call in Call::ALL {
        for connections in CONNECTIONS {
            let mut series =
                Path::ALL.map(|path| Series { place, call, connections, path, rounds: Vec::new() });
            for _ in 0..place.rounds(options) {
                for one in &mut series {
                    let proxy = match one.path {
                        Path::Direct => Proxy::none(nodes[0]),
                        Path::Two => bench.sync(&nodes, core).await?,
                        Path::OneHangs => bench.sync(&[nodes[0], hung], core).await?,
                        Path::One => bench.sync(&nodes[..1], core).await?,
                    };
                    one.rounds.push(round(bench, options, &proxy, place, call, connections).await?);
                }
            }
            found.extend(series);
        }
    }
    Ok(found)
}

async fn round(
    bench: &Bench,
    options: &Options,
    proxy: &Proxy,
    place: Place,
    call: Call,
    connections: usize,
) -> Result<Round> {
    let (host, token) = (proxy.address.to_string(), bench.token());
    let calls = |client| -> Box<dyn Calls> {
        match call {
            Call::Head => {
                Box::new(Fixed { request: post(&host, Some(&token), &head()), answer: "\"VALID\"" })
            }
            Call::Payload => Box::new(Payloads::new(SIZES[1], &host, &token, client)),
        }
    };
    let mut clients = Clients::connect(proxy.address, connections, calls).await?;
    clients.run(Until::Time(Instant::now() + WARM_UP)).await?;
    let (outcome, _) = place.run(proxy, &mut clients, options.slice).await?;
    let latencies = &outcome.latencies;
    Ok(Round {
        per_second: outcome.per_second(),
        p50: latencies.percentile(0.5),
        p99: latencies.percentile(0.99),
    })
}

/// A forkchoiceUpdated of exactly its bytes.
fn head() -> String {
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"engine_forkchoiceUpdatedV3","params":[{{"headBlockHash":"{HASH}","safeBlockHash":"{HASH}","finalizedBlockHash":"{HASH}"}},null]}}"#
    );
    format!("{body:<width$}", width = SIZES[0])
}

/// An EL that takes connections and calls, and answers nothing.
async fn hang() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_json_of_exactly_the_size() {
        assert_eq!(head().len(), SIZES[0]);
        assert!(serde_json::from_str::<serde_json::Value>(&head()).is_ok());
    }
}
