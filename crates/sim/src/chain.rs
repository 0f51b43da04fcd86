//! A deterministic toy chain: the same seed and the same attributes always give the same blocks.
//!
//! Payloads have the shape of `ExecutionPayloadV3` (Cancun, Prague, Osaka), and nothing in them is
//! executed. Their hash is a SHA-256 of their text unless [`Hashing::Custom`] brings the real one,
//! because nobody between a consensus and an execution client needs more to tell blocks apart.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use mainstay_wire::envelope;
use sha2::{Digest, Sha256};

/// Blocks whose extra data starts with this text are INVALID to every simulated execution client.
pub const BAD_MARK: &[u8] = b"bad";

/// The root of an empty trie, which stands for every root that nobody computes here.
const EMPTY_ROOT: &str = "0x56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421";

/// 32 bytes, shown as `0x…`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// Nothing: the parent of a genesis block, and what a consensus client sends for "none yet".
    pub const ZERO: Hash = Hash([0; 32]);

    /// SHA-256 of the parts one after the other.
    pub fn of(parts: &[&[u8]]) -> Hash {
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update(part);
        }
        let mut bytes = [0; 32];
        bytes.copy_from_slice(hasher.finalize().as_slice());
        Hash(bytes)
    }

    /// Reads `0x` and exactly 64 hex digits.
    pub fn parse(text: &str) -> Option<Hash> {
        unhex(text)?.try_into().ok().map(Hash)
    }

    /// The first and last digits, for a line on a terminal: `0x1234…cdef`.
    pub fn short(&self) -> String {
        let text = self.to_string();
        format!("{}…{}", &text[..6], &text[62..])
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

/// `0x` and two digits a byte.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(2 + bytes.len() * 2);
    text.push_str("0x");
    for byte in bytes {
        text.push(DIGITS[usize::from(byte >> 4)] as char);
        text.push(DIGITS[usize::from(byte & 15)] as char);
    }
    text
}

/// The bytes of `0x…` with an even number of digits.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("0x")?.as_bytes();
    if digits.len() % 2 != 0 {
        return None;
    }
    let digit = |byte: u8| (byte as char).to_digit(16);
    digits.chunks_exact(2).map(|pair| u8::try_from(digit(pair[0])? << 4 | digit(pair[1])?).ok()).collect()
}

/// A JSON-RPC quantity: `0x` and hex digits without leading zeros.
pub fn quantity(text: &str) -> Option<u64> {
    u64::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

/// One block, with its payload as it travels.
#[derive(Clone, PartialEq, Eq)]
pub struct Block {
    /// Its height; genesis is 0.
    pub number: u64,
    /// Its hash.
    pub hash: Hash,
    /// Its parent's hash.
    pub parent: Hash,
    /// Seconds since 1970.
    pub timestamp: u64,
    /// Its `ExecutionPayloadV3` as JSON.
    pub payload: Bytes,
    /// What `engine_newPayloadV3` and later carry beside the payload.
    pub parent_beacon_root: Hash,
    /// Its `executionRequests` (hex), which `engine_newPayloadV4` and later carry.
    pub requests: Vec<String>,
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "block {} {}", self.number, self.hash.short())
    }
}

/// What a consensus client wants of the block to build: `PayloadAttributesV3`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// Seconds since 1970; later than the parent's.
    pub timestamp: u64,
    /// The beacon chain's randomness.
    pub prev_randao: Hash,
    /// An address as `0x` and 40 hex digits.
    pub fee_recipient: String,
    /// A JSON array.
    pub withdrawals: String,
    /// The root of the parent beacon block.
    pub parent_beacon_root: Hash,
}

impl Attributes {
    /// What a simulated consensus client asks for in `slot`.
    pub fn of_slot(slot: u64, timestamp: u64) -> Attributes {
        let number = slot.to_be_bytes();
        Attributes {
            timestamp,
            prev_randao: Hash::of(&[b"randao", &number]),
            fee_recipient: format!("0x{}", "fe".repeat(20)),
            withdrawals: "[]".to_owned(),
            parent_beacon_root: Hash::of(&[b"beacon", &number]),
        }
    }

