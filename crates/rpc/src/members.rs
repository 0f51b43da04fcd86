//! Which nodes there are: the list in the store, and the pool that follows it.
//!
//! The list is the truth. Nodes of the settings are put on it at the start, after those that it has and never in their place;
//! as long as the store can't be reached they are served all the same. Every change is made in the store first; what
//! other instances change comes through its watch. [`Members::follow`] makes the pool what the list says.
//!
//! A store that has no list any more (not an empty one, which is somebody's will) has lost it: it gets the last one
//! known, rather than that every instance drops all its nodes.
//!
//! A node that was removed finishes what it works on; its slots are still counted if it is added again meanwhile.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use mainstay_node::NodeChange;
use mainstay_store::{Fleet, Listed, NodeList, Portion, Reach, Store, StoreError};
use tokio::sync::{Notify, watch};

use crate::clock;
use crate::core::Core;
use crate::node::{self, Node, Parts, Uris, lock};
use crate::pool::{NodeId, Pool};
use crate::probe;
use crate::upstream::Upstream;

/// Between two tries to put on the list what it lacks.
const RETRY: Duration = Duration::from_secs(1);

/// The list of nodes of one role.
pub(crate) struct Members {
    store: Arc<dyn Store>,
    list: OnceLock<NodeList>,
    opened: watch::Sender<bool>,
    /// There is something to put on the list, or to take off it.
    owes: Notify,
    /// Held while the pool is made what the list says.
    state: Mutex<State>,
}

struct State {
    /// Nodes of the settings that aren't on the list yet, or with other workers.
    pending: Vec<Upstream>,
    /// Nodes that the settings have no more and that are on the list still.
    dropping: Vec<Upstream>,
    /// It was said that they aren't.
    told: bool,
    /// Texts on the list that are no nodes, of which that was said.
    left_out: Vec<String>,
    /// Removed ones that may still work.
    leaving: Vec<(Upstream, NodeId)>,
    /// This instance's part of all slots.
    portion: Portion,
}

impl State {
    /// Whether the list isn't yet what the settings want of it.
    fn owes(&self) -> bool {
        !self.pending.is_empty() || !self.dropping.is_empty()
    }
}

/// Whether two URIs mean one node.
pub(crate) fn same(one: &str, other: &str) -> bool {
    match (Upstream::parse(one), Upstream::parse(other)) {
        (Ok(one), Ok(other)) => one.is_same(&other),
        _ => one == other,
    }
}

impl Members {
    pub(crate) fn new(store: Arc<dyn Store>, nodes: Vec<Upstream>, shared: bool) -> Self {
        let portion = if shared { Portion::NONE } else { Portion::ALL };
        let state = State {
            pending: nodes,
            dropping: Vec::new(),
            told: false,
            left_out: Vec::new(),
            leaving: Vec::new(),
            portion,
        };
        Self {
            store,
            list: OnceLock::new(),
            opened: watch::Sender::new(false),
            owes: Notify::new(),
            state: Mutex::new(state),
        }
    }

    /// Whether the list can be reached.
    pub(crate) fn reach(&self) -> Reach {
        self.list.get().map_or(Reach::Ok, |list| list.current().reach)
    }

    /// Where the list is kept.
    pub(crate) fn place(&self) -> &str {
        self.store.place()
    }

    /// Waits until the list was read for the first time, or could not be, and the nodes are there.
    pub(crate) async fn opened(&self) -> &NodeList {
        let mut opened = self.opened.subscribe();
        loop {
            // The list alone isn't enough: its nodes come after it.
            if *opened.borrow_and_update()
                && let Some(list) = self.list.get()
            {
                return list;
            }
            // The sender is in `self`.
            let _ = opened.changed().await;
        }
    }

