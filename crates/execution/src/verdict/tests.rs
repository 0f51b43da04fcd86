use super::*;
use proptest::prelude::*;

fn tally(text: &str) -> Tally {
    let mut tally = Tally::default();
    for c in text.chars() {
        match c {
            'V' => tally.add(Vote::Valid),
            'I' => tally.add(Vote::Invalid),
            'S' => tally.add(Vote::Syncing),
            _ => {} // an abstention
        }
    }
    tally
}

fn verdict(text: &str) -> &'static str {
    judge(tally(text), &Rules::default()).word()
}

#[test]
fn needed_rounds_half_away_from_zero() {
    let needed: Vec<u32> = (1..=8).map(|n| needed(n, 0.6)).collect();
    assert_eq!(needed, [1, 1, 2, 2, 3, 4, 4, 5]);
    assert_eq!(super::needed(3, 0.0), 1);
    assert_eq!(super::needed(5, 0.5), 3);
    assert_eq!(super::needed(5, 1.0), 5);
}

/// What executionbackup answers (facts, section 2), its defects put right: ties are never random.
#[test]
fn the_table() {
    for (votes, expected) in [
        ("V", "VALID"),
        ("I", "INVALID"),
        ("S", "SYNCING"),
        ("VV", "VALID"),
        ("VS", "VALID"),
        ("VI", "SYNCING"),
        ("IS", "SYNCING"),
        ("II", "INVALID"),
        ("SS", "SYNCING"),
        ("VVV", "VALID"),
        ("VVS", "VALID"),
        ("VVe", "VALID"),
        ("Vee", "VALID"),
        ("III", "INVALID"),
        ("IIV", "INVALID"),
        ("IIS", "INVALID"),
        ("VSS", "SYNCING"),
        ("SSS", "SYNCING"),
        ("VVI", "SYNCING"),
        ("VIS", "SYNCING"),
        ("ISS", "SYNCING"),
        ("VVSS", "VALID"),
        ("VVII", "SYNCING"),
        ("IISS", "SYNCING"),
        ("VSSS", "SYNCING"),
        ("IIIV", "INVALID"),
        ("VVVI", "SYNCING"),
        ("VVIS", "SYNCING"),
        ("VVVSS", "VALID"),
        ("VVSSe", "VALID"),
        ("VVVVI", "SYNCING"),
        ("IIIVV", "INVALID"),
        ("IIVSS", "SYNCING"),
        ("VVSSI", "SYNCING"),
        ("", "none"),
        ("eee", "none"),
    ] {
        assert_eq!(verdict(votes), expected, "{votes}");
    }
}

#[test]
fn a_lone_invalid_can_be_outvoted_if_the_owner_says_so() {
    let rules = Rules { on_dissent: OnDissent::Majority, ..Rules::default() };
    for (votes, expected) in [
        ("VVI", Verdict::Valid),
        ("VI", Verdict::Syncing),
        ("VII", Verdict::Invalid),
        ("VVVII", Verdict::Syncing),
        ("VVVVI", Verdict::Valid),
        ("VVIS", Verdict::Valid),
        ("VVISS", Verdict::Syncing),
        ("VVVSI", Verdict::Valid),
    ] {
        assert_eq!(judge(tally(votes), &rules), expected, "{votes}");
    }
}

#[test]
fn fewer_votes_than_min_votes_give_syncing() {
    let rules = Rules { min_votes: 2, ..Rules::default() };
    assert_eq!(judge(tally("V"), &rules), Verdict::Syncing);
    assert_eq!(judge(tally("I"), &rules), Verdict::Syncing);
    assert_eq!(judge(tally("VV"), &rules), Verdict::Valid);
    assert_eq!(judge(tally(""), &rules), Verdict::Shortfall);
}

