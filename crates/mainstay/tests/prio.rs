//! Standing in for prio-load-balancer: its name, its flags, its variables, its logs.
#![allow(clippy::unwrap_used)]

mod support;

use std::net::TcpListener;

use rustix::process::Signal;
use serde_json::Value;
use support::Place;
use support::http::{ask, eventually};

const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"eth_callBundle","params":[]}"#;

/// The resolved value of `key` of `[section]`, with where it is from.
fn resolved(section: &str, key: &str, flags: &[&str], variables: &[(&str, &str)]) -> String {
    let done = Place::new().run(&[&["config", "rpc"], flags].concat(), variables);
    assert_eq!(done.status, Some(0), "{}", done.err);
    let of = done.out.split_once(&format!("[{section}]\n")).unwrap().1;
    let start = format!("{key} = ");
    let text = of.split_once(&start).unwrap().1;
    // A list has a line for each item.
    let end = text.find(" # ").unwrap();
    let origin = text[end..].lines().next().unwrap();
    format!("{}{origin}", text[..end].split_whitespace().collect::<String>())
}

#[test]
fn flags_with_one_dash_and_two() {
    let rpc = |key: &str, flags: &[&str]| resolved("rpc", key, flags, &[]);
    assert_eq!(rpc("listen", &[]), "\"127.0.0.1:8080\" # default");
    for flags in [&["-http", "localhost:9"][..], &["--http", "localhost:9"], &["-http=localhost:9"]] {
        assert_eq!(rpc("listen", flags), "\"127.0.0.1:9\" # --http");
    }
    assert_eq!(rpc("listen", &["-http", ":9"]), "\"0.0.0.0:9\" # --http");
    assert_eq!(rpc("redis", &["-redis", "cache:6379"]), "\"cache:6379\" # --redis");
    assert_eq!(rpc("redis", &["-redis", ""]), "\"dev\" # --redis");
    assert_eq!(rpc("node_workers", &["-node-workers=3"]), "3 # --node-workers");
    assert_eq!(rpc("log_service", &["-log-service", "sim"]), "\"sim\" # --log-service");
    assert_eq!(
        rpc("nodes", &["-nodes", "http://a,http://b", "-backends", "http://b,http://c"]),
        "[\"http://a\",\"http://b\",\"http://c\",] # --nodes"
    );
    assert_eq!(rpc("nodes", &["-mock-node"]), "[\"http://localhost:8095\"] # --mock-node");
    assert_eq!(rpc("health", &["-mock-node=true"]), "\"net_version\" # prio-load-balancer");
    assert_eq!(rpc("health", &["-mock-node", "--health", "none"]), "\"none\" # --health");
    assert_eq!(rpc("health", &["-mock-node=false"]), "\"ethereum\" # default");
    assert_eq!(rpc("error_test_api", &["-mock-node"]), "true # -mock-node");
    assert_eq!(resolved("log", "format", &["-log-prod"], &[]), "\"json\" # --log-prod");
    let off = resolved("log", "format", &["-log-prod=false"], &[("LOG_PROD", "1")]);
    assert_eq!(off, "\"text\" # default");
}

