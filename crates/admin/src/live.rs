//! What the page shows as it happens: a task looks at every role once a second, keeps what changed ([`crate::changes`]) and the
//! last hour of figures ([`crate::history`]), and while somebody listens makes events of it.
//!
//! There is one frame, the latest, shared by all who listen: who reads slowly misses frames and gets whole ones later, so
//! nothing piles up for anybody. A frame holds everything, so there is nothing to catch up with after a connection broke.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use bytes::Bytes;
use futures_util::stream;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::changes::{Change, Changes};
use crate::clock;
use crate::handlers;
use crate::history::{EVERY, History, Of, Point, Sample};
use crate::reply::{self, Error};
use crate::server::{Admin, Site, Streamed};

/// How often roles are looked at.
const TICK: Duration = Duration::from_secs(1);
/// Listeners at once.
pub(crate) const LISTENERS: usize = 32;

/// One moment, as events. Parts that seldom change have a number, by which a listener knows whether it has them.
#[derive(Debug, Default)]
struct Frame {
    state: Bytes,
    recent: (u64, Bytes),
    changes: (u64, Bytes),
    sample: (u64, Bytes),
}

/// What is kept beside the roles.
#[derive(Debug)]
pub(crate) struct Live {
    history: Mutex<History>,
    changes: Mutex<Changes>,
    frames: watch::Sender<Arc<Frame>>,
    places: Arc<Semaphore>,
    wake: Notify,
    stop: CancellationToken,
}

impl Live {
    pub(crate) fn new(stop: CancellationToken) -> Self {
        Self {
            history: Mutex::default(),
            changes: Mutex::default(),
            frames: watch::Sender::new(Arc::default()),
            places: Arc::new(Semaphore::new(LISTENERS)),
            wake: Notify::new(),
            stop,
        }
    }

    /// The last hour.
    pub(crate) fn history(&self) -> Value {
        let history = serde_json::to_value(&*lock(&self.history)).unwrap_or_default();
        json!({"every_seconds": EVERY.as_secs(), "at_ms": history["at_ms"], "series": history["series"]})
    }

    /// The last changes, the oldest first.
    pub(crate) fn changes(&self) -> Vec<Change> {
        lock(&self.changes).all().cloned().collect()
    }

    /// Somebody did something.
    pub(crate) fn acted(&self, change: Change) {
        lock(&self.changes).add(change);
        self.wake.notify_one();
    }

    /// Something has happened that is to be seen at once.
    pub(crate) fn look_soon(&self) {
        self.wake.notify_one();
    }

    /// Answers with events until the listener goes or mainstay stops.
    ///
    /// # Errors
    /// There are too many listeners.
    pub(crate) fn listen(&self) -> Result<Response<Body>, Error> {
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            let what = format!("{LISTENERS} listen already, which is the most");
            return Err(Error::new(StatusCode::SERVICE_UNAVAILABLE, what));
        };
        let mut frames = self.frames.subscribe();
        frames.mark_unchanged();
        // The next frame is made for whoever has just come.
        self.wake.notify_one();
        let listener = Listener { frames, stop: self.stop.clone(), had: (0, 0, 0), _place: place };
        let body = Body::from_stream(stream::unfold(listener, Listener::next));
        let mut response = reply::with_type(StatusCode::OK, "text/event-stream", body);
        // nginx would else keep events until it has enough of them.
        response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
        response
            .headers_mut()
            .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform"));
        response.extensions_mut().insert(Streamed);
        Ok(response)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Who listens.
struct Listener {
    frames: watch::Receiver<Arc<Frame>>,
    stop: CancellationToken,
    /// Numbers of the parts that it was sent.
    had: (u64, u64, u64),
    _place: OwnedSemaphorePermit,
}

impl Listener {
    /// The events of the next frame, those left out that it has.
    async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => return None,
            changed = self.frames.changed() => changed.ok()?,
        }
        let frame = self.frames.borrow_and_update().clone();
        let mut events = Vec::new();
        if self.had.0 == 0 {
            events.extend_from_slice(b"retry: 2000\n\n");
        }
        let numbered = [
            (&mut self.had.0, &frame.recent),
            (&mut self.had.1, &frame.changes),
            (&mut self.had.2, &frame.sample),
        ];
        events.extend_from_slice(&frame.state);
        for (had, (number, event)) in numbered {
            if *had != *number {
                *had = *number;
                events.extend_from_slice(event);
            }
        }
        Some((Ok(events.into()), self))
    }
}

