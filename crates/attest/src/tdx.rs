//! TDX over Constellation's aTLS, as Flashbots' proxies speak it: that a virtual machine on a platform which Intel vouches for measures what is
//! expected. The URI form `TDX_…` is our own extension.
//!
//! Two variants. `dcap-tdx`: the quote itself holds `sha256(user data ‖ nonce)`, and its MRTD and RTMRs are compared. `azure-tdx`: the quote
//! holds the hash of the runtime data, and from there on it is as with SEV-SNP of the newer dialect; PCRs are compared.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dcap_qvl::quote::{AuthData, Quote, TDReport10};
use dcap_qvl::verify::QuoteVerifier;
use dcap_qvl::{QuotePolicy, TcbStatus, intel};

use crate::azure::{self, Document, Object};
use crate::checks::{Fault, Session};
use crate::collateral::{Collateral, Fmspc};
use crate::measurements::{Platform, TdxMeasurements};
use crate::sgx::{self, Policy, Root};
use crate::{Attested, Kind, Refusal, Steps, when};

/// The largest quote that is read, in bytes; one has about 5,000.
const MAX_QUOTE: usize = 64 * 1024;
/// The certification data is a report of the quoting enclave, with the platform's certificates in it.
const QE_REPORT: u16 = 6;

/// What evidence is held against.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// What is to be measured.
    pub expected: &'a TdxMeasurements,
    /// The connection that the evidence is for.
    pub session: Session<'a>,
    /// Whom to trust.
    pub root: &'a Root,
    /// What Intel says of the platform; nothing: refused.
    pub collateral: Option<&'a Collateral>,
    /// Which platforms are taken. Neither debugging nor expired collateral is.
    pub policy: Policy,
    /// The time of day.
    pub now: SystemTime,
}

/// In which form evidence is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The document of `dcap-tdx`.
    Dcap,
    /// The document of `azure-tdx`.
    Azure,
    /// A bare quote, which nothing binds to a connection.
    Quote,
}

/// Verifies evidence of TDX against what its node's URI expects.
///
/// # Errors
/// The first check that doesn't hold.
pub fn verify(evidence: &[u8], form: Form, terms: &Terms<'_>) -> Result<Attested, Refusal> {
    verify_after(evidence, form, terms, Steps::default())
}

pub(crate) fn verify_after(
    evidence: &[u8],
    form: Form,
    terms: &Terms<'_>,
    mut steps: Steps,
) -> Result<Attested, Refusal> {
    let judged = match form {
        Form::Dcap => dcap(evidence, terms, &mut steps),
        Form::Azure => on_azure(evidence, terms, &mut steps),
        Form::Quote => bare(evidence, terms, &mut steps),
    };
    match judged {
        Ok(attested) => Ok(Attested { steps, ..attested }),
        Err(fault) => Err(fault.after(steps)),
    }
}

/// Whose form a document (JSON) has: `dcap-tdx`'s if there is a bare quote in it.
#[must_use]
pub fn form(document: &[u8]) -> Form {
    match Dcap::parse(document) {
        Ok(document) if !document.quote.is_empty() => Form::Dcap,
        _ => Form::Azure,
    }
}

/// Which collateral evidence is judged beside: its platform, by its certificate, and the authority of Intel's that certified it (`platform` or
/// `processor`).
///
/// # Errors
/// Why it can't be read.
pub fn platform(evidence: &[u8], form: Form) -> Result<(Fmspc, &'static str), String> {
    platform_of(&parsed(&quote_of(evidence, form)?)?.0)
}

/// As [`platform`], once the platform's certificate has been verified up to `root` at `now`: of others no collateral is worth asking for.
///
/// # Errors
/// Why it can't be read, or who hasn't certified it.
pub fn certified_platform(
    evidence: &[u8],
    form: Form,
    root: &Root,
    now: SystemTime,
) -> Result<sgx::Platform, String> {
    let (quote, _) = parsed(&quote_of(evidence, form)?)?;
    sgx::certified(&quote, root, now)?;
    let (fmspc, authority) = platform_of(&quote)?;
    Ok(sgx::Platform { fmspc, authority })
}

/// The quote in evidence.
fn quote_of(evidence: &[u8], form: Form) -> Result<Vec<u8>, String> {
    Ok(match form {
        Form::Dcap => Dcap::parse(evidence)?.quote,
        Form::Azure => Instance::parse(&Document::parse(evidence)?.instance_info)?.quote,
        Form::Quote => evidence.to_vec(),
    })
}

/// The document of `dcap-tdx`.
struct Dcap {
    quote: Vec<u8>,
    user_data: Vec<u8>,
}

