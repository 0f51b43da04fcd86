//! What goes wrong between a relay and a store, whichever it is.
#![allow(unreachable_pub)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use mainstay_antelope::Id;
use mainstay_relay::claims::{Answer, Bid, Claims, open};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::LONG;
use crate::contract::{PRODUCER, bid, chain, id};
use crate::servers::{eventually, within};
use crate::stores::proxy::{Mode, Proxy};

/// For claims that aren't to be answered. Longer than a relay waits, as machines of tests are busy.
pub const SHORT: Duration = Duration::from_millis(150);

/// Claims by `redis` or `etcd` at a port of loopback.
pub fn at(scheme: &str, port: u16, timeout: Duration) -> Arc<dyn Claims> {
    open(&format!("{scheme}://127.0.0.1:{port}"), timeout).unwrap()
}

/// Asks, so that it is known whether a block has its slot.
pub async fn has(claims: &dyn Claims, bid: Bid) -> bool {
    claims.claim(Bid { may_win: false, parent_public: true, ..bid }).await == Ok(Answer::Same)
}

pub async fn a_late_answer_may_have_been_yes_and_the_same_block_is_told_so(scheme: &str, port: u16) {
    let proxy = Proxy::start(port).await;
    let (claims, direct) = (at(scheme, proxy.port, SHORT), at(scheme, port, LONG));
    let first = bid(chain(), 7, id(100, 1));
    eventually(10, "a claim", async || claims.claim(first).await.is_ok()).await;

    for (slot, mode) in [(8, Mode::Delay(SHORT * 3)), (9, Mode::Deaf)] {
        proxy.set(mode);
        let late = bid(first.key.chain, slot, id(93 + slot, 1));
        claims.claim(late).await.unwrap_err();
        eventually(10, "it was granted", async || has(&*direct, late).await).await;
        // Nobody else gets the slot, whoever asks.
        let rival = bid(first.key.chain, slot, id(93 + slot, 2));
        assert_eq!(direct.claim(rival).await, Ok(Answer::Lost(Some(late.id))));
        proxy.set(Mode::Pass);
        let mut answer = None;
        eventually(10, "an answer", async || {
            answer = claims.claim(late).await.ok();
            answer.is_some()
        })
        .await;
        assert_eq!(answer, Some(Answer::Same));
        eventually(10, "an answer", async || claims.claim(rival).await == Ok(Answer::Lost(Some(late.id))))
            .await;
    }
}

/// A store was restarted, or its connections were cut, and nobody has asked since: the next claim finds out, and is answered all the same.
pub async fn connections_that_have_died_unnoticed_cost_no_claim(scheme: &str, port: u16) {
    let proxy = Proxy::start(port).await;
    let claims = at(scheme, proxy.port, LONG);
    let chain = chain();
    let mut slot = 7;
    for gets_there in [false, true] {
        for _ in 0..3 {
            // As many connections as a busy round leaves.
            let asking: Vec<_> = (0..4)
                .map(|mark| {
                    let claims = Arc::clone(&claims);
                    tokio::spawn(async move { claims.claim(bid(chain, slot, id(slot, mark))).await })
                })
                .collect();
            for asked in asking {
                within(10, asked).await.unwrap().unwrap();
            }
            proxy.set(Mode::Stale { gets_there });
            slot += 1;
            let next = bid(chain, slot, id(slot, 1));
            let answer = within(10, claims.claim(next)).await;
            match gets_there {
                false => assert_eq!(answer, Ok(Answer::Granted)),
                // Its first answer was lost.
                true => assert!(matches!(answer, Ok(Answer::Granted | Answer::Same)), "{answer:?}"),
            }
            proxy.set(Mode::Pass);
            slot += 1;
        }
    }
}

/// What stands at a store's address now is another machine, and the one before doesn't say farewell.
pub async fn connections_that_say_nothing_cost_a_part_of_the_time(scheme: &str, port: u16) {
    let proxy = Proxy::start(port).await;
    let claims = at(scheme, proxy.port, LONG);
    let first = bid(chain(), 7, id(100, 1));
    eventually(10, "a claim", async || claims.claim(first).await.is_ok()).await;
    proxy.set(Mode::Gone);
    let next = bid(first.key.chain, 8, id(101, 1));
    assert_eq!(within(10, claims.claim(next)).await, Ok(Answer::Granted));
}

pub async fn whoever_gives_up_sooner_spoils_nothing(scheme: &str, port: u16) {
    let proxy = Proxy::start(port).await;
    let claims = at(scheme, proxy.port, LONG);
    let first = bid(chain(), 7, id(100, 1));
    eventually(10, "a claim", async || claims.claim(first).await.is_ok()).await;
    proxy.set(Mode::Hang);
    let next = bid(first.key.chain, 8, id(101, 1));
    assert!(tokio::time::timeout(Duration::from_millis(40), claims.claim(next)).await.is_err());
    proxy.set(Mode::Pass);
    assert!(matches!(within(10, claims.claim(next)).await, Ok(Answer::Granted | Answer::Same)));
}

