//! The keys of `[[beacon.check]]`.

use mainstay_settings::{Key, Kind, Section};

use crate::config::ROUNDS;

/// The keys of `[[beacon.check]]`. Those that not every kind has are told apart when they are read.
pub static CHECK: Section = Section::nested(
    "beacon.check",
    "A check of your own: a question, and what the answer is expected to be (docs/beacon-checks.md)",
    &[
        Key::new("name", Kind::Text, "Name in replies, logs, metrics and the API").required().live(),
        Key::new(
            "kind",
            Kind::OneOf(&["http", "jsonrpc", "command"]),
            "Whether it is an HTTP request, a JSON-RPC call or a program; if not set: http with path, command with program, jsonrpc with \
             method alone",
        ).live(),
        Key::new(
            "node",
            Kind::OneOf(&["beacon", "execution"]),
            "Which of the guard's nodes is asked; if not set the beacon node by http, the execution node by jsonrpc",
        ).live(),
        Key::new(
            "path",
            Kind::Text,
            "http: path and query on the node, or an absolute URL of something else",
        ).live(),
        Key::new(
            "method",
            Kind::Text,
            "http: the request's method, GET if not set; jsonrpc: the call's method",
        ).live(),
        Key::new("headers", Kind::List(&Kind::Text), "http: headers, each as \"name: value\"").sensitive().live(),
        Key::new("body", Kind::Text, "http: the request's body").sensitive().live(),
        Key::new("params", Kind::Text, "jsonrpc: the parameters as JSON, [] if not set").live(),
        Key::new(
            "program",
            Kind::Text,
            "command: the program, by its name on the PATH, or by its path, in a file relative to the file's folder",
        ).live(),
        Key::new("args", Kind::List(&Kind::Text), "command: the program's arguments; there is no shell").live(),
        Key::new(
            "expect",
            Kind::Text,
            "CEL expression over status, headers, body, now and guard that is true if all is well; if not set: a \
             status of 200 to 299, a result, an exit status of 0",
        ).live(),
        Key::new("interval", Kind::Duration, "Time between its rounds; as for the other checks if not set").live(),
        Key::new(
            "timeout",
            Kind::Duration,
            "Longest wait for its answer; as for the other checks if not set",
        ).live(),
        Key::new(
            "rise",
            ROUNDS,
            "Good rounds in a row after which it holds again; as for the other checks if not set",
        ).live(),
        Key::new(
            "fall",
            ROUNDS,
            "Bad rounds in a row after which it fails; as for the other checks if not set",
        ).live(),
        Key::new("soft", Kind::Switch, "A node that fails it is better than none: see keep_last").live(),
        Key::new("guards", Kind::List(&Kind::Text), "Names of the guards that it is for; all if not set").live(),
    ],
);
