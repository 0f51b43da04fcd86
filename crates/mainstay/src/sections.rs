//! The sections that belong to no role.

use mainstay_settings::{Key, Kind, Section, tls};

pub(crate) use mainstay_attested::SECTION as ATTEST;

use crate::roles;

/// The keys at the top of the file.
pub(crate) static TOP: Section = Section::top(
    "The whole process",
    &[
        Key::new(
            "shutdown_grace",
            Kind::Duration,
            "How long calls in flight may take to end after SIGTERM or SIGINT",
        )
        .default("10s"),
        Key::new(
            "handover",
            Kind::Path,
            "Unix socket by which a new process takes over the listeners of the one that runs; give both the same",
        ),
    ],
);

/// `[log]`.
pub(crate) static LOG: Section = Section::shared(
    "log",
    "What is logged to standard output",
    &[
        Key::new("format", Kind::OneOf(&["text", "logfmt", "json"]), "Form of a line").default("text"),
        Key::new(
            "level",
            Kind::Text,
            "error, warn, info, debug, trace or off; or directives such as info,mainstay_execution=debug",
        )
        .short('l')
        .default("info"),
    ],
);

/// `[admin]`.
pub(crate) static ADMIN: Section = Section::shared(
    "admin",
    "Listener for health, metrics and the API",
    &[
        Key::new(
            "listen",
            Kind::Or(&Kind::Listen, &["off"]),
            "Where health, metrics and the API are served; off for nowhere",
        )
        .default("127.0.0.1:7700"),
        Key::new(
            "metrics_listen",
            Kind::Or(&Kind::Listen, &["off"]),
            "Where /metrics is served a second time, and nothing else; off for nowhere",
        )
        .default("off"),
        tls::TLS_CERT,
        tls::TLS_KEY,
        tls::TLS_CA,
        Key::new(
            "token_file",
            Kind::Path,
            "File with the bearer token for API calls that change something; without it only loopback peers may",
        ),
    ],
);

/// Every section of the config file, in the order of listings.
pub(crate) fn all() -> Vec<&'static Section> {
    let mut sections = vec![&TOP, &LOG, &ADMIN, &ATTEST];
    sections.extend(roles::KINDS.iter().map(|kind| kind.section));
    sections
}
