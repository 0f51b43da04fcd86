//! Stored evidence over aTLS: an attestation document of SEV-SNP or TDX, or the certificate that it came in.

use mainstay_attest::atls::Shown;
use mainstay_attest::azure;
use mainstay_attest::collateral::Collateral;
use mainstay_attest::measurements::{Measurements, TdxMeasurements};
use mainstay_attest::sev::{Policy, Roots};
use mainstay_attest::tdx::{self, Form};
use mainstay_attest::{Refusal, Session, Steps, certificate, sgx};

use super::{Question, Verdict};
use crate::plan::Environment;

/// Whether its PCRs are these.
pub(super) fn verify(question: &Question, expected: &Measurements) -> Result<Verdict, String> {
    let roots = match &question.roots {
        Some((path, file)) => Roots::from_pem(file).map_err(|why| format!("{}: {why}", path.display()))?,
        None => Roots::amd(),
    };
    let terms = azure::Terms {
        expected,
        session: session(question),
        policy: &Policy::default(),
        roots: &roots,
        now: question.at,
    };
    Ok(match document(&question.evidence) {
        Some(document) => azure::verify(document, &terms),
        None => shown(question).and_then(|shown| shown.verify_sev(&terms)),
    })
}

/// Whether its registers or PCRs are those of one of these.
pub(super) fn verify_tdx(
    question: &Question,
    expected: &TdxMeasurements,
    environment: &Environment,
) -> Result<Verdict, String> {
    let root = match &question.roots {
        Some((path, file)) => sgx::Root::read(file).map_err(|why| format!("{}: {why}", path.display()))?,
        None => sgx::Root::intel(),
    };
    let collateral = match &question.collateral {
        Some((path, file)) => {
            Some(Collateral::from_json(file).map_err(|why| format!("{}: {why}", path.display()))?)
        }
        None => None,
    };
    let terms = tdx::Terms {
        expected,
        session: session(question),
        root: &root,
        collateral: collateral.as_ref(),
        policy: sgx::Policy::from_variables(|name| environment.variables.get(name).cloned()),
        now: question.at,
    };
    let evidence = &question.evidence;
    Ok(match document(evidence) {
        Some(document) => tdx::verify(document, tdx::form(document), &terms),
        // A quote begins with its version.
        None if evidence.starts_with(&[4, 0]) || evidence.starts_with(&[5, 0]) => {
            tdx::verify(evidence, Form::Quote, &terms)
        }
        None => shown(question).and_then(|shown| shown.verify_tdx(&terms)),
    })
}

fn session(question: &Question) -> Session<'_> {
    Session { nonce: question.nonce.as_deref(), key: question.key.as_deref() }
}

/// The document itself, if that is what the file is: JSON.
fn document(file: &[u8]) -> Option<&[u8]> {
    let text = file.trim_ascii_start();
    text.starts_with(b"{").then_some(text)
}

fn shown(question: &Question) -> Result<Shown, Refusal> {
    let der =
        certificate(&question.evidence).map_err(|why| Refusal::new(Steps::default(), "certificate", why))?;
    let shown = Shown::of_certificate(&der, question.at)?;
    match &question.key {
        Some(key) if *key != shown.key => {
            Err(Refusal::new(Steps::default(), "key", "the certificate is of another key than --key"))
        }
        _ => Ok(shown),
    }
}
