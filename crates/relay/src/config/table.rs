//! The keys of `[relay]` and `[[relay.node]]`.

use mainstay_settings::{Key, Kind, Section, common, tls};

/// The keys of `[relay]`.
pub static SECTION: Section = Section::role(
    "relay",
    "Failover of Antelope producers: all nodes of a producer produce, one block a slot goes out",
    &[
        common::NAME.default("relay"),
        Key::new("listen", Kind::Listen, "Where the producer's nodes connect: their only p2p-peer-address")
            .default("127.0.0.1:9876"),
        Key::new(
            "outer",
            Kind::List(&Kind::Text),
            "Nodes on the public side, HOST:PORT, your own; each inner node gets a connection to one of them",
        )
        .required().live(),
        Key::new("producer", Kind::List(&Kind::Text), "Producers whose blocks are decided about").required(),
        Key::new(
            "allow",
            Kind::List(&Kind::Text),
            "Addresses and networks that nodes may connect from; whoever can connect can claim slots",
        )
        .default("127.0.0.0/8,::1"),
        Key::new("tls_cert", Kind::Path, "The certificate to serve nodes by TLS with (PEM); mainstay relay tunnel stands beside them"),
        tls::TLS_KEY,
        Key::new("tls_ca", Kind::Path, "Who issues the certificates that nodes have to show (PEM)"),
        Key::new(
            "allow_names",
            Kind::List(&Kind::Text),
            "Names of which a node's certificate has to have one; without it every one that tls_ca issued will do",
        ),
        Key::new("unix", Kind::Path, "A unix socket on which nodes of this machine can connect too, for its owner and group"),
        Key::new(
            "allow_uids",
            Kind::List(&Kind::Integer { min: 0, max: u32::MAX as i64 }),
            "Users whose processes may connect on the unix socket; without it whomever its permissions let",
        ),
        Key::new(
            "allow_peer_keys",
            Kind::List(&Kind::Text),
            "Public keys of which nodes have to name one (nodeos's peer-private-key); proves nothing, as it can be said again",
        ),
        Key::new(
            "claims",
            Kind::Text,
            "Where it is kept who has which slot: memory, for one relay alone, or the URL of what several share",
        )
        .default("memory"),
        Key::new("claims_timeout", Kind::DurationMs, "Longest wait for the answer to a claim").default("40ms"),
        Key::new(
            "fail_open",
            Kind::Switch,
            "Let blocks out while claims can't be asked: several relays may then publish two for a slot",
        ).live(),
        Key::new(
            "chain_id",
            Kind::Text,
            "The chain, 64 hex digits; without it that of the first outer node that answers",
        ),
        Key::new("early", Kind::DurationMs, "How long before its slot a block may come").default("1500ms").live(),
        Key::new("late", Kind::Duration, "How long after its slot a block may come").default("60s").live(),
        Key::new(
            "rank_hold",
            Kind::DurationMs,
            "How long the first block of a round waits for one of a node with a better rank",
        )
        .default("30ms").live(),
        Key::new("connect_timeout", Kind::Duration, "Longest wait for a connection to an outer node").default("2s").live(),
        Key::new(
            "first_frame_timeout",
            Kind::Duration,
            "How long a new connection may say nothing, on either side",
        )
        .default("10s"),
        Key::new("stall_timeout", Kind::Duration, "How long a side may take in nothing of what is sent to it")
            .default("5s"),
        Key::new(
            "silence_timeout",
            Kind::Duration,
            "How long a side may say nothing; nodes say something every p2p-keepalive-interval-ms, 10 s",
        )
        .default("30s").live(),
        Key::new(
            "outer_lag",
            Kind::Integer { min: 0, max: 1_000_000 },
            "How many blocks an outer node may be behind another one before its legs end; 0: any",
        )
        .default("10").live(),
        Key::new("outer_lag_time", Kind::Duration, "For how long it may be").default("3s").live(),
        Key::new(
            "spread_after",
            Kind::Duration,
            "How long an outer node that is back has to be fit before a leg moves to it, where another one has two more; 0s: none does",
        )
        .default("30s").live(),
        Key::new(
            "fan_inward",
            Kind::Switch,
            "Tell each node the live blocks, transactions and votes that any outer node sends, not only its own",
        )
        .default("true"),
        Key::new("max_legs", Kind::Integer { min: 1, max: 1000 }, "Nodes that may be connected at once").default("64"),
        Key::new(
            "audit",
            Kind::Path,
            "File that what is decided of every own block is written to, for `mainstay relay replay`",
        ),
        Key::new("audit_bytes", Kind::Size, "When that file is so long it becomes FILE.1, in place of the one before")
            .default("64MiB"),
        Key::new("node", Kind::Tables(&NODE), "Names and ranks of inner nodes").live(),
    ],
);

/// The keys of `[[relay.node]]`.
pub static NODE: Section = Section::nested(
    "relay.node",
    "An inner node: what it is called, and its rank; by address, certificate or agent, or what tells it apart",
    &[
        Key::new("name", Kind::Text, "What it is called in logs, metrics and the API").required().live(),
        Key::new("address", Kind::Text, "Address or network that it connects from").live(),
        Key::new("certificate", Kind::Text, "Name in its certificate, where it connects over TLS").live(),
        Key::new("agent", Kind::Text, "What it calls itself, nodeos's agent-name").live(),
        Key::new(
            "rank",
            Kind::Integer { min: 0, max: 255 },
            "The lowest is the best: others' first block of a round waits rank_hold for its one",
        )
        .default("0")
        .live(),
    ],
);
