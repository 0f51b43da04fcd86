//! `ts=… level=info target=… msg="…" key=value`, one line an event.

use std::fmt::{self, Write};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::write_spans;

/// The line of an event: its own fields, then those of the spans around it, outermost first.
pub(crate) struct Logfmt;

/// The fields of a span, ready to be put at the end of a line.
pub(crate) struct LogfmtFields;

impl<S, N> FormatEvent<S, N> for Logfmt
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
        writer.write_str("ts=")?;
        SystemTime.format_time(&mut writer)?;
        let level = match *event.metadata().level() {
            tracing::Level::ERROR => "error",
            tracing::Level::WARN => "warn",
            tracing::Level::INFO => "info",
            tracing::Level::DEBUG => "debug",
            tracing::Level::TRACE => "trace",
        };
        write!(writer, " level={level} target={}", event.metadata().target())?;
        let mut line = Line { writer: &mut writer, result: Ok(()) };
        event.record(&mut line);
        line.result?;
        write_spans(context, &mut writer)?;
        writer.write_char('\n')
    }
}

impl<'a> FormatFields<'a> for LogfmtFields {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'a>, fields: R) -> fmt::Result {
        let mut line = Line { writer: &mut writer, result: Ok(()) };
        fields.record(&mut line);
        line.result
    }
}

/// Writes ` key=value` for every field.
struct Line<'a, W> {
    writer: &'a mut W,
    result: fmt::Result,
}

impl<W: Write> Line<'_, W> {
    fn put(&mut self, field: &Field, value: &str) {
        let name = match field.name() {
            "message" => "msg",
            name => name,
        };
        if self.result.is_ok() {
            self.result = write!(self.writer, " {name}=").and_then(|()| write_value(self.writer, value));
        }
    }
}

impl<W: Write> Visit for Line<'_, W> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, &format!("{value:?}"));
    }
}

/// Quoted where a reader could otherwise not tell where it ends; never more than one line.
fn write_value(writer: &mut impl Write, value: &str) -> fmt::Result {
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, '"' | '=' | '\\');
    if !value.is_empty() && value.chars().all(plain) {
        return writer.write_str(value);
    }
    write_quoted(writer, value)
}

/// Between quotes, on one line.
pub(super) fn write_quoted(writer: &mut impl Write, value: &str) -> fmt::Result {
    writer.write_char('"')?;
    for c in value.chars() {
        match c {
            '"' => writer.write_str("\\\"")?,
            '\\' => writer.write_str("\\\\")?,
            '\n' => writer.write_str("\\n")?,
            '\r' => writer.write_str("\\r")?,
            '\t' => writer.write_str("\\t")?,
            c if c.is_control() => write!(writer, "\\u{:04x}", c as u32)?,
            c => writer.write_char(c)?,
        }
    }
    writer.write_char('"')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_value_is_quoted_where_it_must_be() {
        for (value, written) in [
            ("VALID", "VALID"),
            ("http://127.0.0.1:8551", "http://127.0.0.1:8551"),
            ("two words", "\"two words\""),
            ("", "\"\""),
            ("a=b", "\"a=b\""),
            ("say \"x\"\n\u{1b}[31m", "\"say \\\"x\\\"\\n\\u001b[31m\""),
        ] {
            let mut text = String::new();
            write_value(&mut text, value).unwrap();
            assert_eq!(text, written);
        }
    }
}
