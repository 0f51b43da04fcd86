//! etcd, one member.

use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use http::Request;

use crate::process::{Process, free_port};
use crate::rpc::{LIMIT, exchange};
use crate::{Lab, Result, until};

const START_LIMIT: Duration = Duration::from_secs(30);

/// A running etcd.
pub struct Etcd {
    _process: Process,
    url: String,
}

impl Etcd {
    /// Starts one and waits until it is healthy.
    ///
    /// # Errors
    /// If it is not installed or does not start.
    pub async fn start(lab: &Lab) -> Result<Etcd> {
        let (client, peer) = (free_port()?, free_port()?);
        let [client, peer] = [client, peer].map(|port| format!("http://127.0.0.1:{port}"));
        let mut command = Command::new("etcd");
        command
            .arg("--data-dir")
            .arg(lab.path("etcd"))
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("default={peer}")]);
        let mut process = Process::spawn(lab, "etcd", command)?;
        until("etcd to be healthy", START_LIMIT, async || {
            process.must_run()?;
            let request = Request::get(format!("{client}/health")).body(Bytes::new())?;
            let (status, _) = exchange(request, LIMIT).await?;
            Ok(status.is_success().then_some(()))
        })
        .await?;
        Ok(Etcd { _process: process, url: client.replace("http://", "etcd://") })
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.url
    }
}
