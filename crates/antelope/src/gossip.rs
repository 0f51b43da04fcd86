//! Where producers can be reached, told on by their peers.

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use crate::pack::{Pack, Reader, Sink, packed};
use crate::{Blob, DecodeError, List, Name, Signature, Slot, Text, Varuint};

/// `gossip_bp_peers` (12), since [`GOSSIP_BP_PEERS`](crate::Version::GOSSIP_BP_PEERS).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Gossip<'a> {
    /// One a producer. The first message of a connection has a single one without info.
    pub peers: List<'a, GossipPeer<'a>>,
}
packed!(Gossip<'a> { peers });

/// What a producer says of itself. Serialises with `info`, if there is one that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GossipPeer<'a> {
    /// 1.
    pub version: Varuint,
    /// Who.
    pub producer_name: Name,
    /// A packed [`PeerInfo`], or empty.
    pub bp_peer_info: Blob<'a>,
    /// Over the chain's id and all of the above ([`GossipPeer::pack_signed`]).
    pub sig: Signature<'a>,
}
packed!(GossipPeer<'a> { version, producer_name, bp_peer_info, sig });

impl<'a> GossipPeer<'a> {
    /// What is in `bp_peer_info`; `None` if that is empty.
    #[must_use]
    pub fn info(&self) -> Option<Result<PeerInfo<'a>, DecodeError>> {
        if self.bp_peer_info.0.is_empty() {
            return None;
        }
        let mut from = Reader::new(self.bp_peer_info.0, 0);
        Some(PeerInfo::unpack(&mut from).and_then(|info| from.end().map(|()| info)))
    }

    /// What is signed, after the chain's id.
    pub fn pack_signed(&self, to: &mut impl Sink) {
        self.version.pack(to);
        self.producer_name.pack(to);
        self.bp_peer_info.pack(to);
    }
}

impl Serialize for GossipPeer<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let info = self.info().and_then(Result::ok);
        let mut peer = to.serialize_struct("GossipPeer", 5)?;
        peer.serialize_field("version", &self.version)?;
        peer.serialize_field("producer_name", &self.producer_name)?;
        peer.serialize_field("bp_peer_info", &self.bp_peer_info)?;
        match &info {
            Some(info) => peer.serialize_field("info", info)?,
            None => peer.skip_field("info")?,
        }
        peer.serialize_field("sig", &self.sig)?;
        peer.end()
    }
}

/// Where a producer's node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PeerInfo<'a> {
    /// Where it listens.
    pub server_endpoint: Text<'a>,
    /// Where it dials from.
    pub outbound_ip: Text<'a>,
    /// Until when this holds.
    pub expiration: Slot,
}
packed!(PeerInfo<'a> { server_endpoint, outbound_ip, expiration });
