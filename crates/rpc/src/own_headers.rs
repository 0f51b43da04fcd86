//! The header fields that mainstay adds to a node's answer: prio-load-balancer's five, `Server-Timing` and the request's id.
//!
//! Every answer has them, so they are put together cheaply: in a copy of a map whose names have been hashed once, with all numbers in
//! one piece of memory.

use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::job::REQUEST_ID;

const QUEUED: HeaderName = HeaderName::from_static("x-priolb-queuedurationus");
const SIM: HeaderName = HeaderName::from_static("x-priolb-simdurationus");
const TOTAL: HeaderName = HeaderName::from_static("x-priolb-totaldurationus");
const SIZE_START: HeaderName = HeaderName::from_static("x-priolb-queuesizestart");
const SIZE_END: HeaderName = HeaderName::from_static("x-priolb-queuesizeend");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// All names, in the order in which values are filled in. The node's content type, which nearly every answer has, has a place too.
const NAMES: [HeaderName; 8] =
    [CONTENT_TYPE, REQUEST_ID, QUEUED, SIM, TOTAL, SIZE_START, SIZE_END, SERVER_TIMING];

/// What the fields of one answer say.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Shown {
    /// Time before the try that is answered.
    pub(crate) queued: Duration,
    /// Time of that try.
    pub(crate) sim: Duration,
    pub(crate) total: Duration,
    /// How many waited in its lane when it came.
    pub(crate) start: usize,
    /// How many wait there now.
    pub(crate) end: usize,
}

/// The names, hashed.
#[derive(Debug)]
pub(crate) struct OwnHeaders(HeaderMap);

impl OwnHeaders {
    pub(crate) fn new() -> Self {
        Self(NAMES.into_iter().map(|name| (name, HeaderValue::from_static(""))).collect())
    }

    /// The header of an answer: with the node's content type, if it tells one, the request's id and what is shown.
    pub(crate) fn filled(&self, kind: Option<HeaderValue>, id: HeaderValue, shown: &Shown) -> HeaderMap {
        let Shown { queued, sim, total, start, end } = *shown;
        let numbers = [micros(queued), micros(sim), micros(total), start as u64, end as u64];
        let mut text = Vec::with_capacity(192);
        let mut ends = [0; 6];
        for (number, end) in numbers.into_iter().zip(&mut ends) {
            text.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
            *end = text.len();
        }
        server_timing(&mut text, queued, sim, total);
        ends[5] = text.len();
        let text = Bytes::from(text);

        let mut headers = self.0.clone();
        let has_kind = kind.is_some();
        let mut from = 0;
        let numbers = ends.into_iter().map(|end| {
            let value = text.slice(from..end);
            from = end;
            HeaderValue::from_maybe_shared(value).ok()
        });
        // A copy has its fields in the order of the original, into which they were put in the order of the names.
        for (field, value) in headers.values_mut().zip([kind, Some(id)].into_iter().chain(numbers)) {
            if let Some(value) = value {
                *field = value;
            }
        }
        if !has_kind {
            headers.remove(CONTENT_TYPE);
        }
        headers
    }
}

/// A time as whole microseconds.
pub(crate) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Milliseconds as `Server-Timing` wants them. Every answer has one, so it is put together by hand.
fn server_timing(text: &mut Vec<u8>, queued: Duration, sim: Duration, total: Duration) {
    for (name, time) in [("queue;dur=", queued), (", node;dur=", sim), (", total;dur=", total)] {
        text.extend_from_slice(name.as_bytes());
        let micros = micros(time);
        text.extend_from_slice(itoa::Buffer::new().format(micros / 1000).as_bytes());
        text.push(b'.');
        // The 1 makes room for leading zeros, and is left out.
        text.extend_from_slice(&itoa::Buffer::new().format(1000 + micros % 1000).as_bytes()[1..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_has_its_own_value() {
        let shown = Shown {
            queued: Duration::ZERO,
            sim: Duration::from_nanos(1_034_999),
            total: Duration::from_micros(65_000_900),
            start: 7,
            end: 4_000_000_000,
        };
        let id = HeaderValue::from_static("an id");
        let own = OwnHeaders::new();
        for kind in [Some("text/plain"), None] {
            let headers = own.filled(kind.map(HeaderValue::from_static), id.clone(), &shown);
            let wanted = [
                ("content-type", kind),
                ("x-request-id", Some("an id")),
                ("x-priolb-queuedurationus", Some("0")),
                ("x-priolb-simdurationus", Some("1034")),
                ("x-priolb-totaldurationus", Some("65000900")),
                ("x-priolb-queuesizestart", Some("7")),
                ("x-priolb-queuesizeend", Some("4000000000")),
                ("server-timing", Some("queue;dur=0.000, node;dur=1.034, total;dur=65000.900")),
            ];
            for (name, value) in wanted {
                assert_eq!(headers.get(name), value.map(HeaderValue::from_static).as_ref(), "{name}");
            }
            assert_eq!(headers.len(), 7 + usize::from(kind.is_some()));
        }
    }
}
