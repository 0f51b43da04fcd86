//! The keys of `[beacon]`, `[[beacon.guard]]` and `[[beacon.tune]]`.

use mainstay_settings::{Key, Kind, Section, tls};

use crate::own::CHECK;

const OFF: &[&str] = &["off"];
const PEERS: Kind = Kind::Integer { min: 0, max: 100_000 };
pub(crate) const ROUNDS: Kind = Kind::Integer { min: 1, max: 1000 };
const SLOTS: Kind = Kind::Integer { min: 0, max: 1_000_000_000 };
const BEACON_NODE: &str = "URL of the beacon node, #name=NAME after it names the guard";
const EXECUTION_NODE: &str = "URL of the beacon node's execution node: its JSON-RPC, or its Engine API with #jwt-secret=FILE after it or jwt_secret";
const ATTNETS: &str =
    "Attestation subnets that the beacon node has to be on for long: all, or numbers like 0-31,40";

/// The keys of `[beacon]`. What a guard needs stands here in lists, in step, or in tables of `[[beacon.guard]]`.
pub static SECTION: Section = Section::role(
    "beacon",
    "A guard before every beacon node: all requests pass while the node is fit for duty, and get 503 while it isn't",
    &[
        Key::new("name", Kind::Text, "Name of this instance in logs, metrics and the API").default("beacon"),
        Key::new(
            "listen",
            Kind::List(&Kind::Listen),
            "Where validator clients connect, one address for each beacon node; 127.0.0.1:5062 if there is one node",
        ),
        Key::new("beacon_node", Kind::List(&Kind::Text), BEACON_NODE).short('b').live(),
        Key::new("execution_node", Kind::List(&Kind::Text), EXECUTION_NODE).live(),
        Key::new(
            "min_peers",
            Kind::List(&PEERS),
            "Least number of the beacon node's peers, one for all or one for each; 0: not asked",
        ).live(),
        Key::new("jwt_secret", Kind::Path, "File with the secret of the execution nodes' Engine API").live(),
        Key::new(
            "agent_check",
            Kind::List(&Kind::Address),
            "Where HAProxy's agent checks connect, one address for each beacon node",
        ),
        Key::new("attnets", Kind::Text, ATTNETS).live(),
        tls::TLS_CERT,
        tls::TLS_KEY,
        tls::TLS_CA,
        tls::NODE_CA,
        tls::NODE_CERT,
        tls::NODE_KEY,
        Key::new("interval", Kind::Duration, "Time between rounds of a check").default("1s").live(),
        Key::new("timeout", Kind::Duration, "Longest wait for the answer to a check").default("1s").live(),
        Key::new("rise", ROUNDS, "Good rounds in a row after which a check holds again").default("2").live(),
        Key::new("fall", ROUNDS, "Bad rounds in a row after which a check fails; nobody there counts at once")
            .default("1").live(),
        Key::new(
            "warm_up",
            Kind::Duration,
            "How long all checks have to hold without a break before a node that was unfit gets requests again",
        )
        .default("10s").live(),
        Key::new(
            "max_sync_distance",
            Kind::Or(&SLOTS, OFF),
            "Slots that the head may be behind by the node's own word and by the clock",
        )
        .default("8").live(),
        Key::new(
            "optimistic",
            Kind::OneOf(&["refuse", "allow"]),
            "Whether a node is fit whose execution client hasn't checked the head yet",
        )
        .default("refuse").live(),
        Key::new(
            "max_block_age",
            Kind::Or(&Kind::Duration, OFF),
            "How old the execution node's head block may be",
        )
        .default("2m").live(),
        Key::new("max_lag", SLOTS, "Slots that the head may be behind the best of the other guards'").default("2").live(),
        Key::new(
            "keep_last",
            Kind::Switch,
            "Never close the last min_fit guards for a soft reason alone: peers, subnets, a late head, warming up",
        ).live(),
        Key::new("min_fit", Kind::Integer { min: 1, max: 1000 }, "How many guards keep_last keeps").default("1").live(),
        Key::new("body_max", Kind::Size, "Largest request body").default("100MiB").live(),
        Key::new(
            "request_timeout",
            Kind::Or(&Kind::Duration, OFF),
            "Longest wait for the head of a reply, event streams excepted; more makes the node unfit",
        )
        .default("off").live(),
        Key::new(
            "node_idle_timeout",
            Kind::Duration,
            "How long an idle connection to a node is kept: shorter than the node keeps it (Node.js: 5 s)",
        )
        .default("4s"),
        Key::new("max_connections", Kind::Integer { min: 1, max: 1_000_000 }, "Connections served at once by a guard")
            .default("16384"),
        Key::new("guard", Kind::Tables(&GUARD), "Guards, in place of the lists or beside them"),
        Key::new("tune", Kind::Tables(&TUNE), "Interval, timeout, rise and fall of one check").live(),
        Key::new("check", Kind::Tables(&CHECK), "Checks of your own").live(),
    ],
);

/// The keys of `[[beacon.guard]]`.
pub static GUARD: Section = Section::nested(
    "beacon.guard",
    "A beacon node and where validator clients reach it",
    &[
        Key::new(
            "name",
            Kind::Text,
            "Name in X-Mainstay-Node, logs, metrics and the API; beacon-1 and so on if not set",
        ),
        Key::new("listen", Kind::Listen, "Where validator clients connect").required(),
        Key::new("beacon_node", Kind::Text, BEACON_NODE).required().live(),
        Key::new("execution_node", Kind::Text, EXECUTION_NODE).live(),
        Key::new("jwt_secret", Kind::Path, "File with the secret of the execution node's Engine API").live(),
        Key::new("min_peers", PEERS, "Least number of the beacon node's peers; 0: not asked")
            .default("0")
            .live(),
        Key::new("attnets", Kind::Text, ATTNETS).live(),
        Key::new("agent_check", Kind::Address, "Where HAProxy's agent checks connect"),
        tls::TLS_CERT,
        tls::TLS_KEY,
        tls::TLS_CA,
    ],
);

/// The keys of `[[beacon.tune]]`.
pub static TUNE: Section = Section::nested(
    "beacon.tune",
    "One check's own numbers, in place of the section's",
    &[
        Key::new(
            "check",
            Kind::OneOf(&["syncing", "health", "chain", "execution", "peers", "subnets", "lag"]),
            "Which",
        )
        .required()
        .live(),
        Key::new("interval", Kind::Duration, "Time between its rounds").live(),
        Key::new("timeout", Kind::Duration, "Longest wait for its answer").live(),
        Key::new("rise", ROUNDS, "Good rounds in a row after which it holds again").live(),
        Key::new("fall", ROUNDS, "Bad rounds in a row after which it fails").live(),
    ],
);
