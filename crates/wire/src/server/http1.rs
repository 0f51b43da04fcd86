//! One connection of HTTP/1, from its first request to its last.
//!
//! Written for this server instead of hyper's: at sixteen connections that was a ninth of what a small call of `rpc` cost
//! (ARCHITECTURE.md). One task reads, asks the handler and writes; nothing is handed between tasks, and a body is read from the socket
//! only when the handler asks for it. Heads are [`head`]'s and [`reply`]'s, where bodies end is [`crate::framing`]'s. What a connection
//! that does nothing costs is bounded by [`super::activity`], which watches its bytes.
//!
//! ```text
//! head ──▶ handler, body as it is asked for ──▶ answer ──▶ next head
//!            └── the client goes ──▶ dropped       └── body not read, or "close" ──▶ our side is closed, the rest thrown away
//! ```

pub(super) mod head;
mod reply;

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::{Method, Request};
use hyper::body::Body as _;
use memchr::memmem;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio_util::sync::CancellationToken;

use super::Response;
use super::activity::Watched;
use super::request::{Feed, RequestBody};
use crate::framing::{Bad, Framing, MAX_HEAD, Piece};
use crate::inbox;
use crate::outbox::Outbox;
use head::Head;
use reply::Asked;

/// As much room has to be left to read a head into.
pub(super) const ROOM: usize = 1024;
/// Set aside at once for a body, on the client's word of its length.
const MOST_AHEAD: usize = 256 * 1024;

/// Serves requests until the client or an answer closes the connection, or, between two requests, `closing`. Of `input` a part may have
/// been read already. Who is asked is told whether the body is still on its way.
///
/// # Errors
/// The client went away or sent what is no HTTP, or an answer could not be sent whole.
pub(super) async fn serve<F: Future<Output = Response>>(
    stream: Watched,
    input: BytesMut,
    title_case: bool,
    closing: CancellationToken,
    mut ask: impl FnMut(Request<RequestBody>, bool) -> F,
) -> io::Result<()> {
    let mut line = Line { stream, input, looked_at: 0, out: Outbox::default() };
    loop {
        let head = match poll_fn(|cx| line.poll_head(&closing, cx)).await? {
            Some(Ok(head)) => head,
            None => break,
            Some(Err(bad)) => {
                line.out.front().extend_from_slice(refusal(bad));
                poll_fn(|cx| line.poll_flush(cx)).await?;
                break;
            }
        };
        if !line.answer(head, title_case, &mut ask).await? {
            break;
        }
    }
    line.stream.shutdown().await
}

/// The answer to what is no request. Nothing more is read.
fn refusal(bad: Bad) -> &'static [u8] {
    match bad {
        Bad::Malformed => b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
        Bad::TooLarge => {
            b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
        }
    }
}

struct Line {
    stream: Watched,
    /// Read, and not yet taken.
    input: BytesMut,
    /// How much of that was there when it was last looked at, and was no whole head.
    looked_at: usize,
    out: Outbox,
}

/// A request's body that is still to come.
struct Coming {
    feed: Feed,
    framing: Framing,
    /// The client waits to be told to send it.
    expects: bool,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// All of it has been read.
    Whole,
    /// Nothing of the connection can be read any more.
    Broken,
}

