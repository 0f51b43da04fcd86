#![allow(clippy::unwrap_used)]

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use super::{Caller, Refusal, Token, judge};

const TOKEN: &str = "0123456789abcdef";

fn local() -> Caller {
    Caller {
        peer: "127.0.0.1".parse().unwrap(),
        host: Some("127.0.0.1:7700".to_owned()),
        origin: None,
        proxied: false,
        bearer: None,
    }
}

fn remote() -> Caller {
    Caller { peer: "192.0.2.7".parse().unwrap(), host: Some("192.0.2.1:7700".to_owned()), ..local() }
}

fn with(caller: Caller, bearer: &str) -> Caller {
    Caller { bearer: Some(bearer.to_owned()), ..caller }
}

#[test]
fn a_process_on_this_machine_may() {
    let token = Token::new(TOKEN).unwrap();
    for peer in ["127.0.0.1", "127.0.0.9", "::1", "::ffff:127.0.0.1"] {
        for host in ["127.0.0.1:7700", "127.0.0.1", "localhost:7700", "LOCALHOST", "[::1]:7700"] {
            let caller = Caller { peer: peer.parse().unwrap(), host: Some(host.to_owned()), ..local() };
            assert_eq!(judge(&caller, None), Ok(()), "{caller:?}");
            assert_eq!(judge(&caller, Some(&token)), Ok(()), "{caller:?}");
        }
    }
}

#[test]
fn everyone_else_needs_the_token() {
    let token = Token::new(TOKEN).unwrap();
    let host = |host: Option<&str>| Caller { host: host.map(str::to_owned), ..local() };
    let not_local = [
        remote(),
        Caller { peer: "2001:db8::1".parse().unwrap(), ..local() },
        Caller { peer: "::ffff:192.0.2.7".parse().unwrap(), ..local() },
        Caller { proxied: true, ..local() },
        host(Some("evil.example:7700")),
        host(Some("localhost.evil.example")),
        host(Some("127.0.0.1.evil.example")),
        host(Some("evil@127.0.0.1 x")),
        host(Some("192.0.2.1:7700")),
        host(Some("")),
        host(None),
    ];
    for caller in not_local {
        assert_eq!(judge(&caller, None), Err(Refusal::NoTokenConfigured), "{caller:?}");
        assert_eq!(judge(&with(caller.clone(), TOKEN), None), Err(Refusal::NoTokenConfigured), "{caller:?}");
        assert_eq!(judge(&caller, Some(&token)), Err(Refusal::TokenMissing), "{caller:?}");
        assert_eq!(judge(&with(caller.clone(), "0123456789abcdeg"), Some(&token)), Err(Refusal::TokenWrong));
        assert_eq!(judge(&with(caller.clone(), ""), Some(&token)), Err(Refusal::TokenWrong));
        assert_eq!(judge(&with(caller, TOKEN), Some(&token)), Ok(()));
    }
}

#[test]
fn a_wrong_token_is_wrong_on_this_machine_too() {
    let token = Token::new(TOKEN).unwrap();
    assert_eq!(judge(&with(local(), "guess"), Some(&token)), Err(Refusal::TokenWrong));
}

#[test]
fn pages_of_another_origin_may_not() {
    let token = Token::new(TOKEN).unwrap();
    for origin in [
        "http://evil.example",
        "null",
        "",
        "http://127.0.0.1:8080",
        "file://127.0.0.1:7700",
        "http://127.0.0.1:7700/",
    ] {
        let caller = Caller { origin: Some(origin.to_owned()), ..local() };
        assert_eq!(judge(&caller, None), Err(Refusal::CrossOrigin), "{origin}");
        assert_eq!(judge(&with(caller, TOKEN), Some(&token)), Err(Refusal::CrossOrigin), "{origin}");
    }
    let own_page = Caller { origin: Some("http://127.0.0.1:7700".to_owned()), ..local() };
    assert_eq!(judge(&own_page, None), Ok(()));
}

#[test]
fn a_rebound_name_is_of_one_origin_and_may_not() {
    let rebound = Caller {
        host: Some("evil.example:7700".to_owned()),
        origin: Some("http://evil.example:7700".to_owned()),
        ..local()
    };
    assert_eq!(judge(&rebound, None), Err(Refusal::NoTokenConfigured));
}

#[test]
fn tokens_are_strong_enough_and_never_shown() {
    for weak in ["", "short", "fifteen-letters", "with space in the middle", "ümlauts-are-not-header-text"] {
        assert!(Token::new(weak).is_err(), "{weak}");
    }
    let token = Token::new(&format!(" {TOKEN}\n")).unwrap();
    assert_eq!(judge(&with(remote(), TOKEN), Some(&token)), Ok(()));
    assert_eq!(format!("{token:?}"), "Token(…)");
    assert!(!format!("{:?}", with(remote(), TOKEN)).contains(TOKEN));
}

#[test]
fn a_caller_is_read_from_the_head() {
    let caller = |authority: Option<&str>, headers: &[(&'static str, &'static str)]| {
        let headers: HeaderMap = headers
            .iter()
            .map(|&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .fold(HeaderMap::new(), |mut all, (name, value)| {
                all.append(name, value);
                all
            });
        Caller::of("127.0.0.1".parse().unwrap(), authority, &headers)
    };
    assert_eq!(caller(None, &[("host", "127.0.0.1:7700")]), local());
    assert_eq!(caller(Some("127.0.0.1:7700"), &[]), local());
    assert_eq!(caller(Some("127.0.0.1:7700"), &[("host", "evil.example")]).host, None);
    assert_eq!(caller(None, &[("host", "127.0.0.1"), ("host", "evil.example")]).host, None);
    assert_eq!(caller(None, &[("authorization", "bearer abc")]).bearer.as_deref(), Some("abc"));
    assert_eq!(caller(None, &[("authorization", "Basic abc")]).bearer, None);
    assert_eq!(caller(None, &[("origin", "a"), ("origin", "b")]).origin.as_deref(), Some("null"));
    for name in ["x-forwarded-for", "x-real-ip", "forwarded", "via", "x-forwarded-host"] {
        assert!(caller(None, &[(name, "192.0.2.7")]).proxied, "{name}");
    }
}
