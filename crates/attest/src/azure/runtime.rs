//! The runtime data of Azure's paravisor: JSON whose hash the chip's report holds, and which holds the attestation key of the virtual TPM.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use crate::Steps;
use crate::checks::{Fault, sha256};
use crate::tpm::AttestationKey;

/// The name of the key in it.
const NAME: &str = "HCLAkPub";

#[derive(Deserialize)]
struct RuntimeData {
    keys: Vec<Key>,
}

#[derive(Deserialize)]
struct Key {
    kid: String,
    #[serde(default)]
    kty: String,
    #[serde(default)]
    n: String,
    #[serde(default)]
    e: String,
}

/// The attestation key of a document, once it is the one that a report with `report_data` speaks for.
pub(crate) fn bound_key(
    runtime_data: &[u8],
    report_data: &[u8; 64],
    public: &[u8],
    steps: &mut Steps,
) -> Result<AttestationKey, Fault> {
    let hash = sha256(&[runtime_data]);
    if report_data[..32] != *hash.as_ref() {
        return Err(Fault::new(
            "runtime data",
            format!(
                "the report speaks for runtime data that hash to {}, those of the document to {}",
                const_hex::encode(&report_data[..32]),
                const_hex::encode(hash)
            ),
        ));
    }
    steps.held("runtime data", "the report holds their hash");
    let fault = |what: String| Fault::new("attestation key", what);
    let key = AttestationKey::parse(public).map_err(|why| fault(why.to_string()))?;
    let data: RuntimeData = serde_json::from_slice(runtime_data)
        .map_err(|why| fault(format!("the runtime data can't be read: {why}")))?;
    let named: Vec<&Key> = data.keys.iter().filter(|key| key.kid == NAME).collect();
    let [spoken_for] = named[..] else {
        return Err(fault(format!("the runtime data have {} keys {NAME}, one is expected", named.len())));
    };
    if !spoken_for.is(&key) {
        return Err(fault(format!("the attestation key isn't {NAME} of the runtime data")));
    }
    steps.held("attestation key", format!("it is {NAME} of the runtime data"));
    Ok(key)
}

impl Key {
    fn is(&self, key: &AttestationKey) -> bool {
        let number = |text: &str| {
            let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
            let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
            Some(bytes[zeros..].to_vec())
        };
        let (Some(modulus), Some(exponent)) = (number(&self.n), number(&self.e)) else { return false };
        let own = key.rsa().map(|(modulus, exponent)| {
            let bytes = exponent.to_be_bytes();
            let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
            (modulus.to_vec(), bytes[zeros..].to_vec())
        });
        self.kty == "RSA" && !modulus.is_empty() && own == Some((modulus, exponent))
    }
}
