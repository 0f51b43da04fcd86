//! What Intel says of its platforms: status of their TCB levels, identity of the quoting enclave, revoked certificates.
//!
//! A quote can be judged only beside it, and it expires after 30 days. It doesn't come with the evidence: it is fetched ahead of time, or
//! read from a file. [`pcs`] says what to ask of whom, [`shelf`] when.

pub mod pcs;
pub mod shelf;

use std::error::Error;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dcap_qvl::QuoteCollateralV3;
use serde::Deserialize;
use x509_cert::certificate::Rfc5280;
use x509_cert::crl::CertificateList;
use x509_cert::der::Decode as _;

use crate::intel::Signer;
use crate::sgx::Root;
use crate::{Kind, when};

/// The largest collateral that is read, in bytes; it has about 15,000.
pub const MAX_COLLATERAL: usize = 1024 * 1024;

/// A platform's family, model, stepping and packages: what Intel publishes collateral for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fmspc(pub [u8; 6]);

impl fmt::Display for Fmspc {
    /// As Intel writes it: 12 hex digits in capitals.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&const_hex::encode_upper(self.0))
    }
}

impl fmt::Debug for Fmspc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fmspc({self})")
    }
}

/// Why collateral can't be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadCollateral(String);

impl fmt::Display for BadCollateral {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "collateral: {}", self.0)
    }
}

impl Error for BadCollateral {}

/// Collateral of one kind of platform. What it says is believed only once its signatures have been verified, beside a quote.
#[derive(Clone, PartialEq, Eq)]
pub struct Collateral {
    pub(crate) parts: QuoteCollateralV3,
    kind: Kind,
    fmspc: Fmspc,
    from: SystemTime,
    until: SystemTime,
}

/// What is read of TCB info and of the quoting enclave's identity before they are verified.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Dated {
    id: String,
    #[serde(default)]
    fmspc: String,
    issue_date: String,
    next_update: String,
}

impl Collateral {
    /// Reads JSON with the fields of Intel's `sgx_ql_qve_collateral_t` (`tcb_info`, `root_ca_crl`, …; bytes in hex), as dcap-qvl writes it.
    ///
    /// # Errors
    /// Says which part is missing or can't be read.
    pub fn from_json(json: &[u8]) -> Result<Self, BadCollateral> {
        if json.len() > MAX_COLLATERAL {
            return Err(BadCollateral(format!("longer than {MAX_COLLATERAL} bytes")));
        }
        let parts = serde_json::from_slice(json).map_err(|why| BadCollateral(why.to_string()))?;
        Self::new(parts)
    }

    fn new(mut parts: QuoteCollateralV3) -> Result<Self, BadCollateral> {
        // A chain beside the quote's own would be taken in its place, and the platform is read from the quote's.
        parts.pck_certificate_chain = None;
        let info = dated(&parts.tcb_info, "tcb_info")?;
        let identity = dated(&parts.qe_identity, "qe_identity")?;
        let kind = match info.id.as_str() {
            "SGX" => Kind::Sgx,
            "TDX" => Kind::Tdx,
            other => return Err(BadCollateral(format!("tcb_info is for {other:?}, neither SGX nor TDX"))),
        };
        let mut fmspc = [0; 6];
        const_hex::decode_to_slice(&info.fmspc, &mut fmspc)
            .map_err(|_| BadCollateral("tcb_info has no fmspc of 12 hex digits".to_owned()))?;
        let mut dates = vec![
            (date(&info.issue_date, "tcb_info")?, date(&info.next_update, "tcb_info")?),
            (date(&identity.issue_date, "qe_identity")?, date(&identity.next_update, "qe_identity")?),
        ];
        for (crl, name) in [(&parts.root_ca_crl, "root_ca_crl"), (&parts.pck_crl, "pck_crl")] {
            dates.push(listed(crl, name)?);
        }
        let from = dates.iter().map(|(from, _)| *from).max().unwrap_or(UNIX_EPOCH);
        let until = dates.iter().map(|(_, until)| *until).min().unwrap_or(UNIX_EPOCH);
        if from >= until {
            return Err(BadCollateral("its parts are never valid at the same time".to_owned()));
        }
        Ok(Self { parts, kind, fmspc: Fmspc(fmspc), from, until })
    }

