//! A TLS handshake with a node that fails: what the operator is told of it, and what a client isn't.
#![allow(clippy::unwrap_used)]

#[path = "../../../tests/authority.rs"]
mod authority;
mod support;

use std::path::PathBuf;

use authority::Authority;
use serde_json::Value;
use support::http::{Node, ask, eventually};
use support::{Place, Running};

const ROLES: [&str; 4] = ["engine", "sync", "rpc", "beacon"];
const SYNCING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"eth_syncing","params":[]}"#;

fn served((certificate, key): &(PathBuf, PathBuf)) -> String {
    format!("tls_cert = {certificate:?}\ntls_key = {key:?}\n")
}

fn copy((certificate, key): (PathBuf, PathBuf), to: &(PathBuf, PathBuf)) {
    std::fs::copy(certificate, &to.0).unwrap();
    std::fs::copy(key, &to.1).unwrap();
}

/// Nodes that each do one thing wrong: a port for each.
fn far(place: &Place, node: &Node, sides: &[String]) -> (Running, Vec<String>) {
    let mut config = "[log]\nformat = \"logfmt\"\n[admin]\nlisten = \"off\"\n".to_owned();
    for (number, side) in sides.iter().enumerate() {
        config += &format!(
            "[[rpc]]\nname = \"n{number}\"\nlisten = \"127.0.0.1:0\"\nhealth = \"none\"\nnodes = [\"{}\"]\n{side}",
            node.url
        );
    }
    place.file("mainstay.toml", &config);
    let mut running = place.start(&["run"], &[]);
    let port = |running: &mut Running| running.address("rpc").rsplit(':').next().unwrap().to_owned();
    let ports = sides.iter().map(|_| port(&mut running)).collect();
    (running, ports)
}

/// What each node of a role is said to lack, by its port.
fn told(admin: &str, role: &str, port: &str) -> String {
    let answer: Value =
        serde_json::from_str(&ask(admin, "GET", &format!("/api/v1/{role}"), "").fine()).unwrap();
    let nodes = answer["roles"][0]["state"]["nodes"].as_array().unwrap().clone();
    let is_it = |node: &&Value| ["uri", "url"].iter().any(|key| node[*key].to_string().contains(port));
    let node = nodes.iter().find(is_it).unwrap_or_else(|| panic!("{role}: no node at {port}: {answer}"));
    node["reason"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn the_reason_and_what_to_do_are_told_to_operators_and_never_where_the_node_is_to_clients() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let issued = |name: &str, pair: (PathBuf, PathBuf)| {
        let kept = (authority.path(&format!("{name}.cert")), authority.path(&format!("{name}.key")));
        copy(pair, &kept);
        kept
    };
    let expired = issued("expired", authority.issue_until("localhost", 2020, 1, 1));
    let named = issued("named", authority.issue("node.example"));
    let unknown = issued("unknown", stranger.issue("localhost"));
    let right = issued("right", authority.issue("localhost"));
    let wants = format!("{}tls_ca = {:?}\n", served(&right), authority.file());
    let node = Node::start("one");
    let (front, back) = (Place::new(), Place::new());
    let sides = [served(&expired), served(&named), served(&unknown), wants, String::new()];
    let (_far, ports) = far(&back, &node, &sides);
    let wrong = [
        "TLS: its certificate has expired: renew it on the node, or mend the clock here",
        "TLS: its certificate is for another name than the one it is called by: call the node by a name in it (subjectAltName), \
         or issue one for the name in its URL",
        "TLS: its certificate is by an authority that isn't trusted here: name that authority's certificate in node_ca",
        "TLS: it wants a client certificate: set node_cert and node_key",
        "TLS: what answers there doesn't speak TLS: put http:// in the place of https:// in its URL, or mend the port",
    ];
    let url = |port: &String| format!("\"https://u5er:pa55@localhost:{port}/k3y\"");
    let nodes = ports.iter().map(url).collect::<Vec<_>>().join(", ");
    let ca = format!("node_ca = {:?}\n", authority.file());
    let guards = vec!["\"127.0.0.1:0\""; ports.len()].join(", ");
    front.file(
        "mainstay.toml",
        &format!(
            "[log]\nformat = \"logfmt\"\n[admin]\nlisten = \"127.0.0.1:0\"\n\
             [engine]\nlisten = \"127.0.0.1:0\"\nnodes = [{nodes}]\njwt_secret = \"jwt.hex\"\n{ca}\
             [sync]\nlisten = \"127.0.0.1:0\"\nnodes = [{nodes}]\njwt_secret = \"jwt.hex\"\n{ca}\
             [rpc]\nlisten = \"127.0.0.1:0\"\nnodes = [{nodes}]\nhealth = \"net_version\"\n{ca}\
             [beacon]\nlisten = [{guards}]\nbeacon_node = [{nodes}]\n{ca}"
        ),
    );
    let mut near = front.start(&["run"], &[]);
    let [_, _, rpc, guard] = ROLES.map(|role| near.address(role));
    let admin = near.address("admin");
    for (port, wanted) in ports.iter().zip(wrong) {
        for role in ROLES {
            eventually(&format!("{role} says of {port}: {wanted}"), || {
                told(&admin, role, port).contains(wanted)
            });
        }
    }
    let reasons = ask(&admin, "GET", "/api/v1/status", "").fine();
    let page = front.run(&["status", "--admin-listen", &admin], &[]);
    assert_eq!(page.status, Some(1), "{}", page.err);
    for wanted in wrong {
        // Of engine, sync and rpc; guards have it with each check.
        assert!(page.out.matches(wanted).count() > 3, "{wanted}\n{}", page.out);
        assert!(reasons.matches(wanted).count() > 3, "{wanted}\n{reasons}");
    }
    assert!(!page.out.contains("pa55") && !page.out.contains("u5er"), "{}", page.out);

    // Clients hear that there is nobody, and perhaps why, but not who.
    let asked = [ask(&rpc, "POST", "/", SYNCING), ask(&guard, "GET", "/eth/v1/node/version", "")];
    for reply in asked {
        assert!(matches!(reply.status, 503 | 504), "{} {}", reply.status, reply.body);
        for secret in
            ports.iter().map(String::as_str).chain(["localhost", "pa55", "u5er", "k3y", "node.example"])
        {
            assert!(!reply.body.contains(secret), "{secret}: {}", reply.body);
        }
    }
    let metrics = ask(&admin, "GET", "/metrics", "").fine();
    assert!(
        metrics.contains("mainstay_rpc_tries_total{") && metrics.contains("outcome=\"tls\""),
        "{metrics}"
    );

    // Renewed, its reason goes; and the log has told each once.
    copy(authority.issue("localhost"), &expired);
    eventually("the renewed certificate is taken", || !told(&admin, "rpc", &ports[0]).contains("TLS"));
    near.signal(rustix::process::Signal::TERM);
    near.ended();
    for wanted in wrong {
        for role in ["role=engine", "role=sync", "rpc=rpc"] {
            let is_told = |line: &&String| {
                line.contains("node changed") && line.contains(wanted) && line.contains(role)
            };
            let lines: Vec<&String> = near.seen.iter().filter(is_told).collect();
            assert_eq!(lines.len(), 1, "{role}: {wanted}: {:#?}", near.seen);
            assert!(lines[0].contains("level=warn"), "{}", lines[0]);
        }
        assert!(
            near.seen.iter().any(|line| line.contains("check fails") && line.contains(wanted)),
            "{wanted}"
        );
    }
    let log = near.seen.join("\n");
    assert!(!log.contains("pa55") && !log.contains("u5er"), "{log}");
}
