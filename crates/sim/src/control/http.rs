//! `GET /sim/nodes` and `POST /sim/nodes/{name}/{verb}[?ms=…]`.

use std::{future::Future, io, net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use mainstay_wire::server::{self, Handler, RequestBody, Response};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{Action, Control};

impl Control {
    /// Serves the control until `stop`.
    ///
    /// # Errors
    /// Where `listener` can be reached from another machine: whoever reaches it may break nodes.
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken) -> io::Result<()> {
        let addr = listener.local_addr()?;
        if !addr.ip().is_loopback() {
            let what = format!("{addr} is not on loopback: listen on 127.0.0.1");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        let grace = Duration::from_secs(1);
        server::serve(listener, self, server::Options::default(), stop, grace).await;
        Ok(())
    }

    fn respond(&self, method: &Method, path: &str, query: Option<&str>) -> Response {
        let Some(rest) = path.strip_prefix("/sim/nodes") else {
            return refuse(StatusCode::NOT_FOUND, "no such path: there is /sim/nodes");
        };
        if rest.is_empty() {
            return match *method {
                Method::GET => reply(StatusCode::OK, &self.states()),
                _ => not_allowed("GET"),
            };
        }
        let Some((name, verb)) = rest.strip_prefix('/').and_then(|rest| rest.split_once('/')) else {
            return refuse(StatusCode::NOT_FOUND, "no such path: there is /sim/nodes/NAME/COMMAND");
        };
        if method != Method::POST {
            return not_allowed("POST");
        }
        let milliseconds = match query.filter(|query| !query.is_empty()) {
            None => None,
            Some(query) => match query.strip_prefix("ms=") {
                Some(milliseconds) => Some(milliseconds),
                None => return refuse(StatusCode::BAD_REQUEST, "the query is ms=NUMBER or nothing"),
            },
        };
        match Action::parse(verb, milliseconds) {
            Err(why) => refuse(StatusCode::BAD_REQUEST, &why),
            Ok(action) => match self.act(name, action) {
                Ok(states) => reply(StatusCode::OK, &states),
                Err(error) => refuse(StatusCode::NOT_FOUND, &error.to_string()),
            },
        }
    }
}

impl Handler for Control {
    fn call(&self, request: Request<RequestBody>, _: SocketAddr) -> impl Future<Output = Response> + Send {
        // A browser sends this header with every page's POST; no page may break nodes.
        let from_page = request.headers().contains_key(header::ORIGIN);
        let response = if from_page {
            refuse(StatusCode::FORBIDDEN, "not from a web page")
        } else {
            let uri = request.uri();
            self.respond(request.method(), uri.path(), uri.query())
        };
        std::future::ready(response)
    }
}

#[derive(Serialize)]
struct Refusal<'a> {
    error: &'a str,
}

fn refuse(status: StatusCode, why: &str) -> Response {
    reply(status, &Refusal { error: why })
}

fn not_allowed(allowed: &'static str) -> Response {
    let mut response = refuse(StatusCode::METHOD_NOT_ALLOWED, "another method is needed, see Allow");
    let allowed = header::HeaderValue::from_static(allowed);
    response.headers_mut().insert(header::ALLOW, allowed);
    response
}

fn reply(status: StatusCode, content: &impl Serialize) -> Response {
    // Texts and numbers only, which always have a JSON form.
    let body = serde_json::to_vec(content).unwrap_or_default();
    let mut response = Response::new(Bytes::from(body).into());
    *response.status_mut() = status;
    let json = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}
