//! Who may connect, and how connections end.

use std::time::Duration;

use mainstay_antelope::{GoAway, Id, Kind, Message, Reason};
use mainstay_node::Operated as _;
use mainstay_sim::nodeos::{Nodeos, NodeosConfig, whole};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::bed::*;

/// What comes until the other side closes, which it does in order.
async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    tokio::time::timeout(SOON, stream.read_to_end(&mut rest)).await.unwrap().unwrap();
    rest
}

#[tokio::test]
async fn who_is_not_allowed_is_closed_at_once() {
    let c = sentry("c").await;
    let bed = relay(&[&c], "allow = [\"10.0.0.0/8\"]").await;
    let mut stranger = TcpStream::connect(bed.address).await.unwrap();
    assert_eq!(rest(&mut stranger).await, b"");
    assert_eq!(bed.count("refused_total", &["what=\"not_allowed\""]), 1.0);
    assert_eq!(c.connections(), 0);
}

#[tokio::test]
async fn who_says_nothing_is_closed_and_costs_no_outer_connection() {
    let c = sentry("c").await;
    let bed = relay(&[&c], "first_frame_timeout = \"100ms\"").await;
    let mut silent = TcpStream::connect(bed.address).await.unwrap();
    // Half a frame is none.
    silent.write_all(&[33, 0, 0, 0, 3]).await.unwrap();
    assert_eq!(rest(&mut silent).await, b"");
    assert_eq!(bed.count("refused_total", &["what=\"silent\""]), 1.0);
    let mut wild = TcpStream::connect(bed.address).await.unwrap();
    wild.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert_eq!(rest(&mut wild).await, b"");
    assert_eq!(bed.count("refused_total", &["what=\"no_frame\""]), 1.0);
    assert_eq!(c.connections(), 0);
}

#[tokio::test]
async fn more_than_there_are_places_for_are_closed() {
    let c = sentry("c").await;
    let bed = relay(&[&c], "max_legs = 1").await;
    let _a = bed.node("a").await;
    let mut second = TcpStream::connect(bed.address).await.unwrap();
    assert_eq!(rest(&mut second).await, b"");
    assert_eq!(bed.count("refused_total", &["what=\"max_legs\""]), 1.0);
}

#[tokio::test]
async fn a_farewell_from_outside_closes_both_sides_and_is_not_passed_on() {
    let c = sentry("c").await;
    let bed = relay(&[&c], "").await;
    let a = bed.node("a").await;
    c.say(&whole(&Message::GoAway(GoAway { reason: Reason(5), node_id: Id::ZERO })));
    a.until("it dials again", |it| it.connections() >= 2 && it.peers() == 1).await;
    c.until("and is there again", |it| it.connections() >= 2 && it.peers() == 1).await;
    assert_eq!(a.farewells(), 0);
    assert_eq!(bed.count("legs_ended_total", &["side=\"outer\"", "why=\"go_away\""]), 1.0);
}

#[tokio::test]
async fn an_outer_peer_that_failed_is_well_again_as_soon_as_it_says_something() {
    let c = sentry("c").await;
    let bed = relay(&[&c], "").await;
    let a = bed.node("a").await;
    c.say(&whole(&Message::GoAway(GoAway { reason: Reason(5), node_id: Id::ZERO })));
    a.until("it dials again", |it| it.connections() >= 2).await;
    bed.joined("a").await;
    assert_eq!(bed.handle.snapshot().outer[0].trouble, "");
}

#[tokio::test]
async fn an_outer_peer_that_never_says_anything_ends_its_leg() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let c = sentry("c").await;
    let settings = "first_frame_timeout = \"300ms\"\nsilence_timeout = \"1h\"";
    let mut plan = Plan::new(&[&c], settings);
    plan.settings =
        plan.settings.replace(&c.address().to_string(), &silent.local_addr().unwrap().to_string());
    let bed = plan.start().await;
    let _a = Nodeos::dial(NodeosConfig::new("a"), bed.address);
    let _kept = silent.accept().await.unwrap();
    bed.until("it ends", |it| it.count("legs_ended_total", &["side=\"outer\"", "why=\"silent\""]) >= 1.0)
        .await;
}

