//! Each round once more, with what its nodes said and when: the pure decision in `ballot.rs`, which tables and properties prove,
//! says what may be told and when.

use std::time::Duration;

use mainstay_execution::Round as Shown;
use mainstay_execution::ballot::{Answer, Ballot, Entry, Next, Part};
use mainstay_execution::config::StragglerWait;
use mainstay_execution::status::{Heard, PayloadStatus, Silence, Status};
use mainstay_execution::verdict::Vote;

use crate::oracle::Round;
use crate::setup::Setup;
use crate::speech::{HEAD_METHOD, Told};

/// The longest that anybody's own figures make others wait for it.
const MOST_WAIT: Duration = Duration::from_millis(500);

/// Something that a round's conductor hears.
type Event = (u64, usize, Heard);

/// What a round was like.
pub struct Finding {
    /// What came after the answer speaks against it.
    pub changed: bool,
    /// Somebody was waited for though the answer stood.
    pub waited: bool,
}

/// 2 and 4: what was told follows from what had been heard, not too early and not too late.
///
/// # Errors
/// What doesn't.
pub fn judge(round: &Round, shown: &Shown, setup: &Setup) -> Result<Finding, String> {
    // Nobody was there to be told.
    let Some((told_at, told)) = &round.told else { return Ok(Finding { changed: false, waited: false }) };
    let took = told_at - round.begun;
    let mut events: Vec<Event> = declined(shown);
    events.extend(round.replies.iter().map(|(at, node, heard)| (at - round.begun, *node, heard.clone())));
    events.sort_by_key(|(at, ..)| *at);
    let wrong = |what: &str| {
        let heard: Vec<String> =
            events.iter().map(|(at, n, heard)| format!("{n}:{} +{at}", heard.word())).collect();
        Err(format!(
            "{what}: round {} told {told:?} after {took} ms; {:?} said {}",
            round.id,
            round.parts,
            heard.join(" ")
        ))
    };
    let possible = possible(round, &events, setup, took);
    let replaced = |e: &Event| matches!(e, (at, _, Heard::Silent(Silence::Replaced)) if *at <= took);
    // Where nobody has a vote nobody is listened to.
    let replaced = (0..round.parts.len()).any(|node| round.votes(node)) && events.iter().any(replaced);
    if possible.is_empty() {
        return wrong("2: too early");
    }
    if !possible.iter().any(|answer| fits(answer, told, round, setup, replaced)) {
        return wrong(&format!("2: not what was heard, which is {possible:?}"));
    }
    let most = match setup.straggler_wait {
        StragglerWait::Fixed(wait) => wait,
        _ => MOST_WAIT,
    };
    let latest = answered_at(round, &events, setup, most);
    if latest < took {
        return wrong(&format!("4: later than {latest} ms"));
    }
    let waited = answered_at(round, &events, setup, Duration::ZERO) < took;
    let changed =
        changed(round, &events, told, &possible).map_err(|what| wrong(&what).err().unwrap_or_default())?;
    Ok(Finding { changed, waited })
}

/// Nodes that the call wasn't sent to, as far as it is shown.
fn declined(shown: &Shown) -> Vec<Event> {
    let silence = |word: &str| match word {
        "replaced" => Some(Silence::Replaced),
        "not_sent" => Some(Silence::NotSent),
        _ => None,
    };
    let votes = shown.votes.iter().enumerate();
    votes
        .filter_map(|(node, (_, word, at))| {
            let at = u64::try_from((*at)?.as_millis()).ok()?;
            Some((at, node, Heard::Silent(silence(word)?)))
        })
        .collect()
}

fn ballot(round: &Round, setup: &Setup, wait: Duration) -> Ballot {
    let wait = if setup.straggler_wait == StragglerWait::Timeout { Duration::MAX } else { wait };
    let entries = round.parts.iter().zip(&round.said_invalid);
    let entries = entries.map(|(part, said)| Entry { said_invalid: *said, ..Entry::new(*part, wait) });
    let ballot = Ballot::new(setup.rules, round.deadline, entries.collect());
    let builds = matches!(round.ask, crate::el::Ask::Head(_, Some(_)));
    if builds { ballot.building() } else { ballot }
}

