#![allow(clippy::disallowed_methods)]
use super::*;
use proptest::prelude::*;

const STEP: Duration = Duration::from_millis(10);

fn up(head: u64) -> Probe {
    Ok(Seen { syncing: false, head: Some(head), chain_id: Some(1) })
}

fn others(best: u64) -> Others {
    Others { best_head: Some(best), chain_id: Some(1) }
}

fn fit() -> (Health, Instant) {
    let t = Instant::now();
    let mut health = Health::new(Rules::default(), t);
    assert_eq!(health.probed(&up(10), others(10), t), Some(Condition::Unknown));
    assert_eq!(health.condition(), &Condition::Fit);
    (health, t)
}

#[test]
fn the_first_good_probe_makes_a_new_node_fit_and_the_first_bad_one_unfit() {
    fit();
    let t = Instant::now();
    let mut health = Health::new(Rules::default(), t);
    health.probed(&Err(Cause::Timeout), Others::default(), t);
    assert_eq!(health.condition(), &Condition::Unfit(Cause::Timeout));
}

#[test]
fn refused_and_reset_trip_at_once_and_ask_for_a_probe_at_once() {
    for cause in [Cause::Refused, Cause::Reset, Cause::Unattested("enclave".to_owned())] {
        let (mut health, t) = fit();
        let now = t + STEP;
        assert_eq!(health.call_failed(&cause, now), Some(Condition::Fit));
        assert_eq!(health.condition(), &Condition::Unfit(cause));
        assert_eq!(health.probe_at(), now);
    }
}

#[test]
fn timeouts_and_http_errors_trip_at_the_third_in_a_row() {
    for cause in [
        Cause::Timeout,
        Cause::Http(503),
        Cause::Unauthorized,
        Cause::Unreadable,
        Cause::Unreachable,
        Cause::Tls(TlsFault::Expired),
    ] {
        let (mut health, t) = fit();
        assert_eq!(health.call_failed(&cause, t), None);
        assert_eq!(health.call_failed(&cause, t), None);
        health.call_answered();
        assert_eq!(health.call_failed(&cause, t), None);
        assert_eq!(health.probed(&Err(cause.clone()), others(10), t), None);
        assert_eq!(health.call_failed(&cause, t), Some(Condition::Fit));
    }
}

/// A node that is restarted with a wrong certificate is refused first: its log line would else say nothing of TLS.
#[test]
fn another_reason_is_told_once_if_only_an_operator_ends_it() {
    use TlsFault::{Expired, UnknownAuthority};
    let (mut health, t) = fit();
    let down = t + STEP;
    assert_eq!(health.call_failed(&Cause::Refused, down), Some(Condition::Fit));
    for (cause, is_told) in [
        (Cause::Timeout, false),
        (Cause::Tls(Expired), true),
        (Cause::Tls(Expired), false),
        (Cause::Tls(UnknownAuthority), true),
        (Cause::Refused, false),
        (Cause::Reset, false),
        (Cause::Unauthorized, true),
        (Cause::Unauthorized, false),
        (Cause::Unattested("one".to_owned()), true),
        (Cause::Unattested("two".to_owned()), false),
    ] {
        let before = health.condition().clone();
        let told = health.probed(&Err(cause.clone()), others(10), t + STEP * 2);
        assert_eq!(told, is_told.then_some(before), "{cause:?}");
        assert_eq!(health.condition(), &Condition::Unfit(cause));
        assert_eq!(health.since(), down, "it is down since then");
    }
    // Nor is it probed any sooner for that.
    let due = health.probe_at();
    assert!(health.call_failed(&Cause::Tls(Expired), t + STEP * 3).is_some());
    assert_eq!(health.probe_at(), due);
}

#[test]
fn back_only_after_two_good_probes_and_traffic_alone_brings_nobody_back() {
    let (mut health, t) = fit();
    health.call_failed(&Cause::Refused, t);
    for _ in 0..10 {
        health.call_answered();
    }
    assert_eq!(health.probed(&up(10), others(10), t), None);
    assert_eq!(health.probed(&Err(Cause::Refused), others(10), t), None);
    assert_eq!(health.probed(&up(10), others(10), t), None);
    assert_eq!(health.probed(&up(10), others(10), t), Some(Condition::Unfit(Cause::Refused)));
    assert_eq!(health.condition(), &Condition::Fit);
}

#[test]
fn probes_of_a_dead_node_back_off_to_the_interval() {
    let (mut health, t) = fit();
    health.call_failed(&Cause::Refused, t);
    let mut pauses = Vec::new();
    let mut now = t;
    for _ in 0..7 {
        health.probed(&Err(Cause::Refused), others(10), now);
        pauses.push((health.probe_at() - now).as_millis());
        now = health.probe_at();
    }
    assert_eq!(pauses, [100, 200, 400, 800, 1600, 2000, 2000]);
}

