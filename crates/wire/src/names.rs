//! The names that stand in a certificate.

use x509_cert::Certificate;
use x509_cert::der::asn1::{PrintableStringRef, Utf8StringRef};
use x509_cert::der::oid::db::rfc4519::CN;
use x509_cert::der::{Decode as _, Tagged as _};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::name::Name;

/// A longer name than this (bytes) names nobody.
const LONGEST: usize = 256;
/// As many names of a certificate are looked at.
const MOST: usize = 64;

/// The names that a peer's certificate gives it: the alternative names for DNS (in small letters) and URIs, then the subject's
/// common name. Whoever issued the certificate vouches for them all. Names that are empty, longer than 256 bytes or hold
/// control characters are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PeerNames(Vec<String>);

impl PeerNames {
    /// Those of a certificate in DER; none of one that can't be read.
    pub(crate) fn of(der: &[u8]) -> Self {
        let Ok(certificate) = Certificate::from_der(der) else { return Self::default() };
        let certificate = certificate.tbs_certificate();
        let mut names = Vec::new();
        if let Ok(Some((_, SubjectAltName(alternatives)))) = certificate.get_extension::<SubjectAltName>() {
            for name in &alternatives {
                match name {
                    GeneralName::DnsName(name) => names.push(name.as_str().to_ascii_lowercase()),
                    GeneralName::UniformResourceIdentifier(uri) => names.push(uri.as_str().to_owned()),
                    _ => {}
                }
            }
        }
        names.extend(common_names(certificate.subject()));
        names.retain(|name| !name.is_empty() && name.len() <= LONGEST && !name.chars().any(char::is_control));
        names.truncate(MOST);
        let mut told: Vec<String> = Vec::new();
        for name in names {
            if !told.contains(&name) {
                told.push(name);
            }
        }
        Self(told)
    }

    /// The one to call the peer by: the first alternative name, else the common name.
    #[must_use]
    pub fn first(&self) -> Option<&str> {
        self.0.first().map(String::as_str)
    }

    /// Whether `name` is one of them, letter for letter; for DNS names capitals mean nothing. There are no wildcards.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|own| own == name || *own == name.to_ascii_lowercase())
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

/// For those who serve what has no certificate, and for tests.
impl<T: Into<String>> FromIterator<T> for PeerNames {
    fn from_iter<I: IntoIterator<Item = T>>(names: I) -> Self {
        Self(names.into_iter().map(Into::into).collect())
    }
}

fn common_names(subject: &Name) -> impl Iterator<Item = String> + '_ {
    let parts = subject.iter().filter(|part| part.oid == CN);
    parts.filter_map(|part| {
        use x509_cert::der::Tag;
        match part.value.tag() {
            Tag::Utf8String => {
                part.value.decode_as::<Utf8StringRef<'_>>().ok().map(|text| text.as_str().to_owned())
            }
            Tag::PrintableString => {
                part.value.decode_as::<PrintableStringRef<'_>>().ok().map(|text| text.as_str().to_owned())
            }
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests;
