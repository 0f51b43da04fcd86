//! Keys of the settings that say how requests wait: those of the role, and of a case that somebody thinks up ([`crate::explain`]).

use mainstay_settings::{Key, Kind};

const COUNT: Kind = Kind::Integer { min: 0, max: 10_000_000 };
const OFF: &[&str] = &["off"];

/// `request_timeout`.
pub const REQUEST_TIMEOUT: Key = Key::new(
    "request_timeout",
    Kind::Duration,
    "Longest time of a request, from its arrival, waiting and all tries included",
)
.default("5s")
.live();
/// `fast_track_max`.
pub const FAST_TRACK_MAX: Key =
    Key::new("fast_track_max", COUNT, "Most requests waiting in the fast-track lane; 0: no limit of its own")
        .default("0")
        .live();
/// `high_max`.
pub const HIGH_MAX: Key =
    Key::new("high_max", COUNT, "Most requests waiting in the high lane; 0: no limit of its own")
        .default("0")
        .live();
/// `low_max`.
pub const LOW_MAX: Key =
    Key::new("low_max", COUNT, "Most requests waiting in the low lane; 0: no limit of its own")
        .default("0")
        .live();
/// `queue_max`.
pub const QUEUE_MAX: Key = Key::new(
    "queue_max",
    Kind::Integer { min: 1, max: 10_000_000 },
    "Most requests waiting in all lanes together",
)
.default("100000")
.live();
/// `fast_track_per_high`.
pub const FAST_TRACK_PER_HIGH: Key = Key::new(
    "fast_track_per_high",
    Kind::Integer { min: 0, max: 1_000_000 },
    "Fast-track requests for each high one, as long as both wait",
)
.default("2")
.live();
/// `fast_track_drain_first`.
pub const FAST_TRACK_DRAIN_FIRST: Key =
    Key::new("fast_track_drain_first", Kind::Switch, "Serve fast-track until none waits, then high").live();
/// `low_max_wait`.
pub const LOW_MAX_WAIT: Key = Key::new(
    "low_max_wait",
    Kind::Or(&Kind::Duration, OFF),
    "A low request that has waited so long goes next; at most every second one while higher ones wait",
)
.default("off")
.live();
/// `refuse_when_unfit`.
pub const REFUSE_WHEN_UNFIT: Key = Key::new(
    "refuse_when_unfit",
    Kind::Switch,
    "Refuse requests at once while no node is fit, instead of letting them wait for one",
)
.live();