#[test]
fn a_node_three_behind_lags_and_is_back_only_at_the_tip() {
    let (mut health, t) = fit();
    assert_eq!(health.probed(&up(10), others(12), t), None, "two behind is within max_lag");
    assert_eq!(health.probed(&up(10), others(13), t), Some(Condition::Fit));
    assert_eq!(health.condition(), &Condition::Lagging { behind: 3 });
    assert_eq!(health.probed(&up(13), others(14), t), None);
    assert_eq!(health.condition(), &Condition::Lagging { behind: 1 });
    assert!(health.probed(&up(14), others(14), t).is_some());
    assert_eq!(health.condition(), &Condition::Fit);
}

#[test]
fn a_node_that_lagged_when_it_died_still_has_to_reach_the_tip() {
    let (mut health, t) = fit();
    health.probed(&up(10), others(20), t);
    health.call_failed(&Cause::Refused, t);
    health.probed(&up(19), others(20), t);
    health.probed(&up(19), others(20), t);
    assert_eq!(health.condition(), &Condition::Lagging { behind: 1 });
}

#[test]
fn another_chain_is_misconfigured_whatever_else_it_says() {
    let (mut health, t) = fit();
    let wrong = Ok(Seen { syncing: true, head: Some(10), chain_id: Some(5) });
    health.probed(&wrong, others(10), t);
    assert_eq!(health.condition(), &Condition::Misconfigured { expected: 1, got: 5 });
    // The id is asked once per connection: a probe without it keeps the one known.
    let silent = Ok(Seen { syncing: false, head: Some(10), chain_id: None });
    health.probed(&silent, others(10), t);
    assert_eq!(health.condition(), &Condition::Misconfigured { expected: 1, got: 5 });
}

#[test]
fn most_nodes_say_which_chain_it_is() {
    assert_eq!(common_chain(&[]), None);
    assert_eq!(common_chain(&[None, Some(5)]), Some(5));
    assert_eq!(common_chain(&[Some(1), Some(5)]), Some(1));
    assert_eq!(common_chain(&[Some(1), Some(5), None, Some(5)]), Some(5));
}

proptest! {
    /// Never fit with fewer than `rise` good probes since the last fall, whatever came in between.
    #[test]
    fn no_way_back_but_by_rise(events in prop::collection::vec(0u8..6, 0..200)) {
        let (mut health, t) = fit();
        let mut good_since_down: Option<u32> = None;
        for event in events {
            match event {
                0 => { health.probed(&up(10), others(10), t); if let Some(n) = &mut good_since_down { *n += 1; } }
                1 => { health.probed(&Err(Cause::Timeout), others(10), t); if good_since_down.is_some() { good_since_down = Some(0); } }
                2 => { health.call_answered(); }
                3 => { health.call_failed(&Cause::Timeout, t); if good_since_down.is_some() { good_since_down = Some(0); } }
                4 => { health.call_failed(&Cause::Refused, t); }
                _ => { health.probe_soon(t); }
            }
            match health.condition() {
                Condition::Unfit(_) => { good_since_down = good_since_down.or(Some(0)); if event == 4 { good_since_down = Some(0); } }
                Condition::Fit => { if let Some(n) = good_since_down { prop_assert!(n >= 2, "fit after {n} good probes"); } good_since_down = None; }
                other => prop_assert!(false, "unexpected {other:?}"),
            }
        }
        // It converges: two good probes at the tip and the node is fit, whatever happened before.
        health.probed(&up(10), others(10), t);
        health.probed(&up(10), others(10), t);
        prop_assert_eq!(health.condition(), &Condition::Fit);
    }
}

#[test]
fn other_rules_hold_from_now_on_for_what_is_known_already() {
    let (mut health, t) = fit();
    for _ in 0..2 {
        assert_eq!(health.call_failed(&Cause::Timeout, t), None);
    }
    assert_eq!(health.probe_at(), t + Rules::default().interval);
    let rules = Rules { fall: 2, max_lag: 9, interval: STEP * 5, ..Rules::default() };
    health.set_rules(rules, t + STEP);
    assert_eq!(health.probe_at(), t + STEP * 6, "the next probe is due within the new interval");
    assert_eq!(health.condition(), &Condition::Fit, "nothing changes by itself");
    health.call_answered();
    assert_eq!(health.probed(&up(10), others(19), t), None, "nine behind is allowed now");
    assert_eq!(health.call_failed(&Cause::Timeout, t), None);
    assert_eq!(health.call_failed(&Cause::Timeout, t), Some(Condition::Fit));
}
