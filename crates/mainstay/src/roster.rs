//! The roles that serve, as they come and go.
//!
//! A role is built and its listeners are bound before anything of it serves ([`Ready`]): as long as it is that it can be dropped, and nothing has
//! happened. One that serves ([`Serving`]) is let go as at the end of the process: it accepts nothing more, and ends what it has within the grace.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mainstay_admin::{Role, Roles};
use mainstay_node::Level;
use mainstay_wire::socket::Listener;
use prometheus_client::registry::Registry;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::info;

use crate::certificates::{Certificate, Certificates};
use crate::listeners::{Held, Open};
use crate::pages::Pages;
use crate::roles::{Built, Configured, Means, Metrics, Prepare};

/// How long roles that are to serve from now on may take until their nodes were asked.
const GETS_FIT: Duration = Duration::from_secs(10);

/// A role that is built, and its listeners. It serves nobody yet.
pub(crate) struct Ready {
    built: Built,
    registry: Registry,
    certificates: Vec<Certificate>,
    listeners: Vec<(Listener, Held)>,
}

/// A role that serves.
pub(crate) struct Serving {
    /// As [`Open`] knows it.
    number: u64,
    /// What the admin listener sees of it.
    pub(crate) shown: Arc<dyn Role>,
    /// Takes other settings while it serves.
    pub(crate) prepare: Prepare,
    /// Two of it at once do harm.
    pub(crate) is_alone: bool,
    registry: Arc<Registry>,
    certificates: Vec<Certificate>,
    stop: CancellationToken,
    ended: CancellationToken,
}

/// Starts roles and lets them go.
pub(crate) struct Roster {
    grace: Duration,
    stop: CancellationToken,
    alone: CancellationToken,
    tasks: TaskTracker,
    failed: Sender<String>,
    numbers: AtomicU64,
    /// What the admin listener shows.
    pub(crate) shown: Roles,
    /// What metrics are told of.
    pub(crate) pages: Pages,
    /// The certificates in use.
    pub(crate) certificates: Certificates,
    /// What is open.
    pub(crate) open: Open,
}

impl Ready {
    /// Builds a role that has these settings, inside the runtime. Fails with what to tell the user.
    pub(crate) fn build(
        kind: &'static str,
        config: Box<dyn Configured>,
        means: &Means,
        listeners: Vec<(Listener, Held)>,
    ) -> Result<Self, String> {
        let certificates = Certificate::of(kind, config.as_ref());
        let mut metrics = Metrics::new(means.clone());
        let built = config.build(&mut metrics)?;
        Ok(Self { built, registry: metrics.registry, certificates, listeners })
    }

    /// A role that no settings of the process's have.
    pub(crate) fn of(built: Built, registry: Registry, listeners: Vec<(Listener, Held)>) -> Self {
        Self { built, registry, certificates: Vec::new(), listeners }
    }

    /// What the admin listener will see of it.
    pub(crate) fn shown(&self) -> &Arc<dyn Role> {
        &self.built.shown
    }

    /// The same, if it may serve beside another like it: one that may not has nobody who comes to it before.
    pub(crate) fn beside(&self) -> Option<Arc<dyn Role>> {
        (!self.built.is_alone).then(|| self.built.shown.clone())
    }
}

