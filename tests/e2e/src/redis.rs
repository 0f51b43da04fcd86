//! redis-server, in memory only.

use std::process::Command;
use std::time::Duration;

use tokio::net::TcpStream;

use crate::process::{Process, free_port};
use crate::{Lab, Result, until};

const START_LIMIT: Duration = Duration::from_secs(20);

/// A running redis-server.
pub struct Redis {
    _process: Process,
    url: String,
}

impl Redis {
    /// Starts one and waits until it takes connections.
    ///
    /// # Errors
    /// If it is not installed or does not start.
    pub async fn start(lab: &Lab) -> Result<Redis> {
        let port = free_port()?;
        let mut command = Command::new("redis-server");
        command.args([
            "--bind",
            "127.0.0.1",
            "--port",
            &port.to_string(),
            "--save",
            "",
            "--appendonly",
            "no",
        ]);
        let mut process = Process::spawn(lab, "redis", command)?;
        until("redis-server to take connections", START_LIMIT, async || {
            process.must_run()?;
            TcpStream::connect(("127.0.0.1", port)).await?;
            Ok(Some(()))
        })
        .await?;
        Ok(Redis { _process: process, url: format!("redis://127.0.0.1:{port}") })
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.url
    }
}
