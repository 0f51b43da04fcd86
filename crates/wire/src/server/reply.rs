//! The body of an answer: whole, or streamed from wherever it comes.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body, Frame, SizeHint};

use super::activity::InFlight;
use super::answers::{self, PIECE};

/// Why a streamed answer broke off.
pub type BodyFailure = Box<dyn std::error::Error + Send + Sync>;

/// The body of an answer.
#[derive(Debug)]
pub struct ReplyBody {
    kind: Kind,
    /// The request is in flight for as long as its answer is.
    in_flight: Option<InFlight>,
    /// It goes out over HTTP/2: in pieces, and its client is watched.
    is_http2: bool,
    /// What `kind` has given already.
    rest: Bytes,
}

#[derive(Debug)]
enum Kind {
    Whole(Full<Bytes>),
    Streamed(UnsyncBoxBody<Bytes, BodyFailure>),
}

impl ReplyBody {
    /// A body that is still to come. If it fails the connection is cut, so that the client can't take what it has for the whole.
    pub fn streamed<B>(body: B) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BodyFailure>,
    {
        Self::of(Kind::Streamed(body.map_err(Into::into).boxed_unsync()))
    }

    pub(super) fn hold(&mut self, in_flight: InFlight, is_http2: bool) {
        self.in_flight = Some(in_flight);
        self.is_http2 = is_http2;
    }

    fn of(kind: Kind) -> Self {
        Self { kind, in_flight: None, is_http2: false, rest: Bytes::new() }
    }

    /// As [`Body::poll_frame`], in pieces.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFailure>>> {
        if self.rest.is_empty() {
            match ready!(self.kind.poll_frame(cx)) {
                Some(Ok(frame)) if frame.data_ref().is_some_and(|data| data.len() > PIECE) => {
                    self.rest = frame.into_data().unwrap_or_default();
                }
                other => return Poll::Ready(other),
            }
        }
        Poll::Ready(Some(Ok(Frame::data(answers::piece(&mut self.rest)))))
    }
}

impl Kind {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFailure>>> {
        match self {
            Self::Whole(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            Self::Streamed(body) => Pin::new(body).poll_frame(cx),
        }
    }
}

impl Default for ReplyBody {
    /// An empty one.
    fn default() -> Self {
        Bytes::new().into()
    }
}

impl<T: Into<Bytes>> From<T> for ReplyBody {
    fn from(whole: T) -> Self {
        Self::of(Kind::Whole(Full::new(whole.into())))
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = BodyFailure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFailure>>> {
        if !self.is_http2 {
            return self.kind.poll_frame(cx);
        }
        let polled = self.poll_piece(cx);
        answers::asked(matches!(polled, Poll::Ready(Some(_))));
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
            && match &self.kind {
                Kind::Whole(body) => body.is_end_stream(),
                Kind::Streamed(body) => body.is_end_stream(),
            }
    }

    /// Asked for only before anything was given.
    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Whole(body) => body.size_hint(),
            Kind::Streamed(body) => body.size_hint(),
        }
    }
}
