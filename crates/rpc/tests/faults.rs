//! Nodes that fail under load: clients don't notice. Numbers are those of prio-load-balancer's list of defects.

#![allow(clippy::unwrap_used)]

mod common;

use std::sync::atomic::Ordering;

use bytes::Bytes;
use common::{Act, Bed, CALL, Node, PATIENCE, SEND, failed, header, ms, statuses, text};
use tokio::time::Instant;

/// 1: there, 41 % of the requests failed at such a load.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn with_one_of_two_nodes_dead_no_request_fails() {
    let (mut dying, survivor) = (Node::workers(8).await, Node::workers(8).await);
    for node in [&dying, &survivor] {
        node.act(Act::Answer(ms(10)));
    }
    let bed = Bed::new(&[&dying, &survivor], "").await;
    // Two at a time, one each 10 ms: a quarter of what the survivor can do.
    let load = bed.load(2, 150, CALL);
    bed.until("both work", |_| dying.count() >= 20).await;
    dying.kill().await;
    assert_eq!(failed(load).await, 0);
    assert!(!bed.view(&dying).fit);
    assert!(survivor.most() <= 8);
    // Back, it is used again.
    dying.revive().await;
    bed.until_fit(&dying, true).await;
    let before = dying.count();
    assert_eq!(failed(bed.load(4, 20, CALL)).await, 0);
    assert!(dying.count() > before);
}

/// 1: one that is dead from the start gets nothing, however quickly it fails.
#[tokio::test]
async fn a_dead_node_gets_no_traffic_for_failing_fast() {
    let (mut dead, alive) = (Node::new().await, Node::new().await);
    let bed = Bed::new(&[&dead, &alive], "").await;
    dead.kill().await;
    assert_eq!(failed(bed.load(4, 50, CALL)).await, 0);
    let refused =
        format!("mainstay_rpc_tries_total{{rpc=\"rpc\",node=\"{}\",outcome=\"refused\"", dead.address);
    let reset = refused.replace("refused", "reset");
    let tries = bed.metric(&refused).unwrap() + bed.metric(&reset).unwrap();
    // One for each that was under way when the first one failed.
    assert!(tries <= 8.0, "{tries}");
}

/// 9: a try has a limit of its own and another node gets the rest of the time.
#[tokio::test]
async fn a_hung_node_costs_one_try_and_is_found_out() {
    let (hung, alive) = (Node::workers(2).await, Node::workers(8).await);
    let bed = Bed::new(&[&hung, &alive], "try_timeout = \"200ms\"\n").await;
    hung.act(Act::Hang);
    hung.probes(Some(Act::Hang));
    assert_eq!(failed(bed.load(4, 20, CALL)).await, 0);
    bed.until_fit(&hung, false).await;
    // Two slots, three rounds of it at most; nothing waits for it after that.
    assert!(hung.count() <= 6, "{}", hung.count());
    bed.until("nothing is left at the hung node", |bed| bed.view(&hung).in_flight == 0).await;
    let count = hung.count();
    assert_eq!(failed(bed.load(4, 20, CALL)).await, 0);
    assert_eq!(hung.count(), count);
}

/// A node that is slow and no more than that gets no more than its share of what is in flight, and nobody else waits for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_slow_node_holds_up_only_what_it_has() {
    let (slow, quick) = (Node::workers(8).await, Node::workers(8).await);
    let bed = Bed::new(&[&slow, &quick], "try_timeout = \"20s\"\nrequest_timeout = \"20s\"\n").await;
    slow.act(Act::Gate);
    let load = bed.load(4, 30, CALL);
    // Two at most are stuck: a third would find the quick node with less in flight. The other two clients go on.
    bed.until("the quick node has the rest", |_| quick.count() >= 60).await;
    assert!(slow.count() <= 2, "{}", slow.count());
    assert!(bed.view(&slow).fit);
    slow.open(200);
    let all = statuses(load).await;
    assert!(all.iter().all(|status| *status == 200), "{all:?}");
}

