//! Has legs moved to outer peers that have fewer, for as long as a relay runs. Which and when: [`crate::balance`], [`crate::rounds::Rounds::is_away`].

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::UNIX_EPOCH;

use mainstay_antelope::{Nanos, Slot};

use crate::balance::{Balance, Bench, Outcome, Seat, Try};
use crate::clock;
use crate::core::Core;
use crate::egress::Leg;

impl Core {
    pub(crate) fn balance(&self) -> MutexGuard<'_, Balance> {
        self.balance.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks whether a leg is to be moved, and has it tried.
    pub(crate) fn look_for_moves(&self) {
        let seats: Vec<Seat> = {
            let state = self.state();
            let seat = |(leg, known): (&Leg, &crate::state::Known)| Seat {
                leg: *leg,
                outer: known.outer,
                fit: known.is_fit(),
                rank: known.rank,
            };
            state.legs().iter().map(seat).collect()
        };
        let now = clock::now();
        let benches: Vec<Bench> = {
            let outers = self.outers();
            outers.view().map(|outer| Bench { legs: outer.legs, is_open: outer.is_open(now) }).collect()
        };
        let is_away = self.is_away();
        let mut balance = self.balance();
        balance.look(&seats, &benches, now);
        if !is_away {
            return;
        }
        if let Some(tried) = balance.choose(&seats, &benches, now) {
            self.tries.send_replace(Some(tried));
        }
    }

    /// Whether no round of ours is near.
    pub(crate) fn is_away(&self) -> bool {
        let since = (self.wall)().duration_since(UNIX_EPOCH).unwrap_or_default();
        let slot = Slot::at(u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
        self.state().rounds.is_away(slot)
    }

    /// The time of day as nodes tell it.
    pub(crate) fn nanos(&self) -> Nanos {
        let since = (self.wall)().duration_since(UNIX_EPOCH).unwrap_or_default();
        Nanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
    }

    /// Waits until an outer peer is to be tried for a leg.
    pub(crate) async fn to_try(self: &Arc<Self>, leg: Leg) -> Trying {
        let mut tries = self.tries.subscribe();
        let tried = tries.wait_for(|tried| tried.is_some_and(|tried| tried.leg == leg)).await;
        match tried.ok().and_then(|tried| *tried) {
            Some(tried) => Trying { core: self.clone(), tried, outcome: None },
            // The sender is there as long as this is.
            None => std::future::pending().await,
        }
    }
}

/// A try that is under way; with nothing said of it when it is dropped it has told nothing.
pub(crate) struct Trying {
    core: Arc<Core>,
    pub(crate) tried: Try,
    outcome: Option<Outcome>,
}

impl Trying {
    /// What came of it.
    pub(crate) fn done(mut self, outcome: Outcome) {
        self.outcome = Some(outcome);
    }
}

impl Drop for Trying {
    fn drop(&mut self) {
        let outcome = self.outcome.take().unwrap_or(Outcome::Unready("its leg has ended"));
        let config = self.core.config();
        if let Some(outer) = config.outer.get(self.tried.to) {
            self.core.telemetry.tried(self.tried.leg, outer, &outcome);
        }
        self.core.tries.send_replace(None);
        self.core.balance().done(self.tried, outcome, clock::now());
    }
}
