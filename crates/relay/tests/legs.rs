//! The role between simulated nodes: who is heard outside when nodes agree, part, die, freeze, and come back.
#![allow(unreachable_pub, clippy::unwrap_used)]

#[path = "legs/bed.rs"]
mod bed;
#[path = "legs/catalogue.rs"]
mod catalogue;
#[path = "legs/claims.rs"]
mod claims;
#[path = "legs/connections.rs"]
mod connections;
#[path = "common/greeting.rs"]
mod greeting;
#[path = "legs/inward.rs"]
mod inward;
#[path = "../../../tests/metrics.rs"]
mod metrics;
#[path = "legs/votes.rs"]
mod votes;

use bed::*;
use mainstay_antelope::Slot;
use mainstay_relay::claims::MemoryClaims;

#[tokio::test]
async fn nodes_of_one_mind_have_one_public_block_a_slot() {
    let c = sentry("c").await;
    let bed = relay(&[&c], "").await;
    let (a, b) = bed.producing(&c).await;
    let first = round();
    for slot in first..first + 12 {
        produce(&[&a, &b], slot, 0);
    }
    c.until("the round", |it| it.head() == a.head()).await;
    assert_one_each(&[&c], first..first + 12);
    let sum = |verdict| bed.verdicts("a", verdict) + bed.verdicts("b", verdict);
    bed.until("all decided", |_| sum("win") + sum("same") == 24.0).await;
    assert_eq!(sum("win"), 12.0, "{}", bed.page());
}

#[tokio::test]
async fn when_they_part_one_stays_public_and_the_other_comes_back_for_the_next_round() {
    let c = sentry("c").await;
    let bed = relay(&[&c], "").await;
    let (a, b) = bed.producing(&c).await;
    let first = round();
    for slot in first..first + 4 {
        produce(&[&a, &b], slot, 0);
    }
    for slot in first + 4..first + 12 {
        produce(&[&a], slot, 0);
        c.until("the winner's", |it| it.head() == a.head()).await;
        produce(&[&b], slot, 1);
    }
    bed.until("the loser's are decided about", |it| {
        it.verdicts("b", "lost") + it.verdicts("b", "tainted") == 8.0
    })
    .await;
    assert_eq!((bed.verdicts("b", "lost"), bed.verdicts("a", "win") + bed.verdicts("b", "win")), (1.0, 12.0));

    // The next producer's blocks don't link for the loser, which says so, is asked for its branch, and resends it.
    for node in [&a, &b] {
        node.chain(|chain| chain.set_producing(false));
    }
    c.produce(theirs(), Slot(first + 12), 0);
    bed.until("the branch is sent again", |it| it.verdicts("b", "tainted") >= 14.0).await;
    assert_one_each(&[&c], first..first + 12);
    a.until("the next producer's", |it| it.head() == c.head()).await;

    b.chain(mainstay_sim::nodeos::Chain::recover);
    c.produce(theirs(), Slot(first + 13), 0);
    b.until("the public chain", |it| it.head() == c.head()).await;
    a.until("the public chain", |it| it.head() == c.head()).await;
    for slot in first + 24..first + 36 {
        produce(&[&b, &a], slot, 0);
    }
    c.until("the next round", |it| it.head() == b.head()).await;
    let public = public(&[&c]);
    assert!(public.values().all(|ids| ids.len() == 1), "{public:?}");
    assert_eq!(public.range(first + 24..).count(), 12);
}

#[tokio::test]
async fn a_node_that_dies_in_a_round_costs_no_slot() {
    let c = sentry("c").await;
    let bed = relay(&[&c], "").await;
    let (a, b) = bed.producing(&c).await;
    let first = round();
    for slot in first..first + 4 {
        produce(&[&a, &b], slot, 0);
    }
    drop(a);
    for slot in first + 4..first + 12 {
        produce(&[&b], slot, 0);
    }
    c.until("the round", |it| it.head() == b.head()).await;
    assert_one_each(&[&c], first..first + 12);
    bed.until("one leg is gone", |it| it.count("legs", &[]) == 1.0).await;
}

