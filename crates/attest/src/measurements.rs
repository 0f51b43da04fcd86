//! What an SEV-SNP node's PCRs are to be: the part of `SEV_…` behind the prefix, as prio-load-balancer and Constellation write it.
//!
//! It is base64url, padded, of gzipped JSON: `{"4": {"expected": "<64 hex digits or base64>", "warnOnly": false}, "9": "<…>"}`. What it
//! says is laid over seven PCRs that are always enforced: 8, 11, 13 and 15 are zero where it is silent; 4, 9 and 12 are the image's own, so a
//! part that leaves one of them out could never be met and is refused when the node is added. [`TdxMeasurements`] is what a `TDX_…` says.

mod flashbots;
mod packed;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;

pub use flashbots::{Platform, TdxMeasurements};

use crate::Measured;

/// PCRs of a TPM.
pub(crate) const PCRS: u8 = 24;
/// Enforced as zero where nothing is said of them.
const ZERO: [u8; 4] = [8, 11, 13, 15];
/// Enforced, and different for every image.
const NAMED: [(u8, &str); 3] =
    [(4, "the boot loader and kernel"), (9, "the initial ram disk"), (12, "the kernel's command line")];
/// What is under one in JSON.
const SHAPE: &str = "64 hex digits (or base64 of 32 bytes), or {\"expected\": …, \"warnOnly\": true}";

/// Why measurements can't be used: what, where, what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeasurementsError(String);

impl MeasurementsError {
    fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

impl fmt::Display for MeasurementsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for MeasurementsError {}

/// What the PCRs of an SEV-SNP node are to be.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Measurements(BTreeMap<u8, Expected>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Expected {
    value: [u8; 32],
    warn_only: bool,
}

impl Measurements {
    /// Reads what is behind `SEV_` in a node's URI. At most 32 KiB, 64 KiB unpacked.
    ///
    /// # Errors
    /// It isn't padded base64url of gzipped JSON, is too long, names a PCR that no TPM has or one twice, a value isn't of 32 bytes, or PCR 4, 9
    /// or 12 is missing.
    pub fn from_uri_part(part: &str) -> Result<Self, MeasurementsError> {
        Self::from_json(&packed::unpack(part)?)
    }

    /// Reads the JSON itself, as in a `measurements.json`.
    ///
    /// # Errors
    /// As of [`Measurements::from_uri_part`].
    pub fn from_json(json: &[u8]) -> Result<Self, MeasurementsError> {
        let mut expected = BTreeMap::new();
        for (name, entry) in entries(json)? {
            let pcr = pcr(&name)?;
            if expected.insert(pcr, Expected::read(pcr, &entry)?).is_some() {
                return Err(MeasurementsError::new(format!("PCR {pcr} is named twice: keep one")));
            }
        }
        for (pcr, of) in NAMED {
            if !expected.contains_key(&pcr) {
                return Err(MeasurementsError::new(format!(
                    "PCR {pcr} is missing: it measures {of}, is always enforced and has no default; add \"{pcr}\": {{\"expected\": \"<64 hex \
                     digits>\"}}, with \"warnOnly\": true if another value shall only be warned of"
                )));
            }
        }
        for pcr in ZERO {
            expected.entry(pcr).or_insert(Expected { value: [0; 32], warn_only: false });
        }
        Ok(Self(expected))
    }

    /// Holds the PCRs of a verified quote against it. One that the quote doesn't have is a mismatch.
    pub(crate) fn compare(&self, pcrs: &BTreeMap<u8, [u8; 32]>) -> Comparison {
        let mut comparison = Comparison::default();
        for (&pcr, expected) in &self.0 {
            let found = pcrs.get(&pcr);
            comparison.judge(
                format!("PCR {pcr}"),
                found.map(|value| &value[..]),
                &[&expected.value],
                expected.warn_only,
            );
        }
        for (pcr, value) in pcrs.iter().filter(|(pcr, _)| !self.0.contains_key(pcr)) {
            comparison.shown(format!("PCR {pcr}"), value);
        }
        comparison
    }
}

