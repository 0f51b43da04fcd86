//! Streams: where frames are cut, and what is refused how early.
#![allow(clippy::unwrap_used)]

mod support;

use mainstay_antelope::{Fault, Frame, FrameError, Kind, MAX_LENGTH, MAX_SMALL, Message, Splitter, Version};
use proptest::prelude::*;
use support::{bad, frame, hex_of, name, stream};

fn listeners() -> Vec<u8> {
    stream().iter().filter(|line| line["dir"] == "listener->dialer").flat_map(hex_of).collect()
}

fn all(splitter: &mut Splitter) -> Vec<Frame> {
    std::iter::from_fn(|| splitter.split().unwrap()).collect()
}

/// What arrives of a frame that claims to be `length` long, with a type of one byte.
fn begun(length: u32, kind: u8) -> Splitter {
    let mut splitter = Splitter::default();
    splitter.push(&length.to_le_bytes());
    splitter.push(&[kind]);
    splitter
}

#[test]
fn a_recorded_connection_is_cut_into_its_frames_and_its_blocks_chain() {
    let lines = stream();
    assert_eq!(lines.len(), 226);
    let mut splitter = Splitter::default();
    let mut blocks = 0;
    let mut parent = None;
    for line in lines.iter().filter(|line| line["dir"] == "listener->dialer") {
        splitter.push(&hex_of(line));
        let frame = splitter.split().unwrap().unwrap();
        assert_eq!(frame.kind().number(), line["type"]);
        assert_eq!(frame.bytes(), &hex_of(line));
        frame.message().unwrap();
        let Some(header) = frame.block_header() else { continue };
        let header = header.unwrap();
        assert_eq!(header.previous, parent.unwrap_or(header.previous));
        parent = Some(header.id());
        blocks += 1;
    }
    assert_eq!((splitter.pending(), splitter.offset()), (0, listeners().len() as u64));
    assert!(blocks > 100, "{blocks}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn cut_anywhere_it_frames_the_same(pieces in prop::collection::vec(1_usize..3000, 1..60)) {
        let bytes = listeners();
        let mut whole = Splitter::default();
        whole.push(&bytes);
        let expected = all(&mut whole);

        let mut splitter = Splitter::default();
        let (mut found, mut rest, mut sizes) = (Vec::new(), &bytes[..], pieces.iter().cycle());
        while !rest.is_empty() {
            let (piece, left) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
            splitter.room().extend_from_slice(piece);
            found.extend(all(&mut splitter));
            rest = left;
        }
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn a_frame_is_a_slice_of_what_was_read_and_a_message_of_its_frame() {
    let mut splitter = Splitter::default();
    let bytes = listeners();
    let room = splitter.room();
    room.extend_from_slice(&bytes[..60_000.min(bytes.len())]);
    let read = room.as_ptr_range();
    let frames = all(&mut splitter);
    assert!(frames.len() > 50);
    for frame in frames {
        let at = frame.bytes().as_ptr_range();
        assert!(read.start <= at.start && at.end <= read.end, "copied");
        if let Message::Handshake(handshake) = frame.message().unwrap() {
            assert!(at.contains(&handshake.p2p_address.0.as_ptr()), "copied");
        }
    }
}

#[test]
fn limits_are_exact_and_seen_before_the_frame_is_there() {
    for (kind, limit) in [(7, MAX_LENGTH), (8, MAX_LENGTH), (12, MAX_LENGTH)]
        .into_iter()
        .chain([0, 1, 2, 3, 4, 5, 6, 9, 10, 11, 13, 14, 40].map(|kind| (kind, MAX_SMALL)))
    {
        assert_eq!(begun(limit, kind).split(), Ok(None), "type {kind}");
        let known = (limit < MAX_LENGTH).then(|| Kind::of(kind.into()));
        let error = FrameError::TooLong { length: limit + 1, limit, kind: known };
        let mut longer = begun(limit + 1, kind);
        assert_eq!(longer.split(), Err(error), "type {kind}");
        longer.push(&[0; 100]);
        assert_eq!(longer.split(), Err(error), "type {kind}: it was cut on");
    }
    assert_eq!((MAX_LENGTH, MAX_SMALL), (8_388_608, 65_536));

    // Of a length that no frame has, four bytes are enough.
    let mut splitter = Splitter::default();
    splitter.push(&(MAX_LENGTH + 1).to_le_bytes());
    assert_eq!(
        splitter.split(),
        Err(FrameError::TooLong { length: MAX_LENGTH + 1, limit: MAX_LENGTH, kind: None })
    );
    let mut splitter = Splitter::default();
    splitter.push(&[0; 3]);
    assert_eq!(splitter.split(), Ok(None));
    splitter.push(&[0]);
    assert_eq!(splitter.split(), Err(FrameError::Empty));
}

#[test]
fn the_longest_frames_pass_whole() {
    for (kind, length) in [(8, MAX_LENGTH), (40, MAX_SMALL)] {
        let mut splitter = begun(length, kind);
        splitter.push(&vec![0xff; length as usize - 2]);
        assert_eq!(splitter.split(), Ok(None));
        splitter.push(&[0xff, 3]);
        let frame = splitter.split().unwrap().unwrap();
        assert_eq!((frame.payload().len(), splitter.pending()), (length as usize, 1));
    }
}

#[test]
fn types_may_be_longer_than_needed_but_must_end_in_the_frame() {
    let refused = |bytes: &[u8]| {
        let mut splitter = Splitter::default();
        splitter.push(bytes);
        splitter.split()
    };
    // More may come, less may not.
    assert_eq!(refused(&[3, 0, 0, 0, 0x86, 0x80]), Ok(None));
    assert_eq!(refused(&[2, 0, 0, 0, 0x86, 0x80]), Err(FrameError::Type));
    assert_eq!(refused(&[2, 0, 0, 0, 0x86, 0x80, 0]), Err(FrameError::Type));
    assert_eq!(refused(&[9, 0, 0, 0, 0x86, 0x80, 0x80, 0x80, 0x80, 0]), Err(FrameError::Type));
    assert_eq!(refused(&[9, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x1f]), Err(FrameError::Type));
    // The limit of a type in five bytes is its own.
    let mut long = vec![0xff, 0xff, 0x1f, 0, 0x87, 0x80, 0x80, 0x80];
    assert_eq!(refused(&long), Ok(None));
    long.push(0);
    assert_eq!(refused(&long), Ok(None));
    *long.last_mut().unwrap() = 1;
    assert!(matches!(refused(&long), Err(FrameError::TooLong { kind: Some(Kind::Unknown(_)), .. })));
}

#[test]
fn bad_frames_are_refused_or_not_as_real_nodes_do() {
    for entry in bad() {
        let name = name(&entry);
        let bytes = hex_of(&entry);
        let mut splitter = Splitter::default();
        splitter.push(&bytes);
        let (cut, message) = match splitter.split() {
            Ok(Some(frame)) => {
                (Ok(true), frame.message().map(|message| message.kind()).map_err(|why| why.fault))
            }
            Ok(None) => (Ok(false), Ok(Kind::Unknown(0))),
            Err(why) => (Err(why), Ok(Kind::Unknown(0))),
        };
        let expected = match name {
            "length_zero" => (Err(FrameError::Empty), message),
            "length_8MiB_plus_1" => {
                (Err(FrameError::TooLong { length: MAX_LENGTH + 1, limit: MAX_LENGTH, kind: None }), message)
            }
            // A node waits for the rest of a `time` of 8 MiB. Here it is refused by its type's limit; a block of that length is awaited.
            "length_8MiB" => {
                assert_eq!(begun(MAX_LENGTH, 7).split(), Ok(None));
                let error =
                    FrameError::TooLong { length: MAX_LENGTH, limit: MAX_SMALL, kind: Some(Kind::Time) };
                assert_eq!(cut, Err(error));
                continue;
            }
            "wharfkit_go_away_1byte_reason" => (Ok(true), Err(Fault::Missing { needed: 32, left: 29 })),
            "unknown_type_40" => (Ok(true), Ok(Kind::Unknown(40))),
            "vote_to_old_peer" => (Ok(true), Err(Fault::Missing { needed: 32, left: 10 })),
            "time_with_7_trailing_bytes" => (Ok(true), Err(Fault::Trailing(7))),
            "sync_request_short" => (Ok(true), Err(Fault::Missing { needed: 4, left: 1 })),
            "notice_three_block_ids" => (Ok(true), Ok(Kind::Notice)),
            "request_two_block_ids" => (Ok(true), Ok(Kind::Request)),
            "varuint_five_bytes_type" => (Ok(true), Ok(Kind::SyncRequest)),
            "string_length_past_end" => {
                assert!(matches!(message, Err(Fault::Missing { .. })), "{message:?}");
                (Ok(true), message)
            }
            other => panic!("what is to become of {other}?"),
        };
        assert_eq!((cut, message), expected, "{name}");
        let refused = cut.is_err() || message.is_err();
        assert_eq!(entry.get("expect_error").is_some_and(|error| error == true), refused, "{name}");
    }
}

#[test]
fn errors_say_what_and_where() {
    let told = |hex: &str| {
        let bytes = const_hex::decode(hex).unwrap();
        frame(&bytes).message().unwrap_err().to_string()
    };
    assert_eq!(told("06000000060000000000"), "end: 4 bytes are needed, 1 are left (at byte 9 of the frame)");
    assert_eq!(
        told(&format!("0a00000006{}", "00".repeat(9))),
        "1 bytes follow its end (at byte 13 of the frame)"
    );
    let vote = format!("4501000009{}02{}", "11".repeat(32), "00".repeat(291));
    assert_eq!(told(&vote), "strong: 2 is neither 0 nor 1 (at byte 37 of the frame)");
    let vote = format!("4501000009{}ff{}", "11".repeat(32), "00".repeat(291));
    assert_eq!(told(&vote), "strong: 255 is neither 0 nor 1 (at byte 37 of the frame)");
    let vote = format!("4501000009{}0161{}", "11".repeat(32), "00".repeat(290));
    assert_eq!(told(&vote), "finalizer_key: 97 bytes long, not 96 (at byte 38 of the frame)");
    // A number of items that no frame can hold costs the time of those that are there.
    let notice = format!("1700000004{}ffffffff0f{}", "00".repeat(8), "00".repeat(9));
    assert_eq!(told(&notice), "ids: 32 bytes are needed, 9 are left (at byte 18 of the frame)");
    assert_eq!(
        FrameError::TooLong { length: 70_000, limit: MAX_SMALL, kind: Some(Kind::Time) }.to_string(),
        "a frame of 70000 bytes with type 3 (time), whose limit is 65536"
    );
}

#[test]
fn versions_say_what_a_peer_takes() {
    for (announced, version) in
        [(0, 0), (1204, 0), (1205, 0), (1206, 1), (1212, 7), (1311, 106), (1312, 0), (65535, 0)]
    {
        assert_eq!(Version::announced(announced), Version(version), "{announced}");
    }
    assert_eq!(Version::NEWEST.network_version(), 1217);
    let first = |kind| (0..=106).map(Version).find(|version| version.takes(kind)).unwrap().0;
    let firsts: Vec<u16> = Kind::known().map(first).collect();
    assert_eq!(firsts, [0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 10, 10, 11, 12]);
    // Only a peer that is newer than this crate may know a type that it doesn't.
    assert_eq!(first(Kind::of(14)), 13);
    assert_eq!(first(Kind::of(u32::MAX)), 13);
    let pruned: Vec<u16> = (0..20).filter(|&version| Version(version).has_pruned_types()).collect();
    assert_eq!(pruned, [3, 4, 5, 6]);
}

#[test]
fn numbers_and_types_are_each_others() {
    for (number, kind) in (0..).zip(Kind::known()) {
        assert_eq!((Kind::of(number), kind.number()), (kind, number));
    }
    assert_eq!((Kind::of(14).number(), Kind::of(14).name()), (14, "unknown"));
}
