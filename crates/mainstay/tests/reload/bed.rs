//! The binary with a file that is read anew.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use mainstay_sim::BeaconHandle;
use mainstay_wire::jwt::{Claims, Secret, sign};
use rustix::process::Signal;
use serde_json::Value;

use crate::lab::{self, Lab};
use crate::support::http::{Node, ask};
use crate::support::{Place, Running};

pub const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"eth_callBundle","params":[]}"#;
pub const COMMON: &str = "[admin]\nlisten = \"127.0.0.1:0\"\n[log]\nformat = \"logfmt\"\n";

/// Without a line for each request.
pub const QUIET: [(&str, &str); 1] = [("RUST_LOG", "info,mainstay_rpc::account=warn")];

/// The binary with this file, read anew on demand.
pub struct Bed {
    pub place: Place,
    pub running: Running,
    pub admin: String,
}

impl Bed {
    pub fn start(place: Place, roles: &str) -> (Self, String) {
        place.file("mainstay.toml", &format!("{COMMON}{roles}"));
        let mut running = place.start(&["run"], &QUIET);
        let kind = roles.trim_start_matches('[').split(']').next().unwrap().to_owned();
        let address = running.address(&kind);
        let admin = running.address("admin");
        (Self { place, running, admin }, address)
    }

    pub fn write(&self, roles: &str) {
        self.place.file("mainstay.toml", &format!("{COMMON}{roles}"));
    }

    /// By the signal, until it is told that it was done.
    pub fn reload(&mut self, roles: &str) -> String {
        self.write(roles);
        self.running.signal(Signal::HUP);
        self.running.line(&["msg=reloaded", "by=SIGHUP"])
    }

    /// The same, and it is refused; the lines of the log that say so.
    pub fn refused(&mut self, roles: &str) -> Vec<String> {
        self.refused_whole(&format!("{COMMON}{roles}"))
    }

    /// The same, with all that the file says.
    pub fn refused_whole(&mut self, file: &str) -> Vec<String> {
        self.place.file("mainstay.toml", file);
        let from = self.running.seen.len();
        self.running.signal(Signal::HUP);
        self.running.line(&["reload refused, nothing has changed", "by=SIGHUP"]);
        self.running.seen[from..].to_vec()
    }

    pub fn post(&self) -> (u16, Value) {
        let reply = ask(&self.admin, "POST", "/api/v1/reload", "");
        (reply.status, serde_json::from_str(&reply.body).unwrap())
    }

    pub fn get(&self, path: &str) -> Value {
        serde_json::from_str(&ask(&self.admin, "GET", path, "").body).unwrap()
    }

    pub fn metric(&self, name: &str) -> f64 {
        let page = ask(&self.admin, "GET", "/metrics", "").fine();
        let line = page.lines().find_map(|line| line.strip_prefix(&format!("{name} "))).unwrap();
        line.parse().unwrap()
    }
}

pub fn rpc(nodes: &[&Node], more: &str) -> String {
    let nodes: Vec<&str> = nodes.iter().map(|node| node.url.as_str()).collect();
    format!(
        "[rpc]\nlisten = \"127.0.0.1:0\"\nhealth = \"net_version\"\nprobe_interval = \"100ms\"\nnodes = {nodes:?}\n{more}"
    )
}

pub fn engine(lab: &Lab, els: &[usize], more: &str) -> String {
    let nodes: Vec<String> =
        els.iter().map(|el| format!("{}#name=el{}", lab.els[*el].url(), el + 1)).collect();
    format!(
        "[engine]\nlisten = \"127.0.0.1:0\"\njwt_secret = \"jwt.hex\"\nprobe_interval = \"100ms\"\nnodes = {nodes:?}\n{more}"
    )
}

pub fn token() -> String {
    let secret = Secret::from_hex(&"11".repeat(32)).unwrap();
    format!("authorization: Bearer {}\r\n", sign(&secret, &Claims::at(lab::wall())))
}

pub fn sync(lab: &Lab, els: &[usize], more: &str) -> String {
    let nodes: Vec<String> =
        els.iter().map(|el| format!("{}#name=el{}", lab.els[*el].url(), el + 1)).collect();
    format!(
        "[sync]\nlisten = \"127.0.0.1:0\"\njwt_secret = \"jwt.hex\"\nprobe_interval = \"100ms\"\nnodes = {nodes:?}\n{more}"
    )
}

pub fn beacon(node: &BeaconHandle, more: &str) -> String {
    format!(
        "[beacon]\nlisten = \"127.0.0.1:0\"\nbeacon_node = {:?}\ninterval = \"50ms\"\nwarm_up = \"0s\"\nmax_sync_distance = \"off\"\n{more}",
        node.url()
    )
}