/// The answers that may be given when the answer was: each with as much of that very millisecond as its conductor may have
/// heard. None if it was too early for any.
fn possible(round: &Round, events: &[Event], setup: &Setup, took: u64) -> Vec<Answer> {
    let now = Duration::from_millis(took);
    // Whoever keeps straggling isn't waited for at all.
    let mut ballot = ballot(round, setup, Duration::ZERO);
    for (at, node, heard) in events.iter().filter(|(at, ..)| *at < took) {
        // What stood between two events is looked at as it was.
        ballot.next(Duration::from_millis(*at));
        ballot.hear(*node, heard.clone(), Duration::from_millis(*at));
        ballot.next(Duration::from_millis(*at));
    }
    let mut answers = Vec::new();
    let mut look = |ballot: &Ballot| {
        let all = ballot.entries().iter().all(|e| e.heard.is_some());
        if !all && ballot.clone().next(now) != Next::Answer {
            return;
        }
        for last in [false, true] {
            let mut ballot = ballot.clone();
            for (node, (before, by_then)) in round.recalled.iter().enumerate() {
                ballot.remember(node, if last { *by_then } else { *before });
            }
            let answer = ballot.answer();
            if !answers.contains(&answer) {
                answers.push(answer);
            }
        }
    };
    let same: Vec<&Event> = events.iter().filter(|(at, ..)| *at == took).collect();
    for subset in 0_u32..1 << same.len() {
        let mut ballot = ballot.clone();
        ballot.next(now);
        for (_, (at, node, heard)) in same.iter().enumerate().filter(|(i, _)| subset & (1 << i) != 0) {
            ballot.hear(*node, heard.clone(), Duration::from_millis(*at));
        }
        look(&ballot);
    }
    answers
}

/// Whether this was told. `replaced`: some nodes weren't asked since a newer head took the place of this one.
fn fits(answer: &Answer, told: &Told, round: &Round, setup: &Setup, replaced: bool) -> bool {
    let syncing = PayloadStatus {
        status: Status::Syncing,
        latest_valid_hash: None,
        validation_error: None,
        inclusion_list_satisfied: None,
    };
    match (answer, told) {
        (Answer::Status(status), Told::Status(told, _)) => {
            let accepted = status.status == Status::Accepted && round.method == HEAD_METHOD;
            told == if accepted { &syncing } else { status }
        }
        (Answer::Error(error), Told::Error(code)) => {
            String::from_utf8_lossy(error).starts_with(&format!(r#"{{"code":{code},"#))
        }
        (Answer::Shortfall, Told::Nothing) => setup.error_on_shortfall && !replaced,
        // The model's hashes are right, so the check of the block's hash always passes.
        (Answer::Shortfall, Told::Status(told, _)) => {
            (replaced || !setup.error_on_shortfall) && *told == syncing
        }
        _ => false,
    }
}

/// When the answer would be given if every straggler were waited for so long.
fn answered_at(round: &Round, events: &[Event], setup: &Setup, wait: Duration) -> u64 {
    let mut ballot = ballot(round, setup, wait);
    let ms = |d: Duration| u64::try_from(d.as_millis()).unwrap();
    let mut now = 0;
    let mut events = events.iter().peekable();
    loop {
        while let Some((at, node, heard)) = events.next_if(|(at, ..)| *at <= now) {
            ballot.hear(*node, heard.clone(), Duration::from_millis(*at));
        }
        if ballot.entries().iter().all(|e| e.heard.is_some()) {
            return now;
        }
        match ballot.next(Duration::from_millis(now)) {
            Next::Answer => return now,
            Next::WaitUntil(until) => {
                let next = events.peek().map_or(u64::MAX, |(at, ..)| *at);
                now = next.min(ms(until)).max(now + 1);
            }
        }
    }
}

/// 2 once more, without the ballot's rules of waiting: an answer that all replies together would change is one that a late
/// INVALID, the deadline, a node that nobody waits for or one that took its word back has changed.
fn changed(round: &Round, events: &[Event], told: &Told, possible: &[Answer]) -> Result<bool, String> {
    let Some(status) = told.status() else { return Ok(false) };
    let took = round.told.as_ref().map_or(0, |(at, _)| at - round.begun);
    // SYNCING counts only from who is waited for.
    let counts = |node: usize, vote| match vote {
        Vote::Syncing => round.parts[node] == Part::Voter,
        _ => round.votes(node),
    };
    let voters =
        |vote| events.iter().filter(|(_, n, heard)| counts(*n, vote) && heard.vote() == Some(vote)).count();
    let late = |vote| {
        events
            .iter()
            .filter(|(at, n, heard)| *at >= took && round.votes(*n) && heard.vote() == Some(vote))
            .count()
    };
    let against = match status.vote() {
        Vote::Valid => late(Vote::Invalid) > 0 || voters(Vote::Syncing) > voters(Vote::Valid),
        Vote::Invalid => voters(Vote::Valid) >= voters(Vote::Invalid),
        Vote::Syncing => false,
    };
    let deadline = Duration::from_millis(took) >= round.deadline;
    let documented = deadline || possible.len() > 1 || late(Vote::Invalid) > 0 || {
        // Who isn't a voter isn't waited for; what it says late may still count.
        let unsure = |n: usize| round.parts[n] != Part::Voter;
        events.iter().any(|(at, n, heard)| *at >= took && unsure(*n) && heard.vote().is_some())
    };
    if against && !documented {
        return Err("2: all replies together say something else".to_owned());
    }
    Ok(against)
}
