//! `/nodes`: prio-load-balancer's API for the list of nodes.
//!
//! Whoever is on loopback may change the list, others need the admin token. `{"uri": "…"}`; `"force": true` adds a node that
//! doesn't answer.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use mainstay_node::Refused;
use mainstay_wire::jwt;
use mainstay_wire::local;
use mainstay_wire::server::{RequestBody, Response};
use serde_json::Value;

use crate::core::Core;
use crate::handle::Handle;
use crate::intake;
use crate::reply::{json, plain};

/// Largest body of a change.
const LIMIT: usize = 64 * 1024;

/// A change that is asked for.
struct Change {
    uri: String,
    force: bool,
}

impl Change {
    /// Reads `{"uri": "…"}` as prio-load-balancer does: the case of names doesn't matter, nor what follows the object.
    fn read(body: &[u8]) -> Result<Self, String> {
        let mut values = serde_json::Deserializer::from_slice(body).into_iter::<Value>();
        let object = match values.next() {
            None => return Err("EOF: the body is empty".to_owned()),
            Some(Err(error)) => return Err(error.to_string()),
            Some(Ok(Value::Object(object))) => object,
            Some(Ok(_)) => return Err("the body is no JSON object".to_owned()),
        };
        let field = |name: &str| object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        let uri = match field("uri") {
            None => String::new(),
            Some((_, Value::String(uri))) => uri.clone(),
            Some(_) => return Err("uri is no text".to_owned()),
        };
        let force = match field("force") {
            None => false,
            Some((_, Value::Bool(force))) => *force,
            Some(_) => return Err("force is neither true nor false".to_owned()),
        };
        Ok(Self { uri, force })
    }
}

/// Answers a request for the list.
pub(crate) async fn nodes(core: &Arc<Core>, request: Request<RequestBody>, peer: SocketAddr) -> Response {
    if request.method() == Method::GET {
        return json(StatusCode::OK, list(core));
    }
    if let Some(refusal) = refusal(core, request.uri(), request.headers(), peer) {
        return refusal;
    }
    let adds = request.method() == Method::POST;
    let live = core.live_of_now();
    let read = match intake::read(core, &live.config, request.into_body(), LIMIT).await {
        Ok(body) => Change::read(&body),
        Err(failure) => return plain(failure.status(), format!("{}\n", failure.text())),
    };
    let change = match read {
        Ok(change) => change,
        Err(why) => {
            let text = format!("{why}: send {{\"uri\": \"http://host:port\"}}\n");
            return plain(StatusCode::BAD_REQUEST, text);
        }
    };
    let handle = Handle::new(core.clone());
    let (done, what) = if adds {
        (handle.add(&change.uri, change.force).await, "AddNode failed: ")
    } else {
        (handle.remove(&change.uri).await, "")
    };
    match done {
        Ok(()) => Response::new(Default::default()),
        Err(Refused::NoSuchNode(_)) => plain(StatusCode::NOT_FOUND, "node not found\n"),
        Err(Refused::Bad(why) | Refused::Unsupported(why)) => {
            plain(StatusCode::BAD_REQUEST, format!("{what}{why}\n"))
        }
        Err(Refused::Unavailable(why)) => plain(StatusCode::SERVICE_UNAVAILABLE, format!("{what}{why}\n")),
    }
}

fn list(core: &Core) -> Bytes {
    let shown: Vec<String> = core.nodes().iter().map(|node| node.uris().shown.clone()).collect();
    let mut text = serde_json::to_string(&shown).unwrap_or_default();
    // As Go writes it.
    for (plain, escaped) in [("&", "\\u0026"), ("<", "\\u003c"), (">", "\\u003e")] {
        text = text.replace(plain, escaped);
    }
    text.push('\n');
    text.into()
}

