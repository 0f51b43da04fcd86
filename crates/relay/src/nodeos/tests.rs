use super::*;

const INNER: &str = "
# The producer's.
producer-name = prodx
signature-provider = PUB_K1_6MRy=KEY:5secret
p2p-peer-address = 127.0.0.1:9876   # the tunnel
p2p-listen-endpoint = 127.0.0.1:9875
connection-cleanup-period = 1
plugin = eosio::chain_api_plugin
plugin = eosio::producer_api_plugin
";
const OUTER: &str = "
p2p-listen-endpoint = 0.0.0.0:9876
p2p-max-nodes-per-host = 2
p2p-peer-address = peer.example:9876
vote-threads = 4
";
const SENTRY: &str = "p2p-peer-address = peer.example:9876\nvote-threads = 4\n";

fn told(text: &str, node: As, legs: u32, relays: &[&str]) -> Vec<String> {
    let around = Around { legs, relays: relays.iter().map(|&relay| relay.to_owned()).collect() };
    let findings = check(&Ini::parse(text).unwrap(), node, &around);
    let weight = |finding: &Finding| match finding.weight {
        Weight::Wrong => "wrong",
        Weight::Advice => "advice",
    };
    findings.iter().map(|finding| format!("{} {finding}", weight(finding))).collect()
}

#[test]
fn what_is_right_is_left_alone() {
    assert_eq!(told(INNER, As::Inner, 2, &["127.0.0.1:9876"]), [""; 0]);
    assert_eq!(told(OUTER, As::Outer, 2, &[]), [""; 0]);
    assert_eq!(told(SENTRY, As::Sentry, 2, &[]), [""; 0]);
}

/// One line more, or another one, and the beginning of what is said of it.
#[track_caller]
fn one(base: &str, node: As, change: (&str, &str), expected: &str) {
    let (from, to) = change;
    let text = if from.is_empty() {
        format!("{base}{to}\n")
    } else {
        assert!(base.contains(from), "{from}");
        base.replacen(from, to, 1)
    };
    let told = told(&text, node, 3, &[]);
    let three = "wrong 3: p2p-max-nodes-per-host = 2: ";
    let others: Vec<&String> = told.iter().filter(|line| !line.starts_with(three)).collect();
    assert!(others.len() == 1 && others[0].starts_with(expected), "{change:?}: {told:#?}");
}