/// 9: the number of tries that is promised is made.
#[tokio::test]
async fn three_tries_are_three_tries() {
    let nodes = [Node::new().await, Node::new().await, Node::new().await];
    let bed = Bed::new(&[&nodes[0], &nodes[1], &nodes[2]], "try_timeout = \"100ms\"\n").await;
    nodes.iter().for_each(|node| node.act(Act::Hang));
    let reply = bed.post(CALL).await;
    assert_eq!(reply.status, 504);
    assert!(text(&reply).contains("node timeout"), "{}", text(&reply));
    assert_eq!(nodes.each_ref().map(Node::count), [1, 1, 1]);
}

#[tokio::test]
async fn a_node_of_500s_and_502s_is_left_alone() {
    let (ill, well) = (Node::new().await, Node::new().await);
    let bed = Bed::new(&[&ill, &well], "probe_interval = \"1h\"\n").await;
    ill.probes(Some(Act::Reply(502, vec![], Bytes::new())));
    ill.act(Act::Reply(502, vec![], "bad gateway".into()));
    assert_eq!(failed(bed.load(2, 30, CALL)).await, 0, "a 502 is tried elsewhere");
    assert!(!bed.view(&ill).fit);
    assert!(ill.count() <= 4, "{}", ill.count());
}

#[tokio::test]
async fn a_500_is_an_answer_and_three_in_a_row_are_an_illness() {
    let (ill, well) = (Node::new().await, Node::new().await);
    let bed = Bed::new(&[&ill, &well], "probe_interval = \"1h\"\n").await;
    ill.probes(Some(Act::Reply(500, vec![], Bytes::new())));
    ill.act(Act::Reply(500, vec![("content-type", "text/html")], "oops".into()));
    let failures = failed(bed.load(1, 40, CALL)).await;
    assert_eq!((failures, ill.count()), (3, 3));
    // One of JSON is the node's word on that request: it would say so of it at any time.
    ill.probes(None);
    bed.handle.recheck().await;
    bed.handle.recheck().await;
    bed.until_fit(&ill, true).await;
    ill.act(Act::Reply(500, vec![("content-type", "application/json")], "{}".into()));
    assert!(failed(bed.load(1, 40, CALL)).await > 3);
    assert!(bed.view(&ill).fit);
}

#[tokio::test]
async fn a_node_that_says_429_rests_as_long_as_it_wants() {
    let (busy, free) = (Node::new().await, Node::new().await);
    let bed = Bed::new(&[&busy, &free], "").await;
    busy.act(Act::Reply(429, vec![("retry-after", "60")], Bytes::new()));
    assert_eq!(failed(bed.load(1, 10, CALL)).await, 0);
    assert_eq!(failed(bed.load(1, 10, SEND)).await, 0, "it refused before it did anything");
    assert_eq!(busy.count(), 1);
    let view = bed.view(&busy);
    assert!(view.resting && view.fit);
}

/// On the paused clock: it rests for as long as it asked, and not longer.
#[tokio::test(start_paused = true)]
async fn a_node_that_says_503_with_retry_after_is_used_again_after_it() {
    let (busy, free) = (Node::new().await, Node::new().await);
    let bed = Bed::new(&[&busy, &free], "probe_interval = \"1h\"\n").await;
    busy.act(Act::Reply(503, vec![("retry-after", "30")], Bytes::new()));
    assert_eq!(failed(bed.load(1, 10, CALL)).await, 0);
    assert_eq!(busy.count(), 1);
    busy.act(Act::Answer(ms(0)));
    tokio::time::sleep(ms(28_000)).await;
    assert_eq!(failed(bed.load(1, 10, CALL)).await, 0);
    assert_eq!(busy.count(), 1, "it rests");
    tokio::time::sleep(ms(3_000)).await;
    assert!(!bed.view(&busy).resting && bed.view(&busy).fit);
    assert_eq!(failed(bed.load(1, 10, CALL)).await, 0);
    assert!(busy.count() >= 4, "idle nodes take turns: {}", busy.count());
}

