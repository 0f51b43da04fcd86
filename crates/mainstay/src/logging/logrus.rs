//! `time="2026-11-21T02:54:05Z" level=info msg="…" module=sync-proxy key=value`, or the same as JSON: the lines of Go's logrus,
//! fields in the order of their names.
//!
//! sync-proxy logs in this form, so what reads its logs reads ours.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use serde_json::Value;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::logfmt::write_quoted;
use super::visit::Fields;

/// In every line of sync-proxy.
const MODULE: &str = "sync-proxy";
/// Names that the form itself uses: fields of ours that are called so get `fields.` before theirs, as there.
const RESERVED: [&str; 3] = ["level", "msg", "time"];

/// The line of an event.
pub(super) struct Logrus {
    pub(super) json: bool,
}

impl<S, N> FormatEvent<S, N> for Logrus
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = Line::default();
        event.record(&mut Fields(|name: &str, value| line.put(name, value)));
        let level = match *event.metadata().level() {
            Level::ERROR => "error",
            Level::WARN => "warning",
            Level::INFO => "info",
            Level::DEBUG => "debug",
            Level::TRACE => "trace",
        };
        writer.write_str(&line.written(level, &now()?, self.json))
    }
}

/// The line that ends a program, in the place of which mainstay stands.
pub(crate) fn fatal(message: &str, json: bool) -> String {
    let line = Line { message: message.to_owned(), ..Line::default() };
    line.written("fatal", &now().unwrap_or_default(), json)
}

/// In whole seconds, as logrus has it.
fn now() -> Result<String, fmt::Error> {
    let mut text = String::new();
    SystemTime.format_time(&mut Writer::new(&mut text))?;
    let seconds = text.split_once('.').map_or(text.trim_end_matches('Z'), |(seconds, _)| seconds);
    Ok(format!("{seconds}Z"))
}

#[derive(Default)]
struct Line {
    message: String,
    fields: BTreeMap<String, Value>,
}

impl Line {
    fn put(&mut self, name: &str, value: Value) {
        match (name, value) {
            ("message", Value::String(text)) => self.message = text,
            (name, value) if RESERVED.contains(&name) => {
                self.fields.insert(format!("fields.{name}"), value);
            }
            (name, value) => {
                self.fields.insert(name.to_owned(), value);
            }
        }
    }

    fn written(mut self, level: &str, time: &str, json: bool) -> String {
        self.fields.entry("module".to_owned()).or_insert_with(|| MODULE.into());
        let mut line = String::new();
        if json {
            let head = [("level", level), ("msg", &self.message), ("time", time)];
            self.fields.extend(head.map(|(name, text)| (name.to_owned(), text.into())));
            let fields =
                self.fields.into_iter().map(|(name, value)| format!("{}:{value}", Value::from(name)));
            line.push_str(&format!("{{{}}}", fields.collect::<Vec<_>>().join(",")));
        } else {
            // Writing to a text can't fail.
            let _ = write!(line, "time=\"{time}\" level={level} msg=");
            let _ = write_value(&mut line, &self.message);
            for (name, value) in &self.fields {
                let _ = write!(line, " {name}=");
                let _ = match value {
                    Value::String(text) => write_value(&mut line, text),
                    other => write_value(&mut line, &other.to_string()),
                };
            }
        }
        line.push('\n');
        line
    }
}

/// Bare only where all of it is letters, digits and a few signs.
fn write_value(writer: &mut impl Write, value: &str) -> fmt::Result {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._/@^+".contains(c);
    if value.chars().all(plain) { writer.write_str(value) } else { write_quoted(writer, value) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn line() -> Line {
        let fields = [
            ("secondaryUrl", Value::from("http://127.0.0.1:28552")),
            ("newAddr", "10.0.0.2".into()),
            ("newTimestamp", 112.into()),
            ("why", "two \"words\"\n\u{1b}".into()),
            ("none", "".into()),
        ];
        let fields = fields.map(|(name, value)| (name.to_owned(), value)).into();
        Line { message: "new timestamp".into(), fields }
    }

    #[test]
    fn a_line_of_text_has_its_fields_in_order_and_quoted_as_there() {
        assert_eq!(
            line().written("info", "2026-11-21T02:54:05Z", false),
            "time=\"2026-11-21T02:54:05Z\" level=info msg=\"new timestamp\" module=sync-proxy newAddr=10.0.0.2 \
             newTimestamp=112 none= secondaryUrl=\"http://127.0.0.1:28552\" why=\"two \\\"words\\\"\\n\\u001b\"\n"
        );
    }

    #[test]
    fn a_line_of_json_has_all_its_names_in_order() {
        let mut line = line();
        line.fields.retain(|name, _| name.starts_with("new"));
        assert_eq!(
            line.written("warning", "2026-11-21T02:54:05Z", true),
            "{\"level\":\"warning\",\"module\":\"sync-proxy\",\"msg\":\"new timestamp\",\"newAddr\":\"10.0.0.2\",\
             \"newTimestamp\":112,\"time\":\"2026-11-21T02:54:05Z\"}\n"
        );
    }

    #[test]
    fn the_time_is_in_whole_seconds() {
        let now = now().unwrap();
        assert!(now.len() == "2026-11-21T02:54:05Z".len() && now.ends_with('Z'), "{now}");
    }
}
