//! SEV-SNP: that a chip of AMD runs this virtual machine, by its report.
//!
//! The order of the checks is Constellation's (v2.7), as a node's owner may know it; those that it lacks are dates of certificates and the
//! privilege level. Revocation lists of AMD aren't asked for: they'd have to be fetched.

mod chain;
mod report;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::SystemTime;

pub use chain::Roots;

use crate::Steps;
use crate::checks::Fault;
use chain::Signer;
use report::Report;

/// Security versions of the parts below a virtual machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tcb {
    /// Of the first mutable code; Turin and newer have it.
    pub fmc: Option<u8>,
    /// Of the boot loader.
    pub boot_loader: u8,
    /// Of the secure processor's operating system.
    pub tee: u8,
    /// Of the SNP firmware.
    pub snp: u8,
    /// Of the microcode.
    pub microcode: u8,
}

impl Tcb {
    fn read(bytes: [u8; 8], turin: bool) -> Self {
        let [a, b, c, d, _, _, g, microcode] = bytes;
        if turin {
            Self { fmc: Some(a), boot_loader: b, tee: c, snp: d, microcode }
        } else {
            Self { fmc: None, boot_loader: a, tee: b, snp: g, microcode }
        }
    }

    /// Whether no part is older.
    fn reaches(&self, minimum: &Self) -> bool {
        self.fmc.unwrap_or_default() >= minimum.fmc.unwrap_or_default()
            && self.boot_loader >= minimum.boot_loader
            && self.tee >= minimum.tee
            && self.snp >= minimum.snp
            && self.microcode >= minimum.microcode
    }
}

impl fmt::Display for Tcb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(fmc) = self.fmc {
            write!(f, "FMC {fmc}, ")?;
        }
        write!(
            f,
            "boot loader {}, TEE {}, SNP {}, microcode {}",
            self.boot_loader, self.tee, self.snp, self.microcode
        )
    }
}

/// What is asked of a machine beside its measurements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Digests (SHA-384) of the keys that may have signed the identity of the firmware. Whatever isn't among them is refused.
    pub id_keys: Vec<[u8; 48]>,
    /// The oldest security versions, whatever the product. The owner of the machine can't fall behind those that are committed.
    pub minimum: Tcb,
}

/// Constellation's, of the keys of Azure.
const ID_KEYS: [&str; 3] = [
    "57486a447ec0f1958002a22a06b7673b9fd27d11e1c6527498056054c5fa92d23c50f9de44072760fe2b6fb89740b696",
    "0356215882a825279a85b300b0b742931d113bf7e32dde2e50ffde7ec743ca491ecdd7f336dc28a6e0b2bb57af7a44a3",
    "934f68bd8ba01938eec21475c872e3a942b60c59fafc6df9e9a76ee66bc47f2d09c676f61c0315c578da26085fb13a71",
];

impl Default for Policy {
    /// What prio-load-balancer asks: three keys of Azure; boot loader 2, TEE 0, SNP 6, microcode 93.
    fn default() -> Self {
        let id_keys = ID_KEYS.iter().filter_map(|hex| const_hex::decode_to_array(hex).ok()).collect();
        Self { id_keys, minimum: Tcb { fmc: None, boot_loader: 2, tee: 0, snp: 6, microcode: 93 } }
    }
}

/// Evidence of a chip: its report, and the certificates that speak for who signed it.
#[derive(Clone, Copy)]
pub(crate) struct Evidence<'a> {
    /// With whatever Azure appends.
    pub(crate) report: &'a [u8],
    /// PEM, of the VCEK or VLEK.
    pub(crate) signer: &'a [u8],
    /// PEM, of the ASK and perhaps the root.
    pub(crate) chain: &'a [u8],
}

/// What a verified report says.
#[derive(Debug)]
pub(crate) struct Verified {
    /// What the guest wanted said.
    pub(crate) data: [u8; 64],
    pub(crate) committed: Tcb,
    /// The launch digest.
    pub(crate) measurement: [u8; 48],
    pub(crate) until: SystemTime,
}

/// Verifies a report up to whose firmware it is.
pub(crate) fn verify(
    evidence: &Evidence<'_>,
    policy: &Policy,
    roots: &Roots,
    now: SystemTime,
    steps: &mut Steps,
) -> Result<Verified, Fault> {
    let signer = Signer::verify(evidence.signer, evidence.chain, roots, now, steps)?;
    let report = Report::parse(evidence.report).map_err(|what| Fault::new("report", what))?;
    let turin = signer.product.as_deref().is_some_and(|product| product.starts_with("Turin"));
    let committed = configuration(&report, turin, policy, steps)?;
    let certified = signer.is_for(&committed).map_err(|what| Fault::new("signer's versions", what))?;
    if certified > 0 {
        steps.held(
            "signer's versions",
            format!("the report's signer is certified for them ({certified} parts)"),
        );
    }
    report.verify(&signer.point).map_err(|what| Fault::new("report signature", what))?;
    steps.held("report signature", "ECDSA P-384 with SHA-384, by the certified key");
    let id_key = report.id_key_digest();
    if !policy.id_keys.contains(&id_key) {
        return Err(Fault::new(
            "id key",
            format!(
                "the firmware is signed by a key that isn't allowed (digest {})",
                const_hex::encode(id_key)
            ),
        ));
    }
    steps.held(
        "id key",
        format!("the firmware is signed by an allowed key ({}…)", &const_hex::encode(id_key)[..16]),
    );
    Ok(Verified { data: report.data(), committed, measurement: report.measurement(), until: signer.until })
}

/// How the machine was started, and on what.
fn configuration(report: &Report<'_>, turin: bool, policy: &Policy, steps: &mut Steps) -> Result<Tcb, Fault> {
    if report.debug() {
        return Err(Fault::new("policy", "the machine may be debugged: its host reads all that it does"));
    }
    let level = report.vmpl();
    if level != 0 {
        return Err(Fault::new(
            "policy",
            format!("the report was asked for at privilege level {level}, not at 0"),
        ));
    }
    steps.held("policy", "no debugging, privilege level 0");
    let (committed, launch, current) = (report.committed(turin), report.launch(turin), report.current(turin));
    let fault = |what: String| Err(Fault::new("tcb", what));
    if !committed.reaches(&policy.minimum) {
        return fault(format!(
            "the committed versions ({committed}) are older than the minimum ({})",
            policy.minimum
        ));
    }
    if launch != committed {
        return fault(format!(
            "the machine was started on other versions ({launch}) than the committed ones ({committed})"
        ));
    }
    if !current.reaches(&committed) {
        return fault(format!(
            "the current versions ({current}) are older than the committed ones ({committed})"
        ));
    }
    steps.held("tcb", format!("{committed}"));
    Ok(committed)
}
