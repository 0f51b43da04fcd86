//! What comes of a verification, step by step.

use std::error::Error;
use std::fmt;
use std::time::SystemTime;

use serde::Serialize;

/// What attests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// An Intel SGX enclave, by Gramine's RA-TLS.
    Sgx,
    /// An AMD SEV-SNP virtual machine on Azure, by Constellation's aTLS.
    Sev,
    /// An Intel TDX virtual machine, over the same aTLS: our own extension.
    Tdx,
}

/// A value that was measured, against what was expected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Measured {
    /// `MRENCLAVE`, `PCR 4`, `MRTD`, `RTMR 0` …
    pub name: String,
    /// What the evidence says, in hex; nothing if it says nothing of it.
    pub value: Option<String>,
    /// What was expected, in hex; nothing if it is only shown.
    pub expected: Option<String>,
    /// Whether another value is only warned of.
    pub warn_only: bool,
}

/// Evidence that held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Attested {
    /// What attested.
    pub kind: Kind,
    /// What was checked, in order.
    pub steps: Steps,
    /// What was measured.
    pub measured: Vec<Measured>,
    /// The status of the trusted computing base, in its maker's words.
    pub tcb_status: Option<String>,
    /// What doesn't hold and is allowed not to.
    pub warnings: Vec<String>,
    /// Until when nothing that this rests on expires: certificates, collateral.
    #[serde(serialize_with = "crate::when::serialize")]
    pub until: SystemTime,
}

/// The checks that held, in order: a word for each, and what was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Steps(Vec<(&'static str, String)>);

impl Steps {
    /// One more held.
    pub fn held(&mut self, step: &'static str, found: impl Into<String>) {
        self.0.push((step, found.into()));
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(step, found)| (*step, found.as_str()))
    }
}

/// Evidence that didn't hold: the step that refused it, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// What held before.
    pub steps: Steps,
    /// A word for the check that didn't.
    pub step: &'static str,
    /// For people.
    pub reason: String,
}

impl Refusal {
    /// One at `step`, after `steps`.
    pub fn new(steps: Steps, step: &'static str, reason: impl Into<String>) -> Self {
        Self { steps, step, reason: reason.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.step, self.reason)
    }
}

impl Error for Refusal {}
