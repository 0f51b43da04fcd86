//! The whole configuration of a process, taken together and validated before anything is bound.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::ArgMatches;
use mainstay_attested::{Attester, Keeper};
use mainstay_settings::{
    File, Flags, Instance, Listen, Origin, Problem, Section, Settings, Sources, Variables, check_file,
    check_variables, resolve, sort_problems,
};
use mainstay_wire::client::Attestation;

use crate::admin::{self, AdminConfig};
use crate::attest;
use crate::cli;
use crate::dropin::{self, Given, sync_proxy};
use crate::logging::{self, LogConfig};
use crate::roles::{self, Configured, RoleKind, unjudged};
use crate::sections::{self, ADMIN, ATTEST, LOG, TOP};

/// The variable that names the config file.
const CONFIG_VARIABLE: &str = "MAINSTAY_CONFIG";
/// Where `run` looks if nothing names a file.
const DEFAULT_FILE: &str = "mainstay.toml";

/// What is taken of the process's environment.
#[derive(Clone)]
pub(crate) struct Environment {
    pub(crate) variables: Variables,
    /// Variables of ours whose value is not UTF-8.
    unreadable: Vec<String>,
}

impl Environment {
    /// Reads the environment once.
    pub(crate) fn of_process() -> Self {
        let mut environment = Self { variables: BTreeMap::new(), unreadable: Vec::new() };
        for (name, value) in std::env::vars_os() {
            let Ok(name) = name.into_string() else { continue };
            let foreign = dropin::is_known_variable(&name)
                || attest::is_known_variable(&name)
                || mainstay_otel::is_known_variable(&name);
            if !name.starts_with("MAINSTAY_") && name != logging::RUST_LOG && !foreign {
                continue;
            }
            match value.into_string() {
                Ok(value) => {
                    environment.variables.insert(name, value);
                }
                // It may be meant for another program; if it is for us its reader will not like what it gets.
                Err(value) if foreign => {
                    environment.variables.insert(name, value.to_string_lossy().into_owned());
                }
                Err(_) => environment.unreadable.push(name),
            }
        }
        environment
    }
}

/// One role of the plan.
pub(crate) struct PlannedRole {
    pub(crate) kind: &'static RoleKind,
    pub(crate) settings: Settings,
    /// Whether it is one of several `[[…]]`.
    pub(crate) many: bool,
    /// `None` if there is a problem with it.
    pub(crate) config: Option<Box<dyn Configured>>,
}

/// The configuration as it came out, with everything that is wrong with it.
pub(crate) struct Plan {
    /// The file that was read.
    pub(crate) file: Option<PathBuf>,
    pub(crate) top: Settings,
    pub(crate) log: Settings,
    pub(crate) admin: Settings,
    pub(crate) attestation: Settings,
    pub(crate) roles: Vec<PlannedRole>,
    pub(crate) log_config: Option<LogConfig>,
    pub(crate) admin_config: Option<AdminConfig>,
    /// What verdicts on nodes that are to prove what they run rest on.
    pub(crate) keeper: Option<Arc<Keeper>>,
    /// What is exported by OTLP.
    pub(crate) otel: Option<mainstay_otel::Config>,
    /// Run prio-load-balancer's mock node too.
    pub(crate) mock_node: bool,
    /// The binary was called under another program's name, which has no admin listener.
    stand_in: bool,
    /// What the program that mainstay stands in for logs before it ends with status 1, instead of our status for a wrong
    /// configuration.
    pub(crate) fatal: Option<&'static str>,
    /// In the order in which a reader meets them. Nothing may be started unless it is empty.
    pub(crate) problems: Vec<Problem>,
    /// To be told on stderr, whatever happens.
    pub(crate) warnings: Vec<String>,
}

