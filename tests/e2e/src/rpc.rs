//! JSON over HTTP/1.1 with a deadline: JSON-RPC calls with the engine's token, and plain REST.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use ring::hmac;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::{Failure, Result, ensure, fail};

/// A client gives up after this time unless the caller says otherwise.
pub const LIMIT: Duration = Duration::from_secs(10);

/// 32 bytes that consensus and execution clients share; a file and its content.
#[derive(Clone)]
pub struct Secret {
    path: PathBuf,
    key: hmac::Key,
}

impl Secret {
    /// Writes the scenario's secret to `path`. It guards nothing, so it is the same in each run.
    pub(crate) fn create(path: &Path) -> Result<Secret> {
        let bytes: Vec<u8> = (0..32).collect();
        let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        std::fs::write(path, text)?;
        Ok(Secret { path: path.to_owned(), key: hmac::Key::new(hmac::HMAC_SHA256, &bytes) })
    }

    /// The file that the clients read.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A token that is good for the next minute, with the claim `id` if there is one.
    pub fn token(&self, id: Option<&str>) -> String {
        let mut claims = json!({ "iat": unix_time().as_secs() });
        if let Some(id) = id {
            claims["id"] = json!(id);
        }
        let signed = [r#"{"alg":"HS256","typ":"JWT"}"#, &claims.to_string()]
            .map(|part| URL_SAFE_NO_PAD.encode(part))
            .join(".");
        let signature = hmac::sign(&self.key, signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// The time since 1970.
pub fn unix_time() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// One HTTP exchange over a connection of its own.
///
/// # Errors
/// If there is no whole answer within `limit`. Any HTTP status is an answer.
pub async fn exchange(request: Request<Bytes>, limit: Duration) -> Result<(StatusCode, Bytes)> {
    let reply = ask(request, limit).await?;
    Ok((reply.status(), reply.into_body()))
}

/// The same with all of the answer's headers.
///
/// # Errors
/// As [`exchange`].
pub async fn ask(request: Request<Bytes>, limit: Duration) -> Result<Response<Bytes>> {
    let shown = format!("{} {}", request.method(), request.uri());
    match tokio::time::timeout(limit, ask_at_leisure(request)).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(failure)) => fail!("{shown}: {failure}"),
        Err(_) => fail!("{shown}: no answer within {limit:?}"),
    }
}

async fn ask_at_leisure(request: Request<Bytes>) -> Result<Response<Bytes>> {
    let (head, body) = send(request).await?.into_parts();
    Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
}

/// Sends a request over a connection of its own and gives its reply as soon as the head is there.
///
/// # Errors
/// If there is none.
pub async fn send(request: Request<Bytes>) -> Result<Response<Incoming>> {
    let (mut parts, body) = request.into_parts();
    let authority = parts.uri.authority().ok_or_else(|| Failure::new("the address has no host"))?.to_string();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    parts.uri = Uri::try_from(path)?;
    parts.headers.insert(header::HOST, authority.parse()?);
    let stream = TcpStream::connect(&authority).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // The connection ends by itself when the sender is dropped.
    tokio::spawn(connection);
    Ok(sender.send_request(Request::from_parts(parts, Full::new(body))).await?)
}

/// The JSON at `url`, or `None` where there is none (404).
///
/// # Errors
/// If there is no answer in time, another status, or no JSON.
pub async fn get(url: &str) -> Result<Option<Value>> {
    let request = Request::builder().uri(url).header(header::ACCEPT, "application/json").body(Bytes::new())?;
    let (status, body) = exchange(request, LIMIT).await?;
    if status == StatusCode::NOT_FOUND {
        return Ok(None);
    }
    ensure!(status.is_success(), "GET {url}: {status}: {}", String::from_utf8_lossy(&body));
    Ok(Some(serde_json::from_slice(&body)?))
}

/// Posts JSON to `url`; gives the status and the body as it came.
///
/// # Errors
/// If there is no answer in time.
pub async fn post(url: &str, body: &Value) -> Result<(StatusCode, Bytes)> {
    let request = Request::builder()
        .method(Method::POST)
        .uri(url)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Bytes::from(body.to_string()))?;
    exchange(request, LIMIT).await
}

/// A JSON-RPC endpoint that wants the engine's token.
#[derive(Clone)]
pub struct Endpoint {
    url: String,
    secret: Secret,
    id: Option<String>,
}

impl Endpoint {
    /// The endpoint at `url`.
    pub fn new(url: impl Into<String>, secret: &Secret) -> Endpoint {
        Endpoint { url: url.into(), secret: secret.clone(), id: None }
    }

    /// The same for a caller whose tokens say that it is `id`.
    #[must_use]
    pub fn called_by(&self, id: &str) -> Endpoint {
        Endpoint { id: Some(id.to_owned()), ..self.clone() }
    }

    /// Its address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Calls `method`; gives its result.
    ///
    /// # Errors
    /// If there is no answer in time, an HTTP error, or a JSON-RPC error.
    pub async fn call(&self, method: &str, params: Value) -> Result<Value> {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let request = Request::builder()
            .method(Method::POST)
            .uri(&self.url)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::AUTHORIZATION, format!("Bearer {}", self.secret.token(self.id.as_deref())))
            .body(Bytes::from(body.to_string()))?;
        let (status, body) = exchange(request, LIMIT).await?;
        let text = String::from_utf8_lossy(&body);
        ensure!(status.is_success(), "{method} at {}: {status}: {text}", self.url);
        let mut reply: Value = serde_json::from_slice(&body)?;
        if let Some(error) = reply.get("error").filter(|error| !error.is_null()) {
            fail!("{method} at {}: {error}", self.url);
        }
        Ok(reply["result"].take())
    }
}

/// The text at `pointer` in `value`.
///
/// # Errors
/// If it is missing or no text.
pub fn text(value: &Value, pointer: &str) -> Result<String> {
    match value.pointer(pointer).and_then(Value::as_str) {
        Some(text) => Ok(text.to_owned()),
        None => fail!("no text at {pointer} in {value}"),
    }
}

/// The number at `pointer` in `value`, written as `0x…` or in decimal digits.
///
/// # Errors
/// If it is missing or no number.
pub fn number(value: &Value, pointer: &str) -> Result<u64> {
    let text = text(value, pointer)?;
    let parsed = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    Ok(parsed?)
}
