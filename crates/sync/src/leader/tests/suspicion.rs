use super::*;

fn ahead(slot: u64) -> Heard {
    Heard::Payload { hash: block(7_777), parent: block(7_776), slot }
}

#[test]
fn defect_4_a_future_timestamp_never_gains_the_lead() {
    // With sync-proxy one such payload pinned its sender as the best for ever.
    let mut s = Scene::new();
    s.block(0, "real", FIRST);
    for (n, slot) in [u64::MAX, u64::MAX - 1, u64::MAX / 12, FIRST + 1_000, FIRST + 2].into_iter().enumerate()
    {
        let at = n as u64;
        assert_eq!(s.heard(at, "liar", ahead(slot)), None);
        assert_eq!(s.heard(at, "liar", Heard::Head { hash: block(7_777), building: Some(slot) }), None);
        assert_eq!((s.leads(), s.slot("liar")), ("real".into(), None), "{slot}");
        assert_eq!(s.state("liar"), State::Suspect(Suspicion::Ahead { slot, clock: FIRST }));
    }
    // The real one's next block counts as ever.
    assert_eq!(s.block(SLOT, "real", FIRST + 1), None);
    assert_eq!((s.leads(), s.slot("real")), ("real".into(), Some(FIRST + 1)));
    // Nor when the real one is gone: better a leader that is gone than one that lies.
    s.leader.gone(&cl("real"), s.now(SLOT + 1));
    s.heard(SLOT + 2, "liar", ahead(u64::MAX));
    assert_eq!(s.leads(), "real");
}

#[test]
fn defect_4_who_begins_with_a_lie_doesnt_lead_and_the_first_real_one_does() {
    let mut s = Scene::new();
    assert_eq!(s.heard(0, "liar", ahead(u64::MAX)), None);
    assert_eq!(s.leader.leader(), None);
    assert_eq!(s.block(1, "real", FIRST).unwrap().why, Why::First);
    assert_eq!(s.leads(), "real");
}

#[test]
fn a_leader_that_lies_loses_the_lead_to_an_honest_one() {
    let mut s = Scene::new();
    s.block(0, "a", FIRST);
    assert_eq!(s.heard(1, "a", ahead(FIRST + 2)), None, "nobody else is there");
    let change = s.block(2, "b", FIRST).unwrap();
    assert_eq!(change.to, cl("b"));
    assert_eq!(change.why.to_string(), "it named slot 102, 2 ahead of this machine's clock (100)");
}

#[test]
fn a_slot_one_ahead_is_believed_but_counts_as_the_clocks_until_it_begins() {
    let mut s = Scene::new();
    s.payload(0, "a", FIRST);
    assert_eq!(s.payload(1, "hasty", FIRST + 1), None);
    assert_eq!((s.state("hasty"), s.slot("hasty")), (State::Well, Some(FIRST)));
    s.call(11_000, "a");
    s.call(11_000, "hasty");
    assert_eq!(s.payload(SLOT, "hasty", FIRST + 1), None);
    assert_eq!(s.slot("hasty"), Some(FIRST + 1), "the same payload, once it is time");
    // Always one ahead, and still no better than the honest.
    for n in 1..20 {
        let at = n * SLOT;
        assert_eq!(s.pass(at), []);
        assert_eq!(s.payload(at, "hasty", FIRST + n + 1), None);
        assert_eq!(s.block(at + 3_000, "a", FIRST + n), None);
    }
    assert_eq!(s.leads(), "a");
}

#[test]
fn a_lie_is_no_sign_of_life() {
    let mut s = Scene::new();
    s.block(0, "a", FIRST);
    s.call(20_000, "b");
    s.heard(1_000, "b", Heard::Call);
    let liar_leads =
        Rules { leader_timeout: Duration::from_secs(5), ..Rules::new(Duration::from_millis(SLOT)) };
    let mut s = Scene::of(liar_leads);
    s.call(0, "a");
    for n in 1..=10 {
        s.heard(n * 1_000, "a", ahead(u64::MAX));
    }
    s.pass(15_000);
    assert_eq!(s.state("a"), State::Silent, "suspicion has ended, and nothing counted since");
}

