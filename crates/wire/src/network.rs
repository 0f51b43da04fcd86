//! Networks of addresses, as settings name them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// A network, such as `10.0.0.0/8` or `::1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(IpNet);

impl Network {
    /// This machine's own addresses.
    pub const LOOPBACK: [Self; 2] = [
        Self(IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8))),
        Self(IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128))),
    ];

    /// Whether the address is in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let text = text.trim();
        let net = match text.parse::<IpAddr>() {
            Ok(address) => IpNet::from(address),
            Err(_) => text.parse().map_err(|_| NetworkError(shown(text)))?,
        };
        // Addresses are compared as IPv4 where they are mapped ones, so networks are too.
        let mapped = match net {
            IpNet::V6(v6) => v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(96)),
            IpNet::V4(_) => None,
        };
        let v4 = mapped.and_then(|(address, prefix)| Ipv4Net::new(address, prefix).ok());
        Ok(Self(v4.map_or(net, IpNet::V4)))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The text is no network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkError(String);

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} is no network: write an address (192.0.2.1, ::1), or one with the bits that count (10.0.0.0/8)",
            self.0
        )
    }
}

impl std::error::Error for NetworkError {}

/// What is shown of a bad setting.
fn shown(text: &str) -> String {
    let cut: String = text.chars().take(64).collect();
    format!("{cut:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read() {
        let table = [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.1.2.3/8", "10.255.0.1", true),
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            (" ::1 ", "::1", true),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("0.0.0.0/0", "255.1.2.3", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "2001:db8::1", true),
            ("::ffff:10.0.0.0/104", "10.1.1.1", true),
            ("::ffff:10.0.0.0/104", "11.1.1.1", false),
            ("::ffff:10.0.0.1", "10.0.0.1", true),
            ("10.0.0.0/8", "::ffff:10.0.0.1", true),
        ];
        for (network, address, inside) in table {
            let parsed: Network = network.parse().unwrap();
            assert_eq!(parsed.contains(address.parse().unwrap()), inside, "{network} {address}");
            assert_eq!(parsed.to_string().parse::<Network>().unwrap(), parsed);
        }
        for bad in ["", "localhost", "10.0.0.0/33", "10.0.0/8", "::/129", "10.0.0.0/-1", "[::1]", "a\u{1b}b"]
        {
            let error = bad.parse::<Network>().unwrap_err().to_string();
            assert!(error.contains("is no network: write"), "{error}");
            assert!(!error.contains(char::is_control), "{error:?}");
        }
        let long = "x".repeat(10_000).parse::<Network>().unwrap_err();
        assert!(long.to_string().len() < 300);
    }
}
