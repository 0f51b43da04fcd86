//! `mainstay relay tunnel`: beside a producing node, carries its connections to the relay over TLS with a client certificate.

use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use clap::{ArgMatches, Command};
use mainstay_relay::tunnel::{Config, Relay, serve};
use mainstay_settings::{Key, Kind, Origin, Problem, Section, Settings, Sources, resolve};
use mainstay_wire::client::{ServerName, Tls};
use mainstay_wire::socket::{Listener, Place, UnixSocket};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::logging::{self, LogConfig};
use crate::plan::Environment;
use crate::process::{Signals, cannot_listen};
use crate::run::{refuse, runtime};
use crate::sections::LOG;
use crate::{WRONG_CONFIG, cli};

/// Longer than this nobody waits for a relay while another one may be there.
const LONGEST_CONNECT: Duration = Duration::from_secs(60);

static TUNNEL: Section = Section::role(
    "tunnel",
    "A node's connections, carried to its relay over TLS",
    &[
        Key::new("listen", Kind::Text, "Where the node connects to: IP:PORT, or unix:PATH")
            .default("127.0.0.1:9876"),
        Key::new("listen_any", Kind::Switch, "Let --listen be an address that other machines reach")
            .default("false"),
        Key::new(
            "relay",
            Kind::List(&Kind::Text),
            "The relays, HOST:PORT or unix:PATH; a connection goes to the first that can be reached",
        ),
        Key::new(
            "cert",
            Kind::Path,
            "The certificate that the relay is shown, with the chain behind it (PEM)",
        ),
        Key::new("key", Kind::Path, "Its private key (PEM, not encrypted)"),
        Key::new(
            "ca",
            Kind::Path,
            "Who issues the relay's certificate (PEM); without it those whom the system trusts",
        ),
        Key::new(
            "name",
            Kind::Text,
            "The name that the relay's certificate is for; without it the relay's host",
        ),
        Key::new(
            "connect_timeout",
            Kind::Duration,
            "How long one relay may take to be looked up, connected to and shaken hands with",
        )
        .default("3s"),
    ],
);

/// Its command line.
pub(super) fn subcommand() -> Command {
    Command::new("tunnel")
        .about("Carry a node's connections to its relay over TLS with a client certificate; runs beside the node")
        .args(TUNNEL.keys.iter().map(|key| cli::flag_only(&TUNNEL, key)))
        .args(LOG.keys.iter().map(|key| cli::key_arg(&LOG, key).help_heading("Process")))
        .after_help(
            "nodeos speaks plain TCP. With `p2p-peer-address = 127.0.0.1:9876` in its config.ini and this beside it, what leaves the \
             machine is TLS, and the relay knows by the certificate which node it is.\n\n\
             Files of certificates are read again when they change, within a minute. SIGTERM or SIGINT closes all connections.",
        )
}

/// Runs it until a signal. Status 2 if a flag or a file is wrong.
pub(super) fn command(matches: &ArgMatches, environment: &Environment) -> ExitCode {
    let (options, log) = match Options::read(matches, environment) {
        Ok(both) => both,
        Err(problems) => return refuse(&problems),
    };
    let _guard = logging::start(log);
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(status) => return status,
    };
    let status = match runtime.block_on(run(options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::from(WRONG_CONFIG)
        }
    };
    // A name being looked up blocks a thread; nobody waits for it.
    runtime.shutdown_background();
    status
}

async fn run(options: Options) -> Result<(), String> {
    let mut signals = Signals::listen()?;
    let listener = match options.listen {
        Listen::Unix(path) => UnixSocket::bind(&path).map(Listener::Unix),
        Listen::Tcp(address) => match TcpListener::bind(address).await {
            Ok(listener) => Ok(Listener::Tcp(listener)),
            Err(why) => Err(cannot_listen(address, &why)),
        },
    };
    let listener = listener.map_err(|why| format!("--listen: {why}"))?;
    let relays: Vec<String> = options.config.relays.iter().map(ToString::to_string).collect();
    info!(role = "tunnel", address = %listener, relays = relays.join(", "), "listening");
    let stop = CancellationToken::new();
    let serving = tokio::spawn(serve(listener, options.config, stop.clone()));
    let name = signals.next().await;
    info!(signal = name, "stopping");
    signals.exit_at_next();
    stop.cancel();
    serving.await.map_err(|why| why.to_string())?;
    info!("stopped");
    Ok(())
}

enum Listen {
    Tcp(SocketAddr),
    Unix(std::path::PathBuf),
}

/// What the flags come to.
struct Options {
    listen: Listen,
    config: Config,
}