#[test]
fn variables_with_their_units() {
    for (variable, value, key, shown) in [
        ("LISTEN_ADDR", ":9", "listen", "\"0.0.0.0:9\""),
        ("REDIS_URI", "cache:6379", "redis", "\"cache:6379\""),
        ("REDIS_PREFIX", "x:", "redis_prefix", "\"x:\""),
        ("NODES", "http://a,http://b", "nodes", "[\"http://a\",\"http://b\",]"),
        ("BACKENDS", "http://a", "nodes", "[\"http://a\"]"),
        ("NUM_NODE_WORKERS", "3", "node_workers", "3"),
        ("RETRIES_MAX", "5", "retries_max", "5"),
        ("PAYLOAD_MAX_KB", "16", "payload_max", "\"16KiB\""),
        ("ITEMS_FASTTRACK_MAX", "7", "fast_track_max", "7"),
        ("ITEMS_HIGHPRIO_MAX", "8", "high_max", "8"),
        ("ITEMS_LOWPRIO_MAX", "9", "low_max", "9"),
        ("ITEMS_FASTTRACK_PER_HIGHPRIO", "4", "fast_track_per_high", "4"),
        ("FASTTRACK_DRAIN_FIRST", "1", "fast_track_drain_first", "true"),
        ("REQUEST_TIMEOUT", "7", "request_timeout", "\"7s\""),
        ("REQUEST_PROXY_TIMEOUT", "2", "try_timeout", "\"2s\""),
        ("ProxyMaxIdleConnsPerHost", "11", "node_max_idle", "11"),
        ("ProxyIdleConnTimeout", "30", "node_idle_timeout", "\"30s\""),
        ("LOG_SERVICE", "sim", "log_service", "\"sim\""),
        ("ENABLE_ERROR_TEST_API", "1", "error_test_api", "true"),
    ] {
        assert_eq!(resolved("rpc", key, &[], &[(variable, value)]), format!("{shown} # {variable}"));
    }
    let both = [("NODES", "http://a"), ("BACKENDS", "http://b")];
    assert_eq!(resolved("rpc", "nodes", &[], &both), "[\"http://a\",\"http://b\",] # NODES and BACKENDS");
    assert_eq!(resolved("log", "format", &[], &[("LOG_PROD", "1")]), "\"json\" # LOG_PROD");
}

#[test]
fn a_flag_wins_over_a_variable_and_ours_over_theirs() {
    let variables = [("RETRIES_MAX", "5"), ("MAINSTAY_RPC_RETRIES_MAX", "6")];
    assert_eq!(resolved("rpc", "retries_max", &[], &variables), "6 # MAINSTAY_RPC_RETRIES_MAX");
    assert_eq!(resolved("rpc", "retries_max", &["--retries-max", "7"], &variables), "7 # --retries-max");
    assert_eq!(
        resolved("rpc", "listen", &["-http", ":1"], &[("LISTEN_ADDR", ":2")]),
        "\"0.0.0.0:1\" # --http"
    );
    assert_eq!(
        resolved("rpc", "nodes", &["-nodes", "http://a"], &[("NODES", "http://b")]),
        "[\"http://a\"] # --nodes"
    );
}

#[test]
fn what_it_would_take_for_its_default_is_told() {
    let variables = [
        ("RETRIES_MAX", "three"),
        ("REQUEST_TIMEOUT", "5s"),
        ("PAYLOAD_MAX_KB", "-1"),
        ("FASTTRACK_DRAIN_FIRST", "yes"),
        ("LISTEN_ADDR", "8080"),
        ("LOG_PROD", "on"),
    ];
    let place = Place::new();
    let done = place.run(&["check", "rpc", "-mock-node=maybe", "--http", "x"], &variables);
    done.refused(&[
        "error: --http: \"x\" is not an address with a port, for example localhost:8080 or :8080",
        "error: --mock-node: expected true or false",
        "error: LISTEN_ADDR: \"8080\" is not an address with a port, for example localhost:8080 or :8080",
        "error: PAYLOAD_MAX_KB: \"-1\" is not a whole number of kilobytes, for example 5",
        "error: FASTTRACK_DRAIN_FIRST: \"yes\" is neither 1 (on) nor 0 (off)",
        "error: REQUEST_TIMEOUT: \"5s\" is not a whole number of seconds, for example 5",
        "error: LOG_PROD: \"on\" is neither 1 (on) nor 0 (off)",
        "error: RETRIES_MAX: \"three\" is not a whole number, for example 1",
    ]);
    let done = place.run(&["check", "rpc"], &[("JOB_CHAN_BUFFER", "2"), ("ENABLE_PPROF", "1")]);
    assert_eq!(done.status, Some(0));
    assert_eq!(
        done.err,
        "warning: JOB_CHAN_BUFFER, ENABLE_PPROF do nothing: mainstay has nothing that they would set\n"
    );
    // They are the rpc role's alone.
    let engine = ["check", "engine", "-n", "http://a", "-j", "jwt.hex"];
    place.run(&engine, &variables).fine();
}

