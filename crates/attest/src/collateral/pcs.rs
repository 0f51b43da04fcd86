//! The service that has collateral: Intel's PCS, or a PCCS, which keeps copies of it in one's own network. Version 4 of their interface.
//!
//! What to ask, and what the answers mean; the asking is the shell's.

use dcap_qvl::QuoteCollateralV3;
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::value::RawValue;
use url::Url;

use super::{BadCollateral, Collateral};
use crate::Kind;
use crate::sgx::Platform;

/// Intel's own service.
pub const INTEL: &str = "https://api.trustedservices.intel.com/sgx/certification/v4/";
/// Where Intel has the one list that its service lacks.
const INTEL_ROOT_CRL: &str = "https://certificates.trustedservices.intel.com/IntelSGXRootCA.der";

/// Where it is in a service's path, for SGX and what is common to both, and for TDX.
const SGX: &str = "/sgx/certification/v4/";
const TDX: &str = "/tdx/certification/v4/";

/// What is asked for one platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Questions {
    /// The root's list of revoked certificates.
    pub root_crl: Url,
    /// That of the authority which certified the platform.
    pub pck_crl: Url,
    /// The status of its TCB levels.
    pub tcb_info: Url,
    /// The quoting enclave's identity.
    pub qe_identity: Url,
}

/// A service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service(Url);

impl Service {
    /// One by its URL, with or without `/sgx/certification/v4` behind it.
    ///
    /// # Errors
    /// No URL of `http` or `https`; user, password, query or fragment in it.
    pub fn new(url: &str) -> Result<Self, String> {
        let mut url = Url::parse(url).map_err(|why| format!("not a URL: {why}"))?;
        let plain = url.username().is_empty() && url.password().is_none();
        if !matches!(url.scheme(), "http" | "https")
            || !plain
            || url.query().is_some()
            || url.fragment().is_some()
        {
            return Err("write a URL of http or https with nothing but host, port and path".to_owned());
        }
        let path = url.path().trim_end_matches('/').trim_end_matches("/sgx/certification/v4").to_owned();
        url.set_path(&format!("{path}{SGX}"));
        Ok(Self(url))
    }

    /// What to ask it: for TDX some of it is elsewhere.
    #[must_use]
    pub fn questions(&self, kind: Kind, platform: Platform) -> Questions {
        let ask_at = |base: &str, path: &str, query: &str| {
            let mut url = self.0.clone();
            url.set_path(&format!("{base}{path}"));
            url.set_query((!query.is_empty()).then_some(query));
            url
        };
        let ask = |path: &str, query: &str| ask_at(self.0.path(), path, query);
        let front = self.0.path().strip_suffix(SGX).unwrap_or_default();
        let own = match kind {
            Kind::Tdx => format!("{front}{TDX}"),
            Kind::Sgx | Kind::Sev => self.0.path().to_owned(),
        };
        let intel = Url::parse(INTEL).ok().is_some_and(|intel| intel.host() == self.0.host());
        let root_crl = intel.then(|| Url::parse(INTEL_ROOT_CRL).ok()).flatten();
        Questions {
            root_crl: root_crl.unwrap_or_else(|| ask("rootcacrl", "")),
            pck_crl: ask("pckcrl", &format!("ca={}&encoding=der", platform.authority)),
            tcb_info: ask_at(&own, "tcb", &format!("fmspc={}", platform.fmspc)),
            qe_identity: ask_at(&own, "qe/identity", ""),
        }
    }
}

/// The body of an answer, and the chain of certificates in its header (none where there is no such header).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// As it came.
    pub body: Vec<u8>,
    /// `SGX-PCK-CRL-Issuer-Chain`, `TCB-Info-Issuer-Chain` or `SGX-Enclave-Identity-Issuer-Chain`, as it came (percent-encoded PEM).
    pub chain: String,
}

/// The answers to [`Questions`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// To the question of that name.
    pub root_crl: Answer,
    /// To the question of that name.
    pub pck_crl: Answer,
    /// To the question of that name.
    pub tcb_info: Answer,
    /// To the question of that name.
    pub qe_identity: Answer,
}

#[derive(Deserialize)]
struct Signed<'a> {
    /// What is signed, byte for byte.
    #[serde(borrow, alias = "tcbInfo", alias = "enclaveIdentity")]
    content: &'a RawValue,
    signature: &'a str,
}

impl Answers {
    /// Puts them together.
    ///
    /// # Errors
    /// Says which answer can't be read.
    pub fn collateral(&self) -> Result<Collateral, BadCollateral> {
        let (tcb_info, tcb_info_signature) = signed(&self.tcb_info.body, "tcb")?;
        let (qe_identity, qe_identity_signature) = signed(&self.qe_identity.body, "qe/identity")?;
        Collateral::new(QuoteCollateralV3 {
            pck_crl_issuer_chain: chain(&self.pck_crl, "pckcrl")?,
            root_ca_crl: list(&self.root_crl.body),
            pck_crl: list(&self.pck_crl.body),
            tcb_info_issuer_chain: chain(&self.tcb_info, "tcb")?,
            tcb_info,
            tcb_info_signature,
            qe_identity_issuer_chain: chain(&self.qe_identity, "qe/identity")?,
            qe_identity,
            qe_identity_signature,
            pck_certificate_chain: None,
        })
    }
}

