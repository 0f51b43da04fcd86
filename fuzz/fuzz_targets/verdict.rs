//! Any rounds of votes, with any bytes as a node's reply: what the consensus client is told keeps its promises.
//!
//! The first four bytes are rules, the next ones nodes (four each), the rest is a reply's body.
#![no_main]

use std::time::Duration;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use mainstay_execution::ballot::{Answer, Ballot, Entry, Next, Part};
use mainstay_execution::status::{self, Heard, PayloadStatus, Silence, Status};
use mainstay_execution::verdict::{OnDissent, Outlook, Rules, Tally, Verdict, judge, outlook};
use mainstay_wire::envelope::{parse_reply, result_body};

const DEADLINE: Duration = Duration::from_millis(200);
const MOST_NODES: usize = 8;

struct Node {
    part: Part,
    heard: Heard,
    at: Duration,
    straggler_wait: Duration,
    said_invalid: bool,
}

fuzz_target!(|data: &[u8]| {
    let Some(([count, majority, votes, dissent], rest)) = data.split_first_chunk::<4>() else { return };
    let count = usize::from(*count) % (MOST_NODES + 1);
    let Some((nodes, reply)) = rest.split_at_checked(4 * count) else { return };
    let reply = heard(&Bytes::copy_from_slice(reply));
    let nodes: Vec<Node> = nodes.chunks_exact(4).map(|bytes| node(bytes, &reply)).collect();
    let rules = Rules {
        majority: if *majority == 0 { Rules::default().majority } else { f64::from(*majority) / 255.0 },
        min_votes: 1 + u32::from(*votes) % 4,
        on_dissent: if dissent % 2 == 0 { OnDissent::Syncing } else { OnDissent::Majority },
    };
    for rules in [Rules::default(), rules] {
        counted(&nodes, &rules);
        held(&nodes, &rules);
    }
});

fn node(bytes: &[u8], reply: &[Heard; 2]) -> Node {
    Node {
        part: [Part::Voter, Part::Maybe, Part::Doubtful, Part::Never][usize::from(bytes[0] % 4)],
        heard: match bytes[1] % 9 {
            0 | 1 => says(Status::Valid),
            2 => says(Status::Invalid),
            3 => says(Status::InvalidBlockHash),
            4 => says(Status::Syncing),
            5 => says(Status::Accepted),
            6 => Heard::Silent(Silence::Replaced),
            7 => reply[0].clone(),
            _ => reply[1].clone(),
        },
        at: Duration::from_millis(bytes[2].into()),
        straggler_wait: Duration::from_millis(u64::from(bytes[3] >> 1)),
        said_invalid: bytes[3] & 1 == 1,
    }
}

fn says(status: Status) -> Heard {
    let body = PayloadStatus {
        status,
        latest_valid_hash: (status == Status::Valid).then(|| Bytes::from_static(b"\"0x11\"")),
        validation_error: None,
        inclusion_list_satisfied: None,
    };
    Heard::Status(body, None)
}

/// The body as the reply to a newPayload and to a forkchoiceUpdated; what is told of it is read as the same again.
fn heard(body: &Bytes) -> [Heard; 2] {
    let silent = || Heard::Silent(Silence::NotSent);
    let Ok(reply) = parse_reply(body) else { return [silent(), silent()] };
    let new_payload = Heard::new_payload(&reply);
    if let Heard::Status(status, id) = &new_payload {
        assert_eq!(*id, None);
        again(status);
    }
    let forkchoice = Heard::forkchoice_updated(&reply);
    if let Heard::Status(status, _) = &forkchoice {
        let written = result_body(None, &status::write_forkchoice(status, Some("0x01")));
        let read = Heard::forkchoice_updated(&parse_reply(&written).expect("what is written is read"));
        assert_eq!(read, Heard::Status(status.clone(), Some("0x01".into())));
    }
    [new_payload, forkchoice]
}

fn again(status: &PayloadStatus) {
    let written = result_body(None, &status::write(status));
    let read = Heard::new_payload(&parse_reply(&written).expect("what is written is read"));
    assert_eq!(read, Heard::Status(status.clone(), None));
}

