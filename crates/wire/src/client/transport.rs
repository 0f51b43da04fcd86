//! What a node's calls go over.

use std::pin::Pin;

use bytes::Bytes;
use tokio::time::Instant;

use super::{CallError, Client, HttpReply};

/// A call that is under way.
pub type Posted<'a> = Pin<Box<dyn Future<Output = Result<HttpReply, CallError>> + Send + 'a>>;

/// Brings a body to one endpoint and its reply back. [`Client`] does it over HTTP/1.1; who has other ways (a simulation, a
/// transport that isn't HTTP) implements it and gives it to the role in the client's place.
pub trait Transport: Send + Sync {
    /// Sends `body` as JSON with a bearer `token`. Resolves by `deadline` at the latest; a call that is dropped is given up.
    ///
    /// # Errors
    /// [`CallError`] if there is no whole reply by `deadline`.
    fn post<'a>(&'a self, body: Bytes, token: Option<&'a str>, deadline: Instant) -> Posted<'a>;
}

impl Transport for Client {
    fn post<'a>(&'a self, body: Bytes, token: Option<&'a str>, deadline: Instant) -> Posted<'a> {
        Box::pin(Client::post(self, body, token, deadline))
    }
}