#[test]
fn a_suspicion_ends_leader_timeout_after_the_last_lie() {
    let mut s = Scene::new();
    s.block(0, "a", FIRST);
    s.heard(1_000, "b", ahead(u64::MAX));
    s.block(2_000, "b", FIRST);
    assert_eq!(s.state("b").word(), "suspect", "a true word doesn't undo it");
    s.call(20_000, "a");
    s.call(20_000, "b");
    s.pass(24_999);
    assert_eq!(s.state("b").word(), "suspect");
    s.pass(25_000);
    assert_eq!(s.state("b"), State::Well);
    assert_eq!(s.leader.gone(&cl("a"), s.now(25_001)).unwrap().to, cl("b"));
}

#[test]
fn a_head_that_no_execution_client_takes_costs_the_lead() {
    let mut s = Scene::new();
    s.block(0, "a", FIRST);
    s.block(0, "b", FIRST - 1);
    assert_eq!(s.leader.refused(block(55), s.now(1)), None, "nobody's head");
    let change = s.leader.refused(block(FIRST), s.now(2)).unwrap();
    assert_eq!((change.to, change.why), (cl("b"), Why::Suspect(Suspicion::Refused { head: block(FIRST) })));
    assert_eq!(s.slot("a"), None, "what it gained by that block is gone");
    // It stays suspect as long as it stays there, and leader_timeout from then on.
    for n in 1..10 {
        s.call(n * SLOT, "a");
        s.call(n * SLOT, "b");
        s.pass(n * SLOT + 1);
    }
    assert_eq!(s.state("a").word(), "suspect");
    s.block(10 * SLOT, "a", FIRST + 10);
    assert_eq!(s.state("a"), State::Well, "it has moved on, and the refusal was long ago");
    // Named again it is refused at once, though no execution client was asked again.
    s.head(10 * SLOT + 1, "a", block(FIRST));
    assert_eq!(s.state("a").word(), "suspect");
    s.block(10 * SLOT + 2, "a", FIRST + 10);
    assert_eq!(s.state("a").word(), "suspect", "for leader_timeout");
}

#[test]
fn a_refused_payload_gains_nothing_and_is_no_ground_for_suspicion() {
    // Honest CLs pass on what a bad proposer made.
    let mut s = Scene::new();
    s.block(0, "a", FIRST);
    s.payload(SLOT, "b", FIRST + 1);
    s.leader.refused(block(FIRST + 1), s.now(SLOT + 1));
    assert_eq!((s.state("b"), s.slot("b")), (State::Well, None));
    s.payload(SLOT + 2, "c", FIRST + 1);
    assert_eq!((s.state("c"), s.slot("c")), (State::Well, None), "sent again by another");
    assert_eq!(s.slot("a"), Some(FIRST));
    // Who makes it its head is suspect, without another word of an execution client's.
    s.head(SLOT + 3, "c", block(FIRST + 1));
    assert_eq!(s.state("c").word(), "suspect");
}

#[test]
fn a_head_that_is_taken_after_all_is_as_good_as_any() {
    let mut s = Scene::new();
    s.block(0, "a", FIRST);
    s.leader.refused(block(FIRST), s.now(1));
    assert_eq!(s.state("a").word(), "suspect");
    s.leader.taken(block(FIRST), true, s.now(2));
    assert_eq!((s.state("a"), s.slot("a")), (State::Well, Some(FIRST)));
    s.block(3, "b", FIRST);
    assert_eq!(s.state("b"), State::Well);
    // Nothing of it is left when another suspicion ends.
    s.heard(4, "a", ahead(u64::MAX));
    s.call(20_000, "a");
    s.pass(30_000);
    assert_eq!(s.state("a"), State::Well);
}

