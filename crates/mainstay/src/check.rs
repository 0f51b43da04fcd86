//! `mainstay check`: is the configuration right, and with `--probe` are the nodes; with `--nodeos` are a node's own settings.

mod nodeos;

use std::process::ExitCode;

use clap::{ArgMatches, Command};

use crate::plan::{Environment, Plan};
use crate::probe;
use crate::run::sound_plan;
use crate::show::role_of;

/// What it takes besides a configuration.
pub(crate) fn args(command: Command) -> Command {
    nodeos::args(command)
}

/// Runs the check. Status 2 if the configuration is wrong, 1 if a node failed its probe.
pub(crate) fn command(matches: &ArgMatches, environment: &Environment) -> ExitCode {
    if let Some(file) = nodeos::asked(matches) {
        return nodeos::command(file, matches);
    }
    let (role, matches) = role_of(matches);
    let plan = match sound_plan(role, matches, environment) {
        Ok(plan) => plan,
        Err(status) => return status,
    };
    println!("ok: {}", summary(&plan));
    if !matches.get_flag("probe") {
        return ExitCode::SUCCESS;
    }
    let targets = plan
        .roles
        .iter()
        .filter_map(|role| role.config.as_ref())
        .flat_map(|config| config.targets())
        .collect();
    if probe::command(targets, plan.attest()) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What the configuration consists of.
pub(crate) fn summary(plan: &Plan) -> String {
    let mut parts = Vec::new();
    for role in &plan.roles {
        if let Some(config) = &role.config {
            let name = role.kind.section.name;
            let listens: Vec<String> = config.listens().iter().map(ToString::to_string).collect();
            parts.push(format!("{name} on {} with {}", listens.join(", "), config.summary()));
        }
    }
    match plan.admin_config.as_ref().and_then(|admin| admin.listen.as_ref()) {
        Some(listen) => parts.push(format!("admin on {listen}")),
        None => parts.push("admin off".to_owned()),
    }
    if let Some(listen) = plan.admin_config.as_ref().and_then(|admin| admin.metrics_listen.as_ref()) {
        parts.push(format!("metrics on {listen}"));
    }
    let file = plan.file.as_ref().map(|file| format!("{}: ", file.display())).unwrap_or_default();
    format!("{file}{}", parts.join("; "))
}
