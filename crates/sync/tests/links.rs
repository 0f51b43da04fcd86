//! Proxies further down the chain that are reached over a WAN: mTLS by the settings, HTTP/2 where it is spoken.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::*;
use mainstay_settings::{Flags, Sources, resolve};
use mainstay_sync::{Config, SECTION};
use mainstay_wire::server::Tls;
use rcgen::{CertificateParams, KeyPair};

/// A certificate for `localhost` that everybody trusts who is told to, and its key.
fn certificate(folder: &Path) -> (PathBuf, PathBuf) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let write = |name: &str, label: &str, der: &[u8]| {
        let file = folder.join(name);
        let text = STANDARD.encode(der);
        std::fs::write(&file, format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")).unwrap();
        file
    };
    let certificate = write("cert.pem", "CERTIFICATE", certificate.der());
    (certificate, write("key.pem", "PRIVATE KEY", &key.serialize_der()))
}

#[tokio::test]
async fn a_proxy_that_wants_a_certificate_gets_copies_over_one_connection_of_http_2() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = certificate(folder.path());
    let proxy = Sink::start_over(Some(Tls::mutual(&certificate, &key, &certificate).unwrap()), false).await;
    let (cert, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
    let setup = Setup::new(1).set("proxies", &proxy.url).set("proxy_ca", cert);
    let bed = setup.set("proxy_certificate", cert).set("proxy_key", key).ready().await;
    let a = bed.cl("a");
    for block in chain(&bed.genesis, 40) {
        a.payload(&block).await;
    }
    proxy.until("all copies", |proxy| proxy.bodies().len() == 40).await;
    assert_eq!(proxy.connections(), 1);
}

#[tokio::test]
async fn without_a_certificate_nothing_reaches_such_a_proxy_and_everybody_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = certificate(folder.path());
    let proxy = Sink::start_over(Some(Tls::mutual(&certificate, &key, &certificate).unwrap()), false).await;
    let beside = Sink::start(false).await;
    let both = format!("{},{}", proxy.url, beside.url);
    let setup = Setup::new(1).set("proxies", &both).set("proxy_ca", certificate.to_str().unwrap());
    let bed = setup.ready().await;
    let a = bed.cl("a");
    for block in chain(&bed.genesis, 5) {
        a.payload(&block).await;
    }
    beside.until("all copies", |proxy| proxy.bodies().len() == 5).await;
    assert_eq!(proxy.bodies().len(), 0);
}

#[tokio::test]
async fn a_proxy_in_the_clear_is_spoken_to_in_http_2_if_the_settings_say_so() {
    let proxy = Sink::start(false).await;
    let bed = Setup::new(1).set("proxies", &proxy.url).set("proxy_http2", "true").ready().await;
    let a = bed.cl("a");
    for block in chain(&bed.genesis, 20) {
        a.payload(&block).await;
    }
    proxy.until("all copies", |proxy| proxy.bodies().len() == 20).await;
    assert_eq!(proxy.connections(), 1);
}

#[test]
fn half_an_identity_and_files_that_are_none_are_told() {
    for (given, told) in [
        (&[("proxy_certificate", "/dev/null")][..], "proxy_key"),
        (&[("proxy_key", "/dev/null")][..], "proxy_certificate"),
        (&[("proxy_ca", "/nonexistent")][..], "/nonexistent"),
    ] {
        let mut flags = Flags::default();
        flags.set("nodes", "--nodes", vec!["http://127.0.0.1:1".to_owned()]);
        for (key, value) in given {
            flags.set(key, format!("--{key}"), vec![(*value).to_owned()]);
        }
        let mut problems = Vec::new();
        let settings = resolve(&SECTION, &Sources { flags: &flags, ..Sources::default() }, &mut problems);
        assert!(Config::from_settings(&settings, &mut problems).is_none());
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert!(problems.len() == 1 && problems[0].contains(told), "{problems:?}");
    }
}
