//! Keys of the settings that mean the same in every role that drives execution clients. What differs, a default mostly, is chained
//! to them: `keys::MAX_BODY.default("64MiB")`.

use mainstay_settings::{Key, Kind};

/// `nodes`; every role gives its short form.
pub const NODES: Key = Key::new(
    "nodes",
    Kind::List(&Kind::Text),
    "Engine API URLs of the execution clients, in order of preference, each with suffixes in any order: \
             #jwt-secret=FILE #timeout=MS #do-not-use #name=NAME #tier=primary|backup",
)
.live();
/// `majority`.
pub const MAJORITY: Key =
    Key::new("majority", Kind::Number { min: 0.0, max: 1.0 }, "Share of the votes that makes a majority")
        .default("0.6")
        .live();
/// `timeout`.
pub const TIMEOUT: Key = Key::new(
    "timeout",
    Kind::DurationMs,
    "Longest wait for a node, at most what the specification gives the consensus client",
)
.default("7500ms")
.live();
/// `min_votes`.
pub const MIN_VOTES: Key =
    Key::new("min_votes", Kind::Integer { min: 1, max: 1000 }, "With fewer votes the answer is SYNCING")
        .default("1")
        .live();
/// `on_dissent`.
pub const ON_DISSENT: Key = Key::new(
            "on_dissent",
            Kind::OneOf(&["syncing", "majority"]),
            "What an INVALID without an INVALID majority does: make the answer SYNCING, or be outvoted if it stands alone \
             against two or more VALID",
        )
        .default("syncing")
.live();
/// `on_shortfall`.
pub const ON_SHORTFALL: Key = Key::new(
    "on_shortfall",
    Kind::OneOf(&["syncing", "error"]),
    "What to answer when no node voted; SYNCING only after a payload's block hash was checked",
)
.default("syncing")
.live();
/// `quarantine_after`.
pub const QUARANTINE_AFTER: Key = Key::new(
    "quarantine_after",
    Kind::Or(&Kind::Integer { min: 1, max: 1_000_000 }, &["off"]),
    "Blocks in a row on which a node dissents alone until it loses its vote",
)
.default("off")
.live();
/// `straggler_wait`.
pub const STRAGGLER_WAIT: Key = Key::new(
            "straggler_wait",
            Kind::Or(&Kind::Duration, &["adaptive", "timeout"]),
            "How long to wait, once VALID stands, for nodes that could still say INVALID: a duration, 1.5 times the node's own \
             95th percentile within 20 to 500 ms, or until the timeout",
        )
        .default("adaptive")
.live();
/// `getpayload_wait`.
pub const GETPAYLOAD_WAIT: Key =
    Key::new("getpayload_wait", Kind::Duration, "Longest wait for a better payload, at most 900ms")
        .default("800ms")
        .live();
/// `capabilities`.
pub const CAPABILITIES: Key = Key::new(
    "capabilities",
    Kind::OneOf(&["common", "primary"]),
    "What exchangeCapabilities offers: what all fit voters offer, or what the primary does",
)
.default("common")
.live();
/// `failback_after`.
pub const FAILBACK_AFTER: Key = Key::new(
    "failback_after",
    Kind::Duration,
    "How long an earlier node has to be fit until it is the primary again",
)
.default("30s")
.live();
/// `replay_blocks`.
pub const REPLAY_BLOCKS: Key = Key::new(
    "replay_blocks",
    Kind::Integer { min: 0, max: 4096 },
    "Payloads kept for nodes that missed some",
)
.default("64")
.live();
/// `replay_bytes`.
pub const REPLAY_BYTES: Key =
    Key::new("replay_bytes", Kind::Size, "Most bytes of kept payloads").default("16MiB").live();
/// `evidence_dir`.
pub const EVIDENCE_DIR: Key =
    Key::new("evidence_dir", Kind::Path, "Folder for records of split votes; none are kept without it");
/// `evidence_files`.
pub const EVIDENCE_FILES: Key =
    Key::new("evidence_files", Kind::Integer { min: 1, max: 1_000_000 }, "Most records kept").default("256");
/// `evidence_bytes`.
pub const EVIDENCE_BYTES: Key =
    Key::new("evidence_bytes", Kind::Size, "Most bytes of records kept").default("256MiB");
/// `max_body`.
pub const MAX_BODY: Key = Key::new("max_body", Kind::Size, "Largest request body").default("128MiB").live();
/// `node_timings`.
pub const NODE_TIMINGS: Key =
    Key::new("node_timings", Kind::Switch, "Log every node's answering time at each probe").live();
