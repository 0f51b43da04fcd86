//! The request that takes a copy to a link. Pure.

use std::net::IpAddr;
use std::time::SystemTime;

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, Entry, HOST, HeaderName,
};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Request};
use mainstay_wire::client::asks_to_attest;
use mainstay_wire::hop;
use mainstay_wire::jwt::{self, Claims, Secret};
use url::Url;

use super::Call;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Where copies go, and as whom.
pub(super) struct Target {
    pub(super) url: Url,
    pub(super) secret: Option<Secret>,
}

/// The request for a call. Header fields are the caller's own but for those of its connection; who called is put at the end of
/// `X-Forwarded-For`.
///
/// `None`: path and query can't be requested.
pub(super) fn of(target: &Target, call: &Call, now: SystemTime) -> Option<Request<Bytes>> {
    let mut request = Request::post(path(&target.url, call.target.as_ref())?).body(call.body.clone()).ok()?;
    let headers = request.headers_mut();
    headers.clone_from(&call.headers);
    hop::strip(headers);
    for of_the_connection in [HOST, CONTENT_LENGTH, EXPECT] {
        headers.remove(of_the_connection);
    }
    // Nobody reads the answer.
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
    if let Some(peer) = call.peer {
        forwarded(headers, peer);
    }
    if let Some(secret) = &target.secret {
        let claims = Claims { id: call.id.clone(), clv: call.clv.clone(), ..Claims::at(now) };
        let mut bearer = HeaderValue::try_from(format!("Bearer {}", jwt::sign(secret, &claims))).ok()?;
        bearer.set_sensitive(true);
        headers.insert(AUTHORIZATION, bearer);
    } else if has_credentials(&target.url) {
        // The client has them from the URL.
        headers.remove(AUTHORIZATION);
    }
    Some(request)
}

/// The link's own path with what was asked for behind it, and both queries.
fn path(url: &Url, asked: Option<&PathAndQuery>) -> Option<PathAndQuery> {
    let (path, query) = asked.map_or(("/", None), |asked| (asked.path(), asked.query()));
    let path = match (url.path(), path) {
        (own, "/") => own.to_owned(),
        (own, asked) => format!("{}{asked}", own.strip_suffix('/').unwrap_or(own)),
    };
    let query = [url.query(), query].into_iter().flatten().collect::<Vec<_>>().join("&");
    let target = if query.is_empty() { path } else { format!("{path}?{query}") };
    PathAndQuery::try_from(target).ok()
}

fn has_credentials(url: &Url) -> bool {
    // What asks to attest is no user name.
    (!url.username().is_empty() && !asks_to_attest(url)) || url.password().is_some()
}

