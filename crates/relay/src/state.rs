//! What all legs share, and what is known of each. Pure: the lock around it is the core's.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use mainstay_antelope::{Frame, Handshake, Id, Version};

use crate::config::Config;
use crate::egress::{Egress, Leg};
use crate::filter::{Filter, Shared};
use crate::lag::Lag;
use crate::peer::Peer;
use crate::rounds::Rounds;
use crate::siblings::{Siblings, is_known_elsewhere};
use crate::telemetry::Alarm;
use crate::votes::Votes;

/// Alarms that are kept, of different kinds or nodes.
const ALARMS: usize = 16;
/// Characters of what a node says of itself that are kept.
const SHOWN: usize = 64;

/// What a side of a leg said of itself last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// `None` before its first handshake.
    pub(crate) version: Option<Version>,
    /// Its agent's name.
    pub(crate) agent: String,
    /// Where it can be reached, by its own word.
    pub(crate) p2p_address: String,
    /// The id that it has until it is restarted.
    pub(crate) node_id: Option<Id>,
    /// The number of the newest block that it named or sent.
    pub(crate) head: u32,
    /// The number of its last irreversible block.
    pub(crate) lib: u32,
}

impl Told {
    fn take(&mut self, handshake: &Handshake<'_>) {
        self.version = Some(handshake.version());
        self.agent = shown(&handshake.agent.lossy());
        self.p2p_address = shown(&handshake.p2p_address.lossy());
        self.node_id = Some(handshake.node_id);
        self.head = handshake.head_num;
        self.lib = handshake.lib_num;
    }
}

/// What is known of a leg.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) peer: Peer,
    pub(crate) name: Arc<str>,
    /// The place of its outer peer in the settings.
    pub(crate) outer: usize,
    pub(crate) since: Instant,
    pub(crate) inner: Told,
    pub(crate) outside: Told,
    pub(crate) rank: u8,
    /// The place of the outer peer that its node had before, if it was moved.
    pub(crate) moved_from: Option<usize>,
    /// The node's handshake, as long as the chain isn't known.
    greeting: Option<Frame>,
}

impl Known {
    /// Whether both sides have said who they are.
    pub(crate) fn is_fit(&self) -> bool {
        self.inner.version.is_some() && self.outside.version.is_some()
    }
}

/// What all legs share.
pub(crate) struct State {
    pub(crate) shared: Shared,
    /// Which outer peers stand still while others go on.
    pub(crate) lag: Lag,
    /// What other relays use of our outer peers.
    pub(crate) siblings: Siblings,
    chain: Option<Id>,
    legs: BTreeMap<Leg, Known>,
    last: u64,
    /// The node that an operator prefers to what the settings say.
    preferred: Option<Arc<str>>,
    pub(crate) rounds: Rounds,
    /// The last ones, the oldest first.
    alarms: VecDeque<Raised>,
    /// When the claims didn't answer last, and why.
    pub(crate) claims_failed: Option<(Instant, String)>,
}

/// An alarm that was raised.
#[derive(Clone, Debug)]
pub(crate) struct Raised {
    pub(crate) alarm: Alarm,
    /// The last time.
    pub(crate) at: Instant,
    pub(crate) times: u64,
}

impl State {
    pub(crate) fn new(config: &Config) -> Self {
        let chain = config.chain_id;
        let egress = Egress::new(chain.unwrap_or(Id::ZERO), config.rules.clone());
        Self {
            shared: Shared { egress, votes: Votes::default() },
            lag: Lag::of(config.outer_lag, config.outer_lag_time),
            siblings: Siblings::default(),
            chain,
            legs: BTreeMap::new(),
            last: 0,
            preferred: None,
            rounds: Rounds::of(config.rules.producers.clone()),
            alarms: VecDeque::new(),
            claims_failed: None,
        }
    }

    /// Keeps an alarm; one of a kind and node that is there already takes its place.
    pub(crate) fn raise(&mut self, alarm: Alarm, now: Instant) {
        let same = |raised: &Raised| raised.alarm.kind == alarm.kind && raised.alarm.node == alarm.node;
        let before = self.alarms.iter().position(same).and_then(|at| self.alarms.remove(at));
        let times = before.map_or(0, |raised| raised.times).saturating_add(1);
        self.alarms.push_back(Raised { alarm, at: now, times });
        if self.alarms.len() > ALARMS {
            self.alarms.pop_front();
        }
    }

    /// The last alarms, the oldest first.
    pub(crate) fn alarms(&self) -> impl Iterator<Item = &Raised> {
        self.alarms.iter()
    }

    /// The chain, once it is known.
    pub(crate) fn chain(&self) -> Option<Id> {
        self.chain
    }

    /// A leg is there. Its number is its own for good.
    pub(crate) fn open(&mut self, config: &Config, peer: Peer, outer: usize, now: Instant) -> (Leg, Filter) {
        self.last += 1;
        let leg = Leg(self.last);
        let filter = self.shared.opened(leg);
        self.lag.opened(leg);
        let known = Known {
            name: name(config, &peer, None),
            peer,
            outer,
            since: now,
            inner: Told::default(),
            outside: Told::default(),
            rank: 0,
            moved_from: None,
            greeting: None,
        };
        self.legs.insert(leg, known);
        self.rank(config);
        (leg, filter)
    }