/// Votes alone: the verdict of a tally, and what is said of it while votes are out.
fn counted(nodes: &[Node], rules: &Rules) {
    let votes: Vec<_> = nodes.iter().map(|node| node.heard.vote()).collect();
    let mut last = Tally::default();
    votes.iter().flatten().for_each(|vote| last.add(*vote));
    let verdict = judge(last, rules);
    assert_eq!(verdict == Verdict::Shortfall, last.total() == 0);
    assert!(last.total() == 0 || last.total() >= rules.min_votes || verdict == Verdict::Syncing);
    if verdict == Verdict::Valid {
        let outvoted = rules.on_dissent == OnDissent::Majority && last.invalid == 1 && last.valid >= 2;
        assert!(last.valid > 0 && (last.invalid == 0 || outvoted), "VALID of {last:?} by {rules:?}");
    }
    if verdict == Verdict::Invalid {
        assert!(last.invalid > last.valid, "INVALID of {last:?} by {rules:?}");
    }

    let mut so_far = Tally::default();
    for (i, vote) in votes.iter().enumerate() {
        let out = u32::try_from(votes.len() - i).expect("few");
        match outlook(so_far, out, rules) {
            Outlook::Decided(early) => assert_eq!(early, verdict, "{so_far:?} of {last:?} by {rules:?}"),
            Outlook::OnlyDissent if last.invalid == so_far.invalid => assert_eq!(verdict, Verdict::Valid),
            Outlook::OnlyDissent => assert!(matches!(verdict, Verdict::Valid | Verdict::Syncing)),
            Outlook::Open => {}
        }
        vote.iter().for_each(|vote| so_far.add(*vote));
    }
    assert_eq!(outlook(last, 0, rules), Outlook::Decided(verdict));
}

/// A whole round in time.
fn held(nodes: &[Node], rules: &Rules) {
    let entries: Vec<Entry> = nodes
        .iter()
        .map(|node| Entry { said_invalid: node.said_invalid, ..Entry::new(node.part, node.straggler_wait) })
        .collect();
    let mut order: Vec<usize> = (0..nodes.len()).collect();
    order.sort_by_key(|i| nodes[*i].at);

    let mut ballot = Ballot::new(*rules, DEADLINE, entries.clone());
    let mut told: Option<(Verdict, Answer)> = None;
    let mut ask = |ballot: &mut Ballot, now: Duration| {
        if told.is_some() {
            return;
        }
        match ballot.next(now) {
            Next::Answer if now < DEADLINE => told = Some((ballot.verdict(), ballot.answer())),
            Next::Answer => {}
            Next::WaitUntil(until) => assert!(now < until && until <= DEADLINE),
        }
    };
    ask(&mut ballot, Duration::ZERO);
    for i in &order {
        let node = &nodes[*i];
        // The shell asks again when a wait is over.
        if let Next::WaitUntil(until) = ballot.next(node.at)
            && until < node.at
        {
            ask(&mut ballot, until);
        }
        ask(&mut ballot, node.at);
        ballot.hear(*i, node.heard.clone(), node.at);
        ask(&mut ballot, node.at);
    }
    let last = ballot.verdict();
    let tally = ballot.tally();
    assert_eq!(ballot.next(DEADLINE), Next::Answer);
    assert!(!ballot.is_early(), "everybody was heard");

    let remembered = nodes.iter().any(|node| node.said_invalid);
    if last == Verdict::Valid && tally.invalid > 0 {
        assert!(rules.on_dissent == OnDissent::Majority && tally.invalid == 1 && tally.valid >= 2);
    }
    // Replies that nobody waits for may still bring votes: of them nothing is promised.
    let all_awaited = nodes.iter().all(|node| matches!(node.part, Part::Voter | Part::Never));
    if let Some((early, answer)) = &told
        && all_awaited
        && !remembered
    {
        let late_dissent = *early == Verdict::Valid && last == Verdict::Syncing && tally.invalid > 0;
        assert!(*early == last || late_dissent, "{early:?} told, {last:?} in the end: {answer:?}");
    }
    if let Answer::Status(status) = ballot.answer() {
        again(&status);
    }

    let mut again = Ballot::new(*rules, DEADLINE, entries);
    for i in order.into_iter().rev() {
        again.hear(i, nodes[i].heard.clone(), Duration::ZERO);
    }
    assert_eq!(again.answer(), ballot.answer(), "the order of arrival matters");
}
