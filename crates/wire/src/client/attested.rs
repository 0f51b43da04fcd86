//! Nodes that are to prove what they run before they are sent anything.

use percent_encoding::percent_decode_str;
use url::Url;

/// What the user part of such a node's URL begins with.
const PREFIXES: [&[u8]; 3] = [b"SGX_", b"SEV_", b"TDX_"];

/// Whether the user part of a URL asks that the node attests (`https://SGX_…@host`, `SEV_…`, `TDX_…`), in whatever case and encoding it
/// is written: what nearly asks for it is no user name either.
#[must_use]
pub fn asks_to_attest(url: &Url) -> bool {
    let user: Vec<u8> = percent_decode_str(url.username()).collect();
    PREFIXES
        .iter()
        .any(|prefix| user.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::{BadEndpoint, Clear, Client, Options, Uplink};
    use super::*;

    #[test]
    fn a_node_that_is_to_attest_is_never_called_as_any_other() {
        let hex = "f9".repeat(32);
        for user in [
            &*format!("SGX_{hex}"),
            "SGX_",
            "sgx_00",
            "S%47X_00",
            "SGX%5F00",
            "SGX_00:password",
            "SEV_H4sIAAAA==",
            "SEV_H4sIAAAA%3D%3D",
            "TDX_H4sIAAAA",
            "tDx_",
        ] {
            for scheme in ["http", "https"] {
                let url = Url::parse(&format!("{scheme}://{user}@127.0.0.1:1/")).unwrap();
                assert!(asks_to_attest(&url), "{url}");
                let refused = Client::new(&url, Options::default()).unwrap_err();
                assert_eq!(refused, BadEndpoint::Attested, "{url}");
                assert!(!refused.to_string().contains(&hex));
                let refused = Uplink::new(&url, Options::default(), Clear::default()).unwrap_err();
                assert_eq!(refused, BadEndpoint::Attested, "{url}");
            }
        }
    }

    #[test]
    fn others_are_user_names() {
        for user in ["", "me@", "SGX@", "xSGX_00@", ":SGX_00@", "SG@", "%FF@"] {
            let url = Url::parse(&format!("http://{user}127.0.0.1:1/SGX_00")).unwrap();
            assert!(!asks_to_attest(&url), "{url}");
            assert!(Client::new(&url, Options::default()).is_ok(), "{url}");
        }
    }
}
