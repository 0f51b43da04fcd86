//! Standing in for ExecutionBackup: its name, its flags.
#![allow(clippy::unwrap_used)]

mod support;

use support::{Place, SOON};

const FLAGS: [&str; 4] = ["-n", "http://127.0.0.1:1", "-j", "jwt.hex"];

/// The resolved value of `key`, with where it is from.
fn resolved(key: &str, flags: &[&str]) -> String {
    let arguments = [&["config", "engine"], &FLAGS[..], flags].concat();
    let listing = Place::new().run(&arguments, &[]).fine().to_owned();
    let start = format!("{key} = ");
    // `[admin]` and `[engine]` both listen.
    let from = if key == "level" { "[log]" } else { "[engine]" };
    let section = listing.split_once(from).unwrap().1;
    section.lines().find_map(|line| line.strip_prefix(&start)).unwrap().to_owned()
}

#[test]
fn its_flags_mean_what_they_mean_there() {
    assert_eq!(resolved("listen", &[]), "\"127.0.0.1:7000\" # default");
    assert_eq!(resolved("listen", &["-p", "9090"]), "\"127.0.0.1:9090\" # --port");
    assert_eq!(resolved("listen", &["-a", "0.0.0.0"]), "\"0.0.0.0:7000\" # --listen-addr");
    assert_eq!(resolved("listen", &["--listen-addr", "::1", "--port", "1"]), "\"[::1]:1\" # --port");
    assert_eq!(resolved("majority", &["-f", "0.75"]), "0.75 # --majority");
    assert_eq!(resolved("majority", &["--fcu-majority", "0.75"]), "0.75 # --majority");
    assert_eq!(resolved("timeout", &["--timeout", "3000"]), "\"3000ms\" # --timeout");
    assert_eq!(resolved("timeout", &["--timeout", "3s"]), "\"3s\" # --timeout");
    assert_eq!(resolved("node_timings", &["--node-timings"]), "true # --node-timings");
    assert_eq!(resolved("level", &["-l", "debug"]), "\"debug\" # --log-level");
    assert!(resolved("timeout", &[]).starts_with("\"7500"));
    assert_eq!(resolved("majority", &[]), "0.6 # default");
}

#[test]
fn two_ways_to_say_where_to_listen_are_told() {
    let place = Place::new();
    for (flag, value) in [("--port", "1"), ("--listen-addr", "127.0.0.1")] {
        let arguments =
            [&["check", "engine"], &FLAGS[..], &["--listen", "127.0.0.1:9", flag, value]].concat();
        place
            .run(&arguments, &[])
            .refused(&[&format!("error: {flag}: says what --listen says too, give either")]);
    }
    let arguments =
        [&["check", "engine"], &FLAGS[..], &["--port", "x", "--listen-addr", "localhost"]].concat();
    place.run(&arguments, &[]).refused(&[
        "error: --port: expected a port from 0 to 65535, for example 7000",
        "error: --listen-addr: expected an IP address, for example 127.0.0.1 (a host name does not say which)",
    ]);
}

#[test]
fn under_its_name_the_binary_is_the_engine() {
    let place = Place::new().called("executionbackup");
    assert!(place.run(&["--help"], &[]).fine().contains("--fcu-majority"));
    assert!(place.run(&["--version"], &[]).fine().starts_with("mainstay "));
    place.run(&["-j", "jwt.hex"], &[]).refused(&[
        "error: [engine] nodes: is missing, give --nodes, MAINSTAY_ENGINE_NODES or `nodes` in the config file",
    ]);
    let arguments =
        [&FLAGS[..], &["--port", "0", "--admin-listen", "127.0.0.1:0", "--log-format", "logfmt"]].concat();
    let mut running = place.start(&arguments, &[]);
    let address = running.address("engine");
    std::net::TcpStream::connect_timeout(&address.parse().unwrap(), SOON).unwrap();
}

#[test]
fn testnet_flags_warn_that_they_do_nothing() {
    let arguments = [&["check", "engine"], &FLAGS[..], &["--holesky", "--sepolia"]].concat();
    let done = Place::new().run(&arguments, &[]);
    assert_eq!(done.status, Some(0));
    assert_eq!(
        done.err,
        "warning: --holesky does nothing: mainstay works on every network without being told which\n\
         warning: --sepolia does nothing: mainstay works on every network without being told which\n"
    );
}
