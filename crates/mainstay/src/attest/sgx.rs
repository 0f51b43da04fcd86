//! Stored evidence of an SGX enclave.

use mainstay_attest::collateral::Collateral;
use mainstay_attest::sgx::{Evidence, Policy, Root, Terms};
use mainstay_attest::uri::MrEnclave;

use super::{Question, Verdict};
use crate::plan::Environment;

/// Whether it is this enclave.
pub(super) fn verify(
    question: &Question,
    enclave: MrEnclave,
    environment: &Environment,
) -> Result<Verdict, String> {
    let root = match &question.roots {
        Some((path, file)) => Root::read(file).map_err(|why| format!("{}: {why}", path.display()))?,
        None => Root::intel(),
    };
    let collateral = match &question.collateral {
        Some((path, file)) => {
            Some(Collateral::from_json(file).map_err(|why| format!("{}: {why}", path.display()))?)
        }
        None => None,
    };
    let policy = Policy::from_variables(|name| environment.variables.get(name).cloned());
    let terms = Terms { enclave, root: &root, collateral: collateral.as_ref(), policy, now: question.at };
    let bound = |evidence: Evidence| match &question.key {
        Some(key) => evidence.for_key(key),
        None => Ok(evidence),
    };
    Ok(Evidence::read_file(&question.evidence).and_then(bound).and_then(|evidence| evidence.verify(&terms)))
}
