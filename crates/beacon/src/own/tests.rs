#![allow(clippy::unwrap_used)]

mod asking;
mod programs;
mod settings;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use mainstay_settings::{Key, Kind, Section};

use super::*;
use crate::check::Rules;
use crate::config::{Execution, Timing};
use crate::testing::settings;

static SECTION: Section =
    Section::role("beacon", "Of these tests", &[Key::new("check", Kind::Tables(&CHECK), "Checks")]);

fn guard(name: &str, beacon_node: &str, execution_node: Option<Execution>) -> Guarded {
    Guarded {
        name: name.into(),
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into(),
        beacon_node: beacon_node.parse().unwrap(),
        execution_node,
        min_peers: 3,
        attnets: None,
        agent_check: None,
        tls: None,
    }
}

fn execution(url: &str, secret: Option<Secret>) -> Execution {
    Execution { url: url.parse().unwrap(), secret }
}

/// What `[[beacon.check]]` tables come to, and what is wrong with them. A text without a table is the inside of one.
fn read(text: &str, guards: &[Guarded]) -> (Vec<OwnCheck>, Vec<String>) {
    let text = if text.contains("[[") { text.to_owned() } else { format!("[[beacon.check]]\n{text}") };
    let (settings, mut problems) = settings(&SECTION, &format!("[beacon]\n{text}"));
    let checks = OwnCheck::from_tables(settings.tables("check"), Some(guards), &mut problems);
    (checks, problems.iter().map(ToString::to_string).collect())
}

/// The one check that the text is.
fn check(text: &str) -> OwnCheck {
    let guards = [guard("g", "http://127.0.0.1:1", Some(execution("http://127.0.0.1:1", None)))];
    let (mut checks, problems) = read(text, &guards);
    assert!(problems.is_empty() && checks.len() == 1, "{text}: {problems:?}");
    checks.remove(0)
}

fn in_time() -> Instant {
    tokio::time::Instant::now().into_std() + Duration::from_secs(20)
}

fn moment() -> SystemTime {
    std::time::UNIX_EPOCH + Duration::from_secs(1_795_231_030)
}

async fn ask(text: &str, guard: &Guarded) -> Finding {
    check(text).ask(&Context::new(guard, &Client::new).unwrap(), in_time(), moment()).await
}
