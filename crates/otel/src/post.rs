//! Brings a message to a collector: OTLP over HTTP, binary protocol buffers.

use std::hash::{BuildHasher, RandomState};
use std::io::Write as _;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri};
use mainstay_wire::client::{Client, HttpReply, Options};
use tokio::time::{Instant, sleep, timeout_at};

use crate::config::Target;

/// Pause before a second try; doubles up to [`MOST_PAUSE`], with half of it left to chance, so that many instances don't come at once.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const MOST_PAUSE: Duration = Duration::from_secs(8);
/// The most that is read of a reply.
const MOST_REPLY: usize = 64 * 1024;

/// A way to one endpoint.
pub(crate) struct Post {
    client: Client,
    uri: Uri,
    headers: HeaderMap,
    timeout: Duration,
    gzip: bool,
}

/// How a try ended that brought nothing.
struct Failed {
    why: String,
    /// Whether another try may do better, and not before when.
    again: Option<Duration>,
}

impl Post {
    /// Fails with what is wrong with the endpoint, which is not quoted.
    pub(crate) fn new(target: &Target) -> Result<Self, String> {
        let options = Options {
            max_idle: 1,
            max_reply: MOST_REPLY,
            connect_timeout: target.timeout,
            tls: target.tls.clone(),
            ..Options::default()
        };
        let client = Client::new(&target.url, options).map_err(|bad| bad.to_string())?;
        let path = match target.url.query() {
            Some(query) => format!("{}?{query}", target.url.path()),
            None => target.url.path().to_owned(),
        };
        let uri = Uri::try_from(path).map_err(|_| "its path cannot be requested".to_owned())?;
        let mut headers = target.headers.clone();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        if !headers.contains_key(USER_AGENT) {
            const AGENT: &str = concat!("mainstay/", env!("CARGO_PKG_VERSION"));
            headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        }
        if target.gzip {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        Ok(Self { client, uri, headers, timeout: target.timeout, gzip: target.gzip })
    }

    /// Brings it there, with as many tries as there is time for: the endpoint's own timeout, and until `until`. The reply's body, or why it
    /// isn't there.
    pub(crate) async fn send(&self, message: Vec<u8>, until: Instant) -> Result<Bytes, String> {
        let body = self.body(message).await?;
        let until = until.min(Instant::now() + self.timeout);
        let mut pause = FIRST_PAUSE;
        loop {
            let Failed { why, again } = match self.attempt(body.clone(), until).await {
                Ok(reply) => return Ok(reply),
                Err(failed) => failed,
            };
            let Some(at_least) = again else { return Err(why) };
            let wait = at_least.max(pause / 2 + chance(pause / 2));
            if Instant::now() + wait >= until {
                return Err(why);
            }
            sleep(wait).await;
            pause = (pause * 2).min(MOST_PAUSE);
        }
    }

    async fn body(&self, message: Vec<u8>) -> Result<Bytes, String> {
        if !self.gzip {
            return Ok(message.into());
        }
        // Milliseconds of work: calls on this thread shan't wait for it.
        let packed = tokio::task::spawn_blocking(move || {
            let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
            packed.write_all(&message)?;
            packed.finish()
        });
        packed
            .await
            .ok()
            .and_then(Result::ok)
            .map(Bytes::from)
            .ok_or_else(|| "it can't be compressed".to_owned())
    }

    async fn attempt(&self, body: Bytes, until: Instant) -> Result<Bytes, Failed> {
        let mut request = Request::post(self.uri.clone()).body(body).unwrap_or_default();
        *request.headers_mut() = self.headers.clone();
        let reply = match timeout_at(until, self.client.send(request, until)).await {
            Ok(Ok(reply)) => reply,
            // Its text names neither URL nor credentials.
            Ok(Err(error)) => return Err(Failed { why: error.to_string(), again: Some(Duration::ZERO) }),
            Err(_) => return Err(Failed { why: "no answer in time".to_owned(), again: None }),
        };
        if reply.status.is_success() {
            return Ok(reply.body);
        }
        Err(Failed { why: format!("HTTP {}", reply.status.as_u16()), again: again(&reply) })
    }
}

/// OTLP: of all replies only these ask for another try.
fn again(reply: &HttpReply) -> Option<Duration> {
    let is_one = [
        StatusCode::TOO_MANY_REQUESTS,
        StatusCode::BAD_GATEWAY,
        StatusCode::SERVICE_UNAVAILABLE,
        StatusCode::GATEWAY_TIMEOUT,
    ];
    is_one.contains(&reply.status).then(|| {
        let headers = reply.headers();
        let text = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        text.and_then(retry_after).unwrap_or_default()
    })
}

/// Seconds, or a date.
fn retry_after(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(crate::clock::wall()).unwrap_or_default())
}

/// Any time up to this one.
fn chance(most: Duration) -> Duration {
    // Its keys are random; no crate of chance is needed for that.
    let drawn = RandomState::new().hash_one(0u8);
    most.mul_f64((drawn >> 32) as f64 / f64::from(u32::MAX))
}
