//! One connection from its first byte to its last.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use http::header::CONNECTION;
use http::{HeaderValue, Request, StatusCode, Version};
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;

use super::activity::{AT_REST, Activity, Socket, Stream, Watched};
use super::answers::Answers;
use super::{Handler, Options, Response, Tls, suspect};

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
    let service = service_fn(|request: Request<Incoming>| {
        let has_body = !request.body().is_end_stream();
        let is_http2 = request.version() == Version::HTTP_2;
        let in_flight = activity.request(is_http2, has_body);
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
            Ok::<_, Infallible>(response)
        }
    });
    let builder = builder(&options);
    let watched = Watched::new(stream, activity.clone(), &options);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(watched), service));
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
                Aside::Stopped => connection.as_mut().graceful_shutdown(),
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

fn builder(options: &Options) -> auto::Builder<Answers> {
    let mut builder = auto::Builder::new(Answers { write_timeout: options.write_timeout });
    // hyper's own limit for heads also runs between requests and would cut idle connections: `Activity` does it.
    builder.http1().timer(TokioTimer::new()).header_read_timeout(None::<Duration>);
    builder.http1().title_case_headers(options.title_case);
    builder
        .http2()
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

fn note_end(peer: SocketAddr, error: Option<Box<dyn std::error::Error + Send + Sync>>) {
    if let Some(error) = error {
        tracing::debug!(%peer, %error, "a connection ended with an error");
    }
}
