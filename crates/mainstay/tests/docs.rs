//! What the documents say, held against the program: links, examples of configurations, command lines, the reference of keys.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "it runs programs with the PATH that it has"
)]

#[path = "docs/commands.rs"]
mod commands;
#[path = "docs/reference.rs"]
mod reference;
mod support;

use std::path::{Component, Path, PathBuf};

use base64::Engine as _;
use support::Place;
use support::markdown::{Block, anchors, links, page, pages, root};

#[test]
fn every_link_leads_somewhere() {
    let mut wrong = Vec::new();
    for from in pages() {
        for (line, text) in &from.prose {
            for link in links(text) {
                if ["https://", "http://", "mailto:"].iter().any(|scheme| link.starts_with(scheme)) {
                    continue;
                }
                let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
                let to = match path {
                    "" => from.path.clone(),
                    path => normal(&from.path.parent().unwrap().join(path)),
                };
                let there = root().join(&to);
                let is_page = to.extension().is_some_and(|end| end == "md");
                let has = || is_page && anchors(&page(&to)).contains(&anchor.to_owned());
                if !there.exists() || !(anchor.is_empty() || has()) {
                    wrong.push(format!("{}:{line}: {link}", from.path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "these lead nowhere:\n{}", wrong.join("\n"));
}

/// Without `.` and `..`.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => assert!(normal.pop(), "{} is outside of the repository", path.display()),
            Component::CurDir => {}
            part => normal.push(part),
        }
    }
    normal
}

#[test]
fn the_book_has_every_page() {
    let summary = page(Path::new("docs/SUMMARY.md"));
    let listed: Vec<String> = summary.prose.iter().flat_map(|(_, line)| links(line)).collect();
    for entry in std::fs::read_dir(root().join("docs")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".md") && name != "SUMMARY.md" {
            assert!(listed.contains(&name), "docs/{name} is not in docs/SUMMARY.md");
        }
    }
}

#[test]
fn every_command_line_is_one_that_the_program_takes() {
    let mut program = commands::Program::new();
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for page in pages() {
        // What it was once may be told there.
        if page.path == Path::new("CHANGELOG.md") {
            continue;
        }
        for (line, command) in commands::of(&page) {
            seen += 1;
            if let Err(why) = program.check(&command) {
                wrong.push(format!("{}:{line}: {}: {why}", page.path.display(), command.join(" ")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen > 80, "only {seen} command lines were found: are they looked for in the right way?");
}

#[test]
fn what_the_program_does_not_take_is_found() {
    let mut program = commands::Program::new();
    let mut check = |line: &str| {
        let mut commands = commands::in_shell(line);
        assert_eq!(commands.len(), 1, "{line}");
        program.check(&commands.remove(0))
    };
    for line in [
        "mainstay relay tunnel --relay a:1,b:2 --listen-any",
        "x=$(mainstay status --json | jq .)",
        "sudo RUST_LOG=debug /usr/bin/mainstay run -c m.toml # as it is",
        "sync-proxy -builders=a --json",
        "mainstay check rpc -http :8080 \\\n  --probe",
        "executionbackup -n http://a --fcu-majority 0.6",
        "mainstay evidence show ID --config m.toml",
    ] {
        assert_eq!(check(line), Ok(()), "{line}");
    }
    for (line, part) in [
        ("mainstay serve", "no command serve"),
        ("mainstay engine --nods a", "no flag --nods"),
        ("mainstay relay tunel", "no command tunel"),
        ("mainstay engine -n a -q", "no flag -q"),
        ("prio-load-balancer -htp :1", "no flag --htp"),
        ("mainstay status now", "takes no now"),
    ] {
        assert!(check(line).is_err_and(|why| why.contains(part)), "{line}: {:?}", check(line));
    }
}

#[test]
fn every_example_of_a_configuration_is_accepted() {
    let place = Place::new();
    files(&place);
    // Checks that are programs are looked for.
    let path = std::env::var("PATH").unwrap();
    let path = vec![("PATH", path.as_str())];
    let mut seen = 0;
    for page in pages() {
        for block in page.blocks.iter().filter(|block| block.is("toml")) {
            seen += 1;
            place.file("example.toml", &whole(block));
            let done =
                place.run(&["check", "--config", "example.toml"], &[missing(block), path.clone()].concat());
            let at = format!("{}:{}", page.path.display(), block.line);
            assert_eq!((done.status, done.err.as_str()), (Some(0), ""), "{at}:\n{}", block.text);
        }
    }
    assert!(seen > 10, "only {seen} examples were found");
}

/// What examples name.
fn files(place: &Place) {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate =
        rcgen::CertificateParams::new(vec!["relay.example".to_owned()]).unwrap().self_signed(&key).unwrap();
    for name in
        ["relay.pem", "ca.pem", "site.pem", "rpc.pem", "clients-ca.pem", "nodes-ca.pem", "to-nodes.pem"]
    {
        place.file(name, &pem("CERTIFICATE", certificate.der()));
    }
    for name in ["relay.key", "site.key", "rpc.key", "to-nodes.key"] {
        place.file(name, &pem("PRIVATE KEY", &key.serialize_der()));
    }
    place.file("admin.token", &"a1b2".repeat(8));
    place.file("config.json", &format!("{{\"localhost\": \"{}\"}}", "11".repeat(32)));
}

fn pem(what: &str, der: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN {what}-----\n{text}\n-----END {what}-----\n")
}

/// The example with its files in this folder, and with a role if it has none.
fn whole(block: &Block) -> String {
    let mut text = block.text.clone();
    for folder in ["/secrets/", "/etc/mainstay/", "/run/secrets/", "/run/credentials/mainstay.service/"] {
        text = text.replace(folder, "");
    }
    if !["engine", "sync", "rpc", "beacon", "relay"].iter().any(|role| has(block, role)) {
        text.push_str("[rpc]\nnodes = [\"http://127.0.0.1:8545\"]\n");
    }
    text
}

fn has(block: &Block, role: &str) -> bool {
    let begins = |line: &str| {
        let name = line.trim_start_matches('[');
        line.starts_with('[') && name.strip_prefix(role).is_some_and(|rest| rest.starts_with([']', '.']))
    };
    block.text.lines().any(begins)
}

/// What an example of a part leaves out, as variables.
fn missing(block: &Block) -> Vec<(&'static str, &'static str)> {
    let lacks = |role, key: &str| has(block, role) && !block.text.contains(&format!("{key} = "));
    let mut variables = Vec::new();
    for (role, key, variable, value) in [
        ("engine", "nodes", "MAINSTAY_ENGINE_NODES", "http://127.0.0.1:8551"),
        ("engine", "jwt_secret", "MAINSTAY_ENGINE_JWT_SECRET", "jwt.hex"),
        ("sync", "nodes", "MAINSTAY_SYNC_NODES", "http://127.0.0.1:8551"),
        ("rpc", "nodes", "MAINSTAY_RPC_NODES", "http://127.0.0.1:8545"),
        ("beacon", "beacon_node", "MAINSTAY_BEACON_BEACON_NODE", "http://127.0.0.1:5052"),
        ("beacon", "beacon_node", "MAINSTAY_BEACON_EXECUTION_NODE", "http://127.0.0.1:8545"),
        ("relay", "outer", "MAINSTAY_RELAY_OUTER", "127.0.0.1:9877"),
        ("relay", "producer", "MAINSTAY_RELAY_PRODUCER", "myproducer"),
    ] {
        if lacks(role, key) {
            variables.push((variable, value));
        }
    }
    variables
}

#[test]
fn the_reference_of_keys_is_the_golden_file() {
    let schema = Place::new().run(&["schema"], &[]).fine().to_owned();
    let reference = reference::of(&serde_json::from_str(&schema).unwrap());
    let golden = root().join("docs/config.md");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&golden, &reference).unwrap();
    }
    let kept = std::fs::read_to_string(&golden).unwrap_or_default();
    assert!(
        kept == reference,
        "docs/config.md is not up to date: run this test with UPDATE_GOLDEN=1 and look at the difference"
    );
}
