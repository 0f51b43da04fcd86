//! Precedence, places and messages, on a table like that of a role.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::time::Duration;

use mainstay_settings::{
    File, Flags, Key, Kind, Origin, Problem, Section, Settings, Sources, Variables, check_file,
    check_variables, describe_json, describe_toml, resolve, schema,
};

static ENGINE: Section = Section::role(
    "engine",
    "A role",
    &[
        Key::new("listen", Kind::Address, "Where it listens").default("127.0.0.1:7000"),
        Key::new("nodes", Kind::List(&Kind::Text), "The nodes").short('n').required(),
        Key::new("jwt_secret", Kind::Path, "The secret's file").short('j'),
        Key::new("majority", Kind::Number { min: 0.0, max: 1.0 }, "Part of the votes").default("0.6"),
        Key::new("timeout", Kind::DurationMs, "Deadline of a call").default("7500"),
        Key::new("getpayload_wait", Kind::Duration, "Wait").default("800ms"),
        Key::new("straggler_wait", Kind::Or(&Kind::Duration, &["adaptive", "timeout"]), "Wait")
            .default("adaptive"),
        Key::new("min_votes", Kind::Integer { min: 1, max: 100 }, "Votes").default("1"),
        Key::new("on_dissent", Kind::OneOf(&["syncing", "majority"]), "Rule").default("syncing"),
        Key::new("evidence_bytes", Kind::Size, "Bound").default("64MiB"),
        Key::new("node_timings", Kind::Switch, "Log pings").default("false"),
        Key::new("password", Kind::Text, "A secret").sensitive(),
        Key::new("mirror", Kind::List(&Kind::Url), "Copies"),
    ],
);
static ADMIN: Section = Section::shared(
    "admin",
    "The admin listener",
    &[Key::new("listen", Kind::Or(&Kind::Address, &["off"]), "Where").default("127.0.0.1:7700")],
);
static TOP: Section = Section::top(
    "Everything else",
    &[Key::new("shutdown_grace", Kind::Duration, "Bound of stopping").default("10s")],
);

fn file(text: &str) -> File {
    File::parse(Path::new("conf/mainstay.toml"), text).unwrap()
}

fn told(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(Problem::to_string).collect()
}

/// Resolves the first `[engine]` of `text`.
fn engine(text: &str, variables: &[(&str, &str)], flags: &[(&str, &str)]) -> (Settings, Vec<String>) {
    let file = file(text);
    let variables: Variables =
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let mut given = Flags::default();
    for (key, value) in flags {
        given.set(key, format!("--{key}"), vec![(*value).to_owned()]);
    }
    let mut problems = Vec::new();
    let sources = Sources {
        file: file.instances("engine").first().copied(),
        variables: Some(&variables),
        fallbacks: &[],
        flags: &given,
    };
    let settings = resolve(&ENGINE, &sources, &mut problems);
    (settings, told(&problems))
}

#[test]
fn a_flag_beats_a_variable_beats_the_file_beats_the_default() {
    let text = "[engine]\nnodes = [\"a\"]\nmajority = 0.7\n";
    let variable = [("MAINSTAY_ENGINE_MAJORITY", "0.8")];
    let (settings, problems) = engine(text, &variable, &[("majority", "0.9")]);
    assert_eq!(problems, [""; 0]);
    assert_eq!(settings.number("majority"), Some(0.9));
    assert_eq!(*settings.origin("majority"), Origin::Flag("--majority".into()));

    let (settings, _) = engine(text, &variable, &[]);
    assert_eq!(settings.number("majority"), Some(0.8));

    let (settings, _) = engine(text, &[("MAINSTAY_ENGINE_MAJORITY", "")], &[]);
    assert_eq!(settings.number("majority"), Some(0.7), "set to nothing is not set");
    assert_eq!(settings.origin("majority").to_string(), "conf/mainstay.toml:3");

    let (settings, _) = engine("[engine]\nnodes = [\"a\"]\n", &[], &[]);
    assert_eq!(settings.number("majority"), Some(0.6));
    assert!(!settings.is_set("majority"));
}

#[test]
fn a_weaker_source_that_is_wrong_is_not_looked_at() {
    let (settings, problems) = engine("[engine]\nnodes=\"a\"\nmajority = 9\n", &[], &[("majority", "0.9")]);
    assert_eq!(problems, [""; 0]);
    assert_eq!(settings.number("majority"), Some(0.9));
}