impl Options {
    /// Reads the flags and the files of certificates, or says everything that is wrong.
    fn read(matches: &ArgMatches, environment: &Environment) -> Result<(Self, LogConfig), Vec<Problem>> {
        let mut problems = Vec::new();
        let sources = Sources {
            variables: Some(&environment.variables),
            fallbacks: &[("level", logging::RUST_LOG)],
            flags: &cli::flags(&LOG, matches),
            ..Sources::default()
        };
        let log = resolve(&LOG, &sources, &mut problems).validate(&mut problems, logging::configure);
        let flags = cli::flags(&TUNNEL, matches);
        let settings = resolve(&TUNNEL, &Sources { flags: &flags, ..Sources::default() }, &mut problems);
        let listen = listen(&settings).map_err(|what| problems.push(settings.problem("listen", what)));
        let relays = relays(&settings, &mut problems);
        let connect_timeout = settings.duration("connect_timeout").unwrap_or_default();
        if connect_timeout.is_zero() || connect_timeout > LONGEST_CONNECT {
            problems.push(settings.problem("connect_timeout", "expected more than 0s and at most 60s"));
        }
        match (listen, log, problems.is_empty()) {
            (Ok(listen), Some(log), true) => {
                Ok((Self { listen, config: Config { relays, connect_timeout } }, log))
            }
            _ => Err(problems),
        }
    }
}

fn listen(settings: &Settings) -> Result<Listen, String> {
    let place: Place = settings.text("listen").unwrap_or_default().parse()?;
    let (host, port) = match place {
        Place::Unix(path) => return Ok(Listen::Unix(path)),
        Place::Tcp(host, port) => (host, port),
    };
    let ip = match host.as_str() {
        "localhost" => IpAddr::from([127, 0, 0, 1]),
        host => host.parse().map_err(|_| {
            format!("\"{host}\" is not an IP address, for example 127.0.0.1:9876 (or unix:PATH)")
        })?,
    };
    if !ip.to_canonical().is_loopback() && !settings.switch("listen_any") {
        return Err(format!(
            "{ip} is reached from other machines, and whoever reaches it speaks to the relay with this node's certificate: \
             listen on 127.0.0.1, or add --listen-any if a firewall stands before it"
        ));
    }
    Ok(Listen::Tcp(SocketAddr::new(ip, port)))
}

fn relays(settings: &Settings, problems: &mut Vec<Problem>) -> Vec<Relay> {
    let texts = settings.list("relay");
    if texts.is_empty() {
        problems.push(missing("--relay", "where is the relay? Give HOST:PORT, or several with commas"));
        return Vec::new();
    }
    let places: Vec<Result<Place, String>> = texts.iter().map(|text| text.parse()).collect();
    let over_tls = places.iter().flatten().any(|place| matches!(place, Place::Tcp(..)));
    let before = problems.len();
    let tls = if over_tls { tls(settings, problems) } else { None };
    let name = settings.text("name").map(str::parse::<ServerName>).transpose();
    let name = name.map_err(|what| problems.push(settings.problem("name", what))).ok().flatten();
    let sound = problems.len() == before;
    let mut relays = Vec::new();
    for (nth, place) in places.into_iter().enumerate() {
        match place.and_then(|place| Relay::new(place, tls.as_ref(), name.as_ref())) {
            Ok(relay) => relays.push(relay),
            Err(what) if sound || tls.is_some() => problems.push(settings.item_problem("relay", nth, what)),
            // Told already: there is no certificate.
            Err(_) => {}
        }
    }
    relays
}

/// A flag that isn't there. Of one that is, the settings know where it stands.
fn missing(flag: &str, what: &str) -> Problem {
    Problem { origin: Origin::Flag(flag.to_owned()), key: String::new(), what: what.to_owned() }
}

fn tls(settings: &Settings, problems: &mut Vec<Problem>) -> Option<Tls> {
    let told = match (settings.path("cert"), settings.path("key")) {
        (Some(certificate), Some(key)) => {
            let error = match Tls::from_pem(settings.path("ca"), Some((certificate, key))) {
                Ok(tls) => return Some(tls),
                Err(error) => error,
            };
            let of = |name| settings.path(name).is_some_and(|file| file == error.file());
            let flag = ["key", "cert"].into_iter().find(|name| of(name)).unwrap_or("ca");
            settings.problem(flag, error.to_string())
        }
        (None, None) => missing("--cert", "the relay wants a client certificate: give --cert and --key"),
        (Some(_), None) => settings.problem("cert", "needs the certificate's private key: --key"),
        (None, Some(_)) => settings.problem("key", "needs the key's certificate: --cert"),
    };
    problems.push(told);
    None
}