fn signed(body: &[u8], name: &str) -> Result<(String, Vec<u8>), BadCollateral> {
    let Signed { content, signature } =
        serde_json::from_slice(body).map_err(|why| BadCollateral(format!("answer to {name}: {why}")))?;
    let signature = const_hex::decode(signature)
        .map_err(|_| BadCollateral(format!("answer to {name}: its signature is not in hex")))?;
    Ok((content.get().to_owned(), signature))
}

fn chain(answer: &Answer, name: &str) -> Result<String, BadCollateral> {
    let chain = percent_decode_str(&answer.chain).decode_utf8();
    let chain = chain.ok().filter(|chain| chain.contains("-----BEGIN CERTIFICATE-----"));
    chain
        .map(Into::into)
        .ok_or_else(|| BadCollateral(format!("answer to {name}: no chain of certificates in its header")))
}

/// A PCCS sends the root's list in hex.
fn list(body: &[u8]) -> Vec<u8> {
    match body.starts_with(b"30") {
        true => const_hex::decode(body.trim_ascii()).unwrap_or_else(|_| body.to_vec()),
        false => body.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    use serde_json::Value;

    use super::super::Fmspc;
    use super::*;

    const JSON: &[u8] = include_bytes!("../../tests/vectors/sgx/sgx_quote_collateral.json");
    const PLATFORM: Platform = Platform { fmspc: Fmspc([0, 0xa0, 0x67, 0x11, 0, 0]), authority: "platform" };

    /// The published collateral as a service would send it.
    fn answers(hex: bool) -> Answers {
        let json: Value = serde_json::from_slice(JSON).unwrap();
        let text = |name: &str| json[name].as_str().unwrap();
        let chain = |name: &str| utf8_percent_encode(text(name), NON_ALPHANUMERIC).to_string();
        let signed = |key: &str, name: &str| {
            format!(r#"{{"{key}":{},"signature":"{}"}}"#, text(name), text(&format!("{name}_signature")))
                .into_bytes()
        };
        let der = |name: &str| const_hex::decode(text(name)).unwrap();
        let root = if hex { format!("{}\n", text("root_ca_crl")).into_bytes() } else { der("root_ca_crl") };
        Answers {
            root_crl: Answer { body: root, chain: String::new() },
            pck_crl: Answer { body: der("pck_crl"), chain: chain("pck_crl_issuer_chain") },
            tcb_info: Answer { body: signed("tcbInfo", "tcb_info"), chain: chain("tcb_info_issuer_chain") },
            qe_identity: Answer {
                body: signed("enclaveIdentity", "qe_identity"),
                chain: chain("qe_identity_issuer_chain"),
            },
        }
    }

    #[test]
    fn answers_are_the_collateral_that_a_file_has() {
        let file = Collateral::from_json(JSON).unwrap();
        assert_eq!(answers(false).collateral().unwrap(), file);
        assert_eq!(answers(true).collateral().unwrap(), file);
    }

    #[test]
    fn an_answer_that_can_not_be_read_is_told() {
        let good = answers(false);
        let none = Answer::default();
        for (answers, part) in [
            (Answers { root_crl: none.clone(), ..good.clone() }, "root_ca_crl"),
            (Answers { pck_crl: none.clone(), ..good.clone() }, "pckcrl: no chain"),
            (Answers { tcb_info: none.clone(), ..good.clone() }, "answer to tcb: "),
            (Answers { qe_identity: none, ..good.clone() }, "answer to qe/identity: "),
        ] {
            let why = answers.collateral().unwrap_err().to_string();
            assert!(why.contains(part), "{why}");
        }
        let mut bare = good;
        bare.tcb_info.chain = "none".to_owned();
        assert!(bare.collateral().unwrap_err().to_string().contains("tcb: no chain"));
    }

    #[test]
    fn a_service_is_asked_by_its_own_paths() {
        let v4 = "https://pccs.local:8081/sgx/certification/v4";
        for url in ["https://pccs.local:8081", "https://pccs.local:8081/", v4, &format!("{v4}/")] {
            let service = Service::new(url).unwrap();
            let questions = service.questions(Kind::Sgx, PLATFORM);
            assert_eq!(questions.root_crl.as_str(), format!("{v4}/rootcacrl"));
            assert_eq!(questions.pck_crl.as_str(), format!("{v4}/pckcrl?ca=platform&encoding=der"));
            assert_eq!(questions.tcb_info.as_str(), format!("{v4}/tcb?fmspc=00A067110000"));
            assert_eq!(questions.qe_identity.as_str(), format!("{v4}/qe/identity"));
            let tdx = "https://pccs.local:8081/tdx/certification/v4";
            let of_tdx = service.questions(Kind::Tdx, PLATFORM);
            assert_eq!(of_tdx.tcb_info.as_str(), format!("{tdx}/tcb?fmspc=00A067110000"));
            assert_eq!(of_tdx.qe_identity.as_str(), format!("{tdx}/qe/identity"));
            assert_eq!((of_tdx.root_crl, of_tdx.pck_crl), (questions.root_crl, questions.pck_crl));
        }
        let intel = Service::new(INTEL).unwrap().questions(Kind::Sgx, PLATFORM);
        assert_eq!(intel.root_crl.as_str(), INTEL_ROOT_CRL);
        assert_eq!(intel.tcb_info.as_str(), format!("{INTEL}tcb?fmspc=00A067110000"));
        for url in ["", "pccs", "ftp://h", "https://me@h", "https://:secret@h", "https://h?x", "https://h#x"]
        {
            assert!(Service::new(url).is_err(), "{url}");
        }
    }
}
