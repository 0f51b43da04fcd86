//! The keys by which files of TLS are named, alike in every section: `tls_…` of a listener, `node_…` towards nodes.

use std::path::{Path, PathBuf};

use crate::{Key, Kind, Problem, Settings};

/// `tls_cert` of a listener.
pub const TLS_CERT: Key = Key::new(
    "tls_cert",
    Kind::Path,
    "File with the certificate that clients are served TLS with, and the chain behind it (PEM); read again when it changes",
);
/// `tls_key` of a listener.
pub const TLS_KEY: Key =
    Key::new("tls_key", Kind::Path, "File with the private key of tls_cert (PEM, not encrypted)");
/// `tls_ca` of a listener.
pub const TLS_CA: Key = Key::new(
    "tls_ca",
    Kind::Path,
    "File with the authorities of which one has to have issued a client's certificate (PEM); without it clients need none",
);
/// `node_ca`, towards nodes.
pub const NODE_CA: Key = Key::new(
    "node_ca",
    Kind::Path,
    "File with the authorities that nodes over https are trusted by, in place of the system's (PEM); read again when it changes",
);
/// `node_cert`, towards nodes.
pub const NODE_CERT: Key = Key::new(
    "node_cert",
    Kind::Path,
    "File with the certificate that nodes over https are shown if they ask for one, and the chain behind it (PEM)",
);
/// `node_key`, towards nodes.
pub const NODE_KEY: Key =
    Key::new("node_key", Kind::Path, "File with the private key of node_cert (PEM, not encrypted)");

/// The names of three keys that belong together.
#[derive(Debug, Clone, Copy)]
pub struct TlsKeys {
    /// Of the certificate's file.
    pub certificate: &'static str,
    /// Of the private key's.
    pub key: &'static str,
    /// Of the authorities'.
    pub authorities: &'static str,
}

/// Those of a listener.
pub const LISTENER: TlsKeys = TlsKeys { certificate: "tls_cert", key: "tls_key", authorities: "tls_ca" };
/// Those towards nodes.
pub const NODES: TlsKeys = TlsKeys { certificate: "node_cert", key: "node_key", authorities: "node_ca" };

/// The files that are named.
#[derive(Debug, Clone, Copy)]
pub struct TlsFiles<'a> {
    /// A certificate and its private key.
    pub identity: Option<(&'a Path, &'a Path)>,
    /// Authorities.
    pub authorities: Option<&'a Path>,
}

impl TlsKeys {
    /// Makes what the files are for, if any is named: certificate and key are both there or neither. `make` fails with a file and what
    /// is wrong with it. What is wrong is told once, however often it is asked.
    pub fn read<T>(
        self,
        s: &Settings,
        problems: &mut Vec<Problem>,
        make: impl FnOnce(TlsFiles<'_>) -> Result<T, (PathBuf, String)>,
    ) -> Option<T> {
        let told = match self.files(s)? {
            Err((key, what)) => s.problem(key, what),
            Ok(files) => match make(files) {
                Ok(made) => return Some(made),
                Err((file, what)) => s.problem(self.naming(s, &file), what),
            },
        };
        if !problems.contains(&told) {
            problems.push(told);
        }
        None
    }

    /// Whether any of the files is named.
    #[must_use]
    pub fn any_set(self, s: &Settings) -> bool {
        [self.certificate, self.key, self.authorities].iter().any(|key| s.is_set(key))
    }

    fn files(self, s: &Settings) -> Option<Result<TlsFiles<'_>, (&'static str, String)>> {
        let authorities = s.path(self.authorities);
        let identity = match (s.path(self.certificate), s.path(self.key)) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            (Some(_), None) => {
                let what = format!("needs the certificate's private key: {}", self.key);
                return Some(Err((self.certificate, what)));
            }
            (None, Some(_)) => {
                let what = format!("needs the key's certificate: {}", self.certificate);
                return Some(Err((self.key, what)));
            }
        };
        (identity.is_some() || authorities.is_some()).then_some(Ok(TlsFiles { identity, authorities }))
    }

    /// The key that names the file.
    fn naming(self, s: &Settings, file: &Path) -> &'static str {
        let keys = [self.authorities, self.key];
        keys.into_iter().find(|key| s.path(key) == Some(file)).unwrap_or(self.certificate)
    }
}

/// A listener's: authorities alone serve no TLS.
impl TlsKeys {
    /// As [`TlsKeys::read`], for a listener, which has a certificate if it has anything.
    pub fn read_served<T>(
        self,
        s: &Settings,
        problems: &mut Vec<Problem>,
        make: impl FnOnce(&Path, &Path, Option<&Path>) -> Result<T, (PathBuf, String)>,
    ) -> Option<T> {
        if s.is_set(self.authorities) && !s.is_set(self.certificate) && !s.is_set(self.key) {
            let what =
                format!("needs a certificate to serve TLS with: {} and {}", self.certificate, self.key);
            let told = s.problem(self.authorities, what);
            if !problems.contains(&told) {
                problems.push(told);
            }
            return None;
        }
        self.read(s, problems, |files| match files.identity {
            Some((certificate, key)) => make(certificate, key, files.authorities),
            None => Err((PathBuf::new(), "is missing".to_owned())),
        })
    }
}