impl Plan {
    /// Takes the configuration together for all roles of the file (`role` is `None`), or for one
    /// role from its flags. Fails only where the file can't be read at all.
    pub(crate) fn make(
        role: Option<&'static RoleKind>,
        matches: &ArgMatches,
        environment: &Environment,
    ) -> Result<Self, Vec<Problem>> {
        let file = match config_path(role, matches, environment)? {
            Some(path) => Some(File::read(&path)?),
            None => None,
        };
        let mut problems: Vec<Problem> = environment.unreadable.iter().map(|name| unreadable(name)).collect();
        if let Some(file) = &file {
            check_file(file, &sections::all(), &mut problems);
        }

        let section = role.map(|kind| kind.section);
        let mut given = Given::new(section, matches, environment.variables.clone());
        if let Some(kind) = role {
            dropin::apply(kind.extra, matches, &mut given, &mut problems);
        }
        let resolve_shared = |section: &'static Section, instance, problems: &mut Vec<Problem>| {
            let rust_log = std::iter::once(("level", logging::RUST_LOG));
            let (flags, fallbacks, defaults) = if section.name == LOG.name {
                let fallbacks = given.log_fallbacks.iter().copied().chain(rust_log).collect();
                (given.log.clone(), fallbacks, given.log_defaults.as_slice())
            } else if section.name == ATTEST.name {
                (cli::flags(section, matches), attest::allowed_by_variables(&given.variables), &[][..])
            } else if section.name == ADMIN.name {
                (given.admin.clone(), given.admin_fallbacks.clone(), &[][..])
            } else {
                (cli::flags(section, matches), Vec::new(), &[][..])
            };
            let sources = Sources {
                file: instance,
                variables: Some(&given.variables),
                fallbacks: &fallbacks,
                flags: &flags,
            };
            let fallbacks = with_defaults(section, &sources, defaults);
            resolve(section, &Sources { fallbacks: &fallbacks, ..sources }, problems)
        };
        let first = |section: &Section| {
            let file = file.as_ref()?;
            file.instances(section.name).first().copied()
        };
        let top = resolve_shared(&TOP, file.as_ref().map(File::top), &mut problems);
        let log = resolve_shared(&LOG, first(&LOG), &mut problems);
        let admin = resolve_shared(&ADMIN, first(&ADMIN), &mut problems);
        let attestation = resolve_shared(&ATTEST, first(&ATTEST), &mut problems);

        let roles = match role {
            None => roles_of_file(file.as_ref(), &given.variables, &mut problems),
            Some(kind) => vec![role_of_flags(kind, file.as_ref(), &given, &mut problems)],
        };
        check_variables(&given.variables, &counted(role, &roles), &[CONFIG_VARIABLE], &mut problems);

