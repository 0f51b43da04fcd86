//! The attestation document of Constellation's aTLS on Azure, SEV-SNP: what ties the PCRs of a virtual TPM to a chip of AMD.
//!
//! chip ─ report ─ runtime data ─ attestation key ─ quote ─ PCRs, user data, nonce. Two dialects: v2.7, which prio-load-balancer speaks, and
//! the newer one, told by its `ReportSigner`, whose quote covers the instance's data too.
//!
//! Only the SHA-256 bank is looked at, and only its own quote is worth anything for it: that another bank's quote holds says nothing about
//! these values. Other banks, event logs and whatever else the document has are neither verified nor used.

mod document;
mod runtime;
#[cfg(test)]
mod tests;

use std::time::SystemTime;

use crate::checks::{Fault, Session, sha256};
use crate::measurements::Measurements;
use crate::sev::{self, Evidence, Policy, Roots};
use crate::tpm::{AttestationKey, Quote, TpmError};
use crate::{Attested, Kind, Measured, Refusal, Steps};
use document::Instance;
pub(crate) use document::{Document, Object};
pub(crate) use runtime::bound_key;

/// What a document is held against.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// What the PCRs are to be.
    pub expected: &'a Measurements,
    /// The connection that the document is for.
    pub session: Session<'a>,
    /// Which machines are taken.
    pub policy: &'a Policy,
    /// Whom to trust.
    pub roots: &'a Roots,
    /// The time of day.
    pub now: SystemTime,
}

/// Verifies a document of Azure SEV-SNP against what its node's URI expects. At most 256 KiB.
///
/// # Errors
/// The first check that doesn't hold.
pub fn verify(document: &[u8], terms: &Terms<'_>) -> Result<Attested, Refusal> {
    verify_after(document, terms, Steps::default())
}

pub(crate) fn verify_after(
    document: &[u8],
    terms: &Terms<'_>,
    mut steps: Steps,
) -> Result<Attested, Refusal> {
    match judge(document, terms, &mut steps) {
        Ok(attested) => Ok(Attested { steps, ..attested }),
        Err(fault) => Err(fault.after(steps)),
    }
}

fn judge(document: &[u8], terms: &Terms<'_>, steps: &mut Steps) -> Result<Attested, Fault> {
    let Terms { expected, session, policy, roots, now } = *terms;
    let fault = |what: String| Fault::new("document", what);
    let document = Document::parse(document).map_err(fault)?;
    let instance = Instance::parse(&document.instance_info).map_err(fault)?;
    let dialect = if instance.newer { "azure-sev-snp" } else { "azure-sev-snp, as of Constellation 2.7" };
    steps.held("document", dialect);
    session.bound(&document.user_data, steps)?;

    let evidence = Evidence { report: &instance.report, signer: &instance.signer, chain: &instance.chain };
    let verified = sev::verify(&evidence, policy, roots, now, steps)?;
    let key = bound_key(&instance.runtime_data, &verified.data, &document.ak_pub, steps)?;
    let covered = instance.newer.then_some(&document.instance_info[..]);
    quote(&document, &key, covered, session, steps)?;

    let comparison = expected.compare(&document.pcrs);
    if !comparison.differ.is_empty() {
        return Err(Fault::new("measurements", comparison.differ.join("; ")));
    }
    steps.held("measurements", format!("{} PCRs of the quote, as expected", document.pcrs.len()));
    let mut measured = comparison.measured;
    measured.push(Measured {
        name: "launch digest".to_owned(),
        value: Some(const_hex::encode(verified.measurement)),
        expected: None,
        warn_only: false,
    });
    let mut warnings = comparison.warnings;
    warnings.extend(session.warnings());
    Ok(Attested {
        kind: Kind::Sev,
        steps: Steps::default(),
        measured,
        tcb_status: Some(verified.committed.to_string()),
        warnings,
        until: verified.until,
    })
}

/// Verifies the quote of the PCRs that are compared. `covered`: what of the instance the nonce of the TPM is made of too.
pub(crate) fn quote(
    document: &Document,
    key: &AttestationKey,
    covered: Option<&[u8]>,
    session: Session<'_>,
    steps: &mut Steps,
) -> Result<(), Fault> {
    let extra = session.extra_data(&document.user_data).map(|extra| match covered {
        Some(instance) => sha256(&[instance, extra.as_ref()]),
        None => extra,
    });
    let quote = Quote { message: &document.message, signature: &document.signature, pcrs: &document.pcrs };
    let shown = quote.verify(key, extra.as_ref().map(AsRef::as_ref)).map_err(|why| {
        let step = match why {
            TpmError::ExtraData { .. } => "nonce",
            TpmError::PcrDigest { .. } | TpmError::Selection(_) => "pcr digest",
            _ => "quote",
        };
        Fault::new(step, why.to_string())
    })?;
    steps.held("quote", format!("{shown}, by the attestation key, over the SHA-256 bank"));
    if extra.is_some() {
        steps.held("nonce", "the quote was made for this connection");
    }
    Ok(())
}
