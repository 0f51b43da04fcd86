//! What differs from run to run: the execution clients (EL), the owner's settings, how rough the weather is.

use std::sync::OnceLock;
use std::time::Duration;

use mainstay_engine::{Config, SECTION};
use mainstay_execution::config::{NodeConfig, OnShortfall, StragglerWait};
use mainstay_execution::verdict::{OnDissent, Rules};
use mainstay_node::{NodeSpec, Rules as HealthRules, Tier};
use mainstay_settings::{Flags, Sources, resolve};
use mainstay_wire::jwt::Secret;

use crate::rng::Rng;

/// A slot in milliseconds, which is as fine as tokio's clock is.
pub const SLOT: u64 = 12_000;

/// An EL as it is by nature.
#[derive(Clone, Debug)]
pub struct Nature {
    pub tier: Tier,
    /// `#timeout=`.
    pub timeout: Option<Duration>,
    pub do_not_use: bool,
    /// ELs of one client name a build alike.
    pub client: u64,
    /// Answers ACCEPTED to payloads beside its head's chain.
    pub accepts_side: bool,
    /// Answers forkchoiceUpdated to a block that it found invalid with INVALID; others say SYNCING.
    pub remembers_invalid: bool,
    /// Least and most time for a payload, in milliseconds.
    pub work: (u64, u64),
}

#[derive(Clone, Debug)]
pub struct Setup {
    pub natures: Vec<Nature>,
    pub rules: Rules,
    pub quarantine_after: Option<u32>,
    pub straggler_wait: StragglerWait,
    pub timeout: Duration,
    pub error_on_shortfall: bool,
    pub getpayload_wait: Duration,
    pub health: HealthRules,
    pub failback_after: Duration,
    pub replay_blocks: usize,
    pub replay_bytes: usize,
    pub payload_method: &'static str,
    /// Faults per EL and slot, in thousandths.
    pub roughness: u64,
    /// Whether ELs lie or are wrong in this run.
    pub lies: bool,
    /// Faults are kept to a minority that costs no slot.
    pub minority: bool,
    /// An operator cordons, drains and puts back.
    pub operator: bool,
    /// Connections of the CL that break, in thousandths of its calls.
    pub breaks: u64,
}

impl Setup {
    pub fn draw(rng: &mut Rng) -> Self {
        let n = usize::try_from(rng.within(2, 7)).unwrap();
        let fixed = Duration::from_millis(rng.pick(&[0, 50, 300, 800]));
        let straggler_wait = match rng.within(0, 9) {
            0 => StragglerWait::Timeout,
            1 | 2 => StragglerWait::Fixed(fixed),
            _ => StragglerWait::Adaptive,
        };
        let quarantine_after = rng.pick(&[None, None, Some(1), Some(2), Some(3), Some(5)]);
        let majority = rng.pick(&[0.6, 0.6, 0.6, 0.5, 0.51, 2.0 / 3.0, 0.75, 0.34]);
        let on_dissent = rng.pick(&[OnDissent::Syncing, OnDissent::Syncing, OnDissent::Majority]);
        let min_votes = u32::try_from(rng.pick(&[1, 1, 1, 2]).min(n)).unwrap();
        let mut natures: Vec<Nature> = (0..n).map(|_| nature(rng)).collect();
        natures[0].do_not_use = false;
        if natures.iter().filter(|n| !n.do_not_use).count() < 2 {
            natures[1].do_not_use = false;
        }
        Self {
            natures,
            rules: Rules { majority, min_votes, on_dissent },
            quarantine_after,
            straggler_wait,
            timeout: Duration::from_millis(rng.pick(&[7500, 7500, 7500, 4000, 2000])),
            error_on_shortfall: rng.chance(250),
            getpayload_wait: Duration::from_millis(rng.pick(&[800, 800, 500, 900])),
            health: HealthRules {
                fall: u32::try_from(rng.pick(&[3, 3, 1, 5])).unwrap(),
                rise: u32::try_from(rng.pick(&[2, 2, 1, 4])).unwrap(),
                max_lag: rng.pick(&[2, 2, 1, 4]),
                // Where probes are rarer, traffic has to show more.
                interval: Duration::from_secs(rng.pick(&[2, 4, 6])),
                ..HealthRules::default()
            },
            failback_after: Duration::from_secs(30),
            replay_blocks: rng.pick(&[64, 64, 64, 32, 24]),
            replay_bytes: rng.pick(&[32 << 20, 32 << 20, 100_000]),
            payload_method: rng.pick(&["engine_newPayloadV4", "engine_newPayloadV5"]),
            roughness: rng.pick(&[10, 30, 60, 120]),
            lies: rng.chance(550),
            minority: rng.chance(500),
            operator: rng.chance(500),
            breaks: 15,
        }
    }

