#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::type_complexity)] // some point in time; tables

use proptest::prelude::*;

use super::*;

const WARM_UP: Duration = Duration::from_secs(10);

fn guard(checks: usize, now: Instant) -> Guard {
    Guard::new(&vec![Rules { rise: 2, fall: 1 }; checks], Rules { rise: 2, fall: 1 }, WARM_UP, now)
}

fn seconds(start: Instant, s: u64) -> Instant {
    start + Duration::from_secs(s)
}

#[test]
fn not_yet_checked_is_unfit_and_the_first_rounds_make_it_fit_without_warm_up() {
    let now = Instant::now();
    let mut guard = guard(2, now);
    assert_eq!(guard.grade(now), Grade::Hard);
    guard.observe(0, Finding::good("a"), now);
    assert_eq!(guard.grade(now), Grade::Hard);
    guard.observe(1, Finding::good("b"), now);
    assert_eq!(guard.grade(now), Grade::Good);
}

#[test]
fn who_was_unfit_comes_back_after_rise_and_warm_up() {
    let start = Instant::now();
    let at = |s| seconds(start, s);
    let mut guard = guard(1, start);
    guard.observe(0, Finding::good("a"), at(0));
    guard.observe(0, Finding::soft("few peers"), at(1));
    assert_eq!(guard.grade(at(1)), Grade::Soft(1));
    guard.observe(0, Finding::good("a"), at(2));
    assert_eq!(guard.grade(at(2)), Grade::Soft(1));
    guard.observe(0, Finding::good("a"), at(3));
    assert_eq!(guard.grade(at(3)), Grade::Warming { until: at(13) });
    assert_eq!(guard.grade(at(12)), Grade::Warming { until: at(13) });
    assert_eq!(guard.grade(at(13)), Grade::Good);
    // A break begins it anew.
    guard.observe(0, Finding::hard("x"), at(14));
    assert_eq!(guard.grade(at(14)), Grade::Hard);
    guard.observe(0, Finding::good("a"), at(15));
    guard.observe(0, Finding::good("a"), at(16));
    guard.observe(0, Finding::soft("x"), at(20));
    guard.observe(0, Finding::good("a"), at(21));
    guard.observe(0, Finding::good("a"), at(22));
    assert_eq!(guard.grade(at(31)), Grade::Warming { until: at(32) });
    assert_eq!(guard.grade(at(32)), Grade::Good);
}

#[test]
fn who_fails_when_we_start_warms_up_too() {
    let start = Instant::now();
    let mut guard = guard(1, start);
    guard.observe(0, Finding::hard("syncing"), start);
    guard.observe(0, Finding::good("a"), start);
    guard.observe(0, Finding::good("a"), start);
    assert_eq!(guard.grade(start), Grade::Warming { until: start + WARM_UP });
}

#[test]
fn a_broken_request_counts_at_once_and_only_rounds_that_began_later_heal_it() {
    let start = Instant::now();
    let at = |s| seconds(start, s);
    let mut guard = guard(1, start);
    guard.observe(0, Finding::good("a"), at(0));
    assert_eq!(
        guard.broke("connection refused", at(5)),
        Some(Flip { holds: false, saw: "connection refused".into() })
    );
    assert_eq!(guard.grade(at(5)), Grade::Hard);
    assert_eq!(guard.verdict(), Verdict::Gone);
    // Begun before: was on its way when the node died.
    assert_eq!(guard.reached(at(4), at(6)), None);
    assert_eq!(guard.reached(at(5), at(6)), None);
    assert_eq!(guard.reached(at(6), at(6)), None);
    assert!(guard.reached(at(7), at(7)).unwrap().holds);
    assert_eq!(guard.grade(at(7)), Grade::Warming { until: at(17) });
    assert_eq!(guard.reached(at(8), at(8)), None, "nothing to heal");
}

#[test]
fn the_operators_word_goes_above_all() {
    let now = Instant::now();
    let mut guard = guard(1, now);
    guard.observe(0, Finding::good("a"), now);
    guard.set_drained(true);
    assert_eq!(guard.grade(now), Grade::Hard);
    guard.set_drained(false);
    assert_eq!(guard.grade(now), Grade::Good);
}

#[test]
fn the_last_twenty_turns_are_kept() {
    let now = Instant::now();
    let mut guard = guard(1, now);
    for i in 0..30 {
        guard.observe(0, Finding::good(format!("g{i}")), now);
        guard.observe(0, Finding::good(format!("g{i}")), now);
        guard.observe(0, Finding::hard(format!("b{i}")), now);
    }
    let kept: Vec<&str> = guard.turns().map(|turn| turn.saw.as_str()).collect();
    assert_eq!(kept.len(), FLIPS_KEPT);
    assert_eq!((kept[0], kept[18], kept[19]), ("g20", "g29", "b29"));
}

