//! Where etcd is, as an operator writes it. Pure.
//!
//! `etcd://[user:password@]host[:2379][,host…][/prefix][?option&option…]`, `etcds://` with TLS. User and password are percent-encoded. Keys begin with
//! `/prefix/` (`/mainstay/relay/`). Options: `ca=/path/to/ca.pem` (trusted in the place of the system's certificates), `cert=` and `key=` (shown to
//! members that ask for a certificate).

use std::fmt;
use std::path::PathBuf;

use mainstay_store::authority::{AddressError, Credentials, Host, Parts, decode};

const PORT: u16 = 2379;
const PREFIX: &str = "mainstay/relay";
/// Nobody runs more.
const MEMBERS: usize = 9;

/// Where etcd is and what to say to it. Shown without credentials.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::claims) struct EtcdAddress {
    pub(super) tls: bool,
    /// At least one.
    pub(super) hosts: Vec<Host>,
    pub(super) user: Option<User>,
    /// What keys begin with, without the slashes around it.
    pub(super) prefix: String,
    pub(super) ca: Option<PathBuf>,
    /// A certificate and its key.
    pub(super) identity: Option<(PathBuf, PathBuf)>,
}

/// Never shown, so it has no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) password: String,
}

impl EtcdAddress {
    /// Reads it; `text` is what follows the `://`.
    pub(in crate::claims) fn parse(tls: bool, text: &str) -> Result<Self, AddressError> {
        let wrong = |what: &str| Err(AddressError::new(what));
        let parts = Parts::split(text)?;
        if parts.fragment.is_some() {
            return wrong("nothing may follow a # here; in a password write it as %23");
        }
        let user = match Credentials::parse(parts.credentials)? {
            Credentials { user: Some(name), password: Some(password) } => Some(User { name, password }),
            Credentials { user: None, password: None } => None,
            _ => return wrong("etcd wants a user with the password: user:password@"),
        };
        let mut files = [("ca", None), ("cert", None), ("key", None)];
        for option in parts.options() {
            let (key, value) = option?;
            let Some((name, file)) = files.iter_mut().find(|(name, _)| *name == key) else {
                // Its text may be the tail of a password with an unescaped `?`, so it isn't quoted.
                return wrong("an option after the ? is none of ca, cert and key");
            };
            if file.replace(PathBuf::from(value)).is_some() {
                return Err(AddressError::new(format!("{name}= is given twice")));
            }
        }
        let [(_, ca), (_, certificate), (_, key)] = files;
        if !tls && (ca.is_some() || certificate.is_some() || key.is_some()) {
            return wrong("ca=, cert= and key= are for TLS: write etcds instead of etcd");
        }
        let identity = match (certificate, key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => return wrong("cert= and key= go together"),
        };
        let hosts = parts.hosts(PORT)?;
        if hosts.len() > MEMBERS {
            return Err(AddressError::new(format!("more than {MEMBERS} hosts")));
        }
        let prefix = decode(parts.path.unwrap_or_default().trim_matches('/'))?;
        let prefix = if prefix.is_empty() { PREFIX.to_owned() } else { prefix };
        Ok(Self { tls, hosts, user, prefix, ca, identity })
    }
}

impl fmt::Display for EtcdAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts: Vec<String> = self.hosts.iter().map(Host::to_string).collect();
        let tls = if self.tls { "s" } else { "" };
        write!(f, "etcd{tls}://{}/{}", hosts.join(","), self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> EtcdAddress {
        EtcdAddress::parse(true, text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn every_form_is_read() {
        for (text, expected) in [
            ("a", "etcds://a:2379/mainstay/relay"),
            ("a/", "etcds://a:2379/mainstay/relay"),
            ("u:pw@a:1,b,[::1]:3/x/y/", "etcds://a:1,b:2379,[::1]:3/x/y"),
            ("a/p%20q?ca=/ca.pem&cert=/c.pem&key=/k.pem", "etcds://a:2379/p q"),
        ] {
            assert_eq!(read(text).to_string(), expected, "{text}");
        }
        let all = read("us%40er:p%3A%23@a?ca=/ca.pem&cert=/c%20.pem&key=/k.pem");
        let user = all.user.unwrap();
        assert_eq!((&*user.name, &*user.password), ("us@er", "p:#"));
        assert_eq!(all.ca.unwrap().to_str(), Some("/ca.pem"));
        assert_eq!(all.identity, Some(("/c .pem".into(), "/k.pem".into())));
    }

    #[test]
    fn what_is_wrong_is_said_without_credentials() {
        for (text, about) in [
            ("", "host"),
            ("u:secret@", "host"),
            ("a,,b", "host"),
            ("u:secret@a:0", "port"),
            ("secret@a", "user:password"),
            (":secret@a", "user with the password"),
            ("u:se/cret@a", "%2F"),
            ("u:secret@a#x", "%23"),
            ("u:secret@a?cret=1", "none of ca"),
            ("u:secret@a?ca=/x&ca=/y", "ca= is given twice"),
            ("u:secret@a?cert=/x", "go together"),
            ("u:secret@a,b,c,d,e,f,g,h,i,j", "more than 9"),
        ] {
            let error = EtcdAddress::parse(true, text).err().expect(text).to_string();
            assert!(error.contains(about) && !error.contains("cret"), "{text}: {error}");
        }
        let error = EtcdAddress::parse(false, "u:secret@a?ca=/x").err().unwrap().to_string();
        assert!(error.contains("etcds"), "{error}");
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic_or_shows_a_password(text in "[a-z:@/?#,%0-9\\[\\]]{0,20}(:hush[a-z]{3}@)?[a-z:/?#,=0-9]{0,20}") {
            let shown = match EtcdAddress::parse(true, &text) {
                Ok(address) => address.to_string(),
                Err(error) => error.to_string(),
            };
            prop_assert!(!shown.contains("hush"), "{}", shown);
        }
    }
}
