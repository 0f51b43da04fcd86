//! What serves in this process, from its start to its end in good order, and the signals that end it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mainstay_admin::{Admin, Lifecycle, Reload, Token};
use mainstay_wire::server::Tls;
use mainstay_wire::socket::Listener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::Receiver;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::roster::Roster;

/// What roles get beyond the grace to clean up after the last call.
const LAST_MOMENT: Duration = Duration::from_secs(1);
/// Exit status after a second signal, as shells give it for SIGINT.
const INTERRUPTED: i32 = 130;

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
    roster: Arc<Roster>,
    failed: Receiver<String>,
    /// The admin listener, and that for metrics alone.
    admin: Vec<JoinHandle<()>>,
    grace: Duration,
    stop_admin: CancellationToken,
    lifecycle: Lifecycle,
}

impl Process {
    /// Shows the roles of this roster, which serve. `failed` is told why one ended by itself. `metrics`: for a page of them alone, and what it is
    /// served TLS with. `grace`: how long calls in flight may take once the process ends. `reload` reads the settings anew, if there are any.
    pub(crate) fn start(
        (roster, failed): (Arc<Roster>, Receiver<String>),
        admin: Option<AdminPart>,
        metrics: Option<(Listener, Option<Tls>)>,
        grace: Duration,
        reload: Option<Arc<dyn Reload>>,
    ) -> Self {
        let stop_admin = CancellationToken::new();
        let lifecycle = Lifecycle::new();
        let page = roster.pages.page();
        let metrics = metrics.map(|(listener, tls)| {
            info!(role = "metrics", address = %listener, "listening");
            tokio::spawn(mainstay_admin::serve_metrics(listener, tls, page.clone(), stop_admin.clone()))
        });
        let admin = admin.map(|AdminPart { listener, tls, token }| {
            info!(role = "admin", address = %listener, "listening");
            let admin = Admin {
                roles: roster.shown.clone(),
                page,
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
        Self { roster, failed, admin, grace, stop_admin, lifecycle }
    }

    /// Waits for a role to end by itself, and says why it did. A role serves until it is told to stop; anything else is a
    /// defect of ours.
    pub(crate) async fn role_ended(&mut self) -> String {
        match self.failed.recv().await {
            Some(why) => why,
            None => std::future::pending().await,
        }
    }

    /// Stops accepting.
    pub(crate) fn stop(&self) {
        self.lifecycle.stopping();
        self.roster.stop();
    }

    /// Stops accepting and answers what is in flight; the admin listener goes last.
    pub(crate) async fn end(self) {
        self.stop();
        if tokio::time::timeout(self.grace + LAST_MOMENT, self.roster.ended()).await.is_err() {
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
