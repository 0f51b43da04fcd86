//! Standing in for sync-proxy: its name, its flags, its variables, its log, its announced metrics.
#![allow(clippy::unwrap_used)]

mod lab;
mod support;

use std::net::TcpListener;

use lab::{Lab, from, head, payload, wall};
use mainstay_sim::chain::{Attributes, Recipe, build};
use mainstay_sim::{Family, Fault};
use mainstay_wire::jwt::{Claims, Secret, sign, verify};
use rustix::process::Signal;
use serde_json::Value;
use support::http::{ask, eventually};
use support::{Done, Place, Running, SOON};

/// The resolved value of `key` of `[section]`, with where it is from.
#[track_caller]
fn resolved(section: &str, key: &str, flags: &[&str], variables: &[(&str, &str)]) -> String {
    resolved_of("sync", section, key, flags, variables)
}

#[track_caller]
fn resolved_of(role: &str, section: &str, key: &str, flags: &[&str], variables: &[(&str, &str)]) -> String {
    let is_given = |name: &str| flags.iter().any(|flag| flag.contains(name));
    let nodes: &[&str] =
        if is_given("builders") || is_given("nodes") { &[] } else { &["-n", "http://127.0.0.1:1"] };
    let done = Place::new().run(&[&["config", role], flags, nodes].concat(), variables);
    assert_eq!(done.status, Some(0), "{}", done.err);
    let of = done.out.split_once(&format!("[{section}]\n")).unwrap().1;
    if !format!("\n{of}").contains(&format!("\n{key} = ")) {
        return "not set # default".to_owned();
    }
    // Not `proxy_request_timeout` for `request_timeout`.
    let text = format!("\n{of}").split_once(&format!("\n{key} = ")).unwrap().1.to_owned();
    // A list has a line for each item.
    let end = text.find(" # ").unwrap();
    let origin = text[end..].lines().next().unwrap();
    format!("{}{origin}", text[..end].split_whitespace().collect::<String>())
}

#[test]
fn flags_with_one_dash_and_two() {
    let sync = |key: &str, flags: &[&str]| resolved("sync", key, flags, &[]);
    assert_eq!(sync("listen", &[]), "\"127.0.0.1:25590\" # default");
    for flags in [&["-addr", "localhost:9"][..], &["--addr", "localhost:9"], &["-addr=localhost:9"]] {
        assert_eq!(sync("listen", flags), "\"127.0.0.1:9\" # --addr");
    }
    assert_eq!(sync("listen", &["-addr", ":25590"]), "\"0.0.0.0:25590\" # --addr");
    for dashes in ["-builders", "--builders"] {
        assert_eq!(
            sync("nodes", &[dashes, " a:8551 ,http://b:8551,, https://c "]),
            "[\"http://a:8551\",\"http://b:8551\",\"https://c\",] # --builders"
        );
    }
    assert_eq!(
        sync("nodes", &["-builders=a:1#name=x"]),
        "[\"http://a:1#name=x\"] # --builders",
        "with our suffixes"
    );
    assert_eq!(sync("proxies", &["-proxies", "p:1, q:2"]), "[\"http://p:1\",\"http://q:2\",] # --proxies");
    for key in ["request_timeout", "proxy_request_timeout"] {
        assert_eq!(sync(key, &[]), "\"2s\" # default");
        let flag = key.replace('_', "-");
        for dashes in ["-", "--"] {
            let text = sync(key, &[&format!("{dashes}{flag}"), "700"]);
            assert_eq!(text, format!("\"700ms\" # --{flag}"));
        }
    }
    assert_eq!(sync("mirror_mode", &["-mirror-mode"]), "true # --mirror-mode");
    assert_eq!(sync("mirror_mode", &["-mirror-mode=t"]), "true # --mirror-mode");
    assert_eq!(sync("mirror_mode", &["--mirror-mode=F"]), "false # --mirror-mode");
    let log = |flags: &[&str]| resolved("log", "level", flags, &[]);
    assert_eq!(log(&[]), "\"info\" # default");
    assert_eq!(log(&["-loglevel", "debug"]), "\"debug\" # --loglevel");
    assert_eq!(log(&["--loglevel=warning"]), "\"warn\" # --loglevel");
    assert_eq!(log(&["-l", "trace"]), "\"trace\" # --log-level");
    let admin = |flags: &[&str]| resolved("admin", "metrics_listen", flags, &[]);
    assert_eq!(admin(&[]), "\"off\" # default");
    assert_eq!(admin(&["-metrics-addr", ":9090"]), "\"0.0.0.0:9090\" # --metrics-addr");
    assert_eq!(admin(&["--metrics-addr="]), "\"off\" # --metrics-addr");
    assert_eq!(admin(&["--admin-metrics-listen", "127.0.0.1:1"]), "\"127.0.0.1:1\" # --admin-metrics-listen");
}

