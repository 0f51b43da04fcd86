use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn networks(all: &[&str]) -> Proxies {
    Proxies::new(all.iter().map(|n| n.parse().unwrap()).collect())
}

fn seen(proxies: &Proxies, peer: &str, forwarded: &[&str]) -> String {
    proxies.client(None, ip(peer), forwarded.iter().map(|v| v.as_bytes())).to_string()
}

#[test]
fn defect_9_ipv6_peers_are_known_by_their_whole_address() {
    let none = Proxies::new(vec![]);
    let peers = ["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1", "fe80::1", "::1"];
    let clients: HashSet<Client> =
        peers.iter().map(|p| none.client(None, ip(p), std::iter::empty())).collect();
    assert_eq!(clients.len(), peers.len());
    assert_eq!(seen(&none, "2001:db8::1", &[]), "2001:db8::1");
    // Behind a proxy too, in all ways of writing it.
    for forwarded in ["2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:8551", "2001:DB8:0:0:0:0:0:1"] {
        assert_eq!(seen(&Proxies::default(), "::1", &[forwarded]), "2001:db8::1", "{forwarded}");
    }
}

#[test]
fn defect_12_forwarded_for_counts_from_trusted_proxies_only() {
    let default = Proxies::default();
    assert_eq!(seen(&default, "192.0.2.7", &["10.0.0.1"]), "192.0.2.7", "a stranger says what it likes");
    assert_eq!(seen(&default, "127.0.0.1", &["10.0.0.1"]), "10.0.0.1");
    assert_eq!(seen(&default, "127.200.0.1", &["10.0.0.1"]), "10.0.0.1");
    assert_eq!(seen(&default, "::1", &["10.0.0.1"]), "10.0.0.1");
    assert_eq!(seen(&default, "::ffff:127.0.0.1", &["10.0.0.1"]), "10.0.0.1");
    assert_eq!(seen(&Proxies::new(vec![]), "127.0.0.1", &["10.0.0.1"]), "127.0.0.1");
    // What the stranger wrote before the proxy's own entry never counts.
    assert_eq!(seen(&default, "127.0.0.1", &["10.0.0.1, 192.0.2.7"]), "192.0.2.7");
}

#[test]
fn the_last_address_that_is_no_proxys_is_the_clients() {
    let proxies = networks(&["127.0.0.0/8", "10.0.0.0/8", "2001:db8:1::/48"]);
    let table: &[(&[&str], &str)] = &[
        (&[], "127.0.0.1"),
        (&[""], "127.0.0.1"),
        (&[",, ,"], "127.0.0.1"),
        (&["192.0.2.1"], "192.0.2.1"),
        (&["192.0.2.1,"], "192.0.2.1"),
        (&["192.0.2.1, 10.0.0.9"], "192.0.2.1"),
        (&["192.0.2.1", "10.0.0.9"], "192.0.2.1"),
        (&["203.0.113.5", "192.0.2.1, 10.0.0.9", "", "2001:db8:1::5,"], "192.0.2.1"),
        (&["203.0.113.5,192.0.2.1 ,\t10.0.0.9"], "192.0.2.1"),
        (&["192.0.2.1:4711"], "192.0.2.1"),
        (&["[2001:db8::1]:4711, 10.0.0.9:80"], "2001:db8::1"),
        (&["::ffff:192.0.2.1"], "192.0.2.1"),
        (&["192.0.2.1, ::ffff:10.0.0.9"], "192.0.2.1"),
        // All are trusted: the first of them is where it began.
        (&["10.0.0.1, 10.0.0.9"], "10.0.0.1"),
        (&["127.0.0.1"], "127.0.0.1"),
        // No address: the proxy that says so is all that is known.
        (&["unknown"], "127.0.0.1"),
        (&["192.0.2.1, unknown, 10.0.0.9"], "10.0.0.9"),
        (&["192.0.2.1, [10.0.0.1], 10.0.0.9"], "10.0.0.9"),
        (&["192.0.2.1, 192.0.2.256"], "127.0.0.1"),
        (&["192.0.2.1, 1.2.3.4:99999"], "127.0.0.1"),
        (&["192.0.2.1, \u{1b}[31m"], "127.0.0.1"),
        (&["192.0.2.1, [::1"], "127.0.0.1"),
    ];
    for (forwarded, expected) in table {
        assert_eq!(seen(&proxies, "127.0.0.1", forwarded), *expected, "{forwarded:?}");
    }
}

#[test]
fn a_header_of_many_proxies_is_read_so_far_and_no_further() {
    let proxies = networks(&["10.0.0.0/8", "127.0.0.1"]);
    let hops = |n: usize| format!("192.0.2.1{}", ", 10.0.0.9".repeat(n));
    assert_eq!(seen(&proxies, "127.0.0.1", &[&hops(MAX_HOPS - 1)]), "192.0.2.1");
    assert_eq!(seen(&proxies, "127.0.0.1", &[&hops(MAX_HOPS)]), "10.0.0.9");
}