#[tokio::test]
async fn when_all_nodes_say_429_the_client_is_told_so() {
    let busy = Node::new().await;
    let bed = Bed::new(&[&busy], "").await;
    busy.act(Act::Reply(429, vec![("retry-after", "60")], "slow down".into()));
    let reply = bed.post(CALL).await;
    assert_eq!((reply.status.as_u16(), text(&reply).as_str()), (429, "slow down"));
    assert_eq!(header(&reply, "retry-after").as_deref(), Some("60"));
}

#[tokio::test]
async fn a_transaction_is_not_sent_twice_once_it_may_have_arrived() {
    for act in [Act::Hang, Act::Reply(503, vec![], Bytes::new())] {
        let (one, two) = (Node::new().await, Node::new().await);
        let bed = Bed::new(&[&one, &two], "try_timeout = \"100ms\"\n").await;
        one.act(act.clone());
        two.act(act);
        assert_ne!(bed.post(SEND).await.status, 200);
        assert_eq!(one.count() + two.count(), 1);
    }
    let nodes = [common::node::cutting().await, common::node::cutting().await];
    let count = || nodes.iter().map(|(_, count)| count.load(Ordering::SeqCst)).sum::<usize>();
    let bed = Bed::of(&[nodes[0].0.clone(), nodes[1].0.clone()], "health = \"none\"\n").await;
    bed.until("both are fit", |bed| bed.views().iter().all(|node| node.fit)).await;
    assert_eq!(bed.post(SEND).await.status, 502);
    assert_eq!(count(), 1);
    bed.until("both are fit", |bed| bed.views().iter().all(|node| node.fit)).await;
    bed.post(CALL).await;
    assert_eq!(count(), 4, "a call is tried three times");
    // A node that refuses has it not.
    let (mut gone, alive) = (Node::new().await, Node::new().await);
    let bed = Bed::new(&[&gone, &alive], "probe_interval = \"1h\"\n").await;
    gone.kill().await;
    assert_eq!(failed(bed.load(1, 4, SEND)).await, 0);
    assert_eq!((gone.count(), alive.count()), (0, 4));
}

/// A rule's word on retries goes before what is known of the method.
#[tokio::test]
async fn a_rule_says_what_is_tried_again() {
    let rules = "probe_interval = \"1h\"\n\
                 [[rpc.rule]]\nmethod = \"eth_sendRawTransaction\"\nretry = \"always\"\n\
                 [[rpc.rule]]\nmethod = \"eth_call\"\nretry = \"never\"\n";
    let nodes = [Node::new().await, Node::new().await];
    let bed = Bed::new(&[&nodes[0], &nodes[1]], rules).await;
    nodes.iter().for_each(|node| node.act(Act::Reply(503, vec![], Bytes::new())));
    let count = || nodes.iter().map(Node::count).sum::<usize>();
    assert_eq!(bed.post(CALL).await.status, 503);
    assert_eq!(count(), 1);
    assert_eq!(bed.post(SEND).await.status, 503);
    assert_eq!(count(), 1 + 3);
}

#[tokio::test]
async fn an_idempotent_call_is_hedged_and_the_loser_cancelled() {
    let (slow, quick) = (Node::new().await, Node::new().await);
    let bed = Bed::new(&[&slow, &quick], "hedge_after = \"20ms\"\n").await;
    slow.act(Act::Hang);
    assert_eq!(failed(bed.load(1, 6, CALL)).await, 0);
    bed.until("the loser's slot is free", |bed| bed.in_flight() == 0).await;
    assert!(slow.count() >= 1 && slow.count() + quick.count() >= 7);
    assert!(bed.metric("mainstay_rpc_hedges_total").unwrap() >= 1.0);
    assert!(bed.view(&slow).fit);
}

