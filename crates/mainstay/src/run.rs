//! A process from its plan to its end: bind everything, serve, stop in good order.

use std::process::ExitCode;
use std::sync::Arc;

use clap::ArgMatches;
use mainstay_admin::{Reload, Role};
use mainstay_execution::forwards::Forwards;
use mainstay_otel::Telemetry;
use mainstay_settings::{Origin, Problem};
use prometheus_client::registry::Registry;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::WRONG_CONFIG;
use crate::bound::{BoundRole, bind};
use crate::certificates::Certificates;
use crate::dropin::mock_node;
use crate::handover::{self, Offer, Predecessor};
use crate::listeners::{Inherited, Open};
use crate::logging;
use crate::plan::{Environment, Plan};
use crate::process::{AdminPart, Hangup, Process, Signals};
use crate::reload::{self, Known, Reloader, Running};
use crate::roles::{Means, RoleKind};
use crate::roster::{self, Ready, Roster};
use crate::supervisor;
use crate::vitals;

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
    let certificates = Certificates::of(plan.admin_config.as_ref());
    let bound = match bind(&mut plan, &mut inherited).await {
        Ok(bound) => bound,
        Err(problems) => return refuse(&problems),
    };
    for address in inherited.left() {
        warn!(address, "a listener that was passed on is nobody's by the configuration, closing it");
    }
    drop(inherited);
    let handover = plan.handover().map(ToOwned::to_owned);
    let open = Open::default();
    open.add(0, bound.held);
    // Serves before anything connects to it, and until the last call has ended.
    let stop_mock = CancellationToken::new();
    let _mock_ends = stop_mock.clone().drop_guard();
    if let Some(listener) = bound.mock_node {
        tokio::spawn(mock_node::serve(listener, stop_mock));
    }
    let mut registry = Registry::default();
    let of_reloads = reload::Metrics::register(&mut registry);
    let attest = plan.attest();
    if let Some(keeper) = plan.keeper.take() {
        keeper.register(&mut registry);
        tokio::spawn(keeper.run());
    }
    certificates.register(&mut registry);
    tokio::spawn(certificates.clone().keep());
    let mut otel = match plan.otel.take().map(|asked| Telemetry::start(asked, &mut registry)).transpose() {
        Ok(otel) => otel,
        Err(why) => return failed(why),
    };
    let (token, tls) = plan.admin_config.take().map(|config| (config.token, config.tls)).unwrap_or_default();
    let tracer = otel.as_ref().map(Telemetry::tracer).unwrap_or_default();
    let means = Means { tracer, forwards: Forwards::new(&mut registry), token: token.clone() };
    vitals::register(&mut registry);
    let ready = match build(bound.roles, &means) {
        Ok(ready) => ready,
        Err(problems) => return refuse(&problems),
    };
    if predecessor.is_some() {
        for (role, why) in roster::fit(ready.iter().filter_map(|(_, ready)| ready.beside()).collect()).await {
            warn!(role = role.kind(), name = role.name(), why, "taking over all the same");
        }
    }
    let shown: Vec<Arc<dyn Role>> = ready.iter().map(|(_, ready)| ready.shown().clone()).collect();
    let taken_over = predecessor.is_some();
    let alone = CancellationToken::new();
    if let Some(predecessor) = predecessor {
        let (memories, leaving) = predecessor.release().await;
        handover::remember(&shown, &memories);
        let alone = alone.clone().drop_guard();
        tokio::spawn(async move {
            handover::remember(&shown, &leaving.end().await);
            drop(alone);
        });
    } else {
        alone.cancel();
    }
    let grace = plan.shutdown_grace();
    let (roster, ended) = Roster::new(registry, certificates, open.clone(), grace, alone);
    let running = ready.into_iter().map(|(known, ready)| Running::new(known, roster.start(ready))).collect();
    if taken_over {
        open.take_files();
    }
    let shared = vec![plan.top, plan.log, plan.admin, plan.attestation];
    let read = reload::Read { shared, roles: running };
    let reload: Arc<dyn Reload> =
        Arc::new(Reloader::new(source, attest, means, of_reloads, roster.clone(), read));
    let admin = bound.admin.map(|listener| AdminPart { listener, tls: tls.clone(), token });
    let page = bound.metrics.map(|listener| (listener, tls));
    let mut process = Process::start((roster.clone(), ended), admin, page, grace, Some(reload.clone()));
    if let Some(otel) = &mut otel {
        let pages = roster.pages.clone();
        otel.push(Arc::new(move || pages.text().unwrap_or_default()));
    }
    supervisor::ready(taken_over);
    let stop_reloads = CancellationToken::new();
    let _reloads_end = stop_reloads.clone().drop_guard();
    tokio::spawn(async move {
        while stop_reloads.run_until_cancelled(hangup.next()).await.is_some() {
            reload.reload("SIGHUP".to_owned()).await;
        }
    });
    let offered = open.clone();
    let offer = handover.as_deref().map(|path| Offer::make(path, move || offered.handles()));
    let offer = match offer.transpose() {
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
            open.give_files();
            heir = Some(taken);
        }
        why = process.role_ended() => {
            error!(why, "a role ended by itself, stopping");
            status = ExitCode::FAILURE;
        }
    }
    if let Some(offer) = offer.filter(|_| heir.is_none()) {
        offer.withdraw();
    }
    if heir.is_none() {
        supervisor::stopping();
    }
    signals.exit_at_next();
    process.stop();
    if let Some(heir) = &mut heir {
        heir.tell(&roster.shown.now()).await;
    }
    process.end().await;
    if let Some(heir) = &mut heir {
        heir.tell(&roster.shown.now()).await;
    }
    if let Some(otel) = otel {
        otel.end().await;
    }
    info!("stopped");
    status
}

/// What a role was read as, and the role.
type Built = (Known, Ready);

/// Builds every role, or says of which ones it cannot.
fn build(roles: Vec<BoundRole>, means: &Means) -> Result<Vec<Built>, Vec<Problem>> {
    let mut built = Vec::new();
    let mut problems = Vec::new();
    for (role, listeners) in roles {
        let Some(config) = role.config else { continue };
        let known = Known { kind: role.kind, name: config.name().to_owned(), settings: role.settings };
        let kind = known.kind.section.name;
        match Ready::build(kind, config, means, listeners) {
            Ok(ready) => built.push((known, ready)),
            Err(what) => {
                let key = format!("[{kind}] {}", known.name);
                problems.push(Problem { origin: Origin::Default, key, what });
            }
        }
    }
    if problems.is_empty() { Ok(built) } else { Err(problems) }
}
