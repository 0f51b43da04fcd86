//! Claims that are slow, away, or not there yet.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mainstay_antelope::{Id, Name};
use mainstay_node::{Level, Operated as _};
use mainstay_relay::claims::{Answer, Bid, BoxFuture, Claims, MemoryClaims, Published, Unavailable};

use crate::bed::*;

/// Claims that never answer while they are told not to.
#[derive(Default)]
struct Away {
    inner: MemoryClaims,
    bids: AtomicBool,
    latest: AtomicBool,
}

impl Claims for Away {
    fn claim(&self, bid: Bid) -> BoxFuture<'_, Result<Answer, Unavailable>> {
        if self.bids.load(Ordering::SeqCst) {
            return Box::pin(std::future::pending());
        }
        self.inner.claim(bid)
    }

    fn latest(&self, chain: Id, producer: Name) -> BoxFuture<'_, Result<Option<Published>, Unavailable>> {
        if self.latest.load(Ordering::SeqCst) {
            return Box::pin(std::future::ready(Err(Unavailable("away".to_owned()))));
        }
        self.inner.latest(chain, producer)
    }
}

#[tokio::test]
async fn without_an_answer_nothing_goes_out() {
    let claims = Arc::new(Away::default());
    let c = sentry("c").await;
    let bed = Plan { claims: claims.clone(), ..Plan::new(&[&c], "") }.start().await;
    let a = bed.node("a").await;
    let first = round();
    a.until("what was before", |it| it.head() == c.head()).await;
    claims.bids.store(true, Ordering::SeqCst);
    produce(&[&a], first, 0);
    bed.until("no answer", |it| it.verdicts("a", "closed") == 1.0).await;
    assert!(bed.count("alarms_total", &["what=\"closed\""]) >= 1.0, "{}", bed.page());
    assert!(bed.count("claims_total", &["what=\"unavailable\""]) >= 1.0, "{}", bed.page());
    claims.bids.store(false, Ordering::SeqCst);
    // Its parent hasn't gone out, so the node has to be asked for it first.
    produce(&[&a], first + 1, 0);
    bed.until("no parent", |it| it.verdicts("a", "tainted") >= 1.0).await;
    a.greet();
    c.until("both, as it was asked for", |it| it.head() == a.head()).await;
    assert_one_each(&[&c], first..first + 2);
}

#[tokio::test]
async fn blocks_go_out_without_an_answer_where_that_is_wanted() {
    let claims = Arc::new(Away::default());
    let c = sentry("c").await;
    let bed = Plan { claims: claims.clone(), ..Plan::new(&[&c], "fail_open = true") }.start().await;
    let (a, b) = (bed.node("a").await, bed.node("b").await);
    let first = round();
    for node in [&a, &b] {
        node.until("what was before", |it| it.head() == c.head()).await;
        node.chain(|chain| chain.set_producing(true));
    }
    claims.bids.store(true, Ordering::SeqCst);
    produce(&[&a], first, 0);
    c.until("the block", |it| it.head() == a.head()).await;
    produce(&[&b], first, 1);
    bed.until("the other's", |it| it.verdicts("b", "lost") == 1.0).await;
    assert_one_each(&[&c], first..first + 1);
    assert_eq!((bed.verdicts("a", "open"), bed.count("alarms_total", &["what=\"open\""])), (1.0, 1.0));
}

#[tokio::test]
async fn nothing_is_claimed_before_the_last_published_is_known() {
    let claims = Arc::new(Away::default());
    claims.latest.store(true, Ordering::SeqCst);
    let c = sentry("c").await;
    let bed = Plan { claims: claims.clone(), ..Plan::new(&[&c], "") }.start().await;
    let a = bed.node("a").await;
    let first = round();
    a.until("what was before", |it| it.head() == c.head()).await;
    assert_eq!(bed.handle.health().0, Level::Down);
    produce(&[&a], first, 0);
    bed.until("no answer", |it| it.verdicts("a", "closed") == 1.0).await;
    claims.latest.store(false, Ordering::SeqCst);
    bed.until("it is known", |it| it.handle.health().0 == Level::Degraded).await;
    a.greet();
    c.until("the block, as it was asked for", |it| it.head() == a.head()).await;
}
