//! `mainstay doctor`: looks at everything that a configuration rests on, and says of each thing whether it is well and what to do if not.
//!
//! What is observed is put together here, in [`Observed`]; what is made of it are pure functions, one file for each kind of thing. Nodes are
//! asked as by `mainstay check --probe` ([`crate::probe`]), which stops where calls would get through.

mod beacons;
mod clocks;
mod finding;
mod limits;
mod nodes;
mod places;
mod ports;
mod secrets;

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::{Arg, ArgAction, ArgMatches, Command};
use mainstay_settings::Settings;
use mainstay_wire::client::Attestation;
use tokio::task::JoinHandle;

use self::beacons::BeaconSeen;
use self::clocks::{Clocks, NodeClock};
use self::finding::{Finding, Findings};
use self::limits::Limits;
use self::nodes::NodeSeen;
use self::places::PlaceSeen;
use self::ports::PortSeen;
use self::secrets::SecretFile;
use crate::plan::{Environment, Plan, PlannedRole};
use crate::probe::{self, Depth, Target};
use crate::roles::Configured;
use crate::run::refuse;
use crate::show::{print, role_of};
use crate::status::waited;

/// How long the system may take to say whether its clock is kept.
const SYSTEM: Duration = Duration::from_secs(3);

/// Its command line, to which a configuration's flags come.
pub(crate) fn subcommand() -> Command {
    Command::new("doctor")
        .about("Examine all that the configuration rests on: secrets, clocks, nodes, stores, forks, limits, ports; and say what to do")
        .after_help("Exit status: 0 if nothing fails, though there may be warnings; 1 if something does; 2 if there is no configuration to go by.")
        .arg(Arg::new("json").long("json").global(true).action(ArgAction::SetTrue).help("The findings as JSON"))
}

