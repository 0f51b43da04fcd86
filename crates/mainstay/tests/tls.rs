//! TLS on every role's listener, on the admin listener and towards nodes, with curl as the client.
#![allow(clippy::unwrap_used)]

#[path = "../../../tests/authority.rs"]
mod authority;
mod support;

use std::path::{Path, PathBuf};

use authority::Authority;
use support::http::{Node, eventually};
use support::{Done, Place, Running};

const NET_VERSION: &str = r#"{"jsonrpc":"2.0","id":1,"method":"net_version","params":[]}"#;

/// What curl says; its exit status is 0 if there was an answer.
fn curl(arguments: &[&str]) -> Done {
    let mut command = std::process::Command::new("curl");
    command
        .args(["--silent", "--show-error", "--max-time", "30", "--write-out", " %{http_code}"])
        .args(arguments);
    Done::from(command.output().unwrap_or_else(|error| panic!("cannot run curl ({error}): install it")))
}

/// Files as a client or a server takes them.
struct Files {
    ca: String,
    certificate: String,
    key: String,
}

impl Files {
    fn of(authority: &Authority, (certificate, key): (PathBuf, PathBuf)) -> Self {
        let text = |path: PathBuf| path.display().to_string();
        Self { ca: text(authority.file()), certificate: text(certificate), key: text(key) }
    }

    /// Lines of a section that serve TLS and want certificates of clients.
    fn served(&self) -> String {
        format!("tls_cert = \"{}\"\ntls_key = \"{}\"\ntls_ca = \"{}\"\n", self.certificate, self.key, self.ca)
    }

    /// Lines of a section for its nodes.
    fn nodes(&self) -> String {
        format!(
            "node_ca = \"{}\"\nnode_cert = \"{}\"\nnode_key = \"{}\"\n",
            self.ca, self.certificate, self.key
        )
    }

    fn shown(&self) -> [&str; 6] {
        ["--cacert", &self.ca, "--cert", &self.certificate, "--key", &self.key]
    }
}

/// `https://localhost:PORT/PATH` of an address.
fn url(address: &str, path: &str) -> String {
    format!("https://localhost:{}{path}", address.rsplit(':').next().unwrap())
}

fn start(place: &Place, config: &str) -> Running {
    place.file("mainstay.toml", config);
    place.start(&["run"], &[])
}

/// One of each role, with TLS, and the same on the admin listener and that of metrics.
fn all_roles(files: &Files, node: &str) -> String {
    let tls = files.served();
    format!(
        "[log]\nformat = \"logfmt\"\n\
         [admin]\nlisten = \"127.0.0.1:0\"\nmetrics_listen = \"127.0.0.1:0\"\n{tls}\
         [engine]\nlisten = \"127.0.0.1:0\"\nnodes = [\"{node}\"]\njwt_secret = \"jwt.hex\"\n{tls}\
         [sync]\nlisten = \"127.0.0.1:0\"\nnodes = [\"{node}\"]\njwt_secret = \"jwt.hex\"\n{tls}\
         [rpc]\nlisten = \"127.0.0.1:0\"\nnodes = [\"{node}\"]\nhealth = \"net_version\"\n{tls}\
         [beacon]\nlisten = [\"127.0.0.1:0\"]\nbeacon_node = [\"http://127.0.0.1:1\"]\n{tls}\
         [relay]\nlisten = \"127.0.0.1:0\"\nouter = [\"127.0.0.1:1\"]\nproducer = [\"prodx\"]\n{tls}"
    )
}