#[test]
fn variables_with_their_units() {
    for (section, variable, value, key, shown) in [
        ("sync", "PROXY_LISTEN_ADDR", ":9", "listen", "\"0.0.0.0:9\""),
        ("sync", "BUILDER_TIMEOUT_MS", "700", "request_timeout", "\"700ms\""),
        ("sync", "BUILDER_TIMEOUT_MS", "700", "proxy_request_timeout", "\"700ms\""),
        ("sync", "MIRROR_MODE", "1", "mirror_mode", "true"),
        ("sync", "MIRROR_MODE", "false", "mirror_mode", "false"),
        ("log", "LOG_LEVEL", "warning", "level", "\"warn\""),
        ("log", "LOG_LEVEL", "fatal", "level", "\"error\""),
        ("log", "LOG_JSON", "1", "format", "\"json\""),
        ("log", "LOG_JSON", "yes", "format", "\"json\""),
        ("admin", "METRICS_ADDR", "localhost:9", "metrics_listen", "\"127.0.0.1:9\""),
    ] {
        let told = resolved(section, key, &[], &[(variable, value)]);
        assert_eq!(told, format!("{shown} # {variable}"));
        // Set to nothing is not set.
        assert!(resolved(section, key, &[], &[(variable, "")]).ends_with(" # default"), "{variable}");
        // They are the sync role's alone.
        if section != "sync" {
            let other = resolved_of("rpc", section, key, &[], &[(variable, value)]);
            assert!(other.ends_with(" # default"), "{variable}: {other}");
        }
    }
}

#[test]
fn a_flag_wins_over_a_variable_and_ours_over_theirs_and_all_over_the_file() {
    let variables = [("BUILDER_TIMEOUT_MS", "700"), ("MAINSTAY_SYNC_REQUEST_TIMEOUT", "800")];
    let timeout = |flags: &[&str]| resolved("sync", "request_timeout", flags, &variables);
    assert_eq!(timeout(&[]), "\"800ms\" # MAINSTAY_SYNC_REQUEST_TIMEOUT");
    assert_eq!(timeout(&["-request-timeout", "900"]), "\"900ms\" # --request-timeout");
    assert_eq!(resolved("sync", "proxy_request_timeout", &[], &variables), "\"700ms\" # BUILDER_TIMEOUT_MS");
    let told = resolved("sync", "listen", &["-addr", ":1"], &[("PROXY_LISTEN_ADDR", ":2")]);
    assert_eq!(told, "\"0.0.0.0:1\" # --addr");
    let told = resolved("admin", "metrics_listen", &["-metrics-addr", ":1"], &[("METRICS_ADDR", ":2")]);
    assert_eq!(told, "\"0.0.0.0:1\" # --metrics-addr");
    let told = resolved("log", "level", &["-loglevel", "warn"], &[("LOG_LEVEL", "debug")]);
    assert_eq!(told, "\"warn\" # --loglevel");
    let told = resolved("log", "level", &[], &[("LOG_LEVEL", "debug"), ("RUST_LOG", "trace")]);
    assert_eq!(told, "\"debug\" # LOG_LEVEL");
    let told = resolved("log", "level", &[], &[("LOG_LEVEL", "debug"), ("MAINSTAY_LOG_LEVEL", "error")]);
    assert_eq!(told, "\"error\" # MAINSTAY_LOG_LEVEL");
    let told = resolved("sync", "mirror_mode", &["-mirror-mode=false"], &[("MIRROR_MODE", "true")]);
    assert_eq!(told, "false # --mirror-mode");

    let place = Place::new();
    place.file(
        "m.toml",
        "[log]\nformat = \"logfmt\"\nlevel = \"warn\"\n[sync]\nnodes = [\"http://f:1\"]\nrequest_timeout = \"1s\"\nproxy_request_timeout = \"1s\"\n",
    );
    let file = ["config", "sync", "--stand-in", "-c", "m.toml", "-builders", "b:1"];
    let listing = place.run(&file, &[("BUILDER_TIMEOUT_MS", "700")]).fine().to_owned();
    for line in [
        "format = \"logfmt\" # m.toml:2",
        "level = \"warn\" # m.toml:3",
        "request_timeout = \"700ms\" # BUILDER_TIMEOUT_MS",
        "nodes = [\"http://b:1\"] # --builders",
    ] {
        assert!(listing.contains(line), "{line}: {listing}");
    }
    // Without a word on it, its form.
    let listing = place.run(&["config", "sync", "--stand-in", "-builders", "b:1"], &[]);
    assert!(listing.fine().contains("format = \"text\" # sync-proxy"));
}

