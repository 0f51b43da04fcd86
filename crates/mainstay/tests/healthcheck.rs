//! `mainstay healthcheck`, the question of containers.
#![allow(clippy::unwrap_used)]

mod support;

use support::Place;
use support::http::eventually;

#[test]
fn alive_is_not_ready() {
    let place = Place::new();
    // Nobody is at the node's address, so the role is down.
    let flags = ["--beacon-node", "http://127.0.0.1:1", "--listen", "127.0.0.1:0", "--log-format", "logfmt"];
    let mut running = place.start(&[&["beacon", "--admin-listen", "127.0.0.1:0"], &flags[..]].concat(), &[]);
    let admin = running.address("admin");
    let check = |more: &[&str]| place.run(&[&["healthcheck", "--admin-listen", &admin], more].concat(), &[]);
    assert_eq!(check(&[]).fine(), "");
    eventually("the role is down", || {
        let done = check(&["--ready"]);
        done.status == Some(1) && done.err == "/readyz: a role is down, see /healthz\n"
    });
    drop(running);
    let done = check(&[]);
    assert_eq!(done.status, Some(1));
    assert!(done.err.starts_with(&format!("/livez of {admin}: ")), "{}", done.err);
    // Nobody else is asked in place of an address that can't be read.
    for command in ["healthcheck", "status"] {
        let done = place.run(&[command, "--admin-listen", "nowhere"], &[]);
        assert_eq!(done.status, Some(2));
        let told = "error: --admin-listen: \"nowhere\" is not an IP address with a port";
        assert!(done.err.starts_with(told), "{command}: {}", done.err);
    }
}