#[test]
fn every_kind_is_read() {
    let (settings, problems) = engine(
        r#"
[engine]
listen = "[::1]:9"
nodes = ["http://a#jwt-secret=x", " http://b,c "]
jwt_secret = "jwt.hex"
timeout = 500
getpayload_wait = "0.7s"
straggler_wait = "40ms"
min_votes = 0x2
on_dissent = "Majority"
evidence_bytes = 1024
node_timings = true
mirror = "http://a, http://b"
"#,
        &[],
        &[],
    );
    assert_eq!(problems, [""; 0]);
    assert_eq!(settings.address("listen"), Some("[::1]:9".parse().unwrap()));
    assert_eq!(settings.list("nodes"), ["http://a#jwt-secret=x", "http://b,c"]);
    assert_eq!(settings.path("jwt_secret"), Some(Path::new("conf/jwt.hex")));
    assert_eq!(settings.text("jwt_secret"), Some("jwt.hex"));
    assert_eq!(settings.duration("timeout"), Some(Duration::from_millis(500)));
    assert_eq!(settings.duration("getpayload_wait"), Some(Duration::from_millis(700)));
    assert_eq!(settings.duration("straggler_wait"), Some(Duration::from_millis(40)));
    assert_eq!(settings.integer("min_votes"), Some(2));
    assert_eq!(settings.text("on_dissent"), Some("majority"));
    assert_eq!(settings.size("evidence_bytes"), Some(1024));
    assert!(settings.switch("node_timings"));
    assert_eq!(settings.list("mirror"), ["http://a", "http://b"]);
    assert_eq!(settings.text("password"), None);
}

#[test]
fn a_word_can_stand_in_the_place_of_a_value() {
    let (settings, _) = engine("[engine]\nnodes=\"a\"\n", &[], &[]);
    assert_eq!(settings.duration("straggler_wait"), None);
    assert_eq!(settings.text("straggler_wait"), Some("adaptive"));
}

#[test]
fn all_problems_are_told_with_their_lines() {
    let (_, problems) = engine(
        r#"[engine]
listen = "localhost"
nodes = [
  "http://a",
  "",
  7,
]
majority = 1.5
timeout = "soon"
getpayload_wait = 800
straggler_wait = 3
min_votes = "2"
on_dissent = "majorty"
evidence_bytes = true
node_timings = "yes"
mirror = ["nonsense"]
majorty = 0.6
zzz = 1
"#,
        &[],
        &[],
    );
    let expected = [
        r#"conf/mainstay.toml:2: [engine] listen: "localhost" is not an IP address with a port, for example "127.0.0.1:7000""#,
        r#"conf/mainstay.toml:5: [engine] nodes: is empty"#,
        r#"conf/mainstay.toml:6: [engine] nodes: expected text in quotes, found the number 7"#,
        r#"conf/mainstay.toml:8: [engine] majority: 1.5 is not between 0 and 1"#,
        r#"conf/mainstay.toml:9: [engine] timeout: "soon" is not a duration, write for example "250ms", "7.5s", "2m" or "1h""#,
        r#"conf/mainstay.toml:10: [engine] getpayload_wait: 800 has no unit, write "800ms" or "800s""#,
        r#"conf/mainstay.toml:11: [engine] straggler_wait: 3 has no unit, write "3ms" or "3s"; or it is "adaptive", "timeout""#,
        r#"conf/mainstay.toml:12: [engine] min_votes: expected a whole number, for example 1, found text in quotes"#,
        r#"conf/mainstay.toml:13: [engine] on_dissent: "majorty" is not one of "syncing", "majority", did you mean "majority"?"#,
        r#"conf/mainstay.toml:14: [engine] evidence_bytes: expected a size, for example "64MiB", found true"#,
        r#"conf/mainstay.toml:15: [engine] node_timings: expected true or false, found text in quotes"#,
        r#"conf/mainstay.toml:16: [engine] mirror: "nonsense" is not a URL: relative URL without a base"#,
        r#"conf/mainstay.toml:17: [engine] majorty: unknown key, did you mean `majority`?"#,
    ];
    assert_eq!(&problems[..13], expected);
    assert!(
        problems[13]
            .starts_with("conf/mainstay.toml:18: [engine] zzz: unknown key, known are: listen, nodes,")
    );
}

