//! EthereumJS: twenty times slower than geth, so a straggler by nature, and another implementation.

use std::process::Command;

use crate::execution::{Execution, Genesis};
use crate::process::free_port;
use crate::{Lab, Result};

/// Starts EthereumJS on a fresh chain and waits until it answers.
///
/// # Errors
/// If it does not start.
pub async fn start(lab: &Lab, name: &str, genesis: Genesis) -> Result<Execution> {
    let data = lab.path(name);
    std::fs::create_dir_all(&data)?;
    let (engine, rpc, p2p) = (free_port()?, free_port()?, free_port()?);
    let mut command = Command::new("node");
    command
        .arg(&lab.tools.ethereumjs)
        .arg("--dataDir")
        .arg(&data)
        .arg("--gethGenesis")
        .arg(genesis.file(lab))
        .args(["--sync", "none", "--discV4=false", "--discDns=false"])
        .args(["--maxPeers", "0", "--minPeers", "0", "--extIP", "127.0.0.1"])
        .args(["--port", &p2p.to_string()])
        .args(["--rpc", "--rpcAddr", "127.0.0.1", "--rpcPort", &rpc.to_string()])
        .args(["--rpcEngine", "--rpcEngineAddr", "127.0.0.1", "--rpcEnginePort", &engine.to_string()])
        .args(["--logFile=false", "--jwtSecret"])
        .arg(lab.secret.path());
    Execution::start(lab, name, (engine, rpc), command).await
}
