//! Who keeps the claims of the two relays: memory, or a real store that each of them reaches through a proxy that is cut.
#![allow(unreachable_pub, clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use mainstay_antelope::Id;
use mainstay_relay::claims::{Answer, Bid, Claims, Key, MemoryClaims, Published, open};
use tokio::runtime::Runtime;

use crate::common::{CHAIN, OURS};
use crate::servers::{eventually, within};
use crate::stores::proxy::{Mode, Proxy};

/// For an answer that comes.
const LONG: Duration = Duration::from_secs(5);

pub trait Keeper {
    /// What comes of a relay's bid; `None`: it can't ask.
    fn bid(&mut self, relay: usize, bid: &Bid) -> Option<Answer>;

    /// What was published last.
    fn latest(&mut self) -> Option<Published>;

    /// A relay can ask from now on, or it can't.
    fn reach(&mut self, relay: usize, there: bool);
}

/// In memory.
#[derive(Default)]
pub struct Memory {
    claims: MemoryClaims,
    away: [bool; 2],
}

impl Keeper for Memory {
    fn bid(&mut self, relay: usize, bid: &Bid) -> Option<Answer> {
        (!self.away[relay]).then(|| self.claims.bid(bid))
    }

    fn latest(&mut self) -> Option<Published> {
        // It is there at once.
        let mut asked = self.claims.latest(CHAIN, OURS);
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match asked.as_mut().poll(&mut context) {
            std::task::Poll::Ready(latest) => latest.unwrap(),
            std::task::Poll::Pending => panic!("memory took its time"),
        }
    }

    fn reach(&mut self, relay: usize, there: bool) {
        self.away[relay] = !there;
    }
}

/// In a real store. What it answers is compared with what memory says.
pub struct Shared {
    runtime: Arc<Runtime>,
    proxies: [Proxy; 2],
    claims: [Arc<dyn Claims>; 2],
    direct: Arc<dyn Claims>,
    model: Memory,
    /// Nobody else's.
    chain: Id,
}

impl Shared {
    /// A store at a port of loopback that a `redis` or `etcd` URL leads to.
    pub fn new(runtime: &Arc<Runtime>, scheme: &str, port: u16, chain: Id) -> Self {
        runtime.block_on(async {
            let proxies = [Proxy::start(port).await, Proxy::start(port).await];
            let at = |port| open(&format!("{scheme}://127.0.0.1:{port}"), LONG).unwrap();
            Self {
                claims: proxies.each_ref().map(|proxy| at(proxy.port)),
                direct: at(port),
                proxies,
                runtime: Arc::clone(runtime),
                model: Memory::default(),
                chain,
            }
        })
    }
}

impl Keeper for Shared {
    fn bid(&mut self, relay: usize, bid: &Bid) -> Option<Answer> {
        let asked = Bid { key: Key { chain: self.chain, ..bid.key }, ..*bid };
        let answer = self.runtime.block_on(within(10, self.claims[relay].claim(asked)));
        let expected = self.model.bid(relay, bid);
        assert_eq!(answer.as_ref().ok(), expected.as_ref(), "{bid:?} {answer:?}");
        expected
    }

    fn latest(&mut self) -> Option<Published> {
        let latest = self.runtime.block_on(within(10, self.direct.latest(self.chain, OURS))).unwrap();
        assert_eq!(latest, self.model.latest());
        latest
    }

    fn reach(&mut self, relay: usize, there: bool) {
        let proxy = &self.proxies[relay];
        if there {
            proxy.set(Mode::Pass);
        } else {
            self.runtime.block_on(within(20, proxy.cut()));
        }
        let claims = Arc::clone(&self.claims[relay]);
        let chain = self.chain;
        // So that what is under way doesn't depend on who is quicker.
        self.runtime.block_on(eventually(20, "the link as it is to be", async || {
            claims.latest(chain, OURS).await.is_ok() == there
        }));
        self.model.reach(relay, there);
    }
}
