//! Keys that mean the same in every role, so that they are called and explained the same. What differs between roles, a default
//! mostly, is chained to them: `common::NAME.default("rpc")`.

use crate::{Key, Kind};

/// `name`; every role gives its own as the default.
pub const NAME: Key = Key::new("name", Kind::Text, "Name of this instance in logs, metrics and the API");
/// `max_connections`; every role gives a default.
pub const MAX_CONNECTIONS: Key =
    Key::new("max_connections", Kind::Integer { min: 1, max: 1_000_000 }, "Connections served at once");
/// `max_lag`, of nodes that have a chain.
pub const MAX_LAG: Key = Key::new(
    "max_lag",
    Kind::Integer { min: 0, max: 1_000_000 },
    "Blocks that a node may be behind the best one",
)
.default("2")
.live();
/// `rise`.
pub const RISE: Key =
    Key::new("rise", Kind::Integer { min: 1, max: 1000 }, "Good probes in a row that make a node fit again")
        .default("2")
        .live();
/// `fall`.
pub const FALL: Key = Key::new(
    "fall",
    Kind::Integer { min: 1, max: 1000 },
    "Timeouts and HTTP errors in a row that make a node unfit",
)
.default("3")
.live();
/// `probe_interval`; longer than nothing.
pub const PROBE_INTERVAL: Key =
    Key::new("probe_interval", Kind::Duration, "Time between probes of a node").default("2s").live();
