use super::*;

fn scene() -> Scene {
    Scene::of(Rules { agreement: true, ..Rules::new(Duration::from_millis(SLOT)) })
}

/// A block of another branch.
fn fork(n: u64) -> Hash {
    let mut hash = block(n);
    hash.0[31] = 0xff;
    hash
}

fn fork_block(s: &mut Scene, ms: u64, who: &str, n: u64) -> Option<Change> {
    let first = s.heard(ms, who, Heard::Payload { hash: fork(n), parent: fork(n - 1), slot: n });
    let second = s.head(ms, who, fork(n));
    first.or(second)
}

#[test]
fn the_leader_names_the_head_that_most_name() {
    let mut s = scene();
    fork_block(&mut s, 0, "a", FIRST);
    s.block(1, "b", FIRST);
    assert_eq!(s.leads(), "a", "one against one");
    let change = s.block(2, "c", FIRST).unwrap();
    assert_eq!(change.to, cl("b"));
    assert_eq!(change.why, Why::Disagrees { head: block(FIRST), by: 2, of: 3 });
    assert_eq!(s.state("a"), State::Disagrees);
}

#[test]
fn without_the_setting_the_leader_stays_on_its_head() {
    let mut s = Scene::new();
    fork_block(&mut s, 0, "a", FIRST);
    assert_eq!(s.block(1, "b", FIRST).or(s.block(2, "c", FIRST)), None);
}

#[test]
fn two_are_no_agreement_nor_are_two_and_one_that_doesnt_count() {
    let mut s = scene();
    fork_block(&mut s, 0, "a", FIRST);
    assert_eq!(s.block(1, "b", FIRST), None);
    assert_eq!(s.call(2, "c"), None, "has no head");
    s.block(3, "d", FIRST - 1);
    s.heard(3, "d", Heard::Payload { hash: block(1), parent: block(0), slot: u64::MAX });
    assert_eq!(s.head(4, "d", block(FIRST)), None, "suspect");
    assert_eq!(s.leads(), "a");
    // Nor is one on the head of two, where the leader has named none.
    let mut s = scene();
    s.call(0, "a");
    assert_eq!(s.block(1, "b", FIRST), None);
    assert_eq!(s.block(2, "c", FIRST), None);
}

#[test]
fn half_are_not_most() {
    let mut s = scene();
    fork_block(&mut s, 0, "z", FIRST);
    fork_block(&mut s, 0, "y", FIRST);
    assert_eq!(s.block(0, "c", FIRST), None);
    assert_eq!(s.block(0, "d", FIRST), None);
    let change = s.block(0, "e", FIRST).unwrap();
    assert_eq!(change.why, Why::Disagrees { head: block(FIRST), by: 3, of: 5 });
}

#[test]
fn sticky_among_those_who_agree_whoever_is_quick() {
    // Each is the first in turn, each the last: the leader is a step ahead of most, or a step behind, for a moment.
    let mut s = scene();
    s.block(0, "a", FIRST);
    for n in 1..30 {
        let order = [["a", "b", "c"], ["b", "c", "a"], ["c", "a", "b"]][n as usize % 3];
        for (place, who) in order.into_iter().enumerate() {
            let at = n * SLOT + place as u64 * 1_000;
            assert_eq!(s.pass(at), []);
            assert_eq!(s.block(at, who, FIRST + n), None, "{who} in slot {n}");
        }
    }
    assert_eq!(s.leads(), "a");
}

#[test]
fn a_leader_that_stays_behind_most_is_a_step_behind_for_one_block_only() {
    let mut s = scene();
    for who in ["a", "b", "c"] {
        s.block(0, who, FIRST);
    }
    assert_eq!(s.block(SLOT, "b", FIRST + 1), None);
    assert_eq!(s.block(SLOT, "c", FIRST + 1), None);
    s.call(SLOT + 1, "a");
    assert_eq!(s.pass(2 * SLOT), []);
    s.call(2 * SLOT, "a");
    assert_eq!(s.block(2 * SLOT, "b", FIRST + 2), None, "one on 100, one on 101, one on 102");
    let change = s.block(2 * SLOT, "c", FIRST + 2).unwrap();
    assert_eq!(change.why.word(), "disagrees");
}

#[test]
fn a_leader_alone_on_another_branch_is_not_saved_by_a_higher_slot() {
    let mut s = scene();
    for who in ["a", "b", "c"] {
        s.block(0, who, FIRST);
    }
    s.block(SLOT, "b", FIRST + 1);
    s.block(SLOT, "c", FIRST + 1);
    // A step ahead of most by another's payload it isn't, and two steps are not one.
    let change = fork_block(&mut s, 2 * SLOT, "a", FIRST + 2).unwrap();
    assert_eq!(change.why.word(), "disagrees");
    // And whoever takes over is one of most, though "a" has the highest slot.
    assert_eq!(change.to, cl("b"));
    s.leader.gone(&cl("b"), s.now(2 * SLOT + 1));
    assert_eq!(s.leads(), "a", "with two left the other rules stand alone");
}

#[test]
fn one_who_lies_about_a_parent_saves_no_leader() {
    let mut s = scene();
    fork_block(&mut s, 0, "a", FIRST);
    let lie = Heard::Payload { hash: block(FIRST + 1), parent: fork(FIRST), slot: FIRST + 1 };
    s.heard(SLOT, "accomplice", lie);
    s.head(SLOT, "accomplice", block(FIRST + 1));
    let change = s.block(SLOT, "b", FIRST + 1).unwrap();
    assert_eq!((change.why.word(), s.state("a")), ("disagrees", State::Disagrees));
}

#[test]
fn when_the_leader_fails_one_of_most_follows() {
    let mut s = scene();
    for who in ["a", "b", "c", "d"] {
        s.block(0, who, FIRST);
    }
    fork_block(&mut s, SLOT, "d", FIRST + 1);
    assert_eq!(s.slot("d"), Some(FIRST + 1), "the highest, alone");
    assert_eq!(s.leader.gone(&cl("a"), s.now(SLOT + 1)).unwrap().to, cl("b"));
}
