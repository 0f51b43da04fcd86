//! `{"level":"info","ts":1795229248.155033,"msg":"…",…}`, the lines of Go's zap, one an event.
//!
//! prio-load-balancer logs in this form, so what reads its logs reads ours.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::visit::Fields;
use super::write_spans;

/// The line of an event: its own fields, then those of the spans around it, outermost first.
pub(super) struct Zap {
    /// `,"service":"…"`, or nothing.
    service: String,
}

/// The fields of a span, ready to be put at the end of a line.
pub(super) struct ZapFields;

impl Zap {
    /// `service` is put into every line that has none of its own.
    pub(super) fn new(service: Option<String>) -> Self {
        let service = service.map(|text| format!(",\"service\":{}", Value::from(text))).unwrap_or_default();
        Self { service }
    }

    fn line(&self, level: Level, at: Duration, line: &Line) -> String {
        let level = match level {
            Level::ERROR => "error",
            Level::WARN => "warn",
            Level::INFO => "info",
            Level::DEBUG | Level::TRACE => "debug",
        };
        let Line { message, service, fields } = line;
        let service = service.as_deref().unwrap_or(&self.service);
        let (seconds, micros) = (at.as_secs(), at.subsec_micros());
        let message = Value::from(message.as_str());
        format!("{{\"level\":\"{level}\",\"ts\":{seconds}.{micros:06},\"msg\":{message}{service}{fields}")
    }
}

impl<S, N> FormatEvent<S, N> for Zap
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = Line::default();
        event.record(&mut Fields(|name: &str, value| line.put(name, value)));
        writer.write_str(&self.line(*event.metadata().level(), since_1970(), &line))?;
        write_spans(context, &mut writer)?;
        writer.write_str("}\n")
    }
}

impl<'a> FormatFields<'a> for ZapFields {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'a>, fields: R) -> fmt::Result {
        let mut line = Line::default();
        fields.record(&mut Fields(|name: &str, value| line.put(name, value)));
        writer.write_str(&line.fields)
    }
}

#[allow(clippy::disallowed_methods, reason = "a log line says when it was written")]
fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[derive(Default)]
struct Line {
    message: String,
    /// The event's own `,"service":"…"`.
    service: Option<String>,
    /// `,"key":value` for every other field.
    fields: String,
}

impl Line {
    fn put(&mut self, name: &str, value: Value) {
        match (name, value) {
            ("message", Value::String(text)) => self.message = text,
            ("service", value) => self.service = Some(format!(",\"service\":{value}")),
            (name, value) => self.fields.push_str(&format!(",\"{name}\":{value}")),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_line_is_json_with_zaps_names() {
        let mut line = Line { message: "say \"x\"\n".into(), ..Line::default() };
        line.fields.push_str(",\"statusCode\":200");
        let written =
            Zap::new(Some("a \"b\"".into())).line(Level::INFO, Duration::from_micros(1_500_000), &line);
        assert_eq!(
            written,
            r#"{"level":"info","ts":1.500000,"msg":"say \"x\"\n","service":"a \"b\"","statusCode":200"#
        );
        line.service = Some(",\"service\":\"own\"".into());
        let written = Zap::new(Some("a".into())).line(Level::TRACE, Duration::ZERO, &line);
        let parsed: Value = serde_json::from_str(&format!("{written}}}")).unwrap();
        assert_eq!((&parsed["service"], &parsed["level"]), (&"own".into(), &"debug".into()));
    }
}
