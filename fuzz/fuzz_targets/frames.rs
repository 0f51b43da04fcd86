//! Any bytes as a stream of Antelope's frames: nothing panics, frames are slices of the stream and the same wherever it is cut, and
//! what is decoded is what is encoded again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mainstay_antelope::{Frame, FrameError, Kind, MAX_LENGTH, MAX_SMALL, Splitter};

fuzz_target!(|data: &[u8]| {
    let mut splitter = Splitter::default();
    splitter.room().extend_from_slice(data);
    let (frames, end) = split(&mut splitter);
    let passed: usize = frames.iter().map(|frame| frame.bytes().len()).sum();
    assert_eq!((splitter.offset(), splitter.pending()), (passed as u64, data.len() - passed));
    assert_eq!(frames.iter().flat_map(|frame| frame.bytes().to_vec()).collect::<Vec<u8>>(), data[..passed]);

    let mut pieces = Splitter::default();
    let (mut cut, mut last) = (Vec::new(), Ok(()));
    for piece in data.chunks(1 + data.len() / 7) {
        pieces.push(piece);
        let (more, end) = split(&mut pieces);
        cut.extend(more);
        last = end;
    }
    assert_eq!((cut, last), (frames.clone(), end));
    frames.iter().for_each(judged);
});

fn split(splitter: &mut Splitter) -> (Vec<Frame>, Result<(), FrameError>) {
    let mut frames = Vec::new();
    loop {
        match splitter.split() {
            Ok(Some(frame)) => frames.push(frame),
            Ok(None) => return (frames, Ok(())),
            Err(why) => return (frames, Err(why)),
        }
    }
}

fn judged(frame: &Frame) {
    let large = matches!(frame.kind(), Kind::SignedBlock | Kind::PackedTransaction | Kind::GossipBpPeers);
    assert!(frame.payload().len() <= if large { MAX_LENGTH } else { MAX_SMALL } as usize);
    let header = frame.block_header();
    let message = match frame.message() {
        Ok(message) => message,
        Err(why) => {
            assert!(why.at <= frame.bytes().len() && !why.to_string().is_empty());
            return;
        }
    };
    assert_eq!(message.kind(), frame.kind());
    if let Some(header) = header {
        let header = header.expect("the header of a block that can be read");
        assert_eq!(header.id().block_num(), header.block_num());
    }
    assert!(serde_json::to_value(message).expect("messages are JSON").is_object());
    let again = message.frame().expect("no longer than it was");
    assert!(again.bytes().len() <= frame.bytes().len());
    assert_eq!(again.message().expect("what is encoded is decoded"), message);
}
