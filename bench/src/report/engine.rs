//! The sections of `engine`.

use std::fmt::Write as _;

use super::calls::Calls;
use super::{Engine, Target, bytes, megabytes};
use crate::NODES;
use crate::fan_out::{Round, Size};
use crate::memory::{self, Memory};
use crate::proxy::Way;
use crate::stats::median;

/// Most milliseconds that the fan-out of the smaller payload may add at p50.
const ADDED_TARGET: f64 = 1.0;
/// Most resident memory, in MB of 10⁶ bytes.
const MEMORY_TARGET: f64 = 64.0;

pub(super) fn targets(found: &Engine) -> Vec<Target> {
    let mut targets = calls(found).cpu_targets("an `eth_chainId`");
    targets.extend(found.fan_out.first().map(|size| {
        let added = added(size, |round| round.p50);
        Target {
            what: format!("p50 added by {NODES} nodes, newPayload of {}", bytes(size.bytes)),
            wanted: format!("under {ADDED_TARGET} ms"),
            found: Some((format!("{added:.2} ms"), added < ADDED_TARGET)),
        }
    }));
    let Memory { idle, after, settled, peak } = &found.memory;
    let most = megabytes((*idle).max(*after).max(*settled));
    targets.push(Target {
        what: "resident memory, idle and after 1.5 MB × 8".to_owned(),
        wanted: format!("under {MEMORY_TARGET} MB"),
        found: Some((
            format!("{most:.1} MB (peak while they ran {:.1} MB)", megabytes(*peak)),
            most < MEMORY_TARGET,
        )),
    });
    targets
}

pub(super) fn sections(found: &Engine) -> [String; 3] {
    let chain_id = format!(
        "## `engine`: `eth_chainId`\n\n\
         mainstay checks the caller's JWT and sends its own with every call (computed anew when they change; here the caller\n\
         keeps one token a measurement); direct calls and HAProxy do neither.\n\n\
         On one core: clients and node are on the others, and no core sleeps: waking them would be charged to the proxy, the more\n\
         often the slower it is, and a virtual core that sleeps may come back late. CPU is the proxy's user and system time for one call. A measurement is made of pieces of 50 ms, up to three times as\n\
         many as it takes: those count in which something else kept clients or proxy from their cores for the shortest time. The\n\
         targets are judged by this table.\n\
         On all cores: wherever the system puts it; mainstay with a thread for each core, as it starts by default.\n{}",
        calls(found).tables()
    );
    [latency(found), chain_id, resident(found)]
}

fn calls(found: &Engine) -> Calls<'_> {
    Calls { all: &found.calls, mainstay: Way::Engine }
}

fn latency(found: &Engine) -> String {
    let mut text = format!(
        "## `engine`: added latency of newPayload, {NODES} nodes\n\n\
         One client. Direct: one node. mainstay: all {NODES} nodes get the whole payload and all of them vote; the answer is\n\
         given when it can't change any more.\n\n\
         | body | direct p50 | p99 | mainstay p50 | p99 | added p50 | added p99 | calls |\n|---|---|---|---|---|---|---|---|\n"
    );
    for size in &found.fan_out {
        let of = |rounds: &[Round], part: fn(&Round) -> f64| median(rounds.iter().map(part));
        let calls: usize = size.direct.iter().chain(&size.mainstay).map(|round| round.count).sum();
        let _ = writeln!(
            text,
            "| {} | {:.2} ms | {:.2} ms | {:.2} ms | {:.2} ms | **{:.2} ms** | {:.2} ms | {calls} |",
            bytes(size.bytes),
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

fn resident(found: &Engine) -> String {
    let Memory { idle, after, settled, peak } = &found.memory;
    format!(
        "## `engine`: memory\n\n\
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

fn added(size: &Size, part: fn(&Round) -> f64) -> f64 {
    median(size.mainstay.iter().zip(&size.direct).map(|(mainstay, direct)| part(mainstay) - part(direct)))
}
