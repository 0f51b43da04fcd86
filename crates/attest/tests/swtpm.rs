//! Quotes of a real TPM in software (swtpm), made for each run: keys, PCR values and nonces that no vector has.
#![allow(clippy::unwrap_used)]

mod chips;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use mainstay_attest::measurements::Measurements;
use mainstay_attest::sev::{Policy, Roots};
use mainstay_attest::tpm::{AttestationKey, Quote, TpmError};
use mainstay_attest::{Session, azure};
use tempfile::TempDir;

/// Any answer, the making of an RSA key too.
const DEADLINE: Duration = Duration::from_secs(60);
/// TPM_RC_RETRY: it makes primes or tests itself, and wants the command again.
const RETRY: u32 = 0x922;
const TRIES: u32 = 10_000;
/// A password session with the empty password.
const AUTH: &str = "00000009 40000009 0000 00 0000";
/// Restricted signing keys, bound to their TPM.
const RSA: &str = "0001 000b 00050072 0000 0010 0014 000b 0800 00000000 0000";
const P256: &str = "0023 000b 00050072 0000 0010 0018 000b 0003 0010 0000 0000";
const P384: &str = "0023 000b 00050072 0000 0010 0018 000c 0004 0010 0000 0000";
/// As above, but it signs anything.
const UNRESTRICTED: &str = "0023 000b 00040072 0000 0010 0018 000b 0003 0010 0000 0000";

struct Tpm {
    child: Child,
    socket: UnixStream,
    _state: TempDir,
}

impl Drop for Tpm {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Tpm {
    fn start() -> Self {
        let state = tempfile::tempdir().unwrap();
        let (socket, theirs) = UnixStream::pair().unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        // It wants its socket as a descriptor above 2.
        let script =
            "exec swtpm socket --tpm2 --tpmstate dir=\"$0\" --fd 3 --flags not-need-init 3<&0 </dev/null";
        let child = Command::new("sh")
            .args(["-c", script])
            .arg(state.path())
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .spawn()
            .unwrap();
        let mut tpm = Self { child, socket, _state: state };
        tpm.command("8001", "00000144", "0000");
        tpm
    }

    /// Sends a command, gives what is behind the answer's head.
    fn command(&mut self, tag: &str, code: &str, rest: &str) -> Vec<u8> {
        let body = hex(&format!("{code} {rest}"));
        let mut command = hex(tag);
        command.extend((body.len() as u32 + 6).to_be_bytes());
        command.extend(body);
        for _ in 0..TRIES {
            let (code, answer) = self.once(&command);
            match code {
                0 => return answer,
                RETRY => {}
                code => panic!("TPM command {} failed: {code:#x}", const_hex::encode(command)),
            }
        }
        panic!("the TPM wanted a command again {TRIES} times over");
    }

    fn once(&mut self, command: &[u8]) -> (u32, Vec<u8>) {
        self.socket.write_all(command).unwrap();
        let mut head = [0; 10];
        self.socket.read_exact(&mut head).unwrap_or_else(|why| {
            panic!("no answer of swtpm ({why}): install it with tests/tools.sh, or with your system's package manager")
        });
        let length = u32::from_be_bytes(head[2..6].try_into().unwrap()) as usize;
        let mut answer = vec![0; length - 10];
        self.socket.read_exact(&mut answer).unwrap();
        (u32::from_be_bytes(head[6..].try_into().unwrap()), answer)
    }

    /// TPM2_CreatePrimary. The key's handle and its TPMT_PUBLIC.
    fn create(&mut self, template: &str) -> (String, Vec<u8>) {
        let size = hex(template).len();
        let rest = format!("40000001 {AUTH} 0004 0000 0000 {size:04x} {template} 0000 00000000");
        let answer = self.command("8002", "00000131", &rest);
        (const_hex::encode(&answer[..4]), sized(&answer[8..]).0.to_vec())
    }

    /// TPM2_PCR_Extend of the SHA-256 bank.
    fn extend(&mut self, pcr: u8, digest: u8) {
        let digest = format!("{digest:02x}").repeat(32);
        self.command("8002", "00000182", &format!("000000{pcr:02x} {AUTH} 00000001 000b {digest}"));
    }

    /// TPM2_PCR_Read, one after the other.
    fn read(&mut self) -> BTreeMap<u8, [u8; 32]> {
        let mut values = BTreeMap::new();
        for pcr in 0..24u8 {
            let bits = (1u32 << pcr).to_le_bytes();
            let selection = format!("00000001 000b 03 {}", const_hex::encode(&bits[..3]));
            let answer = self.command("8001", "0000017e", &selection);
            values.insert(pcr, sized(&answer[4 + 10 + 4..]).0.try_into().unwrap());
        }
        values
    }

