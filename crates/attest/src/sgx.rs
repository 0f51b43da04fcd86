//! An SGX enclave behind Gramine's RA-TLS: [`Evidence::of_certificate`] reads what the server shows, [`Evidence::verify`] says whether it is
//! the enclave that was expected, on a platform that Intel vouches for.
//!
//! A word for each step, in order: `certificate` (it can be read), `evidence` (there is a quote in it), `quote` (its form), `key` (it speaks
//! for the certificate's key), `enclave`, `attributes`, `collateral` (there is some for the platform, and it is fresh), `signatures` (of
//! collateral, platform, quoting enclave and quote, up to Intel's root; nothing revoked) and `tcb` (the platform's status is taken).

mod policy;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dcap_qvl::quote::{AuthData, EnclaveReport, Quote, Report};
use dcap_qvl::verify::QuoteVerifier;
use dcap_qvl::{QuoteClaims, QuotePolicy, intel};
use rustls_pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

use crate::collateral::{Collateral, Fmspc};
use crate::gramine::{self, RaTls, sha256};
use crate::uri::MrEnclave;
use crate::{Attested, Kind, Measured, Refusal, Steps, pem, when};

pub use policy::Policy;

/// The largest quote that is read, in bytes; one has about 5,000.
const MAX_QUOTE: usize = 64 * 1024;
/// The certification data is a chain of certificates in PEM.
const PCK_CHAIN: u16 = 5;

/// Flags of an enclave.
const INIT: u64 = 0x01;
const DEBUG: u64 = 0x02;
const MODE64: u64 = 0x04;
const PROVISION_KEY: u64 = 0x10;
const EINITTOKEN_KEY: u64 = 0x20;

/// Whom quotes and collateral have to come from in the end: a certificate, DER.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root(Vec<u8>);

impl Root {
    /// Intel's SGX Root CA.
    #[must_use]
    pub fn intel() -> Self {
        Self(include_bytes!("sgx/intel_sgx_root_ca.der").to_vec())
    }

    pub(crate) fn der(&self) -> &[u8] {
        &self.0
    }

    /// Another, for tests and evidence of test platforms.
    #[must_use]
    pub fn of_der(certificate: Vec<u8>) -> Self {
        Self(certificate)
    }

    /// Another from a file: a certificate, DER or PEM.
    ///
    /// # Errors
    /// It is none.
    pub fn read(file: &[u8]) -> Result<Self, String> {
        let root = pem::certificate(file)?;
        Certificate::from_der(&root).map_err(|why| format!("not an X.509 certificate: {why}"))?;
        Ok(Self(root))
    }
}

/// What evidence is held against.
#[derive(Clone, Debug)]
pub struct Terms<'a> {
    /// The enclave that it is to be.
    pub enclave: MrEnclave,
    /// Whom to trust.
    pub root: &'a Root,
    /// What Intel says of the platform; nothing: refused.
    pub collateral: Option<&'a Collateral>,
    /// What is allowed.
    pub policy: Policy,
    /// The time of day.
    pub now: SystemTime,
}

/// A platform, by its certificate: which collateral is for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Platform {
    /// Its kind.
    pub fmspc: Fmspc,
    /// The authority of Intel's that certified it, as Intel's service calls it: `platform` or `processor`.
    pub authority: &'static str,
}

/// Evidence that could be read; nothing of it has been verified but its form and whom it speaks for.
#[derive(Clone, Debug)]
pub struct Evidence {
    steps: Steps,
    quote: Vec<u8>,
    report: EnclaveReport,
    platform: Platform,
    key: Option<Vec<u8>>,
    bound: bool,
}

impl Evidence {
    /// Reads the certificate that an RA-TLS server shows (DER).
    ///
    /// # Errors
    /// `certificate`, `evidence`, `quote`, `key`.
    pub fn of_certificate(der: &[u8]) -> Result<Self, Refusal> {
        let mut steps = Steps::default();
        let RaTls { quote, key, bound, bound_to } = gramine::read(der, &mut steps)?;
        let mut read = Self::read(quote, steps)?;
        if read.report.report_data[..32] != bound {
            return Err(read
                .refused("key", format!("the quote is bound to another {bound_to} than the certificate's")));
        }
        read.bound = true;
        read.key = Some(key);
        read.steps.held("key", format!("the quote is bound to the certificate's {bound_to}"));
        Ok(read)
    }

