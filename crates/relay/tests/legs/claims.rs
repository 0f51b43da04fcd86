//! Claims that are slow, away, or not there yet.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mainstay_antelope::{Id, Name};
use mainstay_node::{Level, Operated as _};
use mainstay_relay::claims::{Answer, Bid, BoxFuture, Claims, MemoryClaims, Published, Unavailable, Uses};
use mainstay_relay::siblings::{BEAT, User};

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

    fn using(&self, uses: Uses) -> BoxFuture<'_, Result<Vec<Option<User>>, Unavailable>> {
        self.inner.using(uses)
    }
}

/// Two relays before one outer peer, which have it by names that are others on other machines: it tells its id.
#[tokio::test]
async fn an_outer_peer_that_two_relays_use_is_told() {
    let claims = Arc::new(MemoryClaims::default());
    let (c, d) = (sentry("c").await, sentry("d").await);
    let relay = async |name: &str, outer: &[&mainstay_sim::nodeos::Nodeos]| {
        let plan = Plan::new(outer, &format!("name = \"{name}\""));
        Plan { claims: claims.clone(), ..plan }.start().await
    };
    let beds = [relay("first", &[&c, &d]).await, relay("second", &[&d]).await];
    let _nodes = [beds[0].node("a").await, beds[0].node("b").await, beds[1].node("a").await];
    tokio::time::pause();
    let alarms = |bed: &Bed| bed.count("alarms_total", &["what=\"shared_outer\""]);
    beds[0].until("an alarm", |_| beds.iter().any(|bed| alarms(bed) > 0.0)).await;
    // Who has it isn't warned; which one that is depends on who was first.
    let warned = usize::from(alarms(&beds[1]) > 0.0);
    let (bed, other) = (&beds[warned], ["second on ", "first on "][warned]);
    let seen = bed.handle.snapshot();
    for outer in &seen.outer {
        let is_shared = outer.name == d.address().to_string();
        assert_eq!(outer.shared_with.starts_with(other), is_shared, "{seen:?}");
    }
    assert_eq!((seen.alarms[0].kind, seen.alarms[0].node.clone()), ("shared_outer", d.address().to_string()));
    // For as long as it is so.
    let shared = |outer: &mainstay_sim::nodeos::Nodeos| {
        bed.count("outer_shared", &[&format!("outer=\"{}\"", outer.address())])
    };
    bed.until("it is shown", |_| shared(&d) == 1.0 && shared(&c) == 0.0).await;
    assert!(bed.handle.health().1.iter().any(|reason| reason.contains("is used by another relay too")));
    assert_eq!((alarms(bed), alarms(&beds[1 - warned])), (1.0, 0.0));
}

/// The relay that comes second has two producers, of which the first one's relay has one.
#[tokio::test]
async fn an_outer_peer_is_shared_if_it_is_so_for_one_of_several_producers() {
    let claims = Arc::new(MemoryClaims::default());
    let (c, d) = (sentry("c").await, sentry("d").await);
    let first = Plan { claims: claims.clone(), ..Plan::new(&[&d], "name = \"first\"") }.start().await;
    let _node = first.node("a").await;
    // By now it stands there.
    tokio::time::pause();
    tokio::time::sleep(BEAT * 2).await;
    tokio::time::resume();
    let mut plan = Plan { claims, ..Plan::new(&[&c, &d], "name = \"second\"") };
    plan.settings = plan.settings.replace("[\"prodx\"]", "[\"proda\", \"prodx\"]");
    let bed = plan.start().await;
    let _nodes = [bed.node("a").await, bed.node("b").await];
    tokio::time::pause();
    bed.until("an alarm", |it| it.count("alarms_total", &["what=\"shared_outer\""]) > 0.0).await;
    for outer in &bed.handle.snapshot().outer {
        let is_shared = outer.name == d.address().to_string();
        assert_eq!(outer.shared_with.starts_with("first on "), is_shared, "{outer:?}");
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
    let (a, b) = bed.producing(&c).await;
    let first = round();
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
