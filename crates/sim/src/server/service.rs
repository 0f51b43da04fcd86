//! One HTTP request to a simulated execution client: who asks, what, what is wrong today, answer.

use std::{
    future::{Future, pending},
    sync::Arc,
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use mainstay_wire::{
    body::{self, BodyError},
    envelope::{self, BadCall, Call, Message},
    jwt::{self, Claims, TokenError},
};
use tokio::{sync::oneshot, time::Instant};
use tokio_util::sync::CancellationToken;

use super::Shared;
use crate::{
    clock,
    el::Answer,
    fault::{Fault, Picked},
    host::{self, Host, Life, Outgoing, Reply, Serve, lock},
    log::Received,
};

const LARGEST_REQUEST: usize = 128 << 20;

impl Serve for Shared {
    fn host(&self) -> &Host {
        &self.host
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>, life: Life) -> Reply {
        match admit(&self, request).await {
            Ok((message, claims)) => respond(self, message, claims, life).await,
            Err(refusal) => host::boxed(refusal.map(Outgoing::whole)),
        }
    }
}

/// Checks the token and reads the calls.
async fn admit(
    shared: &Shared,
    request: Request<Incoming>,
) -> Result<(Message, Option<Claims>), Response<Bytes>> {
    if request.method() != Method::POST {
        return Err(text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n"));
    }
    let claims = match &shared.secret {
        None => None,
        Some(secret) => {
            let header = request.headers().get(header::AUTHORIZATION);
            let token = jwt::bearer(header);
            match token.and_then(|token| jwt::verify(secret, token, clock::wall())) {
                Ok(claims) => Some(claims),
                Err(error) => {
                    shared.log.refuse();
                    return Err(text(StatusCode::UNAUTHORIZED, as_geth_says(&error)));
                }
            }
        }
    };
    let body = match body::read(request.into_body(), LARGEST_REQUEST).await {
        Ok(body) => body,
        Err(BodyError::TooLarge) => {
            return Err(text(StatusCode::PAYLOAD_TOO_LARGE, "content length too large\n"));
        }
        Err(error) => return Err(text(StatusCode::BAD_REQUEST, &error.to_string())),
    };
    match envelope::parse_request(&body) {
        Ok(message) => Ok((message, claims)),
        Err(error) => Err(json(envelope::error_body(None, error.code, &error.message))),
    }
}

/// geth's texts, which tools look for.
fn as_geth_says(error: &TokenError) -> &'static str {
    match error {
        TokenError::Missing | TokenError::NotBearer => "missing token\n",
        TokenError::Malformed => "token is malformed\n",
        TokenError::Algorithm | TokenError::Signature => "signature is invalid\n",
        TokenError::NoIssuedAt => "missing issued-at\n",
        TokenError::Skew(ahead) if *ahead < 0 => "stale token\n",
        TokenError::Skew(_) => "future token\n",
    }
}

/// A call and its faults; or what is said of something that is no call.
type Job = Result<(Call, Vec<Fault>), BadCall>;

async fn respond(shared: Arc<Shared>, message: Message, claims: Option<Claims>, life: Life) -> Reply {
    let (calls, batch) = match message {
        Message::Single(call) => (vec![call], false),
        Message::Batch(calls) => (calls, true),
    };
    let mut woe = Picked::default();
    let jobs: Vec<Job> = calls
        .into_iter()
        .map(|call| call.map(|call| receive(&shared, call, claims.as_ref(), &mut woe)))
        .collect();
    let refuses = woe.is_refused();
    let work = {
        let shared = shared.clone();
        move || match refuses {
            true => Bytes::new(),
            false => do_all(&shared, &jobs, batch),
        }
    };
    let body = if woe.lag().is_zero() && woe.hangs.is_empty() {
        work()
    } else {
        let (waiter, held) = (shared.clone(), woe.clone());
        let late = async move {
            waiter.host.hold(&held).await;
            work()
        };
        outlive(&shared, late, life.process.clone()).await
    };
    host::finish(json(body), &woe.faults, &life).await
}

/// Notes a call and counts its faults, in that order's reverse: who sees the call in the log may
/// change the faults without touching this call.
fn receive(shared: &Shared, call: Call, claims: Option<&Claims>, woe: &mut Picked) -> (Call, Vec<Fault>) {
    let picked = shared.host.pick(&call.method);
    woe.add(&picked);
    shared.log.add(Received {
        seq: 0,
        method: call.method.clone(),
        raw: call.raw.clone(),
        params: call.params.clone(),
        at: Instant::now(),
        claims: claims.cloned(),
    });
    (call, picked.faults)
}

/// Runs late work to its end even when the connection goes away, as a real client does with what
/// it has read; only the end of the process ends it. Past the bound it dies with its connection.
async fn outlive(
    shared: &Shared,
    work: impl Future<Output = Bytes> + Send + 'static,
    alive: CancellationToken,
) -> Bytes {
    let Ok(permit) = shared.waiting.clone().try_acquire_owned() else {
        return work.await;
    };
    let (done, answer) = oneshot::channel();
    let stop = shared.host.stop.clone();
    tokio::spawn(async move {
        let _permit = permit;
        tokio::select! {
            biased;
            () = alive.cancelled() => {}
            () = stop.cancelled() => {}
            // Nobody may be there any more to hear it.
            body = work => drop(done.send(body)),
        }
    });
    match answer.await {
        Ok(body) => body,
        // The process is gone, and the connection is about to notice.
        Err(_) => pending().await,
    }
}

fn do_all(shared: &Shared, jobs: &[Job], batch: bool) -> Bytes {
    let bodies: Vec<Bytes> = jobs
        .iter()
        .map(|job| match job {
            Ok((call, faults)) => {
                let params = call.params.as_ref();
                let answer = lock(&shared.el).answer(&call.method, params, faults);
                match answer {
                    Answer::Result(result) => envelope::result_body(call.id.as_deref(), &result),
                    Answer::Error { code, message } => {
                        envelope::error_body(call.id.as_deref(), code, &message)
                    }
                }
            }
            Err(bad) => envelope::error_body(bad.id.as_deref(), bad.error.code, &bad.error.message),
        })
        .collect();
    shared.log.changed();
    match bodies.as_slice() {
        [single] if !batch => single.clone(),
        many => Bytes::from([b"[", many.join(&b","[..]).as_slice(), b"]"].concat()),
    }
}

fn text(status: StatusCode, message: &str) -> Response<Bytes> {
    host::whole(status, "text/plain; charset=utf-8", message.to_owned())
}

fn json(body: Bytes) -> Response<Bytes> {
    host::whole(StatusCode::OK, host::JSON, body)
}
