//! Whether this machine and the nodes agree on the time.

use crate::probe::ODD_SKEW;

use super::finding::Findings;

/// Seconds of difference that nobody needs to care for; a `Date` header has whole ones, and the answer takes a while.
const SMALL: i64 = 2;
/// Seconds by which a block may be ahead of our clock.
const AHEAD: i64 = 3;
/// Seconds after which a newest block is old. Chains that are slower than that have none of mainstay's roles.
const OLD: i64 = 300;

/// What there is to know of clocks.
#[derive(Debug, Default, Clone)]
pub(super) struct Clocks {
    /// In seconds since 1970.
    pub(super) now: u64,
    /// What the system says of its own clock, if it says something.
    pub(super) synchronized: Option<bool>,
    pub(super) nodes: Vec<NodeClock>,
}

/// Of one node.
#[derive(Debug, Default, Clone)]
pub(super) struct NodeClock {
    pub(super) name: String,
    /// Seconds by which its clock is before (+) or behind (−) ours.
    pub(super) skew: Option<i64>,
    /// The time of its newest block, in seconds since 1970.
    pub(super) head: Option<u64>,
}

pub(super) fn judge(clocks: &Clocks, findings: &mut Findings<'_>) {
    let us = "this machine";
    let ntp = "have it kept by NTP: systemd-timesyncd or chrony (timedatectl set-ntp true)";
    match clocks.synchronized {
        Some(true) => findings.ok(us, "is kept by NTP"),
        Some(false) => findings.warn(us, "isn't kept by NTP, or has not been set by it yet", ntp),
        None => {}
    }
    let ours = ours(clocks);
    if ours != 0 {
        let side = if ours > 0 { "behind" } else { "before" };
        let what = format!("its clock is {} s {side} that of every node", ours.abs());
        match ours.abs() >= ODD_SKEW {
            true => findings.fail(us, format!("{what}; at 60 s they refuse every token"), ntp),
            false => findings.warn(us, what, ntp),
        }
    }
    for node in &clocks.nodes {
        match node.skew {
            // Told of this machine.
            Some(skew) if ours != 0 && (skew - ours).abs() <= SMALL => {}
            Some(skew) if skew.abs() >= ODD_SKEW => {
                let what = format!("its clock is {skew:+} s from ours; at 60 s it refuses every token");
                findings.fail(
                    &*node.name,
                    what,
                    "set it: timedatectl on its machine, and have it kept by NTP",
                );
            }
            Some(skew) if skew.abs() > SMALL => {
                let what = format!("its clock is {skew:+} s from ours");
                findings.warn(&*node.name, what, "have both clocks kept by NTP");
            }
            Some(skew) => findings.ok(&*node.name, format!("its clock is {skew:+} s from ours")),
            None => {}
        }
        let Some(head) = node.head else { continue };
        let age = seconds(clocks.now) - seconds(head);
        if age < -AHEAD {
            let what = format!("its newest block is {} s ahead of our clock", -age);
            findings.fail(&*node.name, what, "set the clock of this machine, or its producer's is wrong");
        } else if age > OLD {
            let what = format!("its newest block is {} old", crate::status::span(age.unsigned_abs()));
            findings.warn(
                &*node.name,
                what,
                "see whether it syncs, and whether it has peers; a chain that stands still looks so too",
            );
        } else {
            findings.ok(&*node.name, format!("its newest block is {} s old", age.max(0)));
        }
    }
}

/// By how many seconds our own clock is behind (+) or before (−), if two nodes or more say so and none says otherwise.
fn ours(clocks: &Clocks) -> i64 {
    let mut skews: Vec<i64> = clocks.nodes.iter().filter_map(|node| node.skew).collect();
    skews.sort_unstable();
    let (Some(least), Some(most)) = (skews.first(), skews.last()) else { return 0 };
    match skews.get(skews.len() / 2) {
        Some(middle)
            if skews.len() > 1 && (*least > SMALL || *most < -SMALL) && most - least <= 2 * SMALL =>
        {
            *middle
        }
        _ => 0,
    }
}

fn seconds(time: u64) -> i64 {
    i64::try_from(time).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::finding::Weight::{Fail, Ok, Warn};
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn told(
        synchronized: Option<bool>,
        nodes: &[(Option<i64>, Option<u64>)],
    ) -> Vec<(super::super::finding::Weight, String)> {
        let node = |(index, (skew, head)): (usize, &(Option<i64>, Option<u64>))| NodeClock {
            name: format!("n{index}"),
            skew: *skew,
            head: *head,
        };
        let clocks = Clocks { now: NOW, synchronized, nodes: nodes.iter().enumerate().map(node).collect() };
        let mut all = Vec::new();
        judge(&clocks, &mut Findings { area: "clocks", all: &mut all });
        all.into_iter().map(|it| (it.weight, format!("{}: {}", it.of, it.what))).collect()
    }

    #[test]
    fn whose_clock_is_wrong() {
        let text = |parts: &[(super::super::finding::Weight, &str)]| -> Vec<_> {
            parts.iter().map(|(weight, what)| (*weight, (*what).to_owned())).collect()
        };
        assert_eq!(told(None, &[(None, None)]), []);
        assert_eq!(
            told(Some(true), &[(Some(-1), Some(NOW - 12))]),
            text(&[
                (Ok, "this machine: is kept by NTP"),
                (Ok, "n0: its clock is -1 s from ours"),
                (Ok, "n0: its newest block is 12 s old")
            ])
        );
        assert_eq!(told(Some(false), &[])[0].0, Warn);
        // One of several: it is the node's.
        assert_eq!(
            told(None, &[(Some(12), None), (Some(0), None), (Some(-45), None)]),
            text(&[
                (Warn, "n0: its clock is +12 s from ours"),
                (Ok, "n1: its clock is +0 s from ours"),
                (Fail, "n2: its clock is -45 s from ours; at 60 s it refuses every token")
            ])
        );
        // All of them alike: it is ours.
        assert_eq!(
            told(None, &[(Some(12), None), (Some(11), None)]),
            text(&[(Warn, "this machine: its clock is 12 s behind that of every node")])
        );
        assert_eq!(
            told(None, &[(Some(-40), None), (Some(-41), None)]),
            text(&[(
                Fail,
                "this machine: its clock is 40 s before that of every node; at 60 s they refuse every token"
            )])
        );
        // One alone can't say whose it is.
        assert_eq!(told(None, &[(Some(12), None)]), text(&[(Warn, "n0: its clock is +12 s from ours")]));
    }

    #[test]
    fn newest_blocks_tell_of_clocks_and_of_syncing() {
        for (head, weight, what) in [
            (NOW, Ok, "n0: its newest block is 0 s old"),
            (NOW + 3, Ok, "n0: its newest block is 0 s old"),
            (NOW + 20, Fail, "n0: its newest block is 20 s ahead of our clock"),
            (NOW - 300, Ok, "n0: its newest block is 300 s old"),
            (NOW - 7325, Warn, "n0: its newest block is 2h2m old"),
        ] {
            assert_eq!(told(None, &[(None, Some(head))]), [(weight, what.to_owned())]);
        }
    }
}
