//! newPayload to one node directly, and to all of them through mainstay.

use tokio::time::Instant;

use crate::Result;
use crate::http::post;
use crate::load::{Calls, Clients, Until};
use crate::options::Options;
use crate::proxy::{Bench, Proxy, Way};

/// Sizes of the request's body, in bytes.
pub(crate) const SIZES: [usize; 2] = [150_000, 1_500_000];
const WARM_UP: usize = 20;

/// One round: milliseconds.
#[derive(Clone, Copy)]
pub(crate) struct Round {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) count: usize,
}

/// What a size gave.
pub(crate) struct Size {
    pub(crate) bytes: usize,
    pub(crate) direct: Vec<Round>,
    pub(crate) mainstay: Vec<Round>,
}

/// newPayload calls of one chain: each has a hash of its own and the last one as its parent.
pub(crate) struct Payloads {
    request: Vec<u8>,
    hash: usize,
    parent: usize,
    number: u64,
    /// Keeps clients' chains apart.
    client: usize,
}

const HASH: &str = "0xhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh";
const PARENT: &str = "0xpppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppp";

impl Payloads {
    pub(crate) fn new(bytes: usize, host: &str, token: &str, client: usize) -> Self {
        let request = post(host, Some(token), &body(bytes));
        let find = |part: &str| {
            let found = request.windows(part.len()).position(|window| window == part.as_bytes());
            found.expect("the body has both hashes")
        };
        let (hash, parent) = (find(HASH), find(PARENT));
        Self { request, hash, parent, number: 0, client }
    }

    fn write(&mut self, at: usize, number: u64) {
        let hash = format!("0x{:016x}{number:048x}", self.client + 1);
        self.request[at..at + hash.len()].copy_from_slice(hash.as_bytes());
    }
}

impl Calls for Payloads {
    fn next(&mut self) -> &[u8] {
        self.number += 1;
        self.write(self.parent, self.number - 1);
        self.write(self.hash, self.number);
        &self.request
    }

    fn answer(&self) -> &'static str {
        "\"VALID\""
    }
}

/// A newPayloadV4 of exactly `bytes` bytes, with transactions of 400 bytes.
fn body(bytes: usize) -> String {
    let zeros = |count: usize| format!("0x{}", "00".repeat(count));
    let payload = |transactions: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"engine_newPayloadV4","params":[{{"parentHash":"{PARENT}","feeRecipient":"{}","stateRoot":"{}","receiptsRoot":"{}","logsBloom":"{}","prevRandao":"{}","blockNumber":"0x64","gasLimit":"0x3938700","gasUsed":"0x1c9c380","timestamp":"0x68000000","extraData":"0x","baseFeePerGas":"0x7","blockHash":"{HASH}","transactions":[{transactions}],"withdrawals":[],"blobGasUsed":"0x0","excessBlobGas":"0x0"}},[],"{}",[]]}}"#,
            zeros(20),
            zeros(32),
            zeros(32),
            zeros(256),
            zeros(32),
            zeros(32),
        )
    };
    let transaction = format!("\"0x02f9{}\"", "5a".repeat(398));
    let room = bytes.saturating_sub(payload("").len());
    // Each has a comma but the first; the last one is as long as it takes to come out even.
    let whole = (room / (transaction.len() + 1)).saturating_sub(1);
    let mut transactions = vec![transaction; whole].join(",");
    let left = room.saturating_sub(transactions.len() + 1);
    transactions.push_str(&format!(",\"0x{}\"", "5".repeat(left.saturating_sub(4))));
    payload(&transactions)
}

/// Every round measures each size both ways, one connection each.
pub(crate) async fn measure(bench: &Bench, options: &Options) -> Result<Vec<Size>> {
    let direct = bench.start(Way::Direct, None).await?;
    let mainstay = bench.start(Way::Engine, None).await?;
    let mut sizes = Vec::new();
    for bytes in SIZES {
        let mut size = Size { bytes, direct: Vec::new(), mainstay: Vec::new() };
        for _ in 0..options.rounds {
            size.direct.push(round(bench, options, &direct, bytes).await?);
            size.mainstay.push(round(bench, options, &mainstay, bytes).await?);
        }
        sizes.push(size);
    }
    Ok(sizes)
}

async fn round(bench: &Bench, options: &Options, way: &Proxy, bytes: usize) -> Result<Round> {
    let (host, token) = (way.address.to_string(), bench.token());
    let calls = |client| -> Box<dyn Calls> { Box::new(Payloads::new(bytes, &host, &token, client)) };
    let mut clients = Clients::connect(way.address, 1, calls).await?;
    clients.run(Until::Count(WARM_UP)).await?;
    let outcome = clients.run(Until::Time(Instant::now() + options.slice)).await?;
    let latencies = outcome.latencies;
    Ok(Round { p50: latencies.percentile(0.5), p99: latencies.percentile(0.99), count: latencies.count() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_json_of_exactly_the_size() {
        for bytes in SIZES {
            let body = body(bytes);
            assert_eq!(body.len(), bytes);
            assert!(serde_json::from_str::<serde_json::Value>(&body).is_ok());
        }
    }

    #[test]
    fn every_payload_is_the_child_of_the_one_before() {
        let mut payloads = Payloads::new(SIZES[0], "127.0.0.1:1", "token", 2);
        let mut part = |name: &str| {
            let request = String::from_utf8_lossy(payloads.next()).into_owned();
            let at = request.find(&format!("\"{name}\":")).unwrap_or_default() + name.len() + 4;
            request[at..at + 66].to_owned()
        };
        let first = part("blockHash");
        assert_eq!(part("parentHash"), first);
    }
}