#[test]
fn of_two_suspicions_each_is_told_while_it_stands() {
    let mut s = Scene::new();
    s.block(0, "a", FIRST);
    s.leader.refused(block(FIRST), s.now(1));
    s.heard(2, "a", ahead(u64::MAX));
    assert_eq!(s.state("a"), State::Suspect(Suspicion::Ahead { slot: u64::MAX, clock: FIRST }));
    s.pass(30_000);
    assert_eq!(s.state("a"), State::Suspect(Suspicion::Refused { head: block(FIRST) }));
}

#[test]
fn when_all_are_on_a_refused_head_the_leader_stays() {
    let mut s = Scene::new();
    s.block(0, "a", FIRST);
    s.block(0, "b", FIRST);
    assert_eq!(s.leader.refused(block(FIRST), s.now(1)), None);
    assert_eq!(s.leads(), "a");
}

#[test]
fn a_clock_that_is_set_back_takes_the_slots_with_it() {
    let mut s = Scene::new();
    let now = |s: &Scene, ms, slot| Now { slot, ..s.now(ms) };
    let told = now(&s, 0, 5_000);
    s.leader.heard(&cl("liar"), Heard::Payload { hash: block(1), parent: block(0), slot: 5_000 }, told);
    assert_eq!(s.slot("liar"), Some(5_000), "the clock itself said so");
    let real = now(&s, 1, FIRST);
    s.leader.heard(&cl("a"), Heard::Payload { hash: block(2), parent: block(1), slot: FIRST }, real);
    assert_eq!(s.slot("liar"), None);
}

#[test]
fn refused_blocks_are_remembered_within_bounds() {
    let mut s = Scene::new();
    for n in 0..10_000 {
        s.leader.refused(block(n), s.now(n));
    }
    assert_eq!(s.leader.refused.len(), JUDGED_KEPT);
    // One that is refused again and again pushes out no other.
    (0..1_000).for_each(|n| drop(s.leader.refused(block(9_999), s.now(10_000 + n))));
    assert!(s.leader.refused.contains(&block(9_998)));
    for n in 0..10_000 {
        s.payload(20_000, "a", 1 + n % FIRST);
        s.heard(20_000, "a", Heard::Payload { hash: block(n), parent: block(n), slot: 7 });
    }
    assert_eq!(s.slot("a"), Some(FIRST));
}

#[test]
fn whose_token_is_refused_doesnt_keep_the_lead() {
    let mut s = Scene::new();
    s.block(0, "a", FIRST);
    s.block(0, "b", FIRST);
    let change = s.leader.unauthorized(&cl("a"), s.now(1)).unwrap();
    assert_eq!((change.to, change.why.to_string()), (cl("b"), "execution clients refuse its token".into()));
    assert_eq!(s.leader.unauthorized(&cl("nobody"), s.now(2)), None);
    s.block(SLOT, "a", FIRST + 1);
    assert_eq!(s.state("a"), State::Suspect(Suspicion::Unauthorized), "it says much, and can do nothing");
    s.pass(24_001);
    assert_eq!(s.state("a"), State::Well);
}

/// The leader does `what` in each slot, another is well; when the other leads, in milliseconds.
fn until_another_leads(what: impl Fn(&mut Scene, u64, u64)) -> u64 {
    let mut s = Scene::new();
    for n in 0..20 {
        let at = n * SLOT;
        let mut changes = s.pass(at + 1_000);
        what(&mut s, at + 1_000, FIRST + n);
        changes.extend(s.pass(at + 2_000));
        s.block(at + 2_000, "well", FIRST + n);
        s.leader.taken(block(FIRST + n), true, s.now(at + 2_000));
        if s.leads() == "well" {
            return changes.first().map_or(at, |(ms, _)| *ms);
        }
    }
    panic!("{:?}", s.leader);
}

