//! The binary under test in another program's stead: called by its name, with its flags.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use bytes::Bytes;
use http::Request;

use crate::process::{Process, free_port};
use crate::program::{binary, command};
use crate::rpc::{LIMIT, exchange};
use crate::{Lab, Result, until};

const START_LIMIT: Duration = Duration::from_secs(10);

/// Mainstay as sync-proxy; what any process can do is [`Process`]'s.
pub struct SyncProxy {
    process: Process,
    url: String,
}

impl Deref for SyncProxy {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl DerefMut for SyncProxy {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}

impl SyncProxy {
    /// Starts it as `name` with the flags of sync-proxy before these execution clients and others of its kind (their addresses), and
    /// waits until it answers.
    ///
    /// # Errors
    /// If the binary is missing or does not answer in time.
    pub async fn start(lab: &Lab, name: &str, builders: &[&str], proxies: &[&str]) -> Result<SyncProxy> {
        let folder = lab.path(name);
        std::fs::create_dir_all(&folder)?;
        let link = folder.join("sync-proxy");
        std::os::unix::fs::symlink(binary()?, &link)?;
        let listen = format!("127.0.0.1:{}", free_port()?);
        // As people write them: without a scheme.
        let list = |urls: &[&str]| {
            let urls: Vec<&str> = urls.iter().map(|url| url.trim_start_matches("http://")).collect();
            urls.join(",")
        };
        let mut command = command(&link);
        command.args(["-addr", &listen, "-builders", &list(builders), "-loglevel", "debug"]);
        if !proxies.is_empty() {
            command.args(["-proxies", &list(proxies)]);
        }
        // Two runs at once shall not meet.
        command.env("MAINSTAY_ADMIN_LISTEN", format!("127.0.0.1:{}", free_port()?));
        let process = Process::spawn(lab, name, command)?;
        let mut proxy = SyncProxy { process, url: format!("http://{listen}") };
        proxy.answers().await?;
        Ok(proxy)
    }

    /// Where consensus clients call.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// `kill -9` and a new start on the same port.
    ///
    /// # Errors
    /// If it does not come back.
    pub async fn crash(&mut self) -> Result<()> {
        self.process.again()?;
        self.answers().await
    }

    async fn answers(&mut self) -> Result<()> {
        let (process, url) = (&mut self.process, &self.url);
        let what = format!("{} to answer", process.name());
        until(&what, START_LIMIT, async || {
            process.must_run()?;
            let (status, _) = exchange(Request::get(url).body(Bytes::new())?, LIMIT).await?;
            Ok(status.is_success().then_some(()))
        })
        .await
    }
}
