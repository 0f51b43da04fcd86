#![allow(clippy::unwrap_used)]

use super::*;
use crate::testing::settings;

fn config(text: &str) -> Result<Config, Vec<String>> {
    let (settings, mut problems) = settings(&SECTION, &format!("[beacon]\n{text}"));
    let config = Config::from_settings(&settings, &mut problems);
    match config {
        Some(config) if problems.is_empty() => Ok(config),
        _ => Err(problems.iter().map(ToString::to_string).collect()),
    }
}

#[test]
fn one_node_needs_no_more_than_its_address() {
    let config = config(r#"beacon_node = ["http://127.0.0.1:5052"]"#).unwrap();
    let [guard] = &config.guards[..] else { panic!("{}", config.guards.len()) };
    assert_eq!((guard.name.as_str(), guard.listen.to_string().as_str()), ("beacon-1", "127.0.0.1:5062"));
    assert_eq!((guard.min_peers, guard.attnets, guard.agent_check), (0, None, None));
    assert!(guard.execution_node.is_none());
    let timing = Timing {
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        rules: check::Rules { rise: 2, fall: 1 },
    };
    assert_eq!(config.timings, [timing; 7]);
    assert_eq!((config.warm_up, config.max_lag, config.min_fit), (Duration::from_secs(10), 2, 0));
    assert_eq!(config.sync, SyncRules { max_distance: Some(8), optimistic: false });
    assert_eq!(config.max_block_age, Some(Duration::from_secs(120)));
    assert_eq!((config.body_max, config.request_timeout), (100 << 20, None));
}

#[test]
fn lists_in_step_and_tables() {
    let config = config(
        r#"
listen = ["127.0.0.1:1", "127.0.0.1:2"]
beacon_node = ["http://a:5052", "https://b#name=second"]
execution_node = ["http://a:8545", "http://b:8545"]
min_peers = [64]
agent_check = ["127.0.0.1:3", "127.0.0.1:4"]
attnets = "all"
keep_last = true
min_fit = 2
max_sync_distance = "off"
max_block_age = "off"
optimistic = "allow"
request_timeout = "30s"
[[beacon.guard]]
name = "third"
listen = "127.0.0.1:5"
beacon_node = "http://c"
min_peers = 8
attnets = "0-3"
[[beacon.guard]]
listen = "127.0.0.1:6"
beacon_node = "http://d"
[[beacon.tune]]
check = "peers"
interval = "5s"
fall = 3
[[beacon.tune]]
check = "lag"
rise = 4
"#,
    )
    .unwrap();
    let shown: Vec<_> = config
        .guards
        .iter()
        .map(|g| {
            (
                g.name.as_str(),
                g.listen.tcp().unwrap().port(),
                g.beacon_node.as_str(),
                g.min_peers,
                g.attnets.unwrap().to_string(),
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("beacon-1", 1, "http://a:5052/", 64, "0-63".to_owned()),
            ("second", 2, "https://b/", 64, "0-63".to_owned()),
            ("third", 5, "http://c/", 8, "0-3".to_owned()),
            ("beacon-4", 6, "http://d/", 0, "0-63".to_owned()),
        ]
    );
    assert_eq!(config.guards[1].agent_check.unwrap().port(), 4);
    assert!(config.guards[0].execution_node.is_some() && config.guards[2].execution_node.is_none());
    assert_eq!(
        (config.min_fit, config.max_block_age, config.request_timeout),
        (2, None, Some(Duration::from_secs(30)))
    );
    assert_eq!(config.sync, SyncRules { max_distance: None, optimistic: true });
    let peers = config.timing_of(Builtin::Peers);
    assert_eq!(
        (peers.interval.as_secs(), peers.timeout.as_secs(), peers.rules.rise, peers.rules.fall),
        (5, 1, 2, 3)
    );
    assert_eq!(config.timing_of(Builtin::Lag).rules.rise, 4);
}

#[test]
fn a_jwt_secret_for_an_engine_api_port() {
    let dir = std::env::temp_dir().join(format!("mainstay-beacon-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let file = dir.join("jwt.hex");
    std::fs::write(&file, "0x".to_owned() + &"ab".repeat(32)).unwrap();
    let file = file.display();
    let one = "beacon_node = [\"http://a\"]\n";
    let with =
        |rest: String| config(&format!("{one}{rest}")).unwrap().guards[0].execution_node.clone().unwrap();
    assert!(with(format!("execution_node = [\"http://b:8551\"]\njwt_secret = \"{file}\"")).secret.is_some());
    assert!(with(format!("execution_node = [\"http://b:8551#jwt-secret={file}\"]")).secret.is_some());
    assert!(with("execution_node = [\"http://b:8545\"]".to_owned()).secret.is_none());
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    for (text, told) in [
        ("", "[beacon] beacon_node: name at least one beacon node, here or in [[beacon.guard]]"),
        (
            "beacon_node = [\"http://a\", \"http://b\"]",
            "[beacon] listen: needed with several beacon nodes: one address for each, in the same order",
        ),
        (
            "listen = [\"127.0.0.1:1\"]\nbeacon_node = [\"http://a\", \"http://b\"]",
            "mainstay.toml:2: [beacon] listen: 1 for 2 of beacon_node: give one for each, in the same order",
        ),
        ("beacon_node = [\"ftp://a\"]", "mainstay.toml:2: [beacon] beacon_node: "),
        ("beacon_node = [\"http://a#tier=backup\"]", "a beacon node takes no option but #name="),
        ("beacon_node = [\"http://a?x=1\"]", "has no query"),
        (
            "beacon_node = [\"http://a\"]\nattnets = \"64\"",
            "mainstay.toml:3: [beacon] attnets: \"64\" is no subnet",
        ),
        ("beacon_node = [\"http://a\"]\ninterval = \"0s\"", "interval: has to be longer than nothing"),
        (
            "beacon_node = [\"http://a\"]\nmin_fit = 2",
            "mainstay.toml:3: [beacon] min_fit: is for keep_last, which is off",
        ),
        (
            "beacon_node = [\"http://a\"]\nexecution_node = [\"http://b\"]\njwt_secret = \"/nowhere/jwt.hex\"",
            "mainstay.toml:4: [beacon] jwt_secret: ",
        ),
        (
            "beacon_node = [\"http://a\"]\ntls_cert = \"/nowhere/cert.pem\"",
            "mainstay.toml:3: [beacon] tls_cert: needs the certificate's private key: tls_key",
        ),
        (
            "[[beacon.guard]]\nlisten = \"127.0.0.1:1\"\nbeacon_node = \"http://a\"\ntls_key = \"/nowhere/key.pem\"",
            "mainstay.toml:5: [[beacon.guard]] tls_key: needs the key's certificate: tls_cert",
        ),
        (
            "beacon_node = [\"http://a\"]\ntls_cert = \"/nowhere/cert.pem\"\ntls_key = \"/nowhere/key.pem\"",
            "mainstay.toml:3: [beacon] tls_cert: /nowhere/cert.pem: cannot be read: ",
        ),
        (
            "[[beacon.guard]]\nlisten = \"127.0.0.1:1\"\nbeacon_node = \"http://a\"\nname = \"x\"\n[[beacon.guard]]\nlisten = \"127.0.0.1:2\"\nbeacon_node = \"http://b\"\nname = \"x\"",
            "mainstay.toml:9: [[beacon.guard]] name: another guard is called \"x\" too",
        ),
        (
            "beacon_node = [\"http://a\"]\n[[beacon.tune]]\ncheck = \"lag\"\ninterval = \"2s\"",
            "mainstay.toml:5: [[beacon.tune]] interval: lag is judged with every round of syncing",
        ),
        ("beacon_node = [\"http://a\"]\n[[beacon.tune]]\ncheck = \"peer\"", "peers"),
        ("[[beacon.guard]]\nlisten = \"127.0.0.1:1\"", "[[beacon.guard]] beacon_node"),
    ] {
        let problems = config(text).err().unwrap_or_default();
        assert!(problems.iter().any(|problem| problem.contains(told)), "{text}\n{problems:#?}");
    }
}

#[test]
fn checks_of_the_operators_own() {
    let two =
        "listen = [\"127.0.0.1:1\", \"127.0.0.1:2\"]\nbeacon_node = [\"http://a\", \"http://b#name=b\"]\n";
    let check = "[[beacon.check]]\nname = \"fork\"\npath = \"/eth/v1/config/spec\"\nexpect = \"has(body.data.GLOAS_FORK_EPOCH)\"\n";
    let config_ = config(&format!("{two}{check}guards = [\"b\"]\nfall = 3\n")).unwrap();
    let [own] = &config_.checks[..] else { panic!("{:?}", config_.checks) };
    assert_eq!((own.name.as_str(), own.is_for("b"), own.is_for("beacon-1")), ("fork", true, false));
    let timing = own.tuning.over(config_.timing);
    assert_eq!((timing.interval.as_secs(), timing.rules.rise, timing.rules.fall), (1, 2, 3));

    let told = |text: String| config(&text).err().unwrap_or_default();
    assert_eq!(
        told(format!("{two}{}", check.replace("has(body.data.GLOAS_FORK_EPOCH)", "status = 200"))),
        ["mainstay.toml:7: [[beacon.check]] expect: column 8: two values are compared with =="]
    );
    assert_eq!(
        told(format!("{two}{check}guards = [\"c\"]")),
        ["mainstay.toml:8: [[beacon.check]] guards: there is no guard c, there are beacon-1, b"]
    );
    // Where guards can't be read, nothing is said of what checks are for.
    let broken = told(format!("{}{check}guards = [\"b\"]", two.replace("http://b", "ftp://b")));
    assert!(broken.len() == 1 && broken[0].contains("ftp"), "{broken:?}");
}
