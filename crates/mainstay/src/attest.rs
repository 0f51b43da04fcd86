//! `mainstay attest`: looks at the evidence of nodes that prove what they run.

mod encoding;
mod live;
mod sev;
mod sgx;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Arg, ArgAction, ArgMatches, Command};
use mainstay_attest::measurements::encode;
use mainstay_attest::sgx::Policy;
use mainstay_attest::uri::AttestedUri;
use mainstay_attest::{Attested, Expectation, Kind, Refusal, Steps, public_key, when};
use mainstay_attested::{Config, Keeper, VARIABLES};
use mainstay_settings::{Problem, Settings, Variables};
use serde_json::{Value, json};

use crate::plan::Environment;
use crate::show::print;

/// Evidence was refused.
const REFUSED: u8 = 3;
/// The largest file that is read, in bytes.
const MAX_FILE: u64 = 1024 * 1024;

/// What comes of evidence.
type Verdict = Result<Attested, Refusal>;

/// Whether the environment's variable `name` is one of Gramine's that says what is allowed of a platform.
pub(crate) fn is_known_variable(name: &str) -> bool {
    Policy::VARIABLES.contains(&name)
}

/// Keys of `[attest]` that such a variable sets: only `1` allows anything, as with Gramine.
pub(crate) fn allowed_by_variables(variables: &Variables) -> Vec<(&'static str, &'static str)> {
    let allows = |name: &str| variables.get(name).is_some_and(|value| value == "1");
    VARIABLES.into_iter().filter(|(_, name)| allows(name)).collect()
}

/// Validates `[attest]`; reads the files that it names, and what was kept.
pub(crate) fn configure(settings: &Settings, problems: &mut Vec<Problem>) -> Option<Arc<Keeper>> {
    let config = Config::from_settings(settings, problems)?;
    Some(Arc::new(Keeper::new(config, Arc::new(wall_clock))))
}

/// Its command line.
pub(crate) fn subcommand() -> Command {
    live::args(Command::new("attest"))
        .about("Verify what nodes in trusted execution environments prove of themselves")
        .after_help(
            "Exit status: 0 if it held, 3 if it was refused, 2 if there is nothing to verify or the command line is wrong.",
        )
        .args_conflicts_with_subcommands(true)
        .subcommand_negates_reqs(true)
        .arg_required_else_help(true)
        .subcommand(verify_command())
        .subcommand(encoding::subcommand())
}

fn verify_command() -> Command {
    let file = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    Command::new("verify")
        .about("Verify stored evidence, and show step by step what held and what did not")
        .after_help(
            "Nothing is sent or fetched. For sgx FILE is the certificate of an RA-TLS server (DER or PEM), or a bare quote, which takes --key to be \
             bound to anybody. For sev and tdx it is the certificate of an aTLS server (DER or PEM) or the attestation document in it (JSON), for tdx \
             a bare quote too; without --nonce they may be old ones. The variables RA_TLS_ALLOW_OUTDATED_TCB_INSECURE, RA_TLS_ALLOW_HW_CONFIG_NEEDED, \
             RA_TLS_ALLOW_SW_HARDENING_NEEDED and RA_TLS_ALLOW_DEBUG_ENCLAVE_INSECURE allow what they name where they are 1.\n\n\
             Exit status: 0 if it held, 3 if it was refused, 2 if there is nothing to verify or the command line is wrong.",
        )
        .arg(
            Arg::new("kind")
                .long("kind")
                .value_name("KIND")
                .required(true)
                .value_parser(["sgx", "sev", "tdx"])
                .help("What attests"),
        )
        .arg(
            file(
                "expect",
                "EXPECTATION",
                "What it is to be: SGX_ with 64 hex digits (MRENCLAVE), SEV_ or TDX_ with packed measurements, or the node's whole URI; \
                 for sev and tdx also a file of measurements whose name ends in .json",
            )
            .required(true),
        )
        .arg(file("at", "TIME", "As of when, for example 2026-11-21T22:00:00Z, or seconds since 1970 [default: now]"))
        .arg(file("collateral", "FILE", "Intel's collateral for the platform, as JSON; without it sgx and tdx are refused"))
        .arg(file("roots", "FILE", "Trust this certificate (DER or PEM; for sev PEM, also several) instead of the maker's own"))
        .arg(file("nonce", "HEX", "What the evidence over aTLS was asked for with: for sev and tdx"))
        .arg(file(
            "key",
            "SPKI",
            "The public key that the connection's peer has: its DER (SubjectPublicKeyInfo) in hex, or a file with it (DER or PEM)",
        ))
        .arg(Arg::new("file").value_name("FILE").required(true).help("The evidence"))
        .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("As JSON instead of text"))
}

