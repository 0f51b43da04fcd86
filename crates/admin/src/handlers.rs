//! What every endpoint does. Which there are, and what they promise, is said in `endpoints.rs`.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{Response, StatusCode};
use bytes::Bytes;
use mainstay_node::{Action, Level, Refused};
use mainstay_wire::body::{self, BodyError};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::access::By;
use crate::changes::Change;
use crate::clock;
use crate::lifecycle::Phase;
use crate::reply::{self, Error};
use crate::server::{Admin, Site};
use crate::{Page, Role, openapi};

/// Bytes that a request's body may have.
const MAX_BODY: usize = 64 * 1024;
/// How long a body may take, however steadily it comes.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long whoever asked for a change waits to hear of it.
const ACT_TIMEOUT: Duration = Duration::from_secs(20);
const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Reply = Response<Body>;
pub(crate) type Shared = State<Arc<Site>>;

pub(crate) async fn livez() -> Reply {
    reply::with_type(StatusCode::OK, "text/plain; charset=utf-8", "ok\n")
}

pub(crate) async fn readyz(State(admin): Shared) -> Reply {
    let reason = match admin.lifecycle.phase() {
        Phase::Starting => Some("starting"),
        Phase::Stopping => Some("stopping"),
        Phase::Serving => (worst(&admin.reports()) == Level::Down).then_some("a role is down, see /healthz"),
    };
    let (status, text) = match reason {
        None => (StatusCode::OK, "ok\n".to_owned()),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    };
    reply::with_type(status, "text/plain; charset=utf-8", text)
}

pub(crate) async fn healthz(State(admin): Shared) -> Reply {
    let roles = admin.reports();
    let level = worst(&roles);
    let status = match level {
        Level::Well => StatusCode::OK,
        // "Partial content", as the Beacon API's health endpoint has it.
        Level::Degraded => StatusCode::PARTIAL_CONTENT,
        Level::Down => StatusCode::SERVICE_UNAVAILABLE,
    };
    reply::json(status, &json!({"status": level, "version": admin.version, "roles": roles}))
}

pub(crate) async fn metrics(State(admin): Shared) -> Result<Reply, Error> {
    metrics_of(State(admin.page.clone())).await
}

