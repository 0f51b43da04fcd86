//! What the outside may ask and do.

use std::ops::Deref;
use std::sync::Arc;

use mainstay_execution::NodeView;
use mainstay_execution::reload;
use mainstay_node::{Action, Figure, Level, Operated, Prepared, Refused};
use serde::Serialize;
use serde_json::Value;

use crate::client::Client;
use crate::config::{Config, SECTION};
use crate::core::Core;
use crate::leader::{Leader, State};
use crate::service::{Live, Shared};

/// A consensus client (CL) as the outside sees it.
#[derive(Clone, Debug, Serialize)]
pub struct ClientView {
    /// Its name, id or address.
    pub name: String,
    /// Whether it leads.
    pub leads: bool,
    /// well, suspect, gone, silent, behind, disagrees.
    pub state: &'static str,
    /// Why it is suspect; empty if it isn't.
    pub reason: String,
    /// The highest believed slot that it has shown.
    pub slot: Option<u64>,
    /// The head that it named last.
    pub head: Option<String>,
    /// When it called last, in seconds.
    pub silent_seconds: u64,
}

/// The state of the role.
#[derive(Clone, Debug, Serialize)]
pub struct Snapshot {
    /// Its name.
    pub name: String,
    /// Where it listens by its config.
    pub listen: String,
    /// Who leads.
    pub leader: Option<String>,
    /// The slot by this machine's clock.
    pub slot: u64,
    /// The consensus clients.
    pub clients: Vec<ClientView>,
    /// The head that the leader named last.
    pub head: Option<String>,
    /// The share of the votes that makes a majority.
    pub majority: f64,
    /// The execution clients in order.
    pub nodes: Vec<NodeView>,
}

/// A handle on a running role: that on its execution clients, and who leads.
#[derive(Clone)]
pub struct Handle {
    execution: mainstay_execution::Handle,
    core: Arc<Core>,
    shared: Arc<Shared>,
    listen: String,
}

impl Handle {
    pub(crate) fn new(shared: Arc<Shared>, listen: String) -> Self {
        let core = shared.core.clone();
        Self { execution: mainstay_execution::Handle::new(core.execution.clone()), core, shared, listen }
    }

    /// Checks whether these settings can hold from now on, and prepares it. What they say of keys that aren't live is passed over.
    ///
    /// # Errors
    /// Every reason why not.
    pub fn prepare(&self, config: Config) -> Result<Prepared, Vec<String>> {
        let Config { secret, trusted_proxies, max_body, leader, execution, .. } = config;
        let prepared = reload::prepare(&self.core.execution, execution)?;
        let (core, shared) = (self.core.clone(), self.shared.clone());
        Ok(prepared.and(move || {
            shared.live.store(Arc::new(Live { secret, trusted_proxies, max_body }));
            core.set_rules(leader);
        }))
    }

    fn clients(&self, leader: &Leader) -> Vec<ClientView> {
        let now = self.core.now().at;
        let view = |seen: crate::leader::Seen<'_>| ClientView {
            name: self.core.names.of(seen.client),
            leads: seen.leads,
            state: seen.state.word(),
            reason: match &seen.state {
                State::Suspect(suspicion) => suspicion.to_string(),
                _ => String::new(),
            },
            slot: seen.slot,
            head: seen.head.map(|head| head.to_string()),
            silent_seconds: now.saturating_duration_since(seen.last).as_secs(),
        };
        leader.view().map(view).collect()
    }
}

impl Deref for Handle {
    type Target = mainstay_execution::Handle;

    fn deref(&self) -> &Self::Target {
        &self.execution
    }
}

impl Operated for Handle {
    type Snapshot = Snapshot;

    fn kind(&self) -> &'static str {
        SECTION.name
    }

    fn name(&self) -> &str {
        self.execution.name()
    }

    fn snapshot(&self) -> Snapshot {
        let clients = self.core.view(|leader| self.clients(leader));
        Snapshot {
            name: self.name().to_owned(),
            listen: self.listen.clone(),
            leader: clients.iter().find(|client| client.leads).map(|client| client.name.clone()),
            slot: self.core.now().slot,
            clients,
            head: self.execution.head(),
            majority: self.execution.majority(),
            nodes: self.execution.nodes(),
        }
    }

    fn health(&self) -> (Level, Vec<String>) {
        let (mut level, mut reasons) = self.execution.health();
        self.core.view(|leader| {
            if !leader.view().any(|seen| seen.state == State::Well) {
                reasons.push("no consensus client is well".into());
            }
            let is_named = |client: &Client| self.core.names.clients().any(|named| named == client);
            for seen in leader.view() {
                let why = match &seen.state {
                    State::Well => continue,
                    // Whoever called once from somewhere isn't missed.
                    State::Silent | State::Gone if !seen.leads && !is_named(seen.client) => continue,
                    State::Suspect(suspicion) => suspicion.to_string(),
                    state => state.word().to_owned(),
                };
                reasons.push(format!("consensus client {}: {why}", self.core.names.of(seen.client)));
            }
        });
        if !reasons.is_empty() {
            level = level.max(Level::Degraded);
        }
        (level, reasons)
    }

    async fn act(&self, action: Action) -> Result<(), Refused> {
        self.execution.act(action).await
    }

    fn actions(&self) -> &'static [&'static str] {
        mainstay_execution::Handle::ACTIONS
    }

    fn figures(&self) -> Vec<Figure> {
        self.execution.figures()
    }

    fn recent(&self) -> Option<Value> {
        Some(self.execution.recent())
    }

    fn memory(&self) -> Option<Value> {
        Some(self.execution.memory())
    }

    fn remember(&self, memory: &Value) {
        self.execution.remember(memory);
    }
}
