//! What a TDX node is to measure: Flashbots' measurements file, packed into `TDX_…` as an SEV node's PCRs are. That URI form is our own.
//!
//! The file is a list of records (or one), each with `attestation_type` and `measurements`; any of them may be met. Registers of `azure-tdx` are
//! PCRs; of `dcap-tdx` and its like 0 is MRTD and 1 to 4 are RTMR 0 to 3. A register has `expected`, or `expected_any` with several values.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::{Comparison, MeasurementsError, PCRS, not_json, packed, short};

/// How many records that aren't met are told of.
const SHOWN: usize = 3;

/// Whose registers are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Platform {
    /// PCRs of the virtual TPM of a TDX machine on Azure.
    Azure,
    /// The registers of the TDX module itself.
    Dcap,
}

impl Platform {
    fn of(kind: &str) -> Option<Self> {
        match kind {
            "azure-tdx" => Some(Self::Azure),
            "dcap-tdx" | "gcp-tdx" | "qemu-tdx" | "self-hosted-tdx" => Some(Self::Dcap),
            _ => None,
        }
    }

    /// Bytes of a register.
    fn width(self) -> usize {
        match self {
            Self::Azure => 32,
            Self::Dcap => 48,
        }
    }

    /// The number of a register by any of its names.
    fn register(self, name: &str) -> Option<u8> {
        let lower = name.to_ascii_lowercase();
        let number = |digits: &str| digits.parse::<u8>().ok().filter(|number| number.to_string() == digits);
        match self {
            Self::Azure => number(lower.strip_prefix("pcr").unwrap_or(&lower)).filter(|pcr| *pcr < PCRS),
            Self::Dcap if lower == "mrtd" => Some(0),
            Self::Dcap => match lower.strip_prefix("rtmr") {
                Some(rtmr) => number(rtmr).filter(|rtmr| *rtmr < 4).map(|rtmr| rtmr + 1),
                None => number(&lower).filter(|register| *register <= 4),
            },
        }
    }

    /// What people call a register.
    fn shown(self, register: u8) -> String {
        match (self, register) {
            (Self::Azure, pcr) => format!("PCR {pcr}"),
            (Self::Dcap, 0) => "MRTD".to_owned(),
            (Self::Dcap, register) => format!("RTMR {}", register - 1),
        }
    }
}

/// What a TDX node is to measure: any one of these.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TdxMeasurements(Vec<Record>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Record {
    id: String,
    platform: Platform,
    registers: BTreeMap<u8, Vec<Vec<u8>>>,
}

#[derive(Deserialize)]
struct RawRecord {
    measurement_id: Option<String>,
    attestation_type: Option<String>,
    measurements: Option<BTreeMap<String, RawRegister>>,
}

#[derive(Deserialize)]
struct RawRegister {
    expected: Option<String>,
    expected_any: Option<Vec<String>>,
}

impl TdxMeasurements {
    /// Reads what is behind `TDX_` in a node's URI. At most 32 KiB, 64 KiB unpacked.
    ///
    /// # Errors
    /// It isn't padded base64url of gzipped JSON, is too long, or no measurements file; a record would accept anything.
    pub fn from_uri_part(part: &str) -> Result<Self, MeasurementsError> {
        Self::from_json(&packed::unpack(part)?)
    }

    /// Reads a measurements file.
    ///
    /// # Errors
    /// As of [`TdxMeasurements::from_uri_part`].
    pub fn from_json(json: &[u8]) -> Result<Self, MeasurementsError> {
        let records = match serde_json::from_slice(json).map_err(|why| not_json(&why))? {
            Value::Array(records) => records,
            record => vec![record],
        };
        if records.is_empty() {
            return Err(MeasurementsError::new("the measurements file is empty: nothing could meet it"));
        }
        records
            .into_iter()
            .enumerate()
            .map(|(index, record)| Record::read(index, record))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Holds the registers of a verified quote against every record of its platform: the first that is met, or else what differs from each.
    pub(crate) fn compare(
        &self,
        platform: Platform,
        found: &BTreeMap<u8, Vec<u8>>,
    ) -> (Option<&str>, Comparison) {
        let mut refused = Comparison::default();
        for record in self.0.iter().filter(|record| record.platform == platform) {
            let mut comparison = Comparison::default();
            for (register, expected) in &record.registers {
                let expected: Vec<&[u8]> = expected.iter().map(Vec::as_slice).collect();
                comparison.judge(
                    platform.shown(*register),
                    found.get(register).map(Vec::as_slice),
                    &expected,
                    false,
                );
            }
            for (register, value) in
                found.iter().filter(|(register, _)| !record.registers.contains_key(register))
            {
                comparison.shown(platform.shown(*register), value);
            }
            if comparison.differ.is_empty() {
                return (Some(&record.id), comparison);
            }
            refused.differ.push(format!("{}: {}", short(&record.id), comparison.differ.join(", ")));
        }
        let more = refused.differ.len().saturating_sub(SHOWN);
        refused.differ.truncate(SHOWN);
        if more > 0 {
            refused.differ.push(format!("nor are {more} more records met"));
        }
        if refused.differ.is_empty() {
            refused.differ.push(format!("no record of the measurements is for {platform:?}"));
        }
        (None, refused)
    }
}

impl Record {
    fn read(index: usize, record: Value) -> Result<Self, MeasurementsError> {
        let number = index + 1;
        let raw: RawRecord = serde_json::from_value(record).map_err(|_| {
            MeasurementsError::new(format!(
                "record {number} of the measurements has another form than expected"
            ))
        })?;
        let id = raw.measurement_id.unwrap_or_else(|| format!("record {number}"));
        let says =
            |what: String| MeasurementsError::new(format!("{} of the measurements: {what}", short(&id)));
        let kind = raw.attestation_type.unwrap_or_default();
        let platform = Platform::of(&kind).ok_or_else(|| {
            says(format!(
                "\"attestation_type\" is \"{}\"; azure-tdx and dcap-tdx can be verified",
                short(&kind)
            ))
        })?;
        let mut registers = BTreeMap::new();
        for (name, raw) in raw.measurements.unwrap_or_default() {
            let register = platform
                .register(&name)
                .ok_or_else(|| says(format!("\"{}\" is no register of {kind}", short(&name))))?;
            let values = match (raw.expected, raw.expected_any) {
                (Some(value), None) => vec![value],
                (None, Some(values)) if !values.is_empty() => values,
                _ => {
                    return Err(says(format!(
                        "{name} wants either \"expected\" or \"expected_any\", with a value"
                    )));
                }
            };
            let values = values
                .iter()
                .map(|value| const_hex::decode(value).ok().filter(|value| value.len() == platform.width()))
                .collect::<Option<Vec<_>>>()
                .ok_or_else(|| {
                    says(format!("a value of {name} isn't {} hex digits", 2 * platform.width()))
                })?;
            if registers.insert(register, values).is_some() {
                return Err(says(format!("{name} is named twice: keep one")));
            }
        }
        if registers.is_empty() {
            return Err(says("it expects nothing, so anything would meet it: name a register".to_owned()));
        }
        Ok(Self { id, platform, registers })
    }
}

/// Whether it is such a file rather than a map of PCRs.
pub(super) fn looks_like(json: &[u8]) -> bool {
    match serde_json::from_slice(json) {
        Ok(Value::Array(_)) => true,
        Ok(Value::Object(members)) => members.contains_key("attestation_type"),
        _ => false,
    }
}
