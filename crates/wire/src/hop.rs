//! Header fields that are meant for the next hop only (RFC 9110 section 7.6.1): whoever passes a message on leaves them out,
//! of requests and of replies.

use http::header::{CONNECTION, CONTENT_LENGTH, HeaderName, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue};

/// Whether a field belongs to the connection it came over, whatever `Connection` says.
///
/// `TE` and `Trailer` are among them, since trailers aren't passed on, and credentials for a proxy, since they are ours to
/// look at.
fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// Removes the fields that belong to the connection, and those that `Connection` names. A length beside a transfer encoding goes too:
/// it isn't the body's (RFC 9112 section 6.3), and alone it would be taken for it.
pub fn strip(headers: &mut HeaderMap) {
    // Most messages have none.
    if !headers.keys().any(is_hop_by_hop) {
        return;
    }
    if headers.contains_key(TRANSFER_ENCODING) {
        headers.remove(CONTENT_LENGTH);
    }
    let named: Vec<HeaderName> = headers.get_all(CONNECTION).iter().flat_map(names).collect();
    let own = headers.keys().filter(|name| is_hop_by_hop(name)).cloned();
    for name in own.chain(named).collect::<Vec<_>>() {
        headers.remove(name);
    }
}

/// The names in a list. What is none can't be the name of a field either.
fn names(list: &HeaderValue) -> impl Iterator<Item = HeaderName> {
    let members = list.as_bytes().split(|byte| *byte == b',');
    members.filter_map(|member| HeaderName::from_bytes(member.trim_ascii()).ok())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use http::header::{ACCEPT, COOKIE};

    fn stripped(fields: &[(&'static str, &'static str)]) -> Vec<(String, String)> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        strip(&mut headers);
        headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect()
    }

    #[test]
    fn what_is_for_everybody_stays() {
        let kept = [
            ("accept", "application/octet-stream;q=1,application/json;q=0.9"),
            ("eth-consensus-version", "fulu"),
            ("accept-encoding", "gzip"),
            ("content-length", "5"),
            ("content-encoding", "gzip"),
            ("expect", "100-continue"),
            ("x-a", "1"),
            ("x-a", "2"),
        ];
        let expected: Vec<_> =
            kept.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        assert_eq!(stripped(&kept), expected);
        // Also if others are removed.
        assert_eq!(stripped(&[&kept[..], &[("connection", "close")]].concat()), expected);
        assert_eq!(stripped(&[]), []);
    }

    #[test]
    fn what_belongs_to_the_connection_goes() {
        for name in [
            "connection",
            "keep-alive",
            "proxy-authenticate",
            "proxy-authorization",
            "proxy-connection",
            "te",
            "trailer",
            "transfer-encoding",
            "upgrade",
        ] {
            assert_eq!(stripped(&[(name, "x"), (name, "trailers")]), [], "{name}");
        }
    }

    #[test]
    fn a_length_beside_a_transfer_encoding_goes() {
        let fields = [("content-length", "5"), ("transfer-encoding", "chunked"), ("accept", "a")];
        assert_eq!(stripped(&fields), [("accept".to_owned(), "a".to_owned())]);
    }

    #[test]
    fn what_connection_names_goes() {
        let mut headers = HeaderMap::new();
        for value in ["close, X-One,\t,X-Two ,\"quoted\"", "x-three", "x y, \u{e9}"] {
            headers.append(CONNECTION, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        for name in ["x-one", "x-two", "x-three", "x-four"] {
            headers.append(name, HeaderValue::from_static("1"));
            headers.append(name, HeaderValue::from_static("2"));
        }
        headers.insert(ACCEPT, HeaderValue::from_static("a"));
        headers.insert(COOKIE, HeaderValue::from_static("b"));
        strip(&mut headers);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["accept", "cookie", "x-four"]);
    }
}