#[test]
fn what_it_would_take_for_its_default_is_told() {
    let variables = [
        ("BUILDER_TIMEOUT_MS", "2s"),
        ("PROXY_LISTEN_ADDR", "25590"),
        ("MIRROR_MODE", "maybe"),
        ("METRICS_ADDR", "x"),
        ("LOG_LEVEL", "verbose"),
    ];
    let place = Place::new();
    let done = place.run(&["check", "sync", "-builders", "ftp://a,:", "-metrics-addr", "y"], &variables);
    assert_eq!(done.status, Some(2), "{}", done.err);
    for line in [
        "error: BUILDER_TIMEOUT_MS: \"2s\" is not a whole number of milliseconds, for example 2000\n",
        "error: PROXY_LISTEN_ADDR: \"25590\" is not an address with a port, for example localhost:8080 or :8080\n",
        "error: MIRROR_MODE: \"maybe\" is neither true nor false\n",
        "error: METRICS_ADDR: \"x\" is not an address with a port, for example localhost:8080 or :8080\n",
        "error: --metrics-addr: \"y\" is not an address with a port, for example localhost:8080 or :8080\n",
        "error: --builders: item 1: scheme \"ftp\" is not http or https: write http://host:port\n",
        "error: --builders: item 2: not a URL",
        "error: LOG_LEVEL: \"verbose\" is not one of off, error, warn, info, debug, trace, nor a directive",
    ] {
        assert!(done.err.contains(line), "{line}: {}", done.err);
    }
    let done = place.run(&["check", "sync", "-builders", "a:1"], &[("BUILDER_TIMEOUT_MS", "0")]);
    done.refused(&["error: BUILDER_TIMEOUT_MS: has to be longer than nothing"]);
    // Two words on one thing.
    for (flags, told) in [
        (
            ["-builders", "a:1", "--nodes", "http://b:1"],
            "error: --builders: says what --nodes says too, give either",
        ),
        (["-addr", ":1", "--listen", "0.0.0.0:1"], "error: --addr: says what --listen says too, give either"),
        (
            ["-loglevel", "info", "-l", "info"],
            "error: --loglevel: says what --log-level says too, give either",
        ),
        (
            ["-metrics-addr", ":1", "--admin-metrics-listen", "0.0.0.0:1"],
            "error: --metrics-addr: says what --admin-metrics-listen says too, give either",
        ),
    ] {
        let nodes: &[&str] = if flags.contains(&"-builders") { &[] } else { &["-n", "http://a:1"] };
        let done = place.run(&[&["check", "sync"], &flags[..], nodes].concat(), &[]);
        done.refused(&[told]);
    }
    let done = place.run(&["sync", "-builders", "a:1", "-json", "--log-format", "text"], &[]);
    done.refused(&["error: --json: says what --log-format says too, give either"]);
    // A value that says no is a value.
    let done = place.run(&["check", "sync", "-builders", "a:1"], &[("LOG_JSON", "false")]);
    assert_eq!(done.status, Some(0));
    assert_eq!(
        done.err,
        "warning: LOG_JSON is set, so the log is JSON, whatever its value: take it away for text\n"
    );
    let taken = ["check", "sync", "-builders", "a:1", "-addr", ":7800", "-metrics-addr", "localhost:7800"];
    let done = place.run(&taken, &[]);
    assert!(done.err.contains("0.0.0.0:7800 is taken by [admin] (--metrics-addr) already"), "{}", done.err);
}

