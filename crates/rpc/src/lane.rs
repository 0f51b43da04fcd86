//! The lanes, and which of them is served next.
//!
//! The rule is prio-load-balancer's: `fast_per_high` fast-track requests to one high as long as both wait (or fast-track
//! first until none is left, with `drain_first`), low when nothing else waits. Two things are added to it:
//!
//! * **Ageing.** A low request that has waited for `low_max_wait` goes next, so that strict priority can't starve it.
//!   After an aged one a higher request goes first if one waits: a flood of low requests, all of them old by
//!   then, takes half of the capacity at most and never pushes urgent work behind itself.
//! * What counts as waiting is told by the caller: a lane whose requests can't use any of the free nodes doesn't wait.

use std::fmt;

/// A class of priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// The most urgent.
    FastTrack,
    /// Before any low.
    High,
    /// When nothing else waits.
    Low,
}

impl Lane {
    /// All lanes, the most urgent first; [`Lane::index`] is the place in it.
    pub const ALL: [Self; 3] = [Self::FastTrack, Self::High, Self::Low];

    /// Place in [`Lane::ALL`].
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }

    /// One word, for labels, tables and settings.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::FastTrack => "fast-track",
            Self::High => "high",
            Self::Low => "low",
        }
    }

    /// The lane that [`Lane::word`] calls so.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|lane| lane.word() == word)
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// How fast-track and high share what is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ratio {
    /// Fast-track requests for each high one, as long as both wait.
    pub fast_per_high: u32,
    /// Fast-track first until none is left, whatever `fast_per_high` says.
    pub drain_first: bool,
}

impl Default for Ratio {
    fn default() -> Self {
        Self { fast_per_high: 2, drain_first: false }
    }
}

/// Which lanes wait for what is free now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// By [`Lane::index`].
    pub lanes: [bool; 3],
    /// The first low request has waited for `low_max_wait`.
    pub low_is_aged: bool,
}

/// Whose turn it is: the rule with its memory.
#[derive(Clone, Debug)]
pub struct Turn {
    ratio: Ratio,
    /// Fast-track requests since the last high.
    fast: u32,
    /// The last one was a low request that went for its age.
    aged: bool,
}

impl Turn {
    /// The rule at its start.
    #[must_use]
    pub fn new(ratio: Ratio) -> Self {
        Self { ratio, fast: 0, aged: false }
    }

    /// Another ratio from the next turn on.
    pub fn set_ratio(&mut self, ratio: Ratio) {
        self.ratio = ratio;
    }

    /// The lane whose first request goes now, which counts as its turn; `None` if none waits.
    #[inline]
    pub fn next(&mut self, waiting: Waiting) -> Option<Lane> {
        let [fast, high, low] = waiting.lanes;
        if !(fast || high || low) {
            return None;
        }
        let higher_waits = fast || high;
        if low && waiting.low_is_aged && !(self.aged && higher_waits) {
            self.aged = true;
            return Some(Lane::Low);
        }
        self.aged = false;
        if self.is_fast_turn(fast) {
            return Some(Lane::FastTrack);
        }
        match (high, fast, low) {
            (true, ..) => Some(Lane::High),
            (_, true, _) => Some(Lane::FastTrack),
            (_, _, true) => Some(Lane::Low),
            _ => None,
        }
    }

