//! A process from its plan to its end: bind everything, serve, stop in good order.

use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::ArgMatches;
use mainstay_admin::{Reload, Role, Token};
use mainstay_node::Level;
use mainstay_otel::Telemetry;
use mainstay_settings::{Origin, Problem};
use mainstay_wire::socket::Listener;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::WRONG_CONFIG;
use crate::certificates::Certificates;
use crate::dropin::mock_node;
use crate::handover::{self, Offer, Predecessor};
use crate::listeners::Inherited;
use crate::logging;
use crate::plan::{Environment, Plan, PlannedRole};
use crate::process::{AdminPart, Hangup, Process, Ready, Signals};
use crate::reload::{self, Reloader, Running};
use crate::roles::{Metrics, RoleKind};
use crate::supervisor;

/// How long a process that takes over waits for its nodes before it serves all the same.
const GETS_FIT: Duration = Duration::from_secs(10);

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
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(status) => return status,
    };
    let source = reload::Source { role, matches: matches.clone(), environment: environment.clone() };
    let status = runtime.block_on(serve(plan, source));
    // A name being looked up blocks a thread; nobody waits for it.
    runtime.shutdown_background();
    status
}

/// The runtime on which a process serves. With one core to run on it is one thread: what several threads need to share work is
/// of no use then, and a task that is woken takes its turn instead of running next, so that answers that came together are passed
/// on together, which wakes who reads them once.
pub(crate) fn runtime() -> Result<Runtime, ExitCode> {
    let mut builder = match std::thread::available_parallelism() {
        Ok(cores) if cores.get() == 1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    builder.enable_all().build().map_err(|why| {
        eprintln!("error: cannot start threads: {why}");
        ExitCode::FAILURE
    })
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
    if plan.problems.is_empty() {
        return Ok(plan);
    }
    let status = refuse(&plan.problems);
    match (plan.fatal, &plan.log_config) {
        (Some(message), Some(log)) => {
            print!("{}", log.fatal(message));
            Err(ExitCode::FAILURE)
        }
        _ => Err(status),
    }
}

/// Tells every problem on a line of its own.
pub(crate) fn refuse(problems: &[Problem]) -> ExitCode {
    for problem in problems {
        eprintln!("error: {problem}");
    }
    ExitCode::from(WRONG_CONFIG)
}

/// Everything that is bound, before anything of it serves.
struct Bound {
    roles: Vec<(PlannedRole, Vec<Listener>)>,
    admin: Option<Listener>,
    metrics: Option<Listener>,
    mock_node: Option<TcpListener>,
}

impl Bound {
    /// Further handles on all listeners.
    fn handles(&self) -> std::io::Result<Vec<OwnedFd>> {
        let of_roles = self.roles.iter().flat_map(|(_, listeners)| listeners);
        let others = [&self.admin, &self.metrics].into_iter().flatten();
        let mock_node = self.mock_node.iter().map(rustix::io::dup);
        let all = of_roles.chain(others).map(rustix::io::dup).chain(mock_node);
        all.map(|handle| Ok(handle?)).collect()
    }
}

/// `inherited` are used first.
async fn bind(plan: &mut Plan, inherited: &mut Inherited) -> Result<Bound, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut roles = Vec::new();
    for role in std::mem::take(&mut plan.roles) {
        let Some(config) = &role.config else { continue };
        let mut listeners = Vec::new();
        for (nth, listen) in config.listens().into_iter().enumerate() {
            match inherited.bind(&listen).await {
                Ok(listener) => listeners.push(listener),
                Err(what) => problems.push(config.listen_problem(&role.settings, nth, what)),
            }
        }
        roles.push((role, listeners));
    }
    let mut admin = None;
    if let Some(listen) = plan.admin_config.as_ref().and_then(|config| config.listen.as_ref()) {
        match inherited.bind(listen).await {
            Ok(listener) => admin = Some(listener),
            // Several of that program ran on one machine without a thought of such a port.
            Err(why) if plan.can_do_without_admin() => {
                warn!("{why}, going on without the admin listener (choose with --admin-listen)");
            }
            Err(why) => {
                let what = format!("{why}, or turn it off with --admin-listen off");
                problems.push(plan.admin.problem("listen", what));
            }
        }
    }
    let mut metrics = None;
    if let Some(listen) = plan.admin_config.as_ref().and_then(|config| config.metrics_listen.as_ref()) {
        match inherited.bind(listen).await {
            Ok(listener) => metrics = Some(listener),
            Err(what) => problems.push(plan.admin.problem("metrics_listen", what)),
        }
    }
    let mut mock_node = None;
    if plan.mock_node {
        match inherited.bind_tcp(mock_node::ADDRESS).await {
            Ok(listener) => mock_node = Some(listener),
            Err(what) => problems.push(Problem {
                origin: Origin::Flag("--mock-node".to_owned()),
                key: String::new(),
                what,
            }),
        }
    }
    if problems.is_empty() { Ok(Bound { roles, admin, metrics, mock_node }) } else { Err(problems) }
}

