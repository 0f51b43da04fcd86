//! `GET /tokens/` of jwt-tokens-service: engine tokens for a proxy that can sign none itself. nginx asks for them with `auth_request`,
//! and puts each into the request to the host that it is for.
//!
//! Whoever is served may use the engine API of every host. So it is for named peers only, by the address of their connection and
//! nothing that they say: who puts a proxy that is named before this has to keep the path from others there. Answers are
//! pure ([`Tokens::answer`]); hosts come from settings, or from the other program's own file ([`hosts`]).

mod config;
mod header;

use std::net::IpAddr;
use std::time::SystemTime;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, LOCATION, X_CONTENT_TYPE_OPTIONS};
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use mainstay_wire::jwt::{self, Claims, Secret};

use crate::client::Network;

pub use config::{HostsError, hosts};
pub use header::BadHost;

/// The path that tokens are under, whatever follows it.
const PATH: &str = "/tokens/";

/// Hosts that there are tokens for, and who gets them.
#[derive(Clone, Debug)]
pub struct Tokens {
    hosts: Vec<(HeaderName, Secret)>,
    client_id: Option<String>,
    peers: Vec<Network>,
}

impl Tokens {
    /// Tokens for these hosts, signed with their secrets, for these peers; no peers: for nobody. `client_id` becomes the claim `id`.
    ///
    /// # Errors
    /// [`BadHost`]: a host can't be part of a header's name, or two hosts make the same one.
    pub fn new(
        hosts: Vec<(String, Secret)>,
        client_id: Option<String>,
        peers: Vec<Network>,
    ) -> Result<Self, BadHost> {
        let mut hosts = header::names(hosts)?;
        hosts.sort_by(|(left, _), (right, _)| left.as_str().cmp(right.as_str()));
        Ok(Self { hosts, client_id, peers })
    }

    /// Whether a path is one that [`Tokens::answer`] knows.
    #[must_use]
    pub fn is_at(path: &str) -> bool {
        path.starts_with(PATH) || Some(path) == PATH.strip_suffix('/')
    }

    /// The answer to a request of any method, by a peer whose own address it is (not one that it tells).
    ///
    /// 200 with a header field `Authorization-<host>: Bearer <token>` for each host, no body. `/tokens` leads there (307). 403 to those
    /// who are not named, 404 for every other path.
    #[must_use]
    pub fn answer(&self, peer: IpAddr, target: &PathAndQuery, now: SystemTime) -> Response<Bytes> {
        let path = target.path();
        if !Self::is_at(path) {
            return text(StatusCode::NOT_FOUND, "404 page not found\n");
        }
        if !self.peers.iter().any(|network| network.contains(peer)) {
            return text(StatusCode::FORBIDDEN, "403 tokens are for the peers that [sync.tokens] names\n");
        }
        match path.starts_with(PATH) {
            true => self.tokens(now),
            false => led_to_them(target.query()),
        }
    }

    fn tokens(&self, now: SystemTime) -> Response<Bytes> {
        let claims = Claims { id: self.client_id.clone(), ..Claims::at(now) };
        let mut response = Response::new(Bytes::new());
        for (name, secret) in &self.hosts {
            // Base64 and dots always are a header's text.
            if let Ok(mut bearer) = HeaderValue::try_from(format!("Bearer {}", jwt::sign(secret, &claims))) {
                bearer.set_sensitive(true);
                response.headers_mut().insert(name, bearer);
            }
        }
        response
    }
}

fn led_to_them(query: Option<&str>) -> Response<Bytes> {
    let location = query.map_or_else(|| PATH.to_owned(), |query| format!("{PATH}?{query}"));
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    let location = HeaderValue::try_from(location).unwrap_or(HeaderValue::from_static(PATH));
    response.headers_mut().insert(LOCATION, location);
    response
}

fn text(status: StatusCode, body: &'static str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from_static(body.as_bytes()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests;
