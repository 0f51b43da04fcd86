//! Settings read anew while the process runs: on SIGHUP, and on `POST /api/v1/reload` of the admin listener.
//!
//! They are read as at the start, by the same flags and variables, and checked whole. Only then is it looked at what differs from what was
//! read last: every key that differs has to be one that a reload can change ([`mainstay_settings::Key::live`]), and every role has to be
//! ready for its new settings. One thing that is wrong, and nothing changes at all. Else all roles change, one after the other without a
//! pause, and none of these steps can fail.

mod command;
mod compare;
mod metrics;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::ArgMatches;
use mainstay_admin::{BoxFuture, Changed, Outcome, Reload, Reloaded};
use mainstay_node::Prepared;
use mainstay_settings::{Problem, Settings};
use mainstay_wire::client::Attestation;
use serde_json::Value;
use tracing::{error, info, warn};

use crate::plan::{Environment, Plan, PlannedRole};
use crate::roles::{Configured, Prepare, RoleKind};
use crate::supervisor;
use compare::{Compared, Part};

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

/// A role that runs, and what its settings were when they were last read.
pub(crate) struct Running {
    pub(crate) kind: &'static RoleKind,
    pub(crate) name: String,
    pub(crate) settings: Settings,
    pub(crate) prepare: Prepare,
}

/// Reads the settings anew, one time after the other.
#[derive(Clone)]
pub(crate) struct Reloader(Arc<Inner>);

struct Inner {
    source: Source,
    /// Who judges nodes, since the start: `[attest]` needs a restart.
    attest: Option<Attestation>,
    metrics: Metrics,
    running: tokio::sync::Mutex<State>,
    last: Mutex<Option<Arc<Reloaded>>>,
}

/// What was read last.
struct State {
    shared: Vec<Settings>,
    roles: Vec<Running>,
    number: u64,
}

/// What is read now, with nothing wrong in it.
struct Fresh {
    shared: Vec<Settings>,
    roles: Vec<FreshRole>,
}

struct FreshRole {
    kind: &'static RoleKind,
    settings: Settings,
    config: Box<dyn Configured>,
}

/// A reload that was checked.
struct Checked {
    shared: Vec<Settings>,
    /// The new settings of each role that runs, by its place.
    settings: Vec<(usize, Settings)>,
    prepared: Vec<Prepared>,
}

impl Reloader {
    /// For roles that run by settings that were read from `source`; `shared` are those that belong to no role.
    pub(crate) fn new(
        source: Source,
        attest: Option<Attestation>,
        metrics: Metrics,
        shared: Vec<Settings>,
        roles: Vec<Running>,
    ) -> Self {
        let running = tokio::sync::Mutex::new(State { shared, roles, number: 0 });
        Self(Arc::new(Inner { source, attest, metrics, running, last: Mutex::default() }))
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
            Ok(fresh) => match self.check(&running, fresh) {
                (changes, Err(problems)) => (Outcome::NotNow, changes, problems),
                (changes, Ok(checked)) => {
                    carry_out(&mut running, checked);
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

    /// What differs, and either why it can't hold now or what carries it out.
    fn check(&self, running: &State, fresh: Fresh) -> (Vec<Changed>, Result<Checked, Vec<String>>) {
        let before: Vec<Part<'_>> = running
            .roles
            .iter()
            .map(|role| Part { kind: role.kind.section.name, name: &role.name, settings: &role.settings })
            .collect();
        let now: Vec<Part<'_>> = fresh
            .roles
            .iter()
            .map(|role| Part {
                kind: role.kind.section.name,
                name: role.config.name(),
                settings: &role.settings,
            })
            .collect();
        let compared = compare::compare(&running.shared, &fresh.shared, &before, &now);
        let Compared { mut changes, mut problems, of } = compared;
        if !problems.is_empty() {
            return (changes, Err(problems));
        }
        let (mut settings, mut prepared) = (Vec::new(), Vec::new());
        for (mut role, at) in fresh.roles.into_iter().zip(of) {
            let Some(runs) = running.roles.get(at) else { continue };
            if let Some(attest) = &self.attest {
                role.config.attest_by(attest.clone());
            }
            match (runs.prepare)(role.config) {
                Ok(one) => {
                    changes.extend(one.notes().iter().map(|note| noted(runs, note)));
                    prepared.push(one);
                }
                Err(why) => {
                    let title = format!("[{}] {}", role.kind.section.name, runs.name);
                    problems.extend(why.into_iter().map(|why| format!("{title}: {why}")));
                }
            }
            settings.push((at, role.settings));
        }
        if !problems.is_empty() {
            return (changes, Err(problems));
        }
        (changes, Ok(Checked { shared: fresh.shared, settings, prepared }))
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
    let told = |problems: Vec<Problem>| problems.iter().map(ToString::to_string).collect::<Vec<_>>();
    let plan = Plan::make(source.role, &source.matches, &source.environment).map_err(told)?;
    for warning in &plan.warnings {
        warn!("{warning}");
    }
    if !plan.problems.is_empty() {
        return Err(told(plan.problems));
    }
    let role = |role: PlannedRole| {
        Some(FreshRole { kind: role.kind, settings: role.settings, config: role.config? })
    };
    let roles = plan.roles.into_iter().filter_map(role).collect();
    Ok(Fresh { shared: vec![plan.top, plan.log, plan.admin, plan.attestation], roles })
}

fn carry_out(state: &mut State, checked: Checked) {
    for prepared in checked.prepared {
        prepared.apply();
    }
    state.shared = checked.shared;
    for (at, settings) in checked.settings {
        if let Some(role) = state.roles.get_mut(at) {
            role.settings = settings;
        }
    }
}

/// Something that no key says.
fn noted(role: &Running, note: &str) -> Changed {
    Changed {
        role: role.kind.section.name.to_owned(),
        name: role.name.clone(),
        key: String::new(),
        origin: String::new(),
        was: Value::Null,
        now: Value::Null,
        text: note.to_owned(),
    }
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
