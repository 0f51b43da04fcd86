//! Logs to standard output in the form that was asked for.
//!
//! Lines go through a bounded queue to a thread of their own ([`output`]): a reader of the log that
//! stalls must never hold up a call.

mod limit;
mod logfmt;
mod logrus;
mod output;
mod visit;
mod zap;

use std::fmt;
use std::io::IsTerminal;
use std::sync::Arc;

use mainstay_settings::{Origin, Problem, Settings};
use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatFields, FormattedFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use self::logfmt::{Logfmt, LogfmtFields};
use self::logrus::Logrus;
pub(crate) use self::output::Guard;
use self::zap::{Zap, ZapFields};

/// prio-load-balancer's variable and flag for lines of JSON.
pub(crate) const LOG_PROD: &str = "LOG_PROD";
pub(crate) const LOG_PROD_FLAG: &str = "--log-prod";

/// sync-proxy's variable and flag for lines of JSON, and where the text of its form is from.
pub(crate) const LOG_JSON: &str = "LOG_JSON";
pub(crate) const JSON_FLAG: &str = "--json";
pub(crate) const SYNC_PROXY_FORM: &str = "sync-proxy";

/// Lines in sync-proxy's words, of which nobody else needs to know.
const SYNC_PROXY_LINES: &str = "sync_proxy=off";

/// Looked at for the level where nothing stronger is set.
pub(crate) const RUST_LOG: &str = "RUST_LOG";

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Crates below us whose own lines at `debug` would drown ours.
const NOISY: &str = "h2=info,hyper=info,hyper_util=info,rustls=info,tokio_util=info";

/// The form of a line.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Format {
    Text,
    Logfmt,
    Json,
    /// JSON with prio-load-balancer's names, which are those of Go's zap.
    Zap,
    /// sync-proxy's, which is that of Go's logrus.
    Logrus {
        json: bool,
    },
}

/// The validated `[log]`.
pub(crate) struct LogConfig {
    format: Format,
    filter: EnvFilter,
    /// `service` of every line in zap's form.
    pub(crate) service: Option<String>,
}

/// Validates `[log]`.
pub(crate) fn configure(settings: &Settings, problems: &mut Vec<Problem>) -> Option<LogConfig> {
    let format = match settings.text("format") {
        Some("json") => match settings.origin("format") {
            Origin::Flag(flag) if flag == LOG_PROD_FLAG => Format::Zap,
            Origin::Variable(variable) if variable == LOG_PROD => Format::Zap,
            Origin::Flag(flag) if flag == JSON_FLAG => Format::Logrus { json: true },
            Origin::Variable(variable) if variable == LOG_JSON => Format::Logrus { json: true },
            _ => Format::Json,
        },
        Some("logfmt") => Format::Logfmt,
        _ => match settings.origin("format") {
            Origin::Variable(variable) if variable == SYNC_PROXY_FORM => Format::Logrus { json: false },
            _ => Format::Text,
        },
    };
    match filter(settings.text("level").unwrap_or("info")) {
        Ok(filter) => Some(LogConfig { format, filter, service: None }),
        Err(what) => {
            problems.push(settings.problem("level", what));
            None
        }
    }
}

/// A level, or directives as tracing's `EnvFilter` reads them.
fn filter(level: &str) -> Result<EnvFilter, String> {
    let levels = LEVELS.join(", ");
    for directive in level.split(',').map(str::trim) {
        // A bare word that is no level would be taken for a module's name, and log nothing else at all.
        let module = directive.contains(['=', '[', ':', '_']);
        if !module && !LEVELS.iter().any(|known| known.eq_ignore_ascii_case(directive)) {
            return Err(format!(
                "\"{directive}\" is not one of {levels}, nor a directive such as mainstay_execution=debug"
            ));
        }
    }
    let quiet = if level.contains(',') || level.contains('=') {
        level.to_owned()
    } else {
        format!("{level},{NOISY}")
    };
    let text = if level.eq_ignore_ascii_case("off") { "off".to_owned() } else { quiet };
    EnvFilter::builder().parse(text).map_err(|why| {
        format!("not a level ({levels}) nor directives such as info,mainstay_execution=debug: {why}")
    })
}

impl LogConfig {
    /// The last line of a program in the place of which mainstay stands, in the form of this log.
    pub(crate) fn fatal(&self, message: &str) -> String {
        logrus::fatal(message, self.format != Format::Logrus { json: false })
    }
}

/// Starts logging for the rest of the process. The guard writes out what is queued when it is dropped.
pub(crate) fn start(config: LogConfig) -> Guard {
    let limit = Arc::new(limit::Limit::default());
    let (output, guard) = output::start(limit.clone());
    let mut filter = config.filter;
    if !matches!(config.format, Format::Logrus { .. })
        && let Ok(off) = SYNC_PROXY_LINES.parse()
    {
        filter = filter.add_directive(off);
    }
    let registry = tracing_subscriber::registry().with(filter).with(limit::Limited(limit));
    let layer = tracing_subscriber::fmt::layer().with_writer(output);
    match config.format {
        Format::Text => {
            #[allow(
                clippy::disallowed_methods,
                reason = "NO_COLOR is a convention of terminals, no setting of ours"
            )]
            let plain = std::env::var_os("NO_COLOR").is_some();
            let colour = std::io::stdout().is_terminal() && !plain;
            registry.with(layer.with_ansi(colour)).init();
        }
        Format::Logfmt => {
            let layer = layer.with_ansi(false).event_format(Logfmt).fmt_fields(LogfmtFields);
            registry.with(layer).init();
        }
        Format::Json => registry.with(layer.json().flatten_event(true)).init(),
        Format::Zap => {
            let layer = layer.with_ansi(false).event_format(Zap::new(config.service)).fmt_fields(ZapFields);
            registry.with(layer).init();
        }
        Format::Logrus { json } => {
            registry.with(layer.with_ansi(false).event_format(Logrus { json })).init();
        }
    }
    guard
}

/// Writes the fields of the spans around an event, outermost first, as the form's `FormatFields` wrote them.
fn write_spans<S, N>(context: &FmtContext<'_, S, N>, writer: &mut Writer<'_>) -> fmt::Result
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    for span in context.event_scope().into_iter().flat_map(|scope| scope.from_root()) {
        if let Some(fields) = span.extensions().get::<FormattedFields<N>>() {
            writer.write_str(&fields.fields)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_directives_are_read() {
        for right in [
            "info",
            "DEBUG",
            "off",
            "info,mainstay_execution=debug",
            "mainstay_execution=trace",
            "warn,hyper=off",
        ] {
            assert!(filter(right).is_ok(), "{right}");
        }
    }

    #[test]
    fn a_misspelt_level_is_no_module() {
        for wrong in ["inf", "info,debgu", "verbose", "", "info,", "a=b=c"] {
            assert!(filter(wrong).is_err(), "{wrong}");
        }
    }
}
