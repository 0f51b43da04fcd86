//! What the outside may ask and do: state, health.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use mainstay_node::{Action, Figure, Level, Operated, Prepared, Refused};
use serde::Serialize;

use crate::balance::Balance;
use crate::clock;
use crate::config::{Config, SECTION};
use crate::core::Core;
use crate::egress::Leg;
use crate::outers::Outer;
use crate::rounds::Round;
use crate::state::{Known, Raised, State, Told};

/// Seconds for which health tells that the claims didn't answer.
const LATELY: u64 = 60;

/// What a side of a leg says of itself.
#[derive(Clone, Debug, Serialize)]
pub struct SideView {
    /// The `network_version` that it announced; `None` before its first handshake.
    pub network_version: Option<u16>,
    /// What it calls itself.
    pub agent: String,
    /// Where it can be reached, by its own word.
    pub p2p_address: String,
    /// The number of its newest block.
    pub head: u32,
    /// The number of its last irreversible block.
    pub lib: u32,
}

/// An inner node that is connected.
#[derive(Clone, Debug, Serialize)]
pub struct LegView {
    /// The node's name.
    pub name: String,
    /// The leg's number, as in logs.
    pub leg: u64,
    /// fit: both sides have said who they are; joining: not yet.
    pub condition: &'static str,
    /// Whether that is fit.
    pub fit: bool,
    /// For how long it has been connected, in seconds.
    pub since_seconds: u64,
    /// The number of the node's newest block.
    pub head: Option<u32>,
    /// Where it connects from, or the name in its certificate.
    pub peer: String,
    /// Its outer peer, as in the settings.
    pub outer: String,
    /// The lowest is the best.
    pub rank: u8,
    /// What the node says of itself.
    pub inner: SideView,
    /// What its outer peer does.
    pub outside: SideView,
    /// How many blocks its outer peer is behind another leg's.
    pub behind: u32,
    /// The outer peer that its node was moved away from, if it was, since it connected.
    pub moved_from: Option<String>,
}

/// An outer peer.
#[derive(Clone, Debug, Serialize)]
pub struct OuterView {
    /// As in the settings.
    pub name: String,
    /// How many legs it has.
    pub legs: usize,
    /// Why it is avoided for a while, or why a leg that should move to it doesn't; empty: nothing is wrong with it.
    pub trouble: String,
    /// For how long it has been found fit, where a leg is to move to it.
    pub fit_seconds: Option<u64>,
    /// Another relay that uses it too; empty: none does.
    pub shared_with: String,
}

/// A round of one of our producers.
#[derive(Clone, Debug, Serialize)]
pub struct RoundView {
    /// Whose.
    pub producer: String,
    /// Its first slot.
    pub slot: u32,
    /// How many of its slots the blocks of each node have, the most first; the name is empty where they came from elsewhere.
    pub won: Vec<(String, usize)>,
    /// How many slots nobody filled; `None` while it isn't over.
    pub gaps: Option<usize>,
}

/// Where it is kept who has which slot.
#[derive(Clone, Debug, Serialize)]
pub struct ClaimsView {
    /// Where; without credentials.
    pub place: String,
    /// Whether several relays can share it.
    pub shared: bool,
    /// Whether it may be asked: the chain is known, and what was published last.
    pub ready: bool,
    /// How long ago there was no answer, in seconds.
    pub failed_ago_seconds: Option<u64>,
    /// Why there was none then.
    pub failure: String,
}

/// Something that an operator should look at.
#[derive(Clone, Debug, Serialize)]
pub struct AlarmView {
    /// As in the metrics.
    pub kind: &'static str,
    /// Whom it is about.
    pub node: String,
    /// What is the matter, the last time.
    pub what: String,
    /// How often there was such a thing.
    pub times: u64,
    /// How long ago the last one was, in seconds.
    pub ago_seconds: u64,
}

/// The state of the role.
#[derive(Clone, Debug, Serialize)]
pub struct Snapshot {
    /// Its name.
    pub name: String,
    /// The chain, once it is known.
    pub chain_id: Option<String>,
    /// The node that an operator prefers, whatever the ranks of the settings.
    pub preferred: Option<String>,
    /// The inner nodes that are connected, in the order in which they came.
    pub nodes: Vec<LegView>,
    /// The outer peers in the order of the settings.
    pub outer: Vec<OuterView>,
    /// The last rounds of our producers, the oldest first.
    pub rounds: Vec<RoundView>,
    /// The claims.
    pub claims: ClaimsView,
    /// The last alarms, the oldest first.
    pub alarms: Vec<AlarmView>,
}

