//! Requests that two programs could understand differently are refused before a handler sees them: such a difference is
//! what smuggles a request past whoever is to look at it.
//!
//! The parsers refuse most by themselves: folded lines, control characters; in HTTP/1 ([`super::http1::head`]) lines that end in a line feed
//! alone and bodies whose end isn't told once and clearly; in HTTP/2 whatever belongs to a connection. What they let through is here.

use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, Version};

use super::Response;

/// What is wrong with a request, if anything is.
pub(super) fn flaw<B>(request: &Request<B>) -> Option<&'static str> {
    let (uri, headers) = (request.uri(), request.headers());
    if *request.method() == Method::CONNECT {
        return Some("CONNECT is not served here");
    }
    if !is_target(request.method(), uri) {
        return Some("the request's target is neither a path nor a URL");
    }
    match request.version() {
        Version::HTTP_2 => flaw_of_http2(uri, headers),
        version => flaw_of_host(version, headers),
    }
}

/// In HTTP/1.1 there has to be one `Host` (RFC 9112 section 3.2).
fn flaw_of_host(version: Version, headers: &HeaderMap) -> Option<&'static str> {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (_, Some(_)) => Some("there are two Host header fields"),
        (Some(host), None) if !is_host(host) => Some("the Host header field holds no host"),
        (None, None) if version == Version::HTTP_11 => Some("there is no Host header field"),
        _ => None,
    }
}

fn flaw_of_http2(uri: &Uri, headers: &HeaderMap) -> Option<&'static str> {
    let mut hosts = headers.get_all(HOST).iter();
    let authority = uri.authority().map(|authority| authority.as_str().as_bytes());
    match (hosts.next(), hosts.next(), authority) {
        (_, Some(_), _) => return Some("there are two Host header fields"),
        (Some(host), None, Some(authority)) if !host.as_bytes().eq_ignore_ascii_case(authority) => {
            return Some("Host and :authority differ");
        }
        _ => {}
    }
    (headers.get_all(CONTENT_LENGTH).iter().nth(1).is_some())
        .then_some("there are two Content-Length header fields")
}

/// Origin form, absolute form, or the asterisk of OPTIONS (RFC 9112 section 3.2).
fn is_target(method: &Method, uri: &Uri) -> bool {
    // An authority without a scheme is for CONNECT.
    uri.authority().is_none_or(|_| matches!(uri.scheme_str(), Some("http" | "https")))
        && (uri.path().starts_with('/') || (uri.path() == "*" && *method == Method::OPTIONS))
}

/// A name or address with or without a port, or nothing where the target has no authority.
fn is_host(host: &HeaderValue) -> bool {
    host.as_bytes().iter().all(|byte| IN_HOST[usize::from(*byte)])
}

/// What of all bytes there may be in a host.
const IN_HOST: [bool; 256] = {
    let (mut table, mut byte) = ([false; 256], 0);
    while byte < 256 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let (others, mut nth) = (b"-._~!$&'()*+;=:[]%", 0);
    while nth < others.len() {
        table[others[nth] as usize] = true;
        nth += 1;
    }
    table
};

/// The answer to it. Whatever else comes over the connection isn't read.
pub(super) fn refusal(flaw: &'static str, version: Version) -> Response {
    let mut response = Response::new(format!("bad request: {flaw}\n").into());
    *response.status_mut() = StatusCode::BAD_REQUEST;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    if version != Version::HTTP_2 {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