/// Runs it.
pub(crate) fn command(matches: &ArgMatches, environment: &Environment) -> ExitCode {
    let (role, matches) = role_of(matches);
    let plan = match Plan::make(role, matches, environment) {
        Ok(plan) => plan,
        Err(problems) => return refuse(&problems),
    };
    let observed = match waited(async { Ok(observe(&plan).await) }) {
        Ok(observed) => observed,
        Err(why) => {
            eprintln!("error: {why}");
            return ExitCode::FAILURE;
        }
    };
    let findings = diagnose(&observed);
    print(&match matches.get_flag("json") {
        true => format!("{:#}\n", finding::document(&findings)),
        false => finding::page(&findings),
    });
    if finding::any_failed(&findings) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// All that was seen.
#[derive(Debug, Default)]
struct Observed {
    /// What the configuration consists of, as `mainstay check` tells it.
    summary: String,
    problems: Vec<String>,
    warnings: Vec<String>,
    /// The user that looks.
    uid: u32,
    secrets: Vec<SecretFile>,
    clocks: Clocks,
    nodes: Vec<NodeSeen>,
    beacons: Vec<BeaconSeen>,
    places: Vec<PlaceSeen>,
    limits: Limits,
    ports: Vec<PortSeen>,
}

/// What is made of it.
fn diagnose(seen: &Observed) -> Vec<Finding> {
    let mut all = Vec::new();
    let mut findings = Findings { area: "configuration", all: &mut all };
    // A secret that isn't right is told once, below.
    let told = |problem: &&String| {
        let of = |file: &SecretFile| problem.contains(&file.path.display().to_string());
        !seen.secrets.iter().any(|file| (file.fault.is_some() || file.about.is_err()) && of(file))
    };
    for problem in seen.problems.iter().filter(told) {
        findings.fail(
            "settings",
            &**problem,
            "mend it: nothing starts before; mainstay check says when it is right",
        );
    }
    for warning in &seen.warnings {
        findings.warn("settings", &**warning, "look it up in docs/config.md");
    }
    if seen.problems.is_empty() {
        findings.ok("settings", &*seen.summary);
    }
    findings.area = "secrets";
    secrets::judge(&seen.secrets, seen.uid, &mut findings);
    findings.area = "clocks";
    clocks::judge(&seen.clocks, &mut findings);
    nodes::judge(&seen.nodes, seen.clocks.now, &mut all);
    beacons::judge(&seen.beacons, &mut all);
    let mut findings = Findings { area: "reachability", all: &mut all };
    places::judge(&seen.places, &mut findings);
    findings.area = "limits";
    limits::judge(&seen.limits, &mut findings);
    findings.area = "ports";
    ports::judge(&seen.ports, &mut findings);
    // By kind of thing, whoever found it; of one kind in the order in which it was found.
    all.sort_by_key(|finding| AREAS.iter().position(|area| *area == finding.area));
    all
}

/// In the order in which one would mend things.
const AREAS: [&str; 9] = [
    "configuration",
    "secrets",
    "clocks",
    "reachability",
    "versions",
    "capabilities",
    "forks",
    "limits",
    "ports",
];

/// Looks at everything, all nodes at once.
async fn observe(plan: &Plan) -> Observed {
    let attest = plan.attest();
    let mut seen = Observed {
        summary: crate::check::summary(plan),
        problems: plan.problems.iter().map(ToString::to_string).collect(),
        warnings: plan.warnings.clone(),
        uid: rustix::process::geteuid().as_raw(),
        ..Observed::default()
    };
    let shared = [&plan.top, &plan.admin, &plan.attestation];
    let settings: Vec<&Settings> =
        shared.into_iter().chain(plan.roles.iter().map(|role| &role.settings)).collect();
    seen.secrets = secrets::observe(settings.into_iter());

    let synchronized = tokio::spawn(synchronized());
    let (mut targets, mut beacons, mut places) = (Vec::new(), Vec::new(), Vec::new());
    let mut needs = limits::BESIDES;
    for role in &plan.roles {
        let Some(config) = &role.config else { continue };
        let group = label(role, config.as_ref());
        targets.extend(named(role, &group, config.targets()));
        others(config.as_ref(), &group, attest.as_ref(), &mut beacons, &mut places);
        needs += files(role, config.as_ref());
        seen.ports.extend(
            config
                .listens()
                .into_iter()
                .filter_map(|at| at.tcp().filter(|at| at.port() != 0))
                .map(|at| ports::observe(group.clone(), at)),
        );
    }
    if let Some(admin) = &plan.admin_config {
        let listens = [("admin", &admin.listen), ("metrics", &admin.metrics_listen)];
        let listens = listens.into_iter().filter_map(|(of, at)| {
            let at = at.as_ref()?.tcp().filter(|at| at.port() != 0)?;
            Some((of, at))
        });
        seen.ports.extend(listens.map(|(of, at)| ports::observe(of.to_owned(), at)));
    }
    seen.limits = limits::observe(ports::running(&seen.ports), needs);

    let verdicts = probe::examine(&targets, Depth::All, attest).await;
    seen.clocks.now =
        probe::wall_clock().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let nodes = targets.into_iter().zip(verdicts);
    seen.nodes =
        nodes.map(|(target, verdict)| NodeSeen { group: target.group, name: target.name, verdict }).collect();
    seen.beacons = all(beacons).await;
    seen.places = all(places).await;
    seen.clocks.synchronized = synchronized.await.ok().flatten();
    seen.clocks.nodes = seen.nodes.iter().map(clock).collect();
    let of_beacon =
        |it: &BeaconSeen| NodeClock { name: nodes::place(&it.group, &it.name), skew: it.skew, head: None };
    seen.clocks.nodes.extend(seen.beacons.iter().map(of_beacon));
    seen
}

fn clock(node: &NodeSeen) -> NodeClock {
    let answers = &node.verdict.answers;
    NodeClock {
        name: nodes::place(&node.group, &node.name),
        skew: answers.skew,
        head: answers.head.as_ref().map(|block| block.time),
    }
}

/// What a role's instance is called: `engine`, or `engine home`.
fn label(role: &PlannedRole, config: &dyn Configured) -> String {
    let kind = role.kind.section.name;
    if config.name() == kind { kind.to_owned() } else { format!("{kind} {}", config.name()) }
}

fn named(role: &PlannedRole, group: &str, targets: Vec<Target>) -> impl Iterator<Item = Target> {
    // A guard has the name of its beacon node, and of its execution node.
    let is_beacon = role.kind.section.name == mainstay_beacon::SECTION.name;
    targets.into_iter().map(move |target| Target {
        group: group.to_owned(),
        name: if is_beacon { format!("{} (execution node)", target.name) } else { target.name },
        ..target
    })
}

/// Who is called besides nodes that are probed.
fn others(
    config: &dyn Configured,
    group: &str,
    attest: Option<&Attestation>,
    beacons: &mut Vec<JoinHandle<BeaconSeen>>,
    places: &mut Vec<JoinHandle<PlaceSeen>>,
) {
    for (key, name, url) in config.called() {
        let (group, url, attest) = (group.to_owned(), url.clone(), attest.cloned());
        match key {
            "nodes" | "execution_node" => {}
            "beacon_node" => beacons.push(tokio::spawn(beacons::observe(group, name, url, attest))),
            _ => places.push(tokio::spawn(places::link(group, name, url, attest))),
        }
    }
    for peer in config.peers() {
        places.push(tokio::spawn(places::peer(group.to_owned(), peer)));
    }
    for kept in config.kept() {
        places.push(tokio::spawn(places::store(group.to_owned(), kept)));
    }
}

/// How many files a role's clients may have open: a connection of theirs, and one to a node.
fn files(role: &PlannedRole, config: &dyn Configured) -> u64 {
    let keys = ["max_connections", "max_legs"];
    let clients =
        keys.iter().find_map(|key| role.settings.section().key(key).and_then(|_| role.settings.integer(key)));
    let clients = clients.and_then(|clients| u64::try_from(clients).ok()).unwrap_or_default();
    clients.saturating_mul(2).saturating_mul(config.listens().len() as u64)
}

async fn all<T>(asked: Vec<JoinHandle<T>>) -> Vec<T> {
    let mut seen = Vec::with_capacity(asked.len());
    for one in asked {
        seen.extend(one.await.ok());
    }
    seen
}

/// Whether the system says that its clock is kept by NTP; `None`: it doesn't say.
async fn synchronized() -> Option<bool> {
    let mut command = tokio::process::Command::new("timedatectl");
    command.args(["show", "--property=NTPSynchronized", "--value"]).kill_on_drop(true);
    let told = tokio::time::timeout(SYSTEM, command.output()).await.ok()?.ok()?;
    match String::from_utf8_lossy(&told.stdout).trim() {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::finding::Weight;
    use super::*;

    #[test]
    fn a_secret_that_is_wrong_is_told_once() {
        let secret = SecretFile {
            path: "/s/jwt.hex".into(),
            named: "m.toml:3".to_owned(),
            fault: None,
            about: Err("No such file".to_owned()),
        };
        let problems =
            ["m.toml:3: [engine] jwt_secret: cannot read /s/jwt.hex", "m.toml:9: [rpc] nodes: missing"];
        let seen = Observed {
            problems: problems.map(str::to_owned).into(),
            secrets: vec![secret],
            limits: Limits { files: Some(65536), ..Limits::default() },
            ..Observed::default()
        };
        let findings = diagnose(&seen);
        let failed: Vec<_> = findings
            .iter()
            .filter(|it| it.weight == Weight::Fail)
            .map(|it| (it.area, it.what.as_str()))
            .collect();
        assert_eq!(failed, [("configuration", problems[1]), ("secrets", "No such file")]);
        assert!(findings.iter().all(|it| it.weight == Weight::Ok || !it.remedy.is_empty()));
    }

    #[test]
    fn findings_are_in_order() {
        let findings = diagnose(&Observed { summary: "all of it".to_owned(), ..Observed::default() });
        let areas: Vec<_> = findings.iter().map(|it| it.area).collect();
        assert_eq!(areas, ["configuration", "limits"]);
        assert!(findings.iter().all(|it| AREAS.contains(&it.area)));
    }
}