/// A handle on a running role.
#[derive(Clone)]
pub struct Handle {
    core: Arc<Core>,
    name: Arc<str>,
}

impl Operated for Handle {
    type Snapshot = Snapshot;

    fn kind(&self) -> &'static str {
        SECTION.name
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn snapshot(&self) -> Snapshot {
        let now = clock::now();
        let outers: Vec<Outer> = self.core.outers().view().cloned().collect();
        let balance = self.core.balance().clone();
        let state = self.core.state();
        let config = self.core.config();
        let used = outers.iter().enumerate().filter(|(_, outer)| outer.is_used());
        let outer = used.map(|(place, outer)| OuterView {
            name: config.outer[place].to_string(),
            legs: outer.legs,
            trouble: outer.trouble(now).or(unfit(&balance, place, outer)).unwrap_or_default().to_owned(),
            fit_seconds: balance.fit_for(place, now).map(|fit| fit.as_secs()),
            shared_with: state.shared_with(&config, place).unwrap_or_default().to_owned(),
        });
        let outer = outer.collect();
        Snapshot {
            name: self.name.to_string(),
            chain_id: state.chain().map(|chain| chain.to_string()),
            preferred: state.preferred().map(|name| name.to_string()),
            nodes: state.legs().iter().map(|(leg, known)| self.leg(&state, *leg, known)).collect(),
            outer,
            rounds: state.rounds.view().map(round).collect(),
            claims: self.claims(&state, now),
            alarms: state.alarms().map(|raised| alarm(raised, now)).collect(),
        }
    }

    fn health(&self) -> (Level, Vec<String>) {
        let seen = self.snapshot();
        let mut reasons = Vec::new();
        let fit = seen.nodes.iter().filter(|node| node.fit).count();
        for node in &self.core.config().nodes {
            if !seen.nodes.iter().any(|leg| leg.name == *node.name) {
                reasons.push(format!("{} is not connected", node.name));
            }
        }
        for outer in seen.outer.iter().filter(|outer| !outer.trouble.is_empty()) {
            reasons.push(format!("outer peer {}: {}", outer.name, outer.trouble));
        }
        for outer in seen.outer.iter().filter(|outer| !outer.shared_with.is_empty()) {
            reasons.push(format!(
                "outer peer {} is used by another relay too, {}",
                outer.name, outer.shared_with
            ));
        }
        let mut down = false;
        match fit {
            0 => {
                down = true;
                reasons.push("no node is connected".to_owned());
            }
            1 => reasons.push("one node is connected: nobody takes over from it".to_owned()),
            _ => {}
        }
        if fit > 0 && !seen.claims.ready {
            down = true;
            reasons.push("the claims don't answer, nothing is claimed before they do".to_owned());
        } else if seen.claims.failed_ago_seconds.is_some_and(|ago| ago < LATELY) {
            reasons.push(format!("claims: {}", seen.claims.failure));
        }
        let level = match (down, reasons.is_empty()) {
            (true, _) => Level::Down,
            (false, true) => Level::Well,
            (false, false) => Level::Degraded,
        };
        (level, reasons)
    }

    async fn act(&self, action: Action) -> Result<(), Refused> {
        let what = match action {
            Action::Prefer { node } => return self.prefer(node.as_deref()),
            Action::Majority { .. } => return Err(Refused::to_vote()),
            Action::Add { .. } | Action::Remove { .. } => {
                "nodes connect by themselves: stop the node, or take it out of allow"
            }
            Action::Drain { .. } | Action::Cordon { .. } | Action::Uncordon { .. } => {
                "a node is preferred or not, it can't be taken out: stop the node"
            }
            Action::Recheck => "nodes are not checked, they connect by themselves",
        };
        Err(Refused::Unsupported(what.to_owned()))
    }

    fn actions(&self) -> &'static [&'static str] {
        &["prefer"]
    }

    /// Of every leg how far its node's head is behind the best, and how many legs there are.
    #[allow(clippy::cast_precision_loss)] // for plots
    fn figures(&self) -> Vec<Figure> {
        let legs = self.snapshot().nodes;
        let best = legs.iter().filter_map(|leg| leg.head).max();
        let lag = |leg: &LegView| {
            let lag = best.zip(leg.head).map(|(best, head)| best.saturating_sub(head))?;
            Some(Figure::new(leg.name.clone(), "lag", "blocks", f64::from(lag)))
        };
        let mut figures: Vec<Figure> = legs.iter().filter_map(lag).collect();
        figures.push(Figure::new("", "legs", "", legs.len() as f64));
        figures
    }
}

