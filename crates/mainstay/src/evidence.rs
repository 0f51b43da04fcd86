//! `mainstay evidence`: looks at what the engine kept of disagreements, and asks a node again.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::{Arg, ArgMatches, Command};
use mainstay_execution::evidence::StoreError;
use mainstay_execution::evidence::commands::{self, CommandError};
use mainstay_settings::{File, Flags, Instance, Origin, Problem, Sources, resolve};
use mainstay_wire::jwt::Secret;
use url::Url;

use crate::plan::{self, Environment};
use crate::run::refuse;
use crate::show::print;

/// How long a node may take to answer; more than the specification gives it for any call.
const REPLAY_TIMEOUT: Duration = Duration::from_secs(15);
/// The key of `[engine]` that says where records are.
const KEY: &str = "evidence_dir";

/// Its command line.
pub(crate) fn subcommand() -> Command {
    let id = || {
        let help = "The record's ID as `list` shows it; its beginning is enough if no other has it";
        Arg::new("id").value_name("ID").required(true).help(help)
    };
    Command::new("evidence")
        .about("Look at the records of split votes and late dissent, and put one to a node again")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .arg(
            Arg::new(KEY)
                .long("evidence-dir")
                .value_name("DIR")
                .global(true)
                .help("Folder with the records [default: evidence_dir of the config's [engine]]"),
        )
        .arg(
            Arg::new("config")
                .long("config")
                .short('c')
                .value_name("FILE")
                .global(true)
                .help("The config file whose [engine] says the folder [variable: MAINSTAY_CONFIG]"),
        )
        .subcommand(Command::new("list").about("One line a record, oldest first"))
        .subcommand(Command::new("show").about("Who said what, and when").arg(id()))
        .subcommand(
            Command::new("replay")
                .about("Send a record's request to a node again, as it was, and compare")
                .after_help(
                    "Replaying a newPayload asks the node to check the block. Replaying a forkchoiceUpdated MOVES THAT \
                     NODE'S HEAD to the record's block: use a node that no validator depends on.",
                )
                .arg(id())
                .arg(
                    Arg::new("node")
                        .long("node")
                        .value_name("URL")
                        .required(true)
                        .help("Engine API URL of the node to ask, for example http://127.0.0.1:8551"),
                )
                .arg(
                    Arg::new("jwt-secret")
                        .long("jwt-secret")
                        .short('j')
                        .value_name("FILE")
                        .help("File with the node's secret (64 hex digits); without it no token is sent"),
                ),
        )
}

/// Runs it. Status 2 if what was asked for is not there or can't be read so, 1 if asking failed.
pub(crate) fn command(matches: &ArgMatches, environment: &Environment) -> ExitCode {
    let Some((name, inner)) = matches.subcommand() else { return ExitCode::from(crate::WRONG_CONFIG) };
    let dir = match folder(inner, environment) {
        Ok(dir) => dir,
        Err(problems) => return refuse(&problems),
    };
    let id = || inner.get_one::<String>("id").map_or("", String::as_str);
    let done = match name {
        "list" => commands::list(&dir),
        "show" => commands::show(&dir, id()),
        _ => return replay(&dir, id(), inner),
    };
    tell(&dir, done)
}

fn replay(dir: &Path, id: &str, matches: &ArgMatches) -> ExitCode {
    let mut problems = Vec::new();
    let wrong = |flag: &str, what: String| Problem {
        origin: Origin::Flag(flag.to_owned()),
        key: String::new(),
        what,
    };
    // The URL itself may hold a password: it isn't quoted.
    let node = matches.get_one::<String>("node").and_then(|text| Url::parse(text.trim()).ok());
    if node.is_none() {
        problems.push(wrong("--node", "expected a URL, for example http://127.0.0.1:8551".to_owned()));
    }
    let secret = matches.get_one::<String>("jwt-secret").and_then(|path| {
        let read = Secret::from_file(Path::new(path));
        read.map_err(|why| problems.push(wrong("--jwt-secret", why.to_string()))).ok()
    });
    let (Some(node), true) = (node, problems.is_empty()) else { return refuse(&problems) };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(why) => {
            eprintln!("error: cannot start asking: {why}");
            return ExitCode::FAILURE;
        }
    };
    let asked = commands::replay(dir, id, &node, secret.as_ref(), wall_clock(), REPLAY_TIMEOUT);
    let done = runtime.block_on(asked);
    // A name being looked up blocks a thread; nobody waits for it.
    runtime.shutdown_background();
    tell(dir, done)
}

fn tell(dir: &Path, done: Result<String, CommandError>) -> ExitCode {
    let why = match done {
        Ok(text) => return print(&text),
        Err(why) => why,
    };
    match &why {
        CommandError::Store(StoreError::NoSuch(_)) => eprintln!("error: {}: {why}", dir.display()),
        _ => eprintln!("error: {why}"),
    }
    match why {
        CommandError::Store(StoreError::NoSuch(_) | StoreError::Io { .. }) | CommandError::Node(_) => {
            ExitCode::from(crate::WRONG_CONFIG)
        }
        _ => ExitCode::FAILURE,
    }
}

/// Where the records are: as for any setting the flag wins over the variable, that over the file.
fn folder(matches: &ArgMatches, environment: &Environment) -> Result<PathBuf, Vec<Problem>> {
    let mut flags = Flags::default();
    if let Some(dir) = matches.get_one::<String>(KEY) {
        flags.set(KEY, "--evidence-dir", vec![dir.clone()]);
    }
    // What the flag says stands, whatever is wrong with a file that happens to lie here.
    let path = match flags.has(KEY) {
        true => None,
        false => plan::named_file(matches, environment),
    };
    let file = path.map(|path| File::read(&path)).transpose()?;
    let instances = file.as_ref().map_or_else(Vec::new, |file| file.instances(mainstay_engine::SECTION.name));
    let mut named = Vec::new();
    let several = instances.len() > 1;
    let sections: Vec<Option<Instance<'_>>> =
        if instances.is_empty() { vec![None] } else { instances.into_iter().map(Some).collect() };
    for section in sections {
        let variables = (!several).then_some(&environment.variables);
        let sources = Sources { file: section, variables, fallbacks: &[], flags: &flags };
        // Whether the engine could start with the rest doesn't matter here.
        let mut found = Vec::new();
        let settings = resolve(&mainstay_engine::SECTION, &sources, &mut found);
        let title = mainstay_engine::SECTION.title(KEY);
        let variable = mainstay_engine::SECTION.variable(KEY);
        found.retain(|problem| match &problem.origin {
            Origin::Flag(_) => true,
            Origin::Variable(name) => *name == variable,
            _ => problem.key == title,
        });
        if !found.is_empty() {
            return Err(found);
        }
        named.extend(settings.path(KEY).map(Path::to_owned));
    }
    named.dedup();
    let what = match (named.pop(), named.is_empty(), &file) {
        (Some(dir), true, _) => return Ok(dir),
        (Some(_), false, _) => "several [[engine]] keep evidence, say which with --evidence-dir DIR",
        (None, _, Some(_)) => "no [engine] has an evidence_dir, give --evidence-dir DIR",
        (None, _, None) => "where is it kept? Give --evidence-dir DIR, or --config FILE",
    };
    let origin = file.as_ref().map_or(Origin::Default, |file| file.top().origin());
    Err(vec![Problem { origin, key: String::new(), what: what.to_owned() }])
}

#[allow(clippy::disallowed_methods, reason = "a token holds the time")]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}
