//! One connection from its first byte to its last.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use http::header::CONNECTION;
use http::{HeaderValue, StatusCode, Version};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;

use super::activity::{AT_REST, Activity, Socket, Stream, Watched};
use super::answers::Answers;
use super::request::{Request, RequestBody};
use super::{BodyFailure as BoxError, Handler, Options, Response, Tls, http1, suspect};
use crate::inbox;

/// Streams that an HTTP/2 client may have open at once.
const MAX_STREAMS: u32 = 256;
/// Flow control windows that let a payload through without a round trip to the client.
const STREAM_WINDOW: u32 = 2 * 1024 * 1024;
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;

pub(super) async fn serve<H: Handler>(
    socket: Socket,
    peer: SocketAddr,
    handler: H,
    options: Arc<Options>,
    stop: CancellationToken,
) {
    let stream = match (socket, &options.tls) {
        // What can connect over a unix socket is said by the permissions of its file.
        (socket @ Either::Right(_), _) | (socket, None) => Either::Left(socket),
        // Boxed: every connection would carry room for it.
        (Either::Left(stream), Some(tls)) => match Box::pin(shaken(stream, tls, &options, &stop)).await {
            Ok(stream) => stream,
            Err(why) => {
                tracing::debug!(%peer, %why, "no TLS connection");
                return;
            }
        },
    };
    let closing = Arc::new(Closing { handler: handler.clone(), peer });
    let activity = Activity::new();
    let answer = {
        let activity = activity.clone();
        move |request: Request, is_coming: bool| {
            let is_http2 = request.version() == Version::HTTP_2;
            let in_flight = activity.request(is_http2, is_coming);
            let handler = handler.clone();
            // Over HTTP/2 a request has a task of its own, which ends a moment after its connection.
            let closing = is_http2.then(|| closing.clone());
            async move {
                let _closing = closing;
                let mut response = match suspect::flaw(&request) {
                    None => guarded(pin!(handler.call(request, peer))).await,
                    Some(flaw) => suspect::refusal(flaw, request.version()),
                };
                if in_flight.is_last() {
                    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                response.body_mut().hold(in_flight, is_http2);
                response
            }
        }
    };
    let ending = CancellationToken::new();
    let watched = Watched::new(stream, activity.clone(), &options);
    let mut connection = pin!(converse(watched, &options, ending.clone(), answer));

    // Beside the connection, which is what most wakes are for: these are polled only when one of them has something to say.
    let mut asides = FuturesUnordered::<Pin<Box<dyn Future<Output = Aside> + Send>>>::new();
    asides.push(Box::pin({
        let (activity, options) = (activity.clone(), options.clone());
        async move { Aside::Overdue(activity.overdue(&options).await) }
    }));
    let stopped = activity.clone();
    asides.push(Box::pin(async move {
        stop.cancelled().await;
        // A request that is on its way while its connection is closed would be lost. So whoever has just been answered may ask
        // once more, and every answer from now on says that it is the last.
        stopped.stop();
        stopped.at_rest().await;
        Aside::Stopped
    }));
    loop {
        tokio::select! {
            biased;
            ended = connection.as_mut() => return note_end(peer, ended.err()),
            Some(aside) = asides.next() => match aside {
                Aside::Overdue(why) => return tracing::debug!(%peer, why, "closed a connection"),
                Aside::Stopped => ending.cancel(),
            }
        }
    }
}

/// What ends a connection, beside its client.
enum Aside {
    /// It has to be closed, for this reason.
    Overdue(&'static str),
    /// The server stops, and nothing more is on its way.
    Stopped,
}

/// Tells a handler that its connection has ended, however it ends, once all its requests are over.
struct Closing<H: Handler> {
    handler: H,
    peer: SocketAddr,
}

impl<H: Handler> Drop for Closing<H> {
    fn drop(&mut self) {
        self.handler.closed(self.peer);
    }
}

/// The connection once its TLS handshake is done.
async fn shaken(
    stream: TcpStream,
    tls: &Tls,
    options: &Options,
    stop: &CancellationToken,
) -> io::Result<Stream> {
    let handshake = tls.acceptor(Instant::now()).accept(stream);
    let stopped = async {
        stop.cancelled().await;
        // Who is shaking hands is about to ask, as in `Activity::at_rest`.
        tokio::time::sleep(AT_REST).await;
    };
    tokio::select! {
        shaken = timeout(options.header_timeout, handshake) => Ok(Either::Right(Box::new(shaken??))),
        () = stopped => Err(io::Error::other("the server stops")),
    }
}

/// Serves a connection in whichever way its client speaks, which its first bytes tell. Ends by itself, or after `ending` as soon as nothing
/// is on its way.
async fn converse<F>(
    mut stream: Watched,
    options: &Options,
    ending: CancellationToken,
    answer: impl Fn(Request, bool) -> F,
) -> Result<(), BoxError>
where
    F: Future<Output = Response> + Send + 'static,
{
    let mut input = BytesMut::new();
    let is_http2 = poll_fn(|cx| poll_greeting(&mut stream, &mut input, &ending, cx)).await?;
    if !is_http2 {
        return Ok(http1::serve(stream, input, options.title_case, ending, answer).await?);
    }
    stream.put_back(input.freeze());
    let service = service_fn(|request: http::Request<Incoming>| {
        let answering = answer(request.map(RequestBody::http2), false);
        async move { Ok::<_, Infallible>(answering.await) }
    });
    // Boxed: it is rare and large, and every connection would carry room for it.
    let mut connection = Box::pin(http2(options).serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        biased;
        ended = connection.as_mut() => return Ok(ended?),
        () = ending.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    Ok(connection.await?)
}

/// Reads until it is known whether the client speaks HTTP/2: it does if it begins with the words that are for that (RFC 9113 section 3.4).
fn poll_greeting(
    stream: &mut Watched,
    input: &mut BytesMut,
    ending: &CancellationToken,
    cx: &mut Context<'_>,
) -> Poll<io::Result<bool>> {
    const GREETING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    loop {
        let seen = input.len().min(GREETING.len());
        if input[..seen] != GREETING[..seen] || (input.is_empty() && ending.is_cancelled()) {
            return Poll::Ready(Ok(false));
        }
        if seen == GREETING.len() {
            return Poll::Ready(Ok(true));
        }
        if ready!(inbox::poll_fill(input, http1::ROOM, stream, cx))? == 0 {
            return Poll::Ready(Ok(false));
        }
    }
}

fn http2(options: &Options) -> http2::Builder<Answers> {
    let mut builder = http2::Builder::new(Answers { write_timeout: options.write_timeout });
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    builder
}

/// The handler's answer, or a 500 if it panics.
async fn guarded(mut call: Pin<&mut impl Future<Output = Response>>) -> Response {
    // A future that has panicked is not polled again; the handler's shared state is its own care.
    let answered = poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(cx))) {
        Ok(poll) => poll.map(Some),
        Err(_) => Poll::Ready(None),
    });
    match answered.await {
        Some(response) => response,
        None => {
            tracing::error!("a request's handler panicked");
            let mut response = Response::default();
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            response
        }
    }
}

fn note_end(peer: SocketAddr, error: Option<BoxError>) {
    if let Some(error) = error {
        tracing::debug!(%peer, %error, "a connection ended with an error");
    }
}