/// Adds who called, in one field, as proxies do.
fn forwarded(headers: &mut HeaderMap, peer: IpAddr) {
    let before = headers.get_all(FORWARDED_FOR).iter().map(HeaderValue::as_bytes).collect::<Vec<_>>();
    let mut all = before.join(&b", "[..]);
    if !all.is_empty() {
        all.extend_from_slice(b", ");
    }
    all.extend_from_slice(peer.to_canonical().to_string().as_bytes());
    let Ok(all) = HeaderValue::from_bytes(&all) else { return };
    match headers.entry(FORWARDED_FOR) {
        Entry::Occupied(mut entry) => {
            entry.insert(all);
        }
        Entry::Vacant(entry) => {
            entry.insert(all);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    fn target(url: &str, secret: Option<&Secret>) -> Target {
        Target { url: Url::parse(url).unwrap(), secret: secret.cloned() }
    }

    fn call(headers: &[(&'static str, &'static str)]) -> Call {
        let mut call = Call::new("engine_newPayloadV4", Bytes::from_static(b"{}"));
        for (name, value) in headers {
            call.headers.append(*name, HeaderValue::from_static(value));
        }
        call
    }

    fn sent(target: &Target, call: &Call) -> Vec<(String, String)> {
        let request = of(target, call, UNIX_EPOCH + Duration::from_secs(1_700_000_000)).unwrap();
        let text = |(name, value): (&HeaderName, &HeaderValue)| {
            (name.to_string(), value.to_str().unwrap().to_owned())
        };
        let mut all: Vec<_> = request.headers().iter().map(text).collect();
        all.sort();
        all
    }

    fn owned(fields: &[(&str, &str)]) -> Vec<(String, String)> {
        fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_callers_own_header_fields_go_along() {
        let mut call = call(&[
            ("authorization", "Bearer a.b.c"),
            ("host", "sync.example"),
            ("content-length", "99"),
            ("connection", "keep-alive, x-hop"),
            ("keep-alive", "5"),
            ("x-hop", "1"),
            ("expect", "100-continue"),
            ("te", "trailers"),
            ("user-agent", "Lighthouse/v8"),
            ("accept-encoding", "gzip"),
            ("content-type", "application/json; charset=utf-8"),
            ("x-forwarded-for", "192.0.2.9"),
            ("x-forwarded-for", "192.0.2.1, 192.0.2.2"),
        ]);
        call.peer = Some("::ffff:192.0.2.3".parse().unwrap());
        let expected = owned(&[
            ("accept-encoding", "identity"),
            ("authorization", "Bearer a.b.c"),
            ("content-type", "application/json; charset=utf-8"),
            ("user-agent", "Lighthouse/v8"),
            ("x-forwarded-for", "192.0.2.9, 192.0.2.1, 192.0.2.2, 192.0.2.3"),
        ]);
        assert_eq!(sent(&target("http://a/", None), &call), expected);
    }

    #[test]
    fn who_calls_without_any_is_named_by_its_whole_address() {
        let mut call = call(&[]);
        call.peer = Some("2001:db8::1".parse().unwrap());
        let expected = owned(&[
            ("accept-encoding", "identity"),
            ("content-type", "application/json"),
            ("x-forwarded-for", "2001:db8::1"),
        ]);
        assert_eq!(sent(&target("http://a/", None), &call), expected);
    }

    #[test]
    fn a_link_with_a_secret_gets_a_token_of_its_own() {
        let secret = Secret::from_hex(&"5a".repeat(32)).unwrap();
        let mut call = call(&[("authorization", "Bearer the.caller.s"), ("authorization", "Basic eA==")]);
        call.id = Some("lodestar-1".to_owned());
        call.clv = Some("v1.2".to_owned());
        let request =
            of(&target("http://a/", Some(&secret)), &call, UNIX_EPOCH + Duration::from_secs(5)).unwrap();
        let all: Vec<_> = request.headers().get_all(AUTHORIZATION).iter().collect();
        assert_eq!(all.len(), 1);
        assert!(all[0].is_sensitive());
        let token = jwt::bearer(Some(all[0])).unwrap();
        let claims = jwt::verify(&secret, token, UNIX_EPOCH + Duration::from_secs(5)).unwrap();
        assert_eq!(
            claims,
            Claims { iat: 5, id: Some("lodestar-1".to_owned()), clv: Some("v1.2".to_owned()) }
        );
    }

    #[test]
    fn credentials_of_the_links_url_take_the_place_of_the_callers() {
        let call = call(&[("authorization", "Bearer a.b.c")]);
        for url in ["http://user:pass@a/", "http://user@a/"] {
            assert!(
                !sent(&target(url, None), &call).iter().any(|(name, _)| name == "authorization"),
                "{url}"
            );
        }
    }

    /// What a link is to prove is no user name.
    #[test]
    fn a_link_that_attests_gets_the_callers_token() {
        let call = call(&[("authorization", "Bearer a.b.c")]);
        let url = format!("https://SGX_{}@a/", "f9".repeat(32));
        assert!(sent(&target(&url, None), &call).contains(&("authorization".into(), "Bearer a.b.c".into())));
    }

    #[test]
    fn paths_and_queries_are_joined() {
        for (url, asked, expected) in [
            ("http://a", None, "/"),
            ("http://a/sync", None, "/sync"),
            ("http://a/sync/?k=1", Some("/"), "/sync/?k=1"),
            ("http://a/", Some("/x/y?b=2"), "/x/y?b=2"),
            ("http://a/sync", Some("/x?b=2"), "/sync/x?b=2"),
            ("http://a/sync/?k=1", Some("/x?b=2"), "/sync/x?k=1&b=2"),
        ] {
            let mut call = call(&[]);
            call.target = asked.map(PathAndQuery::from_static);
            let request = of(&target(url, None), &call, UNIX_EPOCH).unwrap();
            assert_eq!(request.uri(), expected, "{url} {asked:?}");
            assert_eq!(request.method(), "POST");
            assert_eq!(request.body(), "{}");
        }
    }
}