        let mut plan = Self {
            file: file.map(|file| file.path().to_owned()),
            log_config: log.validate(&mut problems, logging::configure),
            admin_config: admin.validate(&mut problems, admin::configure),
            keeper: attestation.validate(&mut problems, attest::configure),
            otel: mainstay_otel::Config::read(&given.variables, &mut problems),
            top,
            log,
            admin,
            attestation,
            roles,
            mock_node: given.mock_node,
            stand_in: given.stand_in,
            fatal: None,
            problems,
            warnings: given.warnings,
        };
        plan.check_addresses();
        plan.check_certificates();
        plan.check_names();
        plan.judge_nodes();
        plan.name_service();
        plan.name_lack_of_builders();
        sort_problems(&mut plan.problems);
        Ok(plan)
    }

    /// Who judges nodes that are to prove what they run.
    pub(crate) fn attest(&self) -> Option<Attestation> {
        self.keeper.as_ref().map(|keeper| Attestation::new(Attester::new(keeper.clone())))
    }

    /// How long calls in flight may take to end.
    pub(crate) fn shutdown_grace(&self) -> Duration {
        self.top.duration("shutdown_grace").unwrap_or_default()
    }

    /// Where a new process takes over from this one.
    pub(crate) fn handover(&self) -> Option<&Path> {
        self.top.path("handover")
    }

    /// Who stands in for a program without an admin listener must not fail for its port's sake, unless it was asked for.
    pub(crate) fn can_do_without_admin(&self) -> bool {
        self.stand_in && !self.admin.is_set("listen")
    }

    /// Two listeners on one address would be found only when the second binds, by then too late to say who.
    fn check_addresses(&mut self) {
        let mut taken: Vec<(Listen, String)> = Vec::new();
        let taken_by = |taken: &[(Listen, String)], listen: &Listen| {
            let (_, other) = taken.iter().find(|(open, _)| clash(open, listen))?;
            let else_where = if listen.tcp().is_some() { "port" } else { "path" };
            Some(format!("{listen} is taken by {other} already, choose another {else_where}"))
        };
        if let Some(listen) = self.admin_config.as_ref().and_then(|admin| admin.listen.clone())
            && !self.can_do_without_admin()
        {
            taken.push((listen, format!("[admin] ({})", self.admin.origin("listen"))));
        }
        if let Some(listen) = self.admin_config.as_ref().and_then(|admin| admin.metrics_listen.clone())
            && !is_any_port(&listen)
        {
            if let Some(what) = taken_by(&taken, &listen) {
                self.problems.push(self.admin.problem("metrics_listen", what));
            }
            taken.push((listen, format!("[admin] ({})", self.admin.origin("metrics_listen"))));
        }
        for role in &self.roles {
            let Some(config) = &role.config else { continue };
            for (nth, listen) in config.listens().into_iter().enumerate() {
                if is_any_port(&listen) {
                    continue;
                }
                let problem = |what| config.listen_problem(&role.settings, nth, what);
                if let Some(what) = taken_by(&taken, &listen) {
                    self.problems.push(problem(what));
                }
                let name = role.kind.section.name;
                taken.push((listen, format!("[{name}] ({})", problem(String::new()).origin)));
            }
        }
    }

    /// A certificate with nobody to show it to: what comes over a unix socket is in the clear.
    fn check_certificates(&mut self) {
        let mut told = |settings: &Settings, listens: &[Listen]| {
            let unix = listens.iter().all(|listen| listen.unix().is_some()) && !listens.is_empty();
            if unix && settings.is_set("tls_cert") {
                let what = "is for what comes over TCP, and this listens on a unix socket, whose permissions say who may \
                            connect: leave out one of them";
                self.problems.push(settings.problem("tls_cert", what));
            }
        };
        for role in &self.roles {
            let listens = role.config.as_ref().map(|config| config.listens()).unwrap_or_default();
            told(&role.settings, &listens);
        }
        if let Some(admin) = &self.admin_config {
            let listens: Vec<Listen> =
                [&admin.listen, &admin.metrics_listen].into_iter().flatten().cloned().collect();
            told(&self.admin, &listens);
        }
    }

    /// In prio-load-balancer's log every line has the service, not only those of requests.
    fn name_service(&mut self) {
        let [role] = self.roles.as_slice() else { return };
        let service = role.settings.section().key("log_service").and_then(|key| role.settings.text(key.name));
        if let Some(log) = &mut self.log_config {
            log.service = service.map(str::to_owned);
        }
    }

    /// Who stands in for sync-proxy says in its words, and by its exit status, that it was given no builders.
    fn name_lack_of_builders(&mut self) {
        let [role] = self.roles.as_slice() else { return };
        if !self.stand_in || !sync_proxy::lacks_builders(&role.settings) {
            return;
        }
        let key = role.settings.section().title("nodes");
        for problem in self.problems.iter_mut().filter(|problem| problem.key == key) {
            problem.what = format!("{}, give them with --builders", sync_proxy::NO_BUILDERS);
            self.fatal = Some(sync_proxy::NO_BUILDERS);
        }
    }

    /// Nodes that are to prove what they run are never called by a role that can't have them judged.
    fn judge_nodes(&mut self) {
        self.warnings.extend(mainstay_attested::Config::warnings(&self.attestation));
        let attest = self.attest();
        for role in &mut self.roles {
            let Some(config) = &mut role.config else { continue };
            for (key, what) in unjudged(config.as_ref(), attest.as_ref()) {
                self.problems.push(role.settings.problem(key, what));
            }
            if let Some(attest) = &attest {
                config.attest_by(attest.clone());
            }
        }
    }

    /// Metrics and the API tell instances apart by name.
    fn check_names(&mut self) {
        let mut seen: Vec<(&str, &str)> = Vec::new();
        for role in &self.roles {
            let Some(config) = &role.config else { continue };
            let name = (role.kind.section.name, config.name());
            if seen.contains(&name) {
                let what =
                    format!("another [[{}]] is called \"{}\" too, give each its own name", name.0, name.1);
                self.problems.push(Problem {
                    origin: role.settings.origin("name").clone(),
                    key: role.settings.section().title("name"),
                    what,
                });
            }
            seen.push(name);
        }
    }
}

/// Whether two listeners could not both be bound.
fn clash(one: &Listen, other: &Listen) -> bool {
    match (one.tcp(), other.tcp()) {
        (Some(one), Some(other)) => {
            let any = one.ip().is_unspecified() || other.ip().is_unspecified();
            one.port() == other.port() && (one.ip() == other.ip() || any)
        }
        _ => one.unix().is_some() && one.unix() == other.unix(),
    }
}

/// Whether any port will do.
fn is_any_port(listen: &Listen) -> bool {
    listen.tcp().is_some_and(|address| address.port() == 0)
}

/// The file that the command line or the environment names, else the one that lies in this folder.
pub(crate) fn named_file(matches: &ArgMatches, environment: &Environment) -> Option<PathBuf> {
    given_file(matches, environment).or_else(|| {
        let path = Path::new(DEFAULT_FILE);
        path.exists().then(|| path.to_owned())
    })
}

