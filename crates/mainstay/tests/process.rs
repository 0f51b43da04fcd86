//! The life of the process: ports, logs, signals, probes.
#![allow(clippy::unwrap_used)]
#![allow(
    clippy::disallowed_methods,
    reason = "a token holds the time, and processor time is measured over a span"
)]

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::channel;
use std::time::Duration;

use rustix::process::Signal;
use support::{Place, Running, SOON};

fn engine(place: &Place, flags: &[&str]) -> Running {
    let fixed = [
        "engine",
        "-n",
        "http://127.0.0.1:1",
        "-j",
        "jwt.hex",
        "--listen",
        "127.0.0.1:0",
        "--admin-listen",
        "127.0.0.1:0",
        "--log-format",
        "logfmt",
    ];
    place.start(&[&fixed[..], flags].concat(), &[])
}

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect_timeout(&address.parse().unwrap(), SOON).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn it_serves_until_a_signal_and_exits_0() {
    for signal in [Signal::TERM, Signal::INT] {
        let place = Place::new();
        let mut running = engine(&place, &[]);
        running.address("engine");
        let admin = running.address("admin");
        assert!(get(&admin, "/livez").starts_with("HTTP/1.1 200"));
        assert!(get(&admin, "/metrics").starts_with("HTTP/1.1 200"));
        running.signal(signal);
        assert_eq!(running.ended(), Some(0));
        running.line(&["msg=stopping"]);
        running.line(&["msg=stopped"]);
    }
}

/// An engine whose only node takes calls and never answers, with a call in flight at the node.
fn hung(place: &Place, flags: &[&str]) -> (Running, TcpStream) {
    let node = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", node.local_addr().unwrap());
    let (arrived, at_node) = channel();
    std::thread::spawn(move || {
        for mut stream in node.incoming().flatten() {
            let arrived = arrived.clone();
            std::thread::spawn(move || {
                let (mut all, mut part) = (Vec::new(), [0; 4096]);
                while let Ok(read @ 1..) = stream.read(&mut part) {
                    all.extend_from_slice(&part[..read]);
                    if String::from_utf8_lossy(&all).contains("engine_forkchoiceUpdatedV3\",\"params") {
                        let _ = arrived.send(());
                    }
                }
            });
        }
    });
    let fixed = ["engine", "-n", &url, "-j", "jwt.hex", "-p", "0", "--admin-listen", "127.0.0.1:0"];
    let logs = ["--log-format", "logfmt", "--log-level", "debug"];
    let mut running = place.start(&[&fixed[..], &logs, flags].concat(), &[]);
    let address = running.address("engine");
    running.address("admin");
    let mut call = TcpStream::connect_timeout(&address.parse().unwrap(), SOON).unwrap();
    call.set_read_timeout(Some(SOON)).unwrap();
    let secret = mainstay_wire::jwt::Secret::from_hex(&"11".repeat(32)).unwrap();
    let token =
        mainstay_wire::jwt::sign(&secret, &mainstay_wire::jwt::Claims::at(std::time::SystemTime::now()));
    let body = r#"{"jsonrpc":"2.0","id":"x","method":"engine_forkchoiceUpdatedV3","params":[{"headBlockHash":"0x1111111111111111111111111111111111111111111111111111111111111111","safeBlockHash":"0x1111111111111111111111111111111111111111111111111111111111111111","finalizedBlockHash":"0x1111111111111111111111111111111111111111111111111111111111111111"},null]}"#;
    write!(
        call,
        "POST / HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    at_node.recv_timeout(SOON).unwrap();
    (running, call)
}

#[test]
fn a_call_in_flight_is_answered_before_the_end() {
    let place = Place::new();
    // The node is waited for as long as the timeout says, well within the grace.
    let (mut running, mut call) = hung(&place, &["--timeout", "1500"]);
    running.signal(Signal::TERM);
    let mut reply = String::new();
    call.read_to_string(&mut reply).unwrap();
    assert!(reply.starts_with("HTTP/1.1 200") && reply.contains("SYNCING"), "{reply}");
    assert_eq!(running.ended(), Some(0));
}

#[test]
fn the_grace_bounds_the_end_and_a_second_signal_ends_it() {
    let place = Place::new();
    let (mut running, _call) = hung(&place, &["--shutdown-grace", "200ms"]);
    running.signal(Signal::TERM);
    assert_eq!(running.ended(), Some(0));

    let (mut running, _call) = hung(&place, &["--shutdown-grace", "1h"]);
    running.signal(Signal::TERM);
    running.line(&["msg=stopping"]);
    running.signal(Signal::INT);
    assert_eq!(running.ended(), Some(130));
}

/// Processor time of a process so far.
#[cfg(target_os = "linux")]
fn processor_time(pid: rustix::process::Pid) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap();
    // proc_pid_stat(5): after the name in parentheses `utime` and `stime` are the 12th and 13th field.
    let fields = stat.rsplit(')').next().unwrap().split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum();
    Duration::from_secs(ticks) / rustix::param::clock_ticks_per_second().try_into().unwrap()
}

