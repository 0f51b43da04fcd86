//! What the role tells of itself: metrics (a golden file, `docs/metrics-relay.txt`; `UPDATE_GOLDEN=1` writes it anew), the audit log, its state.

use mainstay_antelope::{GoAway, Id, Message, Reason, Slot};
use mainstay_node::Operated as _;
use mainstay_relay::replay::{read, replay};
use mainstay_sim::nodeos::whole;
use tokio::net::TcpStream;

use crate::bed::*;
use crate::metrics;

#[tokio::test]
async fn rounds_are_shown_written_down_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit.jsonl");
    // Twelve slots are a round; two of it are filled by nobody.
    let first = round() - 24;
    let c = sentry_before("c", first).await;
    let bed = relay(&[&c], &format!("max_legs = 2\naudit = {file:?}")).await;
    let (a, b) = bed.producing(&c).await;
    let _refused = TcpStream::connect(bed.address).await.unwrap();
    for slot in first..first + 10 {
        produce(&[&a], slot, 0);
        c.until("a's", |it| it.head() == a.head()).await;
        produce(&[&b], slot, u64::from(slot == first + 9));
        bed.until("b's", |it| it.count("blocks_total", &["node=\"b\""]) == f64::from(slot - first + 1)).await;
    }
    for round in 1..3 {
        c.produce(theirs(), Slot(first + round * 12), 0);
    }
    bed.until("the round is over", |it| it.count("gaps_total", &["producer=\"prodx\""]) == 2.0).await;
    let seen = bed.handle.snapshot();
    let [round] = &seen.rounds[..] else { panic!("{:?}", seen.rounds) };
    assert_eq!((round.slot, &round.won[..], round.gaps), (first, &[("a".to_owned(), 10)][..], Some(2)));

    b.say(&mainstay_sim::nodeos::block(ours(), Slot(u32::MAX), c.head(), 0));
    bed.until("the alarm", |it| it.count("alarms_total", &["what=\"future\""]) == 1.0).await;
    let seen = bed.handle.snapshot();
    let [alarm] = &seen.alarms[..] else { panic!("{:?}", seen.alarms) };
    assert_eq!((alarm.kind, alarm.node.as_str(), alarm.times), ("future", "b", 1));

    let trx = whole(&Message::Unknown { number: 8, data: mainstay_antelope::Blob(&[1, 2, 3]) });
    a.say(&trx);
    a.say(&trx);
    bed.until("the second is dropped", |it| {
        it.count("dropped_total", &["way=\"out\"", "why=\"repeated\""]) == 1.0
    })
    .await;
    a.say(&whole(&Message::GoAway(GoAway { reason: Reason(3), node_id: Id::ZERO })));
    bed.until("the leg ends", |it| it.count("legs_ended_total", &[]) >= 1.0).await;
    metrics::check(&bed.page(), "metrics-relay.txt");

    bed.end().await;
    let text = std::fs::read_to_string(&file).unwrap();
    let recording = read(&text).unwrap();
    let outcome = replay(&recording, &recording.producers);
    assert!(outcome.blocks.iter().all(|block| block.agrees) && outcome.doubles.is_empty(), "{outcome:#?}");
    let verdicts = |verdict: &str| outcome.blocks.iter().filter(|block| block.verdict == verdict).count();
    assert_eq!((verdicts("win"), verdicts("lost"), verdicts("future")), (10, 1, 1));
}
