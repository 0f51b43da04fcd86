//! `mainstay attest URI`: connects to a node, verifies what it shows as a role would, and explains it step by step.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use clap::{Arg, ArgAction, ArgMatches, Command};
use mainstay_attest::collateral::Collateral;
use mainstay_attest::uri::AttestedUri;
use mainstay_attest::{Kind, when};
use mainstay_attested::{Attester, Fetched, Ground, Judged, Keeper, Missing, Trust};
use mainstay_settings::{File, Instance, Problem, Sources, resolve};
use mainstay_wire::client::{Attestation, Client, Options};
use serde_json::{Value, json};
use tokio::time::Instant;
use url::Url;

use super::{REFUSED, Verdict, allowed_by_variables, as_json, as_text, configure};
use crate::cli;
use crate::plan::{self, Environment};
use crate::run::refuse;
use crate::sections::ATTEST;
use crate::show::print;
use crate::status::waited;

/// For everything: the node asks its hardware for evidence, and collateral may have to be fetched.
const WITHIN: Duration = Duration::from_secs(60);

/// What it takes, beside the subcommands.
pub(super) fn args(command: Command) -> Command {
    let mut command = command
        .arg(Arg::new("uri").value_name("URI").required(true).help(
            "The node, as in a list of nodes: https://SGX_…@host, SEV_…@host or TDX_…@host; nothing is sent to it but a handshake",
        ))
        .arg(
            Arg::new("dump")
                .long("dump")
                .value_name("DIR")
                .help("Write what the node has shown, and the collateral, into this folder, as `attest verify` reads it"),
        )
        .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("As JSON instead of text"))
        .arg(
            Arg::new("config")
                .long("config")
                .short('c')
                .value_name("FILE")
                .help("The config file whose [attest] says whom to trust and what is allowed [variable: MAINSTAY_CONFIG]"),
        );
    for key in ATTEST.plain_keys() {
        command = command.arg(cli::key_arg(&ATTEST, key).help_heading("Whom to trust, what is allowed"));
    }
    command
}

/// Runs it.
pub(super) fn command(matches: &ArgMatches, environment: &Environment) -> ExitCode {
    let told = |why: String| {
        eprintln!("error: {why}");
        ExitCode::from(crate::WRONG_CONFIG)
    };
    let keeper = match keeper(matches, environment) {
        Ok(keeper) => keeper,
        Err(problems) => return refuse(&problems),
    };
    let text = matches.get_one::<String>("uri").map(String::as_str).unwrap_or_default();
    let (url, shown) = match node(text) {
        Ok(node) => node,
        Err(why) => return told(why),
    };
    let witness = Arc::new(Witness { keeper, seen: Mutex::default(), beside: Mutex::default() });
    let failed = waited(connect(&url, witness.clone())).err();
    let Some(seen) = lock(&witness.seen).take() else {
        let why = failed.unwrap_or_else(|| "it showed nothing".to_owned());
        return told(format!("{shown}: {why}, so there is nothing to verify"));
    };
    let dumped = match matches.get_one::<String>("dump").map(|dir| seen.dump(Path::new(dir), &witness)) {
        None => None,
        Some(Ok(dumped)) => Some(dumped),
        Some(Err(why)) => return told(why),
    };
    let text = match matches.get_flag("json") {
        true => {
            let mut told = as_json(seen.kind, &seen.verdict);
            told["node"] = json!(shown);
            told["at"] = json!(when::written(seen.at));
            if let Some(dumped) = &dumped {
                told["dump"] = dumped.as_json();
            }
            format!("{told:#}\n")
        }
        false => {
            let again = dumped
                .map(|dumped| format!("\nto verify it again: {}\n", dumped.again()))
                .unwrap_or_default();
            format!("{shown}\n\n{}{again}", as_text(&seen.verdict))
        }
    };
    let printed = print(&text);
    if seen.verdict.is_ok() { printed } else { ExitCode::from(REFUSED) }
}

/// By `[attest]` of the file, variables and flags.
fn keeper(matches: &ArgMatches, environment: &Environment) -> Result<Arc<Keeper>, Vec<Problem>> {
    let file = plan::named_file(matches, environment).map(|path| File::read(&path)).transpose()?;
    let instance: Option<Instance<'_>> =
        file.as_ref().and_then(|file| file.instances(ATTEST.name).first().copied());
    let fallbacks = allowed_by_variables(&environment.variables);
    let flags = cli::flags(&ATTEST, matches);
    let sources = Sources {
        file: instance,
        variables: Some(&environment.variables),
        fallbacks: &fallbacks,
        flags: &flags,
    };
    let mut problems = Vec::new();
    let settings = resolve(&ATTEST, &sources, &mut problems);
    let keeper = settings.validate(&mut problems, configure);
    keeper.filter(|_| problems.is_empty()).ok_or(problems)
}

