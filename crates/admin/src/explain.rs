//! Cases that somebody thinks up, put to the roles' own decisions. Which those are this crate doesn't know: whoever makes the listener
//! brings a function that does.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{Response, StatusCode};
use serde_json::{Map, Value, json};
use tokio::sync::Semaphore;

use crate::handlers::{Shared, read};
use crate::reply::{self, Error};

/// Cases that are played at once; the expressions of checks may take tenths of a second.
const AT_ONCE: usize = 2;
static PLACES: Semaphore = Semaphore::const_new(AT_ONCE);

/// Plays a case: what is decided (`verdict`, for example), and the case as keys and values, which are texts, numbers, truth values or lists
/// of texts. Gives what comes of it. May take its time: not called on threads that serve.
pub type Explain = Arc<dyn Fn(&str, &Map<String, Value>) -> Result<Value, Unexplained> + Send + Sync>;

/// Why a case wasn't played.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unexplained {
    /// Nothing of the kind is decided here; what is.
    Unknown(String),
    /// What is wrong with the case, a line each.
    Bad(Vec<String>),
}

pub(crate) async fn explain(
    State(site): Shared,
    Path(what): Path<String>,
    body: Body,
) -> Result<Response<Body>, Error> {
    let explain = site.explain.clone();
    let explain = explain.ok_or_else(|| Error::new(StatusCode::NOT_FOUND, "nothing is explained here"))?;
    let body = read(body).await?;
    let case: Map<String, Value> = serde_json::from_slice(&body).map_err(|_| {
        Error::new(
            StatusCode::BAD_REQUEST,
            "the body must be a JSON object, for example {\"votes\": \"V,V,I\"}",
        )
    })?;
    let Ok(_place) = PLACES.try_acquire() else {
        return Err(Error::new(StatusCode::SERVICE_UNAVAILABLE, "other cases are being played, try again"));
    };
    match tokio::task::spawn_blocking(move || explain(&what, &case)).await {
        Ok(Ok(told)) => Ok(reply::json(StatusCode::OK, &told)),
        Ok(Err(Unexplained::Unknown(known))) => Err(Error::new(StatusCode::NOT_FOUND, known)),
        Ok(Err(Unexplained::Bad(problems))) => {
            let error = json!({"message": problems.join("\n"), "problems": problems});
            Ok(reply::json(StatusCode::BAD_REQUEST, &json!({"error": error})))
        }
        Err(_) => Err(Error::new(StatusCode::INTERNAL_SERVER_ERROR, "failed: see the log")),
    }
}