#[tokio::test]
async fn a_node_that_freezes_costs_no_slot_and_what_it_makes_later_stays_inside() {
    let c = sentry("c").await;
    let bed = relay(&[&c], "").await;
    let (a, b) = bed.producing(&c).await;
    let first = round();
    for slot in first..first + 4 {
        produce(&[&a, &b], slot, 0);
    }
    c.until("the first blocks", |it| it.head() == b.head()).await;
    a.freeze(true);
    for slot in first + 4..first + 12 {
        produce(&[&b], slot, 0);
    }
    c.until("the round", |it| it.head() == b.head()).await;
    a.freeze(false);
    // On its old head, for slots that are another's, and for a later one.
    produce(&[&a], first + 5, 7);
    produce(&[&a], first + 13, 7);
    bed.until("they are decided about", |it| it.verdicts("a", "lost") + it.verdicts("a", "tainted") == 2.0)
        .await;
    assert_one_each(&[&c], first..first + 12);
    assert_eq!(c.head(), b.head());
}

#[tokio::test]
async fn an_outer_peer_that_is_lost_is_replaced() {
    let c = sentry("c").await;
    let d = sentry("d").await;
    let bed = relay(&[&c, &d], "").await;
    let (a, b) = (bed.node("a").await, bed.node("b").await);
    assert_eq!((c.peers(), d.peers()), (1, 1));
    let first = round();
    produce(&[&a, &b], first, 0);
    for outer in [&c, &d] {
        outer.until("the first block", |it| it.head() == a.head()).await;
    }
    drop(c);
    d.until("both", |it| it.peers() == 2).await;
    bed.joined("a").await;
    assert_eq!(a.farewells(), 0);
    produce(&[&a], first + 1, 0);
    d.until("what it makes", |it| it.head() == a.head()).await;
    assert_one_each(&[&d], first..first + 2);
}

#[tokio::test]
async fn an_outer_peer_that_hangs_delays_no_other_leg_and_loses_its_own() {
    let c = sentry("c").await;
    let d = sentry("d").await;
    let bed = relay(&[&c, &d], "silence_timeout = \"1s\"\nouter_lag = 0").await;
    let (a, b) = (bed.node("a").await, bed.node("b").await);
    let first = round();
    c.freeze(true);
    for slot in first..first + 12 {
        produce(&[&a, &b], slot, 0);
    }
    d.until("the round, by the other leg", |it| it.head() == b.head()).await;
    assert_one_each(&[&d], first..first + 12);
    // The node whose outer peer hangs gets the other one.
    d.until("both", |it| it.peers() == 2).await;
    assert!(bed.count("legs_ended_total", &["side=\"outer\"", "why=\"silent\""]) >= 1.0, "{}", bed.page());
}

/// What was let out before is known of the outer peers, whose heads come first.
#[tokio::test]
async fn after_a_restart_slots_that_were_filled_stay_one_blocks() {
    let c = sentry("c").await;
    let bed = relay(&[&c], "").await;
    let (a, b) = bed.producing(&c).await;
    let first = round();
    produce(&[&a, &b], first, 0);
    produce(&[&a, &b], first + 1, 0);
    c.until("the first blocks", |it| it.head() == a.head()).await;
    let at = bed.address;
    bed.end().await;

    let plan = Plan { at, claims: std::sync::Arc::new(MemoryClaims::default()), ..Plan::new(&[&c], "") };
    let bed = plan.start().await;
    bed.joined("a").await;
    bed.joined("b").await;
    // One that parted while nobody was looking, at a place that is taken.
    b.chain(|chain| {
        *chain = mainstay_sim::nodeos::Chain::new(mainstay_sim::nodeos::NodeosConfig::new("b").genesis)
    });
    b.produce(theirs(), Slot(first - 1), 0);
    produce(&[&b], first, 5);
    produce(&[&b], first + 1, 5);
    produce(&[&a], first + 2, 0);
    c.until("what follows", |it| it.head() == a.head()).await;
    bed.until("the other's are decided about", |it| {
        it.verdicts("b", "lost") + it.verdicts("b", "tainted") >= 2.0
    })
    .await;
    assert_one_each(&[&c], first..first + 3);
}