    /// TPM2_Quote. Message and signature.
    fn quote(&mut self, handle: &str, extra: &[u8], selection: &str) -> (Vec<u8>, Vec<u8>) {
        let size = extra.len();
        let rest = format!("{handle} {AUTH} {size:04x} {} 0010 {selection}", const_hex::encode(extra));
        let answer = self.command("8002", "00000158", &rest);
        let parameters = u32::from_be_bytes(answer[..4].try_into().unwrap()) as usize;
        let (message, signature) = sized(&answer[4..4 + parameters]);
        (message.to_vec(), signature.to_vec())
    }
}

const ALL: &str = "00000001 000b 03 ffffff";

fn hex(spaced: &str) -> Vec<u8> {
    const_hex::decode(spaced.replace(' ', "")).unwrap()
}

fn sized(bytes: &[u8]) -> (&[u8], &[u8]) {
    let length = usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
    bytes[2..].split_at(length)
}

#[test]
fn quotes_of_every_kind_of_key_hold_and_nothing_beside_them() {
    let mut tpm = Tpm::start();
    tpm.extend(4, 0x11);
    tpm.extend(15, 0x22);
    let extra = [0x5a; 32];
    for (template, kind) in
        [(RSA, "RSASSA with SHA-256"), (P256, "ECDSA P-256 with SHA-256"), (P384, "ECDSA P-384 with SHA-384")]
    {
        let (handle, public) = tpm.create(template);
        let key = AttestationKey::parse(&public).unwrap();
        let pcrs = tpm.read();
        let (message, signature) = tpm.quote(&handle, &extra, ALL);
        let quote = Quote { message: &message, signature: &signature, pcrs: &pcrs };
        assert_eq!(quote.verify(&key, Some(&extra)), Ok(kind));
        assert!(matches!(quote.verify(&key, Some(&[0; 32])), Err(TpmError::ExtraData { .. })), "{kind}");
        // Its scheme and its hash are what they are said to be.
        for byte in 0..4 {
            let mut other = signature.clone();
            other[byte] ^= 1;
            let quote = Quote { signature: &other, ..quote };
            assert!(quote.verify(&key, Some(&extra)).is_err(), "{kind}, byte {byte}");
        }

        // What was true a moment ago isn't any more, and the other way round.
        tpm.extend(4, 0x33);
        let now = tpm.read();
        let stale = Quote { pcrs: &now, ..quote };
        assert!(matches!(stale.verify(&key, Some(&extra)), Err(TpmError::PcrDigest { .. })), "{kind}");
        let (message, signature) = tpm.quote(&handle, &extra, ALL);
        let fresh = Quote { message: &message, signature: &signature, pcrs: &now };
        assert_eq!(fresh.verify(&key, Some(&extra)), Ok(kind));
        let mixed = Quote { signature: quote.signature, ..fresh };
        assert!(matches!(mixed.verify(&key, Some(&extra)), Err(TpmError::Signature(_))), "{kind}");
        tpm.command("8001", "00000165", &handle);
    }
}

#[test]
fn quotes_of_other_pcrs_and_keys_of_another_kind_are_refused() {
    let mut tpm = Tpm::start();
    let (handle, public) = tpm.create(P256);
    let key = AttestationKey::parse(&public).unwrap();
    let pcrs = tpm.read();
    for selection in [
        "00000001 000c 03 ffffff",
        "00000002 000c 03 ffffff 000b 03 ffffff",
        "00000001 000b 03 ffff00",
        "00000000",
    ] {
        let (message, signature) = tpm.quote(&handle, &[1; 32], selection);
        let quote = Quote { message: &message, signature: &signature, pcrs: &pcrs };
        let refused = quote.verify(&key, Some(&[1; 32]));
        assert!(matches!(refused, Err(TpmError::Selection(_))), "{selection}: {refused:?}");
    }
    let (message, signature) = tpm.quote(&handle, &[1; 32], "00000001 000b 03 ffff00");
    let some: BTreeMap<u8, [u8; 32]> = pcrs.into_iter().filter(|(pcr, _)| *pcr < 16).collect();
    let quote = Quote { message: &message, signature: &signature, pcrs: &some };
    assert_eq!(quote.verify(&key, Some(&[1; 32])), Ok("ECDSA P-256 with SHA-256"));

    let (_, other) = tpm.create(P256.replace("0000 0000", "0001 01 0000").as_str());
    let other = AttestationKey::parse(&other).unwrap();
    assert!(matches!(quote.verify(&other, Some(&[1; 32])), Err(TpmError::Signature(_))));
    let (_, unrestricted) = tpm.create(UNRESTRICTED);
    assert!(matches!(AttestationKey::parse(&unrestricted), Err(TpmError::Key(_))));
}

#[test]
fn a_whole_document_over_it_holds() {
    let mut tpm = Tpm::start();
    let (handle, public) = tpm.create(RSA);
    // What the document expects is extended: zero, then the digest.
    let mut scene = chips::Scene { public: Some(public), ..chips::Scene::good() };
    for pcr in [4, 9, 12] {
        tpm.extend(pcr, pcr);
    }
    scene.pcrs = tpm.read();
    let (message, signature) = tpm.quote(&handle, &scene.extra_data(), ALL);
    scene.quote = Some((message, signature));
    let (step, reason) = scene.refused();
    assert!(step == "measurements" && reason.starts_with("PCR 4 is "), "{step}: {reason}");

    let expected = |pcr: u8| const_hex::encode(scene.pcrs[&pcr]);
    let expected = serde_json::json!({"4": expected(4), "9": expected(9), "12": expected(12)}).to_string();
    let expected = Measurements::from_json(expected.as_bytes()).unwrap();
    let session = Session { nonce: Some(&scene.nonce), key: Some(&scene.key) };
    let roots = Roots::from_pem(chips::ARK).unwrap();
    let judge = |scene: &chips::Scene| {
        let document = scene.document().to_string();
        let terms = azure::Terms {
            expected: &expected,
            session,
            policy: &Policy::default(),
            roots: &roots,
            now: chips::at(chips::NOW),
        };
        azure::verify(document.as_bytes(), &terms)
    };
    let attested = judge(&scene).unwrap();
    assert!(attested.warnings.is_empty());
    // The TPM goes on living; the document with its new values and the old quote doesn't hold.
    tpm.extend(10, 1);
    scene.pcrs = tpm.read();
    assert_eq!(judge(&scene).unwrap_err().step, "pcr digest");
    let (message, signature) = tpm.quote(&handle, &scene.extra_data(), ALL);
    scene.quote = Some((message, signature));
    judge(&scene).unwrap();
}
