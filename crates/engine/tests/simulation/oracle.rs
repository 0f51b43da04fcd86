//! What has to hold whatever happens, judged by the oracle's own books and not by the decisions' state.
//!
//! The numbers in messages are those of the list at the top of `simulation.rs`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use mainstay_engine::ballot::{Answer, Ballot, Part};
use mainstay_engine::merge::Built;
use mainstay_engine::method::Method;
use mainstay_engine::standing::Hold;
use mainstay_engine::status::Status;
use mainstay_engine::verdict::{OnDissent, Vote};
use mainstay_node::{Candidate, Condition, Tier};

use crate::chain::{Chain, Id};
use crate::el::{Ask, Attributes, Outcome, Said};
use crate::round::{Job, Round, RoundId, Told};
use crate::setup::Setup;
use crate::shell::Mainstay;

/// What happened how often: a simulation in which nothing happens proves nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Count {
    pub slots: u64,
    pub rounds: u64,
    pub told_valid: u64,
    pub told_invalid: u64,
    pub told_syncing: u64,
    pub told_other: u64,
    pub early: u64,
    pub late_invalid: u64,
    pub mutes: u64,
    pub quarantines: u64,
    pub replays: u64,
    pub replaced: u64,
    pub queue_full: u64,
    pub synced_alone: u64,
    pub proposals: u64,
    pub payloads: u64,
    pub fair_slots: u64,
    pub fair_slots_with_faults: u64,
    pub calm_checks: u64,
    pub changed_answers: u64,
}

impl Count {
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.fields().into_iter().zip(other.clone().fields()) {
            *mine.1 += *theirs.1;
        }
    }

    pub fn fields(&mut self) -> [(&'static str, &mut u64); 20] {
        [
            ("slots", &mut self.slots),
            ("rounds", &mut self.rounds),
            ("told VALID", &mut self.told_valid),
            ("told INVALID", &mut self.told_invalid),
            ("told SYNCING", &mut self.told_syncing),
            ("told an error", &mut self.told_other),
            ("early answers", &mut self.early),
            ("late INVALIDs", &mut self.late_invalid),
            ("mutes", &mut self.mutes),
            ("quarantines", &mut self.quarantines),
            ("replays", &mut self.replays),
            ("replaced calls", &mut self.replaced),
            ("calls for a full queue", &mut self.queue_full),
            ("syncs without mainstay", &mut self.synced_alone),
            ("proposals", &mut self.proposals),
            ("payloads", &mut self.payloads),
            ("fair slots", &mut self.fair_slots),
            ("fair slots with faults", &mut self.fair_slots_with_faults),
            ("calm slots checked", &mut self.calm_checks),
            ("answers changed by late votes", &mut self.changed_answers),
        ]
    }
}

/// What is remembered of a round until its end.
struct Open {
    votes: Vec<bool>,
    unfit: Vec<bool>,
    said: Vec<Option<Vote>>,
    /// Nodes that said SYNCING (ACCEPTED is something else).
    behind: Vec<bool>,
    muted: Vec<bool>,
}

pub struct Oracle {
    pub violation: Option<String>,
    pub count: Count,
    /// Last word of each node on each block: whether it was INVALID.
    last: HashMap<(Id, usize), bool>,
    open: BTreeMap<RoundId, Open>,
    /// Per node: the last round that its EL saw, and payloads still owed to it.
    seen: Vec<RoundId>,
    owed: Vec<BTreeSet<RoundId>>,
    kept: Vec<Id>,
    kept_at: HashMap<Id, usize>,
    /// Ids that nodes gave for a build.
    /// Nodes that said SYNCING where another said VALID, and neither VALID nor INVALID since.
    muted: Vec<bool>,
    given: BTreeMap<String, Vec<(usize, String)>>,
    id_of: BTreeMap<(Id, Attributes), String>,
    build_of: BTreeMap<String, (Id, Attributes)>,
}

impl Oracle {
    pub fn new(nodes: usize) -> Self {
        Self {
            violation: None,
            count: Count::default(),
            last: HashMap::new(),
            open: BTreeMap::new(),
            seen: vec![0; nodes],
            owed: vec![BTreeSet::new(); nodes],
            kept: Vec::new(),
            kept_at: HashMap::new(),
            muted: vec![false; nodes],
            given: BTreeMap::new(),
            id_of: BTreeMap::new(),
            build_of: BTreeMap::new(),
        }
    }

