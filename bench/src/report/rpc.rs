//! The sections of `rpc`.

use super::calls::Calls;
use super::{Rpc, Target, bytes, plural};
use crate::proxy::Way;
use crate::queue;
use crate::single::CONNECTIONS;

/// Requests in the queue, readers, and most microseconds to put all of them in and take them out.
const QUEUE_TARGETS: [(usize, usize, f64); 2] = [(10_000, 1, 250.0), (10_000, 5, 400.0)];

pub(super) fn targets(found: &Rpc) -> Vec<Target> {
    let mut targets = Vec::new();
    if let Some((size, calls)) = sizes(found).next() {
        targets.append(&mut calls.cpu_targets(&format!("a request of {}", bytes(size))));
    }
    let most = CONNECTIONS[CONNECTIONS.len() - 1];
    for (size, calls) in sizes(found) {
        let ratio = calls.against_haproxy(most, |round| Some(round.p99));
        targets.push(Target {
            what: format!("p99 of a request of {}, {}", bytes(size), plural(most)),
            wanted: "at most HAProxy's".to_owned(),
            found: ratio.map(|ratio| (format!("{ratio:.2} ×"), ratio <= 1.0)),
        });
    }
    for (items, readers, most) in QUEUE_TARGETS {
        let is_it = |series: &&queue::Series| (series.items, series.readers) == (items, readers);
        let median = found.queue.iter().find(is_it).map(queue::Series::median);
        targets.push(Target {
            what: format!("queue, {items} requests, {}", readers_of(readers)),
            wanted: format!("at most {most:.0} µs"),
            found: median.map(|median| (format!("{median:.0} µs"), median <= most)),
        });
    }
    targets
}

pub(super) fn sections(found: &Rpc) -> Vec<String> {
    let mut sections: Vec<String> = sizes(found)
        .enumerate()
        .map(|(nth, (size, calls))| {
            let about = match nth {
                0 => {
                    "`eth_callBundle` with a small answer. mainstay has its defaults: a queue before the node's 8 slots, so from 16\n\
                     connections on requests wait in it; health, retries and metrics are on. HAProxy and nginx pass on all they get; HAProxy\n\
                     with a queue has `maxconn 8` for the node. As they log nothing, mainstay's line for each request is off (`--log-level\n\
                     warn`). Cores are as above.\n"
                }
                _ => "The same with a larger request.\n",
            };
            format!("## `rpc`: requests of {}\n\n{about}{}", bytes(size), calls.tables())
        })
        .collect();
    sections.push(format!(
        "## `rpc`: queue\n\n\
         One task puts requests in, readers take them out; the time is from the first one in to the last one out. It is the\n\
         queue that serves, lock, runtime and all, in the shape of prio-load-balancer's own benchmark.\n\n{}",
        queue::table(&found.queue)
    ));
    sections
}

fn sizes(found: &Rpc) -> impl Iterator<Item = (usize, Calls<'_>)> {
    found.calls.iter().map(|(size, all)| (*size, Calls { all, mainstay: Way::Rpc }))
}

fn readers_of(readers: usize) -> String {
    if readers == 1 { "1 reader".into() } else { format!("{readers} readers") }
}
