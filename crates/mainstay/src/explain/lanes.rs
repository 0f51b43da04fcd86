//! `mainstay explain lanes`: requests of several lanes, and the order in which nodes get them.

use std::fmt::Write;
use std::time::Duration;

use mainstay_rpc::config::{WORKERS, rules};
use mainstay_rpc::explain::{Arrival, Case, Step, Told, explain};
use mainstay_rpc::{Lane, Options, keys};
use mainstay_settings::{Key, Kind, Problem, Section, Settings, parse_duration};
use serde_json::json;

use super::{Decision, Played};

/// Requests that somebody types in.
const REQUESTS: usize = 1000;
/// The longest time of anything.
const LONGEST: Duration = Duration::from_secs(3600);

static CASE: Section = Section::role(
    "lanes",
    "Requests of several lanes",
    &[
        Key::new(
            "arrivals",
            Kind::Text,
            "Requests in the order in which they come: F (fast-track), H (high) or L (low); *N for N of them, @200ms when they come, \
             /50ms how long a node works on each. For example L*5,H@10ms,F*2@20ms/50ms",
        ),
        Key::new("nodes", Kind::Integer { min: 0, max: 64 }, "How many nodes there are").default("1"),
        Key::new("node_workers", WORKERS, "Requests at once of each node").default("1"),
        Key::new("work", Kind::Duration, "How long a node works on a request that doesn't say")
            .default("100ms"),
        keys::REQUEST_TIMEOUT,
        keys::FAST_TRACK_PER_HIGH,
        keys::FAST_TRACK_DRAIN_FIRST,
        keys::LOW_MAX_WAIT,
        keys::FAST_TRACK_MAX,
        keys::HIGH_MAX,
        keys::LOW_MAX,
        keys::QUEUE_MAX,
    ],
);

pub(super) const DECISION: Decision = Decision {
    case: &CASE,
    needs: &["arrivals"],
    about: "In which order rpc's nodes get these requests, and how long each waits",
    play,
};

fn play(settings: &Settings, problems: &mut Vec<Problem>) -> Option<Played> {
    for key in ["work", "request_timeout"] {
        if settings.duration(key).is_some_and(|time| time > LONGEST) {
            problems.push(settings.problem(key, "an hour is the most"));
        }
    }
    let number = |key| settings.integer(key).unwrap_or_default();
    let work = settings.duration("work").unwrap_or_default();
    let arrivals = match arrivals(settings.text("arrivals").unwrap_or_default(), work) {
        Ok(arrivals) => arrivals,
        Err(what) => {
            problems.push(settings.problem("arrivals", what));
            return None;
        }
    };
    if !problems.is_empty() {
        return None;
    }
    let workers = u32::try_from(number("node_workers")).unwrap_or(1);
    let case = Case {
        // Nodes are there from the start, with all their slots.
        options: Options { rules: rules(settings), slow_start: Duration::ZERO, refuse_when_unfit: false },
        nodes: vec![workers; usize::try_from(number("nodes")).unwrap_or_default()],
        timeout: settings.duration("request_timeout").unwrap_or_default(),
        arrivals,
    };
    let told = explain(&case, tokio::time::Instant::now().into_std());
    Some(Played { text: text(&told), told: json!(told) })
}

fn arrivals(text: &str, work: Duration) -> Result<Vec<Arrival>, String> {
    let mut all = Vec::new();
    for (nth, part) in text.split(',').enumerate() {
        let (arrival, times) = one(part.trim(), work)
            .map_err(|why| format!("request {}, \"{}\": {why}", nth + 1, part.trim()))?;
        if all.len() + times > REQUESTS {
            return Err(format!("{REQUESTS} requests at most"));
        }
        all.extend(std::iter::repeat_n(arrival, times));
    }
    Ok(all)
}

/// A request, and how many of it.
fn one(text: &str, work: Duration) -> Result<(Arrival, usize), String> {
    let time = |text: &str| match parse_duration(text) {
        Ok(time) if time > LONGEST => Err("an hour is the most".to_owned()),
        read => read,
    };
    let (text, work) = match text.split_once('/') {
        Some((text, work)) => (text, time(work)?),
        None => (text, work),
    };
    let (text, at) = match text.split_once('@') {
        Some((text, at)) => (text, time(at)?),
        None => (text, Duration::ZERO),
    };
    let (lane, times) = match text.split_once('*') {
        Some((lane, times)) => (lane, times.parse().map_err(|_| format!("\"{times}\" is no number"))?),
        None => (text, 1),
    };
    let lane = match lane.to_ascii_lowercase().as_str() {
        "f" => Lane::FastTrack,
        "h" => Lane::High,
        "l" => Lane::Low,
        word => {
            Lane::of_word(word).ok_or("expected F, H or L, then maybe *, @ and /, as in H*3@200ms/50ms")?
        }
    };
    Ok((Arrival { lane, at, work }, times))
}

fn text(told: &Told) -> String {
    let mut out = String::new();
    for step in &told.steps {
        let Step { at_ms, request, lane, waiting: [fast, high, low], .. } = step;
        let then = match (step.then, step.node) {
            ("runs", Some(node)) => format!("runs on node {node} after {} ms", step.waited_ms),
            ("ends", Some(node)) => format!("ends, node {node} has a slot free"),
            ("waits", _) => "waits".to_owned(),
            ("expires", _) => format!("its time is up after {} ms", step.waited_ms),
            (then, _) => format!("{then}: {}", step.why.unwrap_or_default()),
        };
        let _ = writeln!(
            out,
            "{at_ms:>6} ms  request {request:<4} {lane:<11} {then}; waiting: {fast} fast-track, {high} high, {low} low"
        );
    }
    let order: Vec<String> = told.order.iter().map(ToString::to_string).collect();
    let _ =
        writeln!(out, "\norder: {}", if order.is_empty() { "none ran".to_owned() } else { order.join(" ") });
    for (lane, longest) in Lane::ALL.iter().zip(told.longest_wait_ms) {
        if let Some(longest) = longest {
            let _ = writeln!(out, "{lane}: {longest} ms was the longest wait");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn requests_are_read() {
        let ms = Duration::from_millis;
        let arrival = |lane, at, work| Arrival { lane, at: ms(at), work: ms(work) };
        assert_eq!(
            arrivals("L*2, h@10ms,fast-track@1s/50ms", ms(7)).unwrap(),
            [
                arrival(Lane::Low, 0, 7),
                arrival(Lane::Low, 0, 7),
                arrival(Lane::High, 10, 7),
                arrival(Lane::FastTrack, 1000, 50)
            ]
        );
    }

    #[test]
    fn what_is_none_is_told_by_its_number() {
        for (text, told) in [
            ("L,,H", "request 2, \"\": expected F, H or L"),
            ("X", "request 1, \"X\": expected"),
            ("H@soon", "request 1, \"H@soon\":"),
            ("H@2h", "request 1, \"H@2h\": an hour is the most"),
            ("H*many", "request 1, \"H*many\": \"many\" is no number"),
            ("H*1001", "1000 requests at most"),
        ] {
            let why = arrivals(text, Duration::ZERO).unwrap_err();
            assert!(why.starts_with(told), "{text}: {why}");
        }
    }
}