/// Where to connect, and what may be shown of that.
fn node(text: &str) -> Result<(Url, String), String> {
    let uri = AttestedUri::parse(text).map_err(|why| format!("the URI: {why}"))?;
    let uri =
        uri.ok_or("the URI asks for no attestation, write https://SGX_…@host, SEV_…@host or TDX_…@host")?;
    let url = Url::parse(text).map_err(|why| format!("the URI: {why}"))?;
    Ok((url, uri.to_string()))
}

async fn connect(url: &Url, witness: Arc<Witness>) -> Result<(), String> {
    let fetching = tokio::spawn(witness.keeper.clone().run());
    let attest = Some(Attestation::new(Attester::new(witness)));
    let options = Options { connect_timeout: WITHIN, attest, ..Options::default() };
    let client = Client::new(url, options).map_err(|why| why.to_string())?;
    let reached = client.reach(Instant::now() + WITHIN).await.map_err(|why| why.to_string());
    fetching.abort();
    reached
}

/// What the node has shown, and what came of it.
struct Seen {
    kind: Kind,
    verdict: Verdict,
    certificate: Vec<u8>,
    nonce: Option<Vec<u8>>,
    at: SystemTime,
}

/// Files that were written.
struct Dumped {
    kind: Kind,
    certificate: PathBuf,
    collateral: Option<PathBuf>,
    nonce: Option<String>,
    at: String,
}

impl Seen {
    fn dump(&self, dir: &Path, witness: &Witness) -> Result<Dumped, String> {
        let told = |path: &Path, why: std::io::Error| format!("{}: cannot be written: {why}", path.display());
        std::fs::create_dir_all(dir).map_err(|why| told(dir, why))?;
        let write = |name: &str, content: &[u8]| {
            let path = dir.join(name);
            std::fs::write(&path, content).map_err(|why| told(&path, why))?;
            Ok::<_, String>(path)
        };
        let collateral = match &*lock(&witness.beside) {
            Some(collateral) => {
                Some(write("collateral.json", &collateral.to_json().map_err(|why| why.to_string())?)?)
            }
            None => None,
        };
        Ok(Dumped {
            kind: self.kind,
            certificate: write("certificate.der", &self.certificate)?,
            collateral,
            nonce: self.nonce.as_ref().map(const_hex::encode),
            at: when::written(self.at),
        })
    }
}

impl Dumped {
    /// The command line that verifies it, but for the URI, which isn't shown.
    fn again(&self) -> String {
        let kind = format!("{:?}", self.kind).to_lowercase();
        let mut line = format!("mainstay attest verify --kind {kind} --expect URI --at {}", self.at);
        if let Some(collateral) = &self.collateral {
            line.push_str(&format!(" --collateral {}", collateral.display()));
        }
        if let Some(nonce) = &self.nonce {
            line.push_str(&format!(" --nonce {nonce}"));
        }
        format!("{line} {}", self.certificate.display())
    }

    fn as_json(&self) -> Value {
        json!({
            "certificate": self.certificate.display().to_string(),
            "collateral": self.collateral.as_ref().map(|path| path.display().to_string()),
            "nonce": self.nonce,
        })
    }
}

/// Stands between, and keeps what was seen.
struct Witness {
    keeper: Arc<Keeper>,
    seen: Mutex<Option<Seen>>,
    beside: Mutex<Option<Arc<Collateral>>>,
}

impl Ground for Witness {
    fn now(&self) -> SystemTime {
        self.keeper.now()
    }

    fn trust(&self) -> Arc<Trust> {
        self.keeper.trust()
    }

    fn can(&self, kind: Kind) -> Result<(), String> {
        self.keeper.can(kind)
    }

    fn collateral(&self, of: Missing) -> Option<Arc<Collateral>> {
        let collateral = self.keeper.collateral(of);
        (*lock(&self.beside)).clone_from(&collateral);
        collateral
    }

    fn fetching(&self, of: Missing) -> Option<Fetched> {
        self.keeper.fetching(of)
    }

    fn judged(&self, judged: &Judged<'_>) {
        *lock(&self.seen) = Some(Seen {
            kind: judged.expectation.kind(),
            verdict: judged.verdict.cloned().map_err(Clone::clone),
            certificate: judged.certificate.to_vec(),
            nonce: judged.nonce.map(<[u8]>::to_vec),
            at: judged.at,
        });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that is done under it can leave it half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