impl Expected {
    fn read(pcr: u8, entry: &Value) -> Result<Self, MeasurementsError> {
        let (value, warn_only) = match entry {
            Value::String(value) => (value.as_str(), false),
            Value::Object(members) => {
                // In any case, as Go has it; of two spellings it would be unclear which is meant.
                let member = |name: &str| {
                    let mut found = members.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
                    match (found.next(), found.next()) {
                        (_, Some(_)) => {
                            Err(MeasurementsError::new(format!("PCR {pcr} has \"{name}\" twice: keep one")))
                        }
                        (first, None) => Ok(first.map(|(_, value)| value)),
                    }
                };
                let Some(Value::String(value)) = member("expected")? else {
                    return Err(MeasurementsError::new(format!(
                        "PCR {pcr} has no \"expected\" string; it wants {SHAPE}"
                    )));
                };
                let warn_only = match member("warnOnly")? {
                    None | Some(Value::Null) => false,
                    Some(Value::Bool(warn_only)) => *warn_only,
                    Some(_) => {
                        return Err(MeasurementsError::new(format!(
                            "\"warnOnly\" of PCR {pcr} is neither true nor false"
                        )));
                    }
                };
                (value.as_str(), warn_only)
            }
            _ => {
                return Err(MeasurementsError::new(format!(
                    "PCR {pcr} is neither string nor object; it wants {SHAPE}"
                )));
            }
        };
        let bytes = const_hex::decode(value)
            .ok()
            .filter(|_| !value.starts_with("0x"))
            .or_else(|| STANDARD.decode(value).ok())
            .ok_or_else(|| {
                MeasurementsError::new(format!(
                    "the value of PCR {pcr} is neither hex nor base64; it wants {SHAPE}"
                ))
            })?;
        let length = bytes.len();
        let value = bytes.try_into().map_err(|_| {
            MeasurementsError::new(format!(
                "the value of PCR {pcr} has {length} bytes; one of SHA-256 has 32"
            ))
        })?;
        Ok(Self { value, warn_only })
    }
}

/// What comes of holding measurements against what was expected.
#[derive(Debug, Default)]
pub(crate) struct Comparison {
    /// All of them, what was expected first.
    pub(crate) measured: Vec<Measured>,
    /// Those that differ and may.
    pub(crate) warnings: Vec<String>,
    /// Those that differ and may not.
    pub(crate) differ: Vec<String>,
}

impl Comparison {
    /// One that is to be any of `expected`.
    fn judge(&mut self, name: String, found: Option<&[u8]>, expected: &[&[u8]], warn_only: bool) {
        let expects = expected.iter().map(const_hex::encode).collect::<Vec<_>>().join(" or ");
        if !found.is_some_and(|found| expected.contains(&found)) {
            let is = found
                .map_or("isn't in the quote".to_owned(), |found| format!("is {}", const_hex::encode(found)));
            let said = format!("{name} {is}, expected was {expects}");
            if warn_only { &mut self.warnings } else { &mut self.differ }.push(said);
        }
        self.measured.push(Measured {
            name,
            value: found.map(const_hex::encode),
            expected: Some(expects),
            warn_only,
        });
    }

    /// One that nothing is expected of.
    fn shown(&mut self, name: String, value: &[u8]) {
        self.measured.push(Measured {
            name,
            value: Some(const_hex::encode(value)),
            expected: None,
            warn_only: false,
        });
    }
}

/// The user part of a node's URI for a `measurements.json`: `SEV_…`, or `TDX_…` where it is a measurements file of Flashbots. Whitespace goes.
///
/// # Errors
/// What says of the part itself that it can't be used.
pub fn encode(json: &[u8]) -> Result<String, MeasurementsError> {
    let prefix = if flashbots::looks_like(json) {
        TdxMeasurements::from_json(json)?;
        "TDX_"
    } else {
        Measurements::from_json(json)?;
        "SEV_"
    };
    let value: Value = serde_json::from_slice(json).map_err(|why| not_json(&why))?;
    Ok(format!("{prefix}{}", packed::pack(value.to_string().as_bytes())?))
}

/// Without what serde_json would quote of them: a URI is never shown.
fn not_json(why: &serde_json::Error) -> MeasurementsError {
    let what = if why.is_data() { "have another form than expected" } else { "aren't JSON" };
    let place = format!("line {}, column {}", why.line(), why.column());
    MeasurementsError::new(format!(
        "the measurements {what} ({place}): an object of PCRs, or a measurements file of Flashbots"
    ))
}

/// The beginning of a name, for an error.
fn short(name: &str) -> String {
    name.chars().take(40).collect::<String>().escape_debug().to_string()
}

/// `"4"`, as prio-load-balancer's URIs name it.
fn pcr(name: &str) -> Result<u8, MeasurementsError> {
    name.parse::<u8>()
        .ok()
        .filter(|pcr| *pcr < PCRS && pcr.to_string() == name)
        .ok_or_else(|| MeasurementsError::new(format!("\"{}\" is no PCR: a TPM has 0 to 23", short(name))))
}

/// The members of an object, all of them: a map would keep one of two with the same name.
fn entries(json: &[u8]) -> Result<Vec<(String, Value)>, MeasurementsError> {
    struct Entries;
    impl<'de> Visitor<'de> for Entries {
        type Value = Vec<(String, Value)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object of PCRs, {\"4\": …, \"9\": …, \"12\": …}")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut entries = Vec::new();
            while let Some(entry) = map.next_entry()? {
                entries.push(entry);
            }
            Ok(entries)
        }
    }
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let entries = deserializer.deserialize_map(Entries).map_err(|why| not_json(&why))?;
    deserializer.end().map_err(|why| not_json(&why))?;
    Ok(entries)
}
