//! The sections of `beacon`.

use std::fmt::Write as _;

use super::calls::Calls;
use super::{Beacon, Target, bytes};
use crate::ATTESTATIONS;
use crate::bn::BLOCK;
use crate::failover::{Failure, Series};
use crate::proxy::Way;
use crate::stats::median;

/// Most CPU of a large call, as a multiple of HAProxy's.
const LARGE_CPU_TARGET: f64 = 1.0;
/// Most milliseconds to the first 503: interval and timeout of a check, and of a node that is gone.
const FAILOVER_TARGETS: [(Failure, f64); 2] = [(Failure::Syncs, 2000.0), (Failure::Dies, 5.0)];

pub(super) fn targets(found: &Beacon) -> Vec<Target> {
    let mut targets = calls(&found.small).cpu_targets("a small GET");
    targets.extend(calls(&found.block).cpu_within(&format!("a GET of {}", bytes(BLOCK)), LARGE_CPU_TARGET));
    for (failure, most) in FAILOVER_TARGETS {
        let series =
            found.failover.iter().find(|series| (series.failure, series.way) == (failure, Way::Beacon));
        targets.push(Target {
            what: format!("first 503 after a node {}, longest", does(failure)),
            wanted: format!("at most {most:.0} ms"),
            found: series.map(|series| {
                let longest = longest(series);
                (format!("{longest:.1} ms"), longest <= most)
            }),
        });
    }
    targets
}

pub(super) fn sections(found: &Beacon) -> [String; 4] {
    let (length, attestations) = &found.attestations;
    [
        format!(
            "## `beacon`: a small GET\n\n\
             `/eth/v1/beacon/states/head/root`. mainstay has its defaults, but for a guard that opens without a warm-up (`--warm-up 0s`), and\n\
             counts the node's peers too (`--min-peers 64`); HAProxy checks `/eth/v1/node/syncing` for `\"is_syncing\":false` (`option httpchk`), once a\n\
             second as mainstay does. Cores are as above.\n{}",
            calls(&found.small).tables()
        ),
        format!(
            "## `beacon`: a block of {}\n\n`/eth/v2/beacon/blocks/head` in SSZ.\n{}",
            bytes(BLOCK),
            calls(&found.block).tables()
        ),
        format!(
            "## `beacon`: a POST of attestations\n\n{ATTESTATIONS} attestations, {} of JSON, with an empty answer.\n{}",
            bytes(*length),
            calls(attestations).tables()
        ),
        failover(&found.failover),
    ]
}

fn calls(all: &[crate::single::Series]) -> Calls<'_> {
    Calls { all, mainstay: Way::Beacon }
}

fn failover(all: &[Series]) -> String {
    let mut text = String::from(
        "## `beacon`: from failure to 503\n\n\
         A client asks every millisecond; the time is from the failure to its first 503. Both stand before the same node, so a\n\
         trial is one failure for both; they check once a second, one bad round counts, no answer to a check is waited for\n\
         longer than a second. HAProxy has its default of 3 retries.\n\n\
         | the node | | median | longest | trials |\n|---|---|---|---|---|\n",
    );
    for series in all {
        let _ = writeln!(
            text,
            "| {} | {} | {:.1} ms | {:.1} ms | {} |",
            does(series.failure),
            if series.way == Way::Beacon { "mainstay" } else { "HAProxy" },
            median(series.took.iter().copied()),
            longest(series),
            series.took.len()
        );
    }
    text
}

fn does(failure: Failure) -> &'static str {
    match failure {
        Failure::Syncs => "says that it syncs",
        Failure::Dies => "dies",
    }
}

fn longest(series: &Series) -> f64 {
    series.took.iter().copied().fold(f64::NAN, f64::max)
}