#[test]
fn a_verified_id_goes_before_any_address() {
    let proxies = Proxies::default();
    let of = |id| proxies.client(id, ip("127.0.0.1"), std::iter::once(&b"192.0.2.1"[..]));
    assert_eq!(of(Some("cl-1")), Client::Id("cl-1".into()));
    assert_ne!(of(Some("cl-1")), of(Some("cl-2")), "two behind one address are two");
    assert_eq!(of(Some("")), Client::Address(ip("192.0.2.1")));
    assert_eq!(of(None), Client::Address(ip("192.0.2.1")));
    assert_ne!(of(Some("192.0.2.1")), of(None), "an id that looks like an address is no address");
    let long = "x".repeat(MAX_ID);
    assert_eq!(of(Some(&long)), Client::Id(long.as_str().into()));
    assert_eq!(of(Some(&format!("{long}x"))), of(None));
}

#[test]
fn a_mapped_address_is_the_ipv4_address() {
    assert_eq!(Client::address(ip("::ffff:192.0.2.1")), Client::address(ip("192.0.2.1")));
    assert_ne!(Client::address(ip("::192.0.2.1")), Client::address(ip("192.0.2.1")));
}

#[test]
fn names_are_the_operators() {
    let names =
        Names::new([("home", "192.0.2.1"), ("six", "[2001:db8::1]"), ("lodestar", "beacon 1")]).unwrap();
    assert_eq!(names.of(&Client::address(ip("::ffff:192.0.2.1"))), "home");
    assert_eq!(names.of(&Client::address(ip("2001:db8::1"))), "six");
    assert_eq!(names.of(&Client::id("beacon 1").unwrap()), "lodestar");
    assert_eq!(
        names.of(&Client::id("192.0.2.1").unwrap()),
        "192.0.2.1",
        "an id that looks like the address isn't home"
    );
    assert_eq!(names.of(&Client::id("a\u{202e}b\n").unwrap()), "a\\u{202e}b\\n");
    let order: Vec<String> = names.clients().map(ToString::to_string).collect();
    assert_eq!(order, ["192.0.2.1", "2001:db8::1", "beacon 1"]);
}

#[test]
fn names_that_cant_be_are_told_with_what_to_do() {
    let long = "x".repeat(MAX_ID + 1);
    let table: &[(&[(&str, &str)], &str)] = &[
        (&[("", "a")], "\"\" is no name"),
        (&[("a b", "a")], "\"a b\" is no name"),
        (&[("a\n", "a")], "\"a\\n\" is no name"),
        (&[(&long, "a")], "is no name"),
        (&[("a", "")], "a stands for no consensus client"),
        (&[("a", &long)], "a stands for no consensus client"),
        (&[("a", "x"), ("a", "y")], "a is the name of two consensus clients"),
        (&[("a", "10.0.0.1"), ("b", "::ffff:10.0.0.1")], "a and b are the same consensus client"),
    ];
    for (entries, expected) in table {
        let error = Names::new(entries.iter().copied()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(error.len() < 300 && !error.contains(char::is_control), "{error}");
    }
}

proptest! {
    #[test]
    fn whatever_is_sent_the_client_is_shown_in_one_short_line(
        id in proptest::option::of(any::<String>()),
        values in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..4),
    ) {
        let client = Proxies::default().client(id.as_deref(), ip("127.0.0.1"), values.iter().map(Vec::as_slice));
        let shown = client.to_string();
        prop_assert!(!shown.contains(char::is_control));
        prop_assert!(shown.len() <= MAX_ID * 10);
        prop_assert!(!shown.is_empty());
    }

    #[test]
    fn from_a_stranger_no_header_changes_who_it_is(
        peer in any::<[u8; 4]>().prop_filter("loopback", |p| p[0] != 127),
        values in proptest::collection::vec("[0-9a-f.:,\\[\\] ]{0,40}", 0..4),
    ) {
        let peer = IpAddr::from(peer);
        let client = Proxies::default().client(None, peer, values.iter().map(String::as_bytes));
        prop_assert_eq!(client, Client::Address(peer));
    }

    #[test]
    fn what_stands_before_the_proxys_own_entry_changes_nothing(
        own in any::<[u8; 4]>().prop_filter("loopback", |p| p[0] != 127),
        before in proptest::collection::vec("[0-9a-f.:,\\[\\] ]{0,40}", 0..4),
    ) {
        let own = IpAddr::from(own).to_string();
        let values = before.iter().map(String::as_bytes).chain([own.as_bytes()]).collect::<Vec<_>>();
        let client = Proxies::default().client(None, ip("127.0.0.1"), values.into_iter());
        prop_assert_eq!(client.to_string(), own);
    }
}
