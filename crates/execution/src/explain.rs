//! A round of votes that somebody thinks up, put to the decisions that real ones are put to: what is answered, when, and why.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;

use crate::ballot::{Ballot, Entry, Next, Part};
use crate::status::{Heard, PayloadStatus, Status};
use crate::verdict::{self, Outlook, Reason, Rules, Tally, Verdict};

/// What a node says, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status; nothing: a JSON-RPC error.
    pub status: Option<Status>,
    /// Since the round began.
    pub at: Duration,
}

/// A node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// Whether it is waited for.
    pub part: Part,
    /// What it says; nothing if it never answers.
    pub reply: Option<Reply>,
    /// It said INVALID of this block in an earlier round.
    pub said_invalid: bool,
}

/// A round.
#[derive(Clone, Debug)]
pub struct Case {
    /// The owner's settings.
    pub rules: Rules,
    /// When it has to be answered.
    pub timeout: Duration,
    /// How long others are waited for once VALID stands.
    pub straggler_wait: Duration,
    /// The nodes in order.
    pub nodes: Vec<Node>,
}

/// Something that happens in a round.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// When, in milliseconds.
    pub at_ms: u128,
    /// Which node says something, from 1; none if a wait is over.
    pub node: Option<usize>,
    /// What it says.
    pub says: Option<&'static str>,
    /// The votes so far.
    pub tally: Tally,
    /// What comes of it.
    pub then: String,
}

/// How a round ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Told {
    /// What happens, in order, up to the answer.
    pub steps: Vec<Step>,
    /// When it is answered, in milliseconds.
    pub at_ms: u128,
    /// What is answered.
    pub verdict: Verdict,
    /// Votes that a majority needs of those cast.
    pub needed: u32,
    /// Which rule makes it so.
    pub reason: Reason,
    /// VALID had it been, but for an INVALID in an earlier round.
    pub contradicted: bool,
}

/// Plays a round.
#[must_use]
pub fn explain(case: &Case) -> Told {
    let entry =
        |node: &Node| Entry { said_invalid: node.said_invalid, ..Entry::new(node.part, case.straggler_wait) };
    let mut ballot = Ballot::new(case.rules, case.timeout, case.nodes.iter().map(entry).collect());
    let mut replies: Vec<(Duration, usize, Heard)> = case
        .nodes
        .iter()
        .enumerate()
        .filter_map(|(nth, node)| node.reply.map(|reply| (reply.at, nth, heard(reply.status))))
        .collect();
    replies.sort_by_key(|(at, nth, _)| (*at, *nth));
    let mut replies = replies.into_iter().peekable();
    let (mut now, mut steps) = (Duration::ZERO, Vec::new());
    loop {
        let next = ballot.next(now);
        if let Some(last) = steps.last_mut() {
            describe(last, &ballot, next, case);
        }
        let Next::WaitUntil(until) = next else { break };
        // Of what comes when a wait ends, nothing is heard any more.
        let Some((at, nth, heard)) = replies.next_if(|(at, ..)| *at < until) else {
            now = until;
            steps.push(step(now, None, None, &ballot));
            continue;
        };
        now = at;
        let says = heard.word();
        ballot.hear(nth, heard, at);
        steps.push(step(now, Some(nth + 1), Some(says), &ballot));
    }
    let tally = ballot.tally();
    let (judged, reason) = verdict::reasoned(tally, &case.rules);
    let verdict = ballot.verdict();
    Told {
        steps,
        at_ms: now.as_millis(),
        verdict,
        needed: verdict::needed(tally.total(), case.rules.majority),
        reason,
        contradicted: judged != verdict,
    }
}

