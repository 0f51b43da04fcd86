//! What serves in this process, from its start to its end in good order, and the signals that end it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mainstay_admin::{Admin, Lifecycle, Reload, Token};
use mainstay_wire::server::Tls;
use mainstay_wire::socket::Listener;
use prometheus_client::registry::Registry;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::roles::Built;
use crate::vitals;

/// What roles get beyond the grace to clean up after the last call.
const LAST_MOMENT: Duration = Duration::from_secs(1);
/// Exit status after a second signal, as shells give it for SIGINT.
const INTERRUPTED: i32 = 130;

/// A role that is built, and its listeners.
pub(crate) type Ready = (Built, Vec<Listener>);

/// The signals that ask the process to end.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From now on they no longer kill the process. Fails with what to tell the user.
    pub(crate) fn listen() -> Result<Self, String> {
        match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
            (Ok(terminate), Ok(interrupt)) => Ok(Self { terminate, interrupt }),
            (Err(why), _) | (_, Err(why)) => Err(format!("cannot wait for signals: {why}")),
        }
    }

    /// Waits for one; its name.
    pub(crate) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }

    /// The next one ends the process at once.
    pub(crate) fn exit_at_next(mut self) {
        tokio::spawn(async move {
            self.next().await;
            #[allow(
                clippy::disallowed_methods,
                reason = "a second signal asks for exactly that: no more waiting"
            )]
            std::process::exit(INTERRUPTED);
        });
    }
}

/// The signal that asks the process to read its settings anew.
pub(crate) struct Hangup(Signal);

impl Hangup {
    /// From now on it no longer kills the process; one that comes before [`Hangup::next`] is kept. Fails with what to tell the user.
    pub(crate) fn listen() -> Result<Self, String> {
        signal(SignalKind::hangup()).map(Self).map_err(|why| format!("cannot wait for signals: {why}"))
    }

    /// Waits for one.
    pub(crate) async fn next(&mut self) {
        if self.0.recv().await.is_none() {
            std::future::pending().await
        }
    }
}

/// The admin listener and what only it needs.
pub(crate) struct AdminPart {
    pub(crate) listener: Listener,
    pub(crate) tls: Option<Tls>,
    pub(crate) token: Option<Token>,
}

/// Roles and the admin listener, serving.
pub(crate) struct Process {
    roles: JoinSet<()>,
    /// The admin listener, and that for metrics alone.
    admin: Vec<JoinHandle<()>>,
    grace: Duration,
    stop: CancellationToken,
    stop_admin: CancellationToken,
    lifecycle: Lifecycle,
    registry: Arc<Registry>,
}

impl Process {
    /// Starts serving. `metrics`: for a page of them alone, and what it is served TLS with. `grace`: how long calls in flight may take once it ends. `alone`: from when on
    /// there is no process before this one. `reload` reads the settings anew, if there are any.
    pub(crate) fn start(
        roles: Vec<Ready>,
        admin: Option<AdminPart>,
        metrics: Option<(Listener, Option<Tls>)>,
        mut registry: Registry,
        grace: Duration,
        alone: &CancellationToken,
        reload: Option<Arc<dyn Reload>>,
    ) -> Self {
        vitals::register(&mut registry);
        let registry = Arc::new(registry);
        let (stop, stop_admin) = (CancellationToken::new(), CancellationToken::new());
        let lifecycle = Lifecycle::new();
        let mut serving = JoinSet::new();
        let mut seen = Vec::new();
        for (role, listeners) in roles {
            let shown = &role.shown;
            for listener in &listeners {
                info!(role = shown.kind(), name = shown.name(), address = %listener, "listening");
            }
            seen.push(shown.clone());
            let alone = role.is_alone.then(|| alone.clone());
            let serve = role.serve(listeners, stop.clone(), grace);
            serving.spawn(async move {
                if let Some(alone) = alone {
                    alone.cancelled().await;
                }
                serve.await;
            });
        }
        let metrics = metrics.map(|(listener, tls)| {
            info!(role = "metrics", address = %listener, "listening");
            tokio::spawn(mainstay_admin::serve_metrics(listener, tls, registry.clone(), stop_admin.clone()))
        });
        let admin = admin.map(|AdminPart { listener, tls, token }| {
            info!(role = "admin", address = %listener, "listening");
            let admin = Admin {
                roles: seen,
                registry: registry.clone(),
                token,
                version: env!("CARGO_PKG_VERSION").to_owned(),
                lifecycle: lifecycle.clone(),
                explain: Some(crate::explain::for_admin()),
                reload,
            };
            tokio::spawn(mainstay_admin::serve(listener, tls, admin, stop_admin.clone()))
        });
        lifecycle.serving();
        let admin = metrics.into_iter().chain(admin).collect();
        Self { roles: serving, admin, grace, stop, stop_admin, lifecycle, registry }
    }

    /// All metrics.
    pub(crate) fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// Waits for a role to end by itself, and says why it did. A role serves until it is told to stop; anything else is a
    /// defect of ours.
    pub(crate) async fn role_ended(&mut self) -> String {
        match self.roles.join_next().await {
            Some(Err(why)) => why.to_string(),
            Some(Ok(())) => "it returned".to_owned(),
            None => std::future::pending().await,
        }
    }

    /// Stops accepting.
    pub(crate) fn stop(&self) {
        self.lifecycle.stopping();
        self.stop.cancel();
    }

    /// Stops accepting and answers what is in flight; the admin listener goes last.
    pub(crate) async fn end(mut self) {
        self.stop();
        let ended = async { while self.roles.join_next().await.is_some() {} };
        if tokio::time::timeout(self.grace + LAST_MOMENT, ended).await.is_err() {
            warn!("a role did not end in time and was cut off");
        }
        // Last, so that health can be seen while calls end.
        self.stop_admin.cancel();
        for admin in self.admin {
            let _ = tokio::time::timeout(LAST_MOMENT, admin).await;
        }
    }
}

/// Why nothing can listen on `address`, and what to do about it.
pub(crate) fn cannot_listen(address: SocketAddr, why: &std::io::Error) -> String {
    let advice = match why.kind() {
        std::io::ErrorKind::AddrInUse => "the port is taken, stop what uses it or choose another",
        std::io::ErrorKind::AddrNotAvailable => "this machine has no such address",
        std::io::ErrorKind::PermissionDenied => "not permitted, choose a port from 1024 on",
        _ => return format!("cannot listen on {address}: {why}"),
    };
    format!("cannot listen on {address}: {advice}")
}
