//! Who may connect. Pure.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use mainstay_wire::network::Network;
use mainstay_wire::server::PeerNames;

/// Who may connect.
#[derive(Clone, Debug, Default)]
pub struct Admission {
    /// From where, over TCP.
    pub allow: Arc<[Network]>,
    /// Names of which one has to be in the certificate that is shown over TLS; none: whoever's certificate is of the right authority.
    pub allow_names: Arc<[String]>,
    /// Users whose processes may connect over the unix socket; none: whomever the file's permissions let.
    pub allow_uids: Arc<[u32]>,
}

/// Why somebody doesn't come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Its address isn't allowed.
    Address,
    /// The TLS handshake failed, and why.
    Tls(String),
    /// Its certificate has none of the names, but these.
    Name(String),
    /// It is another user's, or it can't be told whose.
    User,
    /// There were too many handshakes under way, most of them from there.
    Crowded,
}

impl Refusal {
    /// For metrics.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Address => "not_allowed",
            Self::Tls(_) => "tls",
            Self::Name(_) => "name",
            Self::User => "user",
            Self::Crowded => "crowded",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address => f.write_str("its address is not in allow"),
            Self::Tls(why) => write!(f, "TLS: {why}"),
            Self::Name(names) if names.is_empty() => {
                f.write_str("its certificate has no name, and allow_names wants one")
            }
            Self::Name(names) => write!(f, "no name of its certificate is in allow_names: {names}"),
            Self::User => f.write_str("its user is not in allow_uids"),
            Self::Crowded => f.write_str("too many TLS handshakes under way from there, the oldest was cut"),
        }
    }
}

impl Admission {
    /// Somebody connects from there, over TCP.
    ///
    /// # Errors
    /// Not from there.
    pub fn address(&self, address: IpAddr) -> Result<(), Refusal> {
        let allowed = self.allow.iter().any(|network| network.contains(address));
        if allowed { Ok(()) } else { Err(Refusal::Address) }
    }

    /// Somebody has shown a certificate with these names.
    ///
    /// # Errors
    /// None of them is allowed.
    pub fn names(&self, names: &PeerNames) -> Result<(), Refusal> {
        if self.allow_names.is_empty() || self.allow_names.iter().any(|name| names.contains(name)) {
            return Ok(());
        }
        let shown: Vec<&str> = names.iter().take(4).collect();
        Err(Refusal::Name(shown.join(", ")))
    }

    /// A process of this user connects over the unix socket.
    ///
    /// # Errors
    /// Not this user's.
    pub fn uid(&self, uid: Option<u32>) -> Result<(), Refusal> {
        let allowed = self.allow_uids.is_empty() || uid.is_some_and(|uid| self.allow_uids.contains(&uid));
        if allowed { Ok(()) } else { Err(Refusal::User) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission() -> Admission {
        Admission {
            allow: ["10.0.0.0/8", "::1"].map(|text| text.parse().unwrap()).into(),
            allow_names: ["node-a", "Node B"].map(str::to_owned).into(),
            allow_uids: [1000, 1001].into(),
        }
    }

    #[test]
    fn who_comes_in() {
        let set = admission();
        for (address, allowed) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("::1", true),
            ("11.0.0.1", false),
            ("127.0.0.1", false),
        ] {
            assert_eq!(set.address(address.parse().unwrap()).is_ok(), allowed, "{address}");
        }
        for (names, refused) in [
            (&["node-a"][..], None),
            (&["other", "node-a"], None),
            (&["Node B"], None),
            (&["node-b"], Some("no name of its certificate is in allow_names: node-b")),
            (&[], Some("its certificate has no name, and allow_names wants one")),
        ] {
            let refusal =
                set.names(&names.iter().copied().collect()).err().map(|refusal| refusal.to_string());
            assert_eq!(refusal.as_deref(), refused, "{names:?}");
        }
        for (uid, allowed) in [(Some(1000), true), (Some(1001), true), (Some(0), false), (None, false)] {
            assert_eq!(set.uid(uid).is_ok(), allowed, "{uid:?}");
        }
    }

    #[test]
    fn empty_lists_of_names_and_users_ask_for_nothing_more_one_of_networks_lets_nobody_in() {
        let open = Admission::default();
        assert!(open.names(&PeerNames::default()).is_ok() && open.uid(None).is_ok());
        assert_eq!(open.address([127, 0, 0, 1].into()), Err(Refusal::Address));
    }
}
