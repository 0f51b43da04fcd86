//! Settings read anew while the process runs: on SIGHUP, and on `POST /api/v1/reload` of the admin listener.
//!
//! They are read as at the start, by the same flags and variables, and checked whole. Only then is it looked at what differs from what was
//! read last ([`compare`]), and all that could fail is done ([`change`]): every key of no role that differs has to be one that a reload can change
//! ([`mainstay_settings::Key::live`]), every role that stays has to be ready for its new settings, and every role that comes, or takes the place of
//! one, has to be built, its listeners bound. One thing that is wrong, and nothing changes at all. Else all roles change, one after the other
//! without a pause, and none of these steps can fail.

mod change;
mod command;
mod compare;
mod metrics;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::ArgMatches;
use mainstay_admin::{BoxFuture, Changed, Outcome, Reload, Reloaded};
use mainstay_settings::{Problem, Settings};
use mainstay_wire::client::Attestation;
use tracing::{error, info, warn};

use crate::plan::{Environment, Plan, PlannedRole};
use crate::roles::{Means, RoleKind};
use crate::roster::{Roster, Serving};
use crate::supervisor;

pub(crate) use command::{command, subcommand};
pub(crate) use metrics::Metrics;

/// Where settings are read from.
#[derive(Clone)]
pub(crate) struct Source {
    /// The role that runs alone, from its flags; `None`: those of the file.
    pub(crate) role: Option<&'static RoleKind>,
    pub(crate) matches: ArgMatches,
    pub(crate) environment: Environment,
}

/// What a role was read as.
pub(crate) struct Known {
    pub(crate) kind: &'static RoleKind,
    pub(crate) name: String,
    pub(crate) settings: Settings,
}

/// A role that runs, and what its settings were when they were last read.
pub(crate) struct Running {
    known: Known,
    serving: Serving,
}

impl Running {
    pub(crate) fn new(known: Known, serving: Serving) -> Self {
        Self { known, serving }
    }
}

/// What was read last, and serves.
pub(crate) struct Read {
    /// The settings that belong to no role.
    pub(crate) shared: Vec<Settings>,
    pub(crate) roles: Vec<Running>,
}

/// Reads the settings anew, one time after the other.
#[derive(Clone)]
pub(crate) struct Reloader(Arc<Inner>);

struct Inner {
    source: Source,
    /// Who judges nodes, since the start: `[attest]` needs a restart.
    attest: Option<Attestation>,
    means: Means,
    metrics: Metrics,
    roster: Arc<Roster>,
    running: tokio::sync::Mutex<State>,
    last: Mutex<Option<Arc<Reloaded>>>,
}

struct State {
    read: Read,
    number: u64,
}

/// What is read now, with nothing wrong in it.
struct Fresh {
    shared: Vec<Settings>,
    roles: Vec<PlannedRole>,
}

impl Reloader {
    /// For roles that run by settings that were `read` from `source`; from now on those are what `roster` shows. `means` is what they were built
    /// with.
    pub(crate) fn new(
        source: Source,
        attest: Option<Attestation>,
        means: Means,
        metrics: Metrics,
        roster: Arc<Roster>,
        read: Read,
    ) -> Self {
        roster.show(read.roles.iter().map(|role| &role.serving));
        let running = tokio::sync::Mutex::new(State { read, number: 0 });
        Self(Arc::new(Inner { source, attest, means, metrics, roster, running, last: Mutex::default() }))
    }
}

impl Inner {
    /// Reads the settings, checks them, and carries out what differs.
    async fn run(&self, by: String) -> Arc<Reloaded> {
        // Whoever asks meanwhile comes next: what it has written by then is read.
        let mut running = self.running.lock().await;
        supervisor::reloading();
        info!(by, "reading the settings anew");
        let source = self.source.clone();
        let read = tokio::task::spawn_blocking(move || read(&source)).await;
        let read = read.unwrap_or_else(|_| Err(vec!["failed: this is a defect of mainstay's".to_owned()]));
        let (outcome, changes, problems) = match read {
            Err(problems) => (Outcome::Wrong, Vec::new(), problems),
            Ok(fresh) => match self.check(&running.read, fresh).await {
                (changes, Err(problems)) => (Outcome::NotNow, changes, problems),
                (changes, Ok(checked)) => {
                    checked.carry_out(&self.roster, &mut running.read);
                    (Outcome::Applied, changes, Vec::new())
                }
            },
        };
        running.number += 1;
        let number = running.number;
        let reloaded = Arc::new(Reloaded { number, at_ms: wall_ms(), by, outcome, changes, problems });
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(reloaded.clone());
        self.metrics.told(&reloaded);
        tell(&reloaded);
        supervisor::reloaded(&reloaded.summary());
        reloaded
    }
}

impl Reload for Reloader {
    fn reload(&self, by: String) -> BoxFuture<'static, Reloaded> {
        let inner = self.0.clone();
        Box::pin(async move { Reloaded::clone(&*inner.run(by).await) })
    }

    fn last(&self) -> Option<Arc<Reloaded>> {
        self.0.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Reads as at the start. Fails with everything that is wrong, a line each.
fn read(source: &Source) -> Result<Fresh, Vec<String>> {
    let plan = Plan::make(source.role, &source.matches, &source.environment).map_err(lines)?;
    for warning in &plan.warnings {
        warn!("{warning}");
    }
    if !plan.problems.is_empty() {
        return Err(lines(plan.problems));
    }
    Ok(Fresh { shared: vec![plan.top, plan.log, plan.admin, plan.attestation], roles: plan.roles })
}

fn lines(problems: Vec<Problem>) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

fn tell(reloaded: &Reloaded) {
    let by = &reloaded.by;
    if reloaded.outcome != Outcome::Applied {
        for problem in &reloaded.problems {
            error!(by, "settings: {problem}");
        }
        error!(by, problems = reloaded.problems.len(), "reload refused, nothing has changed");
        return;
    }
    for Changed { role, name, origin, text, .. } in &reloaded.changes {
        info!(role, name, origin, "setting changed: {text}");
    }
    info!(by, changes = reloaded.changes.len(), "reloaded");
}

#[allow(clippy::disallowed_methods, reason = "told to people, by the wall clock")]
fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
