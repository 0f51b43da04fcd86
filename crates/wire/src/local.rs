//! Whether a request was made by a process on this machine, and by nobody else through it.
//!
//! A loopback peer is not enough: it may be a reverse proxy that passes on what strangers ask, or a browser in which another
//! site's page uses its visitor's reach. A browser sends `Origin`; a page of a name that was made to point at 127.0.0.1
//! (DNS rebinding) has the same origin as its requests, but they carry that name as their host.
//!
//! Who connects over a unix socket is a process of this machine, and is called by a loopback address. The rest holds there too: it may be
//! a reverse proxy.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::sync::atomic::{AtomicU32, Ordering};

use http::header::{HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, Uri};

/// Any of these says that the peer is a proxy and somebody else is asking.
pub const PROXY_HEADERS: [&str; 5] = ["x-forwarded-for", "x-forwarded-host", "x-real-ip", "forwarded", "via"];

/// What one who has connected over a unix socket is called by: `[::1]:0`. No connection over TCP has that port; two of these differ in
/// their flow, which isn't shown.
pub(crate) fn unix_peer() -> SocketAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    SocketAddrV6::new(Ipv6Addr::LOCALHOST, 0, NEXT.fetch_add(1, Ordering::Relaxed), 0).into()
}

/// Whether a process on this machine asks directly: a loopback peer, no header that a proxy adds, a host that is a literal
/// loopback address or `localhost`, and no `Origin`. Clients of the kind that curl is send it that way; pages of browsers don't.
#[must_use]
pub fn is_own_process(peer: IpAddr, uri: &Uri, headers: &HeaderMap) -> bool {
    // HTTP/2 has it in the URI.
    let host = uri.authority().map(Authority::as_str);
    let host = host.or_else(|| headers.get(HOST).and_then(|host| host.to_str().ok()));
    peer.to_canonical().is_loopback()
        && !headers.contains_key(ORIGIN)
        && !PROXY_HEADERS.iter().any(|&name| headers.contains_key(name))
        && host.is_some_and(is_loopback_host)
}

/// Whether a `Host` is a literal loopback address or `localhost`, with or without a port.
#[must_use]
pub fn is_loopback_host(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else {
        return false;
    };
    let name = authority.host();
    if let Some(address) = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        return address.parse::<Ipv6Addr>().is_ok_and(|address| address.to_canonical().is_loopback());
    }
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use http::Request;

    #[test]
    fn who_is_a_process_of_this_machine() {
        for (peer, host, header, own) in [
            ("127.0.0.1", "127.0.0.1:7000", None, true),
            ("127.0.0.9", "localhost:7000", None, true),
            ("::1", "[::1]:7000", None, true),
            ("::ffff:127.0.0.1", "LOCALHOST", None, true),
            ("10.0.0.1", "127.0.0.1:7000", None, false),
            ("127.0.0.1", "evil.example:7000", None, false),
            ("127.0.0.1", "127.0.0.1.evil.example", None, false),
            ("127.0.0.1", "", None, false),
            ("127.0.0.1", "127.0.0.1:7000", Some("origin"), false),
            ("127.0.0.1", "127.0.0.1:7000", Some("x-forwarded-for"), false),
            ("127.0.0.1", "127.0.0.1:7000", Some("via"), false),
        ] {
            let mut request = Request::post("/nodes").header(HOST, host);
            if let Some(header) = header {
                request = request.header(header, "http://127.0.0.1:7000");
            }
            let request = request.body(()).unwrap();
            let found = is_own_process(peer.parse().unwrap(), request.uri(), request.headers());
            assert_eq!(found, own, "{peer} {host} {header:?}");
        }
        let over_h2 = Request::post("http://localhost:7000/nodes").body(()).unwrap();
        assert!(is_own_process("127.0.0.1".parse().unwrap(), over_h2.uri(), over_h2.headers()));
    }
}
