//! One connection and the exchange of one request for one reply on it.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use super::HttpReply;
use super::endpoint::Endpoint;
use super::error::{CallError, Delivered, Fault};
use super::stream::Stream;
use crate::body::{Gathered, TooLarge};

type Connection = http1::Connection<TokioIo<Stream>, Full<Bytes>>;

/// A connection, driven by whoever uses it. Dropping it closes it.
pub(super) struct Link {
    sender: http1::SendRequest<Full<Bytes>>,
    /// `None` once it has ended. Boxed: it moves between pool and call.
    connection: Option<Box<Connection>>,
}

/// An exchange without a reply.
pub(super) struct Failed {
    pub(super) error: CallError,
    /// The request, if not a byte of it was written.
    pub(super) returned: Option<Request<Full<Bytes>>>,
}

impl From<CallError> for Failed {
    fn from(error: CallError) -> Self {
        Self { error, returned: None }
    }
}

impl Link {
    /// A fresh connection. Has no limit of its own.
    pub(super) async fn connect(endpoint: &Endpoint) -> Result<Self, CallError> {
        let stream = Stream::connect(endpoint).await?;
        let shaken = http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = shaken.map_err(|error| CallError::talking(&error, Delivered::No))?;
        Ok(Self { sender, connection: Some(Box::new(connection)) })
    }

    /// Sends a request and reads its whole reply. Has no limit of its own.
    pub(super) async fn exchange(
        &mut self,
        request: Request<Full<Bytes>>,
        max_reply: usize,
    ) -> Result<HttpReply, Failed> {
        let Self { sender, connection } = self;
        let exchange = async {
            match sender.try_send_request(request).await {
                Ok(response) => Ok(gather(response, max_reply).await?),
                Err(mut error) => {
                    let returned = error.take_message();
                    let delivered = match returned {
                        Some(_) => Delivered::No,
                        None => Delivered::Maybe,
                    };
                    let error = CallError::talking(&error.into_error(), delivered);
                    Err(Failed { error, returned })
                }
            }
        };
        drive(connection, exchange).await
    }

    /// Whether the connection, as far as can be told without waiting, is open and ready for a request.
    pub(super) async fn is_reusable(&mut self) -> bool {
        poll_fn(|cx| Poll::Ready(self.is_ready(cx))).await
    }

    fn is_ready(&mut self, cx: &mut Context<'_>) -> bool {
        // The first poll may only finish what the last exchange left to do.
        for _ in 0..2 {
            advance(&mut self.connection, cx);
            if self.connection.is_none() {
                return false;
            }
            match self.sender.poll_ready(cx) {
                Poll::Ready(ready) => return ready.is_ok(),
                Poll::Pending => {}
            }
        }
        false
    }
}

/// Runs an exchange and the connection under it in one task.
async fn drive<T>(connection: &mut Option<Box<Connection>>, exchange: impl Future<Output = T>) -> T {
    let mut exchange = pin!(exchange);
    poll_fn(|cx| {
        if let Poll::Ready(done) = exchange.as_mut().poll(cx) {
            return Poll::Ready(done);
        }
        advance(connection, cx);
        // What the connection has just read may be all that the exchange waits for.
        exchange.as_mut().poll(cx)
    })
    .await
}

/// Lets the connection read and write. One that has ended is dropped, which fails whatever still waits for it; its
/// error is the exchange's error too.
fn advance(connection: &mut Option<Box<Connection>>, cx: &mut Context<'_>) {
    if let Some(open) = connection
        && Pin::new(open.as_mut()).poll(cx).is_ready()
    {
        *connection = None;
    }
}

async fn gather(response: Response<Incoming>, max_reply: usize) -> Result<HttpReply, CallError> {
    let too_large = |TooLarge| CallError::new(Fault::TooLarge, Delivered::Maybe);
    let (head, mut body) = response.into_parts();
    let mut gathered = Gathered::new(&body, max_reply).map_err(too_large)?;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| CallError::talking(&error, Delivered::Maybe))?;
        if let Ok(data) = frame.into_data() {
            gathered.push(data).map_err(too_large)?;
        }
    }
    Ok(HttpReply { status: head.status, headers: head.headers, body: gathered.finish() })
}