/// Runs it.
pub(crate) fn command(matches: &ArgMatches, environment: &Environment) -> ExitCode {
    let matches = match matches.subcommand() {
        Some(("encode", matches)) => return encoding::command(matches),
        Some((_, matches)) => matches,
        None => return live::command(matches, environment),
    };
    match Question::read(matches).and_then(|question| question.answer(environment)) {
        Ok((kind, verdict)) => {
            let text = match matches.get_flag("json") {
                true => format!("{:#}\n", as_json(kind, &verdict)),
                false => as_text(&verdict),
            };
            let printed = print(&text);
            if verdict.is_ok() { printed } else { ExitCode::from(REFUSED) }
        }
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::from(crate::WRONG_CONFIG)
        }
    }
}

/// What is asked of stored evidence; each kind takes of it what it knows.
struct Question {
    evidence: Vec<u8>,
    expected: Expectation,
    at: SystemTime,
    collateral: Option<(PathBuf, Vec<u8>)>,
    roots: Option<(PathBuf, Vec<u8>)>,
    key: Option<Vec<u8>>,
    nonce: Option<Vec<u8>>,
}

impl Question {
    fn read(matches: &ArgMatches) -> Result<Self, String> {
        let text = |name: &str| matches.get_one::<String>(name).map(String::as_str);
        let file = |name: &str| {
            let path = text(name).map(PathBuf::from);
            path.map(|path| content(&path).map(|content| (path, content))).transpose()
        };
        let expected = expectation(text("expect").unwrap_or_default(), text("kind").unwrap_or_default())
            .map_err(|why| format!("--expect: {why}"))?;
        Ok(Self {
            expected,
            at: text("at").map_or_else(|| Ok(wall_clock()), time)?,
            collateral: file("collateral")?,
            roots: file("roots")?,
            key: text("key").map(key).transpose()?,
            nonce: text("nonce").map(nonce).transpose()?,
            evidence: content(Path::new(text("file").unwrap_or_default()))?,
        })
    }

    fn answer(self, environment: &Environment) -> Result<(Kind, Verdict), String> {
        let verdict = match &self.expected {
            Expectation::Sgx(enclave) => sgx::verify(&self, *enclave, environment)?,
            Expectation::Sev(measurements) => sev::verify(&self, measurements)?,
            Expectation::Tdx(measurements) => sev::verify_tdx(&self, measurements, environment)?,
            _ => return Err("--expect: is of a kind that can't be verified from a file".to_owned()),
        };
        Ok((self.expected.kind(), verdict))
    }
}

/// What is expected of a node of this kind: as in its URI, the whole URI, or what follows the prefix in it.
fn expectation(text: &str, kind: &str) -> Result<Expectation, String> {
    let prefix = format!("{}_", kind.to_uppercase());
    let expected = if text.contains("://") {
        let uri = AttestedUri::parse(text).map_err(|why| why.to_string())?;
        uri.ok_or("the URI asks for no attestation")?.expectation().clone()
    } else if kind != "sgx" && text.ends_with(".json") {
        let user = content(Path::new(text))
            .and_then(|json| encode(&json).map_err(|why| format!("{text}: {why}")))?;
        Expectation::parse(&user).map_err(|why| why.to_string())?
    } else {
        // What is packed may have a _ in it too.
        let given = |prefix: &&str| text.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
        let whole = if ["SGX_", "SEV_", "TDX_"].iter().any(given) {
            text.to_owned()
        } else {
            format!("{prefix}{text}")
        };
        Expectation::parse(&whole).map_err(|why| why.to_string())?
    };
    let found = format!("{:?}", expected.kind());
    match found.eq_ignore_ascii_case(kind) {
        true => Ok(expected),
        false => Err(format!("is of another kind than --kind {kind}")),
    }
}