#[test]
fn under_its_name_the_binary_is_rpc() {
    let place = Place::new().called("prio-load-balancer");
    for help in ["-h", "-help", "--help"] {
        assert!(place.run(&[help], &[]).fine().contains("--mock-node"));
    }
    assert!(place.run(&["--version"], &[]).fine().starts_with("mainstay "));
    assert_eq!(place.run(&["-nodez"], &[]).status, Some(2));
    // Its default of health is the weakest word on it, and its port may be the admin listener's.
    place.file("m.toml", "[rpc]\nhealth = \"none\"\n");
    let stand_in = ["config", "rpc", "--stand-in", "-http", "127.0.0.1:7700"];
    assert!(
        Place::new().run(&stand_in, &[]).fine().contains("health = \"net_version\" # prio-load-balancer")
    );
    let file = place.path().join("m.toml");
    let with_file = [&stand_in[..], &["-c", file.to_str().unwrap()]].concat();
    assert!(Place::new().run(&with_file, &[]).fine().contains("health = \"none\" # "));
    place.run(&["-nodes", "foo"], &[]).refused(&[
        "error: --nodes: not a URL (relative URL without a base), write one like http://127.0.0.1:8545",
    ]);
}

/// Its README's first command, which panicked there more often than not: the node's port is fixed, so this is one test.
#[test]
fn the_mock_node_is_there_before_it_is_needed() {
    let place = Place::new().called("prio-load-balancer");
    eventually("port 8095 is free", || TcpListener::bind("127.0.0.1:8095").is_ok());
    // Several of that program on one machine had no port in common.
    let _admin = TcpListener::bind("127.0.0.1:7700");
    for _ in 0..5 {
        let flags = ["-mock-node", "-http", "localhost:0", "-log-prod", "-log-service", "sim"];
        let mut running = place.start(&flags, &[]);
        let address = running.address_in_json("rpc");
        let reply = ask(&address, "POST", "/", CALL).fine();
        assert_eq!(reply, "{\"id\":1,\"result\":\"cool\",\"jsonrpc\":\"2.0\"}\n");
        assert_eq!(ask(&address, "GET", "/nodes", "").fine(), "[\"http://localhost:8095\"]\n");

        let line = running.line(&["Request completed"]);
        let line: Value = serde_json::from_str(&line).unwrap();
        assert!(line["ts"].as_f64().unwrap() > 1.7e9, "{line}");
        for (field, value) in [
            ("level", Value::from("info")),
            ("msg", "Request completed".into()),
            ("service", "sim".into()),
            ("payloadSize", CALL.len().into()),
            ("statusCode", 200.into()),
            ("nodeURI", "http://localhost:8095".into()),
            ("requestTries", 1.into()),
            ("requestIsHighPrio", false.into()),
            ("requestIsFastTrack", false.into()),
            ("queueItems", 0.into()),
        ] {
            assert_eq!(line[field], value, "{field}");
        }
        for field in ["durationMs", "queueItemsFastTrack", "queueItemsHighPrio", "queueItemsLowPrio"] {
            assert!(line[field].is_u64(), "{field}");
        }
        running.signal(Signal::TERM);
        assert_eq!(running.ended(), Some(0));
    }
    // Said with a flag it has to be free.
    let done = place.run(&["-http", "localhost:0", "--admin-listen", "127.0.0.1:7700"], &[]);
    assert!(done.err.contains("--admin-listen: cannot listen on 127.0.0.1:7700"), "{}", done.err);
    let taken = TcpListener::bind("127.0.0.1:8095").unwrap();
    let done = place.run(&["-mock-node", "-http", "localhost:0"], &[]);
    assert_eq!(done.status, Some(2));
    assert!(done.err.contains("--mock-node: cannot listen on 127.0.0.1:8095"), "{}", done.err);
    drop(taken);
}
