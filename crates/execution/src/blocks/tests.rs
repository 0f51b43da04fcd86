use super::*;
use proptest::prelude::*;

fn payload(hash: &str, parent: &str, number: u64, size: usize) -> Payload {
    Payload {
        hash: hash.into(),
        parent: parent.into(),
        number,
        method: "engine_newPayloadV4".into(),
        request: Bytes::from(vec![0; size]),
    }
}

fn chain(n: u64, blocks: &mut Blocks) {
    for i in 1..=n {
        blocks.keep(payload(&format!("h{i}"), &format!("h{}", i - 1), i, 10));
    }
}

fn numbers(plan: &Plan) -> Vec<u64> {
    match plan {
        Plan::Replay(payloads) => payloads.iter().map(|p| p.number).collect(),
        Plan::Gap(gap) => panic!("a gap of {gap}"),
    }
}

#[test]
fn the_replay_starts_after_the_nodes_own_head() {
    let mut blocks = Blocks::new(64, 1 << 20);
    chain(31, &mut blocks);
    let plan = blocks.plan(("h15", 15), "h31");
    assert_eq!(numbers(&plan), (16..=31).collect::<Vec<_>>());
    assert!(numbers(&blocks.plan(("h31", 31), "h31")).is_empty());
}

#[test]
fn the_tip_is_the_newest_block_that_comes_after_the_head() {
    let mut blocks = Blocks::new(64, 1 << 20);
    assert_eq!(blocks.tip("h3"), "h3");
    chain(5, &mut blocks);
    assert_eq!(blocks.tip("h5"), "h5");
    assert_eq!(blocks.tip("h3"), "h5");
    assert_eq!(blocks.tip("h0"), "h5");
    assert_eq!(blocks.tip("elsewhere"), "elsewhere");
    blocks.keep(payload("x5", "h4", 5, 10));
    assert_eq!(blocks.tip("h5"), "h5", "a branch isn't followed");
}

#[test]
fn the_line_of_a_block_goes_back_as_far_as_blocks_are_kept() {
    let mut blocks = Blocks::new(3, 1 << 20);
    chain(5, &mut blocks);
    let line = |block| blocks.line(block).collect::<Vec<_>>();
    assert_eq!(line("h5"), ["h5", "h4", "h3", "h2"]);
    assert_eq!(line("h3"), ["h3", "h2"]);
    assert_eq!(line("x"), ["x"]);
    let mut ring = Blocks::new(3, 1 << 20);
    ring.keep(payload("a", "b", 1, 10));
    ring.keep(payload("b", "a", 2, 10));
    assert_eq!(ring.line("a").collect::<Vec<_>>(), ["a", "b", "a"]);
}

