//! What the outside may ask and do.

use std::ops::Deref;
use std::sync::Arc;

use mainstay_execution::handle::NodeView;
use mainstay_execution::reload;
use mainstay_node::{Action, Figure, Level, Operated, Prepared, Refused};
use serde::Serialize;
use serde_json::Value;

use crate::config::{Config, SECTION};
use crate::service::{Live, Shared};

/// The state of an engine.
#[derive(Clone, Debug, Serialize)]
pub struct Snapshot {
    /// Its name.
    pub name: String,
    /// Where it listens by its config.
    pub listen: String,
    /// The primary's name.
    pub primary: Option<String>,
    /// The head that the consensus client named last.
    pub head: Option<String>,
    /// The share of the votes that makes a majority.
    pub majority: f64,
    /// The nodes in order.
    pub nodes: Vec<NodeView>,
}

/// A handle on a running engine: that on its execution clients, and where it listens.
#[derive(Clone)]
pub struct Handle {
    execution: mainstay_execution::Handle,
    shared: Arc<Shared>,
    listen: String,
}

impl Handle {
    pub(crate) fn new(shared: Arc<Shared>, listen: String) -> Self {
        Self { execution: mainstay_execution::Handle::new(shared.core.clone()), shared, listen }
    }

    /// Checks whether these settings can hold from now on, and prepares it. What they say of keys that aren't live is passed over.
    ///
    /// # Errors
    /// Every reason why not.
    pub fn prepare(&self, config: Config) -> Result<Prepared, Vec<String>> {
        let Config { secret, max_body, execution, .. } = config;
        let prepared = reload::prepare(&self.shared.core, execution)?;
        let shared = self.shared.clone();
        Ok(prepared.and(move || shared.live.store(Arc::new(Live { secret, max_body }))))
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
        Snapshot {
            name: self.name().to_owned(),
            listen: self.listen.clone(),
            primary: self.execution.primary(),
            head: self.execution.head(),
            majority: self.execution.majority(),
            nodes: self.execution.nodes(),
        }
    }

    fn health(&self) -> (Level, Vec<String>) {
        self.execution.health()
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
