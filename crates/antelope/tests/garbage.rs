//! What strangers may send: nothing panics, and what is decoded is what is encoded again.
#![allow(clippy::unwrap_used)]

mod support;

use mainstay_antelope::{Frame, Kind, Splitter};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use support::every_frame;

/// Everything that can be asked of a frame.
fn ask(frame: &Frame) -> Result<(), TestCaseError> {
    if let Some(Ok(header)) = frame.block_header() {
        prop_assert_eq!(header.id().block_num(), header.block_num());
    }
    let message = match frame.message() {
        Ok(message) => message,
        Err(why) => {
            prop_assert!(why.at <= frame.bytes().len(), "{}", why);
            return Ok(());
        }
    };
    prop_assert!(serde_json::to_value(message).unwrap().is_object());
    // Not always the same bytes: a stranger may write numbers longer than needed.
    let again = message.frame().unwrap();
    prop_assert_eq!(&again.message().unwrap(), &message);
    prop_assert!(again.bytes().len() <= frame.bytes().len());
    Ok(())
}

fn ask_all(bytes: &[u8]) -> Result<(), TestCaseError> {
    let mut splitter = Splitter::default();
    splitter.push(bytes);
    while let Ok(Some(frame)) = splitter.split() {
        ask(&frame)?;
    }
    Ok(())
}

/// Random bytes in a frame of a type.
fn framed() -> impl Strategy<Value = Vec<u8>> {
    let numbers: Vec<u32> = Kind::known().map(Kind::number).chain([14]).collect();
    (select(numbers), prop::collection::vec(any::<u8>(), 0..600)).prop_map(|(number, body)| {
        let length = u32::try_from(1 + body.len()).unwrap();
        [&length.to_le_bytes()[..], &[number as u8], &body].concat()
    })
}

/// A real frame with some bytes changed, or others in the place of its end.
fn spoilt() -> impl Strategy<Value = Vec<u8>> {
    let spots = prop::collection::vec((any::<Index>(), any::<u8>()), 0..6);
    let end = prop::collection::vec(any::<u8>(), 0..40);
    (select(every_frame()), spots, any::<Index>(), end).prop_map(|(frame, spots, cut, end)| {
        let mut payload = frame[4..].to_vec();
        for (at, byte) in spots {
            let at = at.index(payload.len());
            payload[at] = byte;
        }
        if !end.is_empty() {
            payload.truncate(1 + cut.index(payload.len()));
            payload.extend(end);
        }
        [&u32::try_from(payload.len()).unwrap().to_le_bytes()[..], &payload].concat()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        ask_all(&bytes)?;
    }

    #[test]
    fn any_body(bytes in framed()) {
        ask_all(&bytes)?;
    }

    #[test]
    fn real_frames_spoilt(bytes in spoilt()) {
        ask_all(&bytes)?;
    }
}

#[test]
fn every_frame_cut_short_is_refused_at_its_end() {
    for bytes in every_frame() {
        let payload = &bytes[4..];
        for length in 1..payload.len() {
            let cut = [&u32::try_from(length).unwrap().to_le_bytes()[..], &payload[..length]].concat();
            let frame = support::frame(&cut);
            let why = frame.message().unwrap_err();
            assert!(why.at <= cut.len(), "{why}");
        }
    }
}
