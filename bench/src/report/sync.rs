//! The section of `sync`.

use std::fmt::Write as _;

use super::{Target, bytes, plural};
use crate::place::Place;
use crate::single::CONNECTIONS;
use crate::stats::median;
use crate::sync::{Call, Path, Round, Series, TAKES};

/// Calls per second of sync-proxy (commit 5c0ab8f) with two execution clients on two shared cores, by connections, and how many times
/// as many there shall be.
const TO_BEAT: [(Call, [f64; 3], f64); 2] =
    [(Call::Head, [2242.0, 2376.0, 1466.0], 3.0), (Call::Payload, [153.0, 143.0, 158.0], 5.0)];
/// Most that p99 may grow where one of two nodes hangs.
const HUNG: f64 = 1.1;

pub(super) fn targets(found: &[Series]) -> Vec<Target> {
    let mut targets = Vec::new();
    for (call, theirs, times) in TO_BEAT {
        for (connections, theirs) in CONNECTIONS.into_iter().zip(theirs) {
            let ours = rounds(found, Place::Anywhere, call, connections, Path::Two);
            let ours = ours.map(|rounds| median(rounds.iter().map(|round| round.per_second)));
            targets.push(Target {
                what: format!("{} a second, {}", name(call), plural(connections)),
                wanted: format!("at least {times} × sync-proxy's {theirs:.0}"),
                found: ours
                    .map(|ours| (format!("{ours:.0}, {:.1} ×", ours / theirs), ours >= times * theirs)),
            });
        }
    }
    for call in Call::ALL {
        for connections in CONNECTIONS {
            let grown = grown(found, call, connections, Path::Two);
            let alone = grown_alone(found, call, connections);
            targets.push(Target {
                what: format!("p99 of {} while one of two nodes hangs, {}", name(call), plural(connections)),
                wanted: format!("at most {HUNG} × that without"),
                found: grown.map(|grown| (format!("{grown:.2} ×{alone}"), grown <= HUNG)),
            });
        }
    }
    targets
}

pub(super) fn section(found: &[Series]) -> String {
    let mut text = format!(
        "## `sync`: two execution clients\n\n\
         Direct: one of them. mainstay: each gets every call, the first answer is told. forkchoiceUpdated of {} goes to the same head\n\
         over and over, as within a slot; each newPayload of {} is of another block. The figures of sync-proxy (its commit 5c0ab8f,\n\
         two nodes) are from another machine with two shared cores, where a node called directly answered 8,516 to 14,553 small calls\n\
         and 1,530 to 1,978 large ones a second; they are compared with those on all cores. What a node that hangs does to p99 is judged\n\
         on one core, where each node takes {:.1} ms for an answer, which is less than a real one does: where all is answered at once, the first\n\
         of two answers is there while the call is still being sent to the second node, and the proxy needs not be woken for it. One node\n\
         alone: with no other in the list, which is as good as it can get while the other one hangs. Cores are as above.\n",
        bytes(Call::Head.bytes()),
        bytes(Call::Payload.bytes()),
        TAKES.as_secs_f64() * 1e3
    );
    for place in [Place::OneCore, Place::Anywhere] {
        if !found.iter().any(|series| series.place == place) {
            continue;
        }
        text.push_str(match place {
            Place::OneCore => "\nThe proxy on one core of its own.\n\n",
            Place::Anywhere => "\nEverything on all cores.\n\n",
        });
        text.push_str(
            "| call | connections | | calls/s | of direct | p50 | p99 |\n|---|---|---|---|---|---|---|\n",
        );
        for call in Call::ALL {
            for connections in CONNECTIONS {
                Path::ALL.iter().for_each(|path| row(&mut text, found, place, call, connections, *path));
            }
        }
    }
    text
}

fn row(text: &mut String, found: &[Series], place: Place, call: Call, connections: usize, path: Path) {
    let Some(of_path) = rounds(found, place, call, connections, path) else { return };
    let of = |part: fn(&Round) -> f64| median(of_path.iter().map(part));
    let ratio = paired(found, place, call, connections, (path, Path::Direct), |round| round.per_second);
    let ratio = ratio.filter(|_| path != Path::Direct).map(|ratio| format!("{ratio:.2} ×"));
    let _ = writeln!(
        text,
        "| {} | {connections} | {} | {:.0} | {} | {:.3} ms | {:.3} ms |",
        name(call),
        match path {
            Path::Direct => "direct",
            Path::Two => "mainstay",
            Path::OneHangs => "mainstay, one node hangs",
            Path::One => "mainstay, one node alone",
        },
        of(|round| round.per_second),
        ratio.unwrap_or_else(|| "–".into()),
        of(|round| round.p50),
        of(|round| round.p99),
    );
}

fn name(call: Call) -> String {
    match call {
        Call::Head => format!("forkchoiceUpdated of {}", bytes(call.bytes())),
        Call::Payload => format!("newPayload of {}", bytes(call.bytes())),
    }
}

/// The same against the other node alone, as a remark.
fn grown_alone(found: &[Series], call: Call, connections: usize) -> String {
    let alone = grown(found, call, connections, Path::One);
    alone.map(|alone| format!(" ({alone:.2} × that of the other one alone)")).unwrap_or_default()
}

/// What p99 has with a node that hangs against what it has without.
fn grown(found: &[Series], call: Call, connections: usize, without: Path) -> Option<f64> {
    [Place::OneCore, Place::Anywhere].into_iter().find_map(|place| {
        paired(found, place, call, connections, (Path::OneHangs, without), |round| round.p99)
    })
}

fn rounds(found: &[Series], place: Place, call: Call, connections: usize, path: Path) -> Option<&[Round]> {
    let is_it = |s: &&Series| (s.place, s.call, s.connections, s.path) == (place, call, connections, path);
    found.iter().find(is_it).map(|series| series.rounds.as_slice())
}

/// The median over the rounds of what one path has against the other in the same round.
fn paired(
    found: &[Series],
    place: Place,
    call: Call,
    connections: usize,
    (one, other): (Path, Path),
    part: fn(&Round) -> f64,
) -> Option<f64> {
    let (one, other) =
        (rounds(found, place, call, connections, one)?, rounds(found, place, call, connections, other)?);
    Some(median(one.iter().zip(other).map(|(a, b)| part(a) / part(b))))
}