    /// Reads a bare quote, which nothing binds to a key yet.
    ///
    /// # Errors
    /// `quote`.
    pub fn of_quote(quote: &[u8]) -> Result<Self, Refusal> {
        Self::read(quote.to_vec(), Steps::default())
    }

    /// Reads a file: the certificate of an RA-TLS server, DER or PEM, or a bare quote.
    ///
    /// # Errors
    /// As [`Evidence::of_certificate`] and [`Evidence::of_quote`].
    pub fn read_file(file: &[u8]) -> Result<Self, Refusal> {
        // A quote begins with its version.
        if file.starts_with(&[3, 0]) {
            return Self::of_quote(file);
        }
        match pem::certificate(file) {
            Ok(der) => Self::of_certificate(&der),
            Err(why) => Err(Refusal::new(Steps::default(), "certificate", why)),
        }
    }

    /// Demands that the evidence speaks for this public key (SubjectPublicKeyInfo, DER): the one that the peer of a connection has proved to hold.
    ///
    /// # Errors
    /// `key`.
    pub fn for_key(mut self, spki: &[u8]) -> Result<Self, Refusal> {
        let same = match &self.key {
            Some(key) => key == spki,
            None => self.report.report_data[..32] == sha256(spki),
        };
        if !same {
            return Err(self.refused("key", "the evidence is for another key than the connection's"));
        }
        self.bound = true;
        self.steps.held("key", "the evidence is for the connection's key");
        Ok(self)
    }

    /// Where it comes from, for the collateral.
    #[must_use]
    pub fn platform(&self) -> Platform {
        self.platform
    }

    /// As [`Evidence::platform`], once its certificate has been verified up to `root` at `now`: of others no collateral is worth asking for.
    ///
    /// # Errors
    /// `platform`.
    pub fn certified_platform(&self, root: &Root, now: SystemTime) -> Result<Platform, Refusal> {
        let certified = Quote::parse(&self.quote)
            .map_err(|why| format!("{why:#}"))
            .and_then(|quote| certified(&quote, root, now));
        certified.map(|()| self.platform).map_err(|why| self.refused("platform", why))
    }

    /// The enclave that it says it is.
    #[must_use]
    pub fn enclave(&self) -> MrEnclave {
        MrEnclave(self.report.mr_enclave)
    }

    fn read(bytes: Vec<u8>, mut steps: Steps) -> Result<Self, Refusal> {
        let (quote, report) = match parsed(&bytes) {
            Ok(parsed) => parsed,
            Err(why) => return Err(Refusal::new(steps, "quote", why)),
        };
        let platform = match platform(&quote) {
            Ok(platform) => platform,
            Err(why) => return Err(Refusal::new(steps, "quote", why)),
        };
        steps.held("quote", format!("version 3, of a platform with FMSPC {}", platform.fmspc));
        Ok(Self { steps, quote: bytes, report, platform, key: None, bound: false })
    }

