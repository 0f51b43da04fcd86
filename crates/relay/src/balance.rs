//! Which leg is to go to another outer peer, where one has fewer: after a peer was away and is back, its legs are at the others.
//!
//! Legs that share an outer peer hang with it, so a peer with two legs more than another gives one of them up. It isn't sent there at once. A **try**
//! connects to the lonely peer besides the leg's own one, and looks whether it is at the head (`leg::trial`); the leg stays what it is. A peer that is
//! found fit again and again for a time gets the leg at the end of the try after that, so a leg never gives up what works for what may not.
//!
//! **No flapping**: a peer that has ended a leg again, with less than [`REMEMBERED`] since the last time that something was wrong with it, has to be fit for twice as long before it gets another one, and so on. One that isn't fit is
//! tried after twice the pause, from [`PAUSE`] to [`LONGEST_PAUSE`]. There is one try at a time, and between two moves the time that a peer has to be fit at least.
//!
//! **When**: whoever asks does so only where no round of ours is near ([`Rounds::is_away`](crate::rounds::Rounds::is_away)).

use std::time::{Duration, Instant};

use crate::egress::Leg;

/// Between two tries that find a peer fit, at most; a third of the time for which it has to be.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// After a try for which the leg's own node wasn't ready, which says nothing of the peer.
const NOT_READY: Duration = Duration::from_secs(5);
/// After a try that found a peer unfit; twice that after the next one.
pub const PAUSE: Duration = Duration::from_secs(10);
/// And no longer than this.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(160);
/// That a peer was found fit counts for so long: tries have to wait while a round of ours is near.
const COUNTS: Duration = Duration::from_secs(60);
/// That a peer ended legs is remembered for so long, counted from when it last did or was found unfit.
pub const REMEMBERED: Duration = Duration::from_secs(3600);
/// What ends within this is one failure: all legs of a peer end at once.
const AT_ONCE: Duration = Duration::from_secs(10);
/// The longest time for which a peer has to be fit is 64 times the usual one.
const DOUBLED: u32 = 6;

/// A leg, as far as that matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat {
    /// Which.
    pub leg: Leg,
    /// The place of its outer peer.
    pub outer: usize,
    /// Both sides have said who they are.
    pub fit: bool,
    /// The lowest is the best.
    pub rank: u8,
}

/// An outer peer, as far as that matters, in its place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bench {
    /// Legs that it has, or is being connected to for.
    pub legs: usize,
    /// Whether a leg may go there: the settings have it, and it hasn't failed lately.
    pub is_open: bool,
}

/// What is to be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Try {
    /// For which leg.
    pub leg: Leg,
    /// With which outer peer.
    pub to: usize,
    /// The leg gets it if it is fit. Else it is only looked at.
    pub moves: bool,
}

/// What came of a try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The peer is at the head; the leg has its own one still.
    Fit,
    /// It is, and has the leg.
    Moved,
    /// It can't be reached, or isn't at the head.
    Unfit(String),
    /// Nothing was found out: the leg's node wasn't ready, or the leg has ended.
    Unready(&'static str),
}

impl Outcome {
    /// As in the metrics.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Fit => "fit",
            Self::Moved => "moved",
            Self::Unfit(_) => "unfit",
            Self::Unready(_) => "unready",
        }
    }
}

/// What was found out of each outer peer. Pure.
#[derive(Clone, Debug)]
pub struct Balance {
    after: Duration,
    peers: Vec<Proof>,
    under_way: Option<Try>,
    moved: Option<Instant>,
}

/// Of one.
#[derive(Clone, Debug, Default)]
struct Proof {
    /// When it was found fit, for the first time since it wasn't, and for the last time.
    fit: Option<(Instant, Instant)>,
    /// Not tried before.
    not_before: Option<Instant>,
    /// Tries in a row that found it unfit, and what was wrong the last time.
    unfit: u32,
    trouble: Option<String>,
    /// How often it ended legs, and when it last did or was found unfit.
    failed: Option<(u32, Instant)>,
}

impl Balance {
    /// A peer gets a leg that was another's once it has been fit for `after`; 0: never.
    #[must_use]
    pub fn of(after: Duration) -> Self {
        Self { after, peers: Vec::new(), under_way: None, moved: None }
    }

    /// As in [`Balance::of`], from now on.
    pub fn set(&mut self, after: Duration) {
        self.after = after;
    }

    /// Takes in how legs sit, whatever the time: where nothing is to be moved nothing is in the way of it, and a leg that is gone isn't tried any more.
    pub fn look(&mut self, seats: &[Seat], benches: &[Bench], now: Instant) {
        if let Some(tried) = self.under_way
            && !seats.iter().any(|seat| seat.leg == tried.leg)
        {
            self.done(tried, Outcome::Unready("its leg has ended"), now);
        }
        let most = benches.iter().map(|bench| bench.legs).max().unwrap_or_default();
        for (place, proof) in self.peers.iter_mut().enumerate() {
            let wanted = benches.get(place).is_some_and(|bench| most >= bench.legs + 2);
            let is_tried = self.under_way.is_some_and(|tried| tried.to == place);
            if (!wanted && !is_tried) || self.after.is_zero() {
                (proof.trouble, proof.fit, proof.unfit) = (None, None, 0);
            }
        }
    }

