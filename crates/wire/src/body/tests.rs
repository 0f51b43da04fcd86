#![allow(clippy::unwrap_used)]

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Frame, SizeHint};

use super::*;

/// A body of these frames; then it ends, fails or hangs.
struct Scripted {
    announced: u64,
    frames: VecDeque<&'static [u8]>,
    end: Poll<Result<(), ()>>,
}

impl Body for Scripted {
    type Data = Bytes;
    type Error = ();

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ()>>> {
        match self.frames.pop_front() {
            Some(frame) => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(frame))))),
            None => self.end.map(|end| end.err().map(Err)),
        }
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = SizeHint::new();
        hint.set_lower(self.announced);
        hint
    }
}

fn body(frames: &[&'static [u8]], end: Poll<Result<(), ()>>) -> Scripted {
    Scripted { announced: 0, frames: frames.iter().copied().collect(), end }
}

const WHOLE: Poll<Result<(), ()>> = Poll::Ready(Ok(()));

#[tokio::test]
async fn a_body_up_to_the_limit_is_read() {
    assert_eq!(read(body(&[], WHOLE), 0).await.unwrap(), "");
    assert_eq!(read(body(&[b"abc"], WHOLE), 3).await.unwrap(), "abc");
    assert_eq!(read(body(&[b"a", b"", b"bc", b"def"], WHOLE), 6).await.unwrap(), "abcdef");
}

#[tokio::test]
async fn the_limit_holds_while_reading() {
    assert_eq!(read(body(&[b"abc"], WHOLE), 2).await, Err(BodyError::TooLarge));
    assert_eq!(read(body(&[b"a", b"b", b"c"], WHOLE), 2).await, Err(BodyError::TooLarge));
    assert_eq!(read(body(&[b"ab", b"c"], Poll::Pending), 2).await, Err(BodyError::TooLarge));
}

#[tokio::test]
async fn an_announced_length_is_refused_before_it_is_read() {
    let mut announced = body(&[], Poll::Pending);
    announced.announced = 4;
    assert_eq!(read(announced, 3).await, Err(BodyError::TooLarge));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_or_stalls_ends_in_an_error() {
    assert_eq!(read(body(&[b"a"], Poll::Ready(Err(()))), 9).await, Err(BodyError::Aborted));
    let started = tokio::time::Instant::now();
    assert_eq!(read(body(&[b"a"], Poll::Pending), 9).await, Err(BodyError::Timeout));
    assert_eq!(started.elapsed().as_secs(), STALL.as_secs());
}

#[tokio::test(start_paused = true)]
async fn a_body_has_to_be_in_within_the_time_that_is_given() {
    let time = Duration::from_secs(7);
    assert_eq!(read_in(body(&[b"a", b"bc"], WHOLE), 3, time).await.unwrap(), "abc");
    assert_eq!(read_in(body(&[b"a", b"bc"], WHOLE), 2, time).await, Err(BodyError::TooLarge));
    assert_eq!(read_in(body(&[b"a"], Poll::Ready(Err(()))), 9, time).await, Err(BodyError::Aborted));
    let started = tokio::time::Instant::now();
    assert_eq!(read_in(body(&[b"a"], Poll::Pending), 9, time).await, Err(BodyError::Timeout));
    assert_eq!(started.elapsed(), time);
    // Progress doesn't help: a byte every two seconds.
    let dripping = drip();
    assert_eq!(read_in(dripping, 9, time).await, Err(BodyError::Timeout));
    assert_eq!(started.elapsed(), time * 2);
}

/// A byte every two seconds, for ever.
fn drip() -> impl Body<Data = Bytes, Error = ()> + Unpin {
    struct Drip(Pin<Box<tokio::time::Sleep>>);
    impl Body for Drip {
        type Data = Bytes;
        type Error = ();

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, ()>>> {
            std::task::ready!(self.0.as_mut().poll(cx));
            self.0 = Box::pin(tokio::time::sleep(Duration::from_secs(2)));
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b".")))))
        }
    }
    Drip(Box::pin(tokio::time::sleep(Duration::from_secs(2))))
}

/// Of `most` bytes in all.
fn among<'a, B: Body<Data = Bytes> + Unpin + 'a>(
    room: &'a Room,
    body: B,
    most: usize,
) -> impl Future<Output = Result<Bytes, Unread>> + 'a {
    room.read(body, 1000, STALL, most)
}

#[tokio::test]
async fn bodies_on_their_way_have_a_bound_together() {
    let room = Room::default();
    // Alone it may be larger than all together.
    assert_eq!(among(&room, body(&[b"123456", b"789012"], WHOLE), 10).await.unwrap(), "123456789012");
    {
        let mut first = pin!(among(&room, body(&[b"1234", b"56"], Poll::Pending), 10));
        assert!(asked_again(first.as_mut()).await.is_pending());
        let more = || body(&[b"123", b"45"], WHOLE);
        assert_eq!(among(&room, more(), 10).await, Err(Unread::Crowded));
        assert_eq!(among(&room, more(), 11).await.unwrap(), "12345");
        // What comes whole at once waits for nothing.
        let whole = http_body_util::Full::new(Bytes::from_static(b"1234567890"));
        assert_eq!(among(&room, whole, 10).await.unwrap(), "1234567890");
        // It isn't blamed for what is its own fault.
        let broken = among(&room, body(&[b"1"], Poll::Ready(Err(()))), 10).await;
        assert_eq!(broken, Err(Unread::Failed(BodyError::Aborted)));
    }
    assert_eq!(among(&room, body(&[b"123", b"4567890"], WHOLE), 10).await.unwrap(), "1234567890");
    assert_eq!(room.taken(), 0);
}