/// Without a file descriptor left nobody is turned away and nothing spins: who waits is served when others have gone.
#[cfg(target_os = "linux")]
#[test]
fn connections_wait_while_no_file_descriptor_is_left() {
    use rustix::process::{Resource, Rlimit, prlimit};

    let place = Place::new();
    let mut running = engine(&place, &[]);
    let address = running.address("engine").parse().unwrap();
    let pid = running.pid();
    let open = std::fs::read_dir(format!("/proc/{}/fd", pid.as_raw_nonzero())).unwrap().count();
    let limit = Some(open as u64 + 4);
    prlimit(Some(pid), Resource::Nofile, Rlimit { current: limit, maximum: limit }).unwrap();
    let mut waiting: Vec<TcpStream> = std::iter::repeat_with(|| {
        let mut stream = TcpStream::connect_timeout(&address, SOON).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
        stream
    })
    .take(12)
    .collect();
    running.line(&["cannot accept connections"]);

    // The last one is neither answered nor turned away, and in all that time hardly any of the processor's is used.
    let (before, span) = (processor_time(pid), Duration::from_millis(500));
    let last = waiting.last_mut().unwrap();
    last.set_read_timeout(Some(span)).unwrap();
    assert_eq!(last.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    last.set_read_timeout(Some(SOON)).unwrap();
    let used = processor_time(pid) - before;
    assert!(used < span / 2, "{used:?} of processor time in {span:?}");

    for mut stream in waiting {
        let mut status = [0; 12];
        stream.read_exact(&mut status).unwrap();
        assert_eq!(&status, b"HTTP/1.1 200");
    }
}

#[test]
fn a_taken_port_is_told_before_anything_serves() {
    let place = Place::new();
    let one = TcpListener::bind("127.0.0.1:0").unwrap();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let (one, other) = (one.local_addr().unwrap().to_string(), other.local_addr().unwrap().to_string());
    let done = place.run(
        &["engine", "-n", "http://127.0.0.1:1", "-j", "jwt.hex", "--listen", &one, "--admin-listen", &other],
        &[],
    );
    done.refused(&[
        &format!("error: --listen: cannot listen on {one}: the port is taken, stop what uses it or choose another"),
        &format!(
            "error: --admin-listen: cannot listen on {other}: the port is taken, stop what uses it or choose another, or turn it off with --admin-listen off"
        ),
    ]);
    let flags = ["beacon", "--beacon-node", "http://127.0.0.1:1", "--listen", "127.0.0.1:0"];
    let ports = ["--agent-check", &one, "--admin-listen", "127.0.0.1:0"];
    place.run(&[&flags[..], &ports].concat(), &[]).refused(&[&format!(
        "error: --agent-check: cannot listen on {one}: the port is taken, stop what uses it or choose another"
    )]);
}

#[test]
fn logs_have_the_form_that_was_asked_for() {
    let place = Place::new();
    let mut running = engine(&place, &[]);
    let line = running.line(&["msg=listening", "role=engine"]);
    assert!(line.starts_with("ts=2") && line.contains(" level=info "), "{line}");

    let common = ["engine", "-n", "http://127.0.0.1:1", "-j", "jwt.hex", "-p", "0", "--admin-listen", "off"];
    let mut running = place.start(&[&common[..], &["--log-format", "json"]].concat(), &[]);
    let line = running.line(&["listening"]);
    let parsed: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&parsed["level"], &parsed["role"]), (&"INFO".into(), &"engine".into()));

    let mut running = place.start(&common, &[]);
    let line = running.line(&["listening"]);
    assert!(line.contains("INFO") && !line.contains('\u{1b}'), "{line}");
}

#[test]
fn a_probe_tells_a_dead_node_a_wrong_secret_and_a_wrong_port() {
    let place = Place::new();
    let answering = |reply: &'static str| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut stream = stream;
                let mut head = [0; 4096];
                let _ = stream.read(&mut head);
                let _ = stream.write_all(reply.as_bytes());
            }
        });
        url
    };
    let refuses = answering("HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    let other = answering("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nodes = format!("http://{free}#name=dead,{refuses}#name=secret,{other}#name=port");
    let done = place.run(&["check", "engine", "--probe", "-n", &nodes, "-j", "jwt.hex"], &[]);
    assert_eq!(done.status, Some(1), "{}", done.err);
    for told in [
        "dead: connection refused",
        "secret: refuses the token (HTTP 401)",
        "port: answered eth_chainId with HTTP 404",
    ] {
        assert!(done.out.contains(told), "{}", done.out);
    }
}