    /// Takes a place among the instances that share the nodes' slots.
    pub(crate) fn join(core: &Arc<Core>) -> Fleet {
        let weak = Arc::downgrade(core);
        Fleet::join(core.members.store.clone(), move |portion| {
            weak.upgrade().is_none_or(|core| core.members.share(&core, portion))
        })
    }

    /// Uses no more than this part of all slots. Gives whether all that is in flight is within it.
    fn share(&self, core: &Core, portion: Portion) -> bool {
        let mut state = lock(&self.state);
        state.portion = portion;
        let nodes = core.nodes();
        let now = clock::now();
        core.queue.change(now, |pool| {
            let mut fits = true;
            for node in nodes.iter() {
                let workers = workers(core, &node.uris().upstream, portion);
                pool.set_workers(node.id, workers, now);
                fits &= pool.load(node.id).is_none_or(|load| load.in_flight <= workers);
            }
            fits && state.leaving.iter().all(|(_, id)| pool.load(*id).is_none())
        })
    }

    /// Follows the list until the role ends.
    pub(crate) async fn follow(core: Arc<Core>) {
        let members = &core.members;
        let list = NodeList::open(members.store.clone(), same).await;
        let mut watch = list.watch();
        let list = members.list.get_or_init(|| list);
        // One that can't be reached costs its deadline once, before anybody is served, and not twice.
        if list.current().reach.is_ok() {
            members.store_pending(list).await;
        }
        let listed = watch.borrow_and_update().clone();
        members.tell_kept(&core, &listed);
        members.apply(&core, &listed);
        members.opened.send_replace(true);
        // The store has lost the list, and couldn't be given it again.
        let mut is_owed = false;
        loop {
            let waits = is_owed || lock(&members.state).owes();
            tokio::select! {
                () = members.owes.notified() => members.store_pending(list).await,
                changed = watch.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(RETRY), if waits => members.store_pending(list).await,
                () = core.stop.cancelled() => return,
            }
            let listed = watch.borrow_and_update().clone();
            let is_here = listed.reach.is_ok();
            is_owed = (is_owed && !is_here)
                || (is_here && listed.nodes.is_empty() && members.put_back(&core, list).await.is_err());
            if !is_owed {
                members.apply(&core, &list.current());
            }
        }
    }

    /// Names the nodes that are on the list and not in the settings: one that was taken out of those stays.
    fn tell_kept(&self, core: &Core, listed: &Listed) {
        let live = core.live();
        let others = |upstream: &Upstream| !live.config.nodes.iter().any(|other| other.is_same(upstream));
        let kept = listed.nodes.iter().filter_map(|text| Upstream::parse(text).ok()).filter(others);
        let kept: Vec<String> = kept.map(|upstream| upstream.shown()).collect();
        if !kept.is_empty() {
            tracing::info!(
                rpc = core.telemetry.name(),
                place = self.place(),
                nodes = kept.join(", "),
                "nodes of the list that the settings don't name are served too, until they are deleted through the API"
            );
        }
    }

    /// The store shows no node: if it has lost the list it gets the one that is served.
    async fn put_back(&self, core: &Core, list: &NodeList) -> Result<(), StoreError> {
        let known: Vec<String> =
            core.nodes().iter().map(|node| node.uris().upstream.stored().to_owned()).collect();
        if known.is_empty() {
            return Ok(());
        }
        let place = self.place();
        match list.put_back(&known).await {
            Ok(true) => {
                tracing::warn!(
                    place,
                    "the store had lost the list of nodes: it has the last one known again"
                );
                Ok(())
            }
            Ok(false) => Ok(()),
            Err(error) => {
                tracing::warn!(place, %error, "the store has lost the list of nodes, the last one known is served");
                Err(error)
            }
        }
    }

