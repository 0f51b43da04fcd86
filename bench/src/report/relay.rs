//! The section of `relay`.

use std::fmt::Write as _;

use super::{Target, bytes, megabytes};
use crate::relay::{Found, Inward, NODES, Path, RATE, Round, SIZES, Series, TRANSACTION};
use crate::stats::median;

/// Most that an empty block may be later, in milliseconds, half of the time and 99 times of 100.
const LATER: [(Path, f64, Part, &str); 3] = [
    (Path::Relay, 0.2, |round| round.p50, "p50"),
    (Path::Relay, 1.0, |round| round.p99, "p99"),
    (Path::Etcd, 5.0, |round| round.p99, "with claims in etcd, p99"),
];

type Part = fn(&Round) -> f64;

pub(super) fn targets(found: &Found) -> Vec<Target> {
    let mut targets = Vec::new();
    for (path, most, part, name) in LATER {
        let later = later(found, SIZES[0], path, part);
        targets.push(Target {
            what: format!("added to an empty block, {name}"),
            wanted: format!("less than {most} ms"),
            found: later.map(|later| (format!("{later:.3} ms"), later < most)),
        });
    }
    let wanted = f64::from(RATE) * NODES as f64;
    let carried = (!found.inward.is_empty()).then(|| of(found, |inward| inward.per_second));
    targets.push(Target {
        what: format!("transactions a second, inward to {NODES} nodes"),
        wanted: format!("{RATE} to each"),
        found: carried
            .map(|carried| (format!("{:.0} to each", carried / NODES as f64), carried > wanted * 0.98)),
    });
    targets
}

pub(super) fn section(found: &Found) -> String {
    let mut text = String::from(
        "## `relay`: a block from an inner node to the outer one\n\n\
         From the first byte's being sent to the last one's being there, one block after the other; each is on top of the one before and\n\
         is claimed in the relay's own memory, or in a store on this machine, with the same disk (etcd: one member; Redis: `appendfsync\n\
         always`). HAProxy in TCP mode, one thread, decides nothing. Everything on all cores. Added: to what the same took without\n\
         anything between, in the same round.\n\n\
         | block | | p50 | p99 | added, p50 | added, p99 |\n|---|---|---|---|---|---|\n",
    );
    for size in SIZES {
        for path in Path::ALL {
            let Some(rounds) = rounds(found, size, path) else { continue };
            let of = |part: Part| median(rounds.iter().map(part));
            let added = |part| match later(found, size, path, part) {
                Some(later) if path != Path::Direct => format!("{later:.3} ms"),
                _ => "–".to_owned(),
            };
            let _ = writeln!(
                text,
                "| {} | {} | {:.3} ms | {:.3} ms | {} | {} |",
                bytes(size),
                match path {
                    Path::Direct => "direct",
                    Path::Relay => "mainstay",
                    Path::Etcd => "mainstay, etcd",
                    Path::Redis => "mainstay, Redis",
                    Path::Haproxy => "HAProxy",
                },
                of(|round| round.p50),
                of(|round| round.p99),
                added(|round| round.p50),
                added(|round| round.p99),
            );
        }
    }
    let _ = writeln!(
        text,
        "\nTransactions of about {} from outer nodes, {RATE} a second to each of {NODES} inner ones: {:.0} a second arrived, for {:.0} % of\n\
         a core; {:.1} MB of memory at the end, {:.1} MB at most.",
        bytes(TRANSACTION),
        of(found, |inward| inward.per_second),
        of(found, |inward| inward.cpu) * 100.0,
        of(found, |inward| megabytes(inward.memory.0)),
        of(found, |inward| megabytes(inward.memory.1)),
    );
    text
}

fn of(found: &Found, part: impl Fn(&Inward) -> f64) -> f64 {
    median(found.inward.iter().map(part))
}

fn rounds(found: &Found, size: usize, path: Path) -> Option<&[Round]> {
    let is_it = |series: &&Series| (series.bytes, series.path) == (size, path);
    found.blocks.iter().find(is_it).map(|series| series.rounds.as_slice())
}

/// The median over the rounds of how much later a block was than directly.
fn later(found: &Found, size: usize, path: Path, part: Part) -> Option<f64> {
    let (one, direct) = (rounds(found, size, path)?, rounds(found, size, Path::Direct)?);
    Some(median(one.iter().zip(direct).map(|(a, b)| part(a) - part(b))))
}
