//! Tells other relays which outer peers are ours, and hears which are theirs, for as long as a relay runs. What it means: [`crate::siblings`].

use std::collections::BTreeSet;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use crate::claims::{Unavailable, Uses};
use crate::core::{Core, every};
use crate::siblings::{BEAT, User};

impl Core {
    /// Begins to. The chain is known, and the claims have answered.
    pub(crate) fn tell_siblings(self: Arc<Self>) {
        let stop = self.stop.clone();
        tokio::spawn(stop.run_until_cancelled_owned(async move {
            let mut user = User { id: unique(), beat: 0, name: self.called() };
            let mut beats = every(BEAT);
            loop {
                beats.tick().await;
                user.beat += 1;
                if let Err(why) = self.look_at_siblings(&user).await {
                    // Nothing hangs on it, and where claims don't answer that is an alarm already.
                    tracing::debug!(relay = self.config().name, %why, "can't see whether other relays use the same outer peers");
                }
            }
        }));
    }

    async fn look_at_siblings(&self, user: &User) -> Result<(), Unavailable> {
        let (chain, peers) = {
            let state = self.state();
            let Some(chain) = state.chain() else { return Ok(()) };
            let peers =
                (0..self.config().outer.len()).flat_map(|outer| state.known_as(&self.config(), outer));
            (chain, peers.collect::<BTreeSet<String>>())
        };
        let producers = &self.config().rules.producers;
        let what = peers.iter().flat_map(|peer| producers.iter().map(|producer| (*producer, peer.clone())));
        let uses = Uses { chain, user: user.clone(), what: what.collect() };
        let answer = self.claims.using(uses).await?;
        // A peer is used if it is for any of the producers.
        let mut users = answer.into_iter();
        let seen = peers.into_iter().map(|peer| {
            let of_each: Vec<Option<User>> = users.by_ref().take(producers.len()).collect();
            (peer, of_each.into_iter().flatten().next())
        });
        let seen: Vec<(String, Option<User>)> = seen.collect();
        let news = self.state().siblings.looked(seen);
        let mut told = BTreeSet::new();
        for (peer, sibling) in news {
            let outer = {
                let state = self.state();
                (0..self.config().outer.len())
                    .find(|outer| state.known_as(&self.config(), *outer).contains(&peer))
            };
            let Some(outer) = outer.filter(|outer| told.insert(*outer)) else { continue };
            let what =
                format!("is used by another relay too, {sibling}: give each relay outer peers of its own");
            self.alarm("shared_outer", self.config().outer[outer].clone(), what);
        }
        Ok(())
    }

    /// What other relays' operators know this one by.
    fn called(&self) -> String {
        let host = rustix::system::uname();
        format!("{} on {}", self.config().name, host.nodename().to_string_lossy())
    }
}

/// An id that no other process has.
fn unique() -> String {
    // Its keys are random.
    format!("{:016x}", RandomState::new().hash_one(std::process::id()))
}