    /// As the second parameter of `engine_forkchoiceUpdatedV3`.
    pub fn json(&self) -> String {
        format!(
            "{{\"timestamp\":\"{:#x}\",\"prevRandao\":\"{}\",\"suggestedFeeRecipient\":\"{}\",\
             \"withdrawals\":{},\"parentBeaconBlockRoot\":\"{}\"}}",
            self.timestamp, self.prev_randao, self.fee_recipient, self.withdrawals, self.parent_beacon_root
        )
    }

    /// Reads attributes of any version; what an older version lacks is empty or zero.
    pub fn parse(json: &Bytes) -> Option<Attributes> {
        let [timestamp, randao, recipient, withdrawals, root] = envelope::fields(
            json,
            ["timestamp", "prevRandao", "suggestedFeeRecipient", "withdrawals", "parentBeaconBlockRoot"],
        )?;
        let withdrawals = match withdrawals {
            Some(list) if !envelope::is_null(&list) => String::from_utf8(list.to_vec()).ok()?,
            _ => "[]".to_owned(),
        };
        let parent_beacon_root = match root {
            Some(root) => Hash::parse(&envelope::string(&root)?)?,
            None => Hash::ZERO,
        };
        Some(Attributes {
            timestamp: quantity(&envelope::string(&timestamp?)?)?,
            prev_randao: Hash::parse(&envelope::string(&randao?)?)?,
            fee_recipient: envelope::string(&recipient?)?,
            withdrawals,
            parent_beacon_root,
        })
    }
}

/// A payload that has no hash yet, for [`Hashing::Custom`].
pub struct Unhashed<'a> {
    /// The payload's JSON, with `blockHash` all zero.
    pub payload: &'a [u8],
    /// `parentBeaconBlockRoot`, which a real header holds.
    pub parent_beacon_root: Hash,
    /// `executionRequests`, whose hash a real header holds from Prague on.
    pub requests: &'a [String],
}

/// Computes a block's hash from what it is made of.
pub type HashFn = Arc<dyn Fn(&Unhashed<'_>) -> Hash + Send + Sync>;

/// How a block gets its hash.
#[derive(Clone, Default)]
pub enum Hashing {
    /// SHA-256 of the payload's text: cheap, and not what Ethereum does.
    #[default]
    Sha256,
    /// Another rule, such as the real one.
    Custom(HashFn),
}

impl fmt::Debug for Hashing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Hashing::Sha256 => "Sha256",
            Hashing::Custom(_) => "Custom",
        })
    }
}

impl Hashing {
    /// The hash that a payload should have.
    pub fn hash(&self, unhashed: &Unhashed<'_>) -> Hash {
        match self {
            Hashing::Sha256 => {
                let mut parts = vec![unhashed.payload, &unhashed.parent_beacon_root.0];
                parts.extend(unhashed.requests.iter().map(|text| text.as_bytes()));
                Hash::of(&parts)
            }
            Hashing::Custom(rule) => rule(unhashed),
        }
    }
}

/// How blocks of one builder differ from another's.
#[derive(Clone, Debug, Default)]
pub struct Recipe {
    /// At most 32 bytes; real clients put their name here, so two clients never build one block.
    pub extra_data: Vec<u8>,
    /// Transactions of about so many characters of JSON in all; 0 is an empty block.
    pub padding: usize,
    /// The block's `executionRequests` (hex).
    pub requests: Vec<String>,
    /// How its hash is computed.
    pub hashing: Hashing,
}

impl Recipe {
    /// Blocks that every simulated execution client calls INVALID.
    pub fn bad() -> Recipe {
        Recipe { extra_data: BAD_MARK.to_vec(), ..Recipe::default() }
    }
}

/// Builds the child of `parent` that `attributes` ask for.
pub fn build(parent: &Block, attributes: &Attributes, recipe: &Recipe) -> Block {
    make(parent.number + 1, parent.hash, attributes, recipe)
}

