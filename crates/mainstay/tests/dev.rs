//! `mainstay dev` as a newcomer meets it.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use rustix::process::Signal;
use support::{Place, Running, SOON, dev};

fn start(place: &Place, flags: &[&str]) -> Running {
    place.start(&dev(flags), &[("TMPDIR", place.path().to_str().unwrap())])
}

fn post(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect_timeout(&address.parse().unwrap(), SOON).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

fn number(line: &str) -> u64 {
    line.strip_prefix("slot").unwrap().split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn every_slot_has_a_line_with_every_vote() {
    let place = Place::new();
    let mut running = start(&place, &["--slots", "4"]);
    assert_eq!(running.ended(), Some(0));
    let lines: Vec<&String> = running.seen.iter().filter(|line| line.starts_with("slot ")).collect();
    assert_eq!(lines.len(), 4, "{:#?}", running.seen);
    for (line, slot) in lines.iter().zip(1..) {
        assert_eq!(number(line), slot);
        for node in ["el1 VALID", "el2 VALID", "el3 VALID", "→ VALID"] {
            assert!(line.contains(node), "{line}");
        }
        assert!(!line.contains("MISSED") && !line.contains('['), "{line}");
    }
    assert_eq!(running.seen.last().unwrap(), "4 slots, 0 missed");
    let left = std::fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(left.collect::<Vec<_>>(), ["jwt.hex"], "nothing is left behind but the test's own file");
}

#[test]
fn a_node_crashes_lies_is_cordoned_and_heals() {
    let place = Place::new();
    let mut running = start(&place, &["--slot", "1s"]);
    let admin = running.heading("admin");
    let control = running.heading("control");
    let evidence = running.heading("evidence");
    running.line(&["el2 VALID", "→ VALID"]);

    assert!(post(&control, "/sim/nodes/el2/crash").starts_with("HTTP/1.1 200"));
    let line = running.line(&["el2 refused [down]"]);
    assert!(line.contains("el1 VALID") && line.contains("→ VALID") && !line.contains("MISSED"), "{line}");
    assert!(post(&control, "/sim/nodes/el2/heal").starts_with("HTTP/1.1 200"));
    running.line(&["el1 VALID", "el2 VALID", "el3 VALID", "→ VALID"]);

    assert!(post(&control, "/sim/nodes/el2/lie").starts_with("HTTP/1.1 200"));
    let line = running.line(&["MISSED"]);
    assert!(line.contains("→ SYNCING") && line.contains("el2 INVALID") && line.contains("[lie]"), "{line}");

    assert!(post(&admin, "/api/v1/engine/engine/nodes/el2/cordon").starts_with("HTTP/1.1 200"));
    let after = running.line(&["el2 INVALID", "[lie, cordoned]", "→ VALID"]);
    assert!(number(&after) <= number(&line) + 2, "{line}\n{after}");

    assert!(post(&control, "/sim/nodes/el2/heal").starts_with("HTTP/1.1 200"));
    assert!(post(&admin, "/api/v1/engine/engine/nodes/el2/uncordon").starts_with("HTTP/1.1 200"));
    let line = running.line(&["el1 VALID", "el2 VALID", "el3 VALID", "→ VALID"]);
    assert!(!line.contains('['), "{line}");

    running.signal(Signal::TERM);
    assert_eq!(running.ended(), Some(0));
    running.line(&[&format!("mainstay evidence list --evidence-dir {evidence}")]);
    let listing = place.run(&["evidence", "list", "--evidence-dir", &evidence], &[]);
    assert!(listing.fine().contains("el1 VALID, el2 INVALID, el3 VALID"), "{}", listing.out);
}

#[test]
fn when_all_are_gone_no_block_is_called_invalid() {
    let place = Place::new();
    let mut running = start(&place, &["--slot", "1s"]);
    let control = running.heading("control");
    running.line(&["→ VALID"]);
    assert!(post(&control, "/sim/nodes/all/crash").starts_with("HTTP/1.1 200"));
    let line = running.line(&["el1 refused", "el2 refused", "el3 refused", "MISSED"]);
    assert!(line.contains("→ SYNCING") || line.contains("→ error"), "{line}");
    assert!(post(&control, "/sim/nodes/all/heal").starts_with("HTTP/1.1 200"));
    running.line(&["el1 VALID", "el2 VALID", "el3 VALID", "→ VALID"]);
    running.signal(Signal::INT);
    assert_eq!(running.ended(), Some(0));
    assert!(!running.seen.iter().any(|line| line.contains("INVALID")), "{:#?}", running.seen);
}

#[test]
fn the_same_commands_can_be_typed() {
    let place = Place::new();
    let variables = [("TMPDIR", place.path().to_str().unwrap())];
    let (mut running, mut input) = place.start_typing(&dev(&["--slot", "1s"]), &variables);
    running.line(&["→ VALID"]);
    writeln!(input, "lag el3 150\ncordon el1\ncordon el7\ncordon").unwrap();
    running.line(&["el3 http://127.0.0.1:", ": lag 150 ms"]);
    running.line(&["el1: cordoned"]);
    running.line(&["no node is called el7"]);
    running.line(&["which node? cordon el1, for example"]);
    running.line(&["el1 VALID", "[cordoned]", "[lag 150 ms", "→ VALID"]);
    writeln!(input, "heal el3\nuncordon el1\nstatus\nhelp").unwrap();
    running.line(&["el1: uncordoned"]);
    running.line(&["el1  well, head ", "fit, votes"]);
    running.line(&["uncordon NODE"]);
    writeln!(input, "quit").unwrap();
    assert_eq!(running.ended(), Some(0));
}

#[test]
fn a_port_that_was_asked_for_has_to_be_free() {
    let place = Place::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let done =
        place.run(&["dev", "--listen", &taken, "--admin-listen", &taken, "--control", "127.0.0.1:0"], &[]);
    let told = |flag: &str| {
        format!(
            "error: {flag}: cannot listen on {taken}: the port is taken, stop what uses it or choose another"
        )
    };
    done.refused(&[&told("--listen"), &told("--admin-listen")]);
}

/// Then the whole runtime is one thread, and whatever blocked it would block everything.
#[test]
#[cfg(target_os = "linux")]
fn on_one_core_no_slot_is_missed() {
    let all = rustix::thread::sched_getaffinity(None).unwrap();
    let core = (0..rustix::thread::CpuSet::MAX_CPU).find(|core| all.is_set(*core)).unwrap();
    let mut one = rustix::thread::CpuSet::new();
    one.set(core);
    // Of this test's thread, from which the process has it.
    rustix::thread::sched_setaffinity(None, &one).unwrap();
    let place = Place::new();
    let mut running = start(&place, &["--slots", "3"]);
    running.line(&["slot", "→ VALID"]);
    let pid = running.pid().as_raw_nonzero();
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let names = threads.filter_map(|it| std::fs::read_to_string(it.unwrap().path().join("comm")).ok());
    let workers: Vec<String> = names.filter(|name| name.starts_with("tokio")).collect();
    assert_eq!(running.ended(), Some(0));
    assert_eq!(running.seen.last().unwrap(), "3 slots, 0 missed");
    assert!(workers.is_empty(), "{workers:?}");
}

#[test]
fn a_port_that_nobody_asked_for_may_be_another() {
    let place = Place::new();
    // Taken by this or by whoever else, it is not free.
    let _taken = ["127.0.0.1:7000", "127.0.0.1:7700", "127.0.0.1:7701"].map(TcpListener::bind);
    let variables = [("TMPDIR", place.path().to_str().unwrap())];
    let mut running = place.start(&["dev", "--slot", "500ms", "--slots", "1"], &variables);
    running.line(&["  engine ", "(7000 is taken)"]);
    running.line(&["  admin ", "(7700 is taken)"]);
    running.line(&["  control ", "(7701 is taken)"]);
    assert_eq!(running.ended(), Some(0));
}

#[test]
fn wrong_flags_are_told_together() {
    let place = Place::new();
    let done = place.run(&["dev", "--nodes", "0", "--slot", "1ms", "--control", "0.0.0.0:0"], &[]);
    done.refused(&[
        "error: --nodes: 0 is not between 1 and 16",
        "error: --slot: expected a duration from 200ms to 60s",
        "error: --control: a simulated network stays on loopback: give 127.0.0.1",
    ]);
    let done = place.run(&dev(&["--majority", "2"]), &[]);
    done.refused(&["error: --majority: 2 is not between 0 and 1"]);
}
