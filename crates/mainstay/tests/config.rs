//! The configuration as a user meets it: sources, messages, exit statuses.
#![allow(clippy::unwrap_used)]

mod support;

use support::Place;

const NODE: &str = "http://127.0.0.1:1";

#[test]
fn flag_over_variable_over_file_over_default() {
    let place = Place::new();
    place.file(
        "mainstay.toml",
        "[engine]\nnodes = [\"http://127.0.0.1:1\"]\njwt_secret = \"jwt.hex\"\nmajority = 0.7\n",
    );
    let majority = |arguments: &[&str], variables: &[(&str, &str)]| {
        let listing = place.run(arguments, variables).fine().to_owned();
        listing.lines().find(|line| line.starts_with("majority")).unwrap().to_owned()
    };
    let variable = [("MAINSTAY_ENGINE_MAJORITY", "0.8"), ("MAINSTAY_CONFIG", "mainstay.toml")];
    assert_eq!(majority(&["config"], &[]), "majority = 0.7 # mainstay.toml:4");
    assert_eq!(majority(&["config"], &variable), "majority = 0.8 # MAINSTAY_ENGINE_MAJORITY");
    assert_eq!(
        majority(&["config", "engine", "--fcu-majority", "0.9"], &variable),
        "majority = 0.9 # --majority"
    );
    let flags = ["config", "engine", "-n", NODE, "-j", "jwt.hex"];
    assert_eq!(majority(&flags, &[]), "majority = 0.6 # default");
}

#[test]
fn every_problem_is_told_on_a_line_of_its_own() {
    let place = Place::new();
    place.file(
        "m.toml",
        r#"shutdown_grace = 10
[log]
level = "loud"
[orbit]
[engine]
jwt_secret = "none.hex"
nodes = ["http://127.0.0.1:1", "ftp://b"]
majority = 1.5
majorty = 0.6
"#,
    );
    for command in ["run", "check", "config"] {
        let done = place.run(&[command, "--config", "m.toml", "--admin-listen", "nowhere"], &[]);
        assert_eq!((done.status, done.out.as_str()), (Some(2), ""), "{command}");
        let told: Vec<&str> = done.err.lines().collect();
        let starts = [
            "error: --admin-listen: \"nowhere\" is not an IP address with a port",
            "error: m.toml:1: shutdown_grace: 10 has no unit, write \"10ms\" or \"10s\"",
            "error: m.toml:3: [log] level: \"loud\" is not one of off, error, warn, info, debug, trace",
            "error: m.toml:4: [orbit]: unknown section, known are: log, admin, attest, engine, sync, rpc, beacon, relay",
            "error: m.toml:6: [engine] jwt_secret: cannot read the JWT secret none.hex: ",
            "error: m.toml:7: [engine] nodes: item 2: scheme \"ftp\"",
            "error: m.toml:8: [engine] majority: 1.5 is not between 0 and 1",
            "error: m.toml:9: [engine] majorty: unknown key, did you mean `majority`?",
        ];
        assert_eq!(told.len(), starts.len(), "{told:#?}");
        for (line, start) in told.iter().zip(starts) {
            assert!(line.starts_with(start), "{line}\n{start}");
        }
    }
}

#[test]
fn a_missing_file_and_no_file_are_told() {
    let place = Place::new();
    let done = place.run(&["run", "--config", "none.toml"], &[]);
    assert_eq!(done.status, Some(2));
    assert!(done.err.starts_with("error: none.toml: cannot read the config file: "), "{}", done.err);
    place.run(&["run"], &[]).refused(&[
        "error: no config file, give --config FILE or MAINSTAY_CONFIG (there is no mainstay.toml in this folder)",
    ]);
}

#[test]
fn a_file_without_a_role_is_told() {
    let place = Place::new();
    place.file("m.toml", "[admin]\nlisten = \"off\"\n");
    place.run(&["run", "-c", "m.toml"], &[]).refused(&[
        "error: m.toml: has no role to run, add [engine] or [sync] or [rpc] or [beacon] or [relay]",
    ]);
}

#[test]
fn a_command_line_that_is_wrong_has_status_2() {
    let place = Place::new();
    for arguments in [
        &["engine", "--nodez", "x"][..],
        &["serve"],
        &[],
        &["engine", "--port", "1", "--port", "2"],
        &["rpc", "-htp"],
    ] {
        assert_eq!(place.run(arguments, &[]).status, Some(2), "{arguments:?}");
    }
    assert_eq!(place.run(&["--help"], &[]).status, Some(0));
    assert!(place.run(&["--version"], &[]).fine().starts_with("mainstay "));
}

