//! Our own Intel vouches for a TDX machine too.

use serde_json::{Value, json};

use super::{FMSPC, Intel, QE_DATA, QE_SIGNER, Told, sha256, signed};

/// TDX machines of its platform: SVNs of parts that are all the same, and a module of the first version, which has no identity of its own.
const SVNS: [u8; 16] = [7, 0, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7];
/// TD attributes: exceptions of virtualisation are off, as they have to be.
const SEPT_VE_DISABLE: [u8; 8] = [0, 0, 0, 0x10, 0, 0, 0, 0];

/// What a machine's report says.
pub struct Machine {
    pub attributes: [u8; 8],
    pub report_data: [u8; 64],
}

impl Machine {
    pub fn new(report_data: [u8; 32]) -> Self {
        let mut machine = Self { attributes: SEPT_VE_DISABLE, report_data: [0; 64] };
        machine.report_data[..32].copy_from_slice(&report_data);
        machine
    }
}

/// Of every machine, as a measurements file has them.
pub fn registers() -> Value {
    let register = |value: u8| json!({"expected": const_hex::encode([value; 48])});
    json!({"mrtd": register(0x10), "rtmr0": register(0x50), "rtmr1": register(0x60), "rtmr2": register(0x70), "rtmr3": register(0x80)})
}

impl Intel {
    pub fn tdx_collateral(&self, status: &str) -> Value {
        let told = Told::default();
        let components = vec![json!({"svn": 5}); 16];
        let mut machine = components.clone();
        machine[1] = json!({"svn": 0});
        let nobody = json!({"mrsigner": "00".repeat(48), "attributes": "00".repeat(8), "attributesMask": "FF".repeat(8)});
        let info = json!({
            "id": "TDX", "version": 3, "issueDate": told.issued, "nextUpdate": told.next, "fmspc": const_hex::encode_upper(FMSPC),
            "pceId": "0000", "tcbType": 0, "tcbEvaluationDataNumber": 17, "tdxModule": nobody, "tdxModuleIdentities": [],
            "tcbLevels": [{
                "tcb": {"sgxtcbcomponents": components, "tdxtcbcomponents": machine, "pcesvn": 11},
                "tcbDate": "2026-01-01T00:00:00Z", "tcbStatus": status, "advisoryIDs": [],
            }],
        });
        let identity = json!({
            "id": "TD_QE", "version": 2, "issueDate": told.issued, "nextUpdate": told.next, "tcbEvaluationDataNumber": 17,
            "miscselect": "00000000", "miscselectMask": "ffffffff", "attributes": "11000000000000000000000000000000",
            "attributesMask": "fbffffffffffffff0000000000000000", "mrsigner": const_hex::encode(QE_SIGNER), "isvprodid": 2,
            "tcbLevels": [{"tcb": {"isvsvn": 6}, "tcbDate": "2026-01-01T00:00:00Z", "tcbStatus": "UpToDate"}],
        });
        let (info, identity) = (info.to_string(), identity.to_string());
        let mut collateral = self.collateral(&told);
        for (name, text) in [("tcb_info", info), ("qe_identity", identity)] {
            collateral[format!("{name}_signature")] =
                json!(const_hex::encode(signed(&self.signer.key, text.as_bytes())));
            collateral[name] = json!(text);
        }
        collateral
    }

    pub fn tdx_quote(&self, machine: &Machine) -> Vec<u8> {
        let mut quote = vec![4, 0, 2, 0, 0x81, 0, 0, 0, 8, 0, 13, 0];
        quote.extend(const_hex::decode(super::INTEL).unwrap());
        quote.extend([0x55; 20]);
        quote.extend(SVNS);
        quote.extend([0; 48 + 48 + 8]);
        quote.extend(machine.attributes);
        quote.extend([0; 8]);
        quote.extend([0x10; 48]);
        quote.extend([0; 3 * 48]);
        (0x50..0x90).step_by(0x10).for_each(|rtmr| quote.extend([rtmr; 48]));
        quote.extend(machine.report_data);
        let signature = signed(&self.attestation, &quote);

        let mut enclave = vec![0; 384];
        enclave[..16].fill(7);
        enclave[48] = 0x11;
        enclave[128..160].copy_from_slice(&QE_SIGNER);
        enclave[256..260].copy_from_slice(&[2, 0, 8, 0]);
        enclave[320..352].copy_from_slice(&sha256(&self.attested_key()));
        let vouched = signed(&self.platform.key, &enclave);
        let chain = self.chain();
        let sized = |bytes: &[u8]| [&(bytes.len() as u32).to_le_bytes(), bytes].concat();
        let inner = [&enclave[..], &vouched, &[32, 0], &QE_DATA, &[5, 0], &sized(chain.as_bytes())].concat();
        let key = &self.attestation.public_key_raw()[1..];
        quote.extend(sized(&[&signature[..], key, &[6, 0], &sized(&inner)].concat()));
        quote
    }
}