#[test]
fn each_rule_of_inner_nodes() {
    for (from, to, expected) in [
        ("producer-name = prodx", "", "wrong producer-name isn't set: "),
        (
            "signature-provider = PUB_K1_6MRy=KEY:5secret",
            "",
            "wrong signature-provider isn't set, nodeos takes the development key",
        ),
        (
            "p2p-peer-address = 127.0.0.1:9876",
            "",
            "wrong p2p-peer-address isn't set: the node has no way to the relay; write: p2p-peer-address = 127.0.0.1:9876",
        ),
        ("9876   #", "9876:blk #", "wrong 5: p2p-peer-address = 127.0.0.1:9876:blk: the node would get only"),
        (
            "127.0.0.1:9875",
            "127.0.0.1:9876",
            "wrong 5: p2p-peer-address = 127.0.0.1:9876: is where the node listens itself",
        ),
        (
            "",
            "p2p-peer-address = 10.0.0.1:9876",
            "advice 10: p2p-peer-address is set 2 times (127.0.0.1:9876, 10.0.0.1:9876): each",
        ),
        (
            "p2p-listen-endpoint = 127.0.0.1:9875",
            "",
            "wrong p2p-listen-endpoint isn't set, nodeos takes 0.0.0.0:9876: ",
        ),
        (
            "127.0.0.1:9875",
            "0.0.0.0:9877",
            "wrong 6: p2p-listen-endpoint = 0.0.0.0:9877: whoever connects there gets the node's blocks past the relay; write: \
             p2p-listen-endpoint = 127.0.0.1:9875",
        ),
        ("127.0.0.1:9875", "10.0.0.5:9877", "wrong 6: p2p-listen-endpoint = 10.0.0.5:9877: "),
        ("127.0.0.1:9875", "node.example:9877", "wrong 6: p2p-listen-endpoint = node.example:9877: "),
        ("127.0.0.1:9875", "[::]:9877:trx", "wrong 6: p2p-listen-endpoint = [::]:9877:trx: "),
        ("connection-cleanup-period = 1", "", "wrong connection-cleanup-period isn't set, nodeos takes 30: "),
        ("period = 1", "period = 3", "wrong 7: connection-cleanup-period = 3: "),
        ("period = 1", "period = 0", "wrong 7: connection-cleanup-period = 0: "),
        ("period = 1", "period = soon", "wrong 7: connection-cleanup-period = soon: isn't a number"),
        (
            "",
            "p2p-auto-bp-peer = prody,10.0.0.1:9876",
            "wrong 10: p2p-auto-bp-peer = prody,10.0.0.1:9876: connects the node",
        ),
        (
            "",
            "p2p-accept-transactions = 0",
            "wrong 10: p2p-accept-transactions = 0: the node's blocks stay empty",
        ),
        ("", "read-mode = irreversible", "wrong 10: read-mode = irreversible: "),
        ("", "pause-on-startup = true", "wrong 10: pause-on-startup = true: "),
        ("", "enable-stale-production = true", "advice 10: enable-stale-production = true: "),
        ("", "produce-block-offset-ms = 1501", "wrong 10: produce-block-offset-ms = 1501: "),
        ("", "cpu-effort-percent = 74", "wrong 10: cpu-effort-percent = 74: "),
        ("", "p2p-keepalive-interval-ms = 15000", "wrong 10: p2p-keepalive-interval-ms = 15000: "),
        (
            "",
            "http-server-address = 0.0.0.0:8888",
            "wrong 10: http-server-address = 0.0.0.0:8888: eosio::producer_api_plugin is",
        ),
        ("", "vote-threads = 0", "wrong 10: vote-threads = 0: "),
        ("", "production-pause-vote-timeout-ms = 0", "advice 10: production-pause-vote-timeout-ms = 0: "),
        (
            "",
            "production-pause-vote-timeout-ms = 2999",
            "advice 10: production-pause-vote-timeout-ms = 2999: ",
        ),
        (
            "",
            "signature-provider = PUB_BLS_x=KEY:PVT_BLS_y",
            "advice 10: signature-provider = PUB_BLS_…: no other node",
        ),
        ("", "read-mode = head\nread-mode = head", "wrong 11: read-mode = head: is set a second time"),
    ] {
        one(INNER, As::Inner, (from, to), expected);
    }
}

#[test]
fn what_inner_nodes_may_have() {
    for line in [
        "connection-cleanup-period = 2",
        "produce-block-offset-ms = 1500",
        "cpu-effort-percent = 75",
        "p2p-accept-transactions = true",
        "pause-on-startup = false",
        "http-server-address = 127.0.0.1:8888",
        "http-server-address =",
        "vote-threads = 4",
        "production-pause-vote-timeout-ms = 6000",
        "p2p-max-nodes-per-host = 1",
        "whatever = else",
        "p2p-listen-endpoint = [::1]:9874",
        "p2p-listen-endpoint = localhost:9874:blk",
        "p2p-listen-endpoint =",
    ] {
        // Some keys may be there once.
        let key = line.split(" =").next().unwrap_or_default();
        let others =
            INNER.lines().filter(|other| key != "connection-cleanup-period" || !other.starts_with(key));
        let text = others.chain([line]).collect::<Vec<_>>().join("\n");
        assert_eq!(told(&text, As::Inner, 2, &[]), [""; 0], "{line}");
    }
}

#[test]
fn peers_that_are_no_relays_are_told_where_relays_are_known() {
    let text = format!("{INNER}p2p-peer-address = peer.example:9876\n");
    let relays = ["127.0.0.1:9876", "127.0.0.1:9877"];
    let told = told(&text, As::Inner, 2, &relays);
    let start =
        "wrong 10: p2p-peer-address = peer.example:9876: isn't a relay (127.0.0.1:9876, 127.0.0.1:9877): ";
    assert!(told.len() == 1 && told[0].starts_with(start), "{told:#?}");
}

