//! Execution nodes: reached, their versions, what they offer, which network and fork they are on. Pure.

use std::collections::BTreeSet;

use crate::probe::{Answers, Fork, Verdict, WANTS_TOKEN};

use super::finding::{Finding, Findings};

/// A fork that is nearer than this has to be known.
const NEAR: u64 = 14 * 24 * 3600;

/// A node and what came of asking it.
#[derive(Debug, Clone)]
pub(super) struct NodeSeen {
    /// The role's instance: its nodes have to be on one network.
    pub(super) group: String,
    pub(super) name: String,
    pub(super) verdict: Verdict,
}

impl NodeSeen {
    fn answers(&self) -> &Answers {
        &self.verdict.answers
    }

    fn of(&self) -> String {
        place(&self.group, &self.name)
    }
}

/// How a node is called among those of several roles.
pub(super) fn place(group: &str, name: &str) -> String {
    format!("{group} {name}")
}

pub(super) fn judge(nodes: &[NodeSeen], now: u64, all: &mut Vec<Finding>) {
    let mut findings = Findings { area: "reachability", all };
    for node in nodes {
        let took = node.answers().took.as_millis();
        match &node.verdict.wrong {
            Some(wrong) => findings.fail(node.of(), &*wrong.what, &*wrong.remedy),
            None if node.answers().wants_token => {
                let remedy = "nothing, or give it #jwt-secret=FILE so that more can be asked";
                findings.warn(node.of(), WANTS_TOKEN.split(':').next().unwrap_or_default(), remedy);
            }
            None => {
                let chain = node.answers().chain.map(|chain| format!(", chain {chain}")).unwrap_or_default();
                findings.ok(node.of(), format!("answers within {took} ms{chain}"));
            }
        }
    }
    findings.area = "versions";
    for node in nodes {
        if let Some(client) = &node.answers().client {
            findings.ok(node.of(), &**client);
        }
    }
    let mut groups: Vec<&str> = nodes.iter().map(|node| node.group.as_str()).collect();
    groups.dedup();
    for group in groups {
        let of_group: Vec<&NodeSeen> = nodes.iter().filter(|node| node.group == group).collect();
        findings.area = "capabilities";
        capabilities(group, &of_group, &mut findings);
        findings.area = "forks";
        genesis(&of_group, &mut findings);
        forks(&of_group, now, &mut findings);
    }
}

/// Methods that some have and some haven't.
fn capabilities(group: &str, nodes: &[&NodeSeen], findings: &mut Findings<'_>) {
    let offers: Vec<(&NodeSeen, &BTreeSet<String>)> =
        nodes.iter().filter_map(|node| Some((*node, node.answers().methods.as_ref()?))).collect();
    let any: BTreeSet<&String> = offers.iter().flat_map(|(_, methods)| methods.iter()).collect();
    let mut agree = true;
    for (node, methods) in &offers {
        let lacks: Vec<&str> =
            any.iter().filter(|method| !methods.contains(**method)).map(|method| method.as_str()).collect();
        if !lacks.is_empty() {
            agree = false;
            let remedy = "update it; until then a call of these is answered by the others alone";
            findings.warn(node.of(), format!("lacks what others have: {}", lacks.join(", ")), remedy);
        }
    }
    if agree && offers.len() > 1 {
        findings.ok(group, format!("{} nodes offer the same {} methods", offers.len(), any.len()));
    }
}

/// The first block tells networks of one chain id apart.
fn genesis(nodes: &[&NodeSeen], findings: &mut Findings<'_>) {
    let hash = |node: &NodeSeen| node.answers().genesis.as_ref().map(|block| block.hash.clone());
    let Some(usual) = most(nodes.iter().filter_map(|node| hash(node))) else { return };
    for node in nodes {
        if let Some(own) = hash(node).filter(|own| *own != usual) {
            let what = format!("its first block is {}, the others' is {}", short(&own), short(&usual));
            findings.fail(node.of(), what, "take it off the list, or start it anew on the others' network");
        }
    }
}

