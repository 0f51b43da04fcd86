//! A real nginx.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tokio::net::TcpStream;

use crate::process::{Process, free_port};
use crate::{Failure, Lab, Result, until};

const START_LIMIT: Duration = Duration::from_secs(5);

/// A running nginx; what any process can do is [`Process`]'s.
pub struct Nginx {
    process: Process,
    url: String,
}

impl Deref for Nginx {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl Nginx {
    /// Starts it with the config `name`.conf of `tests/e2e/devnet`, each of `addresses` put in place of the word before it and its own
    /// one in place of `LISTEN`, and waits until it listens.
    ///
    /// # Errors
    /// If it is not installed or does not start.
    pub async fn start(lab: &Lab, name: &str, addresses: &[(&str, &str)]) -> Result<Nginx> {
        let listen = format!("127.0.0.1:{}", free_port()?);
        let mut site = std::fs::read_to_string(lab.tools.devnet.join(format!("{name}.conf")))?;
        for (word, address) in addresses.iter().copied().chain([("LISTEN", listen.as_str())]) {
            site = site.replace(word, address.trim_start_matches("http://").trim_end_matches('/'));
        }
        let name = format!("nginx-{name}");
        let folder = lab.path(&name);
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join("site.conf"), site)?;
        let main = folder.join("nginx.conf");
        std::fs::write(&main, around(&folder))?;
        let mut command = Command::new(program()?);
        command.arg("-p").arg(&folder).arg("-e").arg("stderr").arg("-c").arg(&main);
        let mut process = Process::spawn(lab, &name, command)?;
        until("nginx to listen", START_LIMIT, async || {
            process.must_run()?;
            Ok(Some(TcpStream::connect(&listen).await?))
        })
        .await?;
        Ok(Nginx { process, url: format!("http://{listen}") })
    }

    /// Where clients call.
    pub fn url(&self) -> &str {
        &self.url
    }
}

/// What a distribution's package has around a site's config, but in a folder of its own and as one process that stays.
fn around(folder: &Path) -> String {
    let folder = folder.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {folder}/{name};\n"))
        .concat();
    format!(
        "daemon off;\nmaster_process off;\npid {folder}/pid;\nevents {{}}\nhttp {{\naccess_log off;\n{temporary}include {folder}/site.conf;\n}}\n"
    )
}

/// A Debian user has no /usr/sbin on the path.
fn program() -> Result<PathBuf> {
    let folders = ["/usr/sbin", "/usr/local/sbin", "/usr/bin", "/usr/local/bin", "/opt/homebrew/bin"];
    let mut found = folders.iter().map(|folder| Path::new(folder).join("nginx"));
    found
        .find(|path| path.exists())
        .ok_or_else(|| Failure::new("nginx is not installed: run `make tools`, or your package manager"))
}