#[test]
fn each_rule_of_outer_nodes() {
    for (from, to, expected) in [
        ("", "max-clients = 2", "wrong 6: max-clients = 2: up to 3 legs"),
        ("0.0.0.0:9876", "", "wrong 2: p2p-listen-endpoint = : the relay has nothing to connect to"),
        ("0.0.0.0:9876", "0.0.0.0:9876:blk", "wrong 2: p2p-listen-endpoint = 0.0.0.0:9876:blk: legs would"),
        (
            "0.0.0.0:9876",
            "127.0.0.1:9876",
            "advice 2: p2p-listen-endpoint = 127.0.0.1:9876: only a relay on this",
        ),
        ("", "allowed-connection = none", "wrong 6: allowed-connection = none: "),
        ("", "allowed-connection = specified", "advice 6: allowed-connection = specified: "),
        ("", "p2p-accept-transactions = false", "wrong 6: p2p-accept-transactions = false: no transaction"),
        ("p2p-peer-address = peer.example:9876", "", "advice p2p-peer-address isn't set: "),
        ("vote-threads = 4", "", "advice vote-threads isn't set: votes of finalizers"),
        ("vote-threads = 4", "vote-threads = 0", "wrong 5: vote-threads = 0: votes"),
        (
            "",
            "producer-name = prodx",
            "wrong 6: producer-name = prodx: what this node produces goes past the relay",
        ),
        (
            "",
            "signature-provider = PUB_K1_6MRy=KEY:5secret",
            "wrong 6: signature-provider: keys belong on inner nodes only",
        ),
        ("", "p2p-keepalive-interval-ms = 20000", "wrong 6: p2p-keepalive-interval-ms = 20000: "),
    ] {
        one(OUTER, As::Outer, (from, to), expected);
    }
    let three = told(OUTER, As::Outer, 3, &[]);
    assert_eq!(
        three,
        [
            "wrong 3: p2p-max-nodes-per-host = 2: the relay connects once for each inner node, so up to 3 times; more are closed without a word; \
          write: p2p-max-nodes-per-host = 3"
        ]
    );
    let unset = told(&OUTER.replace("p2p-max-nodes-per-host = 2", "max-clients = 0"), As::Outer, 2, &[]);
    assert!(
        unset.len() == 1 && unset[0].starts_with("wrong p2p-max-nodes-per-host isn't set, nodeos takes 1: "),
        "{unset:?}"
    );
}

#[test]
fn each_rule_of_sentries() {
    for (line, expected) in [
        ("producer-name = prodx", "wrong 3: producer-name = prodx: "),
        ("signature-provider = x", "wrong 3: signature-provider: "),
        ("p2p-accept-transactions = no", "wrong 3: p2p-accept-transactions = no: "),
        ("p2p-listen-endpoint = 127.0.0.1:9876", "advice 3: p2p-listen-endpoint = 127.0.0.1:9876: nobody"),
        ("read-mode = irreversible", "wrong 3: read-mode = irreversible: "),
    ] {
        one(SENTRY, As::Sentry, ("", line), expected);
    }
}

#[test]
fn the_file_is_read_as_nodeos_reads_it() {
    assert_eq!(Ini::parse("a = 1\nwhat is this\n").unwrap_err(), BadLine(2));
    assert_eq!(BadLine(2).to_string(), "2: expected key = value, nodeos doesn't start with this line");
    // Sections are prefixes, so these are other keys.
    let other = told("[other]\nproducer-name = prodx\n", As::Sentry, 2, &[]);
    assert!(!other.iter().any(|line| line.contains("producer-name")), "{other:?}");
    let spaced = "\u{feff}  producer-name=prodx # mine\r\n";
    assert!(told(spaced, As::Sentry, 2, &[])[0].starts_with("wrong 1: producer-name = prodx: what"));
}

#[test]
fn no_key_is_ever_shown() {
    let text = "signature-provider = PUB_BLS_x=KEY:secret\nsignature-provider = PUB_K1_6=KEY:secret\nsignature-provider = EOS6=KEY:secret\n";
    for node in [As::Inner, As::Outer, As::Sentry] {
        let told = told(text, node, 2, &[]).join("\n");
        assert!(!told.contains("secret"), "{told}");
    }
}
