#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::type_complexity)] // some point in time; tables

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::finding::Verdict;

fn head(slot: u64) -> Known {
    Known { head: Some(slot), counts: true, ..Known::default() }
}

#[test]
fn lag_behind_the_best_of_the_others() {
    let cases: [(&[Known], usize, Option<u64>, Verdict); 8] = [
        (&[head(100), head(102)], 0, None, Verdict::Good),
        (&[head(100), head(103)], 0, None, Verdict::Soft),
        (&[head(100), head(103)], 1, None, Verdict::Good),
        (&[head(100)], 0, None, Verdict::Good),
        (&[Known { head: None, ..head(0) }, head(5)], 0, None, Verdict::Hard),
        // Who fails hard itself is no measure.
        (&[head(100), Known { counts: false, ..head(200) }], 0, None, Verdict::Good),
        // Nor who is ahead of the clock.
        (&[head(100), head(200)], 0, Some(101), Verdict::Good),
        (&[head(100), head(104), head(200)], 0, Some(103), Verdict::Soft),
    ];
    for (i, (all, me, clock, verdict)) in cases.into_iter().enumerate() {
        assert_eq!(lag(all, me, 2, clock).verdict, verdict, "case {i}");
    }
}

fn on(root: &str, version: &str, epoch: u64, head_epoch: u64) -> Known {
    let chain = Chain {
        genesis: (root.to_owned(), "0x00".to_owned()),
        genesis_time: 0,
        slot_millis: 12_000,
        slots_per_epoch: 32,
    };
    let fork = Fork { version: version.to_owned(), epoch, head_epoch };
    Known { chain: Some(chain), fork: Some(fork), ..Known::default() }
}

#[test]
fn one_genesis_and_one_fork() {
    let well = |all: &[Known]| (0..all.len()).map(|i| same_chain(all, i).is_good()).collect::<Vec<_>>();
    assert_eq!(well(&[on("a", "v1", 5, 9), on("a", "v1", 5, 9)]), [true, true]);
    // The greater number is right; in a tie who was named first.
    assert_eq!(well(&[on("b", "v1", 5, 9), on("a", "v1", 5, 9), on("a", "v1", 5, 9)]), [false, true, true]);
    assert_eq!(well(&[on("b", "v1", 5, 9), on("a", "v1", 5, 9)]), [true, false]);
    // Before and behind a fork: both may be right until the old one has passed its epoch.
    assert_eq!(well(&[on("a", "v1", 5, 9), on("a", "v2", 10, 10)]), [true, true]);
    assert_eq!(well(&[on("a", "v2", 10, 11), on("a", "v1", 5, 10)]), [true, false]);
    assert_eq!(well(&[on("a", "v2", 10, 11), on("a", "v3", 10, 11)]), [true, false]);
    assert_eq!(
        well(&[on("a", "v1", 5, 10), on("a", "v2", 10, 11), on("a", "v2", 10, 11)]),
        [false, true, true]
    );
    // A node of another chain has no say in the fork.
    assert_eq!(
        well(&[
            on("a", "v1", 5, 9),
            on("b", "v7", 5, 9),
            on("b", "v7", 5, 9),
            on("a", "v1", 5, 9),
            on("a", "v1", 5, 9)
        ]),
        [true, false, false, true, true]
    );
    assert_eq!(well(&[Known::default(), on("a", "v1", 5, 9)]), [false, true]);
}

#[test]
fn slots_by_the_clock() {
    let chain = on("a", "v", 0, 0).chain.unwrap();
    let chain = Chain { genesis_time: 1000, ..chain };
    for (millis, slot) in
        [(0, None), (999_999, None), (1_000_000, Some(0)), (1_011_999, Some(0)), (1_012_000, Some(1))]
    {
        assert_eq!(chain.slot(millis), slot, "{millis}");
    }
    assert_eq!(Chain { genesis_time: u64::MAX, ..chain }.slot(5), None);
}

#[test]
fn the_last_ones_stay_for_soft_reasons() {
    let until = Instant::now() + Duration::from_secs(1);
    let (good, warm, hard) = (Grade::Good, Grade::Warming { until }, Grade::Hard);
    let soft = Grade::Soft;
    let cases: [(&[Grade], &[bool], usize, &[bool]); 9] = [
        (&[good, soft(1)], &[true, true], 0, &[true, false]),
        (&[good, soft(1)], &[true, true], 1, &[true, false]),
        (&[good, soft(1)], &[true, true], 2, &[true, true]),
        (&[hard, soft(1)], &[true, true], 1, &[false, true]),
        (&[hard, hard], &[true, true], 1, &[false, false]),
        (&[soft(2), soft(1)], &[true, false], 1, &[false, true]),
        // No change without need.
        (&[soft(1), soft(1)], &[false, true], 1, &[false, true]),
        (&[soft(1), warm], &[true, false], 1, &[false, true]),
        (&[soft(1), soft(1)], &[false, false], 1, &[true, false]),
    ];
    for (i, (grades, open, min, expected)) in cases.into_iter().enumerate() {
        assert_eq!(let_through(grades, open, min), expected, "case {i}");
    }
}

proptest! {
    #[test]
    fn hard_never_passes_and_good_always_does(
        picks in proptest::collection::vec((0_u8..4, any::<bool>()), 0..8),
        min_fit in 0_usize..9,
    ) {
        let grades: Vec<Grade> = picks.iter().map(|(kind, _)| match kind {
            0 => Grade::Good,
            1 => Grade::Warming { until: Instant::now() },
            2 => Grade::Soft(1),
            _ => Grade::Hard,
        }).collect();
        let open: Vec<bool> = picks.iter().map(|(_, open)| *open).collect();
        let through = let_through(&grades, &open, min_fit);
        let good = grades.iter().filter(|grade| **grade == Grade::Good).count();
        let can = grades.iter().filter(|grade| **grade != Grade::Hard).count();
        for (grade, through) in grades.iter().zip(&through) {
            prop_assert!(*grade != Grade::Good || *through);
            prop_assert!(*grade != Grade::Hard || !*through);
        }
        prop_assert_eq!(through.iter().filter(|through| **through).count(), good.max(min_fit.min(can)));
    }
}
