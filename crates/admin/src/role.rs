//! What the admin listener knows of a role: its handle, whichever it is.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use arc_swap::ArcSwap;
use mainstay_node::{Action, Figure, Level, Operated, Refused};
use serde_json::Value;

/// A future without a name.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Makes the page of metrics, in OpenMetrics' text.
pub type Page = Arc<dyn Fn() -> Result<String, fmt::Error> + Send + Sync>;

/// The roles of a process, which may come and go. Clones share the list.
#[derive(Clone, Default)]
pub struct Roles(Arc<ArcSwap<Vec<Arc<dyn Role>>>>);

impl Roles {
    /// These, of which kind and name together are unique.
    #[must_use]
    pub fn new(roles: Vec<Arc<dyn Role>>) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(roles)))
    }

    /// From now on it is these.
    pub fn set(&self, roles: Vec<Arc<dyn Role>>) {
        self.0.store(Arc::new(roles));
    }

    /// Those of now.
    #[must_use]
    pub fn now(&self) -> Arc<Vec<Arc<dyn Role>>> {
        self.0.load_full()
    }
}

/// [`Operated`] in the form in which roles of every kind fit in one list. Not for roles to implement.
pub trait Role: Send + Sync + 'static {
    /// For example `engine`; the first part of its path.
    fn kind(&self) -> &'static str;
    /// Which of the roles of its kind; the second part of its path.
    fn name(&self) -> &str;
    /// How well it is, and every reason why not better.
    fn health(&self) -> (Level, Vec<String>);
    /// All that there is to show, without secrets. Nodes are in the array `nodes`.
    fn state(&self) -> Value;
    /// Changes something. Runs to its end even if who asked has gone.
    fn act(&self, action: Action) -> BoxFuture<'static, Result<(), Refused>>;
    /// Words for the actions that it does.
    fn actions(&self) -> &'static [&'static str];
    /// What there is to plot now.
    fn figures(&self) -> Vec<Figure>;
    /// What happened lately.
    fn recent(&self) -> Option<Value>;
    /// What a process that takes over has to know.
    fn memory(&self) -> Option<Value>;
    /// Of the process before this one.
    fn remember(&self, memory: &Value);
}

impl<T: Operated> Role for T {
    fn kind(&self) -> &'static str {
        Operated::kind(self)
    }

    fn name(&self) -> &str {
        Operated::name(self)
    }

    fn health(&self) -> (Level, Vec<String>) {
        Operated::health(self)
    }

    fn state(&self) -> Value {
        serde_json::to_value(self.snapshot()).unwrap_or_default()
    }

    fn act(&self, action: Action) -> BoxFuture<'static, Result<(), Refused>> {
        let role = self.clone();
        Box::pin(async move { Operated::act(&role, action).await })
    }

    fn actions(&self) -> &'static [&'static str] {
        Operated::actions(self)
    }

    fn figures(&self) -> Vec<Figure> {
        Operated::figures(self)
    }

    fn recent(&self) -> Option<Value> {
        Operated::recent(self)
    }

    fn memory(&self) -> Option<Value> {
        Operated::memory(self)
    }

    fn remember(&self, memory: &Value) {
        Operated::remember(self, memory);
    }
}
