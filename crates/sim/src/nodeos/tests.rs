#![allow(clippy::unwrap_used)]

use super::*;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

#[test]
fn blocks_of_the_same_content_are_the_same() {
    let config = NodeosConfig::new("a");
    let (mut one, mut other) = (Chain::new(config.genesis), Chain::new(config.genesis));
    let first = one.produce(name("prodx"), Slot(12), 0);
    assert_eq!(first, other.produce(name("prodx"), Slot(12), 0));
    assert_ne!(one.produce(name("prodx"), Slot(13), 0), other.produce(name("prodx"), Slot(13), 1));
    assert_eq!(one.head().block_num(), 3);
}

#[test]
fn while_it_produces_blocks_are_dropped_and_what_follows_has_no_parent() {
    let config = NodeosConfig::new("a");
    let (mut one, mut other) = (Chain::new(config.genesis), Chain::new(config.genesis));
    let blocks: Vec<Frame> = (0..3).map(|n| one.produce(name("prodx"), Slot(n), 0)).collect();
    other.set_producing(true);
    assert_eq!(other.take(&blocks[0]), Taken::Dropped);
    other.set_producing(false);
    assert_eq!((other.take(&blocks[0]), other.take(&blocks[1])), (Taken::Known, Taken::Unlinkable));
    other.recover();
    for block in &blocks {
        assert_eq!(other.take(block), Taken::Linked);
    }
    assert_eq!(other.head(), one.head());
    assert_eq!(other.branch(2, 3), blocks[1..2]);
}

#[tokio::test]
async fn nodes_come_to_have_one_head() {
    let listener = Nodeos::listen(NodeosConfig::new("c")).await.unwrap();
    for slot in 0..5 {
        listener.produce(name("prody"), Slot(slot), 0);
    }
    let dialer = Nodeos::dial(NodeosConfig::new("a"), listener.address());
    dialer.until("in sync", |it| it.head() == listener.head()).await;
    dialer.produce(name("prodx"), Slot(12), 0);
    listener.until("the block", |it| it.head() == dialer.head()).await;
    assert_eq!(listener.chain(|chain| chain.blocks().len()), 6);
    // A longer fork wins, when it is asked for.
    let other = Nodeos::dial(NodeosConfig::new("b"), listener.address());
    other.chain(|chain| (0..9).for_each(|slot| drop(chain.produce(name("prodx"), Slot(slot), 7))));
    other.greet();
    listener.until("the fork", |it| it.head() == other.head()).await;
    dialer.until("the fork", |it| it.head() == other.head()).await;
}

#[tokio::test]
async fn it_dials_again_but_not_after_most_farewells() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let node = Nodeos::dial(NodeosConfig::new("a"), listener.local_addr().unwrap());
    drop(listener.accept().await.unwrap());
    let (mut stream, _) = listener.accept().await.unwrap();
    let reason = mainstay_antelope::Reason(5);
    let farewell = Message::GoAway(mainstay_antelope::GoAway { reason, node_id: Id::ZERO });
    tokio::io::AsyncWriteExt::write_all(&mut stream, whole(&farewell).bytes()).await.unwrap();
    node.until("the farewell", |it| it.farewells() == 1 && it.peers() == 0).await;
    node.until("it gives up", |it| it.shared.state().wrote_off).await;
}