    pub fn ensure(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds && self.violation.is_none() {
            self.violation = Some(otherwise());
        }
    }

    pub fn begins(&mut self, round: &Round, main: &Mainstay) {
        self.count.rounds += 1;
        let votes = |n: &crate::shell::Node| {
            !n.standing.do_not_use
                && n.standing.hold == Hold::None
                && n.standing.note() != Some("quarantined")
                && !matches!(n.health.condition(), Condition::Misconfigured { .. })
        };
        let open = Open {
            votes: main.nodes.iter().map(votes).collect(),
            unfit: main.nodes.iter().map(|n| matches!(n.health.condition(), Condition::Unfit(_))).collect(),
            said: vec![None; main.nodes.len()],
            behind: vec![false; main.nodes.len()],
            muted: vec![false; main.nodes.len()],
        };
        for (node, state) in main.nodes.iter().enumerate() {
            let elsewhere = matches!(state.health.condition(), Condition::Misconfigured { .. });
            self.muted[node] &= !elsewhere;
            let counts = self.muted[node] && round.parts[node] == Part::Voter;
            self.ensure(!counts, || {
                format!(
                    "1: node {node} said SYNCING where another said VALID, and votes in round {}",
                    round.id
                )
            });
        }
        self.open.insert(round.id, open);
        if matches!(round.ask, Ask::Payload(_)) {
            for owed in &mut self.owed {
                owed.insert(round.id);
            }
        }
        let rounds = main.rounds.len();
        self.ensure(rounds <= 512, || format!("5: {rounds} rounds are open"));
    }

    /// 3: an EL gets a voted call.
    pub fn el_sees(&mut self, node: usize, job: &Job) {
        let last = std::mem::replace(&mut self.seen[node], job.round);
        self.ensure(last < job.round, || {
            format!("3: the EL of node {node} sees round {} after round {last}", job.round)
        });
        self.over(node, job);
        let owed = self.owed[node].first().copied();
        self.ensure(owed.is_none_or(|owed| owed > job.round), || {
            format!("3: the EL of node {node} sees {:?} before the payload of round {owed:?}", job.ask)
        });
    }

    /// A job is done with: answered, failed, or not sent for a reason.
    pub fn over(&mut self, node: usize, job: &Job) {
        self.owed[node].remove(&job.round);
    }

    /// 3: a job whose place another took.
    pub fn replaced(&mut self, node: usize, job: &Job) {
        self.count.replaced += 1;
        let head = matches!(job.ask, Ask::Head(..));
        self.ensure(head, || format!("3: a payload in the queue of node {node} was replaced"));
    }

    /// mainstay hears an EL, in a round or while it replays.
    pub fn hears(&mut self, node: usize, ask: &Ask, outcome: &Outcome, round: Option<RoundId>) {
        let (Ask::Payload(block) | Ask::Head(block, _)) = ask else { return };
        let Ok(Said::Status(status, _)) = outcome else { return };
        let vote = status.vote();
        if vote != Vote::Syncing {
            self.last.insert((*block, node), vote == Vote::Invalid);
            self.muted[node] &= round.is_none() && matches!(ask, Ask::Payload(_));
        }
        let Some(open) = round.and_then(|round| self.open.get_mut(&round)) else { return };
        open.said[node] = Some(vote);
        open.behind[node] = *status == Status::Syncing;
        let valid = (0..open.said.len()).any(|n| open.votes[n] && open.said[n] == Some(Vote::Valid));
        for n in 0..open.said.len() {
            if valid && open.votes[n] && open.behind[n] && !std::mem::replace(&mut open.muted[n], true) {
                self.muted[n] = true;
            }
        }
    }

