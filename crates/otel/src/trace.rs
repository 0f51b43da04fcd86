//! What roles see: a tracer, where a request stands in its trace, and spans.
//!
//! All three are nothing while traces are off: an `Option` that is `None`, looked at once. No text is put together and no clock read before that.

use std::borrow::Cow;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt as _, Tracer as _,
};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_sdk::trace::{SdkTracer, Span as Recorded};

use crate::parent::{Parent, TRACEPARENT, TRACESTATE};

/// An attribute's name. None may hold a body, a secret, or a URL of a node.
pub type Key = &'static str;

/// Makes spans, or nothing.
#[derive(Clone, Debug, Default)]
pub struct Tracer(Option<Arc<SdkTracer>>);

/// Where a request stands in its trace: what spans of its tries are children of. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Trace(Option<Arc<At>>);

#[derive(Debug)]
struct At {
    tracer: Arc<SdkTracer>,
    context: SpanContext,
}

/// Something that takes its time; told when it is dropped.
#[derive(Debug, Default)]
pub struct Span(Option<Box<Open>>);

#[derive(Debug)]
struct Open {
    tracer: Arc<SdkTracer>,
    span: Recorded,
}

impl Tracer {
    /// One that makes nothing.
    #[must_use]
    pub fn off() -> Self {
        Self::default()
    }

    pub(crate) fn over(tracer: SdkTracer) -> Self {
        Self(Some(Arc::new(tracer)))
    }

    /// Whether it makes anything.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// A client's request, which goes on in the trace that its header names, else in one of its own. It is what is recorded of it; the name may
    /// be changed while it goes on.
    #[must_use]
    pub fn request(&self, name: &'static str, headers: &HeaderMap) -> Span {
        let Some(tracer) = &self.0 else { return Span::default() };
        let parent = Parent::of(headers).map(|Parent(context)| context);
        Span::open(tracer, name.into(), SpanKind::Server, parent.unwrap_or(SpanContext::NONE))
    }
}

impl Trace {
    /// Whether there is one.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// A try on a node.
    #[must_use]
    pub fn call(&self, name: impl FnOnce() -> Cow<'static, str>) -> Span {
        let Some(at) = &self.0 else { return Span::default() };
        Span::open(&at.tracer, name(), SpanKind::Client, at.context.clone())
    }

    /// What a node is told of it: `traceparent`, and `tracestate` as it came.
    pub fn fields(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> + use<> {
        fields(self.0.as_ref().map(|at| &at.context))
    }
}

impl Span {
    fn open(tracer: &Arc<SdkTracer>, name: Cow<'static, str>, kind: SpanKind, parent: SpanContext) -> Self {
        // A parent that isn't one would count as one that isn't recorded.
        let parent = match parent.is_valid() {
            true => Context::new().with_remote_span_context(parent),
            false => Context::new(),
        };
        let span = tracer.build_with_context(SpanBuilder::from_name(name).with_kind(kind), &parent);
        Self(Some(Box::new(Open { tracer: tracer.clone(), span })))
    }

    /// Whether it is recorded; what is dear to find out for it needn't be otherwise.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        self.0.as_ref().is_some_and(|open| open.span.is_recording())
    }

    /// Tells something of it.
    pub fn set(&mut self, key: Key, value: impl Into<Value>) {
        if let Some(open) = &mut self.0 {
            open.span.set_attribute(KeyValue::new(key, value));
        }
    }

    /// The same, for what is not to be put together in vain.
    pub fn set_with<V: Into<Value>>(&mut self, key: Key, value: impl FnOnce() -> V) {
        if let Some(open) = self.0.as_mut().filter(|open| open.span.is_recording()) {
            open.span.set_attribute(KeyValue::new(key, value()));
        }
    }

    /// Calls it something else.
    pub fn rename(&mut self, name: impl FnOnce() -> Cow<'static, str>) {
        if let Some(open) = self.0.as_mut().filter(|open| open.span.is_recording()) {
            open.span.update_name(name());
        }
    }

    /// It failed; `error.type` says how, in a word.
    pub fn fail(&mut self, word: impl Into<Cow<'static, str>>) {
        if let Some(open) = &mut self.0 {
            let word: Cow<'static, str> = word.into();
            open.span.set_attribute(KeyValue::new("error.type", word));
            open.span.set_status(Status::error(""));
        }
    }

    /// What comes of it is a child of this.
    #[must_use]
    pub fn trace(&self) -> Trace {
        Trace(self.0.as_ref().map(|open| {
            Arc::new(At { tracer: open.tracer.clone(), context: open.span.span_context().clone() })
        }))
    }

    /// What a node is told of it: `traceparent`, and `tracestate` as it came.
    pub fn fields(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> + use<> {
        fields(self.0.as_ref().map(|open| open.span.span_context()))
    }
}

fn fields(context: Option<&SpanContext>) -> impl Iterator<Item = (HeaderName, HeaderValue)> + use<> {
    let context = context.filter(|context| context.is_valid());
    let parent = context.and_then(|context| {
        let flags = u8::from(context.is_sampled());
        let text = format!("00-{}-{}-{flags:02x}", context.trace_id(), context.span_id());
        Some((TRACEPARENT, HeaderValue::try_from(text).ok()?))
    });
    let state = context.map(|context| context.trace_state().header()).filter(|state| !state.is_empty());
    let state = state.and_then(|state| Some((TRACESTATE, HeaderValue::try_from(state).ok()?)));
    parent.into_iter().chain(state)
}
