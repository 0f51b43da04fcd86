//! Whether a try that didn't work is made again on another node, and until when a try may last.
//!
//! | what was seen | again? |
//! |---|---|
//! | an answer below 400, a JSON-RPC error, any 4xx but 429, 500 | no: it is an answer |
//! | 429 | yes: the node refused before it worked. It rests for its `Retry-After` |
//! | 502, 503, 504 | yes; with `Retry-After` the node rests for it |
//! | transport error before anything was sent | yes, whatever the request |
//! | transport error after that | yes |
//! | no answer in time | only what is known to be idempotent |
//!
//! What must not be done twice ([`Nature::Once`]: transactions and bundles) is sent again only where it was certainly not
//! delivered, or was refused with 429. A rule's `retry` says otherwise: `always` makes it idempotent, `never` leaves it at one try.
//!
//! A request has at most `tries_max` tries (hedges count), in the time that it has in all. When a node asks for more rest than
//! that, and there is no other node, its answer is passed on at once.

use std::time::{Duration, Instant};

use mainstay_wire::client::{CallError, Delivered, Fault};

use crate::nature::Nature;

/// The longest rest that a node is given, whatever it asks for.
pub const MAX_REST: Duration = Duration::from_secs(60);
/// The rest of a node that answers 429 and doesn't say for how long.
pub const DEFAULT_REST: Duration = Duration::from_millis(250);

/// What an operator set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Most tries of a request, the first included.
    pub tries_max: u32,
    /// Longest wait for one try's answer.
    pub try_timeout: Duration,
    /// After what time a second copy of an idempotent request is sent to another node.
    pub hedge_after: Option<Duration>,
}

impl Default for Rules {
    fn default() -> Self {
        Self { tries_max: 3, try_timeout: Duration::from_secs(3), hedge_after: None }
    }
}

/// What a try showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// An HTTP answer, with its `Retry-After` if it has one.
    Status(u16, Option<Duration>),
    /// No whole answer.
    Failed(Fault, Delivered),
}

impl From<&CallError> for Seen {
    fn from(error: &CallError) -> Self {
        Self::Failed(error.fault, error.delivered)
    }
}

/// A request at the end of a try.
#[derive(Clone, Copy, Debug)]
pub struct Try {
    /// What it showed.
    pub seen: Seen,
    /// What may be done with the request.
    pub nature: Nature,
    /// Tries so far, this one included.
    pub tries: u32,
    /// Until when the request may take.
    pub deadline: Instant,
    /// Whether a node that it wasn't sent to is usable, free or not.
    pub others: bool,
}

/// Whether a request whose try ended at `now` is tried again ([`crate::Slot::retry`]), instead of passing on what was seen.
#[must_use]
pub fn is_repeated(rules: &Rules, ended: &Try, now: Instant) -> bool {
    let left = ended.deadline.saturating_duration_since(now);
    let in_time = !left.is_zero() && (ended.others || rest(ended.seen).is_none_or(|rest| rest < left));
    let tries_left = ended.tries < rules.tries_max && ended.nature != Nature::Never;
    tries_left && in_time && may_repeat(ended)
}

/// How long a node that showed this gets no requests ([`crate::Pool::rest`]).
#[must_use]
pub fn rest(seen: Seen) -> Option<Duration> {
    let rest = match seen {
        Seen::Status(429, wanted) => Some(wanted.unwrap_or(DEFAULT_REST).min(MAX_REST)),
        Seen::Status(503, wanted) => wanted.map(|wanted| wanted.min(MAX_REST)),
        _ => None,
    };
    rest.filter(|rest| !rest.is_zero())
}

fn may_repeat(ended: &Try) -> bool {
    match ended.seen {
        Seen::Status(429, _) | Seen::Failed(_, Delivered::No) => true,
        Seen::Status(502..=504, _) => ended.nature != Nature::Once,
        Seen::Status(..) => false,
        Seen::Failed(Fault::Timeout, Delivered::Maybe) => ended.nature == Nature::Idempotent,
        // Another node's answer would be as large.
        Seen::Failed(Fault::TooLarge, Delivered::Maybe) => false,
        Seen::Failed(_, Delivered::Maybe) => ended.nature != Nature::Once,
    }
}

