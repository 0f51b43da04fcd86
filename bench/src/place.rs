//! Where processes run while they are measured.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::Result;
use crate::load::{Clients, Outcome, Until};
use crate::machine::{kept_waiting, pin};
use crate::options::Options;
use crate::proxy::Proxy;

/// What a measurement on one core is made of.
const PIECE: Duration = Duration::from_millis(50);
/// A piece counts as undisturbed if clients and proxy were kept from their cores for no longer than this.
const UNDISTURBED: Duration = Duration::from_micros(500);
/// The proxy's core.
const PROXYS: &str = "0";
/// How many times as many pieces as are wanted are measured for enough undisturbed ones.
const MOST_PIECES: usize = 3;

/// Where processes may run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// The proxy on one core; clients and node on the others. None of these cores sleeps: else a proxy would pay for waking
    /// clients and node, the more often the slower it is, and now and then for its own core's sleep.
    OneCore,
    /// Wherever the system puts them, as they are started by default.
    Anywhere,
}

impl Place {
    /// How many rounds there are: the targets are judged on one core, so fewer will do for the rest.
    pub(crate) fn rounds(self, options: &Options) -> usize {
        match self {
            Self::OneCore => options.rounds,
            Self::Anywhere => options.rounds.div_ceil(2),
        }
    }

    /// What has to live as long as measurements go on, and the core for the proxy, if it gets one.
    pub(crate) fn set_up(self) -> (Option<Awake>, Option<&'static str>) {
        match self {
            Self::OneCore => (Some(Awake::keep(PROXYS)), Some(PROXYS)),
            Self::Anywhere => (None, None),
        }
    }

    /// What clients see in `slice`, and how many calls there were in all.
    pub(crate) async fn run(
        self,
        proxy: &Proxy,
        clients: &mut Clients,
        slice: Duration,
    ) -> Result<(Outcome, usize)> {
        match self {
            Self::OneCore => undisturbed(proxy, clients, slice).await,
            Self::Anywhere => {
                let outcome = clients.run(Until::Time(Instant::now() + slice)).await?;
                let calls = outcome.latencies.count();
                Ok((outcome, calls))
            }
        }
    }
}

/// Measures in one place after the other; on one core only if there are others, and processes can be pinned.
pub(crate) async fn on_each<T>(
    cores: usize,
    mut measure: impl AsyncFnMut(Place) -> Result<Vec<T>>,
) -> Result<Vec<T>> {
    let mut all = Vec::new();
    let harness = std::process::id();
    if cores > 1 && pin(harness, &format!("1-{}", cores - 1)).is_ok() {
        all.append(&mut measure(Place::OneCore).await?);
        pin(harness, &format!("0-{}", cores - 1))?;
    } else {
        eprintln!("bench: processes can't be pinned to cores here: those tables are left out");
    }
    all.append(&mut measure(Place::Anywhere).await?);
    Ok(all)
}

/// Keeps this thread and the proxy's core from sleeping until it is dropped.
pub(crate) struct Awake {
    thread: JoinHandle<()>,
    core: Option<Child>,
}

/// Ends by itself when the harness does.
const SPIN: &str = "while kill -0 $PPID; do :; done";

impl Awake {
    /// A core that has been idle for as long as a node takes may sleep, and a virtual one may be slow to come back: by chance, some calls
    /// would find it awake and others not. Of the idle class a process gets what a proxy leaves over, and gives it back at once.
    fn keep(core: &str) -> Self {
        let thread = tokio::spawn(async {
            loop {
                tokio::task::yield_now().await;
            }
        });
        let spinning = Command::new("chrt")
            .args(["--idle", "0", "taskset", "--cpu-list", core, "sh", "-c", SPIN])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        if let Err(why) = &spinning {
            eprintln!("bench: the proxy's core may sleep: chrt: {why}");
        }
        Self { thread, core: spinning.ok() }
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        self.thread.abort();
        if let Some(core) = &mut self.core {
            // It may have ended.
            let _ = core.kill();
            let _ = core.wait();
        }
    }
}

/// What clients see in `slice`, in those pieces of a longer time in which clients and proxy had their cores to themselves, and how many
/// calls there were in all of it: whatever else takes a core for a millisecond makes a hundred calls slow, and some ten times a second
/// that is the p99 of any proxy.
async fn undisturbed(proxy: &Proxy, clients: &mut Clients, slice: Duration) -> Result<(Outcome, usize)> {
    let kept = || -> Result<Duration> {
        let of_proxy = proxy.pid().map_or(Ok(Duration::ZERO), kept_waiting)?;
        Ok(of_proxy + kept_waiting(std::process::id())?)
    };
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // up to ten minutes
    let wanted = slice.div_duration_f64(PIECE).ceil().max(1.0) as usize;
    let (mut pieces, mut quiet, mut calls) = (Vec::new(), 0, 0);
    while quiet < wanted && pieces.len() < wanted * MOST_PIECES {
        let before = kept()?;
        let outcome = clients.run(Until::Time(Instant::now() + PIECE)).await?;
        let waited = kept()?.saturating_sub(before);
        quiet += usize::from(waited <= UNDISTURBED);
        calls += outcome.latencies.count();
        pieces.push((waited, outcome));
    }
    pieces.sort_by_key(|(waited, _)| *waited);
    let counted = pieces.into_iter().take(wanted).map(|(_, outcome)| outcome);
    Ok((Outcome::of_all(counted.collect()), calls))
}