/// What is open already: by systemd, and of the process that this one takes over from, if there is one.
fn inherit(plan: &Plan) -> Result<(Inherited, Option<Predecessor>), Problem> {
    let by_systemd =
        |what| Problem { origin: Origin::Variable("LISTEN_FDS".to_owned()), key: String::new(), what };
    let by_handover = |what| plan.top.problem("handover", what);
    let mut inherited = Inherited::of_systemd().map_err(by_systemd)?;
    let Some(path) = plan.handover() else { return Ok((inherited, None)) };
    let Some((predecessor, listeners)) = handover::take_over(path).map_err(by_handover)? else {
        return Ok((inherited, None));
    };
    inherited.add(listeners.into_iter()).map_err(by_handover)?;
    Ok((inherited, Some(predecessor)))
}

/// Waits until every role can serve its clients, but not for ever: its nodes may be down for both processes.
async fn fit(roles: &[Arc<dyn Role>]) {
    let is_down = |role: &&Arc<dyn Role>| role.health().0 == Level::Down;
    let all_fit = async {
        while roles.iter().any(|role| is_down(&role)) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    if tokio::time::timeout(GETS_FIT, all_fit).await.is_err() {
        for role in roles.iter().filter(is_down) {
            let (_, reasons) = role.health();
            warn!(
                role = role.kind(),
                name = role.name(),
                why = reasons.join("; "),
                "taking over all the same"
            );
        }
    }
}

async fn serve(mut plan: Plan, source: reload::Source) -> ExitCode {
    let failed = |why: String| {
        eprintln!("error: {why}");
        ExitCode::FAILURE
    };
    let mut signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(why) => return failed(why),
    };
    let mut hangup = match Hangup::listen() {
        Ok(hangup) => hangup,
        Err(why) => return failed(why),
    };
    let (mut inherited, predecessor) = match inherit(&plan) {
        Ok(inherited) => inherited,
        Err(problem) => return refuse(&[problem]),
    };
    let certificates = Certificates::of(&plan);
    let bound = match bind(&mut plan, &mut inherited).await {
        Ok(bound) => bound,
        Err(problems) => return refuse(&problems),
    };
    for address in inherited.left() {
        warn!(address, "a listener that was passed on is nobody's by the configuration, closing it");
    }
    let files = inherited.into_files();
    let handover = plan.handover().map(ToOwned::to_owned);
    let handles = match handover.as_ref().map(|_| bound.handles()).transpose() {
        Ok(handles) => handles.unwrap_or_default(),
        Err(why) => return failed(format!("cannot keep listeners for a handover: {why}")),
    };
    // Serves before anything connects to it, and until the last call has ended.
    let stop_mock = CancellationToken::new();
    let _mock_ends = stop_mock.clone().drop_guard();
    if let Some(listener) = bound.mock_node {
        tokio::spawn(mock_node::serve(listener, stop_mock));
    }
    let mut metrics = Metrics::default();
    let of_reloads = reload::Metrics::register(&mut metrics.registry);
    let attest = plan.attest();
    if let Some(keeper) = plan.keeper.take() {
        keeper.register(&mut metrics.registry);
        tokio::spawn(keeper.run());
    }
    certificates.register(&mut metrics.registry);
    tokio::spawn(certificates.keep());
    let mut otel =
        match plan.otel.take().map(|asked| Telemetry::start(asked, &mut metrics.registry)).transpose() {
            Ok(otel) => otel,
            Err(why) => return failed(why),
        };
    metrics.tracer = otel.as_ref().map(Telemetry::tracer).unwrap_or_default();
    let (token, tls) = plan.admin_config.take().map(|config| (config.token, config.tls)).unwrap_or_default();
    let (roles, running) = match build(bound.roles, &mut metrics, token.as_ref()) {
        Ok(built) => built,
        Err(problems) => return refuse(&problems),
    };
    let shown: Vec<Arc<dyn Role>> = roles.iter().map(|(role, _)| role.shown.clone()).collect();
    if predecessor.is_some() {
        // Nobody comes to those that serve alone before the other has ended.
        let beside = roles.iter().filter(|(role, _)| !role.is_alone);
        fit(&beside.map(|(role, _)| role.shown.clone()).collect::<Vec<_>>()).await;
    }
    let taken_over = predecessor.is_some();
    let alone = CancellationToken::new();
    if let Some(predecessor) = predecessor {
        let (memories, leaving) = predecessor.release().await;
        files.take();
        handover::remember(&shown, &memories);
        let shown = shown.clone();
        let alone = alone.clone().drop_guard();
        tokio::spawn(async move {
            handover::remember(&shown, &leaving.end().await);
            drop(alone);
        });
    } else {
        alone.cancel();
    }
    let admin = bound.admin.map(|listener| AdminPart { listener, tls: tls.clone(), token });
    let page = bound.metrics.map(|listener| (listener, tls));
    let grace = plan.shutdown_grace();
    let reloader = {
        let shared = vec![plan.top, plan.log, plan.admin, plan.attestation];
        Reloader::new(source, attest, of_reloads, shared, running)
    };
    let reload: Arc<dyn Reload> = Arc::new(reloader);
    let registry = metrics.registry;
    let mut process = Process::start(roles, admin, page, registry, grace, &alone, Some(reload.clone()));
    if let Some(otel) = &mut otel {
        otel.push(process.registry());
    }
    supervisor::ready(taken_over);
    let stop_reloads = CancellationToken::new();
    let _reloads_end = stop_reloads.clone().drop_guard();
    tokio::spawn(async move {
        while stop_reloads.run_until_cancelled(hangup.next()).await.is_some() {
            reload.reload("SIGHUP".to_owned()).await;
        }
    });
    let offer = match handover.as_deref().map(|path| Offer::make(path, handles)).transpose() {
        Ok(offer) => offer,
        Err(why) => {
            // What serves goes on serving.
            warn!(why, "no process can take over from this one");
            None
        }
    };
    let taken = async {
        match &offer {
            Some(offer) => offer.taken().await,
            None => std::future::pending().await,
        }
    };

    let mut status = ExitCode::SUCCESS;
    let mut heir = None;
    tokio::select! {
        name = signals.next() => info!(signal = name, ?grace, "stopping"),
        taken = taken => {
            info!(?grace, "another process takes over, stopping");
            files.give();
            heir = Some(taken);
        }
        why = process.role_ended() => {
            error!(why, "a role ended by itself, stopping");
            status = ExitCode::FAILURE;
        }
    }
    // With it go the further handles, which would keep ports open that nobody serves.
    if let Some(offer) = offer.filter(|_| heir.is_none()) {
        offer.withdraw();
    }
    if heir.is_none() {
        supervisor::stopping();
    }
    signals.exit_at_next();
    process.stop();
    if let Some(heir) = &mut heir {
        heir.tell(&shown).await;
    }
    process.end().await;
    if let Some(heir) = &mut heir {
        heir.tell(&shown).await;
    }
    if let Some(otel) = otel {
        otel.end().await;
    }
    info!("stopped");
    status
}

/// Builds every role, or says of which ones it cannot.
fn build(
    roles: Vec<(PlannedRole, Vec<Listener>)>,
    metrics: &mut Metrics,
    token: Option<&Token>,
) -> Result<(Vec<Ready>, Vec<Running>), Vec<Problem>> {
    let mut built = Vec::new();
    let mut running = Vec::new();
    let mut problems = Vec::new();
    for (role, listeners) in roles {
        let Some(config) = role.config else { continue };
        let name = config.name().to_owned();
        let key = format!("[{}] {name}", role.kind.section.name);
        match config.build(metrics, token) {
            Ok(one) => {
                let (kind, settings, prepare) = (role.kind, role.settings, one.prepare.clone());
                running.push(Running { kind, name, settings, prepare });
                built.push((one, listeners));
            }
            Err(what) => problems.push(Problem { origin: Origin::Default, key, what }),
        }
    }
    if problems.is_empty() { Ok((built, running)) } else { Err(problems) }
}