fn time(text: &str) -> Result<SystemTime, String> {
    let seconds = text.parse().ok().and_then(|seconds| UNIX_EPOCH.checked_add(Duration::from_secs(seconds)));
    let wrong =
        || format!("--at: {text:?} is no time, write 2026-11-21T22:00:00Z (UTC) or seconds since 1970");
    when::read(text).or(seconds).ok_or_else(wrong)
}

fn key(text: &str) -> Result<Vec<u8>, String> {
    let der = match const_hex::decode(text) {
        Ok(der) => der,
        Err(_) => content(Path::new(text))?,
    };
    public_key(&der).map_err(|why| format!("--key: {why}"))
}

fn nonce(text: &str) -> Result<Vec<u8>, String> {
    const_hex::decode(text).map_err(|_| "--nonce: is no hex".to_owned())
}

fn content(path: &Path) -> Result<Vec<u8>, String> {
    let told = |why: std::io::Error| format!("{}: cannot be read: {why}", path.display());
    let mut content = Vec::new();
    File::open(path).map_err(told)?.take(MAX_FILE + 1).read_to_end(&mut content).map_err(told)?;
    match content.len() as u64 > MAX_FILE {
        true => Err(format!("{}: larger than {MAX_FILE} bytes", path.display())),
        false => Ok(content),
    }
}

fn as_text(verdict: &Verdict) -> String {
    let (steps, last) = match verdict {
        Ok(attested) => (&attested.steps, None),
        Err(refusal) => (&refusal.steps, Some((refusal.step, "refused", refusal.reason.as_str()))),
    };
    let lines: Vec<(&str, &str, &str)> =
        steps.iter().map(|(step, found)| (step, "held", found)).chain(last).collect();
    let width = lines.iter().map(|(step, ..)| step.len()).max().unwrap_or_default();
    let verdicts = if last.is_some() { 7 } else { 4 };
    let mut text: String = lines
        .iter()
        .map(|(step, held, found)| format!("{step:width$}  {held:verdicts$}  {found}\n"))
        .collect();
    match verdict {
        Ok(attested) => {
            text.push('\n');
            let width = attested.measured.iter().map(|one| one.name.len()).max().unwrap_or_default();
            for one in &attested.measured {
                let value = one.value.as_deref().unwrap_or("-");
                let judged = match &one.expected {
                    None => "",
                    // One of several will do.
                    Some(expected) if expected.split(" or ").any(|one| one == value) => "  as expected",
                    Some(_) => "  not as expected",
                };
                text.push_str(&format!("{:width$}  {value}{judged}\n", one.name));
            }
            text.push('\n');
            text.extend(attested.warnings.iter().map(|warning| format!("warning: {warning}\n")));
            text.push_str(&format!("verified: holds until {}\n", when::written(attested.until)));
        }
        Err(refusal) => text.push_str(&format!("\nrefused: {}\n", refusal.step)),
    }
    text
}

fn as_json(kind: Kind, verdict: &Verdict) -> Value {
    let steps = |steps: &Steps| -> Vec<Value> {
        steps.iter().map(|(step, found)| json!({"step": step, "found": found})).collect()
    };
    match verdict {
        Ok(attested) => json!({
            "kind": kind,
            "verdict": "held",
            "steps": steps(&attested.steps),
            "measured": attested.measured,
            "tcb_status": attested.tcb_status,
            "warnings": attested.warnings,
            "until": when::written(attested.until),
        }),
        Err(refusal) => json!({
            "kind": kind,
            "verdict": "refused",
            "steps": steps(&refusal.steps),
            "step": refusal.step,
            "reason": refusal.reason,
        }),
    }
}

#[allow(clippy::disallowed_methods, reason = "evidence is judged as of now unless another time is told")]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}
