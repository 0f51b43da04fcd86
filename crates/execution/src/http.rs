//! Replies that aren't streamed, of the roles that drive execution clients.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use hyper::body::Body;
use mainstay_wire::body::{BodyError, Room, Unread};
use mainstay_wire::server::Response;

/// Longest time that a client may take to send a body, however steadily it comes; its answer is due long before.
const LONGEST: Duration = Duration::from_secs(30);

/// Most bytes of bodies that are still coming in, together: more than all consensus clients ever send at once.
const TOGETHER: usize = 1 << 30;

/// Reads a request's body of at most `limit` bytes; else the reply that says why not.
///
/// # Errors
/// That reply: 413, 408, 400, or 503 where too much of other bodies is coming in.
pub async fn read_body<B>(room: &Room, body: B, limit: usize) -> Result<Bytes, Response>
where
    B: Body<Data = Bytes> + Unpin,
{
    room.read(body, limit, LONGEST, TOGETHER).await.map_err(|unread| refusal(unread, limit))
}

fn refusal(unread: Unread, limit: usize) -> Response {
    match unread {
        Unread::Failed(BodyError::TooLarge) => {
            text(StatusCode::PAYLOAD_TOO_LARGE, format!("the body is larger than {limit} bytes"))
        }
        Unread::Failed(BodyError::Timeout) => {
            text(StatusCode::REQUEST_TIMEOUT, "the body came too slowly".into())
        }
        Unread::Failed(BodyError::Aborted) => text(StatusCode::BAD_REQUEST, BodyError::Aborted.to_string()),
        Unread::Crowded => {
            let why = "too many request bodies are coming in at once";
            let mut response = text(StatusCode::SERVICE_UNAVAILABLE, why.into());
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
            response
        }
    }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll, ready};

    use hyper::body::Frame;
    use tokio::time::{Instant, Interval, interval};

    use super::*;

    /// A piece each ten seconds, without an end.
    struct Dripping(Interval, usize);

    impl Body for Dripping {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            ready!(self.0.poll_tick(cx));
            Poll::Ready(Some(Ok(Frame::data(vec![b'x'; self.1].into()))))
        }
    }

    fn dripping(size: usize) -> Dripping {
        Dripping(interval(Duration::from_secs(10)), size)
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_drips_is_not_waited_for() {
        let (room, began) = (Room::default(), Instant::now());
        let refused = read_body(&room, dripping(1), 1000).await.unwrap_err();
        assert_eq!(refused.status(), StatusCode::REQUEST_TIMEOUT);
        assert!(began.elapsed() < Duration::from_secs(31));
        assert_eq!(read_body(&room, dripping(600), 1000).await.unwrap_err().status(), 413);
    }

    #[tokio::test(start_paused = true)]
    async fn bodies_on_their_way_have_a_bound_together() {
        let room = Room::default();
        // As if another one had taken nearly all of it.
        let taken = room.read(dripping(1000), usize::MAX, LONGEST, usize::MAX);
        let crowded = room.read(dripping(1000), usize::MAX, LONGEST, 1500);
        let (_, crowded) = tokio::join!(taken, crowded);
        assert_eq!(crowded, Err(Unread::Crowded));
        let refused = refusal(Unread::Crowded, 1);
        assert_eq!(
            (refused.status().as_u16(), &refused.headers()[RETRY_AFTER]),
            (503, &"1".parse().unwrap())
        );
    }
}
