//! geth: the fast one. Without peers, with a port for the engine API and one for everyone's calls.
//!
//! It keeps new states in memory and writes them down when it is ended with SIGTERM. After `kill -9` it is
//! back at the last state that it wrote. Where that is block 0, geth 1.17.8 says "Switching from full-sync
//! to snap-sync", answers SYNCING to each payload from then on, and nothing that a consensus client says
//! gets it out of that. So a scenario that kills a geth restarts it cleanly once before.

use std::process::{Command, Stdio};

use crate::execution::{Execution, Genesis};
use crate::process::free_port;
use crate::{Lab, Result, ensure};

/// Starts geth on a fresh chain and waits until it answers.
///
/// # Errors
/// If it does not start.
pub async fn start(lab: &Lab, name: &str, genesis: Genesis) -> Result<Execution> {
    start_at(lab, name, genesis, free_port()?).await
}

/// As [`start`], with its engine API on this port.
///
/// # Errors
/// If it does not start.
pub async fn start_at(lab: &Lab, name: &str, genesis: Genesis, engine: u16) -> Result<Execution> {
    let data = lab.path(name);
    let output = Command::new(&lab.tools.geth)
        .arg("--datadir")
        .arg(&data)
        .arg("init")
        .arg(genesis.file(lab))
        .stdin(Stdio::null())
        .output()?;
    ensure!(output.status.success(), "{name}: geth init: {}", String::from_utf8_lossy(&output.stderr));

    let rpc = free_port()?;
    let mut command = Command::new(&lab.tools.geth);
    command
        .arg("--config")
        .arg(lab.tools.devnet.join("geth.toml"))
        .arg("--datadir")
        .arg(&data)
        .args(["--networkid", "1337", "--syncmode", "full", "--gcmode", "archive", "--cache", "64"])
        .args(["--nodiscover", "--maxpeers", "0", "--nat", "none", "--ipcdisable"])
        .args(["--authrpc.addr", "127.0.0.1", "--authrpc.vhosts", "*"])
        .args(["--http", "--http.addr", "127.0.0.1", "--http.port", &rpc.to_string()])
        .args(["--http.api", "eth,net,web3,txpool"])
        .args(["--authrpc.port", &engine.to_string(), "--authrpc.jwtsecret"])
        .arg(lab.secret.path());
    Execution::start(lab, name, (engine, rpc), command).await
}