/// Until when a try that begins at `now` may last.
#[must_use]
pub fn try_deadline(rules: &Rules, deadline: Instant, now: Instant) -> Instant {
    deadline.min(now + rules.try_timeout)
}

/// When a second copy of a request goes to another node, if its try that began at `began` has no answer by then.
#[must_use]
pub fn hedge_at(
    rules: &Rules,
    nature: Nature,
    tries: u32,
    began: Instant,
    deadline: Instant,
) -> Option<Instant> {
    let at = began + rules.hedge_after?;
    let useful = at < try_deadline(rules, deadline, began) && tries < rules.tries_max;
    (useful && nature == Nature::Idempotent).then_some(at)
}

/// Reads `Retry-After`: seconds, or a date as a time from `now`. What can't be read is no header.
#[must_use]
pub fn retry_after(header: &str, now: std::time::SystemTime) -> Option<Duration> {
    let header = header.trim();
    if let Ok(seconds) = header.parse::<u32>() {
        return Some(Duration::from_secs(u64::from(seconds)));
    }
    let at = httpdate::parse_http_date(header).ok()?;
    Some(at.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::disallowed_methods)]
    use super::*;
    use mainstay_wire::client::TlsFault;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);
    use Delivered::{Maybe, No};
    use Nature::{Idempotent, Never, Once, Opaque};

    #[test]
    fn the_table_of_what_is_tried_again() {
        let now = Instant::now();
        let status = |code| Seen::Status(code, None);
        //                                        idempotent opaque once never
        for (seen, wanted) in [
            (status(200), [false, false, false, false]),
            (status(400), [false, false, false, false]),
            (status(401), [false, false, false, false]),
            (status(404), [false, false, false, false]),
            (status(413), [false, false, false, false]),
            (status(429), [true, true, true, false]),
            (status(500), [false, false, false, false]),
            (status(502), [true, true, false, false]),
            (status(503), [true, true, false, false]),
            (status(504), [true, true, false, false]),
            (Seen::Failed(Fault::Refused, No), [true, true, true, false]),
            (Seen::Failed(Fault::Unreachable, No), [true, true, true, false]),
            (Seen::Failed(Fault::Tls(TlsFault::Expired), No), [true, true, true, false]),
            (Seen::Failed(Fault::Timeout, No), [true, true, true, false]),
            (Seen::Failed(Fault::Reset, No), [true, true, true, false]),
            (Seen::Failed(Fault::Reset, Maybe), [true, true, false, false]),
            (Seen::Failed(Fault::Protocol, Maybe), [true, true, false, false]),
            (Seen::Failed(Fault::Timeout, Maybe), [true, false, false, false]),
            (Seen::Failed(Fault::TooLarge, Maybe), [false, false, false, false]),
        ] {
            for (nature, wanted) in [Idempotent, Opaque, Once, Never].into_iter().zip(wanted) {
                let ended = Try { seen, nature, tries: 1, deadline: now + SECOND, others: true };
                assert_eq!(is_repeated(&Rules::default(), &ended, now), wanted, "{seen:?} {nature:?}");
            }
        }
    }

    #[test]
    fn a_node_that_asks_for_it_rests_and_is_waited_for_only_in_time() {
        let now = Instant::now();
        let judged = |seen, others| {
            let ended = Try { seen, nature: Idempotent, tries: 1, deadline: now + SECOND * 5, others };
            (is_repeated(&Rules::default(), &ended, now), rest(seen))
        };
        assert_eq!(judged(Seen::Status(429, None), false), (true, Some(DEFAULT_REST)));
        assert_eq!(judged(Seen::Status(429, Some(SECOND)), false), (true, Some(SECOND)));
        assert_eq!(judged(Seen::Status(429, Some(SECOND * 5)), false), (false, Some(SECOND * 5)));
        assert_eq!(judged(Seen::Status(429, Some(SECOND * 5)), true), (true, Some(SECOND * 5)));
        assert_eq!(judged(Seen::Status(429, Some(SECOND * 9999)), true), (true, Some(MAX_REST)));
        assert_eq!(judged(Seen::Status(429, Some(Duration::ZERO)), false), (true, None));
        assert_eq!(judged(Seen::Status(503, Some(SECOND)), false), (true, Some(SECOND)));
        assert_eq!(judged(Seen::Status(503, None), false), (true, None));
        assert_eq!(judged(Seen::Status(200, Some(SECOND)), false), (false, None));
    }

    #[test]
    fn a_try_ends_with_the_request() {
        let (now, rules) = (Instant::now(), Rules::default());
        assert_eq!(try_deadline(&rules, now + SECOND * 9, now), now + SECOND * 3);
        assert_eq!(try_deadline(&rules, now + SECOND, now), now + SECOND);
    }

    #[test]
    fn a_hedge_is_for_idempotent_requests_that_have_a_try_left() {
        let now = Instant::now();
        let rules = Rules { hedge_after: Some(SECOND), ..Rules::default() };
        let deadline = now + SECOND * 5;
        assert_eq!(hedge_at(&rules, Idempotent, 1, now, deadline), Some(now + SECOND));
        assert_eq!(hedge_at(&rules, Opaque, 1, now, deadline), None);
        assert_eq!(hedge_at(&rules, Once, 1, now, deadline), None);
        assert_eq!(hedge_at(&rules, Idempotent, 3, now, deadline), None);
        assert_eq!(hedge_at(&rules, Idempotent, 1, now, now + SECOND), None);
        assert_eq!(hedge_at(&Rules::default(), Idempotent, 1, now, deadline), None);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = std::time::UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(retry_after(" 7 ", now), Some(SECOND * 7));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:42 GMT", now), Some(SECOND * 5));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:30 GMT", now), Some(Duration::ZERO));
        for text in ["", "soon", "-1", "1.5", "99999999999999"] {
            assert_eq!(retry_after(text, now), None, "{text}");
        }
    }

    fn seen() -> impl Strategy<Value = Seen> {
        let fault = prop::sample::select(vec![
            Fault::Refused,
            Fault::Unreachable,
            Fault::Tls(TlsFault::Expired),
            Fault::Reset,
            Fault::Timeout,
            Fault::TooLarge,
            Fault::Protocol,
        ]);
        let delivered = prop::sample::select(vec![No, Maybe]);
        let rest = prop::option::of((0u64..100).prop_map(Duration::from_secs));
        prop_oneof![
            (200u16..600, rest).prop_map(|(status, rest)| Seen::Status(status, rest)),
            (fault, delivered).prop_map(|(fault, delivered)| Seen::Failed(fault, delivered)),
        ]
    }

    proptest! {
        #[test]
        fn never_too_often_too_late_or_twice(
            seen in seen(), tries in 1u32..12, tries_max in 1u32..10, ms in 0u64..10_000, others: bool,
            nature in prop::sample::select(vec![Idempotent, Opaque, Once, Never]),
        ) {
            let now = Instant::now();
            let rules = Rules { tries_max, ..Rules::default() };
            let ended = Try { seen, nature, tries, deadline: now + Duration::from_millis(ms), others };
            if is_repeated(&rules, &ended, now) {
                prop_assert!(tries < tries_max && ms > 0 && nature != Never);
                if nature == Once {
                    let harmless = matches!(seen, Seen::Status(429, _) | Seen::Failed(_, No));
                    prop_assert!(harmless, "it may have been delivered");
                }
            }
            prop_assert!(super::rest(seen).is_none_or(|rest| rest <= MAX_REST && !rest.is_zero()));
        }
    }
}