/// The first block of the chain of `seed`; its timestamp is what slots count from.
pub fn genesis(seed: u64, timestamp: u64) -> Block {
    let seed = seed.to_be_bytes();
    let attributes = Attributes {
        timestamp,
        prev_randao: Hash::of(&[b"genesis", &seed]),
        fee_recipient: format!("0x{}", "00".repeat(20)),
        withdrawals: "[]".to_owned(),
        parent_beacon_root: Hash::ZERO,
    };
    make(0, Hash::ZERO, &attributes, &Recipe::default())
}

fn make(number: u64, parent: Hash, attributes: &Attributes, recipe: &Recipe) -> Block {
    let zero = Hash::ZERO.to_string();
    let (head, tail) = payload_text(number, parent, attributes, recipe);
    let unhashed = [head.as_str(), &zero, &tail].concat();
    let hash = recipe.hashing.hash(&Unhashed {
        payload: unhashed.as_bytes(),
        parent_beacon_root: attributes.parent_beacon_root,
        requests: &recipe.requests,
    });
    Block {
        number,
        hash,
        parent,
        timestamp: attributes.timestamp,
        payload: Bytes::from([head.as_str(), &hash.to_string(), &tail].concat()),
        parent_beacon_root: attributes.parent_beacon_root,
        requests: recipe.requests.clone(),
    }
}

/// The payload's text before and after the digits of its hash.
fn payload_text(number: u64, parent: Hash, attributes: &Attributes, recipe: &Recipe) -> (String, String) {
    let gas_used = if recipe.padding == 0 { 0 } else { 21_000 };
    let head = format!(
        "{{\"parentHash\":\"{parent}\",\"feeRecipient\":\"{recipient}\",\"stateRoot\":\"{state}\",\
         \"receiptsRoot\":\"{EMPTY_ROOT}\",\"logsBloom\":\"0x{bloom}\",\"prevRandao\":\"{randao}\",\
         \"blockNumber\":\"{number:#x}\",\"gasLimit\":\"0x2aea540\",\"gasUsed\":\"{gas_used:#x}\",\
         \"timestamp\":\"{timestamp:#x}\",\"extraData\":\"{extra}\",\"baseFeePerGas\":\"0x7\",\"blockHash\":\"",
        recipient = attributes.fee_recipient,
        state = Hash::of(&[b"state", &parent.0, &number.to_be_bytes()]),
        bloom = "00".repeat(256),
        randao = attributes.prev_randao,
        timestamp = attributes.timestamp,
        extra = hex(&recipe.extra_data),
    );
    let tail = format!(
        "\",\"transactions\":[{transactions}],\"withdrawals\":{withdrawals},\
         \"blobGasUsed\":\"0x0\",\"excessBlobGas\":\"0x0\"}}",
        transactions = transactions(recipe.padding),
        withdrawals = attributes.withdrawals,
    );
    (head, tail)
}

/// Made-up transactions of `padding` characters or a little more, at most 2 KiB each.
fn transactions(padding: usize) -> String {
    const LONGEST: usize = 2048;
    let mut list = String::with_capacity(padding + padding / 512 + 64);
    let mut left = padding;
    while left > 0 {
        let piece = left.min(LONGEST);
        if !list.is_empty() {
            list.push(',');
        }
        list.push_str("\"0x02");
        for at in 0..(piece / 2).max(1) {
            list.push_str(["ab", "1c", "d2", "3e"][(at + left) % 4]);
        }
        list.push('"');
        left -= piece;
    }
    list
}

/// A chain that grows at its tip, for tests that need blocks without a client that builds them.
#[derive(Clone, Debug)]
pub struct Chain {
    blocks: Vec<Block>,
}

impl Chain {
    /// A chain of one block, [`genesis`] with timestamp 0.
    pub fn new(seed: u64) -> Chain {
        Chain::from(genesis(seed, 0))
    }

    /// A chain that starts at `block`.
    pub fn from(block: Block) -> Chain {
        Chain { blocks: vec![block] }
    }

    /// The newest block.
    pub fn tip(&self) -> &Block {
        &self.blocks[self.blocks.len() - 1]
    }

