//! The command line, made from the tables of keys.

use clap::{Arg, ArgAction, ArgMatches, Command};
use mainstay_settings::{Flags, Key, Kind, Scope, Section};

use crate::attest;
use crate::check;
use crate::completions;
use crate::dev;
use crate::doctor;
use crate::dropin::{self, Extra};
use crate::evidence;
use crate::explain;
use crate::healthcheck;
use crate::man;
use crate::relay;
use crate::reload;
use crate::roles::{self, RoleKind};
use crate::sections::{ADMIN, ATTEST, LOG, TOP};
use crate::status;

/// The shared sections that every command with a configuration takes flags of.
pub(crate) static SHARED: [&Section; 4] = [&TOP, &LOG, &ADMIN, &ATTEST];

/// The whole command line.
pub(crate) fn command(name: &'static str) -> Command {
    let mut command = Command::new(name)
        .version(env!("CARGO_PKG_VERSION"))
        .propagate_version(true)
        .about("Keeps blockchain nodes dependable for whoever depends on them")
        .after_help(
            "A setting is taken from its flag, else from its MAINSTAY_… variable, else from the config file.\n\
             `mainstay COMMAND --help` lists them all.",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(shared_args(
            Command::new("run").about("Run every role of the config file in one process"),
            false,
        ));
    for kind in roles::KINDS {
        let role = role_command(kind, "Run the role alone: ");
        let is_relay = kind.section.name == mainstay_relay::SECTION.name;
        command = command.subcommand(if is_relay { relay::subcommands(role) } else { role });
    }
    command
        .subcommand(dev::subcommand())
        .subcommand(check::args(inspecting(
            Command::new("check")
                .about("Check the configuration and its secrets without starting anything")
                .arg(Arg::new("probe").long("probe").global(true).action(ArgAction::SetTrue).help(
                    "Ask every node too: reachable, secret accepted, clock, chain, client, capabilities",
                )),
            "Check the role as its flags say: ",
        )))
        .subcommand(inspecting(
            Command::new("config")
                .about(
                    "Print the configuration as it comes out, and where each value is from, without secrets",
                )
                .arg(
                    Arg::new("json")
                        .long("json")
                        .global(true)
                        .action(ArgAction::SetTrue)
                        .help("As JSON instead of TOML"),
                ),
            "Print the role's as its flags say: ",
        ))
        .subcommand(inspecting(doctor::subcommand(), "Examine the role as its flags say: "))
        .subcommand(attest::subcommand())
        .subcommand(evidence::subcommand())
        .subcommand(explain::subcommand())
        .subcommand(status::subcommand())
        .subcommand(reload::subcommand())
        .subcommand(healthcheck::subcommand())
        .subcommand(Command::new("schema").about("Print the JSON Schema of the config file"))
        .subcommand(completions::subcommand())
        .subcommand(man::subcommand())
}

/// A command that looks at the configuration of a file, or of a role's flags.
fn inspecting(command: Command, about: &'static str) -> Command {
    let mut command =
        shared_args(command, true).subcommand_value_name("ROLE").subcommand_help_heading("Roles");
    let own: Vec<String> =
        command.get_arguments().filter_map(|arg| Some(arg.get_long()?.to_owned())).collect();
    for kind in roles::KINDS {
        let role = Command::new(kind.section.name).about(format!("{about}{}", kind.section.about));
        command = command.subcommand(role_args(role, kind, &own));
    }
    command
}

fn role_command(kind: &RoleKind, about: &str) -> Command {
    let command = Command::new(kind.section.name)
        .display_name("mainstay")
        .about(format!("{about}{}", kind.section.about));
    shared_args(role_args(command, kind, &[]), false)
}

/// `--config` and the flags of the shared sections. `global`: a role's subcommand takes them too.
fn shared_args(command: Command, global: bool) -> Command {
    let mut command = command.arg(
        Arg::new("config")
            .long("config")
            .short('c')
            .value_name("FILE")
            .global(global)
            .help("The config file [variable: MAINSTAY_CONFIG]"),
    );
    for section in SHARED {
        for key in section.plain_keys() {
            let heading = if section.name == ATTEST.name { "Nodes that attest" } else { "Process" };
            command = command.arg(key_arg(section, key).global(global).help_heading(heading));
        }
    }
    command
}

/// `taken`: long flags that mean something else here, another program's or not.
fn role_args(mut command: Command, kind: &RoleKind, taken: &[String]) -> Command {
    for key in kind.section.plain_keys() {
        let mut arg = key_arg(kind.section, key);
        for extra in kind.extra {
            match extra {
                Extra::Alias { key: of, flag, short } if *of == key.name => {
                    arg = arg.visible_alias(*flag);
                    if key.short.is_none() {
                        arg = arg.short(*short);
                    }
                }
                _ => {}
            }
        }
        command = command.arg(arg);
    }
    for extra in kind.extra {
        let free = |arg: &Arg| arg.get_long().is_none_or(|long| !taken.iter().any(|taken| taken == long));
        command = command.args(dropin::arg(extra).into_iter().filter(free));
    }
    command
}

/// A key's flag. Values stay text here: the table's one reader checks them, wherever they come from.
pub(crate) fn key_arg(section: &Section, key: &Key) -> Arg {
    flag_arg(section, key, &format!(" [variable: {}]", section.variable(key.name)))
}

/// A key's flag in a command that takes no variable for it.
pub(crate) fn flag_only(section: &Section, key: &Key) -> Arg {
    flag_arg(section, key, "")
}

fn flag_arg(section: &Section, key: &Key, note: &str) -> Arg {
    let mut help = format!("{}{note}", key.help);
    if let Some(default) = key.default.filter(|_| !matches!(key.kind, Kind::Switch)) {
        help.push_str(&format!(" [default: {default}]"));
    }
    let mut arg =
        Arg::new(id(section, key)).long(section.flag(key.name)).value_name(key.kind.placeholder()).help(help);
    if let Some(short) = key.short {
        arg = arg.short(short);
    }
    match key.kind {
        Kind::Switch => arg.num_args(0..=1).require_equals(true).default_missing_value("true"),
        Kind::List(_) => arg.action(ArgAction::Append),
        // A negative one is told to be out of bounds, not to be a flag that there is none of.
        _ => arg.allow_negative_numbers(true),
    }
}

/// An argument's id. Roles have a subcommand each, so theirs need no prefix.
fn id(section: &Section, key: &Key) -> String {
    match section.scope {
        Scope::Role => key.name.to_owned(),
        Scope::Shared | Scope::Top | Scope::Nested => format!("{}.{}", section.name, key.name),
    }
}

/// What the command line says of `section`.
pub(crate) fn flags(section: &Section, matches: &ArgMatches) -> Flags {
    let mut flags = Flags::default();
    for key in section.plain_keys() {
        let id = id(section, key);
        if let Ok(Some(values)) = matches.try_get_many::<String>(&id) {
            let flag = format!("--{}", section.flag(key.name));
            flags.set(key.name, flag, values.cloned().collect());
        }
    }
    flags
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_make_a_sound_command_line() {
        command("mainstay").debug_assert();
    }
}
