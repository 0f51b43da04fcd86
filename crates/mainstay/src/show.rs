//! `mainstay config` and `mainstay schema`: what the tables and the sources come to.

use std::io::Write;
use std::process::ExitCode;

use clap::ArgMatches;
use mainstay_settings::{describe_json, describe_toml, schema as schema_of};
use serde_json::{Map, Value, json};

use crate::plan::{Environment, Plan};
use crate::run::sound_plan;
use crate::{roles, sections};

/// `mainstay config`: the configuration as it comes out.
pub(crate) fn config(matches: &ArgMatches, environment: &Environment) -> ExitCode {
    let (role, matches) = role_of(matches);
    let plan = match sound_plan(role, matches, environment) {
        Ok(plan) => plan,
        Err(status) => return status,
    };
    print(&if matches.get_flag("json") { json_text(&plan) } else { toml_text(&plan) })
}

/// `mainstay schema`: the JSON Schema of the config file.
pub(crate) fn schema() -> ExitCode {
    print(&pretty(&schema_of("Configuration of mainstay", &sections::all())))
}

/// The role whose subcommand stands behind `check` or `config`, with the matches that hold its flags.
pub(crate) fn role_of(matches: &ArgMatches) -> (Option<&'static roles::RoleKind>, &ArgMatches) {
    match matches.subcommand() {
        Some((name, inner)) => (roles::kind(name), inner),
        None => (None, matches),
    }
}

fn toml_text(plan: &Plan) -> String {
    let mut parts = vec![describe_toml(&plan.top, false)];
    for settings in [&plan.log, &plan.admin, &plan.attestation] {
        parts.push(describe_toml(settings, false));
    }
    for role in &plan.roles {
        parts.push(describe_toml(&role.settings, role.many));
    }
    parts.join("\n")
}

fn json_text(plan: &Plan) -> String {
    let mut all: Map<String, Value> = match describe_json(&plan.top) {
        Value::Object(keys) => keys,
        _ => Map::new(),
    };
    all.insert("log".into(), describe_json(&plan.log));
    all.insert("admin".into(), describe_json(&plan.admin));
    all.insert("attest".into(), describe_json(&plan.attestation));
    for role in &plan.roles {
        // Always an array, so that a reader needs to know only one form.
        let instances = all.entry(role.kind.section.name).or_insert_with(|| json!([]));
        if let Value::Array(instances) = instances {
            instances.push(describe_json(&role.settings));
        }
    }
    pretty(&Value::Object(all))
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

/// Prints; a reader that goes away early is no error.
pub(crate) fn print(text: &str) -> ExitCode {
    let _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}