pub async fn it_finds_back_from_every_fault_by_itself(scheme: &str, port: u16) {
    let proxy = Proxy::start(port).await;
    let claims = at(scheme, proxy.port, SHORT);
    for mode in [Mode::Cut, Mode::Hang, Mode::Deaf, Mode::Delay(SHORT * 4), Mode::Cut] {
        let mine = bid(chain(), 7, id(100, 1));
        eventually(10, "an answer", async || claims.claim(mine).await.is_ok()).await;
        proxy.set(mode);
        let answer = within(10, claims.claim(bid(mine.key.chain, 8, id(101, 1)))).await;
        assert!(answer.is_err(), "{mode:?}: {answer:?}");
        assert!(within(10, claims.latest(mine.key.chain, PRODUCER)).await.is_err(), "{mode:?}");
        let before = proxy.accepted();
        proxy.set(Mode::Pass);
        if mode == Mode::Cut {
            // Nobody asks: it reconnects on its own.
            eventually(10, "a new connection", async || proxy.accepted() > before).await;
        }
        eventually(10, "an answer", async || claims.latest(mine.key.chain, PRODUCER).await.is_ok()).await;
    }
}

/// However often it is asked: no more than `each` connections in each pause of 50 ms or more.
pub async fn a_server_that_is_away_is_not_overrun(scheme: &str, port: u16, each: u128) {
    let proxy = Proxy::start(port).await;
    proxy.set(Mode::Cut);
    let claims = at(scheme, proxy.port, SHORT);
    let began = Instant::now();
    for slot in 0..2000 {
        within(10, claims.claim(bid(chain(), slot, id(slot, 1)))).await.unwrap_err();
    }
    // The first bids may come before it was looked at.
    let pauses = began.elapsed().as_millis() / 50 + 20;
    let connections = proxy.accepted() as u128;
    assert!(connections <= pauses * each, "{connections} connections in {pauses} pauses");
}

/// Two relays that go on bidding for the same slots, whatever comes of it.
pub struct Rivals {
    done: watch::Sender<bool>,
    /// How many bids for slots have been answered.
    answered: watch::Receiver<usize>,
    running: JoinHandle<BTreeMap<u32, BTreeSet<Id>>>,
    claims: [Arc<dyn Claims>; 2],
    chain: Id,
}

impl Rivals {
    pub fn start(claims: [Arc<dyn Claims>; 2]) -> Self {
        let (done, stop) = watch::channel(false);
        let (tell, answered) = watch::channel(0);
        let (chain, both) = (chain(), claims.clone());
        let running = tokio::spawn(async move {
            let mut told: BTreeMap<u32, BTreeSet<Id>> = BTreeMap::new();
            for slot in 1.. {
                if *stop.borrow() {
                    break;
                }
                let [one, other] = [1, 2].map(|mark| bid(chain, slot, id(slot, mark)));
                let answers = tokio::join!(both[0].claim(one), both[1].claim(other));
                for (bid, answer) in [(one, answers.0), (other, answers.1)] {
                    let winner = match answer {
                        Ok(Answer::Granted | Answer::Same) => Some(bid.id),
                        Ok(Answer::Lost(winner)) => winner,
                        Ok(Answer::Orphan) => panic!("{bid:?}"),
                        Err(_) => continue,
                    };
                    tell.send_modify(|answered| *answered += 1);
                    told.entry(slot).or_default().extend(winner);
                }
                tokio::task::yield_now().await;
            }
            told
        });
        Self { done, answered, running, claims, chain }
    }

    /// Waits until so many more bids have been answered.
    pub async fn go_on(&mut self, bids: usize) {
        let until = *self.answered.borrow() + bids;
        within(30, self.answered.wait_for(|answered| *answered >= until)).await.unwrap();
    }

    /// No slot had two winners, and both are told the same one now.
    pub async fn end(self) {
        self.done.send_replace(true);
        let told = within(10, self.running).await.unwrap();
        assert!(!told.is_empty());
        for (slot, winners) in told {
            assert!(winners.len() <= 1, "slot {slot}: {winners:?}");
            let Some(winner) = winners.first() else { continue };
            for claims in &self.claims {
                let rival = bid(self.chain, slot, id(slot, 3));
                eventually(10, "the winner", async || {
                    claims.claim(rival).await == Ok(Answer::Lost(Some(*winner)))
                })
                .await;
            }
        }
    }
}