/// The slot of a copy that failed is free for others, while the other copy goes on; that one's end is the request's.
#[tokio::test]
async fn a_hedge_that_fails_gives_its_slot_back() {
    let nodes = [Node::workers(1).await, Node::workers(1).await];
    let bed = Bed::new(&[&nodes[0], &nodes[1]], "hedge_after = \"20ms\"\nretries_max = 2\n").await;
    nodes.iter().for_each(|node| node.act(Act::GateReply(500, "first".into())));
    let request = bed.start(&[], CALL);
    bed.until("a node has it", |_| nodes.iter().any(|node| node.count() == 1)).await;
    let at = nodes.iter().position(|node| node.count() == 1).unwrap();
    let (first, second) = (&nodes[at], &nodes[1 - at]);
    second.act(Act::Reply(500, vec![("content-type", "application/json")], "second".into()));
    bed.until("the other has it too", |_| second.count() == 1).await;
    bed.until("its slot is free", |bed| bed.view(second).in_flight == 0).await;
    assert_eq!(bed.view(first).in_flight, 1);
    first.open(1);
    let reply = request.await.unwrap();
    assert_eq!((reply.status.as_u16(), text(&reply).as_str()), (500, "first"));
    bed.until("all slots are free", |bed| bed.in_flight() == 0).await;
}

/// Second copies take free slots only: under a load that fills all nodes none goes over its limit, and none is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn hedging_under_load_keeps_every_limit() {
    let (slow, quick) = (Node::workers(3).await, Node::workers(4).await);
    let bed = Bed::new(&[&slow, &quick], "hedge_after = \"2ms\"\n").await;
    slow.act(Act::Hang);
    quick.act(Act::Answer(ms(1)));
    // Three hang at the slow node, each of them until a slot of the quick one is free for its second copy.
    let load = bed.load(12, 40, CALL);
    assert_eq!(failed(load).await, 0);
    assert!(slow.most() <= 3 && quick.most() <= 4, "{} {}", slow.most(), quick.most());
    let hedges = bed.metric("mainstay_rpc_hedges_total").unwrap();
    assert!(hedges >= 1.0 && slow.count() >= 1);
    bed.until("all slots are free", |bed| bed.in_flight() == 0 && bed.waiting() == 0).await;
    bed.until("the cancelled copies have left the slow node", |_| slow.in_flight() == 0).await;
    let ok = "mainstay_rpc_requests_total{rpc=\"rpc\",lane=\"low\",outcome=\"ok\"";
    assert_eq!(bed.metric(ok), Some(480.0), "each is counted once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_flapping_node_is_not_noticed_and_no_node_is_overloaded() {
    let (mut flapping, steady) = (Node::workers(3).await, Node::workers(4).await);
    for node in [&flapping, &steady] {
        node.act(Act::Answer(ms(2)));
    }
    let bed = Bed::new(&[&flapping, &steady], "queue_max = 1000\n").await;
    let load = bed.load(20, 60, CALL);
    for _ in 0..4 {
        flapping.kill().await;
        bed.until_fit(&flapping, false).await;
        flapping.revive().await;
        bed.until_fit(&flapping, true).await;
    }
    assert_eq!(failed(load).await, 0);
    assert!(flapping.most() <= 3 && steady.most() <= 4, "{} {}", flapping.most(), steady.most());
    assert!(flapping.count() > 0);
    bed.until("all slots are free", |bed| bed.in_flight() == 0).await;
}