    /// Puts the nodes of the settings on the list. Where it has one already, with other workers, the settings' are right.
    async fn store_pending(&self, list: &NodeList) {
        let (pending, dropping) = {
            let state = lock(&self.state);
            if !state.owes() {
                return;
            }
            (state.pending.clone(), state.dropping.clone())
        };
        let edited = list.edit(|nodes| {
            let before = nodes.clone();
            let drops = |text: &String| dropping.iter().any(|upstream| same(upstream.stored(), text));
            nodes.retain(|text| !drops(text));
            for upstream in &pending {
                let is_it =
                    |text: &&mut String| Upstream::parse(text).is_ok_and(|other| other.is_same(upstream));
                match nodes.iter_mut().find(is_it) {
                    Some(text)
                        if Upstream::parse(text).is_ok_and(|there| there.workers == upstream.workers) => {}
                    Some(text) => upstream.stored().clone_into(text),
                    None => nodes.push(upstream.stored().to_owned()),
                }
            }
            *nodes != before
        });
        match edited.await {
            Ok(_) => {
                let mut state = lock(&self.state);
                // What another reload has asked for meanwhile is owed still.
                state.pending.retain(|upstream| !pending.contains(upstream));
                state.dropping.retain(|upstream| !dropping.contains(upstream));
                state.told = false;
            }
            Err(error) if !std::mem::replace(&mut lock(&self.state).told, true) => {
                tracing::warn!(%error, "the nodes of the settings are served, and not on the shared list yet");
            }
            Err(_) => {}
        }
    }

    /// Makes the nodes what the list says.
    pub(crate) fn apply(&self, core: &Arc<Core>, listed: &Listed) {
        let mut state = lock(&self.state);
        let mut wanted: Vec<Upstream> = Vec::new();
        let mut left_out = Vec::new();
        for text in listed.nodes.iter() {
            match Upstream::parse(text) {
                Ok(upstream) if wanted.iter().any(|other| other.is_same(&upstream)) => {}
                Ok(upstream) => wanted.push(upstream),
                Err(error) => {
                    if !state.left_out.contains(text) {
                        let rpc = core.telemetry.name();
                        tracing::warn!(rpc, place = self.place(), %error, "a node on the list is left out");
                    }
                    left_out.push(text.clone());
                }
            }
        }
        state.left_out = left_out;
        wanted.retain(|upstream| !state.dropping.iter().any(|dropped| dropped.is_same(upstream)));
        for upstream in &state.pending {
            match wanted.iter_mut().find(|other| other.is_same(upstream)) {
                Some(listed) if listed.workers != upstream.workers => *listed = upstream.clone(),
                Some(_) => {}
                None => wanted.push(upstream.clone()),
            }
        }
        let before = core.nodes();
        let mut nodes: Vec<Arc<Node>> = Vec::new();
        let mut fresh = Vec::new();
        for upstream in wanted {
            let uris = Uris::new(upstream);
            if let Some(node) = before.iter().find(|node| node.uris().upstream.is_same(&uris.upstream)) {
                self.resize(core, &state, node, uris);
                nodes.push(node.clone());
                continue;
            }
            let taken = |name: &str| before.iter().chain(&nodes).any(|node| node.name == name);
            let name = name(&uris.upstream, taken);
            if let Some(node) = make(core, &mut state, name, uris) {
                nodes.push(node.clone());
                fresh.push(node);
            }
        }
        core.set_nodes(nodes.clone());
        for node in before.iter().filter(|node| !nodes.iter().any(|other| other.id == node.id)) {
            node.removed.cancel();
            core.queue.change(clock::now(), |pool| pool.remove(node.id));
            let uris = node.uris();
            state.leaving.push((uris.upstream.clone(), node.id));
            core.telemetry.forget(&node.name);
            core.telemetry.membership(&node.name, &uris.shown, "removed");
        }
        core.queue.change(clock::now(), |pool| state.leaving.retain(|(_, id)| pool.load(*id).is_some()));
        drop(state);
        for node in fresh {
            core.telemetry.membership(&node.name, &node.uris().shown, "added");
            tokio::spawn(probe::run(core.clone(), node));
        }
    }