    /// Whether it holds.
    ///
    /// # Errors
    /// `enclave`, `attributes`, `collateral`, `signatures`, `tcb`.
    pub fn verify(mut self, terms: &Terms<'_>) -> Result<Attested, Refusal> {
        let mut warnings = Vec::new();
        if !self.bound {
            warnings.push("no key was given: nothing says whom the quote speaks for".to_owned());
        }
        if self.enclave() != terms.enclave {
            let reason = format!("MRENCLAVE is {}, expected {}", self.enclave(), terms.enclave);
            return Err(self.refused("enclave", reason));
        }
        self.steps.held("enclave", format!("MRENCLAVE {}", terms.enclave));
        self.attributes(terms.policy, &mut warnings)?;
        let (collateral, expired) = self.collateral(terms, &mut warnings)?;
        let claims = self.signatures(collateral, expired, terms)?;
        let status = claims.tcb.status;
        let told = match claims.tcb.advisory_ids.is_empty() {
            true => status.to_string(),
            false => format!("{status} ({})", claims.tcb.advisory_ids.join(", ")),
        };
        match terms.policy.takes(status, expired) {
            Ok(()) => self.steps.held("tcb", told.clone()),
            Err(needed) if needed.is_empty() => {
                return Err(self.refused("tcb", format!("{told}: never taken")));
            }
            Err(needed) => {
                let reason = format!("{told}: not taken without {}", needed.join(" and "));
                return Err(self.refused("tcb", reason));
            }
        }
        if status != dcap_qvl::TcbStatus::UpToDate {
            warnings.push(format!("the platform is {told}"));
        }
        let until = match expired {
            true => terms.now,
            false => at(claims.earliest_expiration_date).min(collateral.until()),
        };
        let measured = measured(&self.report, terms.enclave);
        let tcb_status = Some(status.to_string());
        Ok(Attested { kind: Kind::Sgx, steps: self.steps, measured, tcb_status, warnings, until })
    }

    fn attributes(&mut self, policy: Policy, warnings: &mut Vec<String>) -> Result<(), Refusal> {
        let [flags @ .., _, _, _, _, _, _, _, _] = self.report.attributes;
        let flags = u64::from_le_bytes(flags);
        let reason = if flags & INIT == 0 {
            "the enclave is not initialised (INIT)"
        } else if flags & MODE64 == 0 {
            "the enclave is not of 64 bits (MODE64)"
        } else if flags & PROVISION_KEY != 0 {
            "the enclave may get provisioning keys (PROVISION_KEY)"
        } else if flags & EINITTOKEN_KEY != 0 {
            "the enclave may get launch keys (EINITTOKEN_KEY)"
        } else if flags & DEBUG != 0 && !policy.debug_enclave {
            "a debug enclave: its owner reads its memory; not taken without RA_TLS_ALLOW_DEBUG_ENCLAVE_INSECURE"
        } else {
            if flags & DEBUG != 0 {
                warnings.push("a debug enclave: its owner reads its memory".to_owned());
            }
            self.steps.held("attributes", format!("{flags:#x}"));
            return Ok(());
        };
        Err(self.refused("attributes", reason))
    }

    /// The collateral, if it is for this platform, and whether it has expired.
    fn collateral<'a>(
        &mut self,
        terms: &Terms<'a>,
        warnings: &mut Vec<String>,
    ) -> Result<(&'a Collateral, bool), Refusal> {
        let Platform { fmspc, authority } = self.platform;
        let Some(collateral) = terms.collateral else {
            return Err(
                self.refused("collateral", format!("there is none for FMSPC {fmspc} ({authority} CA)"))
            );
        };
        let (from, until) = (when::written(collateral.from()), when::written(collateral.until()));
        if collateral.kind() != Kind::Sgx {
            return Err(self.refused("collateral", "it is for TDX"));
        }
        if collateral.fmspc() != fmspc {
            let reason = format!("it is for FMSPC {}, the platform has {fmspc}", collateral.fmspc());
            return Err(self.refused("collateral", reason));
        }
        if terms.now < collateral.from() {
            return Err(self.refused("collateral", format!("not valid before {from}")));
        }
        let expired = terms.now >= collateral.until();
        if expired && !terms.policy.outdated_tcb {
            return Err(self.refused("collateral", format!("expired on {until}")));
        }
        if expired {
            warnings.push(format!("the collateral expired on {until}"));
        }
        self.steps.held("collateral", format!("for FMSPC {fmspc}, from {from} until {until}"));
        Ok((collateral, expired))
    }

    fn signatures(
        &mut self,
        collateral: &Collateral,
        expired: bool,
        terms: &Terms<'_>,
    ) -> Result<QuoteClaims, Refusal> {
        // What has expired is judged as of its last second.
        let now = if expired { collateral.until() - Duration::from_secs(1) } else { terms.now };
        let now = when::seconds(now).unwrap_or_default();
        let verifier = QuoteVerifier::new(terms.root.0.clone()).allow_debug(terms.policy.debug_enclave);
        // The platform's status is judged by our own policy.
        let any = QuotePolicy::claims_only(now);
        match verifier.verify_with_policy(&self.quote, &collateral.parts, now, &any) {
            Ok(claims) => {
                self.steps
                    .held("signatures", "quote, quoting enclave, platform and collateral, up to the root");
                Ok(claims)
            }
            Err(why) => Err(self.refused("signatures", format!("{why:#}"))),
        }
    }

    fn refused(&self, step: &'static str, reason: impl Into<String>) -> Refusal {
        Refusal::new(self.steps.clone(), step, reason)
    }
}

