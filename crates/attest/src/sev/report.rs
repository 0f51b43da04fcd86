//! An SNP attestation report (AMD SEV-SNP ABI, table "ATTESTATION_REPORT"), versions 2 and newer: little-endian, 1184 bytes.

use ring::signature::{ECDSA_P384_SHA384_FIXED, UnparsedPublicKey};

use super::Tcb;

/// Of a report; Azure appends a header of its own (20 bytes), which nobody signs.
const LENGTH: usize = 0x4a0;
/// What is signed.
const SIGNED: usize = 0x2a0;
/// Of a number in the signature.
const NUMBER: usize = 72;
const ECDSA_P384_SHA384: u32 = 1;
const DEBUG: u64 = 1 << 19;

/// A report that has not been verified yet.
pub(super) struct Report<'a>(&'a [u8; LENGTH]);

impl<'a> Report<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, String> {
        let report = bytes
            .first_chunk()
            .map(Self)
            .ok_or_else(|| format!("the report has {} bytes, {LENGTH} are expected", bytes.len()))?;
        let version = report.u32(0);
        if !(2..=5).contains(&version) {
            return Err(format!("the report is of version {version}; 2 to 5 can be read"));
        }
        Ok(report)
    }

    fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.field(at))
    }

    fn field<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut field = [0; N];
        field.copy_from_slice(&self.0[at..at + N]);
        field
    }

    pub(super) fn debug(&self) -> bool {
        u64::from_le_bytes(self.field(0x08)) & DEBUG != 0
    }

    pub(super) fn vmpl(&self) -> u32 {
        self.u32(0x30)
    }

    pub(super) fn current(&self, turin: bool) -> Tcb {
        Tcb::read(self.field(0x38), turin)
    }

    pub(super) fn committed(&self, turin: bool) -> Tcb {
        Tcb::read(self.field(0x1e0), turin)
    }

    pub(super) fn launch(&self, turin: bool) -> Tcb {
        Tcb::read(self.field(0x1f0), turin)
    }

    /// What the guest wants said.
    pub(super) fn data(&self) -> [u8; 64] {
        self.field(0x50)
    }

    pub(super) fn measurement(&self) -> [u8; 48] {
        self.field(0x90)
    }

    pub(super) fn id_key_digest(&self) -> [u8; 48] {
        self.field(0xe0)
    }

    /// Whether the key of this point on P-384 signed it.
    pub(super) fn verify(&self, point: &[u8]) -> Result<(), String> {
        let algorithm = self.u32(0x34);
        if algorithm != ECDSA_P384_SHA384 {
            return Err(format!(
                "the report is signed by algorithm {algorithm}, not by ECDSA P-384 with SHA-384 (1)"
            ));
        }
        // Both numbers are little-endian, in more bytes than they have; nothing may be in the rest.
        let (numbers, rest) = self.0[SIGNED..].split_at(2 * NUMBER);
        let mut fixed = [0; 96];
        let mut spare = rest.iter().any(|byte| *byte != 0);
        for (to, from) in fixed.chunks_mut(48).zip(numbers.chunks(NUMBER)) {
            to.iter_mut().zip(from[..48].iter().rev()).for_each(|(to, from)| *to = *from);
            spare |= from[48..].iter().any(|byte| *byte != 0);
        }
        if spare {
            return Err("there is something behind the numbers of the report's signature".to_owned());
        }
        UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point)
            .verify(&self.0[..SIGNED], &fixed)
            .map_err(|_| "the report's signature isn't one of the certified key".to_owned())
    }
}
