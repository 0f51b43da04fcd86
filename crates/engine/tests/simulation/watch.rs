//! Where the oracle is told: what the consensus client (CL) calls and is told, what mainstay sends and hears, and how its nodes
//! look meanwhile.

use std::time::Duration;

use mainstay_execution::ballot::Part;
use mainstay_execution::method::Method;
use mainstay_execution::standing::Hold;
use mainstay_execution::status::Status;
use mainstay_execution::verdict::Vote;
use mainstay_node::Condition;

use crate::chain::Id;
use crate::cl::For;
use crate::el::{Ask, Failure, Outcome, Said};
use crate::oracle::{self, Feed, Origin, QUEUE, Round, Word};
use crate::speech::{self, HEAD_METHOD, Told};
use crate::world::{Event, World};

impl World {
    /// The primary is fit, and there is one if any node is; a fit one gives way only to an earlier one that has been fit for a
    /// while.
    fn judge_primary(&mut self) {
        let engine = self.engine.clone();
        let primary = engine.core().primary();
        let nodes = engine.core().nodes();
        let since = |place: usize| {
            let state = nodes[place].state();
            let fit = *state.health.condition() == Condition::Fit && state.standing.may_serve();
            let now = tokio::time::Instant::now().into_std();
            fit.then(|| (now.saturating_duration_since(state.health.since()), state.health.ever_left()))
        };
        let place = |id: u64| nodes.iter().position(|node| node.id == id);
        let now = primary.and_then(|node| place(node.id));
        let fit: Vec<usize> = (0..nodes.len()).filter(|place| since(*place).is_some()).collect();
        self.oracle.ensure(now.map_or(fit.is_empty(), |now| fit.contains(&now)), || {
            format!("8: the primary is {now:?} while {fit:?} are fit")
        });
        let before = std::mem::replace(&mut self.oracle.primary, now);
        let unseen =
            Duration::from_millis(self.now - std::mem::replace(&mut self.oracle.looked_at, self.now));
        self.oracle.count.primaries += u64::from(before != now);
        let (Some(before), Some(now)) = (before.filter(|before| Some(*before) != now), now) else { return };
        let rank = |place: usize| (self.setup.natures[place].tier, place);
        // Whether the operator had it out for a moment isn't known.
        let stayed = !self.setup.operator && since(before).is_some_and(|(fit_for, _)| fit_for > unseen);
        let proven = since(now).is_some_and(|(fit_for, left)| !left || fit_for >= self.setup.failback_after);
        // A third may have been the primary in between, and have gone again.
        let other = (0..nodes.len()).any(|third| {
            let changed = tokio::time::Instant::now().into_std() - nodes[third].state().health.since();
            third != now && rank(third) < rank(before) && changed <= unseen
        });
        let right = !stayed || other || (rank(now) < rank(before) && proven);
        self.oracle.ensure(right, || format!("8: the primary went from {before} to {now} without need"));
    }

    fn is_down(&self, node: usize) -> bool {
        matches!(self.node(node).condition(), Condition::Unfit(_))
    }

