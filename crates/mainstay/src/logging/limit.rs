//! A limit on lines of one cause: a flapping node must not fill the disk, nor hide another node's trouble.
//!
//! A cause is a place in the code and the node that the line is about. Only lines at `info` and above are limited: who turns
//! on `debug` wants all of it. What is left out is counted, and told when its window ends. Lines that there is one of for every request
//! are not limited either: they are counted and added up by who reads them.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber, callsite::Identifier};
use tracing_subscriber::layer::{Context, Layer};

/// Lines of one cause in one window.
const LINES: u32 = 20;
/// Length of a window.
const WINDOW: Duration = Duration::from_secs(10);
/// Causes that are told apart; beyond it lines pass unlimited.
const CAUSES: usize = 1024;

/// A field that lines about one request have, and no others.
const OF_A_REQUEST: &str = "requestIsHighPrio";

#[derive(Clone, PartialEq, Eq, Hash)]
struct Cause {
    place: Identifier,
    node: String,
}

struct Window {
    ends: Instant,
    lines: u32,
    left_out: u64,
    message: String,
}

/// How many lines of what were left out.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LeftOut {
    pub(crate) message: String,
    pub(crate) node: String,
    pub(crate) lines: u64,
}

/// The decision; time is an argument.
#[derive(Default)]
struct Limiter {
    windows: HashMap<Cause, Window>,
}

impl Limiter {
    fn admits(&mut self, cause: Cause, message: impl FnOnce() -> String, now: Instant) -> bool {
        if self.windows.len() >= CAUSES && !self.windows.contains_key(&cause) {
            return true;
        }
        let fresh = || Window { ends: now + WINDOW, lines: 0, left_out: 0, message: message() };
        let window = self.windows.entry(cause).or_insert_with(fresh);
        // A window that has left lines out ends only when that has been told.
        if now >= window.ends && window.left_out == 0 {
            (window.ends, window.lines) = (now + WINDOW, 0);
        }
        if window.lines < LINES {
            window.lines += 1;
            return true;
        }
        window.left_out += 1;
        false
    }

    fn ended(&mut self, now: Instant) -> Vec<LeftOut> {
        let mut told = Vec::new();
        self.windows.retain(|cause, window| {
            let over = now >= window.ends;
            if over && window.left_out > 0 {
                let message = std::mem::take(&mut window.message);
                told.push(LeftOut { message, node: cause.node.clone(), lines: window.left_out });
            }
            !over
        });
        told
    }
}

/// The limit as a layer: what it refuses reaches no other layer.
#[derive(Default)]
pub(crate) struct Limit {
    limiter: Mutex<Limiter>,
}

impl Limit {
    /// What was left out in windows that have ended.
    pub(crate) fn ended(&self) -> Vec<LeftOut> {
        self.limiter.lock().unwrap_or_else(PoisonError::into_inner).ended(now())
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "lines are limited by real time, whatever a test does to tokio's"
)]
fn now() -> Instant {
    Instant::now()
}

/// The layer's handle; the writer's thread holds the other one.
pub(crate) struct Limited(pub(crate) std::sync::Arc<Limit>);

impl<S: Subscriber> Layer<S> for Limited {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        if *event.metadata().level() > Level::INFO || is_of_a_request(event) {
            return true;
        }
        let mut about = About::default();
        event.record(&mut about);
        let cause = Cause { place: event.metadata().callsite(), node: about.node };
        let mut limiter = self.0.limiter.lock().unwrap_or_else(PoisonError::into_inner);
        limiter.admits(cause, || about.message, now())
    }
}

/// Whether it is of the `rpc` role's lines about one request, which all have this field.
fn is_of_a_request(event: &Event<'_>) -> bool {
    event.metadata().fields().field(OF_A_REQUEST).is_some()
}

#[derive(Default)]
struct About {
    node: String,
    message: String,
}

impl Visit for About {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "node" => value.clone_into(&mut self.node),
            "message" => value.clone_into(&mut self.message),
            _ => {}
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "node" => self.node = format!("{value:?}"),
            "message" => self.message = format!("{value:?}"),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tracing_subscriber::layer::SubscriberExt;

    /// Counts what gets past the limit, by node.
    struct Count(Arc<Mutex<HashMap<String, u32>>>);

    impl<S: Subscriber> Layer<S> for Count {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let mut about = About::default();
            event.record(&mut about);
            *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(about.node).or_default() += 1;
        }
    }

    #[test]
    fn one_cause_is_limited_others_and_debug_are_not_and_what_is_left_out_is_told() {
        let limit = Arc::new(Limit::default());
        let passed = Arc::new(Mutex::new(HashMap::new()));
        let subscriber =
            tracing_subscriber::registry().with(Limited(limit.clone())).with(Count(passed.clone()));
        tracing::subscriber::with_default(subscriber, || {
            for _ in 0..50 {
                for node in ["el1", "el2"] {
                    if node == "el1" || passed.lock().is_ok_and(|p| p.get("el2").is_none()) {
                        tracing::warn!(node, "node changed");
                    }
                }
                tracing::debug!(node = "el3", "detail");
                tracing::info!(node = "el4", requestIsHighPrio = true, "Request completed");
            }
        });
        let passed = passed.lock().map(|p| p.clone()).unwrap_or_default();
        assert_eq!(passed.get("el1"), Some(&LINES));
        assert_eq!(passed.get("el2"), Some(&1));
        assert_eq!(passed.get("el3"), Some(&50));
        assert_eq!(passed.get("el4"), Some(&50), "one for every request");
        assert_eq!(limit.ended(), [], "not before the window ends");
        let mut limiter = limit.limiter.lock().unwrap_or_else(PoisonError::into_inner);
        let told = limiter.ended(now() + WINDOW);
        let lines = u64::from(50 - LINES);
        assert_eq!(told, [LeftOut { message: "node changed".into(), node: "el1".into(), lines }]);
        assert!(limiter.windows.is_empty());
    }
}
