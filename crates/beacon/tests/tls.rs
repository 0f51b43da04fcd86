//! TLS on either side of a guard: clients are served with `tls_cert` and `tls_key`, and a beacon node may be an `https:` URL.
//!
//! Who is trusted is read from the system once for a process, so the test runs itself again in a process of its own with
//! `SSL_CERT_FILE` set.
#![allow(clippy::unwrap_used)]
#![allow(clippy::disallowed_methods, reason = "the variable is rustls-native-certs', not a setting")]

mod common;

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use common::{SOON, config, start};
use http::{Request, StatusCode};
use mainstay_beacon::config::Guarded;
use mainstay_sim::beacon::{BeaconServer, BeaconState};
use mainstay_wire::client::{Client, Options};
use rcgen::{CertificateParams, KeyPair};
use tokio::time::Instant;

/// What a test's own process is told by: where the certificate is.
const FOLDER: &str = "MAINSTAY_TEST_FOLDER";

fn issue(folder: &Path) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    for (file, label, der) in [
        ("cert.pem", "CERTIFICATE", &certificate.der()[..]),
        ("key.pem", "PRIVATE KEY", &key.serialize_der()),
    ] {
        let text = format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der));
        std::fs::write(folder.join(file), text).unwrap();
    }
}

fn keys(folder: &Path) -> String {
    format!("tls_cert = {:?}\ntls_key = {:?}\n", folder.join("cert.pem"), folder.join("key.pem"))
}

#[test]
fn clients_and_nodes_may_speak_tls() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        return runtime.block_on(passes(folder.as_ref()));
    }
    let folder = tempfile::tempdir().unwrap();
    issue(folder.path());
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "clients_and_nodes_may_speak_tls", "--nocapture"])
        .env("SSL_CERT_FILE", folder.path().join("cert.pem"))
        .env(FOLDER, folder.path())
        .output()
        .unwrap();
    let told =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.contains("1 passed"), "{told}");
}

async fn passes(folder: &Path) {
    let node = BeaconServer::start("bn", BeaconState::default()).await.unwrap();
    let served = start(config(&[node.url()], &keys(folder))).await;
    served.until(0, "fit").await;
    // The second has the first for its beacon node, which it reaches by TLS only.
    let address = format!("https://localhost:{}", served.addresses[0].port());
    let before = start(config(std::slice::from_ref(&address), "")).await;
    before.until(0, "fit").await;
    let reply = before.get(0, "/eth/v1/node/version").await;
    assert_eq!(
        (reply.status, &reply.headers()["x-mainstay-node"]),
        (StatusCode::OK, &"beacon-1".parse().unwrap())
    );
    assert_eq!(node.count("/eth/v1/node/version"), 1);

    let client = Client::new(&address.parse().unwrap(), Options::default()).unwrap();
    let request = || Request::get("/eth/v1/node/syncing").body(Bytes::new()).unwrap();
    assert_eq!(client.send(request(), Instant::now() + SOON).await.unwrap().status, StatusCode::OK);
    // Who doesn't speak it gets nothing.
    assert!(served.ask(0, request()).await.is_err());
}

#[test]
fn a_guard_has_its_own_certificate_or_that_of_all() {
    let folder = tempfile::tempdir().unwrap();
    issue(folder.path());
    let keys = keys(folder.path());
    let guard = "[[beacon.guard]]\nlisten = \"127.0.0.1:0\"\nbeacon_node = \"http://b\"\n";
    let with = |text: String| -> Vec<bool> {
        let is_served = |guard: &Guarded| guard.tls.is_some();
        config(&["http://a".to_owned()], &text).guards.iter().map(is_served).collect()
    };
    assert_eq!(with(guard.to_owned()), [false, false]);
    assert_eq!(with(format!("{keys}{guard}")), [true, true]);
    assert_eq!(with(format!("{guard}{keys}")), [false, true]);
}