    /// 1, 4 and 8: the CL is told.
    pub fn tells(&mut self, round: &Round, chain: &Chain, setup: &Setup, now: u64) {
        let took = Duration::from_micros(now - round.started);
        let name = match round.ask {
            Ask::Payload(_) => setup.payload_method,
            _ => "engine_forkchoiceUpdatedV3",
        };
        let deadline = setup.timeout.min(Method::of(name).patience());
        self.ensure(took <= deadline, || format!("4: round {} took {took:?}", round.id));
        self.count.early += u64::from(round.ballot.is_early());
        let Some(Told::Status(status, id)) = &round.told else {
            self.count.told_other += 1;
            return;
        };
        match status {
            Status::Valid => {
                self.count.told_valid += 1;
                self.tells_valid(round, chain, setup);
            }
            Status::Invalid => {
                self.count.told_invalid += 1;
                self.tells_invalid(round);
            }
            Status::Accepted if matches!(round.ask, Ask::Head(..)) => {
                self.ensure(false, || "forkchoiceUpdated was told ACCEPTED".to_owned());
            }
            _ => self.count.told_syncing += 1,
        }
        if let (Some(id), Ask::Head(block, Some(attributes))) = (id, &round.ask) {
            let build = (*block, *attributes);
            let same = self.id_of.entry(build).or_insert_with(|| id.clone()) == id;
            let other = *self.build_of.entry(id.clone()).or_insert(build);
            self.ensure(same && other == build, || {
                format!("8: {id} was told for build {build:?} and for {other:?}, or {build:?} has two ids")
            });
            let given = self.given.contains_key(id);
            self.ensure(given, || format!("8: {id} was told, and no node gave an id"));
        }
    }

    fn tells_valid(&mut self, round: &Round, chain: &Chain, setup: &Setup) {
        let block = round.block;
        let open = &self.open[&round.id];
        let voters = || (0..open.said.len()).filter(|n| open.votes[*n]);
        let valid = voters().filter(|n| open.said[*n] == Some(Vote::Valid)).count();
        let against: Vec<usize> = voters()
            .filter(|n| self.last.get(&(block, *n)) == Some(&true))
            .filter(|n| !open.unfit[*n] || open.said[*n] == Some(Vote::Invalid))
            .collect();
        let outvoted = setup.rules.on_dissent == OnDissent::Majority && against.len() == 1 && valid >= 2;
        let safe = against.is_empty() || outvoted;
        let sound = chain.get(block).sound;
        let few = valid == 0;
        self.ensure(safe, || {
            format!(
                "1: round {} told VALID of block {block}, of which nodes {against:?} said INVALID",
                round.id
            )
        });
        self.ensure(sound, || format!("1: round {} told VALID of block {block}, which is not", round.id));
        self.ensure(!few, || format!("1: round {} told VALID and no node with a vote said so", round.id));
    }

    fn tells_invalid(&mut self, round: &Round) {
        let open = &self.open[&round.id];
        let count =
            |vote| (0..open.said.len()).filter(|n| open.votes[*n] && open.said[*n] == Some(vote)).count();
        let (invalid, valid) = (count(Vote::Invalid), count(Vote::Valid));
        self.ensure(invalid > valid, || {
            format!("1: round {} told INVALID by {invalid} INVALID against {valid} VALID", round.id)
        });
    }

    /// 2: all replies are in; what was told is compared with what all of them say.
    pub fn ends(&mut self, round: &Round) {
        let Some(open) = self.open.remove(&round.id) else { return };
        let (Some(before), Some(told)) = (&round.at_answer, &round.told) else { return };
        let word = |answer: &Answer| match answer {
            Answer::Status(status) => status.status.vote(),
            _ => Vote::Syncing,
        };
        let (early, last) = (word(&before.answer()), word(&round.ballot.answer()));
        if early == last {
            return;
        }
        self.count.changed_answers += 1;
        let late = |i: &usize| before.entries()[*i].heard.is_none();
        let said = |i: &usize, vote| open.said[*i] == Some(vote) && open.votes[*i];
        let all = 0..open.said.len();
        let late_invalid = all.clone().any(|i| late(&i) && said(&i, Vote::Invalid));
        let deadline = Duration::from_micros(round.told_at - round.started) >= round.deadline;
        // Nobody waits for those without a sure vote; what they say late may still count.
        let unsure = |i: &usize| before.entries()[*i].part != Part::Voter;
        let late_extra = all.clone().any(|i| late(&i) && unsure(&i) && open.said[i].is_some());
        let promoted = parts(before) != parts(&round.ballot);
        // It was SYNCING because of what a node said before, and the node has taken that back.
        let taken_back = early == Vote::Syncing && all.clone().any(|i| late(&i) && said(&i, Vote::Valid));
        let documented = late_invalid || deadline || late_extra || promoted || taken_back;
        self.ensure(documented, || {
            format!(
                "2: round {} told {told:?}, and with all replies it is {last:?}: {:?}",
                round.id, open.said
            )
        });
    }