/// A node that was away gets its slots one after the other, however many wait for it.
#[tokio::test(start_paused = true)]
async fn a_node_that_comes_back_is_not_flooded() {
    let mut node = Node::workers(4).await;
    let text = "slow_start = \"8s\"\nrequest_timeout = \"60s\"\ntry_timeout = \"60s\"\n";
    let bed = Bed::new(&[&node], text).await;
    node.kill().await;
    bed.until_fit(&node, false).await;
    node.act(Act::Gate);
    let waiting: Vec<_> = (0..6).map(|_| bed.start(&[], CALL)).collect();
    bed.until("all wait", |bed| bed.waiting() == 6).await;
    node.revive().await;
    let mut began = Vec::new();
    for works in 1..=4 {
        bed.until("one more", |_| node.in_flight() >= works).await;
        assert_eq!(node.in_flight(), works);
        began.push(Instant::now());
    }
    for pair in began.windows(2) {
        let apart = pair[1] - pair[0];
        assert!(apart > ms(1500) && apart < ms(2500), "a quarter of 8 s: {apart:?}");
    }
    assert_eq!(bed.view(&node).open, 4);
    node.open(6);
    for request in waiting {
        assert_eq!(request.await.unwrap().status, 200);
    }
}

#[tokio::test]
async fn a_client_that_goes_away_ends_what_is_done_for_it() {
    let node = Node::workers(1).await;
    let bed = Bed::new(&[&node], "").await;
    node.act(Act::Hang);
    let working = bed.start(&[], CALL);
    bed.until("the node works", |_| node.in_flight() == 1).await;
    let waiting = bed.start(&[], CALL);
    bed.until("one waits", |bed| bed.waiting() == 1).await;
    waiting.abort();
    bed.until("it has left the queue", |bed| bed.waiting() == 0).await;
    working.abort();
    bed.until("the node's call is cancelled", |bed| node.in_flight() == 0 && bed.in_flight() == 0).await;
    assert_eq!(node.count(), 1);
    bed.until("both are counted", |bed| {
        bed.metric("mainstay_rpc_requests_total{rpc=\"rpc\",lane=\"low\",outcome=\"gone\"") == Some(2.0)
    })
    .await;
    assert!(bed.view(&node).fit, "its client's going says nothing of the node");
}

/// 2: a stop lets all that is in flight or waits be answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stop_under_load_loses_nothing() {
    let node = Node::workers(2).await;
    let mut bed = Bed::new(&[&node], "").await;
    node.act(Act::Gate);
    let requests: Vec<_> = (0..6).map(|_| bed.start(&[], CALL)).collect();
    bed.until("two run, four wait", |bed| node.in_flight() == 2 && bed.waiting() == 4).await;
    bed.stop.cancel();
    node.open(6);
    for request in requests {
        assert_eq!(request.await.unwrap().status, 200);
    }
    tokio::time::timeout(PATIENCE, &mut bed.served).await.unwrap().unwrap();
}

/// A node that dies in the middle of its answer: the client's connection is cut, so that half isn't taken for the whole.
#[tokio::test]
async fn half_an_answer_is_no_answer() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}", listener.local_addr().unwrap());
    let bed = Bed::of(&[uri], "health = \"none\"\n").await;
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut read = [0; 4096];
            if stream.read(&mut read).await.unwrap_or(0) > 0 {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await;
            }
        }
    });
    bed.until("it is fit", |bed| bed.views()[0].fit).await;
    let deadline = Instant::now() + PATIENCE;
    assert!(bed.client.send(common::with(&[], CALL), deadline).await.is_err());
    bed.until("the slot is free", |bed| bed.in_flight() == 0).await;
    let broken = "mainstay_rpc_requests_total{rpc=\"rpc\",lane=\"low\",outcome=\"broken\"";
    bed.until("it is counted", |bed| bed.metric(broken) == Some(1.0)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_load_meets_its_bounds() {
    let nodes = [Node::workers(1).await, Node::workers(3).await];
    let bed = Bed::new(&[&nodes[0], &nodes[1]], "").await;
    nodes.iter().for_each(|node| node.act(Act::Answer(ms(1))));
    let all = statuses(bed.load(30, 30, CALL)).await;
    assert!(all.iter().all(|status| *status == 200) && all.len() == 900);
    assert_eq!(nodes.each_ref().map(Node::most), [1, 3]);
}