#[test]
fn paths_in_a_file_are_relative_to_it() {
    let place = Place::new();
    std::fs::create_dir(place.path().join("conf")).unwrap();
    std::fs::rename(place.path().join("jwt.hex"), place.path().join("conf/own.hex")).unwrap();
    place.file(
        "conf/m.toml",
        "[engine]\njwt_secret = \"own.hex\"\nnodes = [\"http://127.0.0.1:1#jwt-secret=own.hex\"]\n",
    );
    place.run(&["check", "--config", "conf/m.toml"], &[]).fine();
}

#[test]
fn check_says_what_would_run() {
    let place = Place::new();
    let done =
        place.run(&["check", "engine", "--nodes", NODE, "-j", "jwt.hex", "--admin-listen", "off"], &[]);
    assert_eq!(done.fine(), "ok: engine on 127.0.0.1:7000 with 1 node; admin off\n");
    place.file(
        "m.toml",
        "[[engine]]\nname = \"a\"\njwt_secret = \"jwt.hex\"\nnodes = \"http://127.0.0.1:1, http://127.0.0.1:2\"\n\
         [[engine]]\nname = \"b\"\nlisten = \"127.0.0.1:7001\"\njwt_secret = \"jwt.hex\"\nnodes = [\"http://127.0.0.1:1\"]\n",
    );
    assert_eq!(
        place.run(&["check", "-c", "m.toml"], &[]).fine(),
        "ok: m.toml: engine on 127.0.0.1:7000 with 2 nodes; engine on 127.0.0.1:7001 with 1 node; admin on 127.0.0.1:7700\n"
    );
    let listing = place.run(&["config", "-c", "m.toml"], &[]);
    assert_eq!(listing.fine().matches("[[engine]]").count(), 2);
}

#[test]
fn of_a_guards_ports_the_one_that_is_taken_is_told() {
    let place = Place::new();
    let guard = |listen: &str, agent: &str| {
        format!(
            "[[beacon.guard]]\nlisten = \"{listen}\"\nbeacon_node = \"http://127.0.0.1:1\"\nagent_check = \"{agent}\"\n"
        )
    };
    let guards = [guard("127.0.0.1:1", "127.0.0.1:2"), guard("127.0.0.1:3", "127.0.0.1:1")].concat();
    place.file("m.toml", &format!("[[beacon]]\n{guards}"));
    let done = place.run(&["check", "-c", "m.toml"], &[]);
    assert_eq!(done.status, Some(2));
    let told = "agent_check: 127.0.0.1:1 is taken by [beacon] (m.toml:3) already, choose another port";
    assert!(done.err.starts_with("error: m.toml:9: ") && done.err.contains(told), "{}", done.err);

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let flags =
        ["beacon", "--beacon-node", "http://127.0.0.1:1", "--listen", &taken, "--agent-check", &taken];
    let done = place.run(&[&["check"], &flags[..]].concat(), &[]);
    let told = format!("error: --agent-check: {taken} is taken by [beacon] (--listen) already");
    assert!(done.err.starts_with(&told), "{}", done.err);
}

#[test]
fn several_of_a_role_need_their_own_names_and_ports() {
    let place = Place::new();
    let one =
        "[[engine]]\njwt_secret = \"jwt.hex\"\nnodes = \"http://127.0.0.1:1\"\nlisten = \"127.0.0.1:7000\"\n";
    place.file("m.toml", &format!("{one}{one}"));
    let done = place.run(&["check", "-c", "m.toml"], &[]);
    assert_eq!(done.status, Some(2));
    assert!(
        done.err.contains("error: m.toml:8: [engine] listen: 127.0.0.1:7000 is taken by [engine] (m.toml:4)")
    );
    assert!(done.err.contains("[engine] name: another [[engine]] is called \"engine\" too"), "{}", done.err);
    let done = place.run(&["check", "-c", "m.toml"], &[("MAINSTAY_ENGINE_MAJORITY", "0.6")]);
    assert!(
        done.err.contains("MAINSTAY_ENGINE_MAJORITY: there are 2 [[engine]] in the config file"),
        "{}",
        done.err
    );
    let done = place.run(&["check", "engine", "-c", "m.toml"], &[]);
    assert!(done.err.contains("use `mainstay run`"), "{}", done.err);
}

