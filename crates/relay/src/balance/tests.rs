#![allow(clippy::disallowed_methods)] // some point in time

use proptest::prelude::*;

use super::*;

const AFTER: Duration = Duration::from_secs(30);
const SECOND: Duration = Duration::from_secs(1);

/// Legs of one rank, by the places of their outer peers, and these.
fn legs(outers: &[usize], peers: usize) -> (Vec<Seat>, Vec<Bench>) {
    let seat = |(number, outer): (usize, &usize)| Seat {
        leg: Leg(number as u64 + 1),
        outer: *outer,
        fit: true,
        rank: 0,
    };
    let bench = |place| Bench { legs: outers.iter().filter(|outer| **outer == place).count(), is_open: true };
    (outers.iter().enumerate().map(seat).collect(), (0..peers).map(bench).collect())
}

/// What is tried from one moment on with a peer that is always fit, until a leg moves; when.
fn until_moved(balance: &mut Balance, seats: &[Seat], benches: &[Bench], from: Instant) -> (Try, Duration) {
    for second in 0..100_000 {
        let now = from + SECOND * second;
        let Some(tried) = balance.choose(seats, benches, now) else { continue };
        if tried.moves {
            balance.done(tried, Outcome::Moved, now);
            return (tried, SECOND * second);
        }
        balance.done(tried, Outcome::Fit, now);
    }
    panic!("never");
}

#[test]
fn the_leg_that_is_preferred_least_goes_to_the_lonely_peer_once_that_has_been_fit() {
    let mut balance = Balance::of(AFTER);
    let start = Instant::now();
    let (mut seats, benches) = legs(&[0, 0], 2);
    seats[0].rank = 1;
    let looked_at = Try { leg: Leg(1), to: 1, moves: false };
    assert_eq!(balance.choose(&seats, &benches, start), Some(looked_at));
    assert_eq!(balance.choose(&seats, &benches, start), None, "one at a time");
    balance.done(Try { leg: Leg(7), ..looked_at }, Outcome::Fit, start);
    assert_eq!(balance.fit_for(1, start), None, "that was another one");
    balance.done(looked_at, Outcome::Fit, start);
    assert_eq!(balance.fit_for(1, start + SECOND), Some(SECOND));
    let (tried, took) = until_moved(&mut balance, &seats, &benches, start);
    assert_eq!((tried, took), (Try { leg: Leg(1), to: 1, moves: true }, AFTER));
}

#[test]
fn who_moves_from_where_to_where() {
    let open = |legs| Bench { legs, is_open: true };
    let shut = |legs| Bench { legs, is_open: false };
    for (outers, benches, expected) in [
        (&[0, 0][..], &[open(2), open(0)][..], Some((2, 1))),
        (&[1, 1], &[open(0), open(2)], Some((2, 0))),
        (&[0, 1], &[open(1), open(1)], None),
        (&[0, 0], &[open(2)], None),
        (&[], &[open(0), open(0)], None),
        // One is being connected to for a node that dials.
        (&[0, 0], &[open(2), open(1)], None),
        (&[0, 0, 1], &[open(2), open(1)], None),
        (&[0, 0, 0], &[open(3), open(0)], Some((3, 1))),
        (&[0, 0, 1, 2], &[open(2), open(1), open(1)], None),
        (&[0, 0, 1], &[open(2), open(1), open(0)], Some((2, 2))),
        (&[0, 0, 1, 1], &[open(2), open(2), open(0)], Some((4, 2))),
        // It failed lately, or the settings have it no more.
        (&[0, 0], &[open(2), shut(0)], None),
        (&[0, 0, 0], &[open(3), shut(0), open(1)], Some((3, 2))),
        (&[0, 0], &[shut(2), open(0)], Some((2, 1))),
    ] {
        let (seats, _) = legs(outers, 0);
        let tried = Balance::of(AFTER).choose(&seats, benches, Instant::now());
        assert_eq!(tried.map(|tried| (tried.leg.0, tried.to)), expected, "{outers:?} {benches:?}");
    }
}

#[test]
fn a_leg_that_is_not_fit_is_left_alone() {
    let (mut seats, benches) = legs(&[0, 0], 2);
    seats[1].fit = false;
    let tried = Balance::of(AFTER).choose(&seats, &benches, Instant::now());
    assert_eq!(tried.map(|tried| tried.leg), Some(Leg(1)));
    seats[0].fit = false;
    assert_eq!(Balance::of(AFTER).choose(&seats, &benches, Instant::now()), None);
}

#[test]
fn never_if_that_is_wanted() {
    let (seats, benches) = legs(&[0, 0], 2);
    let mut balance = Balance::of(Duration::ZERO);
    assert_eq!(balance.choose(&seats, &benches, Instant::now()), None);
    balance.set(AFTER);
    assert!(balance.choose(&seats, &benches, Instant::now()).is_some());
}

