//! The keys of `[rpc]` and `[[rpc.rule]]`.

use mainstay_settings::{Key, Kind, Section, common, tls};

use crate::keys;
use crate::upstream::MAX_WORKERS;

/// Requests at once of a node.
pub const WORKERS: Kind = Kind::Integer { min: 1, max: MAX_WORKERS as i64 };
const OFF: &[&str] = &["off"];

/// The keys of `[rpc]`.
pub static SECTION: Section = Section::role(
    "rpc",
    "JSON-RPC clients to many nodes: urgent work first, retries on another node, a node's limit never exceeded",
    &[
        common::NAME.default("rpc"),
        Key::new("listen", Kind::Listen, "Where clients connect").default("127.0.0.1:8080"),
        tls::TLS_CERT,
        tls::TLS_KEY,
        tls::TLS_CA,
        Key::new(
            "nodes",
            Kind::List(&Kind::Text),
            "URLs of the nodes, each with ?_workers=N for how many requests it works on at once; they come on top of \
             those that state_dir or redis has",
        )
        .short('n').live(),
        tls::NODE_CA,
        tls::NODE_CERT,
        tls::NODE_KEY,
        Key::new("node_workers", WORKERS, "Requests at once of a node without _workers").default("8").live(),
        keys::REQUEST_TIMEOUT,
        Key::new("try_timeout", Kind::Duration, "Longest wait for a node's answer to one try").default("3s").live(),
        Key::new("retries_max", Kind::Integer { min: 1, max: 100 }, "Most tries of a request, the first included")
            .default("3").live(),
        Key::new(
            "hedge_after",
            Kind::Or(&Kind::Duration, OFF),
            "After what time an idempotent request is sent to a second node that has a slot free",
        )
        .default("off").live(),
        Key::new("payload_max", Kind::Size, "Largest request body").default("8MiB").live(),
        Key::new(
            "reading_bytes",
            Kind::Size,
            "Most bytes of bodies that are still coming in, of all requests together; more are refused with 503",
        )
        .default("1GiB").live(),
        Key::new("split_batches", Kind::Switch, "Queue the calls of a batch one by one, and put the answers in order").live(),
        keys::FAST_TRACK_MAX,
        keys::HIGH_MAX,
        keys::LOW_MAX,
        keys::QUEUE_MAX,
        Key::new("queue_bytes", Kind::Size, "Most bytes of bodies waiting in all lanes together").default("1GiB").live(),
        keys::FAST_TRACK_PER_HIGH,
        keys::FAST_TRACK_DRAIN_FIRST,
        keys::LOW_MAX_WAIT,
        keys::REFUSE_WHEN_UNFIT,
        Key::new(
            "slow_start",
            Kind::Duration,
            "Over what time a node that comes back gets its slots, the first at once",
        )
        .default("2s").live(),
        Key::new(
            "health",
            Kind::OneOf(&["ethereum", "net_version", "none"]),
            "What nodes are asked: syncing, head and chain; net_version only; or nothing, for nodes that aren't Ethereum's",
        )
        .default("ethereum").live(),
        common::MAX_LAG,
        common::RISE,
        common::FALL,
        common::PROBE_INTERVAL,
        Key::new(
            "forward_headers",
            Kind::List(&Kind::Text),
            "Request headers that nodes get; Accept-Encoding and X-Request-ID always. Content-Type is application/json if it isn't one of them",
        ).live(),
        Key::new(
            "redis",
            Kind::Text,
            "Where the list of nodes is shared: host:port, or redis:// and rediss:// URLs; prio-load-balancer's key and JSON",
        ),
        Key::new("redis_prefix", Kind::Text, "What keys in Redis begin with").default("prio-load-balancer:"),
        Key::new(
            "shared_limits",
            Kind::Switch,
            "Divide each node's workers over all instances on the same Redis",
        ),
        Key::new("state_dir", Kind::Path, "Folder for the list of nodes; without it and redis it is lost at exit"),
        Key::new(
            "api",
            Kind::OneOf(&["open", "admin"]),
            "Where the nodes API is: on this port too (changes from loopback, or with the admin token), or on the \
             admin listener alone",
        )
        .default("open").live(),
        Key::new(
            "error_test_api",
            Kind::Switch,
            "GET /debug/testLogLevels logs a line of each level, to try out what reads the log",
        ).live(),
        common::MAX_CONNECTIONS.default("16384"),
        Key::new("node_max_idle", Kind::Integer { min: 0, max: 100_000 }, "Idle connections kept to each node")
            .default("100"),
        Key::new("node_idle_timeout", Kind::Duration, "How long an idle connection to a node is kept").default("90s"),
        Key::new("log_service", Kind::Text, "Value of service in the log lines of requests"),
        Key::new("rule", Kind::Tables(&RULE), "Lanes, retries and rates by method, path or API key").live(),
    ],
);

/// The keys of `[[rpc.rule]]`.
pub static RULE: Section = Section::nested(
    "rpc.rule",
    "A rule for the requests that all its conditions match. The first that names a lane decides it, before the headers",
    &[
        Key::new("method", Kind::List(&Kind::Text), "JSON-RPC methods; * is any text").live(),
        Key::new("path", Kind::List(&Kind::Text), "Paths of the request; * is any text").live(),
        Key::new("header", Kind::Text, "The header that has the API key; x-api-key if only keys is set").live(),
        Key::new("keys", Kind::List(&Kind::Text), "The API keys that this is for; without: any key").sensitive().live(),
        Key::new("lane", Kind::OneOf(&["fast-track", "high", "low"]), "The lane").live(),
        Key::new(
            "retry",
            Kind::OneOf(&["safe", "always", "never"]),
            "safe: what changes something is not sent twice; always: any request is tried again; never: one try",
        )
        .default("safe").live(),
        Key::new(
            "rate",
            Kind::Integer { min: 1, max: 1_000_000 },
            "Requests per second of each key, or of all without a header; more are refused with 429",
        ).live(),
        Key::new("burst", Kind::Integer { min: 1, max: 1_000_000 }, "Requests at once after a pause; as rate if not set").live(),
    ],
);
