//! `mainstay dev`: a simulated network on loopback, with the real engine and the real admin listener in its midst.
//!
//! Nothing of the engine knows that it is watched: it is configured, built and served as in [`crate::run`], and what a
//! person sees comes from its [`Handle`], as the admin listener's view does.

mod heading;
mod network;
mod options;
mod ports;
mod typed;
mod watch;

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::ArgMatches;
use mainstay_engine::Operated as _;
use mainstay_engine::{Engine, Handle};
use mainstay_execution::NodeView;
use mainstay_settings::Problem;
use mainstay_sim::control::stdin_lines;
use mainstay_sim::terminal::{Ink, slot_line};
use mainstay_sim::{Cl, ClConfig, ClHandle, Control, SlotReport};
use mainstay_wire::socket::Listener;
use prometheus_client::registry::Registry;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use url::Url;

use self::heading::{Places, heading};
use self::network::Network;
use self::options::Options;
pub(crate) use self::options::subcommand;
use self::ports::Port;
use self::typed::Typed;
use self::watch::{Notes, Watch};
use crate::certificates::Certificates;
use crate::listeners::{Held, Open};
use crate::logging;
use crate::plan::Environment;
use crate::process::{AdminPart, Process, Signals};
use crate::roles::Built;
use crate::roster::{Ready, Roster};
use crate::run::{refuse, runtime};
use crate::vitals;

/// For calls in flight at the end: there is nobody whose duty depends on them.
const GRACE: Duration = Duration::from_secs(1);

/// Runs until a signal, `quit`, or the last slot. Status 2 if a flag is wrong.
pub(crate) fn command(matches: &ArgMatches, environment: &Environment) -> ExitCode {
    let mut options = match Options::read(matches, environment) {
        Ok(options) => options,
        Err(problems) => return refuse(&problems),
    };
    let _guard = options.log.take().map(logging::start);
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(status) => return status,
    };
    let status = match runtime.block_on(run(options)) {
        Ok(status) => status,
        Err(Failed::Settings(problems)) => refuse(&problems),
        Err(Failed::Other(why)) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    };
    runtime.shutdown_background();
    status
}

/// Why the network did not start.
enum Failed {
    Settings(Vec<Problem>),
    Other(String),
}

impl From<String> for Failed {
    fn from(why: String) -> Self {
        Self::Other(why)
    }
}

async fn run(options: Options) -> Result<ExitCode, Failed> {
    let signals = Signals::listen()?;
    let network = Network::start(options.nodes).await?;
    let (engine, admin, control) = bind(&options).await.map_err(Failed::Settings)?;
    let config = network.engine(engine.address, options.engine.clone()).map_err(Failed::Settings)?;
    let mut metrics = Registry::default();
    let role = Engine::build(config, &mainstay_engine::Metrics::new(&mut metrics))?;
    let handle = role.handle();
    let role = Built::new(handle.clone(), |listener, stop, grace| role.serve(listener, stop, grace));

    let places = Places {
        engine: &engine,
        admin: &admin,
        control: &control,
        nodes: &network.nodes,
        evidence: &network.evidence(),
        secret: &network.secret_file(),
    };
    let mut screen = Screen { ink: Ink::of_stdout(), open: true };
    screen.show(&heading(&options, &places));

    let url = format!("http://{}", engine.address);
    let admin = AdminPart { listener: admin.listener.into(), tls: None, token: None };
    let alone = CancellationToken::new();
    alone.cancel();
    let mut of_process = Registry::default();
    vitals::register(&mut of_process);
    let listener = Listener::from(engine.listener);
    let held = Held::of(&listener).map_err(|why| format!("cannot listen: {why}"))?;
    let role = Ready::of(role, metrics, vec![(listener, held)]);
    let (roster, failed) = Roster::new(of_process, Certificates::of(None), Open::default(), GRACE, alone);
    roster.show([roster.start(role)].iter());
    let process = Process::start((roster, failed), Some(admin), None, GRACE, None);
    let nodes = Control::new(network.nodes.clone());
    let stop_control = CancellationToken::new();
    let controlling = tokio::spawn(nodes.clone().serve(control.listener, stop_control.clone()));

    let url = Url::parse(&url).map_err(|why| why.to_string())?;
    let cl = ClConfig::new(url, network.secret.clone(), network.genesis.clone()).slot(options.slot);
    let (cl, reports) = Cl::new(cl).map_err(|why| why.to_string())?.start();

    let mut show = Show { options, process, signals, handle, nodes, cl, screen, told: Told::default() };
    let status = show.go(reports).await;
    show.signals.exit_at_next();
    show.cl.stop();
    show.process.end().await;
    stop_control.cancel();
    let _ = controlling.await;
    let evidence = network.end();
    show.screen.show(&show.told.summary());
    if let Some(evidence) = evidence {
        let dir = evidence.display();
        show.screen.show(&format!("Evidence: mainstay evidence list --evidence-dir {dir}\n"));
    }
    Ok(status)
}