fn parsed(bytes: &[u8]) -> Result<(Quote, EnclaveReport), String> {
    if bytes.len() > MAX_QUOTE {
        return Err(format!("longer than {MAX_QUOTE} bytes"));
    }
    let quote = Quote::parse(bytes).map_err(|why| format!("can't be read: {why:#}"))?;
    let (Report::SgxEnclave(report), AuthData::V3(auth)) = (&quote.report, &quote.auth_data) else {
        return Err(format!("version {} instead of 3, or not of SGX", quote.header.version));
    };
    // The reader passes over what follows the parts it knows.
    let certification = auth.certification_data.body.data.len();
    let signed = quote.signed_length() + 4;
    let length = signed + 64 + 64 + 384 + 64 + 2 + auth.qe_auth_data.data.len() + 2 + 4 + certification;
    let told =
        bytes.get(signed - 4..signed).and_then(|told| <[u8; 4]>::try_from(told).ok()).map(u32::from_le_bytes);
    if bytes.len() != length || told.and_then(|told| usize::try_from(told).ok()) != Some(length - signed) {
        return Err(format!("has {} bytes where its parts have {length}", bytes.len()));
    }
    if auth.certification_data.cert_type != PCK_CHAIN {
        let found = auth.certification_data.cert_type;
        return Err(format!(
            "certification data of type {found}, only {PCK_CHAIN} (the platform's certificates) is read"
        ));
    }
    let report = *report;
    Ok((quote, report))
}

fn platform(quote: &Quote) -> Result<Platform, String> {
    let bad = |why| format!("the platform's certificate can't be read: {why}");
    let chain = intel::extract_cert_chain(quote).map_err(|why| bad(format!("{why:#}")))?;
    let leaf = chain.first().ok_or_else(|| bad("there is none".to_owned()))?;
    let extension = intel::parse_pck_extension(leaf).map_err(|why| bad(format!("{why:#}")))?;
    let authority = intel::pck_ca(leaf).map_err(|why| bad(format!("{why:#}")))?;
    Ok(Platform { fmspc: Fmspc(extension.fmspc), authority: authority.as_id_str() })
}

/// Whether the platform's certificate holds up to `root`, but for lists of revoked ones.
pub(crate) fn certified(quote: &Quote, root: &Root, now: SystemTime) -> Result<(), String> {
    let chain = intel::extract_cert_chain(quote)
        .map_err(|why| format!("the platform's certificate can't be read: {why:#}"))?;
    let chain: Vec<CertificateDer<'_>> = chain.into_iter().map(CertificateDer::from).collect();
    crate::intel::certified(&chain, root, now).map_err(|why| format!("the platform's certificate: {why}"))
}

fn measured(report: &EnclaveReport, expected: MrEnclave) -> Vec<Measured> {
    let shown = |name: &str, value: String| Measured {
        name: name.to_owned(),
        value: Some(value),
        expected: None,
        warn_only: false,
    };
    let enclave = MrEnclave(report.mr_enclave).to_string();
    vec![
        Measured { expected: Some(expected.to_string()), ..shown("MRENCLAVE", enclave) },
        shown("MRSIGNER", const_hex::encode(report.mr_signer)),
        shown("ISVPRODID", const_hex::encode(report.isv_prod_id.to_be_bytes())),
        shown("ISVSVN", const_hex::encode(report.isv_svn.to_be_bytes())),
    ]
}

/// A moment told in seconds since 1970.
fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).unwrap_or(UNIX_EPOCH)
}
