#![allow(clippy::unwrap_used)]

use std::path::Path;

use mainstay_settings::{File, Sources, resolve};

use super::*;

fn config(text: &str) -> Result<Config, Vec<String>> {
    let file = File::parse(Path::new("m.toml"), &format!("[relay]\n{text}")).unwrap();
    let sources = Sources { file: file.instances("relay").first().copied(), ..Sources::default() };
    let mut problems = Vec::new();
    let settings = resolve(&SECTION, &sources, &mut problems);
    let config = Config::from_settings(&settings, &mut problems);
    match config {
        Some(config) if problems.is_empty() => Ok(config),
        _ => Err(problems.iter().map(ToString::to_string).collect()),
    }
}

const LEAST: &str = "outer = [\"sentry-1:9876\", \"[::1]:9877\"]\nproducer = [\"prodx\", \"prody\"]\n";

fn peer(address: &str) -> Peer {
    Peer::tcp(address.parse().unwrap())
}

#[test]
fn outer_peers_and_producers_are_all_it_needs() {
    let config = config(LEAST).unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:9876");
    assert_eq!(config.outer, ["sentry-1:9876".into(), "[::1]:9877".into()] as [Arc<str>; 2]);
    let producers = ["prodx", "prody"].map(|name| name.parse().unwrap());
    assert_eq!(config.rules, Rules::of(producers));
    assert_eq!(
        (config.claims.to_string(), config.claims_timeout),
        ("memory".to_owned(), Duration::from_millis(40))
    );
    assert_eq!((config.chain_id, config.max_legs, config.nodes.len()), (None, 64, 0));
}

#[test]
fn nobody_from_elsewhere_may_connect_unless_told() {
    let at = |address: &str| address.parse::<IpAddr>().unwrap();
    let own = config(LEAST).unwrap();
    for (address, allowed) in [
        ("127.0.0.1", true),
        ("127.9.9.9", true),
        ("::1", true),
        ("::ffff:127.0.0.1", true),
        ("10.0.0.1", false),
        ("192.168.0.1", false),
        ("2001:db8::1", false),
    ] {
        assert_eq!(own.admission.address(at(address)).is_ok(), allowed, "{address}");
    }
    let told = config(&format!("{LEAST}allow = [\"10.0.0.0/24\"]")).unwrap();
    for (address, allowed) in [("10.0.0.9", true), ("10.0.1.9", false), ("127.0.0.1", false)] {
        assert_eq!(told.admission.address(at(address)).is_ok(), allowed, "{address}");
    }
}

