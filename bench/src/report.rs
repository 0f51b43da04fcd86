//! What was found, as Markdown.

use std::fmt::Write as _;

use crate::NODES;
use crate::fan_out::{self, Size};
use crate::machine::Machine;
use crate::memory::{self, Memory};
use crate::options::Options;
use crate::proxy::{Compared, Way};
use crate::small::{CONNECTIONS, Place, Round, Series};
use crate::stats::median;

/// Everything of one run.
pub(crate) struct Findings<'a> {
    pub(crate) machine: Machine,
    pub(crate) options: &'a Options,
    pub(crate) compared: Compared,
    pub(crate) fan_out: Vec<Size>,
    pub(crate) small: Vec<Series>,
    pub(crate) memory: Memory,
}

/// Most CPU of a small call, as a multiple of HAProxy's.
const CPU_TARGET: f64 = 1.15;
/// Most milliseconds that the fan-out of the smaller payload may add at p50.
const ADDED_TARGET: f64 = 1.0;
/// Most resident memory, in MB of 10⁶ bytes.
const MEMORY_TARGET: f64 = 64.0;

/// The whole page.
pub(crate) fn write(found: &Findings<'_>) -> String {
    [head(found), targets(found), latency(found), small(found), resident(found), reproduce(found)].join("\n")
}

fn head(found: &Findings<'_>) -> String {
    let Machine { cpu, cores, memory, kernel, load } = &found.machine;
    let haproxy = found.compared.haproxy.as_deref().unwrap_or("HAProxy (not installed, so not compared)");
    format!(
        "# Benchmarks\n\n\
         Written by `make bench`; every figure on this page is from one run.\n\n\
         Machine: {cpu}, {cores} cores, {memory}, Linux {kernel}; load average before the run {load}.\n\
         Compared: {}, release build, default settings; {haproxy}, HTTP mode, one thread, one backend.\n\n\
         Clients, simulated execution clients (fixed replies, given at once) and proxies share the machine and talk over\n\
         loopback. Clients are closed-loop on connections that they keep. What is compared is measured in turn, in\n\
         {} rounds of {:.1} s each after a warm-up; figures are medians over the rounds, ratios and differences are taken\n\
         within a round first. mainstay checks the caller's JWT and sends its own with every call\n\
         (computed anew when they change; here the caller keeps one token a measurement); direct calls and\n\
         HAProxy do neither.\n",
        found.compared.mainstay,
        found.options.rounds,
        found.options.slice.as_secs_f64()
    )
}

fn targets(found: &Findings<'_>) -> String {
    let mut text = String::from("## Targets\n\n| what | target | measured | |\n|---|---|---|---|\n");
    let mut row = |what: &str, target: String, measured: String, met: Option<bool>| {
        let met = match met {
            Some(true) => "met",
            Some(false) => "**not met**",
            None => "not measured",
        };
        let _ = writeln!(text, "| {what} | {target} | {measured} | {met} |");
    };
    for connections in CONNECTIONS {
        let ratio = cpu_ratio(found, Place::OneCore, connections)
            .or_else(|| cpu_ratio(found, Place::Anywhere, connections));
        row(
            &format!("CPU of an `eth_chainId`, {}", plural(connections)),
            format!("at most {CPU_TARGET} × HAProxy's"),
            ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2} ×")),
            ratio.map(|ratio| ratio <= CPU_TARGET),
        );
    }
    if let Some(size) = found.fan_out.first() {
        let added = added(size, |round| round.p50);
        row(
            &format!("p50 added by {NODES} nodes, newPayload of {}", kilobytes(size.bytes)),
            format!("under {ADDED_TARGET} ms"),
            format!("{added:.2} ms"),
            Some(added < ADDED_TARGET),
        );
    }
    let Memory { idle, after, settled, peak } = &found.memory;
    let most = megabytes((*idle).max(*after).max(*settled));
    row(
        "resident memory, idle and after 1.5 MB × 8",
        format!("under {MEMORY_TARGET} MB"),
        format!("{most:.1} MB (peak while they ran {:.1} MB)", megabytes(*peak)),
        Some(most < MEMORY_TARGET),
    );
    text
}

fn latency(found: &Findings<'_>) -> String {
    let mut text = format!(
        "## Added latency of newPayload, {NODES} nodes\n\n\
         One client. Direct: one node. mainstay: all {NODES} nodes get the whole payload and all of them vote; the answer is\n\
         given when it can't change any more.\n\n\
         | body | direct p50 | p99 | mainstay p50 | p99 | added p50 | added p99 | calls |\n|---|---|---|---|---|---|---|---|\n"
    );
    for size in &found.fan_out {
        let of =
            |rounds: &[fan_out::Round], part: fn(&fan_out::Round) -> f64| median(rounds.iter().map(part));
        let calls: usize = size.direct.iter().chain(&size.mainstay).map(|round| round.count).sum();
        let _ = writeln!(
            text,
            "| {} | {:.2} ms | {:.2} ms | {:.2} ms | {:.2} ms | **{:.2} ms** | {:.2} ms | {calls} |",
            kilobytes(size.bytes),
            of(&size.direct, |r| r.p50),
            of(&size.direct, |r| r.p99),
            of(&size.mainstay, |r| r.p50),
            of(&size.mainstay, |r| r.p99),
            added(size, |r| r.p50),
            added(size, |r| r.p99),
        );
    }
    text
}