#[test]
fn problems_of_flags_and_variables_are_told_under_their_names() {
    let (_, problems) =
        engine("[engine]\n", &[("MAINSTAY_ENGINE_MIN_VOTES", "0")], &[("nodes", "a,,b"), ("majority", "x")]);
    assert_eq!(
        problems,
        [
            "--nodes: is empty",
            "--majority: \"x\" is not a number from 0 to 1",
            "MAINSTAY_ENGINE_MIN_VOTES: 0 is not between 1 and 100",
        ]
    );
}

#[test]
fn a_missing_key_says_all_ways_to_give_it() {
    let (_, problems) = engine("\n[engine]\n", &[], &[]);
    assert_eq!(
        problems,
        [
            "conf/mainstay.toml:2: [engine] nodes: is missing, give --nodes, MAINSTAY_ENGINE_NODES or `nodes` in the config file"
        ]
    );
    let (_, problems) = engine("[engine]\nnodes = []\n", &[], &[]);
    assert_eq!(problems.len(), 1);
    assert!(problems[0].contains(":2: [engine] nodes: is empty"), "{problems:?}");
}

#[test]
fn what_a_role_says_of_a_key_known_to_be_wrong_is_dropped() {
    let file = file("[engine]\nmajority = 3\njwt_secret = \"x\"\nnodes = \"a\"");
    let sources = Sources { file: Some(file.instances("engine")[0]), ..Sources::default() };
    let mut problems = Vec::new();
    let settings = resolve(&ENGINE, &sources, &mut problems);
    let built = settings.validate(&mut problems, |settings, problems| {
        problems.push(settings.problem("majority", "again"));
        problems.push(settings.problem("jwt_secret", "no such file"));
        Some(())
    });
    assert_eq!(built, None);
    assert_eq!(
        told(&problems),
        [
            "conf/mainstay.toml:2: [engine] majority: 3 is not between 0 and 1",
            "conf/mainstay.toml:3: [engine] jwt_secret: no such file",
        ]
    );
}

#[test]
fn sensitive_values_are_never_shown() {
    let (settings, problems) = engine(
        "[engine]\nnodes = [\"http://me:hunter2@a:1\", \"http://b\"]\npassword = \"hunter2\"\n",
        &[],
        &[],
    );
    assert_eq!(problems, [""; 0]);
    assert_eq!(settings.text("password"), Some("hunter2"));
    let shown =
        [format!("{settings:?}"), describe_json(&settings).to_string(), describe_toml(&settings, false)];
    for text in shown {
        assert!(!text.contains("hunter2"), "{text}");
        assert!(text.contains("<set>"), "{text}");
    }
    let (_, problems) =
        engine("[engine]\nnodes=\"a\"\npassword = 31337\n", &[], &[("listen", "http://me:hunter2@a")]);
    assert!(!problems.concat().contains("31337") && !problems.concat().contains("hunter2"), "{problems:?}");
}

#[test]
fn the_listing_is_a_config_file_that_means_the_same() {
    let text = "[engine]\nnodes = ['http://a\"b\\c', \"http://d\"]\ntimeout = 300\nnode_timings = true\n";
    let (settings, _) = engine(text, &[], &[]);
    let listing = describe_toml(&settings, false);
    assert!(listing.contains("timeout = \"300ms\" # conf/mainstay.toml:3\n"), "{listing}");
    assert!(listing.contains("majority = 0.6 # default\n"), "{listing}");
    assert!(listing.contains("# jwt_secret is not set\n"), "{listing}");
    let (again, problems) = engine(&listing, &[], &[]);
    assert_eq!(problems, [""; 0]);
    assert_eq!(again.list("nodes"), settings.list("nodes"));
    assert_eq!(again.duration("timeout"), settings.duration("timeout"));
}

