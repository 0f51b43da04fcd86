//! What was found, as Markdown.

mod beacon;
mod calls;
mod engine;
mod relay;
mod rpc;
mod sync;

use std::fmt::Write as _;

use crate::failover;
use crate::fan_out::Size;
use crate::machine::Machine;
use crate::memory::Memory;
use crate::options::Options;
use crate::place::Place;
use crate::proxy::Compared;
use crate::queue;
use crate::single::Series;

/// Everything of one run.
pub(crate) struct Findings<'a> {
    pub(crate) machine: Machine,
    pub(crate) options: &'a Options,
    pub(crate) compared: Compared,
    pub(crate) engine: Engine,
    pub(crate) sync: Vec<crate::sync::Series>,
    pub(crate) rpc: Rpc,
    pub(crate) beacon: Beacon,
    pub(crate) relay: crate::relay::Found,
}

/// What was found of `engine`.
pub(crate) struct Engine {
    pub(crate) fan_out: Vec<Size>,
    pub(crate) calls: Vec<Series>,
    pub(crate) memory: Memory,
}

/// What was found of `rpc`.
pub(crate) struct Rpc {
    /// By the request's bytes.
    pub(crate) calls: Vec<(usize, Vec<Series>)>,
    pub(crate) queue: Vec<queue::Series>,
}

/// What was found of `beacon`.
pub(crate) struct Beacon {
    pub(crate) small: Vec<Series>,
    pub(crate) block: Vec<Series>,
    /// And how long a body is.
    pub(crate) attestations: (usize, Vec<Series>),
    pub(crate) failover: Vec<failover::Series>,
}

/// The page of `sync` alone.
pub(crate) fn sync_alone(found: &[crate::sync::Series]) -> String {
    [sync::section(found), table(&[("sync", sync::targets(found))])].join("\n")
}

/// The page of `rpc` alone.
pub(crate) fn rpc_alone(found: &Rpc) -> String {
    let mut parts = rpc::sections(found);
    parts.push(table(&[("rpc", rpc::targets(found))]));
    parts.join("\n")
}

/// The page of `relay` alone.
pub(crate) fn relay_alone(found: &crate::relay::Found) -> String {
    [relay::section(found), table(&[("relay", relay::targets(found))])].join("\n")
}

/// A promise, and what became of it.
struct Target {
    what: String,
    wanted: String,
    /// What was measured, and whether that is enough.
    found: Option<(String, bool)>,
}

/// The whole page.
pub(crate) fn write(found: &Findings<'_>) -> String {
    let mut parts = vec![head(found), targets(found)];
    parts.extend(engine::sections(&found.engine));
    parts.push(sync::section(&found.sync));
    parts.extend(rpc::sections(&found.rpc));
    parts.extend(beacon::sections(&found.beacon));
    parts.push(relay::section(&found.relay));
    parts.push(reproduce(found));
    parts.join("\n")
}

fn head(found: &Findings<'_>) -> String {
    let Machine { cpu, cores, memory, kernel, load } = &found.machine;
    let haproxy = found.compared.haproxy.as_deref().unwrap_or("HAProxy (not installed, so not compared)");
    let nginx = found.compared.nginx.as_deref().unwrap_or("nginx (not installed, so not compared)");
    let etcd = found.compared.etcd.as_deref().unwrap_or("no etcd (not installed)");
    let redis = found.compared.redis.as_deref().unwrap_or("no Redis (not installed)");
    format!(
        "# Benchmarks\n\n\
         Written by `make bench`; every figure on this page is from one run.\n\n\
         Machine: {cpu}, {cores} cores, {memory}, Linux {kernel}; load average before the run {load}.\n\
         Compared: {}, release build, default settings; {haproxy}, HTTP mode, one thread, one backend; {nginx}, one worker.\n\
         Neither of these logs requests. Claims of `relay`: {etcd}; {redis}.\n\n\
         Clients, simulated nodes (fixed replies, given at once where nothing else is said) and proxies share the machine and talk over\n\
         loopback; where root measures, all of them go before whatever else runs. Clients are closed-loop on connections that\n\
         they keep. What is compared is measured in turn, in {} rounds ({} where everything is on all cores) of {:.1} s each after a\n\
         warm-up; figures are medians over the rounds, ratios and differences are taken within a round first.\n",
        found.compared.mainstay,
        Place::OneCore.rounds(found.options),
        Place::Anywhere.rounds(found.options),
        found.options.slice.as_secs_f64()
    )
}

fn targets(found: &Findings<'_>) -> String {
    table(&[
        ("engine", engine::targets(&found.engine)),
        ("sync", sync::targets(&found.sync)),
        ("rpc", rpc::targets(&found.rpc)),
        ("beacon", beacon::targets(&found.beacon)),
        ("relay", relay::targets(&found.relay)),
    ])
}

fn table(of_roles: &[(&str, Vec<Target>)]) -> String {
    let mut text =
        String::from("## Targets\n\n| role | what | target | measured | |\n|---|---|---|---|---|\n");
    let none = "–".to_owned();
    for (role, targets) in of_roles {
        for Target { what, wanted, found } in targets {
            let (measured, met) = match found {
                Some((measured, true)) => (measured, "met"),
                Some((measured, false)) => (measured, "**not met**"),
                None => (&none, "not measured"),
            };
            let _ = writeln!(text, "| `{role}` | {what} | {wanted} | {measured} | {met} |");
        }
    }
    text
}

fn reproduce(found: &Findings<'_>) -> String {
    format!(
        "## Run it yourself\n\n```sh\nmake bench                                  # builds, measures, writes this page\n\
         bench/run.sh --rounds {} --seconds {} --out -   # the same, to the terminal; --help lists the rest\n```\n\n\
         Linux only (`/proc`, `taskset`, `chrt`). Stop what else runs on the machine: figures of a busy one are of little worth, and\n\
         the ratios suffer least.\n",
        found.options.rounds,
        found.options.slice.as_secs_f64()
    )
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn bytes(bytes: usize) -> String {
    match bytes {
        ..1000 => format!("{bytes} B"),
        1000..1_000_000 => format!("{} KB", bytes / 1000),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

fn plural(connections: usize) -> String {
    if connections == 1 { "1 connection".into() } else { format!("{connections} connections") }
}