pub(crate) async fn metrics_of(State(page): State<Page>) -> Result<Reply, Error> {
    let text =
        page().map_err(|_| Error::new(StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be encoded"))?;
    Ok(reply::with_type(StatusCode::OK, METRICS_TYPE, text))
}

pub(crate) async fn document() -> Reply {
    reply::json(StatusCode::OK, &openapi::document())
}

pub(crate) async fn status(State(admin): Shared) -> Reply {
    reply::json(StatusCode::OK, &overview(&admin))
}

/// The process and the health of its roles.
pub(crate) fn overview(admin: &Admin) -> Value {
    let roles = admin.reports();
    let mut overview = process(admin);
    overview["status"] = json!(worst(&roles));
    overview["roles"] = json!(roles);
    overview
}

/// The process: since when it runs, and what came of its settings being read anew last.
fn process(admin: &Admin) -> Value {
    let life = &admin.lifecycle;
    let phase = match life.phase() {
        Phase::Starting => "starting",
        Phase::Serving => "serving",
        Phase::Stopping => "stopping",
    };
    let reload = admin.reload.as_ref().and_then(|reload| reload.last());
    let reload = reload.map(|last| json!(*last));
    let (started_at_ms, up_seconds) = (life.started_at_ms(), life.up().as_secs());
    json!({
        "phase": phase, "version": admin.version, "started_at_ms": started_at_ms, "up_seconds": up_seconds,
        "reload": reload,
    })
}

pub(crate) async fn recent(State(admin): Shared, Path(at): Path<OfRole>) -> Result<Reply, Error> {
    let recent = admin.find(&at.role, &at.name)?.recent();
    Ok(reply::json(StatusCode::OK, &recent.unwrap_or_else(|| json!({}))))
}

pub(crate) async fn changes(State(admin): Shared) -> Reply {
    reply::json(StatusCode::OK, &json!({"changes": admin.live.changes()}))
}

pub(crate) async fn history(State(admin): Shared) -> Reply {
    reply::json(StatusCode::OK, &admin.live.history())
}

pub(crate) async fn events(State(admin): Shared) -> Result<Reply, Error> {
    admin.live.listen()
}

pub(crate) async fn roles(State(admin): Shared) -> Reply {
    reply::json(StatusCode::OK, &json!({"process": process(&admin), "roles": all(&admin)}))
}

/// All roles as they are shown.
pub(crate) fn all(admin: &Admin) -> Vec<Value> {
    admin.roles.now().iter().map(|role| whole(role.as_ref())).collect()
}

pub(crate) async fn roles_of_kind(State(admin): Shared, Path(kind): Path<String>) -> Result<Reply, Error> {
    let all = admin.roles.now();
    let of_kind = all.iter().filter(|role| role.kind() == kind);
    let roles: Vec<Value> = of_kind.map(|role| whole(role.as_ref())).collect();
    if roles.is_empty() {
        let what = format!("no role of the kind {kind} runs here: /api/v1/roles lists those that do");
        return Err(Error::new(StatusCode::NOT_FOUND, what));
    }
    Ok(reply::json(StatusCode::OK, &json!({"roles": roles})))
}

pub(crate) async fn role(State(admin): Shared, Path(at): Path<OfRole>) -> Result<Reply, Error> {
    let role = admin.find(&at.role, &at.name)?;
    Ok(reply::json(StatusCode::OK, &whole(role.as_ref())))
}

pub(crate) async fn nodes(State(admin): Shared, Path(at): Path<OfRole>) -> Result<Reply, Error> {
    let role = admin.find(&at.role, &at.name)?;
    Ok(list_nodes(role.as_ref()))
}

/// A request's body, whole.
pub(crate) async fn read(body: Body) -> Result<Bytes, Error> {
    body::read_in(body, MAX_BODY, BODY_TIMEOUT).await.map_err(|error| match error {
        BodyError::TooLarge => {
            Error::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body is over {MAX_BODY} bytes"))
        }
        BodyError::Aborted => Error::new(StatusCode::BAD_REQUEST, "the body ended early"),
        BodyError::Timeout => Error::new(StatusCode::REQUEST_TIMEOUT, "the body did not come"),
    })
}

pub(crate) async fn add(
    State(admin): Shared,
    by: By,
    Path(at): Path<OfRole>,
    body: Body,
) -> Result<Reply, Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct AddNode {
        uri: String,
        #[serde(default)]
        force: bool,
    }
    let body = read(body).await?;
    // Not serde's own text: it may quote the URI, which may hold credentials.
    let AddNode { uri, force } = serde_json::from_slice(&body).map_err(|_| {
        Error::new(
            StatusCode::BAD_REQUEST,
            "the body must be {\"uri\": \"http://…\"}, and \"force\": true if you like",
        )
    })?;
    act(&admin, by, &at.role, &at.name, Action::Add { uri, force }).await
}

pub(crate) async fn remove(State(admin): Shared, by: By, Path(at): Path<OfNode>) -> Result<Reply, Error> {
    act(&admin, by, &at.role, &at.name, Action::Remove { node: at.node }).await
}

pub(crate) async fn cordon(State(admin): Shared, by: By, Path(at): Path<OfNode>) -> Result<Reply, Error> {
    act(&admin, by, &at.role, &at.name, Action::Cordon { node: at.node }).await
}

pub(crate) async fn uncordon(State(admin): Shared, by: By, Path(at): Path<OfNode>) -> Result<Reply, Error> {
    act(&admin, by, &at.role, &at.name, Action::Uncordon { node: at.node }).await
}

pub(crate) async fn drain(State(admin): Shared, by: By, Path(at): Path<OfNode>) -> Result<Reply, Error> {
    act(&admin, by, &at.role, &at.name, Action::Drain { node: at.node }).await
}

pub(crate) async fn prefer(State(admin): Shared, by: By, Path(at): Path<OfNode>) -> Result<Reply, Error> {
    act(&admin, by, &at.role, &at.name, Action::Prefer { node: Some(at.node) }).await
}

pub(crate) async fn unprefer(State(admin): Shared, by: By, Path(at): Path<OfRole>) -> Result<Reply, Error> {
    act(&admin, by, &at.role, &at.name, Action::Prefer { node: None }).await
}

pub(crate) async fn majority(
    State(admin): Shared,
    by: By,
    Path(at): Path<OfRole>,
    body: Body,
) -> Result<Reply, Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct SetMajority {
        majority: f64,
    }
    let SetMajority { majority } = serde_json::from_slice(&read(body).await?).map_err(|_| {
        Error::new(StatusCode::BAD_REQUEST, "the body must be {\"majority\": 0.6}, a number from 0 to 1")
    })?;
    act(&admin, by, &at.role, &at.name, Action::Majority { share: majority }).await
}