#[test]
fn who_is_unfit_is_tried_less_and_less_often_and_begins_anew() {
    let (seats, benches) = legs(&[0, 0], 2);
    let (mut balance, start) = (Balance::of(AFTER), Instant::now());
    let mut at = Vec::new();
    for second in 0..800 {
        let now = start + SECOND * second;
        if let Some(tried) = balance.choose(&seats, &benches, now) {
            at.push(second);
            balance.done(tried, Outcome::Unfit("refused".to_owned()), now);
        }
    }
    assert_eq!(at, [0, 10, 30, 70, 150, 310, 470, 630, 790]);
    assert_eq!(balance.trouble(1), Some("refused"));
    let (_, took) = until_moved(&mut balance, &seats, &benches, start + SECOND * 950);
    assert_eq!((took, balance.trouble(1)), (AFTER, None));
}

#[test]
fn what_was_found_long_ago_counts_no_more() {
    let (seats, benches) = legs(&[0, 0], 2);
    let (mut balance, start) = (Balance::of(AFTER), Instant::now());
    for (second, outcome) in [(0, Outcome::Fit), (20, Outcome::Unready("")), (40, Outcome::Fit)] {
        let tried = balance.choose(&seats, &benches, start + SECOND * second).unwrap();
        balance.done(tried, outcome, start + SECOND * second);
    }
    assert_eq!(balance.fit_for(1, start + SECOND * 100), Some(SECOND * 100));
    assert_eq!(balance.fit_for(1, start + SECOND * 101), None);
    let tried = balance.choose(&seats, &benches, start + SECOND * 101).unwrap();
    assert!(!tried.moves);
    balance.done(tried, Outcome::Fit, start + SECOND * 101);
    assert_eq!(balance.fit_for(1, start + SECOND * 102), Some(SECOND));
    // One that failed meanwhile is to show it anew too.
    balance.failed(1, start + SECOND * 102);
    assert_eq!(balance.fit_for(1, start + SECOND * 102), None);
}

#[test]
fn who_fails_again_has_to_be_fit_for_longer() {
    let (mut balance, start) = (Balance::of(AFTER), Instant::now());
    assert_eq!(balance.needed(1, start), AFTER);
    for (minute, times) in [(0, 1), (5, 2), (10, 4), (15, 8), (20, 16), (25, 32), (30, 64), (35, 64)] {
        let at = start + SECOND * 60 * minute;
        // Both of its legs.
        balance.failed(1, at);
        balance.failed(1, at + SECOND);
        assert_eq!(balance.needed(1, at), AFTER * times, "after {minute} minutes");
    }
    assert_eq!(balance.needed(0, start), AFTER);
    let last = start + SECOND * (60 * 35 + 1);
    assert_eq!(balance.needed(1, last + REMEMBERED), AFTER);
    balance.failed(1, last + REMEMBERED);
    assert_eq!(balance.needed(1, last + REMEMBERED), AFTER);
}

#[test]
fn where_nothing_is_to_be_moved_nothing_is_in_its_way() {
    let (seats, benches) = legs(&[0, 0], 2);
    let (mut balance, start) = (Balance::of(AFTER), Instant::now());
    let tried = balance.choose(&seats, &benches, start).unwrap();
    balance.done(tried, Outcome::Unfit("refused".to_owned()), start);
    balance.look(&seats, &benches, start);
    assert_eq!(balance.trouble(1), Some("refused"));
    let (seats, benches) = legs(&[0], 2);
    balance.look(&seats, &benches, start);
    assert_eq!(balance.trouble(1), None);
}

#[test]
fn a_leg_that_ends_meanwhile_ends_its_try() {
    let (seats, benches) = legs(&[0, 0, 0], 2);
    let (mut balance, start) = (Balance::of(AFTER), Instant::now());
    let tried = balance.choose(&seats, &benches, start).unwrap();
    let (seats, benches) = legs(&[0, 0], 2);
    balance.look(&seats, &benches, start);
    assert_eq!(balance.choose(&seats, &benches, start), None);
    let next = balance.choose(&seats, &benches, start + NOT_READY).unwrap();
    assert_eq!((tried.leg, next.leg), (Leg(3), Leg(2)));
}

/// A world of legs and outer peers, which moves legs as it is told.
struct World {
    balance: Balance,
    /// The outer peer of each leg.
    legs: Vec<Option<usize>>,
    up: Vec<bool>,
    now: Instant,
    moves: Vec<(Instant, usize)>,
}

impl World {
    fn new(peers: usize) -> Self {
        let balance = Balance::of(AFTER);
        Self { balance, legs: vec![None; 6], up: vec![true; peers], now: Instant::now(), moves: Vec::new() }
    }