/// Why this peer may not change the list.
fn refusal(core: &Core, uri: &Uri, headers: &HeaderMap, peer: SocketAddr) -> Option<Response> {
    if local::is_own_process(peer.ip(), uri, headers) {
        return None;
    }
    let Some(verify) = &core.verify else {
        let text = "changes from elsewhere than this machine need an admin token, and none is set\n";
        return Some(plain(StatusCode::FORBIDDEN, text));
    };
    match jwt::bearer(headers.get(AUTHORIZATION)) {
        Ok(token) if verify(token) => None,
        _ => Some(plain(StatusCode::UNAUTHORIZED, "changes need the admin token as a bearer token\n")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::members::Members;
    use crate::telemetry::{Metrics, Telemetry};
    use mainstay_settings::{Sources, resolve};
    use mainstay_store::MemoryStore;
    use prometheus_client::registry::Registry;

    fn core(verify: Option<crate::Verify>) -> Core {
        let mut problems = Vec::new();
        let settings = resolve(&crate::SECTION, &Sources::default(), &mut problems);
        let config = crate::Config::from_settings(&settings, &mut problems).unwrap();
        let telemetry = Telemetry::new("rpc", Metrics::new(&mut Registry::default()));
        let members = Members::new(Arc::new(MemoryStore::new()), Vec::new(), false);
        Core::new(config, telemetry, members, verify)
    }

    /// Defect 14 of prio-load-balancer: whoever reached its port could change its nodes.
    #[test]
    fn changes_from_elsewhere_need_the_token() {
        let status = |core: &Core, peer: &str, token: Option<&str>| {
            let mut headers = HeaderMap::new();
            if let Some(token) = token {
                headers.insert(AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
            }
            headers.insert("host", "127.0.0.1:8080".parse().unwrap());
            let refusal = refusal(core, &Uri::from_static("/nodes"), &headers, peer.parse().unwrap());
            refusal.map(|response| response.status().as_u16())
        };
        let closed = core(None);
        let open = core(Some(Arc::new(|token: &str| token == "right")));
        for here in ["127.0.0.1:9", "[::1]:9", "[::ffff:127.0.0.1]:9"] {
            assert_eq!(status(&closed, here, None), None, "{here}");
            assert_eq!(status(&open, here, None), None, "{here}");
        }
        for there in ["10.0.0.1:9", "[2001:db8::1]:9"] {
            assert_eq!(status(&closed, there, Some("right")), Some(403));
            assert_eq!(status(&open, there, None), Some(401));
            assert_eq!(status(&open, there, Some("wrong")), Some(401));
            assert_eq!(status(&open, there, Some("right")), None);
        }
    }

    /// A page in a browser on this machine, and strangers behind a proxy on it, are loopback peers too.
    #[test]
    fn changes_that_somebody_else_asks_for_through_this_machine_need_the_token() {
        let peer = "127.0.0.1:9".parse().unwrap();
        for (name, value) in [
            ("origin", "https://evil.example"),
            ("x-forwarded-for", "192.0.2.7"),
            ("host", "evil.example:8080"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("host", "127.0.0.1:8080".parse().unwrap());
            headers.insert(name, value.parse().unwrap());
            let refusal = refusal(&core(None), &Uri::from_static("/nodes"), &headers, peer);
            assert_eq!(refusal.unwrap().status(), 403, "{name}");
        }
    }

    #[test]
    fn a_change_is_read_as_ever() {
        let read = |text: &str| Change::read(text.as_bytes()).map(|change| (change.uri, change.force));
        assert_eq!(read(r#"{"uri":"http://a"}"#), Ok(("http://a".into(), false)));
        assert_eq!(
            read(r#"{"URI":"http://a","force":true,"other":1} and more"#),
            Ok(("http://a".into(), true))
        );
        assert_eq!(read("{}"), Ok((String::new(), false)));
        for (text, part) in [
            ("", "EOF"),
            ("no", "expected"),
            ("[]", "no JSON object"),
            ("7", "no JSON object"),
            (r#"{"uri":7}"#, "uri is no text"),
            (r#"{"uri":"a","force":1}"#, "force is neither"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
