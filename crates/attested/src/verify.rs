//! What a server shows, put before the checks of `mainstay-attest`. Pure but for who is asked for collateral.

use std::sync::Arc;
use std::time::SystemTime;

use mainstay_attest::atls::{Shown, Variant};
use mainstay_attest::collateral::Collateral;
use mainstay_attest::measurements::TdxMeasurements;
use mainstay_attest::sgx::{self, Evidence};
use mainstay_attest::tdx::Form;
use mainstay_attest::{Attested, Expectation, Kind, Refusal, Session, Steps, azure, tdx};

use crate::ground::{Missing, Trust};

/// What a certificate is held against.
#[derive(Clone, Copy)]
pub struct Terms<'a> {
    /// What the node is to prove.
    pub expectation: &'a Expectation,
    /// What the evidence is to be made for, with aTLS. Without one evidence may be old: only for looking at what was kept.
    pub nonce: Option<&'a [u8]>,
    /// Whom to trust.
    pub trust: &'a Trust,
    /// Gives the collateral that is at hand.
    pub collateral: &'a dyn Fn(Missing) -> Option<Arc<Collateral>>,
    /// The time of day.
    pub now: SystemTime,
}

/// Verifies the certificate (DER) that a server shows. That the server holds its key is TLS's to prove.
///
/// # Errors
/// The first check that doesn't hold.
pub fn verify(certificate: &[u8], terms: &Terms<'_>) -> Result<Attested, Refusal> {
    match terms.expectation {
        Expectation::Sgx(enclave) => {
            let evidence = Evidence::of_certificate(certificate)?;
            // Of others none is worth asking for.
            let platform = evidence.certified_platform(&terms.trust.intel, terms.now)?;
            let collateral = (terms.collateral)(Missing { kind: Kind::Sgx, platform });
            evidence.verify(&sgx::Terms {
                enclave: *enclave,
                root: &terms.trust.intel,
                collateral: collateral.as_deref(),
                policy: terms.trust.intel_policy,
                now: terms.now,
            })
        }
        Expectation::Sev(expected) => {
            let shown = Shown::of_certificate(certificate, terms.now)?;
            shown.verify_sev(&azure::Terms {
                expected,
                session: terms.session(),
                policy: &terms.trust.amd_policy,
                roots: &terms.trust.amd,
                now: terms.now,
            })
        }
        Expectation::Tdx(expected) => {
            let shown = Shown::of_certificate(certificate, terms.now)?;
            let collateral = terms.tdx_platform(&shown)?.and_then(terms.collateral);
            terms.verify_tdx(&shown, expected, collateral.as_deref())
        }
        other => {
            let reason = format!("{:?} can't be verified over a connection", other.kind());
            Err(Refusal::new(Steps::default(), "evidence", reason))
        }
    }
}

impl Terms<'_> {
    fn session(&self) -> Session<'_> {
        // The key is the certificate's.
        Session { nonce: self.nonce, key: None }
    }

    fn verify_tdx(
        &self,
        shown: &Shown,
        expected: &TdxMeasurements,
        collateral: Option<&Collateral>,
    ) -> Result<Attested, Refusal> {
        shown.verify_tdx(&tdx::Terms {
            expected,
            session: self.session(),
            root: &self.trust.intel,
            collateral,
            policy: self.trust.intel_policy,
            now: self.now,
        })
    }

    /// Whose collateral the document is judged beside; nothing where that can't be read, which verifying says.
    fn tdx_platform(&self, shown: &Shown) -> Result<Option<Missing>, Refusal> {
        let form = match shown.variant {
            Variant::AzureTdx => Form::Azure,
            Variant::DcapTdx => Form::Dcap,
            Variant::AzureSev => return Ok(None),
        };
        if tdx::platform(&shown.document, form).is_err() {
            return Ok(None);
        }
        tdx::certified_platform(&shown.document, form, &self.trust.intel, self.now)
            .map(|platform| Some(Missing { kind: Kind::Tdx, platform }))
            .map_err(|why| Refusal::new(Steps::default(), "platform", why))
    }
}
