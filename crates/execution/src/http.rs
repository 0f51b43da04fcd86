//! Replies that aren't streamed, of the roles that drive execution clients.

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use mainstay_wire::body::{self, BodyError};
use mainstay_wire::server::Response;

/// Reads a request's body of at most `limit` bytes; else the reply that says why not.
///
/// # Errors
/// That reply: 413 or 400.
pub async fn read_body(body: hyper::body::Incoming, limit: usize) -> Result<Bytes, Response> {
    body::read(body, limit).await.map_err(|error| match error {
        BodyError::TooLarge => {
            text(StatusCode::PAYLOAD_TOO_LARGE, format!("the body is larger than {limit} bytes"))
        }
        error => text(StatusCode::BAD_REQUEST, error.to_string()),
    })
}

/// A JSON response.
pub fn json(status: StatusCode, body: Bytes) -> Response {
    respond(status, "application/json", body)
}

/// A plain text response.
pub fn text(status: StatusCode, body: String) -> Response {
    respond(status, "text/plain; charset=utf-8", Bytes::from(body))
}

fn respond(status: StatusCode, kind: &'static str, body: Bytes) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// No body.
pub fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Default::default());
    *response.status_mut() = status;
    response
}

/// 405 with the methods that are allowed.
pub fn not_allowed(allow: &'static str) -> Response {
    let mut response = empty(StatusCode::METHOD_NOT_ALLOWED);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    response
}
