//! `mainstay status --watch`: asks every second and shows what came of it, as a screen on a terminal and elsewhere whenever
//! something changed.
//!
//! It asks and doesn't listen to events: a process that was restarted, or one that is away, is then no case of its own, and no
//! listener's place is taken from a dashboard.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use http::Method;
use mainstay_attest::when;
use serde_json::{Value, json};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::screen::{self, View};
use super::seen::{News, Seen};
use super::terminal::Screen;
use super::{Asked, ROLES, call, page, waited};
use crate::probe::wall_clock;
use crate::process::Signals;

/// How often it asks.
const EVERY: Duration = Duration::from_secs(1);
const CHANGES: &str = "/api/v1/changes";

/// How it is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// All of a terminal, drawn again each second.
    Screen,
    /// A page for each change.
    Blocks,
    /// A line of JSON for each change.
    Lines,
}

/// Watches until a signal ends it, or nobody reads any more. Status 0 then.
pub(super) fn command(address: &Asked, json: bool) -> ExitCode {
    let form = match (json, std::io::stdout().is_terminal()) {
        (true, _) => Form::Lines,
        (false, true) => Form::Screen,
        (false, false) => Form::Blocks,
    };
    match waited(watch(address, form)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}

async fn watch(address: &Asked, form: Form) -> Result<(), String> {
    let waits = |kind| signal(kind).map_err(|why| format!("cannot wait for signals: {why}"));
    let mut end = Signals::listen()?;
    let mut hangup = waits(SignalKind::hangup())?;
    let mut resized = waits(SignalKind::window_change())?;
    // Only a screen has something to put away before the shell has the terminal.
    let mut stopped = (form == Form::Screen).then(|| waits(SignalKind::from_raw(TSTP))).transpose()?;
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);

    let mut seen = Seen::default();
    let mut out = match form {
        Form::Screen => Some(Screen::enter().map_err(|why| format!("cannot draw on the terminal: {why}"))?),
        Form::Blocks | Form::Lines => None,
    };
    loop {
        let asking = async {
            ticks.tick().await;
            look(address).await
        };
        let news = tokio::select! {
            biased;
            _ = end.next() => return Ok(()),
            _ = hangup.recv() => return Ok(()),
            () = next(&mut stopped) => {
                if let Some(screen) = &mut out {
                    screen.stop_process();
                }
                None
            }
            _ = resized.recv() => None,
            answer = asking => seen.take(Instant::now(), answer),
        };
        let written = match &mut out {
            Some(screen) => draw(screen, address, &seen),
            None => news.map_or(Ok(()), |news| tell(form, address, &seen, &news)),
        };
        if let Err(why) = written {
            // Who reads, or the terminal, is gone.
            return match why.kind() {
                std::io::ErrorKind::BrokenPipe => Ok(()),
                _ => Err(format!("cannot write: {why}")),
            };
        }
    }
}

/// The number of SIGTSTP, which a terminal sends on Ctrl-Z.
const TSTP: i32 = rustix::process::Signal::TSTP.as_raw();

/// The next signal; never where none is waited for.
async fn next(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

/// Roles and changes. Changes first, so that the roles show whatever they tell of.
async fn look(address: &Asked) -> Result<(Value, Vec<Value>), String> {
    let mut changes = call(address, Method::GET, CHANGES, None).await?;
    let roles = call(address, Method::GET, ROLES, None).await?;
    match changes["changes"].take() {
        Value::Array(changes) => Ok((roles, changes)),
        _ => Err("its list of changes is none, is this a mainstay?".to_owned()),
    }
}

fn draw(screen: &mut Screen, address: &Asked, seen: &Seen) -> std::io::Result<()> {
    let page = seen.roles().map(page::draw);
    let (now, at) = (Instant::now(), when::written(wall_clock()));
    let (columns, rows) = Screen::size();
    let view = View {
        address,
        // Of 2026-11-22T06:04:16Z.
        clock: at.get(11..19).unwrap_or_default(),
        page: page.as_deref(),
        changes: seen.changes(),
        lost: seen.lost(now),
        back: seen.back(now),
    };
    screen.show(&screen::draw(&view, columns, rows))
}

fn tell(form: Form, address: &Asked, seen: &Seen, news: &News) -> std::io::Result<()> {
    let at = when::written(wall_clock());
    let text = match form {
        Form::Lines => format!("{}\n", line(&at, seen, news)),
        Form::Blocks | Form::Screen => {
            screen::block(&at, address, seen.roles().map(page::draw).as_deref(), news)
        }
    };
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// A change as JSON.
fn line(at: &str, seen: &Seen, news: &News) -> Value {
    let mut line = json!({"at": at});
    match news {
        News::Lost(why) => line["error"] = why.as_str().into(),
        News::First => {}
        News::Changed(changes) => line["changes"] = changes.clone().into(),
        News::Back { after, changes } => {
            line["back_after_seconds"] = after.as_secs().into();
            line["changes"] = changes.clone().into();
        }
    }
    if let (None, Some(roles)) = (line.get("error"), seen.roles()) {
        line["process"] = roles["process"].clone();
        line["roles"] = roles["roles"].clone();
    }
    line
}