#[test]
fn a_branch_begins_where_it_leaves_the_line_of_a_head() {
    let mut blocks = Blocks::new(64, 1 << 20);
    chain(5, &mut blocks);
    for (hash, parent, number) in [("x4", "h3", 4), ("x5", "x4", 5), ("far", "?", 9)] {
        blocks.keep_recent(payload(hash, parent, number, 10), false, Sender(1));
    }
    let branch = |head, target| {
        blocks.branch(head, target).into_iter().map(|payload| payload.hash).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(branch("h5", "x5"), "x4 x5");
    assert_eq!(branch("h3", "x5"), "x4 x5");
    assert_eq!(branch("x4", "x5"), "x5");
    assert_eq!(branch("h2", "h5"), "h3 h4 h5");
    assert_eq!(branch("h0", "h1"), "h1", "the head itself needn't be kept");
    for (head, target) in [("h5", "h2"), ("h5", "h5"), ("h5", "far"), ("h5", "?"), ("elsewhere", "h5")] {
        assert_eq!(branch(head, target), "", "{head} {target}");
    }
}

#[test]
fn what_others_send_is_kept_where_it_is_recent_and_pushes_nothing_out() {
    let mut blocks = Blocks::new(8, 1 << 20);
    blocks.keep_recent(payload("x", "?", 1 << 60, 10), true, Sender(0));
    chain(10, &mut blocks);
    let kept = |blocks: &Blocks, hash: &str| blocks.get(hash).is_some();
    for n in [2, 18, 1 << 60] {
        blocks.keep_recent(payload("y", "?", n, 10), true, Sender(0));
        assert!(!kept(&blocks, "y"), "{n}");
    }
    for n in 3..=17 {
        for i in 0..9 {
            blocks.keep_recent(payload(&format!("{n} {i}"), "h9", n, 10), i % 2 == 0, Sender(i));
        }
    }
    assert!((3..=10).all(|n| kept(&blocks, &format!("h{n}"))));
    for shelf in [&blocks.proved, &blocks.unproved] {
        assert_eq!(shelf.order.len(), 2);
    }
    assert_eq!(blocks.relied.order.len(), 8);
    assert_eq!(blocks.newest().map(|p| p.number), Some(10));
}

/// Of the room for blocks of senders who aren't relied on.
fn unproved(blocks: &Blocks) -> Vec<String> {
    blocks.unproved().into_iter().map(|payload| payload.hash).collect()
}

#[test]
fn whoever_of_the_others_sent_most_makes_room() {
    let mut blocks = Blocks::new(16, 1 << 20);
    let mut sent = |hash: &str, number: u64, by: u64| {
        blocks.keep_recent(payload(hash, "?", number, 10), false, Sender(by));
        unproved(&blocks).join(" ")
    };
    // Blocks that a liar makes up while a slot is missed, all of one number, take no room from the true one.
    assert_eq!([sent("x1", 7, 1), sent("x2", 7, 1), sent("x3", 7, 1), sent("t7", 7, 2)][3], "x1 x2 x3 t7");
    assert_eq!(sent("x4", 7, 1), "x2 x3 t7 x4");
    assert_eq!(sent("t8", 8, 2), "x3 t7 x4 t8");
    assert_eq!(sent("x5", 6, 1), "x5 t7 x4 t8");
    // A block that several sent is as much of the one's who has sent least, be the liar the first to send it.
    assert_eq!([sent("t9", 9, 1), sent("t9", 9, 2), sent("t9", 9, 3)][2], "x5 t7 t8 t9");
    assert_eq!([sent("t7", 7, 3), sent("x6", 9, 1)][1], "t7 t8 t9 x6");
    assert_eq!(sent("x7", 9, 1), "t7 t8 t9 x7");
}

/// Found by the simulation: of who was away for as many blocks as there is room for the first went, as his share was the largest,
/// while what liars had made long ago stayed.
#[test]
fn who_catches_up_finds_room_that_others_left_behind() {
    let mut blocks = Blocks::new(32, 1 << 20);
    for (n, by) in [(1, 1), (2, 1), (1, 2), (2, 2), (3, 3)] {
        blocks.keep_recent(payload(&format!("x{n} {by}"), "?", n, 10), true, Sender(by));
    }
    for n in 12..18 {
        blocks.keep_recent(payload(&format!("h{n}"), &format!("h{}", n - 1), n, 10), true, Sender(4));
    }
    assert_eq!(numbers(&blocks.plan(("h11", 11), "h17")), [12, 13, 14, 15, 16, 17]);
    // A number that is made up is no sign of that.
    for n in 1..9 {
        blocks.keep_recent(payload(&format!("y{n}"), "?", 12 + n % 2, 10), false, Sender(n));
    }
    blocks.keep_recent(payload("far", "?", 31, 10), false, Sender(1));
    assert_eq!(unproved(&blocks).len(), 8);
    blocks.keep_recent(payload("far too", "?", 31, 10), false, Sender(1));
    assert!(unproved(&blocks).contains(&"y2".to_owned()), "1 has sent most");
}

#[test]
fn one_large_payload_is_a_large_share() {
    let mut blocks = Blocks::new(64, 400);
    for (hash, size, by) in [("t1", 10, 1), ("t2", 10, 1), ("large", 79, 2), ("t3", 10, 1)] {
        blocks.keep_recent(payload(hash, "?", 1, size), false, Sender(by));
    }
    assert_eq!(unproved(&blocks), ["t1", "t2", "t3"]);
}

#[test]
fn what_a_node_calls_valid_is_no_longer_to_be_asked_about() {
    let mut blocks = Blocks::new(16, 1 << 20);
    for (hash, number) in [("b", 2), ("a", 1), ("c", 3)] {
        blocks.keep_recent(payload(hash, "?", number, 10), false, Sender(1));
    }
    blocks.keep(payload("d", "c", 4, 10));
    assert_eq!(unproved(&blocks), ["a", "b", "c"], "parents first");
    ["b", "d", "nobody"].iter().for_each(|hash| blocks.prove(hash));
    blocks.keep_recent(payload("c", "?", 3, 10), true, Sender(2));
    assert_eq!(unproved(&blocks), ["a"]);
    assert_eq!((blocks.proved.order.len(), blocks.relied.order.len()), (2, 1));
}

#[test]
fn what_is_sent_by_others_first_stays_once_it_is_relied_on() {
    let mut blocks = Blocks::new(8, 1 << 20);
    let others = |blocks: &mut Blocks| {
        (0..9).for_each(|n| blocks.keep_recent(payload(&format!("x{n}"), "?", 2, 10), true, Sender(n)));
    };
    for n in [1, 2] {
        let sent = payload(&format!("h{n}"), &format!("h{}", n - 1), n, 10);
        blocks.keep_recent(sent, n == 1, Sender(n));
    }
    // Its head says so, of what it builds on as well.
    blocks.follow("h2");
    others(&mut blocks);
    assert_eq!(numbers(&blocks.plan(("h0", 0), "h2")), [1, 2]);
    // Or that it sends it, too.
    blocks.keep_recent(payload("h3", "h2", 3, 10), true, Sender(1));
    blocks.keep(payload("h3", "h2", 3, 99));
    others(&mut blocks);
    assert_eq!(numbers(&blocks.plan(("h0", 0), "h3")), [1, 2, 3]);
    assert_eq!((blocks.relied.order.len(), blocks.relied.bytes), (3, 30));
}

#[test]
fn what_is_forgotten_can_come_again_and_is_the_very_request() {
    let mut blocks = Blocks::new(8, 1 << 20);
    let request = |size| Bytes::from(vec![0; size]);
    let ways: [fn(&mut Blocks, Payload); 3] =
        [Blocks::keep, |b, p| b.keep_recent(p, true, Sender(1)), |b, p| b.keep_recent(p, false, Sender(1))];
    for keep in ways {
        keep(&mut blocks, payload("h7", "h6", 7, 10));
        blocks.forget("h7", &request(11));
        assert!(blocks.get("h7").is_some(), "other content under its hash");
        blocks.forget("nobody", &request(10));
        blocks.forget("h7", &request(10));
        assert_eq!((blocks.get("h7"), blocks.relied.bytes, blocks.unproved.bytes), (None, 0, 0));
        assert_eq!(blocks.proved.bytes, 0);
    }
}

#[test]
fn a_deeper_gap_is_left_to_the_node() {
    let mut blocks = Blocks::new(10, 1 << 20);
    chain(31, &mut blocks);
    assert_eq!(blocks.plan(("h15", 15), "h31"), Plan::Gap(6));
    assert_eq!(numbers(&blocks.plan(("h21", 21), "h31")).len(), 10);
    assert_eq!(blocks.plan(("h20", 20), "h31"), Plan::Gap(1));
}

#[test]
fn a_node_on_a_branch_is_led_back() {
    let mut blocks = Blocks::new(64, 1 << 20);
    chain(20, &mut blocks);
    blocks.keep(payload("x19", "h18", 19, 10));
    assert_eq!(numbers(&blocks.plan(("x19", 19), "h20")), (1..=20).collect::<Vec<_>>());
    assert_eq!(numbers(&blocks.plan(("h20", 20), "x19")), (1..=19).collect::<Vec<_>>());
    assert_eq!(blocks.plan(("h20", 20), "unknown"), Plan::Replay(vec![]));
}

#[test]
fn bounded_by_number_and_bytes_but_the_newest_always_stays() {
    let mut blocks = Blocks::new(64, 100);
    chain(30, &mut blocks);
    assert_eq!(blocks.relied.order.len(), 10);
    blocks.keep(payload("big", "h30", 31, 5000));
    assert_eq!(blocks.relied.order.len(), 1);
    assert_eq!(blocks.newest().map(|p| p.number), Some(31));
}

proptest! {
    #[test]
    fn accounts_stay_right(steps in prop::collection::vec((0u64..40, 0u64..40, 1usize..60), 0..200)) {
        let mut blocks = Blocks::new(8, 200);
        for (hash, parent, size) in steps {
            let sent = payload(&hash.to_string(), &parent.to_string(), hash, size);
            match size % 5 {
                0 => blocks.forget(&sent.hash, &sent.request),
                1 => blocks.follow(&sent.hash),
                2 => blocks.keep_recent(sent, size % 2 == 0, Sender(parent % 4)),
                3 if size % 2 == 0 => blocks.prove(&sent.hash),
                _ => blocks.keep(sent),
            }
            let shelves = [&blocks.relied, &blocks.proved, &blocks.unproved];
            prop_assert_eq!(shelves.map(|shelf| shelf.order.len()).iter().sum::<usize>(), blocks.by_hash.len());
            for shelf in shelves {
                let sizes = shelf.order.iter().map(|hash| blocks.by_hash[hash].payload.request.len());
                prop_assert_eq!(shelf.bytes, sizes.sum::<usize>());
            }
            prop_assert!(shelves.iter().zip([8, 2, 2]).all(|(shelf, most)| shelf.order.len() <= most));
            // Always ends, also where hashes form a ring.
            if let Some(newest) = blocks.newest().map(|p| p.hash.clone()) { let _ = blocks.plan(("none", 3), &newest); }
        }
    }
}