impl Handle {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        let name = core.config().name.as_str().into();
        Self { core, name }
    }

    /// Checks whether these settings can hold from now on, and prepares it. What they say of keys that aren't live is passed over.
    ///
    /// Legs go on, those too that go to an outer peer which is named no more: that gets no new ones.
    ///
    /// # Errors
    /// Every reason why not; there is none today.
    pub fn prepare(&self, config: Config) -> Result<Prepared, Vec<String>> {
        let used = config.outer.clone();
        let before = self.core.config();
        let mut outer = before.outer.clone();
        outer.extend(used.iter().filter(|name| !before.outer.contains(name)).cloned());
        // How long it waits for claims is fixed: what asks them was made with it.
        let config = Config { outer, claims_timeout: before.claims_timeout, ..config };
        let core = self.core.clone();
        Ok(Prepared::new(Vec::new(), move || core.set_config(config, &used)))
    }

    /// Prefers a node from the next round on, whatever the ranks of the settings; `None`: as these have it again.
    ///
    /// # Errors
    /// No node that is connected, or in the settings, is called so.
    pub fn prefer(&self, node: Option<&str>) -> Result<(), Refused> {
        let config = self.core.config();
        let mut state = self.core.state();
        if let Some(name) = node {
            let connected = state.legs().values().any(|known| &*known.name == name);
            if !connected && !config.nodes.iter().any(|node| &*node.name == name) {
                return Err(Refused::NoSuchNode(name.to_owned()));
            }
        }
        state.prefer(&config, node.map(Arc::from));
        Ok(())
    }

    fn claims(&self, state: &State, now: Instant) -> ClaimsView {
        let config = self.core.config();
        let place = &config.claims;
        let failed = state.claims_failed.as_ref();
        ClaimsView {
            place: place.to_string(),
            shared: place.is_shared(),
            ready: self.core.is_ready(),
            failed_ago_seconds: failed.map(|(at, _)| now.saturating_duration_since(*at).as_secs()),
            failure: failed.map(|(_, why)| why.clone()).unwrap_or_default(),
        }
    }

    fn leg(&self, state: &State, leg: Leg, known: &Known) -> LegView {
        let (fit, config) = (known.is_fit(), self.core.config());
        LegView {
            name: known.name.to_string(),
            leg: leg.0,
            condition: if fit { "fit" } else { "joining" },
            fit,
            since_seconds: clock::now().saturating_duration_since(known.since).as_secs(),
            head: known.inner.version.map(|_| known.inner.head),
            peer: known.peer.to_string(),
            outer: config.outer[known.outer].to_string(),
            rank: known.rank,
            inner: side(&known.inner),
            outside: side(&known.outside),
            behind: state.lag.behind(leg),
            moved_from: known.moved_from.map(|outer| config.outer[outer].to_string()),
        }
    }
}

/// Why no leg moves to an outer peer.
fn unfit<'a>(balance: &'a Balance, place: usize, outer: &Outer) -> Option<&'a str> {
    balance.trouble(place).filter(|_| outer.is_named())
}

fn round(round: &Round) -> RoundView {
    let mut won: BTreeMap<&str, usize> = BTreeMap::new();
    for node in round.slots.iter().flatten() {
        *won.entry(node).or_default() += 1;
    }
    let mut won: Vec<(String, usize)> =
        won.into_iter().map(|(node, slots)| (node.to_owned(), slots)).collect();
    won.sort_by_key(|(_, slots)| std::cmp::Reverse(*slots));
    let slot = round.number * mainstay_antelope::Slot::PER_ROUND;
    RoundView { producer: round.producer.to_string(), slot, won, gaps: round.gaps }
}

fn alarm(raised: &Raised, now: Instant) -> AlarmView {
    AlarmView {
        kind: raised.alarm.kind,
        node: raised.alarm.node.to_string(),
        what: raised.alarm.what.clone(),
        times: raised.times,
        ago_seconds: now.saturating_duration_since(raised.at).as_secs(),
    }
}

fn side(told: &Told) -> SideView {
    SideView {
        network_version: told.version.map(mainstay_antelope::Version::network_version),
        agent: told.agent.clone(),
        p2p_address: told.p2p_address.clone(),
        head: told.head,
        lib: told.lib,
    }
}