    /// Demands that Intel (or who else is trusted) has signed all parts, at `now`. A quote is verified beside it all the same: this says only
    /// that it may be kept.
    ///
    /// # Errors
    /// Says which part isn't signed, or by somebody else.
    pub fn signed_under(&self, root: &Root, now: SystemTime) -> Result<(), BadCollateral> {
        let parts = &self.parts;
        let bad = |name: &'static str| move |why: String| BadCollateral(format!("{name}: {why}"));
        for (name, chain, text, signature) in [
            ("tcb_info", &parts.tcb_info_issuer_chain, &parts.tcb_info, &parts.tcb_info_signature),
            (
                "qe_identity",
                &parts.qe_identity_issuer_chain,
                &parts.qe_identity,
                &parts.qe_identity_signature,
            ),
        ] {
            let signer = Signer::of_chain(chain.as_bytes(), root, now).map_err(bad(name))?;
            signer.signed(text.as_bytes(), signature).map_err(bad(name))?;
        }
        let authority =
            Signer::of_authority(parts.pck_crl_issuer_chain.as_bytes(), root, now).map_err(bad("pck_crl"))?;
        authority.signed_list(&parts.pck_crl).map_err(bad("pck_crl"))?;
        let root = Signer::of(root.der()).map_err(bad("root_ca_crl"))?;
        root.signed_list(&parts.root_ca_crl).map_err(bad("root_ca_crl"))
    }

    /// Writes it as [`Collateral::from_json`] reads it.
    ///
    /// # Errors
    /// None that is known of.
    pub fn to_json(&self) -> Result<Vec<u8>, BadCollateral> {
        serde_json::to_vec(&self.parts).map_err(|why| BadCollateral(why.to_string()))
    }

    /// Of SGX or of TDX.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whose it is.
    #[must_use]
    pub fn fmspc(&self) -> Fmspc {
        self.fmspc
    }

    /// From when all of its parts are valid.
    #[must_use]
    pub fn from(&self) -> SystemTime {
        self.from
    }

    /// From when one of them isn't any more.
    #[must_use]
    pub fn until(&self) -> SystemTime {
        self.until
    }
}

impl fmt::Debug for Collateral {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collateral")
            .field("kind", &self.kind)
            .field("fmspc", &self.fmspc)
            .field("from", &when::written(self.from))
            .field("until", &when::written(self.until))
            .finish_non_exhaustive()
    }
}

fn dated(json: &str, name: &str) -> Result<Dated, BadCollateral> {
    serde_json::from_str(json).map_err(|why| BadCollateral(format!("{name}: {why}")))
}

fn date(text: &str, name: &str) -> Result<SystemTime, BadCollateral> {
    when::read(text).ok_or_else(|| BadCollateral(format!("{name}: {text:?} is no date")))
}

/// From when until when a list of revoked certificates is valid.
fn listed(der: &[u8], name: &str) -> Result<(SystemTime, SystemTime), BadCollateral> {
    let list = CertificateList::<Rfc5280>::from_der(der)
        .map_err(|why| BadCollateral(format!("{name}: no list of revoked certificates: {why}")))?;
    let at = |since: Duration| UNIX_EPOCH.checked_add(since);
    let from = at(list.tbs_cert_list.this_update.to_unix_duration());
    let until = list.tbs_cert_list.next_update.and_then(|next| at(next.to_unix_duration()));
    from.zip(until).ok_or_else(|| BadCollateral(format!("{name}: doesn't say until when it is valid")))
}
