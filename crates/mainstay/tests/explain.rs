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
