//! Who judges nodes, by their URL.

use std::fmt;
use std::sync::Arc;

use mainstay_attest::Expectation;
use mainstay_wire::client::{Attest, Judge, Trial};
use ring::rand::SystemRandom;
use serde_json::Value;
use url::Url;

use crate::ground::Ground;
use crate::trial::{Connection, Node};

/// Judges nodes on a ground. Give it to clients as [`Attestation::new`](mainstay_wire::client::Attestation::new)`(Attester::new(ground))`.
pub struct Attester {
    ground: Arc<dyn Ground>,
}

impl Attester {
    /// On this ground.
    #[must_use]
    pub fn new(ground: Arc<dyn Ground>) -> Self {
        Self { ground }
    }
}

impl Attest for Attester {
    fn node(&self, url: &Url) -> Result<Arc<dyn Judge>, String> {
        let expectation = Expectation::of(url).map_err(|why| why.to_string())?;
        let expectation = expectation.ok_or("the URL doesn't ask that the node attests")?;
        self.ground.can(expectation.kind())?;
        Ok(Arc::new(Known(Arc::new(Node { url: url.clone(), expectation, ground: self.ground.clone() }))))
    }

    fn known(&self, url: &Url) -> Option<Value> {
        self.ground.known(url)
    }
}

impl fmt::Debug for Attester {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Attester")
    }
}

/// A node that there is a client for.
struct Known(Arc<Node>);

impl Judge for Known {
    fn begin(&self) -> Result<Box<dyn Trial>, String> {
        Ok(Box::new(Connection::new(self.0.clone(), &SystemRandom::new())?))
    }
}