fn small(found: &Findings<'_>) -> String {
    let mut text = String::from("## `eth_chainId`\n");
    for place in [Place::OneCore, Place::Anywhere] {
        if !found.small.iter().any(|series| series.place == place) {
            continue;
        }
        text.push_str(match place {
            Place::OneCore => {
                "\nThe proxy on one core of its own. Clients and node are on the others and never sleep: waking them would be charged to\n\
                 the proxy, the more often the slower it is. CPU is the proxy's user and system time for one call. The targets are\n\
                 judged by this table.\n\n"
            }
            Place::Anywhere => {
                "\nEverything on all cores, wherever the system puts it; mainstay with a thread for each core, as it starts by default.\n\n"
            }
        });
        text.push_str("| connections | | calls/s | of direct | p50 | p99 | CPU/call | of HAProxy |\n|---|---|---|---|---|---|---|---|\n");
        for connections in CONNECTIONS {
            for way in [Way::Direct, Way::Mainstay, Way::Haproxy] {
                let Some(series) = series(found, place, connections, way) else { continue };
                let of = |part: fn(&Round) -> f64| median(series.iter().map(part));
                let rate = paired(found, place, connections, (way, Way::Direct), |r| Some(r.per_second));
                let ratio = match way {
                    Way::Mainstay => cpu_ratio(found, place, connections),
                    Way::Direct | Way::Haproxy => None,
                };
                let cpu = series.iter().all(|round| round.cpu.is_some());
                let _ = writeln!(
                    text,
                    "| {connections} | {} | {:.0} | {} | {:.3} ms | {:.3} ms | {} | {} |",
                    match way {
                        Way::Direct => "direct",
                        Way::Mainstay => "mainstay",
                        Way::Haproxy => "HAProxy",
                    },
                    of(|r| r.per_second),
                    rate.filter(|_| way != Way::Direct)
                        .map_or_else(|| "–".into(), |rate| format!("{rate:.2} ×")),
                    of(|r| r.p50),
                    of(|r| r.p99),
                    if cpu { format!("{:.1} µs", of(|r| r.cpu.unwrap_or(f64::NAN))) } else { "–".into() },
                    ratio.map_or_else(|| "–".into(), |ratio| format!("**{ratio:.2} ×**")),
                );
            }
        }
    }
    text
}

fn resident(found: &Findings<'_>) -> String {
    let Memory { idle, after, settled, peak } = &found.memory;
    format!(
        "## Memory\n\n\
         mainstay in front of {NODES} nodes, default settings (which keep up to 64 payloads and 16 MiB for nodes that miss\n\
         some). {} clients at once send {} newPayload of 1.5 MB each.\n\n\
         | idle | after the last reply | {} s later | peak |\n|---|---|---|---|\n\
         | {:.1} MB | {:.1} MB | {:.1} MB | {:.1} MB |\n",
        memory::CONCURRENT,
        memory::EACH,
        memory::SETTLE.as_secs(),
        megabytes(*idle),
        megabytes(*after),
        megabytes(*settled),
        megabytes(*peak)
    )
}

fn reproduce(found: &Findings<'_>) -> String {
    format!(
        "## Run it yourself\n\n```sh\nmake bench                                  # builds, measures, writes this page\n\
         bench/run.sh --rounds {} --seconds {} --out -   # the same, to the terminal; --help lists the rest\n```\n\n\
         Linux only (`/proc`, `taskset`). Stop what else runs on the machine: figures of a busy one are of little worth, and\n\
         the ratios suffer least.\n",
        found.options.rounds,
        found.options.slice.as_secs_f64()
    )
}

fn series<'a>(found: &'a Findings<'_>, place: Place, connections: usize, way: Way) -> Option<&'a [Round]> {
    let is_it = |s: &&Series| (s.place, s.connections, s.way) == (place, connections, way);
    found.small.iter().find(is_it).map(|series| series.rounds.as_slice())
}

/// The median over the rounds of what one way has against the other in the same round.
fn paired(
    found: &Findings<'_>,
    place: Place,
    connections: usize,
    (one, other): (Way, Way),
    part: fn(&Round) -> Option<f64>,
) -> Option<f64> {
    let (one, other) = (series(found, place, connections, one)?, series(found, place, connections, other)?);
    let ratios: Option<Vec<f64>> = one.iter().zip(other).map(|(a, b)| Some(part(a)? / part(b)?)).collect();
    Some(median(ratios?))
}

fn cpu_ratio(found: &Findings<'_>, place: Place, connections: usize) -> Option<f64> {
    paired(found, place, connections, (Way::Mainstay, Way::Haproxy), |round| round.cpu)
}

fn added(size: &Size, part: fn(&fan_out::Round) -> f64) -> f64 {
    median(size.mainstay.iter().zip(&size.direct).map(|(mainstay, direct)| part(mainstay) - part(direct)))
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn kilobytes(bytes: usize) -> String {
    if bytes < 1_000_000 { format!("{} KB", bytes / 1000) } else { format!("{:.1} MB", bytes as f64 / 1e6) }
}

fn plural(connections: usize) -> String {
    if connections == 1 { "1 connection".into() } else { format!("{connections} connections") }
}
