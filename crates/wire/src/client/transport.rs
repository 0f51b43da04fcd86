//! What a node's calls go over.

use std::pin::Pin;

use bytes::Bytes;
use http::Request;
use http::header::AUTHORIZATION;
use tokio::time::Instant;

use super::{CallError, Client, HttpReply, Uplink};
use crate::jwt;

/// A call that is under way.
pub type Posted<'a> = Pin<Box<dyn Future<Output = Result<HttpReply, CallError>> + Send + 'a>>;

/// Brings a body to one endpoint and its reply back. [`Client`] does it over HTTP/1.1, [`Uplink`] over HTTP/2 too; who has other ways (a simulation, a
/// transport that isn't HTTP) implements it and gives it to the role in the client's place.
pub trait Transport: Send + Sync {
    /// Sends `body` as JSON with a bearer `token`. Resolves by `deadline` at the latest; a call that is dropped is given up.
    ///
    /// # Errors
    /// [`CallError`] if there is no whole reply by `deadline`.
    fn post<'a>(&'a self, body: Bytes, token: Option<&'a str>, deadline: Instant) -> Posted<'a>;

    /// Sends a request with header fields of its own to path and query of its URI; hop-by-hop ones are the caller's to remove. Resolves
    /// by `deadline` at the latest. Ways that know no header fields bring body and bearer token, as [`Transport::post`] does.
    ///
    /// # Errors
    /// [`CallError`] if there is no whole reply by `deadline`.
    fn send(&self, request: Request<Bytes>, deadline: Instant) -> Posted<'_> {
        Box::pin(async move {
            let token = jwt::bearer(request.headers().get(AUTHORIZATION)).ok().map(str::to_owned);
            self.post(request.into_body(), token.as_deref(), deadline).await
        })
    }
}

impl Transport for Client {
    fn post<'a>(&'a self, body: Bytes, token: Option<&'a str>, deadline: Instant) -> Posted<'a> {
        Box::pin(Client::post(self, body, token, deadline))
    }

    fn send(&self, request: Request<Bytes>, deadline: Instant) -> Posted<'_> {
        Box::pin(Client::send(self, request, deadline))
    }
}

impl Transport for Uplink {
    fn post<'a>(&'a self, body: Bytes, token: Option<&'a str>, deadline: Instant) -> Posted<'a> {
        Box::pin(Uplink::post(self, body, token, deadline))
    }

    fn send(&self, request: Request<Bytes>, deadline: Instant) -> Posted<'_> {
        Box::pin(Uplink::send(self, request, deadline))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use http::{HeaderMap, StatusCode};

    /// Answers with the token and the body that it was given.
    struct Plain;

    impl Transport for Plain {
        fn post<'a>(&'a self, body: Bytes, token: Option<&'a str>, _: Instant) -> Posted<'a> {
            let told = Bytes::from(format!("{token:?} {body:?}"));
            Box::pin(async { Ok(HttpReply::new(StatusCode::OK, &HeaderMap::new(), told)) })
        }
    }

    #[tokio::test]
    async fn a_way_without_header_fields_brings_body_and_token() {
        for (authorization, told) in
            [("Bearer a.b.c", "Some(\"a.b.c\") b\"{}\""), ("Basic eDp5", "None b\"{}\"")]
        {
            let request = Request::post("/").header(AUTHORIZATION, authorization).body("{}".into()).unwrap();
            assert_eq!(Plain.send(request, Instant::now()).await.unwrap().body, told);
        }
    }
}
