//! What differs from run to run: the execution clients (EL), the owner's settings, how rough the weather is.

use std::time::Duration;

use mainstay_engine::config::StragglerWait;
use mainstay_engine::verdict::{OnDissent, Rules};
use mainstay_node::{Rules as HealthRules, Tier};

use crate::rng::Rng;

/// A slot in microseconds.
pub const SLOT: u64 = 12_000_000;
pub const MS: u64 = 1000;

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
    /// Least and most time for a payload, in microseconds.
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
    /// Calls that a node's queue takes (256 in feed.rs).
    pub queue: usize,
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
                ..HealthRules::default()
            },
            failback_after: Duration::from_secs(30),
            queue: rng.pick(&[256, 256, 256, 5]),
            replay_blocks: rng.pick(&[64, 64, 64, 32, 24]),
            replay_bytes: rng.pick(&[32 << 20, 32 << 20, 100_000]),
            payload_method: rng.pick(&["engine_newPayloadV4", "engine_newPayloadV5"]),
            roughness: rng.pick(&[10, 30, 60, 120]),
            lies: rng.chance(550),
            minority: rng.chance(500),
            operator: rng.chance(500),
        }
    }
}

fn nature(rng: &mut Rng) -> Nature {
    let low = rng.pick(&[2, 5, 20, 60]) * MS;
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
