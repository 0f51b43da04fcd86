//! What verdicts rest on, and who is told of them.

use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use mainstay_attest::collateral::Collateral;
use mainstay_attest::sgx::{self, Platform};
use mainstay_attest::{Attested, Expectation, Kind, Refusal, sev};
use serde_json::Value;
use url::Url;

/// Whom to trust, and what is allowed.
#[derive(Clone, Debug)]
pub struct Trust {
    /// Whom quotes of SGX and TDX have to come from.
    pub intel: sgx::Root,
    /// Which states of Intel's platforms are taken.
    pub intel_policy: sgx::Policy,
    /// Whom reports of SEV-SNP have to come from.
    pub amd: sev::Roots,
    /// Which machines of AMD's are taken.
    pub amd_policy: sev::Policy,
}

impl Default for Trust {
    /// The makers' own roots, and nothing allowed that isn't by default.
    fn default() -> Self {
        Self {
            intel: sgx::Root::intel(),
            intel_policy: sgx::Policy::default(),
            amd: sev::Roots::amd(),
            amd_policy: sev::Policy::default(),
        }
    }
}

/// Collateral that a verdict needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Missing {
    /// Of SGX or of TDX.
    pub kind: Kind,
    /// Of which platform.
    pub platform: Platform,
}

/// Resolves when fetching has ended.
pub type Fetched = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What verdicts rest on. Asked within handshakes: nothing here may block or wait, but for the future that [`Ground::fetching`] gives.
pub trait Ground: Send + Sync {
    /// The time of day.
    fn now(&self) -> SystemTime;

    /// Whom to trust.
    fn trust(&self) -> Arc<Trust>;

    /// Whether nodes of this kind can be verified at all.
    ///
    /// # Errors
    /// What is missing in the settings (a source of collateral), and what to set.
    fn can(&self, kind: Kind) -> Result<(), String>;

    /// Collateral that is at hand, expired or not; notes that it is needed if there is none.
    fn collateral(&self, of: Missing) -> Option<Arc<Collateral>>;

    /// If collateral that a verdict was refused for want of is being fetched: resolves when that has ended, well or not. The client then
    /// tries another connection, within its own time.
    fn fetching(&self, _: Missing) -> Option<Fetched> {
        None
    }

    /// What this certificate (DER) has been found to be for this expectation, if that is remembered and still holds at `now`. Asked only where no nonce is
    /// part of it (RA-TLS).
    fn remembered(&self, _certificate: &[u8], _: &Expectation, _now: SystemTime) -> Option<Attested> {
        None
    }

    /// What is known of a node, by its URL as the role has it, for operators.
    fn known(&self, _node: &Url) -> Option<Value> {
        None
    }

    /// A verdict: for refusals as soon as it is given, else once the peer has proved that it holds the certificate's key.
    fn judged(&self, judged: &Judged<'_>);
}

/// A verdict.
#[derive(Clone, Copy, Debug)]
pub struct Judged<'a> {
    /// The node's URL as the role has it, with its user part: never show it.
    pub node: &'a Url,
    /// What the node was to prove.
    pub expectation: &'a Expectation,
    /// What it has shown: its certificate, DER.
    pub certificate: &'a [u8],
    /// What the evidence was to be made for, with aTLS.
    pub nonce: Option<&'a [u8]>,
    /// What came of it.
    pub verdict: Result<&'a Attested, &'a Refusal>,
    /// Whether it was [remembered](Ground::remembered).
    pub remembered: bool,
    /// When.
    pub at: SystemTime,
}