#[test]
fn unknown_sections_and_top_keys_are_told() {
    let file = file(
        r#"shutdown_gracee = "1s"
majority = 0.5
admin = 3
[sync]
[[engine]]
[[engine]]
[engin]
"#,
    );
    let mut problems = Vec::new();
    check_file(&file, &[&TOP, &ENGINE, &ADMIN], &mut problems);
    assert_eq!(
        told(&problems),
        [
            "conf/mainstay.toml:1: shutdown_gracee: unknown key, did you mean `shutdown_grace`?",
            "conf/mainstay.toml:2: majority: unknown key here, it belongs under [engine]",
            "conf/mainstay.toml:3: admin: is a section, write [admin]",
            "conf/mainstay.toml:4: [sync]: unknown section, known are: engine, admin",
            "conf/mainstay.toml:7: [engin]: unknown section, did you mean `engine`?",
        ]
    );
    let lines: Vec<String> = file.instances("engine").iter().map(|one| one.origin().to_string()).collect();
    assert_eq!(lines, ["conf/mainstay.toml:5", "conf/mainstay.toml:6"]);
}

#[test]
fn what_exists_once_cannot_stand_twice() {
    let mut problems = Vec::new();
    check_file(&file("[[admin]]\n"), &[&TOP, &ADMIN], &mut problems);
    assert_eq!(told(&problems), ["conf/mainstay.toml:1: [admin]: there is only one, write [admin]"]);
}

#[test]
fn errors_of_syntax_carry_their_line() {
    let problems = File::parse(Path::new("m.toml"), "[engine]\nmajority = \nnodes = [\"a\"\n").unwrap_err();
    let problems = told(&problems);
    assert!(problems[0].starts_with("m.toml:2: not valid TOML: "), "{problems:?}");
    assert!(problems.iter().all(|line| !line.contains('\n')));
    let missing = told(&File::read(Path::new("/does/not/exist.toml")).unwrap_err());
    assert!(missing[0].starts_with("/does/not/exist.toml: cannot read the config file: "), "{missing:?}");
}

#[test]
fn a_key_given_twice_is_told() {
    let problems =
        File::parse(Path::new("m.toml"), "[engine]\nmajority = 0.5\nmajority = 0.6\n").unwrap_err();
    assert!(problems[0].to_string().starts_with("m.toml:3: not valid TOML: "), "{problems:?}");
}

#[test]
fn unknown_variables_are_told() {
    let variables: Variables = [
        ("MAINSTAY_ENGINE_MAJORTY", "0.5"),
        ("MAINSTAY_CONFIG", "x"),
        ("MAINSTAY_ADMIN_LISTEN", "off"),
        ("MAINSTAY_SHUTDOWN_GRACE", "1s"),
        ("HOME", "/"),
        // What Kubernetes sets for services called mainstay and mainstay-engine.
        ("MAINSTAY_SERVICE_HOST", "10.0.0.1"),
        ("MAINSTAY_SERVICE_PORT_ENGINE", "7000"),
        ("MAINSTAY_PORT", "tcp://10.0.0.1:7000"),
        ("MAINSTAY_ENGINE_PORT_7000_TCP_ADDR", "10.0.0.1"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    let check = |engines: usize, variables: &Variables| {
        let mut problems = Vec::new();
        let sections = [(&TOP, 1), (&ENGINE, engines), (&ADMIN, 1)];
        check_variables(variables, &sections, &["MAINSTAY_CONFIG"], &mut problems);
        told(&problems)
    };
    assert_eq!(
        check(1, &variables),
        ["MAINSTAY_ENGINE_MAJORTY: unknown variable, did you mean `MAINSTAY_ENGINE_MAJORITY`?"]
    );
    let variables: Variables = [("MAINSTAY_ENGINE_MAJORITY".to_owned(), "0.5".to_owned())].into();
    assert_eq!(check(1, &variables), [""; 0]);
    assert!(check(0, &variables)[0].contains("there is no [engine]"));
    assert!(check(2, &variables)[0].contains("there are 2 [[engine]] in the config file"));
}

#[test]
fn the_schema_follows_the_table() {
    let schema = schema("mainstay", &[&TOP, &ENGINE, &ADMIN]);
    let text = serde_json::to_string(&schema).unwrap();
    assert!(text.contains("https://json-schema.org/draft/2020-12/schema"));
    let majority = &schema["$defs"]["engine"]["properties"]["majority"];
    assert_eq!(majority["maximum"], 1.0);
    assert_eq!(majority["default"], 0.6);
    assert_eq!(
        majority["description"],
        "Part of the votes. Flag --majority, variable MAINSTAY_ENGINE_MAJORITY"
    );
    assert_eq!(schema["properties"]["shutdown_grace"]["default"], "10s");
    assert_eq!(schema["properties"]["admin"]["$ref"], "#/$defs/admin");
}
