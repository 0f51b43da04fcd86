use super::*;

const REPORT: &[u8] = include_bytes!("../../tests/vectors/sev/azure/azure_report.bin");
const RUNTIME_DATA: &[u8] = include_bytes!("../../tests/vectors/sev/azure/azure_runtimedata.json");
const HCL: &[u8] = include_bytes!("../../tests/vectors/sev/azure-hcl/hcl-report-snp.bin");
const VAR_DATA: &[u8] = include_bytes!("../../tests/vectors/vtpm/azure/var-data.bin");
const AK: &str = include_str!("../../tests/vectors/vtpm/azure/akpub.pem");

/// A TPMT_PUBLIC of a restricted signing key, RSA with 2048 bits.
fn public(modulus: &[u8]) -> Vec<u8> {
    let mut public = const_hex::decode("0001000b00050472000000100014000b0800000000000100").unwrap();
    public.extend(modulus);
    public
}

/// The modulus of HCLAkPub.
fn modulus(runtime_data: &[u8]) -> Vec<u8> {
    use base64::Engine;
    let data: serde_json::Value = serde_json::from_slice(runtime_data).unwrap();
    base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(data["keys"][0]["n"].as_str().unwrap()).unwrap()
}

fn bound(
    runtime_data: &[u8],
    report_data: &[u8],
    public: &[u8],
) -> Result<AttestationKey, (&'static str, String)> {
    let data = report_data.try_into().unwrap();
    runtime::bound_key(runtime_data, data, public, &mut Steps::default()).map_err(|fault| {
        let refusal = fault.after(Steps::default());
        (refusal.step, refusal.reason)
    })
}

#[test]
fn a_real_report_speaks_for_its_runtime_data_and_their_key() {
    let own = public(&modulus(RUNTIME_DATA));
    bound(RUNTIME_DATA, &REPORT[0x50..0x90], &own).unwrap();
    for byte in 0..RUNTIME_DATA.len() {
        let mut other = RUNTIME_DATA.to_vec();
        other[byte] ^= 1;
        assert_eq!(bound(&other, &REPORT[0x50..0x90], &own).unwrap_err().0, "runtime data");
    }
    for byte in 0..32 {
        let mut other = REPORT[0x50..0x90].to_vec();
        other[byte] ^= 1;
        assert_eq!(bound(RUNTIME_DATA, &other, &own).unwrap_err().0, "runtime data", "{byte}");
    }
    let mut other = own;
    *other.last_mut().unwrap() ^= 1;
    assert_eq!(bound(RUNTIME_DATA, &REPORT[0x50..0x90], &other).unwrap_err().0, "attestation key");
}

#[test]
fn the_key_is_the_one_of_the_name_in_all_of_its_parts() {
    use base64::Engine;
    let n = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode([0x80; 256]);
    let judge = |kid: &str, kty: &str, n: &str, e: &str| {
        let data = serde_json::json!({"keys": [{"kid": kid, "kty": kty, "n": n, "e": e}]}).to_string();
        let mut report_data = [0; 64];
        report_data[..32].copy_from_slice(sha256(&[data.as_bytes()]).as_ref());
        bound(data.as_bytes(), &report_data, &public(&[0x80; 256])).map(|_| ()).map_err(|(at, _)| at)
    };
    let refused = Err("attestation key");
    assert_eq!(judge("HCLAkPub", "RSA", &n, "AQAB"), Ok(()));
    // Zeros before a number are none of it.
    assert_eq!(judge("HCLAkPub", "RSA", &n, "AAEAAQ"), Ok(()));
    assert_eq!(judge("HCLEkPub", "RSA", &n, "AQAB"), refused);
    assert_eq!(judge("HCLAkPub", "EC", &n, "AQAB"), refused);
    assert_eq!(judge("HCLAkPub", "", &n, "AQAB"), refused);
    assert_eq!(judge("HCLAkPub", "RSA", &n, "Aw"), refused);
    assert_eq!(judge("HCLAkPub", "RSA", &n.replace("gICA", "gICB"), "AQAB"), refused);
}

#[test]
fn a_report_of_the_paravisor_speaks_for_the_data_behind_it() {
    // A header of 20 bytes is behind the report: its last word says how long the data are.
    let header = &HCL[0x20 + 1184..][..20];
    let length = u32::from_le_bytes(header[16..].try_into().unwrap()) as usize;
    let data = &HCL[0x20 + 1184 + 20..][..length];
    bound(data, &HCL[0x20 + 0x50..0x20 + 0x90], &public(&modulus(data))).unwrap();
}

#[test]
fn the_key_of_another_machine_is_refused() {
    use base64::Engine;
    let body: String = AK.lines().filter(|line| !line.starts_with("--")).collect();
    let der = base64::engine::general_purpose::STANDARD.decode(body).unwrap();
    let other = public(&der[der.len() - 5 - 256..der.len() - 5]);
    let mut report_data = [0; 64];
    report_data[..32].copy_from_slice(sha256(&[VAR_DATA]).as_ref());
    bound(VAR_DATA, &report_data, &public(&modulus(VAR_DATA))).unwrap();
    assert_eq!(bound(VAR_DATA, &report_data, &other).unwrap_err().0, "attestation key");
}

#[test]
fn one_key_of_the_name_is_expected() {
    for (data, says) in [
        (r#"{"keys":[]}"#, "0 keys"),
        (r#"{"keys":[{"kid":"HCLAkPub"},{"kid":"HCLAkPub"}]}"#, "2 keys"),
        (r#"{"keys":[{"kid":"HCLAkPub","kty":"RSA","n":"","e":""}]}"#, "isn't HCLAkPub"),
        (r#"{"keys":[{"kid":"HCLAkPub","kty":"RSA","n":"*","e":"AQAB"}]}"#, "isn't HCLAkPub"),
        ("{}", "can't be read"),
        ("", "can't be read"),
    ] {
        let mut report_data = [0; 64];
        report_data[..32].copy_from_slice(sha256(&[data.as_bytes()]).as_ref());
        let (at, reason) = bound(data.as_bytes(), &report_data, &public(&[0x80; 256])).unwrap_err();
        assert!(at == "attestation key" && reason.contains(says), "{data}: {reason}");
    }
}