#[test]
fn outlooks() {
    let rules = Rules::default();
    for (votes, pending, expected) in [
        ("", 1, Outlook::Open),
        ("V", 1, Outlook::OnlyDissent),
        ("V", 2, Outlook::Open),
        ("VV", 1, Outlook::OnlyDissent),
        ("VVV", 2, Outlook::OnlyDissent),
        ("VV", 3, Outlook::Open),
        ("II", 1, Outlook::Decided(Verdict::Invalid)),
        ("VI", 1, Outlook::Open),
        ("SS", 1, Outlook::Decided(Verdict::Syncing)),
        ("VS", 1, Outlook::Open),
        ("I", 1, Outlook::Open),
        ("VVI", 0, Outlook::Decided(Verdict::Syncing)),
        ("VVI", 1, Outlook::Decided(Verdict::Syncing)),
    ] {
        assert_eq!(outlook(tally(votes), pending, &rules), expected, "{votes} + {pending}");
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Answer {
    Valid,
    Invalid,
    Syncing,
    Accepted,
    Error,
    Timeout,
}

const ANSWERS: [Answer; 6] =
    [Answer::Valid, Answer::Invalid, Answer::Syncing, Answer::Accepted, Answer::Error, Answer::Timeout];

fn count(answers: &[Answer]) -> Tally {
    let mut tally = Tally::default();
    for answer in answers {
        match answer {
            Answer::Valid => tally.add(Vote::Valid),
            Answer::Invalid => tally.add(Vote::Invalid),
            Answer::Syncing | Answer::Accepted => tally.add(Vote::Syncing),
            Answer::Error | Answer::Timeout => {}
        }
    }
    tally
}

/// The rule of the issue written down a second time, slowly: groups by status, sorted, no early exits.
fn slow_judge(answers: &[Answer], rules: &Rules) -> Verdict {
    let tally = count(answers);
    let n = tally.total();
    if n == 0 {
        return Verdict::Shortfall;
    }
    if n < rules.min_votes {
        return Verdict::Syncing;
    }
    let mut groups =
        [(tally.valid, Vote::Valid), (tally.invalid, Vote::Invalid), (tally.syncing, Vote::Syncing)];
    if rules.on_dissent == OnDissent::Majority && tally.invalid == 1 && tally.valid >= 2 {
        groups[1].0 = 0;
    }
    groups.sort_by_key(|(votes, _)| std::cmp::Reverse(*votes));
    let (most, largest) = groups[0];
    let (second, runner_up) = groups[1];
    let reaches = most >= needed(n, rules.majority);
    let tie = most == second;
    let any_invalid = groups.iter().any(|(votes, vote)| *vote == Vote::Invalid && *votes > 0);
    if reaches && !tie && largest == Vote::Invalid {
        return Verdict::Invalid;
    }
    if any_invalid || !reaches {
        return Verdict::Syncing;
    }
    if tie {
        assert_ne!(largest, runner_up);
        return Verdict::Valid; // VALID and SYNCING alone
    }
    if largest == Vote::Valid { Verdict::Valid } else { Verdict::Syncing }
}

fn all_rules() -> Vec<Rules> {
    let mut all = Vec::new();
    for majority in [0.0, 0.34, 0.5, 0.6, 0.67, 0.8, 1.0] {
        for min_votes in 0..=3 {
            for on_dissent in [OnDissent::Syncing, OnDissent::Majority] {
                all.push(Rules { majority, min_votes, on_dissent });
            }
        }
    }
    all
}

fn combinations(voters: usize) -> impl Iterator<Item = Vec<Answer>> {
    (0..6usize.pow(u32::try_from(voters).unwrap_or(0))).map(move |code| {
        (0..voters).map(|i| ANSWERS[code / 6usize.pow(u32::try_from(i).unwrap_or(0)) % 6]).collect()
    })
}

/// Every combination of 1 to 5 voters, every set of rules, and every split into replies that came early and late.
#[test]
fn every_combination_early_and_late() {
    let rules = all_rules();
    for voters in 1..=5usize {
        for answers in combinations(voters) {
            for rules in &rules {
                let last = judge(count(&answers), rules);
                assert_eq!(last, slow_judge(&answers, rules), "{answers:?} {rules:?}");
                let dissent = answers.contains(&Answer::Invalid);
                if dissent && rules.on_dissent == OnDissent::Syncing {
                    assert_ne!(last, Verdict::Valid, "{answers:?}");
                }
                for early in 0..=voters {
                    let pending = u32::try_from(voters - early).unwrap_or(0);
                    match outlook(count(&answers[..early]), pending, rules) {
                        // What is said to be decided is what all replies give.
                        Outlook::Decided(verdict) => {
                            assert_eq!(verdict, last, "{answers:?} after {early}, {rules:?}")
                        }
                        // An early VALID is the final answer, or SYNCING by a late INVALID.
                        Outlook::OnlyDissent => {
                            let late_invalid = answers[early..].contains(&Answer::Invalid);
                            assert!(
                                last == Verdict::Valid || (last == Verdict::Syncing && late_invalid),
                                "{answers:?} after {early}, {rules:?}: {last:?}"
                            );
                        }
                        Outlook::Open => assert!(pending > 0),
                    }
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn more_votes_of_the_winner_never_change_it(valid in 0u32..9, invalid in 0u32..9, syncing in 0u32..9, majority in 0.5f64..=1.0) {
        let rules = Rules { majority, ..Rules::default() };
        let tally = Tally { valid, invalid, syncing };
        match judge(tally, &rules) {
            Verdict::Valid => prop_assert_eq!(judge(tally.plus(1, 0, 0), &rules), Verdict::Valid),
            Verdict::Invalid => prop_assert_eq!(judge(tally.plus(0, 1, 0), &rules), Verdict::Invalid),
            Verdict::Syncing | Verdict::Shortfall => {}
        }
    }

    #[test]
    fn never_valid_where_an_el_said_invalid(valid in 0u32..99, invalid in 1u32..99, syncing in 0u32..99, majority in 0.0f64..=1.0) {
        let rules = Rules { majority, ..Rules::default() };
        prop_assert_ne!(judge(Tally { valid, invalid, syncing }, &rules), Verdict::Valid);
    }
}