pub(crate) async fn recheck(State(admin): Shared, by: By, Path(at): Path<OfRole>) -> Result<Reply, Error> {
    act(&admin, by, &at.role, &at.name, Action::Recheck).await
}

pub(crate) async fn no_such_path() -> Error {
    Error::new(StatusCode::NOT_FOUND, "no such path: /api/v1/openapi.json lists them")
}

pub(crate) async fn no_such_method() -> Error {
    Error::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "this path does not take this method: see /api/v1/openapi.json",
    )
}

/// The path of a role.
#[derive(Deserialize)]
pub(crate) struct OfRole {
    role: String,
    name: String,
}

/// The path of a node.
#[derive(Deserialize)]
pub(crate) struct OfNode {
    role: String,
    name: String,
    node: String,
}

/// A role's health.
#[derive(Serialize)]
pub(crate) struct Report {
    role: &'static str,
    name: String,
    status: Level,
    reasons: Vec<String>,
}

impl Report {
    fn of(role: &dyn Role) -> Self {
        let (status, reasons) = role.health();
        Self { role: role.kind(), name: role.name().to_owned(), status, reasons }
    }
}

impl Admin {
    fn reports(&self) -> Vec<Report> {
        self.roles.now().iter().map(|role| Report::of(role.as_ref())).collect()
    }

    fn find(&self, kind: &str, name: &str) -> Result<Arc<dyn Role>, Error> {
        let all = self.roles.now();
        let found = all.iter().find(|role| role.kind() == kind && role.name() == name);
        let missing = || Error::new(StatusCode::NOT_FOUND, "no such role: /api/v1/roles lists them");
        found.cloned().ok_or_else(missing)
    }
}

fn worst(reports: &[Report]) -> Level {
    reports.iter().map(|report| report.status).max().unwrap_or(Level::Well)
}

fn whole(role: &dyn Role) -> Value {
    let Report { role: kind, name, status, reasons } = Report::of(role);
    let (actions, state) = (role.actions(), role.state());
    json!({"role": kind, "name": name, "status": status, "reasons": reasons, "actions": actions, "state": state})
}

fn list_nodes(role: &dyn Role) -> Reply {
    let nodes = role.state().get_mut("nodes").map_or_else(|| json!([]), Value::take);
    reply::json(StatusCode::OK, &json!({"nodes": nodes}))
}

async fn act(admin: &Site, by: By, kind: &str, name: &str, action: Action) -> Result<Reply, Error> {
    let role = admin.find(kind, name)?;
    let asked = format!("{action:?}");
    tracing::info!(role = kind, name, action = asked, %by, "asked for by the admin API");
    // In a task of its own, so that a change isn't left half done when whoever asked for it goes away.
    let acting = role.clone();
    let task = tokio::spawn(async move { acting.act(action).await });
    let done = tokio::time::timeout(ACT_TIMEOUT, task).await;
    let outcome = match &done {
        Ok(Ok(Ok(()))) => "done".to_owned(),
        Ok(Ok(Err(refused))) => format!("refused: {refused}"),
        Ok(Err(_)) => "failed".to_owned(),
        Err(_) => "not done yet".to_owned(),
    };
    tracing::info!(role = kind, name, action = asked, %by, outcome, "answered by the admin API");
    admin.live.acted(Change {
        at_ms: clock::wall_ms(),
        role: kind.to_owned(),
        name: name.to_owned(),
        of: String::new(),
        before: String::new(),
        now: format!("{asked}: {outcome}"),
        why: by.to_string(),
    });
    match done {
        Ok(Ok(Ok(()))) => Ok(list_nodes(role.as_ref())),
        Ok(Ok(Err(refused))) => Err(refused.into()),
        Ok(Err(_)) => Err(Error::new(StatusCode::INTERNAL_SERVER_ERROR, "failed: see the log")),
        Err(_) => {
            Err(Error::new(StatusCode::GATEWAY_TIMEOUT, "not done yet, but it is still being worked on"))
        }
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        let status = match refused {
            Refused::NoSuchNode(_) => StatusCode::NOT_FOUND,
            Refused::Bad(_) => StatusCode::BAD_REQUEST,
            Refused::Unsupported(_) => StatusCode::METHOD_NOT_ALLOWED,
            Refused::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, refused.to_string())
    }
}
