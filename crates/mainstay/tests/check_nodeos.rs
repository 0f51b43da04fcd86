//! `mainstay check --nodeos` as an operator uses it.
#![allow(clippy::unwrap_used)]

mod support;

use support::Place;

const INNER: &str = "\
producer-name = prodx
signature-provider = PUB_K1_6MRy=KEY:5secret
p2p-peer-address = 127.0.0.1:9876
p2p-peer-address = peer.example:9876
p2p-listen-endpoint = 127.0.0.1:9875
connection-cleanup-period = 1
";

#[test]
fn what_is_wrong_is_told_with_its_line() {
    let place = Place::new();
    place.file("config.ini", INNER);
    let check =
        |more: &[&str]| place.run(&[&["check", "--nodeos", "config.ini", "--as"], more].concat(), &[]);
    let done = check(&["inner", "--relay", "127.0.0.1:9876"]);
    assert_eq!((done.status, done.err.as_str()), (Some(1), ""));
    assert_eq!(
        done.out,
        "wrong: config.ini:4: p2p-peer-address = peer.example:9876: isn't a relay (127.0.0.1:9876): what the node says there goes past \
         the relay, and two blocks for one slot are public; take it out\n"
    );
    let done = check(&["inner", "--relay", "127.0.0.1:9876,peer.example:9876"]);
    assert_eq!(done.fine(), "ok: config.ini as inner\n");
    let done = check(&["inner"]);
    assert!(
        done.fine().starts_with("advice: config.ini:4: ") && done.out.ends_with("ok: config.ini as inner\n")
    );
    let done = check(&["outer", "--legs", "3"]);
    assert_eq!(done.status, Some(1));
    assert!(done.out.contains("\nwrong: config.ini: p2p-max-nodes-per-host isn't set"), "{}", done.out);
    assert!(!done.out.contains("secret"), "{}", done.out);
}

#[test]
fn a_file_that_cannot_be_read_is_told() {
    let place = Place::new();
    place.file("config.ini", "producer-name = prodx\nsecret\n");
    let check = |file: &str| place.run(&["check", "--nodeos", file, "--as", "inner"], &[]);
    check("config.ini")
        .refused(&["error: config.ini:2: expected key = value, nodeos doesn't start with this line"]);
    check("none.ini").refused(&["error: none.ini: cannot be read: No such file or directory (os error 2)"]);
    let done = place.run(&["check", "--nodeos", "config.ini"], &[]);
    assert!(done.status == Some(2) && done.err.contains("--as"), "{}", done.err);
}