/// The clock stands, so a block that waits for a better node's does so until that is there.
#[tokio::test]
async fn a_better_node_has_the_round_and_an_operator_may_prefer_another() {
    let settings =
        "[[relay.node]]\nname = \"a\"\nagent = \"a\"\n[[relay.node]]\nname = \"b\"\nagent = \"b\"\nrank = 1";
    let c = sentry("c").await;
    let bed = Plan { wall: standing, ..Plan::new(&[&c], settings) }.start().await;
    let (a, b) = bed.producing(&c).await;
    let first = STANDING - 14;
    produce(&[&b], first, 1);
    b.say(&mainstay_sim::nodeos::whole(&mainstay_antelope::Message::SyncRequest(
        mainstay_antelope::SyncRequest { start: 7, end: 0 },
    )));
    produce(&[&a], first, 0);
    c.until("the better node's", |it| it.head() == a.head()).await;
    bed.until("the other's is decided about", |it| it.verdicts("b", "lost") == 1.0).await;
    // What was sent after the block that waited came after it.
    c.until("the rest", |it| {
        it.received().iter().any(|frame| frame.kind() == mainstay_antelope::Kind::SyncRequest)
    })
    .await;

    for node in [&a, &b] {
        node.chain(mainstay_sim::nodeos::Chain::recover);
    }
    c.produce(theirs(), Slot(first + 1), 0);
    for node in [&a, &b] {
        node.until("the public chain", |it| it.head() == c.head()).await;
        node.chain(|chain| chain.set_producing(true));
    }
    bed.handle.prefer(Some("b")).unwrap();
    produce(&[&a], first + 12, 3);
    produce(&[&b], first + 12, 4);
    c.until("the preferred node's", |it| it.head() == b.head()).await;
    bed.until("the other's is decided about", |it| it.verdicts("a", "lost") == 1.0).await;
    assert!(bed.handle.prefer(Some("nobody")).is_err());
}

/// A node that says all at once what comes before its block, the block, and what follows.
#[tokio::test]
async fn a_block_that_waits_holds_up_what_follows_it_and_nothing_else() {
    use mainstay_antelope::{Id, Kind, Message, SyncRequest, Version};
    use mainstay_sim::nodeos::{block, whole};
    use tokio::io::AsyncWriteExt as _;

    let settings = "[[relay.node]]\nname = \"a\"\nagent = \"a\"\n[[relay.node]]\nname = \"b\"\nagent = \"test\"\nrank = 1";
    let c = sentry("c").await;
    let bed = Plan { wall: standing, ..Plan::new(&[&c], settings) }.start().await;
    let a = bed.node("a").await;
    a.until("what was before", |it| it.head() == c.head()).await;
    let asks = |start| whole(&Message::SyncRequest(SyncRequest { start, end: 0 }));
    let starts = |c: &mainstay_sim::nodeos::Nodeos| -> Vec<u32> {
        let frames = c.received();
        let asked = frames.iter().filter(|frame| frame.kind() == Kind::SyncRequest);
        asked
            .map(|frame| match frame.message() {
                Ok(Message::SyncRequest(request)) => request.start,
                _ => 0,
            })
            .collect()
    };
    let mut raw = tokio::net::TcpStream::connect(bed.address).await.unwrap();
    let genesis = mainstay_sim::nodeos::NodeosConfig::new("b").genesis;
    let hello = greeting::greeting(Version::LEAP_INITIAL, genesis, Id(genesis.0)).frame().unwrap();
    raw.write_all(hello.bytes()).await.unwrap();
    bed.joined("b").await;
    let waits = block(ours(), Slot(STANDING - 14), c.head(), 1);
    let all = [asks(1), waits, asks(2)].iter().flat_map(|frame| frame.bytes().to_vec()).collect::<Vec<u8>>();
    raw.write_all(&all).await.unwrap();
    c.until("what came before", |it| starts(it) == [1]).await;
    produce(&[&a], STANDING - 14, 0);
    c.until("what came after", |it| starts(it) == [1, 2]).await;
    assert_eq!((bed.verdicts("b", "lost"), c.head()), (1.0, a.head()));
}