impl Dcap {
    fn parse(json: &[u8]) -> Result<Self, String> {
        let document = Object::document(json)?;
        Ok(Self { quote: document.bytes("RawQuote")?, user_data: document.bytes("UserData")? })
    }
}

fn dcap(json: &[u8], terms: &Terms<'_>, steps: &mut Steps) -> Result<Attested, Fault> {
    let document = Dcap::parse(json).map_err(|what| Fault::new("document", what))?;
    steps.held("document", "dcap-tdx");
    terms.session.bound(&document.user_data, steps)?;
    let quoted = Quoted::verify(&document.quote, terms, steps)?;
    if let Some(extra) = terms.session.extra_data(&document.user_data) {
        let mut expected = [0; 64];
        expected[..32].copy_from_slice(extra.as_ref());
        if quoted.report.report_data != expected {
            return Err(Fault::new(
                "nonce",
                format!(
                    "the quote was made for {}, not for this connection's {}",
                    const_hex::encode(quoted.report.report_data),
                    const_hex::encode(extra)
                ),
            ));
        }
        steps.held("nonce", "the quote was made for this connection");
    }
    quoted.measured(Platform::Dcap, &quoted.registers(), terms, steps)
}

fn bare(quote: &[u8], terms: &Terms<'_>, steps: &mut Steps) -> Result<Attested, Fault> {
    let quoted = Quoted::verify(quote, terms, steps)?;
    let mut attested = quoted.measured(Platform::Dcap, &quoted.registers(), terms, steps)?;
    attested.warnings = vec!["a bare quote: nothing says whom it speaks for, nor when".to_owned()];
    Ok(attested)
}

/// What of the instance's data of `azure-tdx` is used.
struct Instance {
    quote: Vec<u8>,
    runtime_data: Vec<u8>,
}

impl Instance {
    fn parse(json: &[u8]) -> Result<Self, String> {
        let instance = Object::parse("InstanceInfo", json)?;
        Ok(Self { quote: instance.bytes("AttestationReport")?, runtime_data: instance.bytes("RuntimeData")? })
    }
}

fn on_azure(json: &[u8], terms: &Terms<'_>, steps: &mut Steps) -> Result<Attested, Fault> {
    let fault = |what: String| Fault::new("document", what);
    let document = Document::parse(json).map_err(fault)?;
    let instance = Instance::parse(&document.instance_info).map_err(fault)?;
    steps.held("document", "azure-tdx");
    terms.session.bound(&document.user_data, steps)?;
    let quoted = Quoted::verify(&instance.quote, terms, steps)?;
    let key = azure::bound_key(&instance.runtime_data, &quoted.report.report_data, &document.ak_pub, steps)?;
    azure::quote(&document, &key, Some(&document.instance_info), terms.session, steps)?;
    let pcrs = document.pcrs.iter().map(|(pcr, value)| (*pcr, value.to_vec())).collect();
    quoted.measured(Platform::Azure, &pcrs, terms, steps)
}

/// A verified quote.
struct Quoted {
    report: TDReport10,
    status: TcbStatus,
    until: SystemTime,
}

impl Quoted {
    fn verify(bytes: &[u8], terms: &Terms<'_>, steps: &mut Steps) -> Result<Self, Fault> {
        let (quote, length) = parsed(bytes).map_err(|what| Fault::new("quote", what))?;
        let (fmspc, authority) = platform_of(&quote).map_err(|what| Fault::new("quote", what))?;
        steps.held("quote", format!("version {}, of a platform with FMSPC {fmspc}", quote.header.version));

        let fault = |what: String| Fault::new("collateral", what);
        let collateral = terms
            .collateral
            .ok_or_else(|| fault(format!("there is none for FMSPC {fmspc} ({authority} CA)")))?;
        let (from, until) = (when::written(collateral.from()), when::written(collateral.until()));
        if collateral.kind() != Kind::Tdx {
            return Err(fault("it is for SGX".to_owned()));
        }
        if collateral.fmspc() != fmspc {
            return Err(fault(format!("it is for FMSPC {}, the platform has {fmspc}", collateral.fmspc())));
        }
        if terms.now < collateral.from() || terms.now >= collateral.until() {
            return Err(fault(format!("it is valid from {from} until {until}")));
        }
        steps.held("collateral", format!("for FMSPC {fmspc}, from {from} until {until}"));

        let now = when::seconds(terms.now).unwrap_or_default();
        let verifier = QuoteVerifier::new(terms.root.der().to_vec());
        // The platform's status is judged by our own policy.
        let any = QuotePolicy::claims_only(now);
        let claims = verifier
            .verify_with_policy(&bytes[..length], &collateral.parts, now, &any)
            .map_err(|why| Fault::new("signatures", format!("{why:#}")))?;
        steps.held(
            "signatures",
            "quote, quoting enclave, platform and collateral, up to the root; no debugging",
        );
        let report =
            *claims.report.as_td10().ok_or_else(|| Fault::new("quote", "it is of no TDX machine"))?;

        let status = claims.tcb.status;
        let told = match claims.tcb.advisory_ids.is_empty() {
            true => status.to_string(),
            false => format!("{status} ({})", claims.tcb.advisory_ids.join(", ")),
        };
        match terms.policy.takes(status, false) {
            Ok(()) => steps.held("tcb", told),
            Err(needed) if needed.is_empty() => {
                return Err(Fault::new("tcb", format!("{told}: never taken")));
            }
            Err(needed) => {
                return Err(Fault::new("tcb", format!("{told}: not taken without {}", needed.join(" and "))));
            }
        }
        let expires = UNIX_EPOCH.checked_add(Duration::from_secs(claims.earliest_expiration_date));
        let until = expires.unwrap_or(UNIX_EPOCH).min(collateral.until());
        Ok(Self { report, status, until })
    }