impl Line {
    /// The next request, or what came instead of one; `None` if there will be none.
    fn poll_head(
        &mut self,
        closing: &CancellationToken,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Option<Result<Head, Bad>>>> {
        loop {
            if self.is_worth_a_look() {
                match head::take(&mut self.input).transpose() {
                    Some(head) => {
                        self.looked_at = 0;
                        return Poll::Ready(Ok(Some(head)));
                    }
                    None => self.looked_at = self.input.len(),
                }
            } else if self.input.is_empty() && closing.is_cancelled() {
                return Poll::Ready(Ok(None));
            }
            inbox::trim(&mut self.input);
            if ready!(self.poll_fill(ROOM, cx))? == 0 {
                return Poll::Ready(match self.input.is_empty() {
                    true => Ok(None),
                    false => Err(io::ErrorKind::UnexpectedEof.into()),
                });
            }
        }
    }

    /// Whether what has been read may be a whole head. A head that comes byte by byte isn't parsed as often.
    fn is_worth_a_look(&self) -> bool {
        let (before, now) = (self.looked_at, self.input.len());
        now >= (2 * before).clamp(1, MAX_HEAD)
            || memmem::find(&self.input[before.saturating_sub(3)..], b"\r\n\r\n").is_some()
    }

    /// Answers a request; whether another one may follow.
    async fn answer<F: Future<Output = Response>>(
        &mut self,
        head: Head,
        title_case: bool,
        ask: &mut impl FnMut(Request<RequestBody>, bool) -> F,
    ) -> io::Result<bool> {
        let Head { request, framing, keep_alive, expects } = head;
        let (mut coming, body) = self.body(framing, expects);
        let mut asked = Asked {
            version: request.version(),
            is_head: *request.method() == Method::HEAD,
            keep_alive,
            title_case,
        };
        let is_coming = coming.is_some();
        let answer = {
            let mut work = pin!(ask(request.map(|()| body), is_coming));
            poll_fn(|cx| self.poll_answer(work.as_mut(), &mut coming, cx)).await?
        };
        if let Some(coming) = &mut coming {
            // Nothing but the answer is said from now on.
            coming.expects = false;
            // What is left of it would be taken for the next request.
            asked.keep_alive &= !coming.feed.is_dropped() || self.is_drained(coming);
        }
        let (parts, mut body) = answer.into_parts();
        let length = body.size_hint().exact();
        let (mut framing, keep_alive) = reply::begin(self.out.front(), &parts, length, asked);
        drop(parts);
        let mut is_last = framing == reply::Body::None || body.is_end_stream();
        if is_last && !framing.put(&mut self.out, Bytes::new(), true) {
            return Err(broken("an answer is shorter than it says"));
        }
        poll_fn(|cx| self.poll_send(&mut body, &mut framing, &mut is_last, &mut coming, cx)).await?;
        drop(body);
        Ok(keep_alive && coming.is_none_or(|mut coming| self.is_drained(&mut coming)))
    }

    /// A request's body: in hand if all of it is here, else what feeds it too.
    fn body(&mut self, framing: Framing, expects: bool) -> (Option<Coming>, RequestBody) {
        if let Framing::Length(length) = framing
            && let Ok(length) = usize::try_from(length)
            && length <= self.input.len()
        {
            return (None, RequestBody::whole(self.input.split_to(length).freeze()));
        }
        let length = if let Framing::Length(length) = framing { Some(length) } else { None };
        let (feed, body) = RequestBody::coming(length);
        (Some(Coming { feed, framing, expects, state: State::Open }), body)
    }

    fn poll_answer<F: Future<Output = Response>>(
        &mut self,
        mut work: Pin<&mut F>,
        coming: &mut Option<Coming>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Response>> {
        loop {
            if let Poll::Ready(answer) = work.as_mut().poll(cx) {
                return Poll::Ready(Ok(answer));
            }
            if !ready!(self.poll_coming(coming, cx))? {
                return Poll::Pending;
            }
        }
    }

    /// Sends what there is of an answer, to its end.
    fn poll_send(
        &mut self,
        body: &mut super::ReplyBody,
        framing: &mut reply::Body,
        is_last: &mut bool,
        coming: &mut Option<Coming>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut waits = false;
            while !*is_last && !self.out.is_full() && !waits {
                match Pin::new(&mut *body).poll_frame(cx) {
                    Poll::Pending => waits = true,
                    Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(io::Error::other(error))),
                    Poll::Ready(frame) => {
                        *is_last = frame.is_none() || body.is_end_stream();
                        // Trailers are dropped.
                        let piece = frame.and_then(Result::ok).and_then(|frame| frame.into_data().ok());
                        if !framing.put(&mut self.out, piece.unwrap_or_default(), *is_last) {
                            return Poll::Ready(Err(broken("an answer is not as long as it says")));
                        }
                    }
                }
            }
            ready!(self.poll_flush(cx))?;
            if *is_last {
                return Poll::Ready(Ok(()));
            }
            if waits && !ready!(self.poll_coming(coming, cx))? {
                return Poll::Pending;
            }
        }
    }

    /// While something is waited for: reads of the request's body what is asked for, and looks whether the client is still there.
    /// `true`: there is something new for who waits. `false`: there isn't, and `cx` is woken when there may be.
    fn poll_coming(&mut self, coming: &mut Option<Coming>, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if let Some(coming) = coming.as_mut().filter(|coming| coming.state == State::Open) {
            if !coming.feed.poll_wanted(cx) {
                return Poll::Ready(Ok(false));
            }
            return self.poll_piece(coming, cx).map_ok(|()| true);
        }
        let is_broken = coming.as_ref().is_some_and(|coming| coming.state == State::Broken);
        // Whoever sends more before it has its answer is there.
        if !is_broken && self.input.is_empty() {
            match self.poll_fill(1, cx) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(_)) | Poll::Pending => {}
            }
        }
        Poll::Ready(Ok(false))
    }

    /// Gives the next piece of the request's body to who waits for it.
    fn poll_piece(&mut self, coming: &mut Coming, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match coming.framing.next(&mut self.input) {
                Ok(Piece::Data(data)) => {
                    let is_last = coming.framing == Framing::Length(0);
                    if is_last {
                        coming.state = State::Whole;
                    }
                    coming.feed.give(data, is_last, cx);
                    return Poll::Ready(Ok(()));
                }
                Ok(Piece::Over) => {
                    coming.state = State::Whole;
                    coming.feed.end(cx);
                    return Poll::Ready(Ok(()));
                }
                Ok(Piece::Wanted) => {}
                Err(_) => {
                    coming.break_off(cx);
                    return Poll::Ready(Ok(()));
                }
            }
            if std::mem::take(&mut coming.expects) && self.input.is_empty() && self.out.is_empty() {
                self.out.front().extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
            }
            ready!(self.poll_flush(cx))?;
            if !matches!(ready!(self.poll_fill(coming.framing.ahead(MOST_AHEAD).max(ROOM), cx)), Ok(1..)) {
                coming.break_off(cx);
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Throws away what is here of a body that nobody reads any more; whether that was all of it.
    fn is_drained(&mut self, coming: &mut Coming) -> bool {
        while coming.state == State::Open {
            match coming.framing.next(&mut self.input) {
                Ok(Piece::Data(_)) => {}
                Ok(Piece::Over) => coming.state = State::Whole,
                Ok(Piece::Wanted) => return false,
                Err(_) => coming.state = State::Broken,
            }
        }
        coming.state == State::Whole
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.out.is_empty() {
            ready!(self.out.poll_write(&mut self.stream, cx))?;
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Reads some bytes; 0 at the end of the stream.
    fn poll_fill(&mut self, ahead: usize, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        inbox::poll_fill(&mut self.input, ahead, &mut self.stream, cx)
    }
}

impl Coming {
    fn break_off(&mut self, cx: &mut Context<'_>) {
        self.state = State::Broken;
        self.feed.break_off(cx);
    }
}

fn broken(why: &'static str) -> io::Error {
    io::Error::other(why)
}