/// What the nodes say of the fork that is, and of the next.
fn forks(nodes: &[&NodeSeen], now: u64, findings: &mut Findings<'_>) {
    let told: Vec<_> =
        nodes.iter().filter_map(|node| Some((*node, node.answers().forks.as_ref()?))).collect();
    let Some(current) = most(told.iter().filter_map(|(_, forks)| forks.current.clone())) else { return };
    // Where they differ the one that knows more is right: an old one can't know.
    let next: Option<Fork> = most(told.iter().filter_map(|(_, forks)| forks.next.clone()));
    let mut agree = true;
    for (node, forks) in &told {
        if let Some(own) = forks.current.as_ref().filter(|own| **own != current) {
            agree = false;
            let what = format!("is on fork {}, the others are on {}", own.id, current.id);
            findings.fail(node.of(), what, "update it: it missed a fork, or has one that the others haven't");
        }
        if forks.next == next {
            continue;
        }
        agree = false;
        let theirs = next.as_ref().map_or_else(|| "none".to_owned(), |fork| shown(fork, now));
        let what = match &forks.next {
            None => format!("knows no next fork, the others know {theirs}"),
            Some(own) => format!("its next fork is {}, the others' is {theirs}", shown(own, now)),
        };
        let near = [&forks.next, &next].into_iter().flatten().any(|fork| fork.at < now.saturating_add(NEAR));
        let remedy = "update it before the fork, or it goes on alone from there";
        match near {
            true => findings.fail(node.of(), what, remedy),
            false => findings.warn(node.of(), what, remedy),
        }
    }
    if agree {
        let group = nodes.first().map_or("", |node| node.group.as_str());
        let next = next.map_or_else(
            || "no next one is known".to_owned(),
            |fork| format!("the next is {}", shown(&fork, now)),
        );
        findings.ok(group, format!("fork {}, {next}", current.id));
    }
}

fn shown(fork: &Fork, now: u64) -> String {
    match fork.at.checked_sub(now) {
        Some(left) => format!("{} in {}", fork.id, crate::status::span(left)),
        None => format!("{} at {}", fork.id, fork.at),
    }
}

/// What most say; of those that equally many say the first.
pub(super) fn most<T: PartialEq>(said: impl Iterator<Item = T>) -> Option<T> {
    let mut counted: Vec<(T, usize)> = Vec::new();
    for one in said {
        match counted.iter_mut().find(|(other, _)| *other == one) {
            Some((_, count)) => *count += 1,
            None => counted.push((one, 1)),
        }
    }
    // The last of the greatest is taken.
    counted.into_iter().rev().max_by_key(|(_, count)| *count).map(|(one, _)| one)
}

/// The beginning of a hash.
pub(super) fn short(hash: &str) -> String {
    hash.get(..10).map_or_else(|| hash.to_owned(), |start| format!("{start}…"))
}

#[cfg(test)]
mod tests {
    use super::super::finding::Weight::{self, Fail, Ok, Warn};
    use super::*;
    use crate::probe::{Block, Failure, Forks};

    const NOW: u64 = 1_800_000_000;

    fn node(name: &str, answers: Answers) -> NodeSeen {
        let verdict = Verdict { wrong: answers.failed.clone(), odd: None, answers };
        NodeSeen { group: "engine".to_owned(), name: name.to_owned(), verdict }
    }

    fn told(area: &str, nodes: &[NodeSeen]) -> Vec<(Weight, String)> {
        let mut all = Vec::new();
        judge(nodes, NOW, &mut all);
        let of_area = all.into_iter().filter(|it| it.area == area);
        of_area.map(|it| (it.weight, format!("{}: {}", it.of, it.what))).collect()
    }

    fn text(parts: &[(Weight, &str)]) -> Vec<(Weight, String)> {
        parts.iter().map(|(weight, what)| (*weight, (*what).to_owned())).collect()
    }