/// Looks at the roles until it is stopped.
pub(crate) async fn watch(site: Arc<Site>) {
    let live = &site.live;
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut sampled = interval(EVERY);
    sampled.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut parts = Parts::default();
    let mut reloads = 0;
    loop {
        tokio::select! {
            biased;
            () = live.stop.cancelled() => return,
            _ = sampled.tick() => {
                let sample = sample(&site.admin);
                lock(&live.history).add(&sample);
                parts.sample.put(&sample);
                continue;
            }
            () = live.wake.notified() => {}
            _ = ticks.tick() => {}
        }
        let roles = handlers::all(&site.admin);
        let at_ms = clock::wall_ms();
        lock(&live.changes).look(at_ms, &roles);
        // Also of those that nobody asked for here: by a signal.
        if let Some(last) = site.reload.as_ref().and_then(|reload| reload.last())
            && std::mem::replace(&mut reloads, last.number) != last.number
        {
            lock(&live.changes).add(last.as_change());
        }
        if live.frames.receiver_count() > 0 {
            let mut state = handlers::overview(&site.admin);
            state["at_ms"] = at_ms.into();
            state["roles"] = roles.into();
            parts.recent.put(&recent(&site.admin));
            parts.changes.put(&live.changes());
            live.frames.send_replace(Arc::new(Frame {
                state: event("state", &state),
                recent: parts.recent.event("recent"),
                changes: parts.changes.event("changes"),
                sample: parts.sample.event("sample"),
            }));
        }
    }
}

/// The parts that seldom change.
#[derive(Default)]
struct Parts {
    recent: Part,
    changes: Part,
    sample: Part,
}

/// One of them: how often it has changed, and as what it was told last.
#[derive(Default)]
struct Part {
    number: u64,
    told: String,
}

impl Part {
    fn put(&mut self, value: &impl Serialize) {
        let told = serde_json::to_string(value).unwrap_or_default();
        if self.told != told {
            self.number += 1;
            self.told = told;
        }
    }

    fn event(&self, name: &str) -> (u64, Bytes) {
        let event = if self.told.is_empty() { String::new() } else { written(name, &self.told) };
        (self.number, event.into())
    }
}

fn event(name: &str, value: &impl Serialize) -> Bytes {
    written(name, &serde_json::to_string(value).unwrap_or_default()).into()
}

/// JSON has no line ends of its own: they are escaped.
fn written(name: &str, json: &str) -> String {
    format!("event: {name}\ndata: {json}\n\n")
}

fn recent(admin: &Admin) -> Value {
    let of = |role: &Arc<dyn crate::Role>| {
        Some(json!({"role": role.kind(), "name": role.name(), "recent": role.recent()?}))
    };
    admin.roles.now().iter().filter_map(of).collect()
}

fn sample(admin: &Admin) -> Sample {
    #[allow(clippy::cast_possible_truncation)] // for plots
    let points = |role: &Arc<dyn crate::Role>| -> Vec<Point> {
        let figures = role.figures();
        let point = |figure: &mainstay_node::Figure| Point {
            of: Of::new(role.kind(), role.name(), figure),
            value: figure.value as f32,
        };
        figures.iter().map(point).collect()
    };
    Sample { at_ms: clock::wall_ms(), points: admin.roles.now().iter().flat_map(points).collect() }
}