    fn benches(&self) -> Vec<Bench> {
        let of = |place| self.legs.iter().filter(|outer| **outer == Some(place)).count();
        (0..self.up.len()).map(|place| Bench { legs: of(place), is_open: true }).collect()
    }

    /// A node dials: it gets the peer that is up and has the fewest legs, as it does by itself.
    fn dial(&mut self, leg: usize) {
        let benches = self.benches();
        let up = (0..benches.len()).filter(|place| self.up[*place]);
        self.legs[leg] = up.min_by_key(|place| benches[*place].legs);
    }

    /// A peer is there or not; nodes whose legs it ends dial again.
    fn set(&mut self, place: usize, up: bool) {
        self.up[place] = up;
        let its: Vec<usize> = (0..6).filter(|leg| self.legs[*leg] == Some(place)).collect();
        if !up && !its.is_empty() {
            self.balance.failed(place, self.now);
            its.iter().for_each(|leg| self.legs[*leg] = None);
            its.iter().for_each(|leg| self.dial(*leg));
        }
    }

    /// A second passes, `away` from our rounds or not. What it saw of a try, if there was one.
    fn second(&mut self, away: bool, ready: bool) -> Result<(), TestCaseError> {
        self.now += SECOND;
        if !away {
            return Ok(());
        }
        let benches = self.benches();
        let seats: Vec<Seat> = (0..6)
            .filter_map(|leg| Some(Seat { leg: Leg(leg as u64), outer: self.legs[leg]?, fit: true, rank: 0 }))
            .collect();
        self.balance.look(&seats, &benches, self.now);
        let Some(tried) = self.balance.choose(&seats, &benches, self.now) else { return Ok(()) };
        let from = self.legs[tried.leg.0 as usize].unwrap();
        prop_assert!(benches[from].legs >= benches[tried.to].legs + 2, "{tried:?} {benches:?}");
        let outcome = match (ready, self.up[tried.to], tried.moves) {
            (false, ..) => Outcome::Unready(""),
            (_, false, _) => Outcome::Unfit(String::new()),
            (_, _, false) => Outcome::Fit,
            (..) => Outcome::Moved,
        };
        if outcome == Outcome::Moved {
            self.legs[tried.leg.0 as usize] = Some(tried.to);
            if let Some((last, _)) = self.moves.last() {
                prop_assert!(self.now - *last >= AFTER);
            }
            self.moves.push((self.now, tried.to));
        }
        self.balance.done(tried, outcome, self.now);
        Ok(())
    }

    /// By how many legs peers that are up differ at most.
    fn unevenness(&self) -> usize {
        let benches = self.benches();
        let up = || (0..benches.len()).filter(|place| self.up[*place]).map(|place| benches[place].legs);
        up().max().unwrap_or_default() - up().min().unwrap_or_default()
    }
}

proptest! {
    /// Whatever comes and goes: no move but to a peer with two legs less, never two in short order, and once all stay well legs are spread and stay
    /// where they are.
    #[test]
    fn legs_come_to_be_spread_and_stay_so(
        peers in 1..5_usize,
        events in prop::collection::vec((0..60_u32, 0..6_usize, 0..5_u8, any::<bool>()), 0..60),
    ) {
        let mut world = World::new(peers);
        for (seconds, which, what, ready) in events {
            match what {
                0 => world.dial(which),
                1 => world.legs[which] = None,
                2 | 3 => world.set(which % peers, what == 3),
                _ => {}
            }
            for second in 0..seconds {
                world.second(second % 7 > 2, ready)?;
            }
        }
        (0..peers).for_each(|place| world.set(place, true));
        // As long as a peer may have to be fit, for each leg.
        for second in 0..6 * 64 * 60 {
            world.second(second % 30 > 10, true)?;
            if world.unevenness() < 2 {
                break;
            }
        }
        prop_assert!(world.unevenness() < 2, "{:?}", world.benches());
        let moves = world.moves.len();
        for _ in 0..600 {
            world.second(true, true)?;
        }
        prop_assert_eq!(world.moves.len(), moves);
    }

    /// A peer that comes and goes gets a leg a few times in the first hour, and then every half of one at most.
    #[test]
    fn who_comes_and_goes_gets_a_leg_ever_more_seldom(up in 31..200_u32, down in 1..100_u32) {
        let mut world = World::new(2);
        (0..2).for_each(|leg| world.dial(leg));
        for second in 0..3 * 3600 {
            world.set(1, second % (up + down) < up);
            world.second(true, true)?;
        }
        let hours = |hour: u32| {
            let start = world.now - SECOND * 3600 * (3 - hour);
            world.moves.iter().filter(|(at, _)| (start..start + SECOND * 3600).contains(at)).count()
        };
        prop_assert!(hours(0) <= 8 && hours(1) <= 2 && hours(2) <= 2, "{} {} {}", hours(0), hours(1), hours(2));
    }
}
