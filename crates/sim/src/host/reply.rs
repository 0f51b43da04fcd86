//! Answers, and what faults of the transport make of them.

use std::{future::pending, io};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt as _, combinators::UnsyncBoxBody};
use hyper::body::Body;

use super::{Life, Outgoing};
use crate::fault::Fault;

pub(crate) const JSON: &str = "application/json";

pub(crate) type Reply = Response<UnsyncBoxBody<Bytes, io::Error>>;

pub(crate) fn boxed(reply: Response<impl Body<Data = Bytes, Error = io::Error> + Send + 'static>) -> Reply {
    reply.map(|body| body.boxed_unsync())
}

/// An answer that is there whole.
pub(crate) fn whole(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Bytes> {
    let mut reply = Response::new(body.into());
    *reply.status_mut() = status;
    reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply
}

/// What is sent in this answer's place; of several faults that replace it the first one counts.
pub(crate) async fn finish(reply: Response<Bytes>, faults: &[Fault], life: &Life) -> Reply {
    if faults.contains(&Fault::Reset) {
        life.connection.cancel();
        // The connection is about to notice.
        return pending().await;
    }
    let replaced = faults.iter().find_map(|fault| {
        Some(match fault {
            Fault::HttpError(status, text) => {
                let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                whole(status, "text/plain; charset=utf-8", text.clone())
            }
            Fault::Garbage => whole(StatusCode::OK, JSON, &b"<html>\x00 this is not what you asked for"[..]),
            Fault::Empty => whole(StatusCode::OK, JSON, Bytes::new()),
            Fault::Text(text) => whole(StatusCode::OK, JSON, text.clone()),
            _ => return None,
        })
    });
    let mut reply = replaced.unwrap_or(reply);
    for fault in faults {
        if let Fault::ContentType(name) = fault {
            reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(name));
        }
    }
    boxed(reply.map(|body| Outgoing::with(body, faults)))
}