    /// All blocks, oldest first.
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// The attributes with which the next block would be built.
    pub fn next_attributes(&self) -> Attributes {
        Attributes::of_slot(self.tip().number + 1, self.tip().timestamp + 12)
    }

    /// Adds a block.
    pub fn grow(&mut self) -> Block {
        self.grow_with(&Recipe::default())
    }

    /// Adds a block that simulated execution clients call INVALID.
    pub fn grow_bad(&mut self) -> Block {
        self.grow_with(&Recipe::bad())
    }

    /// Adds a block made after `recipe`.
    pub fn grow_with(&mut self, recipe: &Recipe) -> Block {
        let block = build(self.tip(), &self.next_attributes(), recipe);
        self.blocks.push(block.clone());
        block
    }

    /// Adds `count` blocks and gives them back.
    pub fn grow_by(&mut self, count: usize) -> Vec<Block> {
        (0..count).map(|_| self.grow()).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_chain_and_another_seed_another() {
        let (mut one, mut two, mut other) = (Chain::new(1), Chain::new(1), Chain::new(2));
        assert_eq!(one.grow_by(3), two.grow_by(3));
        assert_ne!(one.tip().hash, other.grow_by(3)[2].hash);
        assert_eq!(one.blocks()[2].hash, one.tip().parent);
    }

    #[test]
    fn a_payload_has_the_fields_of_v3() {
        let block = Chain::new(7).grow_with(&Recipe {
            padding: 5000,
            extra_data: b"el1".to_vec(),
            ..Recipe::default()
        });
        let value: serde_json::Value = serde_json::from_slice(&block.payload).unwrap();
        let fields = value.as_object().unwrap();
        assert_eq!(fields.len(), 17);
        assert_eq!(fields["blockHash"], block.hash.to_string());
        assert_eq!(fields["parentHash"], block.parent.to_string());
        assert_eq!(fields["blockNumber"], "0x1");
        assert_eq!(fields["extraData"], "0x656c31");
        assert_eq!(fields["transactions"].as_array().unwrap().len(), 3);
        assert_eq!(fields["logsBloom"].as_str().unwrap().len(), 514);
        assert!(block.payload.len() > 5000 && block.payload.len() < 7000);
    }

    #[test]
    fn another_rule_can_hash_blocks() {
        let rule: HashFn = Arc::new(|unhashed| {
            let text = std::str::from_utf8(unhashed.payload).unwrap();
            assert!(text.contains(&format!("\"blockHash\":\"{}\"", Hash::ZERO)));
            Hash([7; 32])
        });
        let block = Chain::new(1).grow_with(&Recipe { hashing: Hashing::Custom(rule), ..Recipe::default() });
        assert_eq!(block.hash, Hash([7; 32]));
    }

    #[test]
    fn attributes_survive_their_json() {
        let attributes = Attributes::of_slot(9, 1_800_000_000);
        let json = Bytes::from(attributes.json());
        assert_eq!(Attributes::parse(&json), Some(attributes));
        let first = Bytes::from(format!(
            "{{\"timestamp\":\"0x5\",\"prevRandao\":\"{}\",\"suggestedFeeRecipient\":\"0x00\"}}",
            Hash::ZERO
        ));
        assert_eq!(Attributes::parse(&first).unwrap().withdrawals, "[]");
        assert_eq!(Attributes::parse(&Bytes::from_static(b"{}")), None);
    }

    #[test]
    fn hex_goes_both_ways() {
        assert_eq!(hex(&[0, 255, 16]), "0x00ff10");
        assert_eq!(unhex("0x00fF10"), Some(vec![0, 255, 16]));
        assert_eq!(unhex("0x0"), None);
        assert_eq!(unhex("00"), None);
        assert_eq!(unhex("0xzz"), None);
        let hash = Hash::of(&[b"x"]);
        assert_eq!(Hash::parse(&hash.to_string()), Some(hash));
        assert_eq!(Hash::parse("0x12"), None);
        assert_eq!(hash.short().chars().count(), 11);
    }
}