    /// As measurements files number them.
    fn registers(&self) -> BTreeMap<u8, Vec<u8>> {
        let report = &self.report;
        [report.mr_td, report.rt_mr0, report.rt_mr1, report.rt_mr2, report.rt_mr3]
            .into_iter()
            .zip(0..)
            .map(|(value, register)| (register, value.to_vec()))
            .collect()
    }

    fn measured(
        &self,
        platform: Platform,
        registers: &BTreeMap<u8, Vec<u8>>,
        terms: &Terms<'_>,
        steps: &mut Steps,
    ) -> Result<Attested, Fault> {
        let (met, comparison) = terms.expected.compare(platform, registers);
        let Some(met) = met else {
            return Err(Fault::new("measurements", comparison.differ.join("; ")));
        };
        steps.held("measurements", format!("those of {met}"));
        let mut warnings = terms.session.warnings();
        if self.status != TcbStatus::UpToDate {
            warnings.push(format!("the platform is {}", self.status));
        }
        Ok(Attested {
            kind: Kind::Tdx,
            steps: Steps::default(),
            measured: comparison.measured,
            tcb_status: Some(self.status.to_string()),
            warnings,
            until: self.until,
        })
    }
}

/// A quote and its length. Linux gives it out with zeros behind it.
fn parsed(bytes: &[u8]) -> Result<(Quote, usize), String> {
    if bytes.len() > MAX_QUOTE {
        return Err(format!("it is longer than {MAX_QUOTE} bytes"));
    }
    let quote = Quote::parse(bytes).map_err(|why| format!("it can't be read: {why:#}"))?;
    let AuthData::V4(auth) = &quote.auth_data else {
        return Err(format!("version {}, or not of TDX", quote.header.version));
    };
    let kind = auth.certification_data.cert_type;
    if kind != QE_REPORT {
        return Err(format!(
            "certification data of type {kind}, {QE_REPORT} (a quoting enclave's report) is expected"
        ));
    }
    if quote.report.as_td10().is_none() {
        return Err("it is not of TDX".to_owned());
    }
    let signed = quote.signed_length();
    let told = bytes.get(signed..signed + 4).and_then(|told| <[u8; 4]>::try_from(told).ok());
    let length =
        told.and_then(|told| usize::try_from(u32::from_le_bytes(told)).ok()?.checked_add(signed + 4));
    let rest = length.and_then(|length| bytes.get(length..));
    // The reader passes over what follows the parts that it knows.
    let outer =
        384 + 64 + 2 + auth.qe_report_data.qe_auth_data.data.len() + 2 + 4 + quote.inner_cert_data().len();
    let whole = auth.certification_data.body.data.len() == outer
        && length == Some(signed + 4 + 64 + 64 + 2 + 4 + outer);
    match (length, rest) {
        (Some(length), Some(rest)) if whole && rest.iter().all(|byte| *byte == 0) => Ok((quote, length)),
        _ => Err("it is cut short, or something follows it".to_owned()),
    }
}

fn platform_of(quote: &Quote) -> Result<(Fmspc, &'static str), String> {
    let bad = |why| format!("the platform's certificate can't be read: {why}");
    let chain = intel::extract_cert_chain(quote).map_err(|why| bad(format!("{why:#}")))?;
    let leaf = chain.first().ok_or_else(|| bad("there is none".to_owned()))?;
    let extension = intel::parse_pck_extension(leaf).map_err(|why| bad(format!("{why:#}")))?;
    let authority = intel::pck_ca(leaf).map_err(|why| bad(format!("{why:#}")))?;
    Ok((Fmspc(extension.fmspc), authority.as_id_str()))
}
