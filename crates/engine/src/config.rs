//! The role's settings: their table, and the validated form.

use mainstay_execution::config::Signing;
use mainstay_execution::keys;
use mainstay_settings::{Key, Kind, Listen, Problem, Section, Settings, common, tls};
use mainstay_wire::jwt::Secret;
use mainstay_wire::server::Tls;

/// The keys of `[engine]`.
pub static SECTION: Section = Section::role(
    "engine",
    "One consensus client drives many execution clients, the answer is what they agree on",
    &[
        common::NAME.default("engine"),
        Key::new("listen", Kind::Listen, "Where the consensus client connects").default("127.0.0.1:7000"),
        tls::TLS_CERT,
        tls::TLS_KEY,
        tls::TLS_CA,
        keys::NODES.short('n').required(),
        tls::NODE_CA,
        tls::NODE_CERT,
        tls::NODE_KEY,
        Key::new(
            "jwt_secret",
            Kind::Path,
            "File with the secret (64 hex digits) that the consensus client signs with, and every node without one of its own",
        )
        .short('j')
        .live(),
        keys::MAJORITY,
        keys::TIMEOUT,
        keys::MIN_VOTES,
        keys::ON_DISSENT,
        keys::ON_SHORTFALL,
        keys::QUARANTINE_AFTER,
        keys::STRAGGLER_WAIT,
        keys::GETPAYLOAD_WAIT,
        keys::CAPABILITIES,
        common::MAX_LAG,
        common::RISE,
        common::FALL,
        common::PROBE_INTERVAL,
        keys::FAILBACK_AFTER,
        keys::REPLAY_BLOCKS,
        keys::REPLAY_BYTES,
        Key::new(
            "mirror",
            Kind::List(&Kind::Text),
            "Endpoints that get a copy of every engine call, never waited for; suffixes as in nodes",
        ),
        keys::EVIDENCE_DIR,
        keys::EVIDENCE_FILES,
        keys::EVIDENCE_BYTES,
        keys::MAX_BODY,
        common::MAX_CONNECTIONS.default("1024"),
        keys::NODE_TIMINGS,
    ],
);

/// The validated settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it listens.
    pub listen: Listen,
    /// tls_cert, tls_key, tls_ca: what it serves TLS with.
    pub tls: Option<Tls>,
    /// What the consensus client signs with.
    pub secret: Secret,
    /// The execution clients.
    pub execution: mainstay_execution::Config,
    /// Largest request body in bytes.
    pub max_body: usize,
    /// Connections served at once.
    pub max_connections: usize,
}

impl Config {
    /// Validates; every problem found is added to `problems`. Reads the secrets. `None` if something is wrong.
    pub fn from_settings(settings: &Settings, problems: &mut Vec<Problem>) -> Option<Self> {
        settings.validate(problems, read)
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // bounded by the table
fn read(s: &Settings, problems: &mut Vec<Problem>) -> Option<Config> {
    let signing = Signing::read(s, "jwt_secret", Signing::Own, problems);
    let mut execution = mainstay_execution::Config::read(s, signing, "mirror", problems)?;
    for mirror in &mut execution.links {
        // A mirror sees calls in the order in which the consensus client makes them.
        mirror.in_flight = 1;
        mirror.tls = execution.tls.clone();
    }
    let tls = tls::LISTENER.read_served(s, problems, Tls::of_files);
    let secret = match &execution.signing {
        Signing::Shared(secret) => secret.clone(),
        _ => execution.nodes.first()?.secret.clone()?,
    };
    Some(Config {
        listen: s.listen("listen")?,
        tls,
        secret,
        execution,
        max_body: s.size("max_body")? as usize,
        max_connections: s.integer("max_connections")? as usize,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use mainstay_execution::config::StragglerWait;
    use mainstay_execution::verdict::Rules;
    use mainstay_node::health;
    use mainstay_settings::{Flags, Sources, resolve};

    use super::*;

    fn config(flags: &[(&'static str, &str)]) -> Result<Config, Vec<String>> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("jwt.hex");
        std::fs::write(&file, "11".repeat(32)).unwrap();
        let mut given = Flags::default();
        for (key, value) in flags {
            let value = value.replace("JWT", file.to_str().unwrap());
            given.set(key, format!("--{key}"), value.split(',').map(str::to_owned).collect());
        }
        let mut problems = Vec::new();
        let sources = Sources { flags: &given, ..Sources::default() };
        let settings = resolve(&SECTION, &sources, &mut problems);
        let config = Config::from_settings(&settings, &mut problems);
        match config {
            Some(config) if problems.is_empty() => Ok(config),
            _ => Err(problems.iter().map(ToString::to_string).collect()),
        }
    }

    #[test]
    fn defaults_are_executionbackups_but_for_the_address() {
        let config =
            config(&[("nodes", "http://127.0.0.1:1,http://127.0.0.1:2#tier=backup"), ("jwt_secret", "JWT")])
                .unwrap();
        assert_eq!(config.listen.to_string(), "127.0.0.1:7000");
        assert_eq!(config.execution.rules, Rules::default());
        assert_eq!(config.execution.timeout, Duration::from_millis(7500));
        assert_eq!(config.execution.straggler_wait, StragglerWait::Adaptive);
        assert_eq!(config.execution.quarantine_after, None);
        assert_eq!(config.execution.health, health::Rules::default());
        assert!(config.execution.common_capabilities);
        assert_eq!(config.execution.nodes.len(), 2);
    }

    #[test]
    fn every_problem_is_told_at_once() {
        let problems = config(&[
            ("nodes", "http://127.0.0.1:1,http://127.0.0.1:1/,http://a#jwt-secret=/nonexistent,ftp://x,http://127.0.0.1:1#timeout=x"),
            ("jwt_secret", "JWT"),
            ("getpayload_wait", "2s"),
        ])
        .unwrap_err();
        for part in ["listed already", "/nonexistent", "scheme", "milliseconds", "at most 900ms"] {
            assert!(problems.iter().any(|p| p.contains(part)), "{part}: {problems:#?}");
        }
    }

    #[test]
    fn a_secret_is_needed_unless_every_node_has_its_own() {
        let problems = config(&[("nodes", "http://127.0.0.1:1")]).unwrap_err();
        assert!(problems[0].contains("no secret"), "{problems:?}");
        let own = config(&[("nodes", "http://127.0.0.1:1#jwt-secret=JWT")]).unwrap();
        assert!(matches!(own.execution.signing, Signing::Own));
        let problems =
            config(&[("nodes", "http://127.0.0.1:1"), ("jwt_secret", "/nonexistent")]).unwrap_err();
        assert_eq!(problems.len(), 1, "one cause, one message: {problems:?}");
    }
}
