//! What mainstay says it would do.
#![allow(clippy::unwrap_used)]

mod support;

use support::Place;

#[test]
fn a_round_of_votes_is_told_step_by_step_and_rule_by_rule() {
    let place = Place::new();
    let done = place.run(&["explain", "verdict", "--votes", "V,V@20ms,I@250ms"], &[]);
    assert_eq!(
        done.fine(),
        "     0 ms  node 1  VALID     1 VALID, 0 INVALID, 0 SYNCING; the 2 still out can change it: wait, until 7500 ms at most
    20 ms  node 2  VALID     2 VALID, 0 INVALID, 0 SYNCING; VALID stands, only an INVALID could turn it: wait until 320 ms
   250 ms  node 3  INVALID   2 VALID, 1 INVALID, 0 SYNCING; everybody who is waited for has answered

answer: SYNCING after 250 ms
why: somebody says INVALID and has no majority for it: VALID is never told then (on_dissent)
"
    );
    let done =
        place.run(&["explain", "verdict", "--votes", "I,V,V", "--on-dissent", "majority", "--json"], &[]);
    let told: serde_json::Value = serde_json::from_str(done.fine()).unwrap();
    assert_eq!((&told["verdict"], &told["reason"]), (&"VALID".into(), &"outvoted".into()));
    place.run(&["explain", "verdict", "--votes", "V,X", "--majority", "2"], &[]).refused(&[
        "error: --majority: 2 is not between 0 and 1",
        "error: --votes: vote 2, \"X\": expected V, I, S, A, E or -, then maybe ?, ! and @ with a time, as in V?@200ms",
    ]);
}

#[test]
fn requests_are_told_in_their_order() {
    let place = Place::new();
    let done =
        place.run(&["explain", "lanes", "--arrivals", "L*2,H@10ms,F@20ms/50ms", "--low-max", "1"], &[]);
    assert_eq!(
        done.fine(),
        "     0 ms  request 1    low         runs on node 1 after 0 ms; waiting: 0 fast-track, 0 high, 0 low
     0 ms  request 2    low         waits; waiting: 0 fast-track, 0 high, 1 low
    10 ms  request 3    high        waits; waiting: 0 fast-track, 1 high, 1 low
    20 ms  request 4    fast-track  waits; waiting: 1 fast-track, 1 high, 1 low
   100 ms  request 1    low         ends, node 1 has a slot free; waiting: 1 fast-track, 1 high, 1 low
   100 ms  request 4    fast-track  runs on node 1 after 80 ms; waiting: 0 fast-track, 1 high, 1 low
   150 ms  request 4    fast-track  ends, node 1 has a slot free; waiting: 0 fast-track, 1 high, 1 low
   150 ms  request 3    high        runs on node 1 after 140 ms; waiting: 0 fast-track, 0 high, 1 low
   250 ms  request 3    high        ends, node 1 has a slot free; waiting: 0 fast-track, 0 high, 1 low
   250 ms  request 2    low         runs on node 1 after 250 ms; waiting: 0 fast-track, 0 high, 0 low
   350 ms  request 2    low         ends, node 1 has a slot free; waiting: 0 fast-track, 0 high, 0 low

order: 1 4 3 2
fast-track: 80 ms was the longest wait
high: 140 ms was the longest wait
low: 250 ms was the longest wait
"
    );
    let done = place.run(
        &["explain", "lanes", "--arrivals", "H*2,L*2", "--high-max", "1", "--request-timeout", "50ms"],
        &[],
    );
    let told = done.fine();
    for part in ["request 2    high        waits", "its time is up after 50 ms", "order: 1\n"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    place.run(&["explain", "lanes", "--arrivals", "X", "--work", "2h", "--low-max-wait", "never"], &[]).refused(&[
        "error: --low-max-wait: \"never\" is not a duration, write for example \"250ms\", \"7.5s\", \"2m\" or \"1h\"; or it is \"off\"",
        "error: --work: an hour is the most",
        "error: --arrivals: request 1, \"X\": expected F, H or L, then maybe *, @ and /, as in H*3@200ms/50ms",
    ]);
}

#[test]
fn a_reply_is_put_to_a_check_of_ones_own() {
    let place = Place::new();
    let peers = "status == 200 && int(body.data.connected) >= guard.min_peers";
    let body = r#"{"data": {"connected": "63"}}"#;
    let check = |flags: &[&str]| {
        place.run(&[&["explain", "check", "--expect", peers, "--body", body], flags].concat(), &[])
    };
    assert_eq!(
        check(&["--min-peers", "64"]).fine(),
        "met      status == 200  (status = 200)
NOT met  int(body.data.connected) >= guard.min_peers  (status = 200, body.data.connected = \"63\", guard.min_peers = 64)

the check: a bad round
saw: status = 200, body.data.connected = \"63\", guard.min_peers = 64
"
    );
    assert!(check(&["--min-peers", "60"]).fine().contains("the check: a good round"));
    let wrong = place.run(&["explain", "check", "--expect", "status = 200", "--headers", "none"], &[]);
    assert_eq!((wrong.status, wrong.out.as_str()), (Some(2), ""));
    for part in ["error: --headers: has to be \"name: value\"", "error: --expect: column 8: "] {
        assert!(wrong.err.contains(part), "{part}: {}", wrong.err);
    }
}
