//! Small values, both ways.
#![allow(clippy::unwrap_used)]

mod support;

use mainstay_antelope::pack::{Pack, Reader};
use mainstay_antelope::{
    Fault, Handshake, Name, Nanos, NotAKey, NotAName, OnCurve, OwnedKey, PublicKey, Slot, Varuint,
};
use proptest::prelude::*;
use support::primitives;

fn packed<'a>(value: &impl Pack<'a>) -> String {
    let mut bytes = Vec::new();
    value.pack(&mut bytes);
    const_hex::encode(bytes)
}

fn varuint(bytes: &[u8]) -> Result<u32, Fault> {
    let mut reader = Reader::new(bytes, 0);
    Varuint::unpack(&mut reader).map(|value| value.0).map_err(|why| why.fault)
}

#[test]
fn names() {
    for entry in primitives()["names"].as_array().unwrap() {
        let (text, value) =
            (entry["name"].as_str().unwrap(), entry["u64"].as_str().unwrap().parse().unwrap());
        assert_eq!(Name(value).to_string(), text);
        assert_eq!(text.parse(), Ok(Name(value)));
        assert_eq!(packed(&Name(value)), entry["le_hex"]);
    }
    for wrong in ["Prodx", "prod6", "zzzzzzzzzzzzk", "zzzzzzzzzzzz11", "é"] {
        assert_eq!(wrong.parse::<Name>(), Err(NotAName), "{wrong}");
    }
}

proptest! {
    #[test]
    fn every_number_is_a_name(value: u64) {
        prop_assert_eq!(Name(value).to_string().parse(), Ok(Name(value)));
    }

    #[test]
    fn every_number_is_a_varuint(value: u32) {
        let mut bytes = Vec::new();
        Varuint(value).pack(&mut bytes);
        prop_assert_eq!(varuint(&bytes), Ok(value));
    }
}

#[test]
fn varuints() {
    for entry in primitives()["varuint"].as_array().unwrap() {
        let value = entry["value"].as_u64().unwrap().try_into().unwrap();
        assert_eq!(packed(&Varuint(value)), entry["hex"]);
        assert_eq!(varuint(&const_hex::decode(entry["hex"].as_str().unwrap()).unwrap()), Ok(value));
    }
    assert_eq!(varuint(&[0x86, 0x80, 0x80, 0x80, 0]), Ok(6));
    assert_eq!(varuint(&[0xff, 0xff, 0xff, 0xff, 0x10]), Err(Fault::Varuint));
    assert_eq!(varuint(&[0x80, 0x80, 0x80, 0x80, 0x80, 0]), Err(Fault::Varuint));
    assert_eq!(varuint(&[0x80]), Err(Fault::Missing { needed: 1, left: 0 }));
}

#[test]
fn slots() {
    for entry in primitives()["slots"].as_array().unwrap() {
        let slot = Slot(entry["slot"].as_u64().unwrap().try_into().unwrap());
        assert_eq!(slot.unix_millis(), entry["unix_ms"]);
        let millis = slot.unix_millis();
        assert_eq!(
            [millis, millis + 499, millis + 500].map(Slot::at),
            [slot, slot, Slot(slot.0.saturating_add(1))]
        );
        assert_eq!((slot.round(), slot.position()), (number(&entry["round"]), number(&entry["pos"])));
    }
    assert_eq!([0, u64::MAX].map(Slot::at), [Slot(0), Slot(u32::MAX)]);
}

#[test]
fn tokens() {
    let entry = &primitives()["handshake_token"];
    let time = Nanos(entry["time_ns"].as_str().unwrap().parse().unwrap());
    assert_eq!(packed(&time), entry["le_hex"]);
    assert_eq!(Handshake::token_of(time).to_string(), entry["token"]);
}

fn number(value: &serde_json::Value) -> u32 {
    value.as_u64().unwrap().try_into().unwrap()
}

/// The development key, which is in every genesis that isn't meant for anything.
const DEVELOPMENT: &str = "02c0ded2bc1f1305fb0faac5e6c03ee3a1924234985427b6167ca569d13df435cf";

#[test]
fn keys_as_text() {
    let point: [u8; 33] = const_hex::decode_to_array(DEVELOPMENT).unwrap();
    let (old, new) = (
        "EOS6MRyAjQq8ud7hVNYcfnVPJqcVpscN5So8BhtHuGYqET5GDW5CV",
        "PUB_K1_6MRyAjQq8ud7hVNYcfnVPJqcVpscN5So8BhtHuGYqET5BoDq63",
    );
    for text in [old, new] {
        assert_eq!(text.parse(), Ok(OwnedKey::K1(point)));
    }
    assert_eq!(OwnedKey::K1(point).to_string(), new);
    let r1 = "PUB_R1_6FPFZqw5ahYrR9jD96yDbbDNTdKtNqRbze6oTDLntrsANgQKZu";
    assert_eq!(r1.parse::<OwnedKey>().unwrap().to_string(), r1);

    let swapped = |text: &str, from: &str, to: &str| text.replacen(from, to, 1);
    for (text, why) in [
        ("", NotAKey::Prefix),
        ("6MRyAjQq8ud7hVNYcfnVPJqcVpscN5So8BhtHuGYqET5GDW5CV", NotAKey::Prefix),
        ("EOS", NotAKey::Checksum),
        (&swapped(old, "RyA", "RyB"), NotAKey::Checksum),
        (&swapped(new, "K1", "R1"), NotAKey::Checksum),
        (&new[..new.len() - 1], NotAKey::Checksum),
        (&format!("{new}1"), NotAKey::Checksum),
        (&swapped(old, "RyA", "Ry0"), NotAKey::Checksum),
        ("5KQwrPbwdL6PhXujxW37FSSQZ1JiwsST4cqQzDeyXtP79zkvFD3", NotAKey::Private),
        ("PVT_K1_anything", NotAKey::Private),
    ] {
        assert_eq!(text.parse::<OwnedKey>(), Err(why), "{text}");
    }
}

#[test]
fn keys_of_messages() {
    let point = [2; 33];
    assert_eq!(OwnedKey::of(&OnCurve::K1(&point)), Some(OwnedKey::K1(point)));
    assert_eq!(OwnedKey::of(&OnCurve::R1(&point)), Some(OwnedKey::R1(point)));
    assert_eq!(OwnedKey::of(&PublicKey::EMPTY), None);
}