#[test]
fn every_listener_serves_who_shows_a_certificate_and_nobody_else() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let server = Files::of(&authority, authority.issue("localhost"));
    let client = Files::of(&authority, authority.issue("client"));
    let forged = Files::of(&authority, stranger.issue("client"));
    let node = Node::start("one");
    let place = Place::new();
    let mut running = start(&place, &all_roles(&server, &node.url));
    let listeners = ["engine", "sync", "rpc", "beacon", "relay", "metrics", "admin"];
    let address = listeners.map(|role| running.address(role));
    let [engine, sync, rpc, beacon, relay, metrics, admin] = address.each_ref().map(String::as_str);
    for (role, address, path, status) in [
        // No token, no answer; but that is the role's word.
        ("engine", engine, "/", " 405"),
        ("sync", sync, "/", " 200"),
        ("rpc", rpc, "/", " 200"),
        ("beacon", beacon, "/eth/v1/node/version", " 503"),
        ("metrics", metrics, "/metrics", " 200"),
        ("admin", admin, "/livez", " 200"),
    ] {
        let url = url(address, path);
        for version in ["--http1.1", "--http2"] {
            let done = curl(&[&client.shown()[..], &["--http2", version, &url]].concat());
            assert!(done.status == Some(0) && done.out.ends_with(status), "{role}: {}{}", done.out, done.err);
        }
        let refused = |what: &str, arguments: &[&str]| {
            let done = curl(&[arguments, &[&url]].concat());
            assert!(done.status != Some(0) && done.out.ends_with(" 000"), "{role}, {what}: {}", done.out);
        };
        refused("no certificate", &["--cacert", &client.ca]);
        refused("by a stranger", &forged.shown());
        refused("who trusts others", &["--cacert", &stranger.file().display().to_string()]);
        refused("TLS 1.1", &[&client.shown()[..], &["--tls-max", "1.1"]].concat());
        let plain = curl(&[&format!("http://{address}{path}")]);
        assert!(!plain.out.ends_with(status), "{role} in the clear: {}", plain.out);
    }
    // The relay's side isn't HTTP: a handshake is all that curl can have of it.
    let spoken = curl(
        &[&client.shown()[..], &["--verbose", "--http0.9", "--max-time", "2", &url(relay, "/")]].concat(),
    );
    assert!(spoken.err.contains("SSL certificate verify ok"), "{}", spoken.err);
    let refused = curl(&["--cacert", &client.ca, &url(relay, "/")]);
    assert!(refused.status != Some(0), "{}", refused.out);
}

fn metric(page: &str, name: &str, listener: &str) -> f64 {
    let label = format!("listener=\"{listener}\"");
    let line = page.lines().find(|line| line.starts_with(name) && line.contains(&label));
    line.unwrap_or_else(|| panic!("no {name} of {listener} in {page}"))
        .rsplit(' ')
        .next()
        .unwrap()
        .parse()
        .unwrap()
}

fn copy(from: &Path, to: &str) {
    std::fs::copy(from, to).unwrap();
}

#[test]
fn a_renewed_certificate_is_served_and_half_of_one_is_not() {
    let (before, after) = (Authority::new(), Authority::new());
    let files = Files::of(&before, before.issue_until("localhost", 2031, 2, 3));
    let place = Place::new();
    let node = Node::start("one");
    let config = format!(
        "[log]\nformat = \"logfmt\"\n[admin]\nlisten = \"127.0.0.1:0\"\n\
         [rpc]\nlisten = \"127.0.0.1:0\"\nnodes = [\"{}\"]\nhealth = \"net_version\"\ntls_cert = \"{}\"\ntls_key = \"{}\"\n",
        node.url, files.certificate, files.key
    );
    let mut running = start(&place, &config);
    let (rpc, admin) = (running.address("rpc"), running.address("admin"));
    let is_served =
        |ca: &Path| curl(&["--cacert", &ca.display().to_string(), &url(&rpc, "/")]).status == Some(0);
    let page = || curl(&[&format!("http://{admin}/metrics")]).out;
    const EXPIRY: &str = "mainstay_tls_certificate_expiry_timestamp_seconds";
    const FAILURES: &str = "mainstay_tls_reload_failures_total";
    assert!(is_served(&before.file()) && !is_served(&after.file()));
    assert_eq!(metric(&page(), EXPIRY, "127.0.0.1:0"), 1_927_843_200.0);
    assert_eq!(metric(&page(), FAILURES, "127.0.0.1:0"), 0.0);

    // Its key is still the old one's.
    let (certificate, key) = after.issue_until("localhost", 2032, 2, 3);
    copy(&certificate, &files.certificate);
    let told = running.line(&["level=warn", "cannot use the new TLS certificate, the old one stays in use"]);
    assert!(told.contains(&files.key) && told.contains("is not the key of the certificate in"), "{told}");
    assert!(is_served(&before.file()) && !is_served(&after.file()));
    assert_eq!(metric(&page(), FAILURES, "127.0.0.1:0"), 1.0);
    assert_eq!(metric(&page(), EXPIRY, "127.0.0.1:0"), 1_927_843_200.0);

    copy(&key, &files.key);
    running.line(&["read a new TLS certificate", &files.certificate]);
    assert!(is_served(&after.file()) && !is_served(&before.file()));
    assert_eq!(metric(&page(), EXPIRY, "127.0.0.1:0"), 1_959_379_200.0);
    assert_eq!(metric(&page(), FAILURES, "127.0.0.1:0"), 1.0);
}