#[test]
fn nodes_are_told_apart_by_address_certificate_or_agent() {
    let config = config(&format!(
        r#"{LEAST}
[[relay.node]]
name = "a"
address = "10.0.0.1"
[[relay.node]]
name = "b"
address = "10.0.0.0/24"
agent = "node-b"
rank = 2
[[relay.node]]
name = "c"
certificate = "c.example.org"
"#
    ))
    .unwrap();
    let name = |peer: &Peer, agent| config.node(peer, agent).map(|node| (&*node.name, node.rank));
    assert_eq!(name(&peer("10.0.0.1:5"), None), Some(("a", 0)));
    assert_eq!(name(&peer("10.0.0.2:5"), None), None);
    assert_eq!(name(&peer("10.0.0.2:5"), Some("node-b")), Some(("b", 2)));
    assert_eq!(name(&peer("10.0.1.2:5"), Some("node-b")), None);
    let certified = Peer { names: ["x", "c.example.org"].into_iter().collect(), ..peer("10.0.0.2:5") };
    assert_eq!(name(&certified, None), Some(("c", 0)));
    assert_eq!(name(&Peer::default(), None), None);
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let text = r#"
outer = ["sentry", "sentry:0", "sentry:99999", "::1:9876", "a b:1", "s:1", "s:1"]
producer = ["prodx", "Prod!"]
allow = ["10.0.0.0/33"]
claims = "user:secret@host"
claims_timeout = "0ms"
chain_id = "abc"
early = "7s"
late = "120s"
rank_hold = "51ms"
[[relay.node]]
name = "a"
[[relay.node]]
name = "a"
address = "host"
"#;
    let told = config(text).unwrap_err();
    for part in [
        "m.toml:3: [relay] outer: item 1: \"sentry\" is no HOST:PORT",
        "item 2: \"sentry:0\" is no HOST:PORT",
        "item 3: \"sentry:99999\" is no HOST:PORT",
        "item 4: \"::1:9876\" is no HOST:PORT",
        "item 5: \"a b:1\" is no HOST:PORT",
        "item 7: is named twice",
        "m.toml:4: [relay] producer: item 2: ",
        "m.toml:5: [relay] allow: \"10.0.0.0/33\" is no network",
        "m.toml:6: [relay] claims: ",
        "m.toml:7: [relay] claims_timeout: has to be longer than nothing",
        "m.toml:8: [relay] chain_id: 64 hex digits are expected",
        "m.toml:9: [relay] early: at most 6s",
        "m.toml:10: [relay] late: from 1s to 60s: claims are kept for 120s",
        "m.toml:11: [relay] rank_hold: at most 50ms",
        "m.toml:13: [[relay.node]] name: say which node that is",
        "m.toml:15: [[relay.node]] name: another node is called \"a\" too",
        "m.toml:16: [[relay.node]] address: \"host\" is no network",
    ] {
        assert!(told.iter().any(|line| line.contains(part)), "{part}\n{told:#?}");
    }
    assert_eq!(told.len(), 17, "{told:#?}");
    assert!(!told.iter().any(|line| line.contains("secret")), "{told:#?}");
}

#[test]
fn it_has_to_be_told_where_and_for_whom() {
    let told = config("").unwrap_err();
    assert_eq!(told.len(), 2, "{told:#?}");
    assert!(told[0].contains("[relay] outer") && told[1].contains("[relay] producer"), "{told:#?}");
}

#[test]
fn certificates_users_and_keys_are_asked_for_where_told() {
    const KEY: &str = "EOS6MRyAjQq8ud7hVNYcfnVPJqcVpscN5So8BhtHuGYqET5GDW5CV";
    let own = config(&format!(
        "{LEAST}unix = \"relay.sock\"\nallow_uids = [1000, 0]\nallow_peer_keys = [\"{KEY}\"]\n"
    ))
    .unwrap();
    assert_eq!(own.unix.as_deref(), Some(Path::new("relay.sock")));
    assert!(own.admission.uid(Some(0)).is_ok() && own.admission.uid(Some(1)).is_err());
    let refused = |more: &str| config(&format!("{LEAST}{more}")).unwrap_err();
    for (more, line) in [
        ("allow_uids = [1]", "m.toml:4: [relay] allow_uids: is for a unix socket, and there is none: unix"),
        (
            "allow_names = [\"a\"]",
            "m.toml:4: [relay] allow_names: needs TLS, as the names are those in certificates: tls_cert, tls_key, tls_ca",
        ),
        ("tls_cert = \"a\"", "m.toml:4: [relay] tls_cert: goes with tls_key and tls_ca, which isn't set"),
        ("tls_ca = \"a\"", "m.toml:4: [relay] tls_ca: goes with tls_cert and tls_key, which isn't set"),
        (
            "tls_cert = \"/none/a\"\ntls_key = \"/none/b\"\ntls_ca = \"/none/c\"",
            "m.toml:4: [relay] tls_cert: /none/a: cannot be read: No such file or directory (os error 2)",
        ),
        (
            "allow_peer_keys = [\"EOS6MRy\"]",
            "m.toml:4: [relay] allow_peer_keys: a letter of this key is wrong or missing (its checksum doesn't fit)",
        ),
    ] {
        assert_eq!(refused(more), [line], "{more}");
    }
}
