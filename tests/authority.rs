//! Somebody who issues certificates, for tests of all crates.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, Certificate, CertificateParams, DnType, IsCa, KeyPair};
use tempfile::TempDir;

/// A folder with all that it has issued.
pub struct Authority {
    certificate: Certificate,
    key: KeyPair,
    folder: TempDir,
}

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), pem("CERTIFICATE", certificate.der())).unwrap();
        Self { certificate, key, folder }
    }

    /// Its own certificate.
    pub fn file(&self) -> PathBuf {
        self.path("ca.pem")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A certificate for this name, with its key: `NAME.cert.pem` and `NAME.key.pem`.
    pub fn issue(&self, name: &str) -> (PathBuf, PathBuf) {
        self.issue_with(name, |_| {})
    }

    /// The same, that ends on a day.
    pub fn issue_until(&self, name: &str, year: i32, month: u8, day: u8) -> (PathBuf, PathBuf) {
        self.issue_with(name, |params| params.not_after = rcgen::date_time_ymd(year, month, day))
    }

    /// The same, with what else is changed about it.
    pub fn issue_with(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        change(&mut params);
        let certificate = params.signed_by(&key, &self.certificate, &self.key).unwrap();
        let (certificate_file, key_file) =
            (self.path(&format!("{name}.cert.pem")), self.path(&format!("{name}.key.pem")));
        std::fs::write(&certificate_file, pem("CERTIFICATE", certificate.der())).unwrap();
        std::fs::write(&key_file, pem("PRIVATE KEY", &key.serialize_der())).unwrap();
        (certificate_file, key_file)
    }
}