#[derive(Clone, Debug)]
enum Event {
    Round(usize, u8),
    Broke,
    Reached,
    Wait(u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (0_usize..3, 0_u8..8).prop_map(|(check, kind)| Event::Round(check, kind)),
        1 => Just(Event::Broke),
        2 => Just(Event::Reached),
        2 => (1_u64..12).prop_map(Event::Wait),
    ]
}

proptest! {
    #[test]
    fn never_good_with_a_failing_check_nor_before_its_warm_up(events in proptest::collection::vec(event(), 1..80)) {
        let start = Instant::now();
        let mut now = start;
        let mut guard = guard(3, start);
        let mut bad_at: Option<Instant> = None;
        for event in events {
            match event {
                Event::Round(check, kind) => {
                    let finding = match kind {
                        0 => Finding::soft("s"),
                        1 => Finding::hard("h"),
                        2 => Finding::gone("x"),
                        _ => Finding::good("g"),
                    };
                    guard.observe(check, finding, now);
                }
                Event::Broke => { guard.broke("reset", now); }
                Event::Reached => { guard.reached(now, now); }
                Event::Wait(s) => now += Duration::from_secs(s),
            }
            let failing = guard.failing().any(|(_, check)| matches!(check.condition(), Condition::Fails(_)));
            if failing {
                bad_at = Some(now);
            }
            let all_hold = guard.failing().next().is_none();
            match guard.grade(now) {
                Grade::Good => {
                    prop_assert!(all_hold);
                    prop_assert!(bad_at.is_none_or(|bad| now >= bad + WARM_UP));
                }
                Grade::Warming { until } => prop_assert!(all_hold && bad_at.is_some() && now < until),
                Grade::Soft(count) => prop_assert_eq!(count, guard.failing().count()),
                Grade::Hard => prop_assert!(guard.verdict() >= Verdict::Hard),
            }
        }
        // Whatever was, enough good rounds bring it back.
        now += Duration::from_secs(1);
        for _ in 0..2 {
            for check in 0..3 { guard.observe(check, Finding::good("g"), now); }
            guard.reached(now, now);
        }
        prop_assert_eq!(guard.grade(now + WARM_UP), Grade::Good);
    }
}

#[test]
fn other_checks_before_the_same_node_leave_the_guard_as_it_is() {
    let start = Instant::now();
    let at = |s| seconds(start, s);
    let rules = Rules { rise: 1, fall: 2 };
    let mut guard = guard(3, start);
    for check in 0..3 {
        guard.observe(check, Finding::good("a"), at(0));
    }
    guard.observe(1, Finding::soft("few peers"), at(1));
    // The first goes, the failing one stays, a new one comes.
    guard.renew(&[(rules, Some(1)), (rules, None), (rules, Some(2))], rules, Duration::from_secs(3), at(2));
    assert_eq!(guard.checks().len(), 4);
    assert_eq!(guard.grade(at(2)), Grade::Soft(1));
    assert_eq!(guard.failing().map(|(place, _)| place).collect::<Vec<_>>(), [0]);
    assert_eq!(guard.turns().filter_map(|turn| turn.check).collect::<Vec<_>>(), [0, 2, 0]);
    guard.observe(0, Finding::good("a"), at(3));
    assert_eq!(guard.grade(at(3)), Grade::Warming { until: at(6) }, "rise and warm_up are the new ones");
    assert_eq!(guard.grade(at(6)), Grade::Good);
    guard.observe(1, Finding::hard("b"), at(7));
    assert_eq!(guard.grade(at(7)), Grade::Good, "fall is 2");
    guard.observe(1, Finding::hard("b"), at(8));
    assert_eq!(guard.grade(at(8)), Grade::Hard);
    // Traffic's own check is the last still.
    assert!(guard.broke("reset", at(9)).is_some());
    assert_eq!(guard.failing().map(|(place, _)| place).collect::<Vec<_>>(), [1, 3]);
}

#[test]
fn before_another_node_it_begins_anew_but_for_the_operators_word() {
    let now = Instant::now();
    let rules = Rules { rise: 1, fall: 1 };
    let mut guard = guard(1, now);
    guard.observe(0, Finding::good("a"), now);
    guard.set_drained(true);
    guard.restart(&[rules], rules, WARM_UP, now);
    assert!(guard.is_drained());
    guard.set_drained(false);
    assert_eq!(guard.grade(now), Grade::Hard, "not yet checked");
    guard.observe(0, Finding::good("a"), now);
    assert_eq!(guard.grade(now), Grade::Good);
}