#[test]
fn an_unknown_variable_is_told() {
    let place = Place::new();
    let flags = ["check", "engine", "-n", NODE, "-j", "jwt.hex"];
    place.run(&flags, &[("MAINSTAY_ENGINE_MAJORTY", "1")]).refused(&[
        "error: MAINSTAY_ENGINE_MAJORTY: unknown variable, did you mean `MAINSTAY_ENGINE_MAJORITY`?",
    ]);
    place.run(&flags, &[("MAINSTAY_SERVICE_HOST", "10.0.0.1")]).fine();
}

#[test]
fn a_role_runs_from_variables_alone() {
    let place = Place::new();
    let variables = [
        ("MAINSTAY_ENGINE_NODES", "http://127.0.0.1:1,http://127.0.0.1:2"),
        ("MAINSTAY_ENGINE_JWT_SECRET", "jwt.hex"),
    ];
    assert!(place.run(&["check", "engine"], &variables).fine().contains("with 2 nodes"));
}

#[test]
fn rust_log_is_the_weakest_variable_of_the_level() {
    let place = Place::new();
    place.file(
        "m.toml",
        "[log]\nlevel = \"warn\"\n[engine]\njwt_secret = \"jwt.hex\"\nnodes = \"http://a\"\n",
    );
    let level = |variables: &[(&str, &str)]| {
        let listing = place.run(&["config", "-c", "m.toml"], variables).fine().to_owned();
        listing.lines().find(|line| line.starts_with("level")).unwrap().to_owned()
    };
    assert_eq!(level(&[("RUST_LOG", "debug")]), "level = \"debug\" # RUST_LOG");
    assert_eq!(
        level(&[("RUST_LOG", "debug"), ("MAINSTAY_LOG_LEVEL", "error")]),
        "level = \"error\" # MAINSTAY_LOG_LEVEL"
    );
    assert_eq!(level(&[]), "level = \"warn\" # m.toml:2");
}

#[test]
fn no_secret_is_printed() {
    let place = Place::new();
    place.file("token", "correct-horse-battery-staple");
    let node = "http://user:hunter2@127.0.0.1:1";
    for json in [&[][..], &["--json"]] {
        let mut arguments =
            vec!["config", "engine", "-n", node, "-j", "jwt.hex", "--admin-token-file", "token"];
        arguments.extend(json);
        let listing = place.run(&arguments, &[]);
        let text = listing.fine();
        assert!(
            !text.contains("hunter2") && !text.contains("correct-horse") && !text.contains(&"11".repeat(8))
        );
        assert!(text.contains("http://<set>@127.0.0.1:1") && text.contains("--nodes"), "{text}");
    }
    let done = place.run(
        &[
            "config",
            "rpc",
            "--redis",
            "redis-sentinel://:hunter2@h/m?sentinel_password=hunter2",
            "-n",
            "http://a?key=hunter2",
        ],
        &[],
    );
    assert!(!done.fine().contains("hunter2"), "{}", done.out);
    // A secret in the place of its file's name must not be shown in full either way.
    let done = place.run(&["check", "engine", "-n", "http://user:hunter2@", "-j", "jwt.hex"], &[]);
    assert!(!done.err.contains("hunter2"), "{}", done.err);
}

#[test]
fn a_weak_token_is_told() {
    let place = Place::new();
    place.file("token", "short\n");
    let done =
        place.run(&["check", "engine", "-n", NODE, "-j", "jwt.hex", "--admin-token-file", "token"], &[]);
    assert_eq!(done.status, Some(2));
    assert!(done.err.starts_with("error: --admin-token-file: token: an admin token has 16"), "{}", done.err);
}

#[test]
fn a_file_without_an_end_is_told() {
    let place = Place::new();
    place
        .run(&["check", "-c", "/dev/zero"], &[])
        .refused(&["error: /dev/zero: is longer than 4 MiB, this is no config file"]);
    place
        .run(&["check", "engine", "-n", NODE, "-j", "jwt.hex", "--admin-token-file", "/dev/zero"], &[])
        .refused(&["error: --admin-token-file: /dev/zero: longer than 4096 bytes, this is no token"]);
}

#[test]
fn the_schema_is_the_golden_file() {
    let printed = Place::new().run(&["schema"], &[]).fine().to_owned();
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/config.schema.json");
    let kept = std::fs::read_to_string(golden).unwrap_or_default();
    assert!(
        kept == printed,
        "the keys have changed: run `mainstay schema > docs/config.schema.json` and look at the difference"
    );
}
