//! A process from its plan to its end: bind everything, serve, stop in good order.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::ArgMatches;
use mainstay_admin::{Admin, Lifecycle};
use mainstay_settings::{Origin, Problem};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::WRONG_CONFIG;
use crate::logging;
use crate::plan::{Environment, Plan, PlannedRole};
use crate::roles::{Built, Metrics, RoleKind};

/// What roles get beyond the grace to clean up after the last call.
const LAST_MOMENT: Duration = Duration::from_secs(1);
/// Exit status after a second signal, as shells give it for SIGINT.
const INTERRUPTED: i32 = 130;

/// `mainstay run` (`role` is `None`), or one role from its flags.
pub(crate) fn command(
    role: Option<&'static RoleKind>,
    matches: &ArgMatches,
    environment: &Environment,
) -> ExitCode {
    let mut plan = match sound_plan(role, matches, environment) {
        Ok(plan) => plan,
        Err(status) => return status,
    };
    let _guard = plan.log_config.take().map(logging::start);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(why) => {
            eprintln!("error: cannot start threads: {why}");
            return ExitCode::FAILURE;
        }
    };
    let status = runtime.block_on(serve(plan));
    // A name being looked up blocks a thread; nobody waits for it.
    runtime.shutdown_background();
    status
}

/// The plan, if nothing is wrong with it; else everything that is, on stderr.
pub(crate) fn sound_plan(
    role: Option<&'static RoleKind>,
    matches: &ArgMatches,
    environment: &Environment,
) -> Result<Plan, ExitCode> {
    let plan = Plan::make(role, matches, environment).map_err(|problems| refuse(&problems))?;
    for warning in &plan.warnings {
        eprintln!("warning: {warning}");
    }
    if plan.problems.is_empty() { Ok(plan) } else { Err(refuse(&plan.problems)) }
}

fn refuse(problems: &[Problem]) -> ExitCode {
    for problem in problems {
        eprintln!("error: {problem}");
    }
    ExitCode::from(WRONG_CONFIG)
}

/// Everything that is bound, before anything of it serves.
struct Bound {
    roles: Vec<(PlannedRole, TcpListener)>,
    admin: Option<TcpListener>,
}

async fn bind(plan: &mut Plan) -> Result<Bound, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut roles = Vec::new();
    for role in std::mem::take(&mut plan.roles) {
        let Some(address) = role.config.as_ref().map(|config| config.listen()) else { continue };
        match TcpListener::bind(address).await {
            Ok(listener) => roles.push((role, listener)),
            Err(why) => problems.push(role.settings.problem("listen", cannot_listen(address, &why))),
        }
    }
    let mut admin = None;
    if let Some(address) = plan.admin_config.as_ref().and_then(|config| config.listen) {
        match TcpListener::bind(address).await {
            Ok(listener) => admin = Some(listener),
            Err(why) => {
                let what =
                    format!("{}, or turn it off with --admin-listen off", cannot_listen(address, &why));
                problems.push(plan.admin.problem("listen", what));
            }
        }
    }
    if problems.is_empty() { Ok(Bound { roles, admin }) } else { Err(problems) }
}

fn cannot_listen(address: SocketAddr, why: &std::io::Error) -> String {
    let advice = match why.kind() {
        std::io::ErrorKind::AddrInUse => "the port is taken, stop what uses it or choose another",
        std::io::ErrorKind::AddrNotAvailable => "this machine has no such address",
        std::io::ErrorKind::PermissionDenied => "not permitted, choose a port from 1024 on",
        _ => return format!("cannot listen on {address}: {why}"),
    };
    format!("cannot listen on {address}: {advice}")
}

async fn serve(mut plan: Plan) -> ExitCode {
    let (mut terminate, mut interrupt) =
        match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
            (Ok(terminate), Ok(interrupt)) => (terminate, interrupt),
            (Err(why), _) | (_, Err(why)) => {
                eprintln!("error: cannot wait for signals: {why}");
                return ExitCode::FAILURE;
            }
        };
    let bound = match bind(&mut plan).await {
        Ok(bound) => bound,
        Err(problems) => return refuse(&problems),
    };
    let mut metrics = Metrics::default();
    let built = match build(bound.roles, &mut metrics) {
        Ok(built) => built,
        Err(problems) => return refuse(&problems),
    };
    let grace = plan.shutdown_grace();
    let stop = CancellationToken::new();
    let stop_admin = CancellationToken::new();
    let lifecycle = Lifecycle::new();

    let mut serving = JoinSet::new();
    let mut seen = Vec::new();
    for (role, listener) in built {
        let shown = role.admin();
        info!(role = shown.kind(), name = shown.name(), address = address(&listener), "listening");
        seen.push(shown);
        serving.spawn(role.serve(listener, stop.clone(), grace));
    }
    let admin = bound.admin.map(|listener| {
        info!(role = "admin", address = address(&listener), "listening");
        let admin = Admin {
            roles: seen,
            registry: Arc::new(metrics.registry),
            token: plan.admin_config.take().and_then(|config| config.token),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            lifecycle: lifecycle.clone(),
        };
        tokio::spawn(mainstay_admin::serve(listener, admin, stop_admin.clone()))
    });
    lifecycle.serving();

    let mut status = ExitCode::SUCCESS;
    tokio::select! {
        name = any(&mut terminate, &mut interrupt) => info!(signal = name, ?grace, "stopping"),
        Some(ended) = serving.join_next() => {
            // A role serves until it is told to stop; anything else is a defect of ours.
            let why = ended.err().map_or_else(|| "it returned".to_owned(), |why| why.to_string());
            error!(why, "a role ended by itself, stopping");
            status = ExitCode::FAILURE;
        }
    }
    tokio::spawn(async move {
        any(&mut terminate, &mut interrupt).await;
        #[allow(
            clippy::disallowed_methods,
            reason = "a second signal asks for exactly that: no more waiting"
        )]
        std::process::exit(INTERRUPTED);
    });
    lifecycle.stopping();
    stop.cancel();
    let ended = async { while serving.join_next().await.is_some() {} };
    if tokio::time::timeout(grace + LAST_MOMENT, ended).await.is_err() {
        warn!("a role did not end in time and was cut off");
    }
    // Last, so that health can be seen while calls end.
    stop_admin.cancel();
    if let Some(admin) = admin {
        let _ = tokio::time::timeout(LAST_MOMENT, admin).await;
    }
    info!("stopped");
    status
}

/// A role that is built, and its listener.
type Ready = (Box<dyn Built>, TcpListener);

/// Builds every role, or says of which ones it cannot.
fn build(roles: Vec<(PlannedRole, TcpListener)>, metrics: &mut Metrics) -> Result<Vec<Ready>, Vec<Problem>> {
    let mut built = Vec::new();
    let mut problems = Vec::new();
    for (role, listener) in roles {
        let Some(config) = role.config else { continue };
        let key = format!("[{}] {}", role.kind.section.name, config.name());
        match config.build(metrics) {
            Ok(role) => built.push((role, listener)),
            Err(what) => problems.push(Problem { origin: Origin::Default, key, what }),
        }
    }
    if problems.is_empty() { Ok(built) } else { Err(problems) }
}

/// Waits for a signal that asks the process to end; its name.
async fn any(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}

fn address(listener: &TcpListener) -> String {
    listener.local_addr().map_or_else(|_| "unknown".to_owned(), |address| address.to_string())
}
