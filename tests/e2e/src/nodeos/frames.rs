//! What of the net protocol a witness has to understand: where a frame ends, and which block is in it.
//!
//! Written anew and short: what mainstay's own codec gets wrong, it shall not get wrong here too.

use crate::nodeos::key::sha256;
use crate::{Result, ensure, fail};

/// Of frames that a witness counts.
pub const HANDSHAKE: u8 = 0;
/// The same.
pub const GO_AWAY: u8 = 2;
/// The same.
pub const REQUEST: u8 = 5;
/// The same.
pub const SYNC_REQUEST: u8 = 6;
/// The same.
pub const BLOCK: u8 = 7;

/// Longer frames are no nodeos's.
const LONGEST: usize = 8 << 20;

/// What of a block is in its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Half seconds since 2000.
    pub slot: u32,
    /// Its producer's name.
    pub producer: u64,
    /// The block before it.
    pub previous: [u8; 32],
    /// The hash of the header, with the block's number in its first four bytes.
    pub id: [u8; 32],
}

impl Header {
    /// The block's number.
    pub fn number(&self) -> u32 {
        u32::from_be_bytes([self.id[0], self.id[1], self.id[2], self.id[3]])
    }
}

/// A frame, as far as a witness wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A block.
    Block(Header),
    /// A go_away and its reason.
    GoAway(u32),
    /// Any other, by its type.
    Other(u8),
}

/// Cuts a stream into frames.
#[derive(Debug, Default)]
pub struct Cutter(Vec<u8>);

impl Cutter {
    /// Takes the next bytes of the stream.
    pub fn take(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// The next whole frame, if it is there.
    ///
    /// # Errors
    /// If these are no frames.
    pub fn cut(&mut self) -> Result<Option<Frame>> {
        let Some(length) = self.0.first_chunk::<4>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes(*length) as usize;
        ensure!((1..=LONGEST).contains(&length), "a frame of {length} bytes");
        if self.0.len() < 4 + length {
            return Ok(None);
        }
        let frame = frame(&self.0[4..4 + length])?;
        self.0.drain(..4 + length);
        Ok(Some(frame))
    }
}

fn frame(payload: &[u8]) -> Result<Frame> {
    match payload {
        [GO_AWAY, a, b, c, d, ..] => Ok(Frame::GoAway(u32::from_le_bytes([*a, *b, *c, *d]))),
        [BLOCK, block @ ..] => Ok(Frame::Block(header(block)?)),
        [kind, ..] => Ok(Frame::Other(*kind)),
        [] => fail!("an empty frame"),
    }
}

/// The header that `block` begins with.
fn header(block: &[u8]) -> Result<Header> {
    const FIXED: usize = 114;
    let mut walk = Walk { bytes: block, at: FIXED };
    ensure!(block.len() > FIXED, "a block of {} bytes", block.len());
    // A new schedule: its version, and a name and a key for each producer.
    if walk.byte()? == 1 {
        walk.skip(4)?;
        for _ in 0..walk.count()? {
            walk.skip(8)?;
            ensure!(walk.byte()? < 2, "a key of an unknown kind");
            walk.skip(33)?;
        }
    }
    for _ in 0..walk.count()? {
        walk.skip(2)?;
        let length = walk.count()?;
        walk.skip(length)?;
    }
    let part = |from: usize| -> [u8; 8] { std::array::from_fn(|at| block[from + at]) };
    let previous: [u8; 32] = std::array::from_fn(|at| block[14 + at]);
    let number = u32::from_be_bytes([previous[0], previous[1], previous[2], previous[3]]).wrapping_add(1);
    let mut id = sha256(&block[..walk.at]);
    id[..4].copy_from_slice(&number.to_be_bytes());
    let slot = u32::from_le_bytes([block[0], block[1], block[2], block[3]]);
    Ok(Header { slot, producer: u64::from_le_bytes(part(4)), previous, id })
}

struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Walk<'_> {
    fn byte(&mut self) -> Result<u8> {
        let Some(byte) = self.bytes.get(self.at) else {
            fail!("a header ends at byte {}", self.at);
        };
        self.at += 1;
        Ok(*byte)
    }

    fn count(&mut self) -> Result<usize> {
        let mut number = 0;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.byte()?;
            number |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        fail!("a number without an end at byte {}", self.at)
    }

    fn skip(&mut self, count: usize) -> Result<()> {
        ensure!(count <= self.bytes.len() - self.at, "a header ends at byte {}", self.at);
        self.at += count;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::nodeos::key::{hex, unhex};

    const KNOWN: &str = include_str!("../../../../crates/antelope/tests/vectors/frames_nodeos.json");

    /// Every recorded frame of a real node, in one stream that is cut anywhere.
    #[test]
    fn real_frames_are_cut_and_their_blocks_have_the_ids_that_nodes_gave_them() {
        let known: Value = serde_json::from_str(KNOWN).unwrap();
        let known = known.as_array().unwrap();
        let mut stream = Vec::new();
        for entry in known {
            stream.extend(unhex(entry["hex"].as_str().unwrap()).unwrap());
        }
        for size in [1, 7, stream.len()] {
            let mut cutter = Cutter::default();
            let mut found = Vec::new();
            for bytes in stream.chunks(size) {
                cutter.take(bytes);
                while let Some(frame) = cutter.cut().unwrap() {
                    found.push(frame);
                }
            }
            assert_eq!(found.len(), known.len());
            let mut blocks = 0;
            for (frame, entry) in found.iter().zip(known) {
                let id = &entry["expect"]["derived"]["block_id"];
                match frame {
                    Frame::Block(header) => {
                        assert_eq!(hex(&header.id), id.as_str().unwrap());
                        assert_eq!(
                            u64::from(header.number()),
                            entry["expect"]["derived"]["block_num"].as_u64().unwrap()
                        );
                        blocks += 1;
                    }
                    _ => assert!(id.is_null(), "{entry}"),
                }
            }
            assert_eq!(blocks, 6);
        }
    }
}
