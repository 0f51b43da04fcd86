//! The engine API's two hexadecimal encodings, DATA and QUANTITY (execution-apis, `common.md`, "Encoding").

use alloy_primitives::{U256, hex};

use super::Reason;

/// DATA of any length: `0x` and an even number of digits.
pub(super) fn data(text: &str) -> Result<Vec<u8>, Reason> {
    let digits = text.strip_prefix("0x").ok_or("hex data without 0x")?;
    // The decoder takes a prefix of its own; a second one must not pass.
    if digits.starts_with("0x") {
        return Err("hex data with 0x twice");
    }
    hex::decode(digits).map_err(|_| "malformed hex data")
}

/// DATA of exactly `N` bytes.
pub(super) fn fixed<const N: usize>(text: &str) -> Result<[u8; N], Reason> {
    if text.len() != 2 + 2 * N {
        return Err("hex data of a wrong length");
    }
    data(text)?.try_into().map_err(|_| "hex data of a wrong length")
}

/// QUANTITY of up to 64 bits.
pub(super) fn quantity(text: &str) -> Result<u64, Reason> {
    u64::from_str_radix(digits(text)?, 16).map_err(|_| "a number beyond 64 bits")
}

/// QUANTITY of up to 256 bits.
pub(super) fn big_quantity(text: &str) -> Result<U256, Reason> {
    U256::from_str_radix(digits(text)?, 16).map_err(|_| "a number beyond 256 bits")
}

/// The digits of a QUANTITY, which has no leading zeros and at least one digit.
fn digits(text: &str) -> Result<&str, Reason> {
    let digits = text.strip_prefix("0x").ok_or("a number without 0x")?;
    let well_formed = matches!(digits.as_bytes(), [b'0'] | [b'1'..=b'9' | b'a'..=b'f' | b'A'..=b'F', ..])
        && digits.len() <= 64
        && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    if well_formed { Ok(digits) } else { Err("a malformed number") }
}