/// Waits until all of these could serve their clients, but not for ever: their nodes may be down. Gives those that can't, with the reasons.
pub(crate) async fn fit(roles: Vec<Arc<dyn Role>>) -> Vec<(Arc<dyn Role>, String)> {
    let is_down = |role: &Arc<dyn Role>| role.health().0 == Level::Down;
    let all_fit = async {
        while roles.iter().any(is_down) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    if tokio::time::timeout(GETS_FIT, all_fit).await.is_ok() {
        return Vec::new();
    }
    let down = roles.into_iter().filter(is_down);
    down.map(|role| (role.clone(), role.health().1.join("; "))).collect()
}

impl Roster {
    /// With nobody on it. `process` are the metrics that belong to no role; `grace` is how long calls in flight may take once a role ends;
    /// `alone`: from when on there is no process before this one. The receiver is told why a role ended by itself.
    pub(crate) fn new(
        process: Registry,
        certificates: Certificates,
        open: Open,
        grace: Duration,
        alone: CancellationToken,
    ) -> (Arc<Self>, Receiver<String>) {
        let (failed, fails) = channel(1);
        let roster = Self {
            grace,
            stop: CancellationToken::new(),
            alone,
            tasks: TaskTracker::new(),
            failed,
            numbers: AtomicU64::new(1),
            shown: Roles::default(),
            pages: Pages::new(process),
            certificates,
            open,
        };
        (Arc::new(roster), fails)
    }

    /// Serves.
    pub(crate) fn start(&self, ready: Ready) -> Serving {
        let Ready { built, registry, certificates, listeners } = ready;
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let (listeners, held): (Vec<Listener>, Vec<Held>) = listeners.into_iter().unzip();
        self.open.add(number, held);
        for listener in &listeners {
            info!(role = built.shown.kind(), name = built.shown.name(), address = %listener, "listening");
        }
        let serving = Serving {
            number,
            shown: built.shown.clone(),
            prepare: built.prepare.clone(),
            is_alone: built.is_alone,
            registry: Arc::new(registry),
            certificates,
            stop: self.stop.child_token(),
            ended: CancellationToken::new(),
        };
        let alone = built.is_alone.then(|| self.alone.clone());
        let (stop, ended, failed) = (serving.stop.clone(), serving.ended.clone(), self.failed.clone());
        let serve = built.serve(listeners, stop.clone(), self.grace);
        self.tasks.spawn(async move {
            let serve = tokio::spawn({
                let stop = stop.clone();
                async move {
                    if let Some(alone) = alone {
                        stop.run_until_cancelled(alone.cancelled()).await;
                    }
                    serve.await;
                }
            });
            let why = serve.await.map_or_else(|why| why.to_string(), |()| "it returned".to_owned());
            if !stop.is_cancelled() {
                // Whoever listens acts on the first.
                let _ = failed.try_send(why);
            }
            ended.cancel();
        });
        serving
    }

    /// Lets a role go.
    pub(crate) fn end(&self, serving: &Serving) {
        let shown = &serving.shown;
        info!(role = shown.kind(), name = shown.name(), grace = ?self.grace, "ending what it has");
        // First: what is accepted by nobody mustn't stay open.
        self.open.remove(serving.number);
        serving.stop.cancel();
    }

    /// Lets a role go, and has another serve in its place, which is told what that one remembers: now, and once more when its last call has
    /// ended.
    pub(crate) fn replace(&self, before: &Serving, ready: Ready) -> Serving {
        let remember = |before: &Arc<dyn Role>, now: &Arc<dyn Role>| {
            if let Some(memory) = before.memory() {
                now.remember(&memory);
            }
        };
        remember(&before.shown, ready.shown());
        let now = self.start(ready);
        self.end(before);
        let (from, to, ended) = (before.shown.clone(), now.shown.clone(), before.ended.clone());
        tokio::spawn(async move {
            ended.cancelled().await;
            remember(&from, &to);
        });
        now
    }

    /// Shows these, and no others.
    pub(crate) fn show<'a>(&self, roles: impl Iterator<Item = &'a Serving> + Clone) {
        self.shown.set(roles.clone().map(|role| role.shown.clone()).collect());
        self.pages.set(roles.clone().map(|role| role.registry.clone()).collect());
        self.certificates.set(roles.flat_map(|role| role.certificates.clone()).collect());
    }

    /// Further handles on the listeners of a role, for one in its place.
    ///
    /// # Errors
    /// No file descriptor is left.
    pub(crate) fn held(&self, role: &Serving) -> std::io::Result<Vec<Held>> {
        self.open.of(role.number)
    }

    /// Accepts nothing more, of all roles.
    pub(crate) fn stop(&self) {
        // First: further handles would keep ports open that nobody serves.
        self.open.close();
        self.stop.cancel();
    }

    /// Whether the process is about to end.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Waits until every role has ended, those too that were let go before. Give it a deadline.
    pub(crate) async fn ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}
