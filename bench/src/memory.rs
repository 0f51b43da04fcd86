//! Resident memory of mainstay: idle, and after many large payloads at once.

use std::time::Duration;

use crate::Result;
use crate::fan_out::Payloads;
use crate::load::{Calls, Clients, Until};
use crate::machine::memory;
use crate::proxy::{Bench, Way};

pub(crate) const BYTES: usize = 1_500_000;
pub(crate) const CONCURRENT: usize = 8;
pub(crate) const EACH: usize = 25;
/// The first probes are over by then, and freed memory has gone back to the system.
pub(crate) const SETTLE: Duration = Duration::from_secs(4);

/// Bytes.
pub(crate) struct Memory {
    pub(crate) idle: u64,
    /// Right after the last reply.
    pub(crate) after: u64,
    /// After [`SETTLE`].
    pub(crate) settled: u64,
    pub(crate) peak: u64,
}

/// A fresh mainstay, its memory before and after.
pub(crate) async fn measure(bench: &Bench) -> Result<Memory> {
    let proxy = bench.start(Way::Engine, None).await?;
    let pid = proxy.pid().ok_or("mainstay has no process")?;
    tokio::time::sleep(SETTLE).await;
    let (idle, _) = memory(pid)?;
    let (host, token) = (proxy.address.to_string(), bench.token());
    let calls = |client| -> Box<dyn Calls> { Box::new(Payloads::new(BYTES, &host, &token, client)) };
    let mut clients = Clients::connect(proxy.address, CONCURRENT, calls).await?;
    clients.run(Until::Count(EACH)).await?;
    let (after, _) = memory(pid)?;
    tokio::time::sleep(SETTLE).await;
    let (settled, peak) = memory(pid)?;
    Ok(Memory { idle, after, settled, peak })
}
