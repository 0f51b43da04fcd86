//! Fits the `beacon` role into the process.

use std::any::Any;

use mainstay_beacon::config::Guarded;
use mainstay_beacon::{Beacon, Config, Listeners};
use mainstay_settings::{Listen, Problem, Settings};
use mainstay_wire::Watched;
use mainstay_wire::client::Attestation;
use mainstay_wire::socket::Listener;
use url::Url;

use crate::probe::{Asked, Target};
use crate::roles::{Built, Configured, Metrics, RoleKind, count, shown_to_nodes};

/// The beacon role among the roles.
pub(crate) const KIND: RoleKind = RoleKind { section: &mainstay_beacon::SECTION, extra: &[], configure };

fn configure(settings: &Settings, problems: &mut Vec<Problem>) -> Option<Box<dyn Configured>> {
    Some(Box::new(Config::from_settings(settings, problems)?))
}

impl Configured for Config {
    fn name(&self) -> &str {
        &self.name
    }

    /// Of each guard the clients' address and, if it has one, that of agent checks.
    fn listens(&self) -> Vec<Listen> {
        let of_guard = |guard: &Guarded| [Some(guard.listen.clone()), guard.agent_check.map(Listen::Tcp)];
        self.guards.iter().flat_map(of_guard).flatten().collect()
    }

    fn certificates(&self) -> Vec<(String, Watched)> {
        let of_guard = |guard: &Guarded| Some((guard.listen.to_string(), guard.tls.as_ref()?.watched()));
        self.guards.iter().filter_map(of_guard).chain(shown_to_nodes(self.node_tls.as_ref())).collect()
    }

    /// Guards of the lists go before those of tables.
    fn listen_problem(&self, settings: &Settings, nth: usize, what: String) -> Problem {
        let of_guard = |(index, guard): (usize, &Guarded)| {
            std::iter::once((index, "listen")).chain(guard.agent_check.map(|_| (index, "agent_check")))
        };
        let (index, key) =
            self.guards.iter().enumerate().flat_map(of_guard).nth(nth).unwrap_or((0, "listen"));
        let in_table = index.checked_sub(settings.list("beacon_node").len());
        match in_table.and_then(|index| settings.tables("guard").get(index)) {
            Some(table) => table.problem(key, what),
            None => settings.item_problem(key, index, what),
        }
    }

    fn summary(&self) -> String {
        count(self.guards.len())
    }

    /// The execution nodes: what a beacon node is asked here, its checks ask all the time.
    fn targets(&self) -> Vec<Target> {
        let target = |guard: &Guarded| {
            let execution = guard.execution_node.as_ref()?;
            Some(Target {
                group: self.name.clone(),
                name: guard.name.clone(),
                url: execution.url.clone(),
                tls: self.node_tls.clone(),
                asked: execution.secret.clone().map_or(Asked::Ethereum, Asked::Engine),
            })
        };
        self.guards.iter().filter_map(target).collect()
    }

    fn called(&self) -> Vec<(&'static str, String, &Url)> {
        let mut called = Vec::new();
        for guard in &self.guards {
            called.push(("beacon_node", guard.name.clone(), &guard.beacon_node));
            let execution = guard.execution_node.as_ref();
            called.extend(execution.map(|node| ("execution_node", guard.name.clone(), &node.url)));
        }
        called
    }

    fn attest_by(&mut self, attest: Attestation) {
        self.attest = Some(attest);
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }

    fn build(self: Box<Self>, metrics: &mut Metrics) -> Result<Built, String> {
        let agents: Vec<bool> = self.guards.iter().map(|guard| guard.agent_check.is_some()).collect();
        let traced =
            mainstay_beacon::Metrics::new(&mut metrics.registry).traced(metrics.means.tracer.clone());
        let beacon = Beacon::build(*self, &traced)?;
        let handle = beacon.handle();
        let built = Built::with_many(beacon.handle(), move |listeners, stop, grace| {
            let mut listeners = listeners.into_iter();
            let of_guard = |has_agent: bool| {
                let clients = listeners.next()?;
                let agent = if has_agent { listeners.next() } else { None };
                Some(Listeners { clients, agent: agent.and_then(Listener::into_tcp) })
            };
            let listeners = agents.into_iter().filter_map(of_guard).collect();
            beacon.serve(listeners, stop, grace)
        });
        Ok(built.reloads(move |config: Self| handle.prepare(config)))
    }
}