    /// A node is on the list as before, perhaps with other workers.
    fn resize(&self, core: &Core, state: &State, node: &Node, uris: Arc<Uris>) {
        let before = node.uris();
        if before.upstream == uris.upstream {
            return;
        }
        let (workers, now) = (workers(core, &uris.upstream, state.portion), clock::now());
        node.set_uris(uris);
        core.queue.change(now, |pool| pool.set_workers(node.id, workers, now));
    }

    /// The settings have other nodes than before: that holds here at once, and for others as soon as it is on the list.
    pub(crate) fn reload(&self, core: &Arc<Core>, change: NodeChange<Upstream>) {
        {
            let mut state = lock(&self.state);
            let NodeChange { added, removed, changed } = change;
            for upstream in added.into_iter().chain(changed) {
                state.pending.retain(|other| !other.is_same(&upstream));
                state.dropping.retain(|other| !other.is_same(&upstream));
                state.pending.push(upstream);
            }
            for upstream in removed {
                state.pending.retain(|other| !other.is_same(&upstream));
                state.dropping.push(upstream);
            }
        }
        if let Some(list) = self.list.get() {
            self.apply(core, &list.current());
        }
        // Those without workers of their own may have others now.
        let portion = lock(&self.state).portion;
        self.share(core, portion);
        self.owes.notify_one();
    }

    /// Puts a node on the list.
    pub(crate) async fn add(&self, core: &Arc<Core>, text: &str) -> Result<(), StoreError> {
        let list = self.opened().await;
        list.add(text).await?;
        lock(&self.state).dropping.retain(|upstream| !same(upstream.stored(), text));
        self.apply(core, &list.current());
        Ok(())
    }

    /// Takes a node off the list.
    pub(crate) async fn remove(&self, core: &Arc<Core>, text: &str) -> Result<(), StoreError> {
        let list = self.opened().await;
        list.remove(text).await?;
        lock(&self.state).pending.retain(|upstream| !same(upstream.stored(), text));
        self.apply(core, &list.current());
        Ok(())
    }
}

/// A node that isn't there yet, of which nothing is known.
fn make(core: &Core, state: &mut State, name: String, uris: Arc<Uris>) -> Option<Arc<Node>> {
    let client = match node::client(&uris.upstream, &core.client_options()) {
        Ok(client) => client,
        Err(error) => {
            tracing::warn!(rpc = core.telemetry.name(), node = name, error, "a node is left out");
            return None;
        }
    };
    let (workers, now) = (workers(core, &uris.upstream, state.portion), clock::now());
    // It was there before: what it still works on counts.
    let leaving = state.leaving.iter().find(|(other, _)| other.is_same(&uris.upstream)).map(|(_, id)| *id);
    let id = core.queue.change(now, |pool: &mut Pool| match leaving {
        Some(id) if pool.restore(id) => {
            pool.set_fit(id, false, now);
            pool.set_draining(id, false);
            pool.set_workers(id, workers, now);
            id
        }
        _ => pool.add(workers, false),
    });
    state.leaving.retain(|(_, other)| *other != id);
    let metrics = core.telemetry.node(&name);
    let parts = Parts { name, uris, client, id, metrics, removed: core.stop.child_token() };
    Some(Arc::new(Node::new(parts, core.live().config.health, now)))
}

/// How many slots of a node this instance has.
fn workers(core: &Core, upstream: &Upstream, portion: Portion) -> u32 {
    portion.slots(upstream.workers.unwrap_or_else(|| core.live().config.node_workers), upstream.url.as_str())
}

/// A name that no other node has.
fn name(upstream: &Upstream, taken: impl Fn(&str) -> bool) -> String {
    let plain = upstream.name();
    let numbered = (2..).map(|n| format!("{plain}-{n}"));
    std::iter::once(plain.clone()).chain(numbered).find(|name| !taken(name)).unwrap_or(plain)
}