    /// What is to be tried now, if anything; it is under way then until [`Balance::done`]. `benches`: all outer peers.
    pub fn choose(&mut self, seats: &[Seat], benches: &[Bench], now: Instant) -> Option<Try> {
        if self.after.is_zero() || self.under_way.is_some() {
            return None;
        }
        let (to, from) = self.pair(seats, benches, now)?;
        // Who is preferred least has least to lose.
        let of_it = seats.iter().filter(|seat| seat.outer == from && seat.fit);
        let leg = of_it.max_by_key(|seat| (seat.rank, seat.leg))?.leg;
        let rested = self.moved.is_none_or(|moved| now.saturating_duration_since(moved) >= self.after);
        let tried = Try { leg, to, moves: rested && self.fit_for(to, now) >= Some(self.needed(to, now)) };
        self.under_way = Some(tried);
        Some(tried)
    }

    /// The peer that is to have one more, and the one that is to have one less.
    fn pair(&self, seats: &[Seat], benches: &[Bench], now: Instant) -> Option<(usize, usize)> {
        let due = |place: usize| {
            let proof = self.peers.get(place);
            proof.and_then(|proof| proof.not_before).is_none_or(|not_before| not_before <= now)
        };
        let open = benches.iter().enumerate().filter(|(place, bench)| bench.is_open && due(*place));
        let (to, few) = open.min_by_key(|(_, bench)| bench.legs)?;
        let has_one = |place: usize| seats.iter().any(|seat| seat.outer == place && seat.fit);
        let used = benches.iter().enumerate().filter(|(place, _)| has_one(*place));
        let (from, many) = used.max_by_key(|(_, bench)| bench.legs)?;
        (many.legs >= few.legs + 2).then_some((to, from))
    }

    /// What came of a try that was under way.
    pub fn done(&mut self, tried: Try, outcome: Outcome, now: Instant) {
        if self.under_way.take_if(|under_way| *under_way == tried).is_none() {
            return;
        }
        let has_moved = outcome == Outcome::Moved;
        let pause = LOOK_AGAIN.min(self.after / 3);
        let counts = self.counts(tried.to, now);
        let proof = self.proof(tried.to);
        let pause = match outcome {
            Outcome::Fit => {
                let since = proof.fit.filter(|_| counts).map_or(now, |(since, _)| since);
                (proof.fit, proof.unfit, proof.trouble) = (Some((since, now)), 0, None);
                pause
            }
            Outcome::Moved => {
                (proof.fit, proof.unfit, proof.trouble) = (None, 0, None);
                pause
            }
            Outcome::Unfit(why) => {
                let pause = PAUSE.saturating_mul(1 << proof.unfit.min(DOUBLED)).min(LONGEST_PAUSE);
                (proof.fit, proof.unfit, proof.trouble) = (None, proof.unfit.saturating_add(1), Some(why));
                // Who isn't fit isn't forgiven meanwhile.
                proof.failed = proof.failed.map(|(times, at)| (times, now.max(at)));
                pause
            }
            Outcome::Unready(_) => NOT_READY,
        };
        proof.not_before = now.checked_add(pause);
        if has_moved {
            self.moved = Some(now);
        }
    }

    /// A peer has ended a leg, or was too far behind.
    pub fn failed(&mut self, place: usize, now: Instant) {
        let proof = self.proof(place);
        let ago = |at: Instant| now.saturating_duration_since(at);
        let times = match proof.failed {
            Some((times, at)) if ago(at) < AT_ONCE => times,
            Some((times, at)) if ago(at) < REMEMBERED => times.saturating_add(1),
            _ => 1,
        };
        (proof.failed, proof.fit) = (Some((times, now)), None);
    }

    /// Why a peer that is to have a leg doesn't get it.
    #[must_use]
    pub fn trouble(&self, place: usize) -> Option<&str> {
        self.peers.get(place)?.trouble.as_deref()
    }

    /// For how long a peer has been fit that is to have a leg.
    #[must_use]
    pub fn fit_for(&self, place: usize, now: Instant) -> Option<Duration> {
        let (since, _) = self.peers.get(place)?.fit.filter(|_| self.counts(place, now))?;
        Some(now.saturating_duration_since(since))
    }

    /// For how long a peer has to be.
    #[must_use]
    pub fn needed(&self, place: usize, now: Instant) -> Duration {
        let failed = self.peers.get(place).and_then(|proof| proof.failed);
        let lately = failed.filter(|(_, at)| now.saturating_duration_since(*at) < REMEMBERED);
        let again = lately.map_or(0, |(times, _)| times.saturating_sub(1));
        self.after.saturating_mul(1 << again.min(DOUBLED))
    }

    /// Whether it counts still that a peer was fit.
    fn counts(&self, place: usize, now: Instant) -> bool {
        let fit = self.peers.get(place).and_then(|proof| proof.fit);
        fit.is_some_and(|(_, last)| now.saturating_duration_since(last) <= COUNTS)
    }

    fn proof(&mut self, place: usize) -> &mut Proof {
        if self.peers.len() <= place {
            self.peers.resize_with(place + 1, Proof::default);
        }
        &mut self.peers[place]
    }
}

#[cfg(test)]
mod tests;
