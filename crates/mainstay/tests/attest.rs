//! Nodes that are to attest what they run, as an operator meets them.
#![allow(clippy::unwrap_used)]

mod support;

use support::Place;

const HEX: &str = "f94ccbe6a504676b2edbefdcb8781a512913f7d8864c6f88592a843d0f9d4a66";

/// What can't be checked isn't used, rather than used unchecked: in whatever list it stands.
#[test]
fn no_role_takes_a_node_that_it_cannot_verify() {
    let place = Place::new();
    for user in [&format!("SGX_{HEX}"), "SGX_", "sgx_00", "SEV_H4sIAAAA", "TDX_H4sIAAAA"] {
        for scheme in ["https", "http"] {
            let uri = format!("{scheme}://{user}@127.0.0.1:1");
            for flags in [
                ["engine", "--nodes", &uri, "--jwt-secret", "jwt.hex"],
                ["sync", "--nodes", &uri, "--jwt-secret", "jwt.hex"],
                ["sync", "--proxies", &uri, "--jwt-secret", "jwt.hex"],
                ["rpc", "--nodes", &uri, "--listen", "127.0.0.1:0"],
                ["beacon", "--beacon-node", &uri, "--listen", "127.0.0.1:0"],
                ["beacon", "--execution-node", &uri, "--beacon-node", "http://127.0.0.1:2"],
            ] {
                let done = place.run(&[&["check"], &flags[..]].concat(), &[]);
                assert_eq!(done.status, Some(2), "{flags:?}: {}{}", done.out, done.err);
                assert!(done.err.contains("asks that the node attests"), "{flags:?}: {}", done.err);
                assert!(!done.err.contains(&HEX[..8]), "{}", done.err);
            }
        }
    }
}
