//! What `mainstay dev` says first: what runs where, and how to break it.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use mainstay_settings::format_duration;
use mainstay_sim::ElHandle;

use super::Options;
use super::ports::Port;

/// What runs where.
pub(super) struct Places<'a> {
    pub(super) engine: &'a Port,
    pub(super) admin: &'a Port,
    pub(super) control: &'a Port,
    pub(super) nodes: &'a [ElHandle],
    pub(super) evidence: &'a Path,
    pub(super) secret: &'a Path,
}

/// The heading, with a line break at its end.
pub(super) fn heading(options: &Options, places: &Places<'_>) -> String {
    let mut text = format!(
        "mainstay dev: the real engine between a simulated consensus client (a slot every {}) and {}\n\n",
        format_duration(options.slot),
        match places.nodes.len() {
            1 => "a simulated execution client".to_owned(),
            count => format!("{count} simulated execution clients"),
        },
    );
    let mut place = |name: &str, address: SocketAddr, what: &str, instead_of: Option<SocketAddr>| {
        let note = instead_of.map(|taken| format!(" ({} is taken)", taken.port())).unwrap_or_default();
        // Writing into a text cannot fail.
        let _ = writeln!(text, "  {name:<9} http://{address}{note}{what}");
    };
    place("engine", places.engine.address, "", places.engine.instead_of);
    for node in places.nodes {
        place(node.name(), node.addr(), "", None);
    }
    place(
        "admin",
        places.admin.address,
        "  dashboard, /healthz, /metrics, /api/v1/roles",
        places.admin.instead_of,
    );
    place("control", places.control.address, "  /sim/nodes", places.control.instead_of);
    let _ = writeln!(text, "  {:<9} {}", "evidence", places.evidence.display());
    let _ = writeln!(text, "  {:<9} {}", "secret", places.secret.display());

    text.push_str("\nBreak a node: type the command here, or call it from elsewhere.\n\n");
    // Not the first, which the engine prefers: breaking that one is the next thing to try.
    let name = places.nodes.get(1).or(places.nodes.first()).map_or("el1", ElHandle::name);
    let nodes = format!("{}/sim/nodes/{name}", places.control.address);
    let api = format!("{}/api/v1/engine/engine/nodes/{name}", places.admin.address);
    for (verb, how, url) in [
        ("crash", "", format!("{nodes}/crash")),
        ("hang", "", format!("{nodes}/hang")),
        ("lag", " 500", format!("{nodes}/lag?ms=500")),
        ("lie", "", format!("{nodes}/lie")),
        ("syncing", "", format!("{nodes}/syncing")),
        ("heal", "", format!("{nodes}/heal")),
        ("cordon", "", format!("{api}/cordon")),
        ("uncordon", "", format!("{api}/uncordon")),
    ] {
        let typed = format!("{verb} {name}{how}");
        let _ = writeln!(text, "  {typed:<14} curl -sX POST '{url}'");
    }
    text.push_str("  status, help, quit\n");
    text
}