    /// `n` quick nodes, an owner who says nothing, and fair weather.
    pub fn plain(n: usize) -> Self {
        let nature = Nature {
            tier: Tier::Primary,
            timeout: None,
            do_not_use: false,
            client: 0,
            accepts_side: false,
            remembers_invalid: true,
            work: (2, 6),
        };
        Self {
            natures: vec![nature; n],
            rules: Rules::default(),
            quarantine_after: None,
            straggler_wait: StragglerWait::Adaptive,
            timeout: Duration::from_millis(7500),
            error_on_shortfall: false,
            getpayload_wait: Duration::from_millis(800),
            health: HealthRules::default(),
            failback_after: Duration::from_secs(30),
            replay_blocks: 64,
            replay_bytes: 32 << 20,
            payload_method: "engine_newPayloadV4",
            roughness: 0,
            lies: false,
            minority: true,
            operator: false,
            breaks: 0,
        }
    }
}

impl Setup {
    /// The engine's config.
    pub fn config(&self) -> Config {
        let secret = Secret::from_hex(&"11".repeat(32)).unwrap();
        let node = |(place, nature): (usize, &Nature)| {
            let spec = NodeSpec { name: place.to_string(), ..NodeSpec::parse("http://el:8551").unwrap() };
            let spec = NodeSpec {
                tier: nature.tier,
                timeout: nature.timeout,
                do_not_use: nature.do_not_use,
                ..spec
            };
            NodeConfig { spec, secret: Some(secret.clone()) }
        };
        let shortfall = if self.error_on_shortfall { OnShortfall::Error } else { OnShortfall::Syncing };
        let execution = mainstay_execution::Config {
            nodes: self.natures.iter().enumerate().map(node).collect(),
            rules: self.rules,
            quarantine_after: self.quarantine_after,
            straggler_wait: self.straggler_wait,
            timeout: self.timeout,
            answer_within: self.timeout,
            on_shortfall: shortfall,
            getpayload_wait: self.getpayload_wait,
            health: self.health,
            failback_after: self.failback_after,
            replay_blocks: self.replay_blocks,
            replay_bytes: self.replay_bytes,
            ..defaults().execution.clone()
        };
        Config { execution, ..defaults().clone() }
    }
}

/// The config of an owner who says nothing but what has to be said.
fn defaults() -> &'static Config {
    static DEFAULTS: OnceLock<Config> = OnceLock::new();
    DEFAULTS.get_or_init(|| {
        let secret = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(secret.path(), "11".repeat(32)).unwrap();
        let mut flags = Flags::default();
        flags.set("nodes", "--nodes", vec!["http://el:8551".to_owned()]);
        flags.set("jwt_secret", "--jwt-secret", vec![secret.path().display().to_string()]);
        let mut problems = Vec::new();
        let sources = Sources { flags: &flags, ..Sources::default() };
        let settings = resolve(&SECTION, &sources, &mut problems);
        let config = Config::from_settings(&settings, &mut problems);
        assert!(problems.is_empty(), "{problems:?}");
        config.unwrap()
    })
}

fn nature(rng: &mut Rng) -> Nature {
    let low = rng.pick(&[2, 5, 20, 60]);
    Nature {
        tier: if rng.chance(200) { Tier::Backup } else { Tier::Primary },
        timeout: rng.chance(150).then(|| Duration::from_millis(rng.within(1000, 3000))),
        do_not_use: rng.chance(60),
        client: rng.within(0, 2),
        accepts_side: rng.chance(50),
        remembers_invalid: rng.chance(700),
        work: (low, low * 3),
    }
}