    /// The CL sent this payload.
    pub fn keeps(&mut self, block: Id) {
        if !self.kept_at.contains_key(&block) {
            self.kept_at.insert(block, self.kept.len());
            self.kept.push(block);
        }
    }

    /// Whether this block is among the last ones, which mainstay promises to replay.
    pub fn is_kept(&self, block: Id, chain: &Chain, setup: &Setup) -> bool {
        let Some(at) = self.kept_at.get(&block) else { return false };
        let since = &self.kept[*at..];
        let bytes: usize = since.iter().map(|b| chain.get(*b).size).sum();
        since.len() <= setup.replay_blocks && bytes <= setup.replay_bytes
    }

    pub fn given(&mut self, ours: &str, node: usize, id: &str) {
        let given = self.given.entry(ours.to_owned()).or_default();
        given.retain(|(n, _)| *n != node);
        given.push((node, id.to_owned()));
        while self.given.len() > 2000 {
            self.given.pop_first();
        }
    }

    /// All ids that builds were given.
    pub fn ids(&self) -> impl Iterator<Item = &String> {
        self.given.keys()
    }

    /// 8: getPayload goes to a node.
    pub fn asks(&mut self, ours: &str, node: usize, id: &str) {
        let gave = self.given.get(ours).is_some_and(|g| g.contains(&(node, id.to_owned())));
        self.ensure(gave, || format!("8: node {node} is asked for {id}, which it didn't give for {ours}"));
    }

    /// 8: the best of the payloads.
    pub fn builds(&mut self, built: &[(Built, u64, Id)], chosen: Option<&(Built, u64, Id)>) {
        let Some((best, value, _)) = chosen else {
            return self.ensure(built.is_empty(), || "8: a payload came and none was given".to_owned());
        };
        self.count.payloads += 1;
        let tier = built.iter().map(|(b, ..)| b.backup).min();
        let most = built.iter().filter(|(b, ..)| Some(b.backup) == tier).map(|(_, v, _)| v).max();
        self.ensure(Some(best.backup) == tier && Some(value) == most, || {
            format!("8: {best:?} was chosen among {built:?}")
        });
    }

    /// The primary is fit, and there is one if any node is.
    pub fn chosen(&mut self, candidates: &[Candidate], before: Option<u64>, chosen: Option<u64>) {
        let fit = |id: u64| candidates.iter().any(|c| c.id == id && c.fit_since.is_some());
        let right = match chosen {
            Some(id) => fit(id),
            None => candidates.iter().all(|c| c.fit_since.is_none()),
        };
        self.ensure(right, || format!("the primary is {chosen:?} of {candidates:?}"));
        let Some((was, now)) = before.zip(chosen).filter(|(was, now)| was != now && fit(*was)) else {
            return;
        };
        let place = |id: u64| candidates.iter().find(|c| c.id == id).map(|c| (c.tier == Tier::Backup, c.id));
        self.ensure(place(now) < place(was), || format!("the primary went from {was} to {now} without need"));
    }

    /// A node loses its vote for dissenting.
    pub fn quarantined(&mut self, node: usize, round: &Round, opinions: &[(usize, Vote)]) {
        self.count.quarantines += 1;
        let own = opinions.iter().find(|(n, _)| *n == node).map(|(_, vote)| *vote);
        let against =
            opinions.iter().filter(|(n, vote)| Some(*vote) != own && round.parts[*n] != Part::Never).count();
        self.ensure(against >= 2, || {
            format!("node {node} is quarantined for dissent from {against} nodes with a vote: {opinions:?}")
        });
    }
}

fn parts(ballot: &Ballot) -> Vec<Part> {
    ballot.entries().iter().map(|e| e.part).collect()
}