#[tokio::test]
async fn a_nodes_farewell_passes_and_closes_both_sides() {
    let c = sentry("c").await;
    let bed = relay(&[&c], "").await;
    let a = bed.node("a").await;
    a.say(&whole(&Message::GoAway(GoAway { reason: Reason(3), node_id: Id::ZERO })));
    c.until("it hears of it", |it| it.farewells() == 1).await;
    bed.until("the leg is gone", |it| it.count("legs_ended_total", &["why=\"go_away\""]) == 1.0).await;
}

#[tokio::test]
async fn with_no_outer_peer_a_node_is_closed_and_dials_on_until_there_is_one() {
    let c = sentry("c").await;
    let at = c.address();
    let bed = relay(&[&c], "").await;
    drop(c);
    let a = Nodeos::dial(NodeosConfig::new("a"), bed.address);
    bed.until("it is told", |it| it.count("refused_total", &["what=\"no_outer\""]) >= 1.0).await;
    assert!(bed.handle.health().1.iter().any(|reason| reason.starts_with("outer peer ")));
    let c = loop {
        // Its connections may linger.
        match Nodeos::listen_at(NodeosConfig::new("c"), at).await {
            Ok(node) => break node,
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    };
    bed.joined("a").await;
    assert_eq!((a.farewells(), c.peers()), (0, 1));
}

/// A side that takes in nothing ends its leg, and the other one is told nothing but the end.
#[tokio::test]
async fn a_side_that_takes_in_nothing_ends_its_leg() {
    let c = sentry("c").await;
    let bed = relay(&[&c], "stall_timeout = \"200ms\"").await;
    let a = bed.node("a").await;
    c.freeze(true);
    let large = whole(&Message::Unknown { number: 8, data: mainstay_antelope::Blob(&vec![1; 4 << 20]) });
    assert_eq!(large.kind(), Kind::PackedTransaction);
    a.until("the leg ends", |it| {
        it.say(&large);
        bed.count("legs_ended_total", &["side=\"outer\"", "why=\"stalled\""]) >= 1.0
    })
    .await;
    assert_eq!(a.farewells(), 0);
}

#[tokio::test]
async fn the_end_is_plain_on_both_sides() {
    let c = sentry("c").await;
    let bed = relay(&[&c], "").await;
    let (a, address) = (bed.node("a").await, bed.address);
    bed.end().await;
    c.until("the end", |it| it.peers() == 0).await;
    assert_eq!((a.farewells(), c.farewells()), (0, 0));
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn what_is_shown_of_a_leg() {
    let c = sentry("c").await;
    let bed = relay(&[&c], "").await;
    let a = bed.node("a").await;
    a.until("what was before", |it| it.head() == c.head()).await;
    let seen = bed.handle.snapshot();
    assert_eq!(seen.chain_id, Some("09".repeat(32)));
    let [leg] = &seen.nodes[..] else { panic!("{seen:?}") };
    assert_eq!((leg.name.as_str(), leg.condition, leg.peer.as_str()), ("a", "fit", "127.0.0.1"));
    assert_eq!((leg.inner.agent.as_str(), leg.inner.network_version), ("a", Some(1212)));
    assert_eq!((leg.outside.agent.as_str(), leg.outside.head), ("c", 2));
    assert_eq!((seen.outer.len(), seen.outer[0].legs, seen.outer[0].trouble.as_str()), (1, 1, ""));
    let _unknown = Nodeos::dial(NodeosConfig::new("unknown"), bed.address);
    bed.joined("127.0.0.1:9876").await;
}

/// With what the settings say of the chain the first outer peer isn't believed.
#[tokio::test]
async fn an_outer_peer_on_another_chain_is_told() {
    let c = sentry("c").await;
    let chain = format!("chain_id = \"{}\"", "ab".repeat(32));
    let bed = relay(&[&c], &chain).await;
    let _a = bed.node("a").await;
    bed.until("the alarm", |it| it.count("alarms_total", &["what=\"chain\""]) >= 1.0).await;
    let seen = bed.handle.snapshot();
    assert_eq!(seen.chain_id, Some("ab".repeat(32)));
    assert_eq!((seen.alarms[0].kind, seen.alarms[0].node.clone()), ("chain", c.address().to_string()));
}