    #[inline]
    fn is_fast_turn(&mut self, fast_waits: bool) -> bool {
        if !fast_waits {
            self.fast = 0;
            return false;
        }
        if self.ratio.drain_first {
            return true;
        }
        self.fast = self.fast.saturating_add(1);
        if self.fast <= self.ratio.fast_per_high {
            return true;
        }
        self.fast = 0;
        false
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn waiting(fast: bool, high: bool, low: bool) -> Waiting {
        Waiting { lanes: [fast, high, low], low_is_aged: false }
    }

    /// The first letters of the lanes served while `given` wait.
    fn served(turn: &mut Turn, given: Waiting, times: usize) -> String {
        let letter = |lane: Option<Lane>| match lane {
            Some(Lane::FastTrack) => 'f',
            Some(Lane::High) => 'h',
            Some(Lane::Low) => 'l',
            None => '-',
        };
        (0..times).map(|_| letter(turn.next(given))).collect()
    }

    #[test]
    fn the_rule_of_the_lanes() {
        let ratio = |fast_per_high, drain_first| Ratio { fast_per_high, drain_first };
        for (ratio, fast, high, low, order) in [
            (ratio(2, false), true, true, true, "ffhffhffh"),
            (ratio(1, false), true, true, false, "fhfhfhfhf"),
            (ratio(0, false), true, true, false, "hhhhhhhhh"),
            (ratio(0, false), true, false, true, "fffffffff"),
            (ratio(2, false), true, false, true, "fffffffff"),
            (ratio(2, false), false, true, true, "hhhhhhhhh"),
            (ratio(2, false), false, false, true, "lllllllll"),
            (ratio(2, false), false, false, false, "---------"),
            (ratio(2, true), true, true, true, "fffffffff"),
            (ratio(2, true), false, true, true, "hhhhhhhhh"),
        ] {
            assert_eq!(served(&mut Turn::new(ratio), waiting(fast, high, low), 9), order, "{ratio:?}");
        }
    }

    #[test]
    fn the_count_starts_anew_when_no_fast_track_waits() {
        let mut turn = Turn::new(Ratio::default());
        assert_eq!(served(&mut turn, waiting(true, true, false), 2), "ff");
        assert_eq!(served(&mut turn, waiting(false, true, false), 1), "h");
        assert_eq!(served(&mut turn, waiting(true, true, false), 4), "ffhf");
        assert_eq!(served(&mut turn, waiting(false, false, false), 1), "-", "nobody went, nothing counts");
        assert_eq!(served(&mut turn, waiting(true, true, false), 2), "fh");
    }

    #[test]
    fn an_aged_low_goes_next_but_never_twice_before_higher_ones() {
        let aged = |high| Waiting { lanes: [false, high, true], low_is_aged: true };
        let mut turn = Turn::new(Ratio::default());
        assert_eq!(served(&mut turn, aged(true), 5), "lhlhl");
        assert_eq!(served(&mut turn, aged(false), 3), "lll");
        let all = Waiting { lanes: [true; 3], low_is_aged: true };
        assert_eq!(served(&mut Turn::new(Ratio::default()), all, 12), "lflflhlflflh");
    }

    #[test]
    fn words_are_read_back() {
        for lane in Lane::ALL {
            assert_eq!(Lane::of_word(lane.word()), Some(lane));
            assert_eq!(Lane::ALL[lane.index()], lane);
        }
        assert_eq!(Lane::of_word("urgent"), None);
    }

    proptest! {
        #[test]
        fn what_goes_was_waiting_and_low_goes_last(
            fast_per_high in 0u32..5, drain_first: bool, steps in prop::collection::vec(any::<([bool; 3], bool)>(), 1..200)
        ) {
            let mut turn = Turn::new(Ratio { fast_per_high, drain_first });
            for (lanes, low_is_aged) in steps {
                let lane = turn.next(Waiting { lanes, low_is_aged });
                prop_assert_eq!(lane.is_some(), lanes.contains(&true));
                if let Some(lane) = lane {
                    prop_assert!(lanes[lane.index()]);
                    prop_assert!(lane != Lane::Low || low_is_aged || !(lanes[0] || lanes[1]));
                }
            }
        }

        #[test]
        fn exactly_n_to_one_under_saturation(fast_per_high in 0u32..20, rounds in 1usize..20) {
            let mut turn = Turn::new(Ratio { fast_per_high, drain_first: false });
            for _ in 0..rounds {
                for _ in 0..fast_per_high {
                    prop_assert_eq!(turn.next(waiting(true, true, true)), Some(Lane::FastTrack));
                }
                prop_assert_eq!(turn.next(waiting(true, true, true)), Some(Lane::High));
            }
        }
    }
}
