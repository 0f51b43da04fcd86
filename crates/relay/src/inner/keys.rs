//! What nodes say of themselves: the public key in their handshake (`peer-private-key` of nodeos). Pure.
//!
//! It proves nothing. A node signs the time with that key and nothing else, so whoever has heard one handshake can say it again, for as long
//! as it likes. The list is there besides what the connection proves, to catch a node that was connected by mistake.

use std::sync::Arc;

use mainstay_antelope::{Frame, Kind, Message, OwnedKey};

/// Keys that nodes may show; none: it isn't looked at.
#[derive(Clone, Debug, Default)]
pub struct PeerKeys(Arc<[OwnedKey]>);

impl FromIterator<OwnedKey> for PeerKeys {
    fn from_iter<I: IntoIterator<Item = OwnedKey>>(keys: I) -> Self {
        Self(keys.into_iter().collect())
    }
}

/// What a connection's node has shown so far.
#[derive(Debug)]
pub struct Shown {
    keys: PeerKeys,
    shown: bool,
}

impl Shown {
    /// Nothing yet.
    #[must_use]
    pub fn new(keys: PeerKeys) -> Self {
        Self { keys, shown: false }
    }

    /// The node sends a frame. Before its handshake it may tell the time, as nodes do, and nothing else.
    ///
    /// # Errors
    /// What to tell the operator; the leg is to be closed.
    pub fn frame(&mut self, frame: &Frame) -> Result<(), &'static str> {
        if self.keys.0.is_empty() {
            return Ok(());
        }
        match frame.kind() {
            Kind::Handshake => {
                let Ok(Message::Handshake(handshake)) = frame.message() else {
                    return Err("its handshake can't be read, and allow_peer_keys wants a key in it");
                };
                match OwnedKey::of(&handshake.key) {
                    None => Err("its handshake has no key, and allow_peer_keys wants one"),
                    Some(key) if self.keys.0.contains(&key) => {
                        self.shown = true;
                        Ok(())
                    }
                    Some(_) => Err("the key in its handshake is not in allow_peer_keys"),
                }
            }
            Kind::Time => Ok(()),
            _ if self.shown => Ok(()),
            _ => Err("it sends before its handshake, and allow_peer_keys wants a key in that"),
        }
    }
}

#[cfg(test)]
mod tests {
    use mainstay_antelope::{Nanos, OnCurve, PublicKey, SyncRequest, Time, Version};

    use super::*;
    use crate::greeting::greeting;

    fn handshake(key: PublicKey<'_>) -> Frame {
        let id = mainstay_antelope::Id([1; 32]);
        let greeting = greeting(Version::LEAP_INITIAL, id, id);
        let Message::Handshake(handshake) = greeting else { panic!() };
        Message::Handshake(mainstay_antelope::Handshake { key, ..handshake }).frame().unwrap()
    }

    fn time() -> Frame {
        let (org, rec, xmt, dst) = (Nanos(0), Nanos(0), Nanos(1), Nanos(0));
        Message::Time(Time { org, rec, xmt, dst }).frame().unwrap()
    }

    fn request() -> Frame {
        Message::SyncRequest(SyncRequest { start: 1, end: 2 }).frame().unwrap()
    }

    #[test]
    fn a_key_has_to_be_shown_where_keys_are_asked_for() {
        let (ours, other) = ([2; 33], [3; 33]);
        let (k1, r1, unknown) = (OnCurve::K1(&ours), OnCurve::R1(&ours), OnCurve::K1(&other));
        let keys: PeerKeys = [OwnedKey::K1(ours)].into_iter().collect();
        let no_key = "its handshake has no key, and allow_peer_keys wants one";
        let not_in = "the key in its handshake is not in allow_peer_keys";
        let before = "it sends before its handshake, and allow_peer_keys wants a key in that";
        for (name, frames, refused) in [
            ("ours", vec![handshake(k1), request()], None),
            ("the time first", vec![time(), handshake(k1), time(), request()], None),
            ("none", vec![handshake(PublicKey::EMPTY)], Some(no_key)),
            ("another's", vec![time(), handshake(unknown)], Some(not_in)),
            ("on another curve", vec![handshake(r1)], Some(not_in)),
            ("later another's", vec![handshake(k1), handshake(unknown)], Some(not_in)),
            ("no handshake", vec![time(), request()], Some(before)),
        ] {
            let mut shown = Shown::new(keys.clone());
            let told: Vec<&str> = frames.iter().filter_map(|frame| shown.frame(frame).err()).collect();
            assert_eq!(told.first().copied(), refused, "{name}");
        }
        let mut open = Shown::new(PeerKeys::default());
        assert!([request(), handshake(PublicKey::EMPTY)].iter().all(|frame| open.frame(frame).is_ok()));
    }
}
