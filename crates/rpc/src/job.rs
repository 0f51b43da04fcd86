//! A request that was read and judged, until it is answered.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue};
use mainstay_wire::client::Lines;

use crate::classify::{Class, Request, Rule, classify};
use crate::core::{Core, Live};
use crate::lane::Lane;
use crate::limits::Exceeded;
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
    pub(crate) lines: Lines,
    /// The settings that it began with.
    pub(crate) live: Arc<Live>,
    /// Read from the body when it is asked for, which is when a try has failed.
    nature: OnceLock<Nature>,
}

impl Job {
    /// Judges a request. Unless a rule asks for its methods its body isn't looked at.
    ///
    /// # Errors
    /// A rule's rate is used up.
    pub(crate) fn new(
        live: Arc<Live>,
        path: &str,
        given: &HeaderMap,
        id: &HeaderValue,
        body: Bytes,
        since: Instant,
    ) -> Result<Self, (Lane, Exceeded)> {
        let class = class(&live, path, given, &body);
        count(&live, &class, since).map_err(|exceeded| (class.lane, exceeded))?;
        let lines = lines(&live, given, id, given.get_all(ACCEPT_ENCODING));
        let deadline = since + live.config.request_timeout;
        Ok(Self { lane: class.lane, since, deadline, body, lines, nature: known(class.nature), live })
    }

    /// One call of it, as a request of its own; its rate has been counted. The answer will be read, so it has to come as it is:
    /// without the client's `Accept-Encoding`.
    pub(crate) fn part(&self, path: &str, given: &HeaderMap, id: &HeaderValue, body: Bytes) -> Self {
        let live = self.live.clone();
        let class = class(&live, path, given, &body);
        let lines = lines(&live, given, id, []);
        let (since, deadline) = (self.since, self.deadline);
        Self { lane: class.lane, since, deadline, body, lines, nature: known(class.nature), live }
    }

    /// The same once its body is in its parts.
    pub(crate) fn in_parts(self) -> Self {
        Self { body: Bytes::new(), ..self }
    }

    /// What may be done with it.
    pub(crate) fn nature(&self) -> Nature {
        *self.nature.get_or_init(|| Methods::read(&self.body).nature())
    }
}

fn class(live: &Live, path: &str, given: &HeaderMap, body: &Bytes) -> Class {
    let rules = &live.config.rules;
    let asked = rules.iter().any(Rule::asks_for_methods);
    let methods = if asked { Methods::read(body) } else { Methods::default() };
    classify(rules, &Request { path, headers: given, methods: &methods })
}

fn known(nature: Option<Nature>) -> OnceLock<Nature> {
    nature.map_or_else(OnceLock::new, OnceLock::from)
}

/// The id that a request brings, or a new one.
pub(crate) fn id(core: &Arc<Core>, given: &HeaderMap) -> HeaderValue {
    let fresh = || HeaderValue::from_bytes(&core.request_id()).unwrap_or(HeaderValue::from_static("-"));
    given.get(&REQUEST_ID).filter(|id| (1..=LONGEST_ID).contains(&id.len())).cloned().unwrap_or_else(fresh)
}

/// What the node gets of a request's headers: encodings that its client can read, id, and those that the operator wants. Its body
/// is called JSON unless the type is among those: `curl -d` says that it is a form, which nodes refuse.
fn lines<'a>(
    live: &Live,
    given: &'a HeaderMap,
    id: &HeaderValue,
    encodings: impl IntoIterator<Item = &'a HeaderValue>,
) -> Lines {
    let mut lines = Lines::new();
    let forwarded = &live.config.forward_headers;
    for name in [CONTENT_TYPE, ACCEPT] {
        if !(forwarded.contains(&name) && given.contains_key(&name)) {
            lines.add(&name, &JSON);
        }
    }
    lines.add(&REQUEST_ID, id);
    encodings.into_iter().for_each(|value| lines.add(&ACCEPT_ENCODING, value));
    for name in forwarded.iter().filter(|name| ![REQUEST_ID, ACCEPT_ENCODING].contains(name)) {
        given.get_all(name).iter().for_each(|value| lines.add(name, value));
    }
    lines
}

/// Counts it for every rate that it falls under.
fn count(live: &Live, class: &Class, now: Instant) -> Result<(), Exceeded> {
    for counted in &class.limits {
        if let Some(Some(limits)) = live.rates.get(counted.rule) {
            lock(limits).take(&counted.key, counted.times, now)?;
        }
    }
    Ok(())
}