    #[test]
    fn who_is_reached() {
        let failed = Some(Failure::new("connection refused", "start it"));
        let nodes = [
            node("el1", Answers { chain: Some(1), ..Answers::default() }),
            node("el2", Answers { failed, ..Answers::default() }),
            node("el3", Answers { wants_token: true, ..Answers::default() }),
        ];
        assert_eq!(
            told("reachability", &nodes),
            text(&[
                (Ok, "engine el1: answers within 0 ms, chain 1"),
                (Fail, "engine el2: connection refused"),
                (Warn, "engine el3: is there, and takes only its callers' tokens"),
            ])
        );
    }

    #[test]
    fn what_not_all_offer() {
        let with = |name: &str, methods: &[&str]| {
            let methods = methods.iter().map(|method| (*method).to_owned()).collect();
            node(name, Answers { methods: Some(methods), ..Answers::default() })
        };
        let silent = node("el9", Answers::default());
        assert_eq!(
            told("capabilities", &[with("el1", &["a", "b"]), silent.clone(), with("el2", &["b", "c", "d"])]),
            text(&[
                (Warn, "engine el1: lacks what others have: c, d"),
                (Warn, "engine el2: lacks what others have: a"),
            ])
        );
        let alike = [with("el1", &["a", "b"]), silent, with("el2", &["b", "a"])];
        assert_eq!(told("capabilities", &alike), text(&[(Ok, "engine: 2 nodes offer the same 2 methods")]));
        assert_eq!(told("capabilities", &[with("el1", &["a"])]), [], "one is no company");
    }

    #[test]
    fn another_network_of_the_same_id() {
        let on = |name: &str, byte: char| {
            let hash = format!("0x{}", byte.to_string().repeat(64));
            node(name, Answers { genesis: Some(Block { number: 0, hash, time: 1 }), ..Answers::default() })
        };
        assert_eq!(
            told("forks", &[on("el1", 'b'), on("el2", 'a'), on("el3", 'a')]),
            text(&[(Fail, "engine el1: its first block is 0xbbbbbbbb…, the others' is 0xaaaaaaaa…")])
        );
    }

    #[test]
    fn forks_that_not_all_know() {
        let with = |name: &str, current: &str, next: Option<(&str, u64)>| {
            let fork = |(id, at): (&str, u64)| Fork { id: id.to_owned(), at };
            let forks = Forks { current: Some(fork((current, 5))), next: next.map(fork) };
            node(name, Answers { forks: Some(forks), ..Answers::default() })
        };
        let (soon, late) = (NOW + 3600, NOW + 90 * 24 * 3600);
        let cases = [
            (
                vec![with("a", "0x1", None), with("b", "0x1", None)],
                vec![(Ok, "engine: fork 0x1, no next one is known")],
            ),
            (
                vec![with("a", "0x1", Some(("0x2", soon))), with("b", "0x1", Some(("0x2", soon)))],
                vec![(Ok, "engine: fork 0x1, the next is 0x2 in 1h0m")],
            ),
            (
                vec![with("a", "0x1", None), with("b", "0x1", Some(("0x2", soon)))],
                vec![(Fail, "engine a: knows no next fork, the others know 0x2 in 1h0m")],
            ),
            (
                vec![with("a", "0x1", None), with("b", "0x1", Some(("0x2", late)))],
                vec![(Warn, "engine a: knows no next fork, the others know 0x2 in 90d0h")],
            ),
            (
                vec![
                    with("a", "0x1", Some(("0x2", soon))),
                    with("b", "0x1", Some(("0x2", late))),
                    with("c", "0x1", Some(("0x2", late))),
                ],
                vec![(Fail, "engine a: its next fork is 0x2 in 1h0m, the others' is 0x2 in 90d0h")],
            ),
            (
                vec![with("a", "0x1", None), with("b", "0x1", None), with("c", "0x0", None)],
                vec![(Fail, "engine c: is on fork 0x0, the others are on 0x1")],
            ),
        ];
        for (nodes, expected) in cases {
            assert_eq!(told("forks", &nodes), text(&expected));
        }
    }

    #[test]
    fn what_most_say() {
        assert_eq!(most(["a", "b", "b"].into_iter()), Some("b"));
        assert_eq!(most(["a", "b"].into_iter()), Some("a"), "the first of equally many");
        assert_eq!(most(std::iter::empty::<u8>()), None);
    }
}
