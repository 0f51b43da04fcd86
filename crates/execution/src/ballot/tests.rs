use super::*;
use mainstay_node::Cause;
use proptest::prelude::*;

use crate::status::Silence;

const DEADLINE: Duration = Duration::from_millis(7500);
const WAIT: Duration = Duration::from_millis(100);

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn says(status: Status) -> Heard {
    let hash = Bytes::from_static(b"\"0x11\"");
    Heard::Status(
        PayloadStatus {
            status,
            latest_valid_hash: (status == Status::Valid).then_some(hash),
            validation_error: None,
            inclusion_list_satisfied: None,
        },
        None,
    )
}

fn silent() -> Heard {
    Heard::Silent(Silence::Failed(Cause::Refused))
}

fn error(code: i64) -> Heard {
    Heard::Error(code, Bytes::from(format!(r#"{{"code":{code},"message":"x"}}"#)))
}

fn ballot(parts: &[Part]) -> Ballot {
    Ballot::new(Rules::default(), DEADLINE, parts.iter().map(|p| Entry::new(*p, WAIT)).collect())
}

fn word(ballot: &Ballot) -> &'static str {
    match ballot.answer() {
        Answer::Status(status) => status.status.word(),
        Answer::Error(_) => "error",
        Answer::Shortfall => "shortfall",
    }
}

#[test]
fn three_valid_are_answered_with_the_third() {
    let mut b = ballot(&[Part::Voter; 3]);
    assert_eq!(b.next(ms(0)), Next::WaitUntil(DEADLINE));
    b.hear(0, says(Status::Valid), ms(5));
    assert_eq!(b.next(ms(5)), Next::WaitUntil(DEADLINE));
    b.hear(1, says(Status::Valid), ms(6));
    assert_eq!(b.next(ms(6)), Next::WaitUntil(ms(106)), "the majority stands: a straggler gets its wait");
    b.hear(2, says(Status::Valid), ms(9));
    assert_eq!(b.next(ms(9)), Next::Answer);
    assert_eq!(word(&b), "VALID");
    assert!(!b.is_early());
}

#[test]
fn a_straggler_is_waited_for_from_when_the_majority_stands_and_no_longer() {
    let mut b = ballot(&[Part::Voter; 3]);
    b.hear(0, says(Status::Valid), ms(5));
    b.hear(1, says(Status::Valid), ms(40));
    assert_eq!(b.next(ms(40)), Next::WaitUntil(ms(140)));
    assert_eq!(b.next(ms(139)), Next::WaitUntil(ms(140)));
    assert_eq!(b.next(ms(140)), Next::Answer);
    assert!(b.is_early());
    assert_eq!(word(&b), "VALID");
    // Its INVALID afterwards is in the final count.
    b.hear(2, says(Status::Invalid), ms(900));
    assert_eq!(word(&b), "SYNCING");
    assert!(b.is_split());
}

#[test]
fn an_invalid_that_comes_in_another_round_meanwhile_counts() {
    // newPayload was answered early, forkchoiceUpdated is out, and then the straggler's INVALID of the payload comes.
    let mut b = ballot(&[Part::Voter; 3]);
    b.hear(0, says(Status::Valid), ms(5));
    b.hear(1, says(Status::Valid), ms(6));
    assert_eq!(word(&b), "VALID");
    b.remember(2, true);
    assert_eq!(word(&b), "SYNCING");
    b.remember(2, false);
    assert_eq!(word(&b), "VALID", "it has taken it back");
    b.hear(2, says(Status::Valid), ms(7));
    b.remember(2, true);
    assert_eq!(word(&b), "SYNCING", "it said INVALID elsewhere after its VALID here");
}

#[test]
fn a_payload_id_is_worth_a_wait_where_a_build_was_asked_for() {
    let entries = || vec![Entry::new(Part::Voter, Duration::ZERO); 2];
    let mut b = Ballot::new(Rules::default(), DEADLINE, entries());
    b.hear(0, says(Status::Valid), ms(5));
    assert_eq!(b.next(ms(5)), Next::Answer, "no build");
    let mut b = Ballot::new(Rules::default(), DEADLINE, entries()).building();
    b.hear(0, says(Status::Valid), ms(5));
    assert_eq!(b.next(ms(5)), Next::WaitUntil(ms(5) + ID_WAIT));
    assert_eq!(b.next(ms(5) + ID_WAIT), Next::Answer, "and no longer");
    let Heard::Status(valid, _) = says(Status::Valid) else { panic!() };
    b.hear(1, Heard::Status(valid, Some("0x1".into())), ms(9));
    assert_eq!(b.next(ms(9)), Next::Answer);
}

#[test]
fn who_keeps_straggling_is_waited_for_no_more_but_votes() {
    let mut entries = vec![Entry::new(Part::Voter, WAIT); 3];
    entries[2].straggler_wait = Duration::ZERO;
    let mut b = Ballot::new(Rules::default(), DEADLINE, entries.clone());
    b.hear(0, says(Status::Valid), ms(5));
    assert_eq!(b.next(ms(5)), Next::WaitUntil(DEADLINE), "one of three is no majority: it is waited for");
    b.hear(1, says(Status::Valid), ms(6));
    assert_eq!(b.next(ms(6)), Next::Answer);
    let mut b = Ballot::new(Rules::default(), DEADLINE, entries);
    b.hear(2, says(Status::Invalid), ms(1));
    b.hear(0, says(Status::Valid), ms(2));
    b.hear(1, says(Status::Valid), ms(3));
    assert_eq!(word(&b), "SYNCING");
}

#[test]
fn an_invalid_majority_needs_nobody_else() {
    let mut b = ballot(&[Part::Voter; 3]);
    b.hear(2, says(Status::Invalid), ms(5));
    b.hear(0, says(Status::InvalidBlockHash), ms(6));
    assert_eq!(b.next(ms(6)), Next::Answer);
    assert_eq!(word(&b), "INVALID");
}

#[test]
fn at_the_deadline_whoever_is_out_abstains() {
    let mut b = ballot(&[Part::Voter; 3]);
    b.hear(0, says(Status::Valid), ms(5));
    assert_eq!(b.next(DEADLINE), Next::Answer);
    assert_eq!(word(&b), "VALID");
    let mut none = ballot(&[Part::Voter; 2]);
    assert_eq!(none.next(DEADLINE), Next::Answer);
    assert_eq!(word(&none), "shortfall");
}

#[test]
fn syncing_nodes_hold_nobody_up_and_vote_only_with_valid_or_invalid() {
    let mut b = ballot(&[Part::Voter, Part::Maybe]);
    b.hear(0, says(Status::Valid), ms(5));
    assert_eq!(b.next(ms(5)), Next::Answer);
    b.hear(1, says(Status::Syncing), ms(5));
    assert_eq!(b.tally(), Tally { valid: 1, invalid: 0, syncing: 0 });
    let mut b = ballot(&[Part::Voter, Part::Maybe]);
    b.hear(1, says(Status::Invalid), ms(1));
    b.hear(0, says(Status::Valid), ms(5));
    assert_eq!(word(&b), "SYNCING");
}

#[test]
fn do_not_use_and_cordoned_never_vote() {
    let mut b = ballot(&[Part::Voter, Part::Never]);
    b.hear(1, says(Status::Invalid), ms(1));
    b.hear(0, says(Status::Valid), ms(5));
    assert_eq!(b.next(ms(5)), Next::Answer);
    assert_eq!(word(&b), "VALID");
    let mut b = ballot(&[Part::Never; 2]);
    b.hear(0, says(Status::Valid), ms(1));
    assert_eq!(b.next(ms(1)), Next::Answer);
    assert_eq!(word(&b), "shortfall");
}

#[test]
fn a_fresh_chain_starts_though_every_node_is_thought_to_be_syncing() {
    let mut b = ballot(&[Part::Maybe, Part::Maybe, Part::Doubtful]);
    assert_eq!(b.next(ms(0)), Next::WaitUntil(DEADLINE));
    b.hear(2, silent(), ms(1));
    b.hear(0, says(Status::Valid), ms(5));
    b.hear(1, says(Status::Valid), ms(6));
    assert_eq!(b.next(ms(6)), Next::Answer);
    assert_eq!(word(&b), "VALID");
}

#[test]
fn when_the_last_voter_dies_under_the_call_the_next_best_is_waited_for() {
    let mut b = ballot(&[Part::Voter, Part::Maybe, Part::Doubtful]);
    b.hear(0, silent(), ms(1));
    assert_eq!(b.next(ms(1)), Next::WaitUntil(DEADLINE));
    b.hear(1, says(Status::Valid), ms(30));
    assert_eq!(b.next(ms(30)), Next::Answer);
    assert_eq!(word(&b), "VALID");
    let mut b = ballot(&[Part::Voter, Part::Maybe, Part::Doubtful]);
    b.hear(0, silent(), ms(1));
    b.hear(1, silent(), ms(2));
    assert_eq!(b.next(ms(2)), Next::WaitUntil(DEADLINE), "even one that is thought to be down");
    b.hear(2, silent(), ms(3));
    assert_eq!(b.next(ms(3)), Next::Answer);
    assert_eq!(word(&b), "shortfall");
}

#[test]
fn the_same_error_of_all_voters_is_the_answer() {
    let mut b = ballot(&[Part::Voter, Part::Voter, Part::Never]);
    b.hear(0, error(-38005), ms(1));
    assert_eq!(b.next(ms(1)), Next::WaitUntil(DEADLINE));
    b.hear(1, error(-38005), ms(2));
    assert_eq!(b.next(ms(2)), Next::Answer);
    assert_eq!(word(&b), "error");
    let mut mixed = ballot(&[Part::Voter; 2]);
    mixed.hear(0, error(-38005), ms(1));
    mixed.hear(1, error(-38002), ms(1));
    assert_eq!(word(&mixed), "shortfall");
    let mut outvoted = ballot(&[Part::Voter; 2]);
    outvoted.hear(0, error(-38005), ms(1));
    outvoted.hear(1, says(Status::Valid), ms(1));
    assert_eq!(word(&outvoted), "VALID");
}

#[test]
fn what_was_said_late_of_this_block_keeps_valid_from_being_told() {
    let mut entries = vec![Entry::new(Part::Voter, WAIT); 3];
    entries[2].said_invalid = true;
    let both = |entries: &[Entry]| {
        let mut b = Ballot::new(Rules::default(), DEADLINE, entries.to_vec());
        b.hear(0, says(Status::Valid), ms(1));
        b.hear(1, says(Status::Valid), ms(1));
        b
    };
    assert_eq!(word(&both(&entries)), "SYNCING");
    let mut taken_back = both(&entries);
    taken_back.hear(2, says(Status::Valid), ms(2));
    assert_eq!(word(&taken_back), "VALID");
    let mut no_answer = both(&entries);
    no_answer.hear(2, says(Status::Syncing), ms(2));
    assert_eq!(word(&no_answer), "SYNCING");
    for part in [Part::Never, Part::Doubtful] {
        entries[2].part = part;
        assert_eq!(word(&both(&entries)), "VALID", "{part:?} has no say");
    }
    let rules = Rules { on_dissent: OnDissent::Majority, ..Rules::default() };
    entries[2].part = Part::Voter;
    let mut b = Ballot::new(rules, DEADLINE, entries);
    b.hear(0, says(Status::Valid), ms(1));
    b.hear(1, says(Status::Valid), ms(1));
    assert_eq!(word(&b), "VALID", "outvoted, as its owner chose");
}

#[test]
fn an_invalid_carries_the_reasons_that_most_gave() {
    let invalid = |hash: &'static str, error: &'static str| {
        Heard::Status(
            PayloadStatus {
                status: Status::Invalid,
                latest_valid_hash: (hash != "null").then(|| Bytes::from(hash)),
                validation_error: (error != "null").then(|| Bytes::from(error)),
                inclusion_list_satisfied: None,
            },
            None,
        )
    };
    let answer = |replies: &[(&'static str, &'static str)]| {
        let mut b = ballot(&vec![Part::Voter; replies.len()]);
        for (i, (hash, error)) in replies.iter().enumerate() {
            b.hear(i, invalid(hash, error), ms(1));
        }
        match b.answer() {
            Answer::Status(s) => (s.latest_valid_hash, s.validation_error),
            other => panic!("{other:?}"),
        }
    };
    let some = |text: &'static str| Some(Bytes::from(text));
    assert_eq!(answer(&[("A", "x"), ("A", "y"), ("B", "y")]), (some("A"), some("y")));
    assert_eq!(answer(&[("A", "x"), ("B", "y")]), (None, None));
    assert_eq!(answer(&[("null", "x"), ("null", "null"), ("B", "null")]), (None, None));
}

#[test]
fn accepted_is_told_only_where_all_say_so_and_inclusion_lists_survive() {
    let mut b = ballot(&[Part::Voter; 2]);
    b.hear(0, says(Status::Accepted), ms(1));
    b.hear(1, says(Status::Accepted), ms(1));
    assert_eq!(word(&b), "ACCEPTED");
    let mut b = ballot(&[Part::Voter; 3]);
    b.hear(0, says(Status::Accepted), ms(1));
    b.hear(1, says(Status::Accepted), ms(1));
    b.hear(2, says(Status::Syncing), ms(1));
    assert_eq!(word(&b), "SYNCING");

    let v2 = |status, satisfied: &'static str| {
        let Heard::Status(mut s, id) = says(status) else { panic!("status") };
        s.inclusion_list_satisfied = Some(Bytes::from(satisfied));
        Heard::Status(s, id)
    };
    let mut b = ballot(&[Part::Voter; 2]);
    b.hear(0, v2(Status::Valid, "false"), ms(1));
    b.hear(1, v2(Status::Valid, "false"), ms(1));
    let Answer::Status(status) = b.answer() else { panic!("status") };
    assert_eq!(status.inclusion_list_satisfied.as_deref(), Some(&b"false"[..]));
    let mut b = ballot(&[Part::Voter; 2]);
    b.hear(0, v2(Status::Valid, "true"), ms(1));
    b.hear(1, v2(Status::Invalid, "null"), ms(1));
    let Answer::Status(status) = b.answer() else { panic!("status") };
    assert_eq!(status.inclusion_list_satisfied.as_deref(), Some(&b"null"[..]));
}

fn any_heard() -> impl Strategy<Value = Heard> {
    prop_oneof![
        4 => Just(says(Status::Valid)),
        2 => Just(says(Status::Invalid)),
        2 => Just(says(Status::Syncing)),
        1 => Just(says(Status::Accepted)),
        1 => Just(error(-38002)),
        1 => Just(silent()),
    ]
}

fn any_part() -> impl Strategy<Value = Part> {
    prop_oneof![4 => Just(Part::Voter), 1 => Just(Part::Maybe), 1 => Just(Part::Doubtful), 1 => Just(Part::Never)]
}

proptest! {
    /// Order of arrival changes nothing; never VALID if an INVALID with a vote is known; the answer given early is
    /// the final one, or the final one is SYNCING by a late INVALID.
    #[test]
    fn invariants(
        nodes in prop::collection::vec((any_part(), any_heard(), 0u64..300, any::<bool>()), 1..7),
        reverse in any::<bool>(),
    ) {
        let entries: Vec<Entry> = nodes.iter().map(|(part, _, _, said)| {
            let mut entry = Entry::new(*part, WAIT);
            entry.said_invalid = *said;
            entry
        }).collect();
        let mut order: Vec<usize> = (0..nodes.len()).collect();
        order.sort_by_key(|i| nodes[*i].2);
        let mut b = Ballot::new(Rules::default(), DEADLINE, entries.clone());
        let mut told = None;
        for i in &order {
            let at = ms(nodes[*i].2);
            if told.is_none() && b.next(at) == Next::Answer { told = Some(b.answer()); }
            b.hear(*i, nodes[*i].1.clone(), at);
            if told.is_none() && b.next(at) == Next::Answer { told = Some(b.answer()); }
        }
        let told = told.unwrap_or_else(|| b.answer());
        let valid = |answer: &Answer| matches!(answer, Answer::Status(s) if s.status == Status::Valid);
        let last = b.answer();
        if b.tally().invalid > 0 { prop_assert!(!valid(&last)); }
        if valid(&told) {
            prop_assert!(valid(&last) || b.tally().invalid > 0 || b.tally().syncing > 0, "{told:?} then {last:?}");
        }

        if reverse { order.reverse(); }
        let mut again = Ballot::new(Rules::default(), DEADLINE, entries);
        for i in order { again.hear(i, nodes[i].1.clone(), ms(1)); }
        prop_assert_eq!(again.answer(), b.answer());
    }
}

fn first(parts: &[Part]) -> Ballot {
    ballot(parts).answered_by(Answering::First)
}

#[test]
fn where_the_first_answers_valid_and_invalid_are_told_at_once() {
    for status in [Status::Valid, Status::Invalid, Status::InvalidBlockHash] {
        for part in [Part::Voter, Part::Maybe, Part::Doubtful] {
            let mut b = first(&[Part::Voter, part, Part::Voter]);
            assert_eq!(b.next(ms(0)), Next::WaitUntil(DEADLINE));
            b.hear(1, says(status), ms(5));
            assert_eq!(b.next(ms(5)), Next::Answer);
            assert_eq!(word(&b), status.word());
            // What others say later changes nothing of what stands first in order among equals.
            b.hear(0, says(Status::Syncing), ms(6));
            assert_eq!(word(&b), status.word());
            assert!(b.is_early());
        }
    }
}

#[test]
fn where_the_first_answers_syncing_and_errors_wait_for_who_may_say_more() {
    for (heard, told) in
        [(says(Status::Syncing), "SYNCING"), (says(Status::Accepted), "ACCEPTED"), (error(-38002), "error")]
    {
        let mut b = first(&[Part::Voter, Part::Voter]);
        b.hear(0, heard.clone(), ms(5));
        assert_eq!(b.next(ms(5)), Next::WaitUntil(ms(105)), "{told}");
        b.hear(1, says(Status::Valid), ms(50));
        assert_eq!((b.next(ms(50)), word(&b)), (Next::Answer, "VALID"));

        let mut b = first(&[Part::Voter, Part::Voter]);
        b.hear(0, heard.clone(), ms(5));
        assert_eq!(b.next(ms(5)), Next::WaitUntil(ms(105)));
        assert_eq!((b.next(ms(105)), word(&b)), (Next::Answer, told), "a hung node holds nobody");

        let mut b = first(&[Part::Voter, Part::Voter, Part::Never]);
        b.hear(0, heard.clone(), ms(5));
        b.hear(1, silent(), ms(6));
        assert_eq!((b.next(ms(6)), word(&b)), (Next::Answer, told), "nobody is left");
    }
    let mut b = first(&[Part::Voter, Part::Voter]);
    b.hear(0, error(-38002), ms(1));
    b.hear(1, says(Status::Syncing), ms(2));
    assert_eq!((b.next(ms(2)), word(&b)), (Next::Answer, "SYNCING"));
}

#[test]
fn where_the_first_answers_failures_are_no_answers_and_equals_go_by_order() {
    let mut b = first(&[Part::Voter, Part::Voter, Part::Never]);
    b.hear(2, says(Status::Invalid), ms(1));
    b.hear(0, Heard::Silent(Silence::Failed(Cause::Unauthorized)), ms(1));
    assert_eq!(b.next(ms(1)), Next::WaitUntil(DEADLINE));
    assert_eq!(word(&b), "shortfall");
    b.hear(1, says(Status::Valid), ms(2));
    assert_eq!((b.next(ms(2)), b.first()), (Next::Answer, Some(1)));

    let mut b = first(&[Part::Voter, Part::Voter]);
    b.hear(1, says(Status::Valid), ms(1));
    b.hear(0, says(Status::Valid), ms(1));
    assert_eq!(b.first(), Some(0));
    assert_eq!((b.next(DEADLINE), b.verdict()), (Next::Answer, Verdict::Valid));
}