#[test]
fn nodes_over_https_are_trusted_and_shown_a_certificate_as_the_role_says() {
    let authority = Authority::new();
    let server = Files::of(&authority, authority.issue("localhost"));
    let client = Files::of(&authority, authority.issue("client"));
    let node = Node::start("one");
    let (front, back) = (Place::new(), Place::new());
    let section =
        format!("[rpc]\nlisten = \"127.0.0.1:0\"\nnodes = [\"{}\"]\nhealth = \"net_version\"\n", node.url);
    let mut far = start(
        &back,
        &format!("[log]\nformat = \"logfmt\"\n[admin]\nlisten = \"off\"\n{section}{}", server.served()),
    );
    let there = url(&far.address("rpc"), "/");

    let roles = |keys: &str| {
        format!(
            "[log]\nformat = \"logfmt\"\n[admin]\nlisten = \"127.0.0.1:0\"\n\
             [engine]\nlisten = \"127.0.0.1:0\"\nnodes = [\"{there}\"]\njwt_secret = \"jwt.hex\"\n{keys}\
             [sync]\nlisten = \"127.0.0.1:0\"\nnodes = [\"{there}\"]\njwt_secret = \"jwt.hex\"\n{keys}\
             [rpc]\nlisten = \"127.0.0.1:0\"\nnodes = [\"{there}\"]\nhealth = \"net_version\"\n{keys}\
             [beacon]\nlisten = [\"127.0.0.1:0\"]\nbeacon_node = [\"{there}\"]\n{keys}"
        )
    };
    let ask = |rpc: &str| curl(&["--data", NET_VERSION, &format!("http://{rpc}/")]);
    let mut near = start(&front, &roles(&client.nodes()));
    let rpc = ["engine", "sync", "rpc", "beacon", "admin"].map(|role| near.address(role));
    let [_, _, rpc, beacon, admin] = rpc;
    eventually("it is answered through both", || ask(&rpc).out.ends_with("\"one\"} 200"));
    let engine_asks = node.asked();
    eventually("engine and sync probe their nodes", || node.asked() > engine_asks + 4);
    // What the beacon role's node says is rpc's word, so it was reached.
    eventually("the guard has asked", || {
        let refused = curl(&[&format!("http://{beacon}/eth/v1/node/version")]).out;
        refused.contains("404") && refused.ends_with(" 503")
    });
    let page = curl(&[&format!("http://{admin}/metrics")]).out;
    for role in ["engine", "sync", "rpc", "beacon"] {
        let shown = format!("{{role=\"{role}\",name=\"{role}\",listener=\"nodes\"}}");
        assert!(
            page.contains(&format!("mainstay_tls_certificate_expiry_timestamp_seconds{shown}")),
            "{role}: {page}"
        );
    }
    // `check --probe` goes the same way.
    let config = front.path().join("mainstay.toml").display().to_string();
    let probed = front.run(&["check", "--probe", "--config", &config], &[]);
    assert!(
        !probed.out.contains("certificate") && !probed.out.contains("TLS"),
        "{}{}",
        probed.out,
        probed.err
    );
    drop(near);

    let asked = node.asked();
    // Without a certificate, and by what the system trusts.
    for keys in [format!("node_ca = \"{}\"\n", client.ca), String::new()] {
        let mut near = start(&front, &roles(&keys));
        let (rpc, admin) = (near.address("rpc"), near.address("admin"));
        let answer = ask(&rpc).out;
        assert!(!answer.ends_with(" 200") && !answer.ends_with(" 000"), "{keys}: {answer}");
        eventually("no role reaches it", || {
            let shown = front.run(&["status", "--admin-listen", &admin], &[]).out;
            ["engine engine: down", "sync sync: down", "rpc rpc: down", "beacon beacon: down"]
                .iter()
                .all(|role| shown.contains(role))
        });
    }
    assert_eq!(node.asked(), asked, "nothing has got through");
}

