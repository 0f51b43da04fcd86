//! A request that was read and judged, until it is answered.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::classify::{Class, Request, classify, lane_of_headers};
use crate::core::Core;
use crate::lane::Lane;
use crate::nature::{Methods, Nature};
use crate::node::lock;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// The request's id, for client, node and log.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// What is longer is no id: it is in every line of the log.
const LONGEST_ID: usize = 200;

/// A request.
pub(crate) struct Job {
    pub(crate) lane: Lane,
    /// When it came.
    pub(crate) since: Instant,
    /// Until when it may take.
    pub(crate) deadline: Instant,
    pub(crate) body: Bytes,
    /// What the node gets.
    pub(crate) headers: HeaderMap,
    /// Read from the body when it is asked for, which is when a try has failed.
    nature: OnceLock<Nature>,
}

impl Job {
    /// Judges a request. Without rules its body isn't looked at.
    ///
    /// # Errors
    /// A rule's rate is used up: how long to wait.
    pub(crate) fn new(
        core: &Core,
        path: &str,
        given: &HeaderMap,
        id: &HeaderValue,
        body: Bytes,
        since: Instant,
    ) -> Result<Self, (Lane, Duration)> {
        let rules = &core.config.rules;
        let nature = OnceLock::new();
        let lane = if rules.is_empty() {
            lane_of_headers(given)
        } else {
            let class = classify(rules, &Request { path, headers: given, methods: &Methods::read(&body) });
            let _ = nature.set(class.nature);
            count(core, &class, since).map_err(|wait| (class.lane, wait))?;
            class.lane
        };
        let headers = headers(core, given, id);
        Ok(Self { lane, since, deadline: since + core.config.request_timeout, body, headers, nature })
    }

    /// One call of it, as a request of its own; its rate has been counted.
    pub(crate) fn part(&self, core: &Core, path: &str, given: &HeaderMap, body: Bytes) -> Self {
        let rules = &core.config.rules;
        let nature = OnceLock::new();
        let mut lane = self.lane;
        if !rules.is_empty() {
            let class = classify(rules, &Request { path, headers: given, methods: &Methods::read(&body) });
            let _ = nature.set(class.nature);
            lane = class.lane;
        }
        let mut headers = self.headers.clone();
        // Its answer is read here.
        headers.remove(ACCEPT_ENCODING);
        Self { lane, since: self.since, deadline: self.deadline, body, headers, nature }
    }

    /// What may be done with it.
    pub(crate) fn nature(&self) -> Nature {
        *self.nature.get_or_init(|| Methods::read(&self.body).nature())
    }
}

/// The id that a request brings, or a new one.
pub(crate) fn id(core: &Arc<Core>, given: &HeaderMap) -> HeaderValue {
    let fresh = || HeaderValue::from_bytes(&core.request_id()).unwrap_or(HeaderValue::from_static("-"));
    given.get(&REQUEST_ID).filter(|id| (1..=LONGEST_ID).contains(&id.len())).cloned().unwrap_or_else(fresh)
}

fn headers(core: &Core, given: &HeaderMap, id: &HeaderValue) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(CONTENT_TYPE, given.get(CONTENT_TYPE).cloned().unwrap_or(JSON));
    headers.insert(ACCEPT, JSON);
    headers.insert(REQUEST_ID, id.clone());
    // The answer's body goes to the client as it comes, so the client says in what encoding.
    for encoding in given.get_all(ACCEPT_ENCODING) {
        headers.append(ACCEPT_ENCODING, encoding.clone());
    }
    for name in &core.config.forward_headers {
        if *name == REQUEST_ID {
            continue;
        }
        headers.remove(name);
        for value in given.get_all(name) {
            headers.append(name.clone(), value.clone());
        }
    }
    headers
}

/// Counts it for every rate that it falls under.
fn count(core: &Core, class: &Class, now: Instant) -> Result<(), Duration> {
    for counted in &class.limits {
        let Some(Some(limits)) = core.rates.get(counted.rule) else { continue };
        let mut limits = lock(limits);
        for _ in 0..counted.times {
            limits.take(&counted.key, now)?;
        }
    }
    Ok(())
}
