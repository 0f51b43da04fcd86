//! Where a request comes from in its trace: `traceparent` and `tracestate`, W3C Trace Context, section 3. Pure.
//!
//! What isn't as the standard has it is as if it weren't there: a trace that is wrong must not cost a request.

use http::{HeaderMap, HeaderName};
use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

/// The header field with trace, parent and flags.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// The header field with what tracing systems tell each other beside that.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The most of `tracestate` that is passed on, in bytes: as much as the standard asks for. A longer one is dropped.
const MOST_STATE: usize = 512;

/// The caller's span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parent(pub(crate) SpanContext);

impl Parent {
    /// Reads both fields. `None`: there is no `traceparent`, more than one, or none that holds.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut parents = headers.get_all(TRACEPARENT).iter();
        let (Some(parent), None) = (parents.next(), parents.next()) else { return None };
        let (trace, span, flags) = traceparent(parent.to_str().ok()?)?;
        Some(Self(SpanContext::new(trace, span, flags, true, tracestate(headers))))
    }
}

/// `00-` trace `-` parent `-` flags; a higher version may go on after another `-`.
fn traceparent(text: &str) -> Option<(TraceId, SpanId, TraceFlags)> {
    let mut parts = text.splitn(5, '-');
    let version = u8::try_from(hex(parts.next()?, 2)?).ok()?;
    let trace = TraceId::from(hex(parts.next()?, 32)?);
    let span = SpanId::from(u64::try_from(hex(parts.next()?, 16)?).ok()?);
    let flags = u8::try_from(hex(parts.next()?, 2)?).ok()?;
    let is_longer = parts.next().is_some();
    let holds = version != 0xff && !(version == 0 && is_longer);
    // Of the flags only the one that is known is taken, as the standard says.
    let flags = TraceFlags::new(flags) & TraceFlags::SAMPLED;
    (holds && trace != TraceId::INVALID && span != SpanId::INVALID).then_some((trace, span, flags))
}

/// A number of exactly so many digits, in small letters.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let is_hex = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if text.len() == digits && is_hex { u128::from_str_radix(text, 16).ok() } else { None }
}

/// All such fields as one; nothing if they can't be read.
fn tracestate(headers: &HeaderMap) -> TraceState {
    let mut all = String::new();
    for value in headers.get_all(&TRACESTATE) {
        let Ok(value) = value.to_str() else { return TraceState::default() };
        if !all.is_empty() {
            all.push(',');
        }
        all.push_str(value);
    }
    if all.len() > MOST_STATE {
        return TraceState::default();
    }
    all.parse().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    fn headers(fields: &[(HeaderName, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn read(traceparent: &str) -> Option<(String, String, bool)> {
        let Parent(context) = Parent::of(&headers(&[(TRACEPARENT, traceparent)]))?;
        assert!(context.is_valid() && context.is_remote());
        Some((context.trace_id().to_string(), context.span_id().to_string(), context.is_sampled()))
    }

    #[test]
    fn what_holds_is_taken() {
        for (text, sampled) in [
            (format!("00-{TRACE}-{SPAN}-01"), true),
            (format!("00-{TRACE}-{SPAN}-00"), false),
            // Flags that aren't known don't count, those of later versions of the standard neither.
            (format!("00-{TRACE}-{SPAN}-ff"), true),
            (format!("00-{TRACE}-{SPAN}-02"), false),
            // A version to come may say more.
            (format!("01-{TRACE}-{SPAN}-01"), true),
            (format!("cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like"), true),
        ] {
            assert_eq!(read(&text), Some((TRACE.to_owned(), SPAN.to_owned(), sampled)), "{text}");
        }
    }

    #[test]
    fn what_does_not_hold_is_as_if_it_were_not_there() {
        let zeros = "0".repeat(32);
        for text in [
            String::new(),
            "garbage".to_owned(),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("00-{TRACE}-{SPAN}-01-more"),
            format!("00-{TRACE}-{SPAN}-01-"),
            format!("00-{TRACE}-{SPAN}"),
            format!("00-{TRACE}-{SPAN}-1"),
            format!("0-{TRACE}-{SPAN}-01"),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00-{TRACE}-{}-01", SPAN.to_uppercase()),
            format!("00-{TRACE}-{SPAN}-0A"),
            format!("00-{zeros}-{SPAN}-01"),
            format!("00-{TRACE}-{}-01", &zeros[..16]),
            format!("00-+{}-{SPAN}-01", &TRACE[1..]),
            format!("00-{}-{SPAN}-01", &TRACE[1..]),
            format!("00-{TRACE}0-{SPAN}-01"),
            format!(" 00-{TRACE}-{SPAN}-01"),
            format!("00_{TRACE}_{SPAN}_01"),
            format!("cc-{TRACE}-{SPAN}-01.what"),
        ] {
            assert_eq!(read(&text), None, "{text}");
        }
    }

    #[test]
    fn two_parents_are_none() {
        let one = format!("00-{TRACE}-{SPAN}-01");
        assert_eq!(Parent::of(&headers(&[(TRACEPARENT, &one), (TRACEPARENT, &one)])), None);
    }

    #[test]
    fn the_state_comes_with_the_parent_in_its_order() {
        let parent = format!("00-{TRACE}-{SPAN}-01");
        let long = "a".repeat(255);
        let many = format!("k=v,a={long},b={long}");
        for (states, told) in [
            (&["rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"][..], "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"),
            (&["a=1", "b=2"], "a=1,b=2"),
            (&["no pair"], ""),
            (&["UPPER=1"], ""),
            (&[many.as_str()], ""),
            (&[], ""),
        ] {
            let mut fields = vec![(TRACEPARENT, parent.as_str())];
            fields.extend(states.iter().map(|state| (TRACESTATE, *state)));
            let Parent(context) = Parent::of(&headers(&fields)).unwrap();
            assert_eq!(context.trace_state().header(), told, "{states:?}");
        }
        assert_eq!(Parent::of(&headers(&[(TRACESTATE, "a=1")])), None, "without a parent it says nothing");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_left(text in "[ -~]{0,80}") {
            let _ = read(&text);
        }

        #[test]
        fn what_is_written_is_read(trace in 1u128.., span in 1u64.., flags: u8) {
            let text = format!("00-{trace:032x}-{span:016x}-{flags:02x}");
            let told = read(&text).unwrap();
            prop_assert_eq!(told, (format!("{trace:032x}"), format!("{span:016x}"), flags & 1 == 1));
        }
    }
}