    /// A leg is gone.
    pub(crate) fn close(&mut self, leg: Leg) {
        self.shared.closed(leg);
        self.lag.closed(leg);
        self.legs.remove(&leg);
    }

    /// The node of a leg has said who it is.
    pub(crate) fn greeted_inside(
        &mut self,
        config: &Config,
        leg: Leg,
        frame: &Frame,
        handshake: &Handshake<'_>,
    ) {
        let unknown = self.chain.is_none();
        let Some(known) = self.legs.get_mut(&leg) else { return };
        known.inner.take(handshake);
        self.lag.has(leg, handshake.head_num);
        known.name = name(config, &known.peer, Some(&known.inner));
        known.greeting = unknown.then(|| frame.clone());
        self.rank(config);
    }

    /// The outer peer of a leg has. Whether the chain is known only since.
    pub(crate) fn greeted_outside(&mut self, config: &Config, leg: Leg, handshake: &Handshake<'_>) -> bool {
        let is_new = self.chain.is_none();
        if is_new {
            self.learn(config, handshake.chain_id);
        }
        if let Some(known) = self.legs.get_mut(&leg) {
            known.outside.take(handshake);
        }
        if self.chain == Some(handshake.chain_id) {
            self.lag.told(leg, handshake.head_num);
        }
        is_new
    }

    /// The chain is known now. Nothing has been decided before, as nothing of ours can be claimed then.
    fn learn(&mut self, config: &Config, chain: Id) {
        self.chain = Some(chain);
        self.shared.egress = Egress::new(chain, config.rules.clone());
        for (leg, known) in &mut self.legs {
            self.shared.egress.opened(*leg);
            if let Some(greeting) = known.greeting.take() {
                // It could be read before.
                let _ = self.shared.egress.hear_inner(*leg, &greeting);
            }
        }
        self.rank(config);
    }

    /// Which node an operator prefers; `None`: the settings' ranks.
    pub(crate) fn prefer(&mut self, config: &Config, node: Option<Arc<str>>) {
        self.preferred = node;
        self.rank(config);
    }

    /// Other settings from now on: legs get other names and ranks, blocks are judged by other rules.
    pub(crate) fn reconfigure(&mut self, config: &Config) {
        self.shared.egress.set_rules(config.rules.clone());
        self.lag.set(config.outer_lag, config.outer_lag_time);
        for known in self.legs.values_mut() {
            let told = (!known.inner.agent.is_empty()).then_some(&known.inner);
            known.name = name(config, &known.peer, told);
        }
        self.rank(config);
    }

    /// Which node is preferred.
    pub(crate) fn preferred(&self) -> Option<&Arc<str>> {
        self.preferred.as_ref()
    }

    /// Gives every leg its rank. Ranks count at the first slot of a round only, so a change takes hold with the next one.
    fn rank(&mut self, config: &Config) {
        for (leg, known) in &mut self.legs {
            let own = config.nodes.iter().find(|node| node.name == known.name).map_or(0, |node| node.rank);
            known.rank = match &self.preferred {
                Some(preferred) if *preferred == known.name => 0,
                Some(_) => own.saturating_add(1),
                None => own,
            };
            self.shared.egress.ranked(*leg, known.rank);
        }
    }

    /// What an outer peer in this place of the settings is known by: its name, if that means the same on other machines, and the ids that it has told.
    pub(crate) fn known_as(&self, config: &Config, outer: usize) -> BTreeSet<String> {
        let name = &config.outer[outer];
        let legs = self.legs.values().filter(|known| known.outer == outer);
        let ids = legs.filter_map(|known| known.outside.node_id).map(|id| id.to_string());
        ids.chain(is_known_elsewhere(name).then(|| name.to_string())).collect()
    }

    /// What another relay is called that uses an outer peer in this place of the settings.
    pub(crate) fn shared_with(&self, config: &Config, outer: usize) -> Option<&str> {
        self.known_as(config, outer).iter().find_map(|name| self.siblings.of(name))
    }

    /// A leg.
    pub(crate) fn leg_mut(&mut self, leg: Leg) -> Option<&mut Known> {
        self.legs.get_mut(&leg)
    }

    /// All legs.
    pub(crate) fn legs(&self) -> &BTreeMap<Leg, Known> {
        &self.legs
    }
}

/// What a node is called: as the settings have it, else by its address or certificate, and where several may be behind one address, by the
/// port that they name.
fn name(config: &Config, peer: &Peer, told: Option<&Told>) -> Arc<str> {
    if let Some(node) = config.node(peer, told.map(|told| told.agent.as_str())) {
        return node.name.clone();
    }
    match told.and_then(|told| port(&told.p2p_address)) {
        Some(port) if peer.names.first().is_none() => format!("{peer}:{port}").into(),
        _ => peer.to_string().into(),
    }
}

/// The port in `host:port[:trx|:blk] - 0123456`.
fn port(p2p_address: &str) -> Option<u16> {
    let (endpoint, _) = p2p_address.split_once(" - ")?;
    let endpoint = endpoint.strip_suffix(":trx").or(endpoint.strip_suffix(":blk")).unwrap_or(endpoint);
    endpoint.rsplit_once(':')?.1.parse().ok()
}

/// What a stranger says, short and without what could steer a terminal.
fn shown(text: &str) -> String {
    text.chars().take(SHOWN).map(|c| if c.is_control() { '?' } else { c }).collect()
}
