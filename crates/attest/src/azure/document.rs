//! The JSON of an attestation document, as Go writes and reads it: bytes are base64, keys are matched in any case, null is nothing.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use crate::measurements::PCRS;
use crate::tpm::SHA256;

/// Of the document. Real ones have some 20 KiB without event logs.
const MAX_DOCUMENT: usize = 256 * 1024;
/// Banks of PCRs.
const MAX_QUOTES: usize = 16;

/// What of a document is used.
pub(crate) struct Document {
    /// TPMT_PUBLIC.
    pub(crate) ak_pub: Vec<u8>,
    /// The quote of the SHA-256 bank: TPMS_ATTEST, TPMT_SIGNATURE and the values.
    pub(crate) message: Vec<u8>,
    pub(crate) signature: Vec<u8>,
    pub(crate) pcrs: BTreeMap<u8, [u8; 32]>,
    /// As it was hashed where a dialect does that.
    pub(crate) instance_info: Vec<u8>,
    pub(crate) user_data: Vec<u8>,
}

impl Document {
    pub(crate) fn parse(json: &[u8]) -> Result<Self, String> {
        let document = Object::document(json)?;
        let attestation = document.object("Attestation")?;
        let quote = sha256_quote(&attestation)?;
        Ok(Self {
            ak_pub: attestation.bytes("ak_pub")?,
            message: quote.bytes("quote")?,
            signature: quote.bytes("raw_sig")?,
            pcrs: pcrs(&quote.object("pcrs")?.object("pcrs")?)?,
            instance_info: document.bytes("InstanceInfo")?,
            user_data: document.bytes("UserData")?,
        })
    }
}

/// The one quote of the SHA-256 bank: of two it would be unclear which is meant.
fn sha256_quote(attestation: &Object) -> Result<Object, String> {
    let Some(Value::Array(quotes)) = attestation.member("quotes")? else {
        return Err("it has no quotes".to_owned());
    };
    if quotes.len() > MAX_QUOTES {
        return Err(format!("it has {} quotes, {MAX_QUOTES} is the most", quotes.len()));
    }
    let mut found = None;
    for quote in quotes {
        let quote = Object::of("a quote", quote)?;
        let bank = quote.object("pcrs")?.member("hash")?.and_then(Value::as_u64);
        if bank == Some(u64::from(SHA256)) && found.replace(quote).is_some() {
            return Err("it has two quotes of the SHA-256 bank".to_owned());
        }
    }
    found.ok_or_else(|| "it has no quote of the SHA-256 bank".to_owned())
}

fn pcrs(values: &Object) -> Result<BTreeMap<u8, [u8; 32]>, String> {
    let mut pcrs = BTreeMap::new();
    for (name, value) in &values.members {
        let pcr = name.parse::<u8>().ok().filter(|pcr| *pcr < PCRS && pcr.to_string() == *name);
        let pcr = pcr.ok_or_else(|| "it has a value of a PCR that no TPM has".to_owned())?;
        let value = base64(value).and_then(|bytes| bytes.try_into().ok());
        pcrs.insert(pcr, value.ok_or_else(|| format!("the value of PCR {pcr} isn't base64 of 32 bytes"))?);
    }
    Ok(pcrs)
}

/// What of the instance's data is used.
pub(crate) struct Instance {
    /// Whether it is of the dialect after v2.7.
    pub(crate) newer: bool,
    pub(crate) signer: Vec<u8>,
    pub(crate) chain: Vec<u8>,
    pub(crate) report: Vec<u8>,
    pub(crate) runtime_data: Vec<u8>,
}

impl Instance {
    pub(crate) fn parse(json: &[u8]) -> Result<Self, String> {
        let instance = Object::parse("InstanceInfo", json)?;
        let newer = instance.member("ReportSigner")?.is_some();
        let (signer, azure) =
            if newer { ("ReportSigner", instance.object("Azure")?) } else { ("Vcek", instance.clone()) };
        Ok(Self {
            newer,
            signer: instance.bytes(signer)?,
            chain: instance.bytes("CertChain")?,
            report: instance.bytes("AttestationReport")?,
            runtime_data: azure.bytes("RuntimeData")?,
        })
    }
}

/// An object of JSON, with a name for what is said of it.
#[derive(Clone)]
pub(crate) struct Object {
    name: &'static str,
    members: Map<String, Value>,
}

impl Object {
    /// The document itself, bounded.
    pub(crate) fn document(json: &[u8]) -> Result<Self, String> {
        if json.len() > MAX_DOCUMENT {
            return Err(format!("it has {} bytes, {MAX_DOCUMENT} is the most", json.len()));
        }
        Self::parse("the document", json)
    }

    pub(crate) fn parse(name: &'static str, json: &[u8]) -> Result<Self, String> {
        let value = serde_json::from_slice(json).map_err(|why| format!("{name} can't be read: {why}"))?;
        Self::of(name, &value)
    }

    fn of(name: &'static str, value: &Value) -> Result<Self, String> {
        match value {
            Value::Object(members) => Ok(Self { name, members: members.clone() }),
            _ => Err(format!("{name} is no object")),
        }
    }

    /// In any case; nothing if it is missing or null. Go takes the last of several, which nobody means.
    fn member(&self, name: &str) -> Result<Option<&Value>, String> {
        let mut found =
            self.members.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value);
        match (found.next(), found.next()) {
            (_, Some(_)) => Err(format!("{} has {name} twice", self.name)),
            (value, None) => Ok(value.filter(|value| !value.is_null())),
        }
    }

    fn object(&self, name: &'static str) -> Result<Self, String> {
        match self.member(name)? {
            Some(value) => Self::of(name, value),
            None => Err(format!("{} has no {name}", self.name)),
        }
    }

    /// Base64; empty if it is missing, as Go has it: whatever it is for then refuses it.
    pub(crate) fn bytes(&self, name: &str) -> Result<Vec<u8>, String> {
        match self.member(name)? {
            None => Ok(Vec::new()),
            Some(value) => base64(value).ok_or_else(|| format!("{name} of {} isn't base64", self.name)),
        }
    }
}

fn base64(value: &Value) -> Option<Vec<u8>> {
    STANDARD.decode(value.as_str()?).ok()
}