#[test]
fn check_says_what_would_run() {
    let flags =
        ["-builders", "a:1,b:1", "-proxies", "c:1", "-mirror-mode", "-metrics-addr", "localhost:9090"];
    let done = Place::new().run(&[&["check", "sync"], &flags[..]].concat(), &[]);
    assert_eq!(
        done.fine(),
        "ok: sync on 127.0.0.1:25590 with 2 nodes, 1 proxy, in mirror mode; admin on 127.0.0.1:7700; metrics on 127.0.0.1:9090\n"
    );
}

#[test]
fn without_builders_it_ends_as_sync_proxy_does() {
    let place = Place::new().called("sync-proxy");
    let ended = |done: Done| {
        assert_eq!(done.status, Some(1));
        assert_eq!(done.err, "error: [sync] nodes: No builder urls specified, give them with --builders\n");
        done.out
    };
    let text = ended(place.run(&["-addr", "localhost:0"], &[]));
    assert!(text.starts_with("time=\"20"), "{text}");
    assert!(
        text.ends_with("Z\" level=fatal msg=\"No builder urls specified\" module=sync-proxy\n"),
        "{text}"
    );
    let json = ended(place.run(&[], &[("LOG_JSON", "1")]));
    let line: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&line["level"], &line["msg"], &line["module"]),
        (&"fatal".into(), &"No builder urls specified".into(), &"sync-proxy".into())
    );
    let done = place.run(&["-builders", " , "], &[]);
    assert_eq!(done.status, Some(1), "{}", done.err);
    // Under its own name it is a wrong configuration like any other.
    Place::new().run(&["sync"], &[]).refused(&[
        "error: [sync] nodes: is missing, give --nodes, MAINSTAY_SYNC_NODES or `nodes` in the config file",
    ]);
    for help in ["-h", "-help", "--help"] {
        assert!(place.run(&[help], &[]).fine().contains("--builders"));
    }
    assert!(place.run(&["--version"], &[]).fine().starts_with("mainstay "));
    assert_eq!(place.run(&["-bilders", "a:1"], &[]).status, Some(2));
}

/// The binary as sync-proxy before these ELs.
fn start(lab: &Lab, flags: &[&str], variables: &[(&str, &str)]) -> Running {
    let builders = lab.builders();
    let all =
        [&["-addr", "localhost:0", "-builders", &builders, "--admin-listen", "127.0.0.1:0"], flags].concat();
    Place::new().called("sync-proxy").start(&all, variables)
}

