use std::io::Write;

use base64::engine::general_purpose::URL_SAFE;
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;

use super::*;

const SYNTHETIC: &[u8] = include_bytes!("../../tests/vectors/synthetic/measurements.json");
const FLASHBOTS: &[u8] = include_bytes!("../../tests/vectors/tdx/flashbots/measurements.json");
const BUILDERNET: &[u8] = include_bytes!("../../tests/vectors/tdx/flashbots/buildernet_measurements.json");
const HEX: &str = "82736cdd6b4f3c718bf969b545eaaa6eb3f1e6d229ad9712e6a4ddf431418ab7";

/// As `gzip | basenc --base64url -w0` of prio-load-balancer's README makes it.
fn gzipped(json: &[u8]) -> String {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(json).unwrap();
    URL_SAFE.encode(gzip.finish().unwrap())
}

/// The part for an object with the PCRs that must be named, and `more`.
fn with(more: &str) -> String {
    gzipped(format!(r#"{{"4":"{HEX}","9":"{HEX}","12":"{HEX}"{more}}}"#).as_bytes())
}

fn refused(part: &str) -> String {
    Measurements::from_uri_part(part).unwrap_err().to_string()
}

fn judged(part: &str, pcrs: &[(u8, [u8; 32])]) -> Comparison {
    Measurements::from_uri_part(part).unwrap().compare(&pcrs.iter().copied().collect())
}

#[test]
fn what_the_uri_says_is_laid_over_seven_enforced_pcrs() {
    let measurements = Measurements::from_json(SYNTHETIC).unwrap();
    let said: Vec<(u8, bool)> =
        measurements.0.iter().map(|(pcr, expected)| (*pcr, expected.warn_only)).collect();
    assert_eq!(
        said,
        [(4, false), (8, false), (9, false), (11, false), (12, false), (13, false), (14, true), (15, false)]
    );
    assert!([8, 11, 13, 15].iter().all(|pcr| measurements.0[pcr].value == [0; 32]));
}

#[test]
fn a_default_gives_way_to_what_is_said() {
    let of = Measurements::from_uri_part(&with(&format!(r#","8":{{"expected":"{HEX}","warnOnly":true}}"#)))
        .unwrap();
    assert_eq!(of.0[&8].value.to_vec(), const_hex::decode(HEX).unwrap());
    assert!(of.0[&8].warn_only);
}

#[test]
fn both_forms_and_both_encodings_say_the_same() {
    let base64 = STANDARD.encode(const_hex::decode(HEX).unwrap());
    let plain = Measurements::from_uri_part(&with(&format!(r#","8":"{HEX}""#))).unwrap();
    for same in [
        format!(r#","8":"{base64}""#),
        format!(r#","8":{{"expected":"{HEX}"}}"#),
        format!(r#","8":{{"expected":"{base64}","warnOnly":false}}"#),
        format!(r#","8":{{"Expected":"{}","warnonly":null,"note":1}}"#, HEX.to_uppercase()),
    ] {
        assert_eq!(Measurements::from_uri_part(&with(&same)).unwrap(), plain, "{same}");
    }
}

#[test]
fn an_image_s_own_pcr_that_is_missing_is_told_with_what_to_add() {
    for missing in [4, 9, 12] {
        let json: Vec<String> = [4, 9, 12]
            .iter()
            .filter(|pcr| **pcr != missing)
            .map(|pcr| format!(r#""{pcr}":"{HEX}""#))
            .collect();
        let said = refused(&gzipped(format!("{{{}}}", json.join(",")).as_bytes()));
        assert!(said.starts_with(&format!("PCR {missing} is missing")), "{said}");
        assert!(said.contains(&format!(r#"add "{missing}": {{"expected""#)), "{said}");
    }
}

#[test]
fn what_can_t_be_meant_is_refused_by_name() {
    for (more, says) in [
        (r#","24":"00""#, "\"24\" is no PCR"),
        (r#","-1":"00""#, "\"-1\" is no PCR"),
        (r#","04":"00""#, "\"04\" is no PCR"),
        (r#","256":"00""#, "\"256\" is no PCR"),
        (r#","mrtd":"00""#, "\"mrtd\" is no PCR"),
        (r#","8":"00""#, "the value of PCR 8 has 1 bytes"),
        (r#","8":"""#, "the value of PCR 8 has 0 bytes"),
        (r#","8":"zz""#, "neither hex nor base64"),
        (r#","8":{}"#, "PCR 8 has no \"expected\""),
        (r#","8":{"expected":5}"#, "PCR 8 has no \"expected\""),
        (r#","8":null"#, "PCR 8 is neither string nor object"),
        (r#","8":[]"#, "PCR 8 is neither string nor object"),
    ] {
        let said = refused(&with(more));
        assert!(said.contains(says), "{more}: {said}");
    }
    let zero = "00".repeat(32);
    let said = refused(&with(&format!(r#","8":{{"expected":"{zero}","warnOnly":"yes"}}"#)));
    assert!(said.contains("neither true nor false"), "{said}");
    let said = refused(&with(&format!(r#","8":"{zero}","8":"{HEX}""#)));
    assert!(said.contains("PCR 8 is named twice"), "{said}");
    let said = refused(&with(&format!(r#","8":{{"expected":"{zero}","Expected":"{HEX}"}}"#)));
    assert!(said.contains("\"expected\" twice"), "{said}");
    let said = refused(&with(&format!(r#","8":"0x{zero}""#)));
    assert!(said.contains("PCR 8"), "{said}");
}

#[test]
fn a_part_is_padded_base64url_of_whole_gzip_of_json() {
    let good = with("");
    assert!(Measurements::from_uri_part(&good).is_ok());
    assert!(refused("").contains("mainstay attest encode"));
    assert!(refused(SYNTHETIC.escape_ascii().to_string().as_str()).contains("base64url"));
    let padded = (0..3).map(|spaces| {
        gzipped(format!("{}{}", " ".repeat(spaces), String::from_utf8_lossy(SYNTHETIC)).as_bytes())
    });
    for padded in padded.filter(|part| part.ends_with('=')) {
        assert!(refused(padded.trim_end_matches('=')).contains("padding"));
    }
    assert!(refused(&URL_SAFE.encode(SYNTHETIC)).contains("gzip"));
    let packed = URL_SAFE.decode(&good).unwrap();
    assert!(refused(&URL_SAFE.encode(&packed[..packed.len() - 5])).contains("gzip"));
    assert!(refused(&URL_SAFE.encode([&packed[..], b"x"].concat())).contains("gzip"));
    assert!(refused(&gzipped(b"{} {}")).contains("JSON"));
    assert!(refused(&gzipped(b"[1]")).contains("another form"));
    assert!(!refused(&gzipped(br#""shown""#)).contains("shown"));
}

#[test]
fn unpacking_is_bounded() {
    let bomb = gzipped(&vec![b' '; 20 << 20]);
    assert!(bomb.len() < 32 * 1024, "{}", bomb.len());
    assert!(refused(&bomb).contains("too long"));
    let spaces = |count: usize| gzipped(&[&vec![b' '; count - SYNTHETIC.len()], SYNTHETIC].concat());
    assert!(Measurements::from_uri_part(&spaces(64 * 1024)).is_ok());
    assert!(refused(&spaces(64 * 1024 + 1)).contains("too long"));
    assert!(refused(&"A".repeat(32 * 1024 + 4)).contains("too long"));
}

#[test]
fn what_is_encoded_is_read_again_and_always_the_same() {
    let part = encode(SYNTHETIC).unwrap();
    assert_eq!(encode(SYNTHETIC).unwrap(), part);
    let read = Measurements::from_uri_part(part.strip_prefix("SEV_").unwrap()).unwrap();
    assert_eq!(read, Measurements::from_json(SYNTHETIC).unwrap());
    for file in [FLASHBOTS, BUILDERNET] {
        let part = encode(file).unwrap();
        let read = TdxMeasurements::from_uri_part(part.strip_prefix("TDX_").unwrap()).unwrap();
        assert_eq!(read, TdxMeasurements::from_json(file).unwrap());
    }
    assert!(encode(b"{}").unwrap_err().to_string().contains("PCR 4 is missing"));
    assert!(encode(b"[]").unwrap_err().to_string().contains("empty"));
}

#[test]
fn a_pcr_differs_is_missing_or_is_only_warned_of() {
    let value: [u8; 32] = const_hex::decode(HEX).unwrap().try_into().unwrap();
    let mut pcrs: Vec<(u8, [u8; 32])> = (0..24).map(|pcr| (pcr, [0; 32])).collect();
    for pcr in [4, 9, 12] {
        pcrs[pcr].1 = value;
    }
    let part = with(&format!(r#","14":{{"expected":"{HEX}","warnOnly":true}}"#));
    let held = judged(&part, &pcrs);
    assert!(held.differ.is_empty());
    assert!(held.warnings[0].starts_with("PCR 14 is 0000"), "{:?}", held.warnings);
    assert_eq!((held.measured.len(), held.warnings.len()), (24, 1));
    assert_eq!(held.measured[0].name, "PCR 4");
    assert!(held.measured.last().unwrap().expected.is_none());

    pcrs[15].1[31] ^= 1;
    let other = judged(&part, &pcrs);
    assert_eq!(other.differ.len(), 1);
    assert!(other.differ[0].starts_with("PCR 15 is 0000"), "{:?}", other.differ);
    pcrs.retain(|(pcr, _)| *pcr != 15);
    assert!(judged(&part, &pcrs).differ[0].starts_with("PCR 15 isn't in the quote"));
}

/// The first value of each register of a record, as JSON alone tells.
fn registers_of(file: &[u8], record: usize) -> BTreeMap<u8, Vec<u8>> {
    let file: Value = serde_json::from_slice(file).unwrap();
    let registers = file[record]["measurements"].as_object().unwrap();
    let value = |entry: &Value| const_hex::decode(entry["expected"].as_str().unwrap()).unwrap();
    registers.iter().map(|(name, entry)| (name.parse().unwrap(), value(entry))).collect()
}

#[test]
fn flashbots_files_name_registers_and_any_record_may_be_met() {
    let file = TdxMeasurements::from_json(FLASHBOTS).unwrap();
    let dcap: BTreeMap<u8, Vec<u8>> = registers_of(FLASHBOTS, 2);
    let (met, held) = file.compare(Platform::Dcap, &dcap);
    assert_eq!(met, Some("dcap-tdx-example"));
    assert_eq!(held.measured[0].name, "MRTD");
    assert_eq!(held.measured[4].name, "RTMR 3");
    for register in 0..5 {
        let mut other = dcap.clone();
        other.get_mut(&register).unwrap()[47] ^= 0x80;
        let (met, refused) = file.compare(Platform::Dcap, &other);
        assert_eq!((met, refused.differ.len()), (None, 1));
        other.remove(&register);
        assert_eq!(file.compare(Platform::Dcap, &other).0, None);
    }
    assert_eq!(file.compare(Platform::Azure, &dcap).1.differ.len(), 2);
    let azure: BTreeMap<u8, Vec<u8>> = registers_of(FLASHBOTS, 1);
    assert_eq!(
        file.compare(Platform::Azure, &azure).0,
        Some("cvm-image-azure-tdx.rootfs-20241107200854.wic.vhd")
    );
    let only_azure = TdxMeasurements::from_json(
        br#"{"attestation_type":"azure-tdx","measurements":{"pcr4":{"expected":"0000000000000000000000000000000000000000000000000000000000000000"}}}"#,
    );
    assert!(only_azure.unwrap().compare(Platform::Dcap, &dcap).1.differ[0].contains("no record"));
}

#[test]
fn registers_have_names_and_may_have_several_values() {
    let (a, b) = ("aa".repeat(48), "bb".repeat(48));
    let record = format!(
        r#"{{"attestation_type":"gcp-tdx","measurements":{{"MRTD":{{"expected":"{a}"}},"rtmr1":{{"expected_any":["{a}","{b}"]}}}}}}"#
    );
    let file = TdxMeasurements::from_json(record.as_bytes()).unwrap();
    let registers = |mrtd: u8, rtmr1: u8| BTreeMap::from([(0, vec![mrtd; 48]), (2, vec![rtmr1; 48])]);
    assert_eq!(file.compare(Platform::Dcap, &registers(0xaa, 0xaa)).0, Some("record 1"));
    assert_eq!(file.compare(Platform::Dcap, &registers(0xaa, 0xbb)).0, Some("record 1"));
    assert_eq!(file.compare(Platform::Dcap, &registers(0xbb, 0xbb)).0, None);
    assert_eq!(file.compare(Platform::Dcap, &registers(0xaa, 0xcc)).0, None);
}

#[test]
fn a_record_that_expects_nothing_known_is_refused() {
    let a = "aa".repeat(48);
    for (record, says) in [
        (r#"[{"attestation_type":"none"}]"#.to_owned(), "\"none\""),
        (r#"[{"measurement_id":"x"}]"#.to_owned(), "attestation_type"),
        (r#"[{"attestation_type":"dcap-tdx"}]"#.to_owned(), "expects nothing"),
        (r#"[{"attestation_type":"dcap-tdx","measurements":{}}]"#.to_owned(), "expects nothing"),
        (
            format!(r#"[{{"attestation_type":"dcap-tdx","measurements":{{"5":{{"expected":"{a}"}}}}}}]"#),
            "no register",
        ),
        (
            format!(r#"[{{"attestation_type":"azure-tdx","measurements":{{"4":{{"expected":"{a}"}}}}}}]"#),
            "64 hex digits",
        ),
        (
            r#"[{"attestation_type":"dcap-tdx","measurements":{"0":{"expected_any":[]}}}]"#.to_owned(),
            "either",
        ),
        (
            format!(
                r#"[{{"attestation_type":"dcap-tdx","measurements":{{"0":{{"expected":"{a}"}},"mrtd":{{"expected":"{a}"}}}}}}]"#
            ),
            "named twice",
        ),
    ] {
        let said = TdxMeasurements::from_json(record.as_bytes()).unwrap_err().to_string();
        assert!(said.contains(says), "{record}: {said}");
    }
}

proptest! {
    #[test]
    fn any_part_is_read_or_refused(part in "\\PC{0,80}", bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Measurements::from_uri_part(&part);
        let _ = Measurements::from_uri_part(&URL_SAFE.encode(&bytes));
        let _ = Measurements::from_uri_part(&gzipped(&bytes));
        let _ = TdxMeasurements::from_uri_part(&gzipped(&bytes));
    }
}