    /// The CL calls: the call's id.
    pub fn begins(&mut self, ask: &Ask, caller: For) -> u64 {
        let id = self.oracle.next;
        self.oracle.next += 1;
        let (Ask::Payload(block) | Ask::Head(block, _)) = ask else {
            self.read_begins(id, ask);
            return id;
        };
        self.judge_primary();
        let method = if matches!(ask, Ask::Payload(_)) { self.setup.payload_method } else { HEAD_METHOD };
        let deadline = self.setup.timeout.min(Method::of(method).patience());
        let nodes = self.engine.core().nodes();
        // Of a payload it isn't known yet on which blocks it builds.
        let known = if matches!(ask, Ask::Payload(_)) { self.chain.parent(*block) } else { *block };
        let mut objectors = self.engine.core().objectors(&self.chain.get(*block).hash);
        objectors.extend(self.engine.core().objectors(&self.chain.get(known).hash));
        let said_invalid = nodes.iter().map(|node| objectors.contains(&node.id)).collect();
        let round = Round {
            id,
            ask: ask.clone(),
            block: *block,
            method,
            deadline,
            begun: self.now,
            parts: nodes.iter().map(|node| node.part()).collect(),
            full: nodes.iter().map(|node| node.feed.waiting() >= QUEUE).collect(),
            unfit: (0..nodes.len()).map(|node| self.is_down(node)).collect(),
            said_invalid,
            replies: Vec::new(),
            told: None,
            recalled: Vec::new(),
            muted: vec![false; nodes.len()],
            shown: false,
            given_up: false,
        };
        self.trace(|_| format!("CL: round {id} {ask:?} for {caller:?}"));
        for (place, node) in nodes.iter().enumerate() {
            self.oracle.look(place, &node.condition(), self.now);
            let note = node.state().standing.note();
            let (quarantined, now) = (note == Some("quarantined"), self.now);
            if quarantined && !self.oracle.quarantined[place] {
                self.oracle.quarantined(place, self.setup.quarantine_after);
            }
            self.oracle.quarantined[place] = quarantined;
            if matches!(node.condition(), Condition::Misconfigured { .. }) {
                self.oracle.muted[place] = None;
            }
            let out = self.setup.natures[place].do_not_use || self.oracle.held[place] != Hold::None;
            let never = round.parts[place] == Part::Never;
            let excused = quarantined || matches!(node.condition(), Condition::Misconfigured { .. });
            self.oracle.ensure(if never { out || excused } else { !out }, || {
                format!("1: node {place}, held {out}, has the part {:?} in round {id}", round.parts[place])
            });
            let refuses = self.oracle.refuses[place].is_some_and(|since| since < now);
            self.oracle.ensure(!refuses || round.unfit[place], || {
                format!("6: node {place} refuses everything and is {} in round {id}", node.condition())
            });
            let owes = self.oracle.muted[place].is_some_and(|since| since < now);
            self.oracle.ensure(!owes || round.parts[place] != Part::Voter, || {
                format!("1: node {place} said SYNCING where another said VALID, or was down, and votes in round {id}")
            });
        }
        if let Ask::Head(head, _) = ask {
            self.oracle.last_head = Some(*head);
        }
        if matches!(ask, Ask::Payload(_)) {
            for (owed, full) in self.oracle.owed.iter_mut().zip(&round.full) {
                if !full {
                    owed.insert(id);
                }
            }
        }
        self.oracle.count.rounds += 1;
        self.oracle.rounds.insert(id, round);
        let limit = u64::try_from(deadline.as_millis()).unwrap();
        self.after(limit + 1, Event::Overdue(id));
        id
    }

    /// A block and those that it builds on, as far back as the engine keeps them.
    fn line(&self, block: Id) -> Vec<Id> {
        let blocks = self.engine.core().blocks.lock().unwrap();
        blocks.line(&self.chain.get(block).hash).map(|hash| self.chain.id_of(hash)).collect()
    }

    /// The CL is told.
    pub fn judge_told(&mut self, id: u64, told: &Told) {
        let now = self.now;
        let Some(mut round) = self.oracle.rounds.remove(&id) else { return };
        self.trace(|_| {
            let said: Vec<String> = round
                .replies
                .iter()
                .map(|(at, node, heard)| format!("{node}:{} +{}", heard.word(), at - round.begun))
                .collect();
            format!("round {id} told {told:?} by {} of {:?}", said.join(" "), round.parts)
        });
        let line = self.line(round.block);
        let oracle = &mut self.oracle;
        let late = Duration::from_millis(now - round.begun) > round.deadline;
        oracle.ensure(!late, || format!("4: round {id} took {} ms", now - round.begun));
        match told {
            Told::Status(status, payload_id) => {
                match status.status {
                    Status::Valid => {
                        oracle.count.told_valid += 1;
                        oracle.tells_valid(&round, &line, &self.chain, &self.setup, now);
                    }
                    Status::Invalid => {
                        oracle.count.told_invalid += 1;
                        oracle.tells_invalid(&round);
                    }
                    Status::Accepted if round.method == HEAD_METHOD => {
                        oracle.ensure(false, || "forkchoiceUpdated was told ACCEPTED".to_owned());
                    }
                    _ => oracle.count.told_syncing += 1,
                }
                if let Some(payload_id) = payload_id {
                    oracle.tells_id(&round, payload_id);
                }
            }
            _ => oracle.count.told_other += 1,
        }
        round.told = Some((now, told.clone()));
        round.recalled = (0..round.parts.len())
            .map(|node| oracle::said_invalid(&self.oracle.last, &line, node, now))
            .collect();
        self.oracle.rounds.insert(id, round);
    }