/// Binds the ports of the engine, the admin listener and the control.
async fn bind(options: &Options) -> Result<(Port, Port, Port), Vec<Problem>> {
    let engine = ports::bind(options, "listen").await;
    let admin = ports::bind(options, "admin_listen").await;
    let control = ports::bind(options, "control").await;
    match (engine, admin, control) {
        (Ok(engine), Ok(admin), Ok(control)) => Ok((engine, admin, control)),
        (engine, admin, control) => {
            Err([engine.err(), admin.err(), control.err()].into_iter().flatten().collect())
        }
    }
}

/// A line a slot, until the end.
struct Show {
    options: Options,
    process: Process,
    signals: Signals,
    handle: Handle,
    nodes: Control,
    cl: ClHandle,
    screen: Screen,
    told: Told,
}

impl Show {
    async fn go(&mut self, mut reports: Receiver<SlotReport>) -> ExitCode {
        let mut rounds = self.handle.rounds();
        let mut watch = Watch::new(self.options.slot);
        let mut typed = stdin_lines();
        let mut typing = true;
        while self.screen.open {
            let wakes = watch.wakes();
            tokio::select! {
                _ = self.signals.next() => return ExitCode::SUCCESS,
                why = self.process.role_ended() => {
                    eprintln!("error: the engine ended by itself: {why}");
                    return ExitCode::FAILURE;
                }
                report = reports.recv() => match report {
                    Ok(report) => watch.report(report, self.notes(), Instant::now()),
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return ExitCode::FAILURE,
                },
                round = rounds.recv() => match round {
                    Ok(round) => watch.round(round),
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return ExitCode::FAILURE,
                },
                line = typed.recv(), if typing => match line.map(|line| typed::line(&line, &self.nodes, &self.handle)) {
                    Some(Typed::Quit) => return ExitCode::SUCCESS,
                    Some(Typed::Answer(answer)) if answer.is_empty() => {}
                    Some(Typed::Answer(answer)) => self.screen.show(&format!("{answer}\n")),
                    // Nobody types where there is no terminal.
                    None => typing = false,
                },
                () = at(wakes) => {}
            }
            while let Some(line) = watch.line(Instant::now()) {
                self.told.count(line.missed.is_some());
                self.screen.show(&format!("{}\n", slot_line(&line, self.screen.ink)));
                if self.options.slots == Some(self.told.slots) {
                    return ExitCode::SUCCESS;
                }
            }
        }
        ExitCode::SUCCESS
    }

    /// What is wrong with a node on purpose, and what the engine makes of it.
    fn notes(&self) -> Notes {
        let states = self.nodes.states();
        let note = |node: NodeView| {
            let state = states.iter().find(|state| state.name == node.name);
            // Where something is wrong on purpose, its consequences need no words.
            let condition = (!node.fit).then_some(node.condition);
            let mut all: Vec<&str> =
                state.and_then(|state| state.fault.as_deref()).or(condition).into_iter().collect();
            if node.standing != "votes" && (node.standing != "muted" || all.is_empty()) {
                all.push(node.standing);
            }
            (!all.is_empty()).then(|| (node.name.clone(), all.join(", ")))
        };
        self.handle.snapshot().nodes.into_iter().filter_map(note).collect()
    }
}

async fn at(when: Option<Instant>) {
    match when {
        Some(when) => tokio::time::sleep_until(when).await,
        None => std::future::pending().await,
    }
}

/// Slots told so far.
#[derive(Default)]
struct Told {
    slots: u64,
    missed: u64,
}

impl Told {
    fn count(&mut self, missed: bool) {
        self.slots += 1;
        self.missed += u64::from(missed);
    }

    fn summary(&self) -> String {
        let plural = if self.slots == 1 { "" } else { "s" };
        format!("{} slot{plural}, {} missed\n", self.slots, self.missed)
    }
}

/// Standard output.
struct Screen {
    ink: Ink,
    /// Nobody reads any more.
    open: bool,
}

impl Screen {
    fn show(&mut self, text: &str) {
        let mut out = std::io::stdout().lock();
        self.open &= out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_ok();
    }
}
