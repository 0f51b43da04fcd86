//! `mainstay relay`, the role, as an operator uses it.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use mainstay_antelope::{Frame, Handshake, Id, Kind, Message, Nanos, PublicKey, Signature, Splitter, Text};
use rustix::process::Signal;
use support::{Place, Running, SOON};

/// A relay before an outer peer, on ports of its own.
fn relay(place: &Place, outer: &str, flags: &[&str]) -> Running {
    let fixed = [
        "relay",
        "--listen",
        "127.0.0.1:0",
        "--outer",
        outer,
        "--producer",
        "prodx",
        "--admin-listen",
        "127.0.0.1:0",
        "--log-format",
        "logfmt",
    ];
    place.start(&[&fixed[..], flags].concat(), &[])
}

fn handshake(head: u32) -> Frame {
    let id = |number: u32| {
        let mut id = [7; 32];
        id[..4].copy_from_slice(&number.to_be_bytes());
        Id(id)
    };
    let handshake = Handshake {
        network_version: 1212,
        chain_id: Id([9; 32]),
        node_id: Id([5; 32]),
        key: PublicKey::EMPTY,
        time: Nanos(1),
        token: Id::ZERO,
        sig: Signature::EMPTY,
        p2p_address: Text(b"node:9801 - 0505050"),
        lib_num: head - 1,
        lib_id: id(head - 1),
        head_num: head,
        head_id: id(head),
        os: Text(b"linux"),
        agent: Text(b"node-a"),
        generation: 1,
    };
    Message::Handshake(handshake).frame().unwrap()
}

fn accept(listener: &TcpListener) -> TcpStream {
    let (stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream
}

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address.parse().unwrap(), SOON).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream
}

fn next(stream: &mut TcpStream) -> Frame {
    let mut splitter = Splitter::default();
    let mut byte = [0];
    loop {
        stream.read_exact(&mut byte).unwrap();
        splitter.push(&byte);
        if let Some(frame) = splitter.split().unwrap() {
            return frame;
        }
    }
}

#[test]
fn it_passes_on_what_nodes_say_and_ends_on_a_signal() {
    let place = Place::new();
    let outer = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut running = relay(&place, &outer.local_addr().unwrap().to_string(), &[]);
    let address = running.address("relay");
    let admin = running.address("admin");
    let mut node = connect(&address);
    node.write_all(handshake(7).bytes()).unwrap();
    let mut sentry = accept(&outer);
    assert_eq!(next(&mut sentry), handshake(7));
    sentry.write_all(handshake(8).bytes()).unwrap();
    assert_eq!(next(&mut node), handshake(8));
    let status = place.run(&["status", "--admin-listen", &admin], &[]);
    assert!(status.out.contains("127.0.0.1:9801  fit"), "{}", status.out);
    let prefer = |arguments: &[&str]| {
        place.run(&[&["relay", "prefer", "--admin-listen", &admin], arguments].concat(), &[])
    };
    prefer(&["127.0.0.1:9801"]).fine();
    let status = place.run(&["status", "--admin-listen", &admin], &[]);
    assert!(status.out.contains("  preferred: 127.0.0.1:9801\n"), "{}", status.out);
    let refused = prefer(&["nobody"]);
    assert_eq!((refused.status, refused.err.as_str()), (Some(1), "error: no node is called nobody\n"));
    assert_eq!(prefer(&["--none", "--relay", "other"]).status, Some(1));
    prefer(&["--none", "--relay", "relay"]).fine();
    assert!(!place.run(&["status", "--admin-listen", &admin], &[]).out.contains("preferred"));
    let mut again = connect(&address);
    again.write_all(handshake(7).bytes()).unwrap();
    assert_eq!(next(&mut accept(&outer)).kind(), Kind::Handshake);
    running.signal(Signal::TERM);
    let mut rest = Vec::new();
    node.read_to_end(&mut rest).unwrap();
    sentry.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, [0; 0]);
    assert_eq!(running.ended(), Some(0));
}

#[test]
fn it_has_to_be_told_where_and_for_whom() {
    let place = Place::new();
    let done = place.run(&["relay"], &[]);
    assert_eq!(done.status, Some(2));
    let told: Vec<&str> = done.err.lines().collect();
    assert_eq!(told.len(), 2, "{told:#?}");
    assert!(told[0].contains("--outer") && told[1].contains("--producer"), "{told:#?}");
    let wrong = ["relay", "--outer", "sentry", "--producer", "PRODX", "--claims", "u:secret@h"];
    let done = place.run(&wrong, &[]);
    assert_eq!((done.status, done.out.as_str()), (Some(2), ""));
    for start in ["error: --outer: \"sentry\" is no HOST:PORT", "error: --producer: ", "error: --claims: "] {
        assert!(done.err.lines().any(|line| line.starts_with(start)), "{start}\n{}", done.err);
    }
    assert!(!done.err.contains("secret"), "{}", done.err);
}

#[test]
fn an_audit_log_that_cannot_be_written_is_told() {
    let place = Place::new();
    let flags = [
        "relay",
        "--listen",
        "127.0.0.1:0",
        "--outer",
        "s:1",
        "--producer",
        "prodx",
        "--admin-listen",
        "off",
    ];
    let done = place.run(&[&flags[..], &["--audit", "nowhere/audit.jsonl"]].concat(), &[]);
    assert_eq!(done.status, Some(2));
    assert!(done.err.contains("audit: cannot write nowhere/audit.jsonl: "), "{}", done.err);
    let done = place.run(&["relay", "prefer", "a", "--admin-listen", "127.0.0.1:1"], &[]);
    assert_eq!(done.status, Some(2));
    assert!(done.err.contains("is mainstay running"), "{}", done.err);
}

#[test]
fn it_stands_in_the_file_too() {
    let place = Place::new();
    place.file(
        "mainstay.toml",
        r#"
[[relay]]
name = "one"
listen = "127.0.0.1:1"
outer = ["sentry-1:9876", "sentry-2:9876"]
producer = ["prodx"]
[[relay.node]]
name = "a"
address = "10.0.0.1"
rank = 1
[[relay]]
name = "two"
listen = "127.0.0.1:2"
outer = ["sentry-1:9876"]
producer = ["prody", "prodz"]
"#,
    );
    let done = place.run(&["check"], &[]);
    assert_eq!(
        done.fine(),
        "ok: mainstay.toml: relay on 127.0.0.1:1 with 2 outer peers for prodx; relay on 127.0.0.1:2 with 1 outer peer for prody, \
         prodz; admin on 127.0.0.1:7700\n"
    );
    let done =
        place.run(&["config", "relay", "--outer", "s:1,t:2", "--producer", "prodx", "-c", "none.toml"], &[]);
    assert_eq!(done.status, Some(2));
    let done = place.run(&["config", "relay", "--outer", "s:1,t:2", "--producer", "prodx"], &[]);
    assert!(done.fine().contains("\"t:2\",\n] # --outer"), "{}", done.out);
}
