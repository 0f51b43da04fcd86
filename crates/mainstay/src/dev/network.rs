//! The simulated network around the engine: execution clients on free ports, a chain with real block hashes, and a
//! folder for what has to be a file.

use std::fs::File;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use mainstay_engine::{Config, SECTION};
use mainstay_execution::block_hash;
use mainstay_settings::{Flags, Problem, Sources, resolve};
use mainstay_sim::chain::{Block, Hash, Hashing, Unhashed, genesis, hex};
use mainstay_sim::{El, ElConfig, ElHandle, ElServer};
use mainstay_wire::jwt::Secret;
use tempfile::TempDir;

/// The version of `engine_newPayload` that the chain's fork (Osaka) uses.
const NEW_PAYLOAD: u8 = 4;

/// What is there before the engine is.
pub(super) struct Network {
    folder: TempDir,
    pub(super) secret: Secret,
    pub(super) genesis: Block,
    pub(super) nodes: Vec<ElHandle>,
}

impl Network {
    /// Starts `count` execution clients. Fails with what to tell the user.
    pub(super) async fn start(count: u32) -> Result<Self, String> {
        let folder = tempfile::Builder::new().prefix("mainstay-dev-").tempdir();
        let folder = folder.map_err(|why| format!("cannot make a temporary folder: {why}"))?;
        let (path, secret) = (folder.path().join("jwt.hex"), random_hex());
        let written =
            secret.and_then(|text| File::create_new(&path)?.write_all(text.as_bytes()).map(|()| text));
        let text = written.map_err(|why| format!("cannot make a secret in {}: {why}", path.display()))?;
        let secret = Secret::from_hex(&text).map_err(|why| why.to_string())?;
        let genesis = genesis(1, now());
        let mut nodes = Vec::new();
        for number in 1..=count {
            let name = format!("el{number}");
            let config = ElConfig {
                extra_data: name.as_bytes().to_vec(),
                hashing: real_hashing(),
                ..ElConfig::new(&name, genesis.clone())
            };
            let started = ElServer::start(El::with(config), secret.clone()).await;
            let (node, _) = started.map_err(|why| format!("cannot start {name}: {why}"))?;
            nodes.push(node);
        }
        Ok(Self { folder, secret, genesis, nodes })
    }

    /// The engine's configuration, by the way that every configuration takes.
    pub(super) fn engine(&self, listen: SocketAddr, mut flags: Flags) -> Result<Config, Vec<Problem>> {
        let nodes = self.nodes.iter().map(|node| format!("{}#name={}", node.url(), node.name())).collect();
        let path = |path: PathBuf| vec![path.display().to_string()];
        flags.set("nodes", "--nodes", nodes);
        flags.set("listen", "--listen", vec![listen.to_string()]);
        flags.set("jwt_secret", "jwt.hex", path(self.secret_file()));
        flags.set("evidence_dir", "evidence", path(self.evidence()));
        let mut problems = Vec::new();
        let sources = Sources { flags: &flags, ..Sources::default() };
        let settings = resolve(&SECTION, &sources, &mut problems);
        let config = Config::from_settings(&settings, &mut problems);
        config.filter(|_| problems.is_empty()).ok_or(problems)
    }

    /// The file with the secret that all share.
    pub(super) fn secret_file(&self) -> PathBuf {
        self.folder.path().join("jwt.hex")
    }

    /// Where evidence goes.
    pub(super) fn evidence(&self) -> PathBuf {
        self.folder.path().join("evidence")
    }

    /// Ends the clients. The folder stays where there is evidence in it; its place is given back then.
    pub(super) fn end(self) -> Option<PathBuf> {
        for node in &self.nodes {
            node.stop();
        }
        let evidence = self.evidence();
        if !holds_something(&evidence) {
            return None;
        }
        let _ = self.folder.keep();
        Some(evidence)
    }
}

fn holds_something(folder: &Path) -> bool {
    std::fs::read_dir(folder).is_ok_and(|mut files| files.next().is_some())
}

/// Blocks have the hash that Ethereum gives them. Where no client votes, the engine answers SYNCING to a new payload only
/// after it has checked its hash, and INVALID where that is wrong.
fn real_hashing() -> Hashing {
    Hashing::Custom(Arc::new(|unhashed: &Unhashed<'_>| {
        match block_hash::check(&Bytes::from(unhashed.new_payload_params(NEW_PAYLOAD))) {
            block_hash::Check::Mismatch { expected, .. } => Hash::parse(&expected).unwrap_or_default(),
            // A hash of zero is what the payload has so far; no client takes it for anything.
            block_hash::Check::Match | block_hash::Check::Unknown(_) => Hash::ZERO,
        }
    }))
}

/// 32 random bytes as hex digits.
fn random_hex() -> std::io::Result<String> {
    let mut bytes = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(hex(&bytes))
}

/// Seconds since 1970: what the first slot counts from.
#[allow(clippy::disallowed_methods, reason = "a chain starts at a time of day")]
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use mainstay_sim::chain::{Attributes, Recipe, build};
    use mainstay_sim::request::new_payload;
    use mainstay_wire::envelope::{Message, parse_request};

    #[test]
    fn blocks_have_their_real_hash() {
        let parent = genesis(1, 1_800_000_000);
        let attributes = Attributes::of_slot(1, 1_800_000_002);
        let requests = vec!["0x00ab".to_owned()];
        for requests in [Vec::new(), requests] {
            let recipe = Recipe {
                extra_data: b"el1".to_vec(),
                hashing: real_hashing(),
                requests,
                ..Recipe::default()
            };
            let block = build(&parent, &attributes, &recipe);
            let call = match parse_request(&new_payload(1, NEW_PAYLOAD, &block)) {
                Ok(Message::Single(Ok(call))) => call,
                other => panic!("{other:?}"),
            };
            let params = call.params.unwrap();
            assert_eq!(block_hash::check(&params), block_hash::Check::Match);
        }
    }
}