fn given_file(matches: &ArgMatches, environment: &Environment) -> Option<PathBuf> {
    let variable = environment.variables.get(CONFIG_VARIABLE).filter(|path| !path.trim().is_empty());
    matches.get_one::<String>("config").or(variable).map(PathBuf::from)
}

/// Which file to read: one role needs none, a whole process does.
fn config_path(
    role: Option<&RoleKind>,
    matches: &ArgMatches,
    environment: &Environment,
) -> Result<Option<PathBuf>, Vec<Problem>> {
    if role.is_some() {
        return Ok(given_file(matches, environment));
    }
    if let Some(path) = named_file(matches, environment) {
        return Ok(Some(path));
    }
    Err(vec![Problem {
        origin: Origin::Default,
        key: String::new(),
        what: format!(
            "no config file, give --config FILE or {CONFIG_VARIABLE} (there is no {DEFAULT_FILE} in this folder)"
        ),
    }])
}

/// Every role of the file. A variable means the only instance of its role, so several take none.
fn roles_of_file(
    file: Option<&File>,
    variables: &Variables,
    problems: &mut Vec<Problem>,
) -> Vec<PlannedRole> {
    let Some(file) = file else { return Vec::new() };
    let flags = Flags::default();
    let mut planned = Vec::new();
    for kind in roles::KINDS {
        let instances = file.instances(kind.section.name);
        let many = instances.len() > 1;
        for instance in instances {
            let sources = Sources {
                file: Some(instance),
                variables: (!many).then_some(variables),
                fallbacks: &[],
                flags: &flags,
            };
            planned.push(plan_role(kind, &sources, many, problems));
        }
    }
    // A section that is misspelt has been told already.
    if planned.is_empty() && problems.is_empty() {
        let names: Vec<String> = roles::KINDS.iter().map(|kind| format!("[{}]", kind.section.name)).collect();
        problems.push(Problem {
            origin: file.top().origin(),
            key: String::new(),
            what: format!("has no role to run, add {}", names.join(" or ")),
        });
    }
    planned
}

/// One role from its flags, with its section of the file below them if a file is given.
fn role_of_flags(
    kind: &'static RoleKind,
    file: Option<&File>,
    given: &Given,
    problems: &mut Vec<Problem>,
) -> PlannedRole {
    let instances: Vec<Instance<'_>> = file.map_or_else(Vec::new, |file| file.instances(kind.section.name));
    if let [_, second, ..] = instances.as_slice() {
        let name = kind.section.name;
        problems.push(Problem {
            origin: second.origin(),
            key: format!("[[{name}]]"),
            what: format!(
                "`mainstay {name}` runs one and the file has {}, use `mainstay run`",
                instances.len()
            ),
        });
    }
    let sources = Sources {
        file: instances.first().copied(),
        variables: Some(&given.variables),
        fallbacks: &given.fallbacks,
        flags: &given.flags,
    };
    let fallbacks = with_defaults(kind.section, &sources, &given.defaults);
    plan_role(kind, &Sources { fallbacks: &fallbacks, ..sources }, false, problems)
}

/// The fallbacks, and another program's defaults of what nothing else sets: not even the file.
fn with_defaults<'a>(
    section: &'static Section,
    sources: &Sources<'a>,
    defaults: &[(&'static str, &'static str)],
) -> Vec<(&'a str, &'a str)> {
    let mut fallbacks = sources.fallbacks.to_vec();
    if !defaults.is_empty() {
        // What is wrong will be told when it is resolved with them.
        let set = resolve(section, sources, &mut Vec::new());
        fallbacks.extend(defaults.iter().filter(|(key, _)| !set.is_set(key)));
    }
    fallbacks
}

fn plan_role(
    kind: &'static RoleKind,
    sources: &Sources<'_>,
    many: bool,
    problems: &mut Vec<Problem>,
) -> PlannedRole {
    let settings = resolve(kind.section, sources, problems);
    let config = settings.validate(problems, kind.configure);
    PlannedRole { kind, settings, many, config }
}

/// How many instances of each section a variable could mean.
fn counted(role: Option<&RoleKind>, planned: &[PlannedRole]) -> Vec<(&'static Section, usize)> {
    let count = |section: &Section| match role {
        // The other roles' variables may be set for the process beside this one.
        Some(_) => 1,
        None => planned.iter().filter(|one| one.kind.section.name == section.name).count(),
    };
    sections::all().into_iter().map(|section| (section, count(section))).collect()
}

fn unreadable(name: &str) -> Problem {
    Problem {
        origin: Origin::Variable(name.to_owned()),
        key: String::new(),
        what: "is not UTF-8 text".to_owned(),
    }
}