/// Where `role` listens, from a log in sync-proxy's form.
#[track_caller]
fn address(running: &mut Running, role: &str) -> String {
    let line = running.line(&["msg=listening ", &format!("role={role}")]);
    line.split("address=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
}

#[test]
fn under_its_name_it_drives_els_and_logs_in_its_words() {
    let mut lab = Lab::new(2);
    let mut running = start(&lab, &["-metrics-addr", "localhost:0", "-loglevel", "info"], &[]);
    // As they begin to listen; the order of lines is that of the process.
    let sync = address(&mut running, "sync");
    let metrics = address(&mut running, "metrics");
    let admin = address(&mut running, "admin");
    for path in ["/", "/any/path"] {
        let reply = ask(&sync, "GET", path, "");
        assert_eq!((reply.status, reply.body.as_str()), (200, ""));
    }

    let first = lab.chain.grow();
    assert!(from(&sync, "10.0.0.1", None, &payload(&first)).fine().contains("\"VALID\""));
    assert!(from(&sync, "10.0.0.1", None, &head(&first)).fine().contains("\"VALID\""));
    lab.waits_for_calls(1, Family::ForkchoiceUpdated, 1);
    let line = running.line(&["new timestamp from engine_newPayloadV4 request received from beacon node"]);
    let of = |old: &str, before: u64, new: &str, now: u64| {
        format!(
            "level=info msg=\"new timestamp from engine_newPayloadV4 request received from beacon node\" \
             module=sync-proxy newAddr={new} newTimestamp={now} oldAddr={old} oldTimestamp={before}"
        )
    };
    assert!(line.starts_with("time=\"20"), "{line}");
    assert!(line.ends_with(&of("10.0.0.1", 0, "10.0.0.1", first.timestamp)), "{line}");

    // A time that nobody can believe in is no news.
    let never = Attributes { timestamp: u64::MAX, ..Attributes::of_slot(2, 0) };
    from(&sync, "10.0.0.9", None, &payload(&build(&first, &never, &Recipe::default()))).fine();

    // The second EL differs from now on.
    lab.els[1].set(Fault::LieSyncing);
    let second = lab.chain.grow();
    from(&sync, "10.0.0.2", None, &payload(&second)).fine();
    let line = running.line(&["new timestamp from"]);
    assert!(line.ends_with(&of("10.0.0.1", first.timestamp, "10.0.0.2", second.timestamp)), "{line}");
    let line = running.line(&["found difference in EL responses"]);
    let urls = [0, 1].map(|el| format!("\"{}\"", lab.els[el].url()));
    let told = format!(
        "level=info msg=\"found difference in EL responses\" module=sync-proxy primaryStatus=VALID \
         primaryUrl={} secondaryStatus=SYNCING secondaryUrl={}",
        urls[0], urls[1]
    );
    assert!(line.ends_with(&told), "{line}");

    // The announced metrics are there and here, and the API is not opened by them.
    let counted =
        [("engine_newPayloadV4", 0, 3), ("engine_newPayloadV4", 1, 3), ("engine_forkchoiceUpdatedV3", 0, 1)];
    for page in [&metrics, &admin] {
        eventually("forwards are counted", || {
            let page = ask(page, "GET", "/metrics", "").fine();
            counted.iter().all(|(method, el, count)| {
                let labels = format!("method=\"{method}\",backend={}", urls[*el]);
                page.contains(&format!("syncproxy_forwards_total{{{labels},result=\"success\"}} {count}\n"))
                    && page
                        .contains(&format!("syncproxy_forward_duration_seconds_count{{{labels}}} {count}\n"))
            })
        });
    }
    for path in ["/api/v1/roles", "/healthz", "/", "/api/v1/sync/sync/recheck"] {
        for method in ["GET", "POST"] {
            let reply = ask(&metrics, method, path, "");
            assert_eq!(reply.status, 404, "{method} {path}: {}", reply.body);
        }
    }
    running.signal(Signal::TERM);
    assert_eq!(running.ended(), Some(0));
    let strange: Vec<&String> =
        running.seen.iter().filter(|line| !line.contains(" module=sync-proxy")).collect();
    assert!(strange.is_empty(), "{strange:?}");
}

#[test]
fn its_log_as_json() {
    for (flags, variables) in [(&["-json"][..], &[][..]), (&[], &[("LOG_JSON", "1")])] {
        let mut lab = Lab::new(1);
        let mut running = start(&lab, flags, variables);
        let sync = running.address_in_json("sync");
        let block = lab.chain.grow();
        from(&sync, "10.0.0.1", None, &payload(&block)).fine();
        let line = running.line(&["new timestamp from"]);
        let line: Value = serde_json::from_str(&line).unwrap();
        for (field, value) in [
            ("level", Value::from("info")),
            ("module", "sync-proxy".into()),
            ("msg", "new timestamp from engine_newPayloadV4 request received from beacon node".into()),
            ("newAddr", "10.0.0.1".into()),
            ("newTimestamp", block.timestamp.into()),
        ] {
            assert_eq!(line[field], value, "{field}");
        }
        assert!(line["time"].as_str().unwrap().ends_with('Z'));
    }
}

#[test]
fn under_our_name_the_log_is_ours() {
    let mut lab = Lab::new(2);
    lab.els[1].set(Fault::LieSyncing);
    let builders = lab.builders();
    let flags = ["sync", "-builders", &builders, "-addr", "localhost:0", "--admin-listen", "127.0.0.1:0"];
    let mut running = Place::new().start(&[&flags[..], &["--log-format", "logfmt"]].concat(), &[]);
    let sync = running.address("sync");
    let block = lab.chain.grow();
    from(&sync, "10.0.0.1", None, &payload(&block)).fine();
    from(&sync, "10.0.0.1", None, &head(&block)).fine();
    running.line(&["the leader changed", "to=10.0.0.1"]);
    running.signal(Signal::TERM);
    assert_eq!(running.ended(), Some(0));
    let theirs = |line: &&String| {
        ["new timestamp", "found difference", "module="].iter().any(|part| line.contains(part))
    };
    assert_eq!(running.seen.iter().find(theirs), None);
}

#[test]
fn in_mirror_mode_the_answer_is_empty_and_the_els_get_the_call() {
    for (flags, variables) in [(&["-mirror-mode"][..], &[][..]), (&[], &[("MIRROR_MODE", "true")])] {
        let mut lab = Lab::new(1);
        let mut running = start(&lab, flags, variables);
        let sync = address(&mut running, "sync");
        let block = lab.chain.grow();
        for body in [payload(&block), head(&block)] {
            let reply = from(&sync, "10.0.0.1", None, &body);
            assert_eq!((reply.status, reply.body.as_str()), (200, ""));
        }
        lab.waits_for_calls(0, Family::ForkchoiceUpdated, 1);
        let follows = lab.els[0].wait_until(SOON, |el| el.head().hash == block.hash);
        lab.runtime.block_on(follows).unwrap();
    }
}

/// With `-request-timeout`, which sync-proxy uses for dialling only.
#[test]
fn a_hung_el_keeps_no_reply_back() {
    let mut lab = Lab::new(1);
    lab.els[0].set(Fault::Hang.on(Family::ForkchoiceUpdated));
    let mut running = start(&lab, &["-request-timeout", "200"], &[]);
    let sync = address(&mut running, "sync");
    let block = lab.chain.grow();
    from(&sync, "10.0.0.1", None, &payload(&block)).fine();
    // Its own wait for a head is 8 s.
    lab.els[0].clear_calls();
    let reply = from(&sync, "10.0.0.1", None, &head(&block)).fine();
    assert!(reply.contains("\"SYNCING\""), "{reply}");
    lab.waits_for_calls(0, Family::ForkchoiceUpdated, 1);
}

#[test]
fn a_proxy_further_down_gets_what_the_els_get() {
    let mut lab = Lab::new(2);
    let builders = lab.els[0].addr().to_string();
    let proxy = lab.els[1].addr().to_string();
    let flags = [
        "-addr",
        "localhost:0",
        "-builders",
        &builders,
        "-proxies",
        &proxy,
        "-proxy-request-timeout",
        "2000",
    ];
    let mut running =
        Place::new().called("sync-proxy").start(&[&flags[..], &["--admin-listen", "off"]].concat(), &[]);
    let sync = address(&mut running, "sync");
    let block = lab.chain.grow();
    from(&sync, "10.0.0.1", None, &payload(&block)).fine();
    from(&sync, "10.0.0.1", None, &head(&block)).fine();
    lab.waits_for_calls(1, Family::NewPayload, 1);
    lab.waits_for_calls(1, Family::ForkchoiceUpdated, 1);
}

#[test]
fn with_no_secret_of_ours_the_callers_token_is_passed_through() {
    let secret = Secret::from_hex(&"22".repeat(32)).unwrap();
    let mut lab = Lab::with_secret(1, Some(&secret));
    let mut running = start(&lab, &[], &[]);
    let sync = address(&mut running, "sync");
    let token = sign(&secret, &Claims::at(wall()));
    let block = lab.chain.grow();
    assert!(from(&sync, "10.0.0.1", Some(&token), &payload(&block)).fine().contains("\"VALID\""));

    // What can be asked of an EL that takes its callers' tokens only.
    let builders = lab.builders();
    let done = Place::new().run(&["check", "--probe", "sync", "-builders", &builders], &[]);
    assert_eq!((done.status, done.err.as_str()), (Some(0), ""), "{}", done.out);
    assert!(done.out.contains("is there, and takes only its callers' tokens"), "{}", done.out);
}

/// In the place of jwt-tokens-service, beside sync-proxy's flags.
#[test]
fn tokens_are_served_without_a_side_car() {
    let lab = Lab::new(1);
    let place = Place::new().called("sync-proxy");
    place.file("config.json", &format!("{{\"el-1\": \"{}\"}}", "22".repeat(32)));
    place.file(
        "m.toml",
        "[sync.tokens]\nconfig = \"config.json\"\npeers = [\"127.0.0.0/8\"]\nclient_id = \"relay-1\"\n",
    );
    let builders = lab.builders();
    let flags = ["-c", "m.toml", "-addr", "localhost:0", "-builders", &builders, "--admin-listen", "off"];
    let mut running = place.start(&flags, &[]);
    let sync = address(&mut running, "sync");
    let reply = ask(&sync, "GET", "/tokens/", "");
    assert_eq!((reply.status, reply.body.as_str()), (200, ""));
    let start = "Authorization-El-1: Bearer ";
    let token = reply.head.lines().find_map(|line| line.strip_prefix(start)).expect(&reply.head);
    let secret = Secret::from_hex(&"22".repeat(32)).unwrap();
    assert_eq!(verify(&secret, token, wall()).unwrap().id.as_deref(), Some("relay-1"));
    assert_eq!(ask(&sync, "GET", "/tokens", "").status, 307);
    assert_eq!(ask(&sync, "GET", "/", "").status, 200);
}

#[test]
fn status_and_the_api_show_who_leads_and_how_far_els_are() {
    let mut lab = Lab::new(2);
    let mut running = start(&lab, &["--clients", "one=10.0.0.1,two=10.0.0.2"], &[]);
    let sync = address(&mut running, "sync");
    let admin = address(&mut running, "admin");
    let status = || Place::new().run(&["status", "--admin-listen", &admin], &[]).out;
    assert!(status().contains("no consensus client has called yet"));
    let block = lab.chain.grow();
    for client in ["10.0.0.1", "10.0.0.2"] {
        from(&sync, client, None, &payload(&block)).fine();
        from(&sync, client, None, &head(&block)).fine();
    }
    let mut state = Value::Null;
    eventually("both ELs are at the head", || {
        let roles: Value = serde_json::from_str(&ask(&admin, "GET", "/api/v1/sync", "").fine()).unwrap();
        state = roles["roles"][0]["state"].clone();
        state["nodes"].as_array().unwrap().iter().all(|node| node["head"] == 1 && node["lag"] == 0)
    });
    assert_eq!(state["leader"], "one");
    assert_eq!(state["head"], block.hash.to_string());
    let clients = state["clients"].as_array().unwrap();
    let seen: Vec<_> = clients.iter().map(|c| (c["name"].as_str().unwrap(), c["leads"] == true)).collect();
    assert_eq!(seen, [("one", true), ("two", false)]);
    assert!(clients.iter().all(|client| client["state"] == "well" && client["head"] == state["head"]));

    let page = status();
    let has = |parts: &[&str]| page.lines().any(|line| parts.iter().all(|part| line.contains(part)));
    assert!(has(&["  leader one, slot ", &block.hash.short()]), "{page}");
    assert!(has(&["one", "leads", "well"]) && has(&["two", "well"]), "{page}");
    assert!(has(&["NAME", "LAG"]) && has(&[&lab.els[1].addr().to_string(), "fit"]), "{page}");
}

#[test]
fn an_address_that_is_taken_is_told() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let flags = ["-builders", "127.0.0.1:1", "-addr", "localhost:0", "-metrics-addr", &address];
    let done = Place::new().called("sync-proxy").run(&flags, &[]);
    assert_eq!(done.status, Some(2));
    assert!(done.err.contains(&format!("--metrics-addr: cannot listen on {address}")), "{}", done.err);
}
