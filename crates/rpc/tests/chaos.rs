//! Everything that may happen to nodes, two troubles at a time, under load that never stops: as long as one node is well no request
//! fails.

#![allow(clippy::unwrap_used)]

mod common;

use bytes::Bytes;
use common::{Act, Bed, Load, Node, ms};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Trouble {
    Killed,
    Hung,
    Ill,
    Slow,
    Drained,
    Removed,
}
use Trouble::*;

impl Trouble {
    async fn begin(self, node: &mut Node, bed: &Bed) {
        let answers = |act: Act| {
            node.act(act.clone());
            node.probes(Some(act));
        };
        match self {
            Killed => node.kill().await,
            Hung => answers(Act::Hang),
            Ill => answers(Act::Reply(502, vec![], Bytes::new())),
            Slow => node.act(Act::Answer(ms(100))),
            Drained => bed.handle.drain(&node.uri).unwrap(),
            Removed => bed.handle.remove(&node.uri).await.unwrap(),
        }
    }

    async fn end(self, node: &mut Node, bed: &Bed) {
        match self {
            Killed => node.revive().await,
            Hung | Ill | Slow => {
                node.act(Act::Answer(ms(1)));
                node.probes(None);
            }
            Drained => bed.handle.undrain(&node.uri).unwrap(),
            Removed => bed.handle.add(&node.uri, false).await.unwrap(),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_happens_to_two_of_three_nodes_no_request_fails() {
    let (mut one, mut two, well) = (Node::workers(4).await, Node::workers(3).await, Node::workers(6).await);
    for node in [&one, &two, &well] {
        node.act(Act::Answer(ms(1)));
    }
    // A node that was removed and added again is another one to a request that was sent to it before.
    let text = "try_timeout = \"500ms\"\nrequest_timeout = \"15s\"\nretries_max = 6\n";
    let bed = Bed::new(&[&one, &two, &well], text).await;
    let load = Load::on(&bed, 16);
    for (first, second) in
        [(Killed, Hung), (Ill, Drained), (Removed, Killed), (Slow, Removed), (Hung, Ill), (Drained, Slow)]
    {
        first.begin(&mut one, &bed).await;
        second.begin(&mut two, &bed).await;
        load.goes_on(&bed, 60).await;
        for (trouble, node) in [(first, &one), (second, &two)] {
            if matches!(trouble, Killed | Hung | Ill) {
                bed.until_fit(node, false).await;
            }
        }
        load.goes_on(&bed, 60).await;
        first.end(&mut one, &bed).await;
        second.end(&mut two, &bed).await;
        for node in [&one, &two] {
            bed.until_fit(node, true).await;
            let before = node.count();
            bed.until("it is used again", |_| node.count() > before).await;
        }
    }
    let answered = load.ends_well().await;
    assert!(well.most() <= 6, "{}", well.most());
    bed.until("all slots are free", |bed| bed.in_flight() == 0 && bed.waiting() == 0).await;
    let ok = "mainstay_rpc_requests_total{rpc=\"rpc\",lane=\"low\",outcome=\"ok\"";
    bed.until("each is counted once", |bed| bed.metric(ok) == Some(answered as f64)).await;
}
