//! The stores that relays keep claims in, each a process of its own with a new folder on disk, as they are installed.

use std::process::Command;

use tokio::net::TcpStream;

use crate::Result;
use crate::proxy::{Bench, Proxy, free_address, is_ok};

/// A store that runs; it ends when this is dropped.
pub(crate) struct Store {
    /// What `--claims` takes.
    pub(crate) url: String,
    _process: Proxy,
}

/// etcd, one member; `None` if it isn't installed. Every claim is on disk before it is answered, as always with etcd.
pub(crate) async fn etcd(bench: &Bench) -> Result<Option<Store>> {
    let Some(binary) = &bench.etcd else { return Ok(None) };
    let (address, peer) = (free_address()?, free_address()?);
    let [client, peer] = [address, peer].map(|address| format!("http://{address}"));
    let mut command = Command::new(binary);
    command
        .arg("--data-dir")
        .arg(bench.path("etcd"))
        .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        .args(["--initial-cluster", &format!("default={peer}"), "--log-level", "error"]);
    let mut process = bench.spawn(command, "etcd", address)?;
    process.until("etcd to be healthy", async || is_ok(address, "/health").await).await?;
    Ok(Some(Store { url: format!("etcd://{address}"), _process: process }))
}

/// Redis, with everything on disk before it is answered, as claims want it; `None` if it isn't installed.
pub(crate) async fn redis(bench: &Bench) -> Result<Option<Store>> {
    let Some(binary) = &bench.redis else { return Ok(None) };
    let (address, folder) = (free_address()?, bench.path("redis"));
    std::fs::create_dir(&folder)?;
    let mut command = Command::new(binary);
    command.args(["--bind", "127.0.0.1", "--port", &address.port().to_string(), "--dir"]).arg(folder).args([
        "--save",
        "",
        "--appendonly",
        "yes",
        "--appendfsync",
        "always",
    ]);
    let mut process = bench.spawn(command, "redis", address)?;
    process.until("Redis to listen", async || TcpStream::connect(address).await.is_ok()).await?;
    Ok(Some(Store { url: format!("redis://{address}"), _process: process }))
}