    /// mainstay calls a node.
    pub fn sends(&mut self, node: usize, ask: &Ask, id: u64) -> Origin {
        let now = self.now;
        self.oracle.look(node, &self.node(node).condition(), now);
        let drained = self.oracle.held[node] == Hold::Drained;
        if ask.is_voted() || *ask == Ask::OwnHead {
            // What is sent on another connection before the answer may overtake.
            let busy = std::mem::replace(&mut self.oracle.busy[node], true);
            self.oracle
                .ensure(!busy, || format!("3: node {node} is sent {ask:?} before its last call is over"));
        }
        match (ask, &self.oracle.feeds[node]) {
            (Ask::OwnHead, _) => {
                self.oracle.count.replays += 1;
                self.oracle.back_since[node] = None;
                self.oracle.feeds[node] = Feed::Replays;
                self.oracle.ensure(!drained, || format!("3: node {node} is drained and gets a replay"));
                Origin::Replay
            }
            (ask, Feed::Replays) if ask.is_voted() => Origin::Replay,
            (ask, Feed::Delivers) if ask.is_voted() => {
                self.oracle.ensure(!drained, || format!("3: node {node} is drained and is sent round {id}"));
                self.oracle.sends_job(node, id, now);
                Origin::Job(id)
            }
            (Ask::Syncing | Ask::Number | Ask::ChainId | Ask::Version, _) => Origin::Probe,
            _ => {
                self.read_sends(node, ask, id);
                Origin::Read(id)
            }
        }
    }

    /// mainstay hears a node, or that it doesn't.
    pub fn hears(&mut self, node: usize, ask: &Ask, outcome: &Outcome, origin: Origin) {
        let now = self.now;
        self.oracle.look(node, &self.node(node).condition(), now);
        match outcome {
            Ok(_) => self.oracle.refuses[node] = None,
            // What a replay asks before it begins says nothing of health.
            Err(Failure::Refused | Failure::Reset) if !matches!(ask, Ask::OwnHead | Ask::Version) => {
                self.oracle.refuses[node].get_or_insert(now);
            }
            Err(_) => {}
        }
        if outcome.is_err() {
            self.oracle.ailing_until[node] = u64::MAX;
            self.trace(|_| format!("  el{node} {ask:?} -> {outcome:?}"));
        }
        if let Origin::Read(id) = origin {
            return self.read_hears(node, id, outcome);
        }
        if !matches!(origin, Origin::Probe | Origin::Read(_)) {
            self.oracle.busy[node] = false;
        }
        let ends = match ask {
            Ask::Head(..) => true,
            Ask::OwnHead => !matches!(outcome, Ok(Said::OwnHead(_))),
            _ => outcome.is_err(),
        };
        if origin == Origin::Replay && ends {
            self.oracle.feeds[node] = Feed::Delivers;
        }
        let (Ask::Payload(block) | Ask::Head(block, _)) = ask else { return };
        let heard = speech::heard(outcome, ask, &self.chain);
        let line = self.line(*block);
        let oracle = &mut self.oracle;
        if let Ok(Said::Status(_, Some(id))) = outcome
            && let Ask::Head(block, Some(attributes)) = ask
        {
            oracle.given.entry((*block, *attributes)).or_default().insert((node, id.clone()));
        }
        let vote = heard.vote();
        if let Some(vote) = vote.filter(|vote| *vote != Vote::Syncing) {
            // VALID of a block is VALID of all that it builds on.
            let invalid = vote == Vote::Invalid;
            let said_of = if invalid { &line[..1] } else { &line[..] };
            for block in said_of {
                let word = oracle.last.entry((*block, node)).or_default();
                let before = if word.at < now { word.invalid } else { word.before };
                *word = Word { invalid, at: now, before };
            }
            if origin != Origin::Replay || matches!(ask, Ask::Head(..)) {
                oracle.muted[node] = None;
            }
        }
        let Origin::Job(id) = origin else { return };
        let Some(round) = oracle.rounds.get_mut(&id) else { return };
        let told_valid = round.told.as_ref().is_some_and(|(_, told)| told.status() == Some(Status::Valid));
        let late_invalid = told_valid && vote == Some(Vote::Invalid) && round.votes(node);
        oracle.count.late_invalid += u64::from(late_invalid);
        if let Some((told_at, _)) = &round.told
            && *told_at == now
        {
            // Whether its conductor knew is its tasks' affair.
            round.recalled[node] = oracle::said_invalid(&oracle.last, &line, node, now);
        }
        round.replies.push((now, node, heard));
        let word =
            |node: usize| round.replies.iter().find(|(_, n, _)| *n == node).map(|(.., heard)| heard.word());
        let nodes = round.parts.len();
        let valid = (0..nodes).any(|n| round.votes(n) && word(n) == Some("VALID"));
        let behind: Vec<usize> = (0..nodes)
            .filter(|n| valid && round.votes(*n) && word(*n) == Some("SYNCING") && !round.muted[*n])
            .collect();
        for node in behind {
            round.muted[node] = true;
            oracle.count.mutes += u64::from(oracle.muted[node].is_none());
            oracle.muted[node] = Some(now);
        }
    }
}