#[test]
fn commands_reach_an_admin_listener_that_speaks_tls() {
    let authority = Authority::new();
    let files = Files::of(&authority, authority.issue("mainstay.example"));
    let place = Place::new();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let node = Node::start("one");
    let config = |tls: &str| {
        format!(
            "[log]\nformat = \"logfmt\"\n[admin]\nlisten = \"{free}\"\n{tls}\
             [rpc]\nlisten = \"127.0.0.1:0\"\nnodes = [\"{}\"]\nhealth = \"net_version\"\n",
            node.url
        )
    };
    let mut running = start(&place, &config(&files.served()));
    running.address("admin");
    let named = ["--config", "mainstay.toml"];
    assert_eq!(place.run(&[&["healthcheck"], &named[..]].concat(), &[]).fine(), "");
    assert!(place.run(&[&["status"], &named[..]].concat(), &[]).fine().contains("rpc"));
    // Flags say it too.
    let flags = ["--admin-listen", &free.to_string(), "--admin-tls-cert", &files.certificate];
    let keys = ["--admin-tls-key", &files.key, "--admin-tls-ca", &files.ca];
    place.run(&[&["status"], &flags[..], &keys].concat(), &[]).fine();
    // Somebody else with another certificate isn't taken for it; alive it is.
    let (other, key) = Authority::new().issue("mainstay.example");
    let other = ["--admin-tls-cert", other.to_str().unwrap(), "--admin-tls-key", key.to_str().unwrap()];
    let told = place.run(&[&["status", "--admin-listen", &free.to_string()], &other[..]].concat(), &[]);
    assert!(told.status == Some(2) && !told.err.is_empty(), "{}", told.err);
}

#[test]
fn check_tells_which_file_is_wrong_and_where_it_is_named() {
    let authority = Authority::new();
    let (certificate, key) = authority.issue("a");
    let (_, other) = authority.issue("b");
    let place = Place::new();
    let show = |path: &Path| path.display().to_string();
    let (certificate, key, other) = (show(&certificate), show(&key), show(&other));
    let secret = std::fs::read_to_string(&key).unwrap().lines().nth(1).unwrap().to_owned();
    let role = "[rpc]\nnodes = [\"http://127.0.0.1:1\"]\n";
    for (text, told) in [
        (
            format!("{role}tls_cert = \"{certificate}\"\n"),
            "mainstay.toml:3: [rpc] tls_cert: needs the certificate's private key: tls_key".to_owned(),
        ),
        (
            format!("{role}tls_ca = \"{certificate}\"\n"),
            "mainstay.toml:3: [rpc] tls_ca: needs a certificate to serve TLS with: tls_cert and tls_key".to_owned(),
        ),
        (
            format!("{role}tls_cert = \"{certificate}\"\ntls_key = \"{other}\"\n"),
            format!("mainstay.toml:4: [rpc] tls_key: {other}: is not the key of the certificate in {certificate}"),
        ),
        (
            format!("{role}tls_cert = \"{key}\"\ntls_key = \"{key}\"\n"),
            format!("[rpc] tls_key: {key}: holds no certificate (-----BEGIN CERTIFICATE-----)"),
        ),
        (
            format!("{role}node_ca = \"none.pem\"\n"),
            "mainstay.toml:3: [rpc] node_ca: none.pem: cannot be read: No such file or directory (os error 2)".to_owned(),
        ),
        (
            format!("{role}[admin]\ntls_cert = \"{certificate}\"\ntls_key = \"/nowhere\"\n"),
            "mainstay.toml:5: [admin] tls_key: /nowhere: cannot be read: No such file or directory (os error 2)".to_owned(),
        ),
        (
            format!("{role}listen = \"unix:/run/a.sock\"\ntls_cert = \"{certificate}\"\ntls_key = \"{key}\"\n"),
            "mainstay.toml:4: [rpc] tls_cert: is for what comes over TCP, and this listens on a unix socket".to_owned(),
        ),
    ] {
        place.file("mainstay.toml", &text);
        let done = place.run(&["check"], &[]);
        assert_eq!(done.status, Some(2), "{}", done.out);
        let lines: Vec<&str> = done.err.lines().collect();
        assert!(lines.len() == 1 && lines[0].contains(&told), "{told}\n{}", done.err);
        assert!(!done.err.contains(&secret));
    }
}
