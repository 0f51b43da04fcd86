//! Other settings for execution clients that are being driven.
//!
//! A round goes on with the settings that it began with. A node that is taken out ends the call that it has in hand; one that stays
//! keeps its queue, its connections and all that is known of it, whatever of its options changes.

use std::sync::Arc;

use mainstay_node::{NodeChange, Prepared, node_change};

use crate::config::{Config, NodeConfig, Signing, same_endpoint};
use crate::core::Core;
use crate::node::{Node, lock};

/// Whether they mean one node: under another name or address it is another one.
fn is_same(one: &NodeConfig, other: &NodeConfig) -> bool {
    one.spec.name == other.spec.name && one.spec.url == other.spec.url
}

fn runs_as(node: &Arc<Node>, config: &NodeConfig) -> bool {
    node.spec.name == config.spec.name && node.spec.url == config.spec.url
}

fn is_equal(one: &NodeConfig, other: &NodeConfig) -> bool {
    one.spec == other.spec && one.secret == other.secret
}

/// Checks whether these settings can hold from now on, and prepares it. What differs of [`Config::links`] and evidence is not
/// taken over, nor who answers and who builds: their keys need a restart.
///
/// # Errors
/// Every reason why not, for operators.
pub fn prepare(core: &Arc<Core>, config: Config) -> Result<Prepared, Vec<String>> {
    let before = core.config_of_now();
    let running = core.nodes();
    let change = node_change(&before.nodes, &config.nodes, &running, is_same, is_equal, runs_as);
    let stays = |node: &&Arc<Node>| !change.removed.iter().any(|removed| runs_as(node, removed));
    let mut problems = Vec::new();
    for added in &change.added {
        for other in running.iter().filter(stays) {
            if other.spec.name == added.spec.name || same_endpoint(&other.spec.url, &added.spec.url) {
                let (name, url) = (&added.spec.name, added.spec.shown_url());
                let what = format!(
                    "{name} ({url}): {} ({}) was added through the API and is in its way, remove that first",
                    other.name(),
                    other.spec.shown_url()
                );
                problems.push(what);
            }
        }
    }
    if running.iter().filter(stays).count() + change.added.len() == 0 {
        let what = "no node would be left: those that the file still has were removed through the API";
        problems.push(what.to_owned());
    }
    let fresh = core.make(change.added.clone(), config.health).map_err(|why| vec![why])?;
    if !problems.is_empty() {
        return Err(problems);
    }
    let notes = secrets(&before, &config);
    let core = core.clone();
    Ok(Prepared::new(notes, move || apply(&core, config, &change, fresh)))
}

/// Nodes whose secret is another in the same file: no key says so.
fn secrets(before: &Config, now: &Config) -> Vec<String> {
    let other = |node: &&NodeConfig| {
        let old = before.nodes.iter().find(|old| is_same(old, node));
        old.is_some_and(|old| old.spec == node.spec && old.secret != node.secret)
    };
    now.nodes.iter().filter(other).map(|node| format!("{}: another secret", node.spec.name)).collect()
}

fn apply(core: &Arc<Core>, config: Config, change: &NodeChange<NodeConfig>, fresh: Vec<Arc<Node>>) {
    let _adding = core.adding();
    let in_order = config.nodes.clone();
    let before = core.config_of_now();
    let failback_after = config.failback_after;
    let mut gone = Vec::new();
    {
        // No round begins with the one and not the other.
        let _order = lock(&core.order);
        if let (Signing::Shared(old), Signing::Shared(new)) = (&before.signing, &config.signing) {
            // Those that the API added have the role's secret too.
            core.nodes().iter().for_each(|node| node.replace_secret(old, new));
        }
        for changed in &change.changed {
            for node in core.nodes().iter().filter(|node| runs_as(node, changed)) {
                node.tune(changed);
            }
        }
        core.set_config(config);
        core.replace_nodes(|list| {
            let removed = |node: &Arc<Node>| change.removed.iter().any(|removed| runs_as(node, removed));
            gone = list.iter().filter(|node| removed(node)).cloned().collect();
            list.retain(|node| !removed(node));
            list.extend(fresh.iter().cloned());
            // In the file's order of preference; those that the API added come last.
            let place = |node: &Arc<Node>| in_order.iter().position(|config| runs_as(node, config));
            list.sort_by_key(|node| place(node).unwrap_or(usize::MAX));
        });
    }
    for node in &gone {
        core.part_with(node);
    }
    core.start_tasks(fresh);
    core.set_failback_after(failback_after);
    core.primary();
}
