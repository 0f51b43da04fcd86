//! `mainstay status`: what a running mainstay says of itself, on the terminal.

mod page;
mod screen;
mod seen;
mod terminal;
mod watch;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use clap::{Arg, ArgAction, ArgMatches, Command};
use mainstay_settings::{File, Instance, Origin, Problem, ReadError, Sources, read_text, resolve};
use mainstay_wire::client::HttpReply;
use serde_json::Value;
use tokio::time::Instant;

use crate::ask::Asked;
use crate::cli;
use crate::plan::{self, Environment};
use crate::run::refuse;
use crate::sections::ADMIN;
use crate::show::print;

pub(crate) use self::page::span;

/// The most that is read of a token's file.
const LONGEST_TOKEN: u64 = 4096;
/// How long the admin listener may take to answer.
const TIMEOUT: Duration = Duration::from_secs(5);
const ROLES: &str = "/api/v1/roles";

/// Its command line.
pub(crate) fn subcommand() -> Command {
    asking(
        Command::new("status")
            .about("Show the roles of a running mainstay: every node or guard, its checks, what changed last, who leads")
            .after_help(
                "Exit status: 0 if every role serves, 1 if one is down, 2 if nobody answers. With --watch 0, once it is ended by \
                 Ctrl-C or SIGTERM.",
            )
            .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("The API's answer as it is"))
            .arg(Arg::new("watch").long("watch").short('w').action(ArgAction::SetTrue).help(
                "Go on, asking each second: all of the terminal, or without one a page for each change; with --json a line for each. \
                 While nobody answers it says so and asks on",
            )),
    )
}

/// A command that asks a running mainstay: what says where it is.
pub(crate) fn asking(mut command: Command) -> Command {
    command = command.arg(
        Arg::new("config")
            .long("config")
            .short('c')
            .value_name("FILE")
            .help("The config file whose [admin] says where to ask [variable: MAINSTAY_CONFIG]"),
    );
    for key in ["listen", "tls_cert", "tls_key", "tls_ca"].into_iter().filter_map(|name| ADMIN.key(name)) {
        command = command.arg(cli::key_arg(&ADMIN, key));
    }
    command
}

/// The same for one that changes something, which takes a token if it is on another machine.
pub(crate) fn changing(command: Command) -> Command {
    let help = "File with the admin listener's token, if that is on another machine";
    asking(command).arg(Arg::new("token").long("token-file").value_name("PATH").help(help))
}

/// Where such a command asks, and with which token. If that can't be known, it was told, and this is the status to end with.
pub(crate) fn whom(
    matches: &ArgMatches,
    environment: &Environment,
) -> Result<(Asked, Option<String>), ExitCode> {
    let address = address(matches, environment).map_err(|problems| refuse(&problems))?;
    let token = matches.get_one::<String>("token").map(|path| token(Path::new(path))).transpose();
    let token = token.map_err(|why| {
        eprintln!("error: --token-file: {why}");
        ExitCode::from(crate::WRONG_CONFIG)
    })?;
    Ok((address, token))
}

/// The admin listener's token, from a file.
fn token(path: &Path) -> Result<String, String> {
    match read_text(path, LONGEST_TOKEN) {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(ReadError::Io(why)) => Err(format!("{}: {why}", path.display())),
        Err(ReadError::TooLong | ReadError::NotText) => Err(format!("{}: this is no token", path.display())),
    }
}

/// Runs it.
pub(crate) fn command(matches: &ArgMatches, environment: &Environment) -> ExitCode {
    let address = match address(matches, environment) {
        Ok(address) => address,
        Err(problems) => return refuse(&problems),
    };
    if matches.get_flag("watch") {
        return watch::command(&address, matches.get_flag("json"));
    }
    let roles = match waited(ask(&address)) {
        Ok(roles) => roles,
        Err(why) => return nobody(&address, &why),
    };
    let text = if matches.get_flag("json") { format!("{roles:#}\n") } else { page::draw(&roles) };
    let shown = print(&text);
    if page::any_down(&roles) { ExitCode::FAILURE } else { shown }
}

/// Waits for an answer.
pub(crate) fn waited<T>(asking: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|why| format!("cannot start asking: {why}"))?.block_on(asking)
}

/// There was no answer.
pub(crate) fn nobody(address: &Asked, why: &str) -> ExitCode {
    eprintln!("error: {address}: {why}, is mainstay running with --admin-listen {address}?");
    ExitCode::from(crate::WRONG_CONFIG)
}

async fn ask(address: &Asked) -> Result<Value, String> {
    call(address, http::Method::GET, ROLES, None).await
}

/// One call of the admin API; `token` if it changes something on another machine. Fails with what its answer says.
pub(crate) async fn call(
    address: &Asked,
    method: http::Method,
    path: &str,
    token: Option<&str>,
) -> Result<Value, String> {
    let reply = exchange(address, false, method, path, token).await?;
    let answer: Option<Value> = serde_json::from_slice(&reply.body).ok();
    if reply.status != http::StatusCode::OK {
        let told = answer.as_ref().and_then(|answer| answer["error"]["message"].as_str());
        return Err(told.map_or_else(|| format!("HTTP {}", reply.status.as_u16()), str::to_owned));
    }
    answer.ok_or_else(|| "its answer is no JSON".to_owned())
}

/// The admin listener's answer, whatever it is; `believe_anyone` as in [`Asked::client`].
pub(crate) async fn exchange(
    address: &Asked,
    believe_anyone: bool,
    method: http::Method,
    path: &str,
    token: Option<&str>,
) -> Result<HttpReply, String> {
    let client = address.client(believe_anyone)?;
    let mut request = http::Request::builder().method(method).uri(path);
    if let Some(token) = token {
        request = request.header(http::header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let request = request.body(Bytes::new()).map_err(|why| why.to_string())?;
    client.send(request, Instant::now() + TIMEOUT).await.map_err(|why| why.to_string())
}

/// Where to ask: as for any setting the flag wins over the variable, that over the file.
pub(crate) fn address(matches: &ArgMatches, environment: &Environment) -> Result<Asked, Vec<Problem>> {
    let flags = cli::flags(&ADMIN, matches);
    // What the flag says stands, whatever is wrong with a file that happens to lie here.
    let path = if flags.has("listen") { None } else { plan::named_file(matches, environment) };
    let file = path.map(|path| File::read(&path)).transpose()?;
    let instance: Option<Instance<'_>> =
        file.as_ref().and_then(|file| file.instances(ADMIN.name).first().copied());
    let sources =
        Sources { file: instance, variables: Some(&environment.variables), fallbacks: &[], flags: &flags };
    let mut problems = Vec::new();
    let settings = resolve(&ADMIN, &sources, &mut problems);
    // What is wrong would else be asked at the default address.
    if !problems.is_empty() {
        return Err(problems);
    }
    Asked::of(&settings).ok_or_else(|| {
        let what = "the admin listener is off there, so there is nobody to ask".to_owned();
        let origin = match settings.origin("listen") {
            Origin::Default => Origin::Flag("--admin-listen".to_owned()),
            set => set.clone(),
        };
        vec![Problem { origin, key: String::new(), what }]
    })
}