fn heard(status: Option<Status>) -> Heard {
    match status {
        Some(status) => Heard::Status(PayloadStatus { status, ..PayloadStatus::SYNCING }, None),
        None => Heard::Error(-32000, Bytes::from_static(br#"{"code":-32000,"message":"an error"}"#)),
    }
}

fn step(at: Duration, node: Option<usize>, says: Option<&'static str>, ballot: &Ballot) -> Step {
    Step { at_ms: at.as_millis(), node, says, tally: ballot.tally(), then: String::new() }
}

fn describe(step: &mut Step, ballot: &Ballot, next: Next, case: &Case) {
    let out =
        ballot.entries().iter().filter(|entry| entry.part == Part::Voter && entry.heard.is_none()).count();
    let outlook = verdict::outlook(ballot.tally(), u32::try_from(out).unwrap_or(u32::MAX), &case.rules);
    step.then = match (next, outlook) {
        (Next::Answer, _) if step.at_ms >= case.timeout.as_millis() => {
            "the time is up: who is out abstains".into()
        }
        (Next::Answer, _) if out == 0 => "everybody who is waited for has answered".into(),
        (Next::Answer, Outlook::Decided(_)) => format!("no vote of the {out} still out can change it"),
        (Next::Answer, _) => "the wait is over".into(),
        (Next::WaitUntil(until), Outlook::OnlyDissent) => {
            format!("VALID stands, only an INVALID could turn it: wait until {} ms", until.as_millis())
        }
        (Next::WaitUntil(until), Outlook::Decided(_)) => {
            format!("SYNCING or ACCEPTED hangs on the others: wait until {} ms", until.as_millis())
        }
        (Next::WaitUntil(until), Outlook::Open) => {
            format!("the {out} still out can change it: wait, until {} ms at most", until.as_millis())
        }
    };
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A letter a node: its status or `E` (error) or `-` (nothing), `?` for one that isn't waited for, and when.
    fn told(votes: &[(&str, u32)], rules: Rules) -> Told {
        let node = |(what, at): &(&str, u32)| {
            let status = match what.chars().next().unwrap() {
                'V' => Some(Some(Status::Valid)),
                'I' => Some(Some(Status::Invalid)),
                'S' => Some(Some(Status::Syncing)),
                'E' => Some(None),
                _ => None,
            };
            Node {
                part: if what.contains('?') { Part::Maybe } else { Part::Voter },
                reply: status.map(|status| Reply { status, at: MS * *at }),
                said_invalid: what.contains('!'),
            }
        };
        let nodes = votes.iter().map(node).collect();
        explain(&Case { rules, timeout: 1000 * MS, straggler_wait: 300 * MS, nodes })
    }

    #[test]
    fn rounds_are_answered_as_real_ones_are() {
        let usual = Rules::default();
        let outvotes = Rules { on_dissent: verdict::OnDissent::Majority, ..usual };
        let two = Rules { min_votes: 2, ..usual };
        for (votes, rules, verdict, at, reason) in [
            (&[("V", 5), ("V", 7), ("V", 9)][..], usual, Verdict::Valid, 9, Reason::ValidMajority),
            (&[("V", 5), ("V", 7), ("-", 0)], usual, Verdict::Valid, 307, Reason::ValidMajority),
            (&[("V", 5), ("V", 7), ("I", 200)], usual, Verdict::Syncing, 200, Reason::Dissent),
            (&[("V", 5), ("V", 7), ("I", 900)], usual, Verdict::Valid, 307, Reason::ValidMajority),
            (&[("I", 5), ("V", 7), ("V", 9)], outvotes, Verdict::Valid, 9, Reason::Outvoted),
            (&[("I", 5), ("I", 7), ("V", 9)], usual, Verdict::Invalid, 7, Reason::InvalidMajority),
            (&[("S", 5), ("S", 7), ("V", 9)], usual, Verdict::Syncing, 7, Reason::NoMajority),
            (&[("V", 5)], two, Verdict::Syncing, 5, Reason::TooFew),
            (&[("-", 0), ("E", 3)], usual, Verdict::Shortfall, 1000, Reason::NoVotes),
            (&[("V", 5), ("I?", 700)], usual, Verdict::Valid, 5, Reason::ValidMajority),
        ] {
            let told = told(votes, rules);
            assert_eq!(
                (told.verdict, told.at_ms, told.reason),
                (verdict, at, reason),
                "{votes:?}: {told:#?}"
            );
            assert!(!told.contradicted);
        }
    }

    #[test]
    fn an_invalid_of_before_counts_though_the_votes_say_valid() {
        let told = told(&[("V", 5), ("V", 6), ("-!", 0)], Rules::default());
        assert_eq!(
            (told.verdict, told.reason, told.contradicted),
            (Verdict::Syncing, Reason::ValidMajority, true)
        );
    }

    #[test]
    fn every_step_says_what_comes_of_it() {
        let told = told(&[("V", 5), ("V", 7), ("-", 0)], Rules::default());
        let steps: Vec<(u128, Option<usize>, &str)> =
            told.steps.iter().map(|step| (step.at_ms, step.node, step.then.as_str())).collect();
        assert_eq!(
            steps,
            [
                (5, Some(1), "the 2 still out can change it: wait, until 1000 ms at most"),
                (7, Some(2), "VALID stands, only an INVALID could turn it: wait until 307 ms"),
                (307, None, "the wait is over"),
            ]
        );
    }
}
