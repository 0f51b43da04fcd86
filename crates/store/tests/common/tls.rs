//! Certificates for a server on loopback.

use std::process::{Command, Stdio};

use tempfile::TempDir;

/// A directory with `ca.pem`, and `server.pem` with `server.key` that it has signed.
pub fn certificates() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("names"), "subjectAltName=IP:127.0.0.1,DNS:localhost\n").unwrap();
    let new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout"];
    let run = |arguments: &[&[&str]]| {
        let status = Command::new("openssl")
            .args(arguments.concat())
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap_or_else(|error| panic!("cannot run openssl ({error}): install it"));
        assert!(status.success(), "openssl {arguments:?}");
    };
    run(&[
        &["req", "-x509", "-days", "2", "-subj", "/CN=test authority", "-out", "ca.pem"],
        &new_key,
        &["ca.key"],
    ]);
    run(&[&["req", "-subj", "/CN=localhost", "-out", "server.csr"], &new_key, &["server.key"]]);
    let signed = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names"];
    run(&[&["x509", "-req", "-in", "server.csr", "-out", "server.pem"], &signed]);
    dir
}