#[test]
fn who_sends_all_payloads_and_names_old_heads_is_no_further_than_they_are() {
    let at = until_another_leads(|s, at, n| {
        s.payload(at, "liar", n);
        s.head(at, "liar", block(FIRST));
    });
    assert!(at <= 3 * SLOT + 2_000, "{at}");
    // It speaks in time, so that it isn't its silence that tells.
    let at = until_another_leads(|s, at, n| {
        s.payload(at, "liar", n);
        s.head(at, "liar", block(FIRST));
        s.payload(at, "well", n);
        s.leader.taken(block(n), true, s.now(at));
        s.head(at + 1, "well", block(n));
        s.call(at + 2, "liar");
    });
    assert_eq!(at, 3 * SLOT, "with its first call of that slot");
    // Nor is who goes back further than its payloads are remembered.
    until_another_leads(|s, at, n| {
        s.payload(at, "liar", n);
        s.head(at, "liar", block(n - 50));
    });
}

#[test]
fn heads_that_no_el_knows_are_worth_nothing_beside_those_that_are_there() {
    // With attributes of now, or with payloads that nobody can judge.
    until_another_leads(|s, at, n| {
        s.heard(at, "liar", Heard::Head { hash: block(n + 1_000_000), building: Some(n + 1) });
    });
    until_another_leads(|s, at, n| {
        let (hash, parent) = (block(n + 1_000_000), block(n + 2_000_000));
        s.heard(at, "liar", Heard::Payload { hash, parent, slot: n });
        s.leader.taken(hash, false, s.now(at));
        s.head(at, "liar", hash);
    });
}

/// Found by the simulation: a leader whose head stood still led on as long as it made a block of its own in every slot, which ELs
/// called VALID, while they lacked a parent of what the others named.
#[test]
fn valid_blocks_that_nobody_makes_a_head_are_worth_nothing() {
    let mut s = Scene::new();
    s.block(0, "liar", FIRST);
    s.leader.taken(block(FIRST), true, s.now(0));
    s.block(0, "well", FIRST);
    for n in 1..7 {
        let at = n * SLOT;
        s.pass(at);
        let made_up = block(FIRST + n + 1_000_000);
        s.heard(at, "liar", Heard::Payload { hash: made_up, parent: block(FIRST - 1), slot: FIRST + n });
        s.leader.taken(made_up, true, s.now(at));
        s.block(at, "well", FIRST + n);
        s.leader.taken(block(FIRST + n), false, s.now(at));
        s.call(at + 1, "liar");
    }
    assert_eq!(s.leads(), "well");
}

/// Found by the simulation: who never named a head took the lead by a VALID block of its own.
#[test]
fn who_names_no_head_isnt_up_with_those_who_do() {
    for leads in [true, false] {
        let mut s = Scene::new();
        let made_up = |n| Heard::Payload { hash: block(n + 1_000_000), parent: block(FIRST - 1), slot: n };
        if leads {
            s.heard(0, "a liar", made_up(FIRST));
        }
        s.block(0, "well", FIRST);
        s.block(0, "well too", FIRST);
        for n in 1..4 {
            let at = n * SLOT;
            s.pass(at);
            s.heard(at, "a liar", made_up(FIRST + n));
            s.block(at, "well", FIRST + n);
            s.block(at, "well too", FIRST + n);
            for block in [block(FIRST + n + 1_000_000), block(FIRST + n)] {
                s.leader.taken(block, true, s.now(at));
            }
        }
        s.leader.gone(&cl("well"), s.now(3 * SLOT + 1));
        assert_eq!(s.leads(), "well too");
    }
}

#[test]
fn while_no_el_knows_anything_payloads_count_all_the_same() {
    let mut s = Scene::new();
    s.block(0, "a", FIRST);
    s.leader.taken(block(FIRST), true, s.now(0));
    s.block(0, "b", FIRST);
    // All ELs are syncing from now on, and the leader is cut off.
    for n in 1..8 {
        s.pass(n * SLOT);
        s.head(n * SLOT, "a", block(FIRST));
        s.block(n * SLOT, "b", FIRST + n);
        s.leader.taken(block(FIRST + n), false, s.now(n * SLOT));
    }
    assert_eq!(s.leads(), "b");
}
