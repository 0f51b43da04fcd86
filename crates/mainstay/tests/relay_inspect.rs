//! `mainstay relay inspect` as an operator uses it.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::Write;
use std::net::TcpListener;
use std::process::Stdio;

use serde_json::{Value, json};
use support::{Done, Place};

/// Of a real nodeos.
const NODEOS: &str = include_str!("../../antelope/tests/vectors/frames_nodeos.json");
/// Of what that nodeos doesn't know.
const SELFMADE: &str = include_str!("../../antelope/tests/vectors/frames_selfmade.json");
const BAD: &str = include_str!("../../antelope/tests/vectors/frames_bad.json");
const STREAM: &str = include_str!("../../antelope/tests/vectors/stream_sync.jsonl");

const PING: &str = "21000000030000000000000000000000000000000000002a36fe9c97170000000000000000";
const SYNC: &str = "0900000006020000001d000000";
const SHORT: &str = "06000000060000000000";

fn entries(text: &str) -> Vec<Value> {
    serde_json::from_str(text).unwrap()
}

fn hex(entry: &Value) -> &str {
    entry["hex"].as_str().unwrap()
}

fn bytes(hex: &str) -> Vec<u8> {
    const_hex::decode(hex).unwrap()
}

/// What one side said on a recorded connection.
fn recorded() -> Vec<u8> {
    let lines = STREAM.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["dir"] == "listener->dialer").flat_map(|line| bytes(hex(&line))).collect()
}

fn inspect(place: &Place, arguments: &[&str]) -> Done {
    place.run(&[&["relay", "inspect"], arguments].concat(), &[])
}

/// The same with something on standard input.
fn fed(arguments: &[&str], input: &[u8]) -> Done {
    let place = Place::new();
    let mut command = place.command(&[&["relay", "inspect"], arguments].concat(), &[]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || pipe.write_all(&input));
    let done = Done::from(child.wait_with_output().unwrap());
    writer.join().unwrap().unwrap();
    done
}

fn objects(out: &str) -> Vec<Value> {
    out.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {line}"))).collect()
}

#[test]
fn every_type_of_frame_is_an_object_with_its_fields() {
    let entries = [entries(NODEOS), entries(SELFMADE)].concat();
    let lines: Vec<&str> = entries.iter().map(hex).collect();
    let done = fed(&["-", "--json"], lines.join("\n").as_bytes());
    let objects = objects(done.fine());
    assert_eq!(objects.len(), entries.len());
    for (object, entry) in objects.iter().zip(&entries) {
        let (name, expect) = (&entry["name"], &entry["expect"]);
        assert_eq!(
            (&object["type"], &object["type_name"]),
            (&expect["type"], &expect["type_name"]),
            "{name}"
        );
        if object["type"] == 7 {
            let derived = &expect["derived"];
            assert_eq!(
                (&object["block_num"], &object["id"]),
                (&derived["block_num"], &derived["block_id"]),
                "{name}"
            );
        }
        // Those that are called the same there and in the protocol's description; the codec's own tests know all.
        for field in [
            "chain_id",
            "sig",
            "p2p_address",
            "org",
            "reason",
            "known_blocks",
            "req_blocks",
            "slot",
            "producer",
            "previous",
            "transactions",
            "packed_trx",
            "finalizer_key",
            "strong",
        ] {
            assert_eq!(object.get(field), expect["fields"].get(field), "{name}: {field}");
        }
    }
    let of =
        |name: &str| entries.iter().position(|entry| entry["name"] == name).map(|at| &objects[at]).unwrap();
    assert_eq!(
        *of("sync_request_2_29"),
        json!({"type": 6, "type_name": "sync_request", "start": 2, "end": 29})
    );
    assert_eq!(of("handshake_dialer_gen1")["time"], "1795229746102652629");
    assert_eq!(of("block_savanna_like")["header_extensions"], json!([{"id": 2, "data": "63000000010000"}]));
    assert_eq!(of("gossip_two_peers")["peers"][1]["info"]["outbound_ip"], "2001:db8::2");
}

#[test]
fn a_stored_stream_is_read_raw_from_a_file_or_a_pipe() {
    let place = Place::new();
    std::fs::write(place.path().join("stream.bin"), recorded()).unwrap();
    let from_file = inspect(&place, &["stream.bin", "--json"]);
    let from_pipe = fed(&["--json", "-"], &recorded());
    assert_eq!(from_file.fine(), from_pipe.fine());
    let objects = objects(&from_file.out);
    let blocks: Vec<&Value> = objects.iter().filter(|object| object["type"] == 7).collect();
    assert!(blocks.len() > 100, "{}", blocks.len());
    for pair in blocks.windows(2) {
        assert_eq!(pair[1]["previous"], pair[0]["id"]);
    }

    let text = inspect(&place, &["stream.bin"]);
    assert_eq!(text.fine().lines().count(), objects.len());
    let first = blocks[0];
    let line =
        format!("{} {} by eosio, slot {} ", first["block_num"], first["id"].as_str().unwrap(), first["slot"]);
    assert!(text.out.lines().any(|shown| shown.contains("signed_block") && shown.contains(&line)), "{line}");
}

#[test]
fn text_tells_what_one_looks_for() {
    let lines = [
        PING,
        "0x0900000006 020000001d000000",
        "",
        "2500000002 03000000 0000000000000000000000000000000000000000000000000000000000000000",
        "1300000005 00000000 00000000 00 01000000 00000000 00",
        "0b0000002800000000000000000000",
    ];
    let done = fed(&["-"], lines.join("\r\n").as_bytes());
    let expected = [
        "        0  time                ping, sent 1700000000000000000 [33 bytes]".to_owned(),
        "       37  sync_request        blocks 2 to 29 [9 bytes]".to_owned(),
        format!("       50  go_away             reason 3 (wrong_chain), node {} [37 bytes]", "0".repeat(64)),
        "       91  request             wants trx: none pending 0; blocks: catch_up pending 0 [19 bytes]"
            .to_owned(),
        "      114  unknown             type 40, 00000000000000000000 [11 bytes]".to_owned(),
    ];
    assert_eq!(done.fine().lines().collect::<Vec<&str>>(), expected);
}

#[test]
fn what_a_peer_calls_itself_does_nothing_to_the_terminal() {
    let entry = entries(NODEOS).into_iter().find(|entry| entry["name"] == "handshake_dialer_gen1").unwrap();
    // Its agent, "EOS Test Agent", begins with the sequence that clears a screen.
    let spoilt = hex(&entry).replace("454f532054", "1b5b324a54");
    let done = fed(&["-"], spoilt.as_bytes());
    assert!(done.fine().contains(r#"agent "\u{1b}[2JTest Agent""#), "{}", done.out);
}

#[test]
fn a_live_stream_is_shown_as_it_comes() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let place = Place::new();
    let mut running = place.start(&["relay", "inspect", &address, "--json"], &[]);
    let (mut node, _) = listener.accept().unwrap();
    let stream = bytes(&[PING, SYNC].concat());
    // In the middle of the second frame's length.
    node.write_all(&stream[..39]).unwrap();
    let shown: Value = serde_json::from_str(&running.line(&["\"type\":3"])).unwrap();
    assert_eq!(shown["xmt"], "1700000000000000000");
    node.write_all(&stream[39..]).unwrap();
    running.line(&["\"type\":6", "\"start\":2", "\"end\":29"]);
    drop(node);
    assert_eq!(running.ended(), Some(0));
    assert_eq!(running.seen.len(), 2, "{:?}", running.seen);
}

#[test]
fn a_node_that_closes_at_once_is_told_why() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let closing = std::thread::spawn(move || drop(listener.accept().unwrap()));
    let done = inspect(&Place::new(), &[&address]);
    closing.join().unwrap();
    assert_eq!((done.status, done.out.as_str()), (Some(1), ""));
    assert!(done.err.starts_with(&format!("error: {address}: closed without a frame: ")), "{}", done.err);
    assert!(done.err.contains("p2p-max-nodes-per-host"), "{}", done.err);
}

#[test]
fn what_is_not_there_is_told_with_status_2() {
    let place = Place::new();
    let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    for (from, told) in [
        ("none.bin", "no such file, and not HOST:PORT; - is standard input"),
        ("127.0.0.1", "no such file, and not HOST:PORT; - is standard input"),
        ("127.0.0.1:99999", "no such file, and not HOST:PORT; - is standard input"),
        (".", "is a folder, not a file"),
        (&unused, "cannot connect: Connection refused (os error 111)"),
    ] {
        inspect(&place, &[from]).refused(&[&format!("error: {from}: {told}")]);
    }
    let done = inspect(&place, &[]);
    assert_eq!(done.status, Some(2));
    assert!(done.err.contains("HOST:PORT | FILE | -"), "{}", done.err);
}

/// What can't be decoded is told in its place; what follows is shown as long as it can be told where it begins.
#[test]
fn an_undecodable_frame_does_not_hide_the_next() {
    let done = fed(&["-", "--json"], &bytes(&[SYNC, SHORT, PING, "00000000", SYNC].concat()));
    assert_eq!((done.status, done.err.as_str()), (Some(1), ""));
    let objects = objects(&done.out);
    let types: Vec<&Value> = objects.iter().map(|object| &object["type"]).collect();
    assert_eq!(types, [&json!(6), &Value::Null, &json!(3), &Value::Null]);
    let why = "sync_request: end: 4 bytes are needed, 1 are left (at byte 9 of the frame)";
    assert_eq!(objects[1], json!({"error": why, "offset": 13}));
    let why = "a frame of length 0; what follows can't be told apart";
    assert_eq!(objects[3], json!({"error": why, "offset": 60}));
}

#[test]
fn a_bad_line_spoils_no_other() {
    let bad = entries(BAD);
    let mut text = String::new();
    for entry in &bad {
        text.push_str(&format!("{}\n{SYNC}\n", hex(entry)));
    }
    text.push_str(&format!("nonsense\n{SYNC}{SYNC}\n123\n{SYNC}"));
    let done = fed(&["-", "--json"], text.as_bytes());
    assert_eq!(done.status, Some(1));
    let objects = objects(&done.out);
    let mut left = objects.iter();
    let mut offset = 0;
    for entry in &bad {
        let (name, object) = (&entry["name"], left.next().unwrap());
        // A stored frame of which only the beginning is there is an error whatever a node would wait for.
        let wrong = entry["expect_error"] == true || *name == "length_8MiB";
        assert_eq!(object["error"].is_string(), wrong, "{name}: {object}");
        if wrong {
            assert_eq!(object["offset"], offset, "{name}");
        }
        if name == "unknown_type_40" {
            let data = "00".repeat(10);
            assert_eq!(*object, json!({"type": 40, "type_name": "unknown", "data": data}));
        }
        assert_eq!(left.next().unwrap()["type"], 6, "after {name}");
        offset += (hex(entry).len() + SYNC.len()) as u64 / 2;
    }
    let (number, rest) = (2 * bad.len() + 1, left.collect::<Vec<&Value>>());
    assert_eq!(*rest[0], json!({"error": format!("line {number}: not hex at column 1"), "offset": offset}));
    assert_eq!((&rest[1]["type"], &rest[2]["type"], &rest[4]["type"]), (&json!(6), &json!(6), &json!(6)));
    let odd = format!("line {}: an odd number of hex digits, 3", number + 2);
    assert_eq!(*rest[3], json!({"error": odd, "offset": offset + 26}));
    assert_eq!(rest.len(), 5);
}

#[test]
fn a_stream_that_ends_within_a_frame_is_told() {
    let done = fed(&["-"], &bytes(&[SYNC, &PING[..20]].concat()));
    assert_eq!(done.status, Some(1));
    let last = "       13  ERROR               the stream ends within a frame, 10 bytes after its beginning";
    assert_eq!(done.out.lines().last(), Some(last));
    let done = fed(&["-"], format!("{SYNC}\n{}\n", &PING[..20]).as_bytes());
    let last = "       13  ERROR               line 2 ends within a frame, 10 bytes after its beginning";
    assert_eq!((done.status, done.out.lines().last()), (Some(1), Some(last)));
    assert_eq!(fed(&["-"], b"").fine(), "");
    assert_eq!(fed(&["-"], &[0x21]).status, Some(1));
}

#[test]
fn garbage_is_told_to_be_neither_frames_nor_hex() {
    for garbage in [&b"{\"hex\": \"00\"}\n"[..], &[0xff; 100], b"GET / HTTP/1.1\r\n\r\n"] {
        let done = fed(&["-", "--json"], garbage);
        let objects = objects(&done.out);
        let why = objects[0]["error"].as_str().unwrap();
        assert!(why.contains("neither a stream of frames nor lines of hex"), "{why}");
        assert_eq!((done.status, objects.len(), &objects[0]["offset"]), (Some(1), 1, &json!(0)));
    }
}

#[test]
fn whoever_has_seen_enough_may_go() {
    let place = Place::new();
    let mut command = place.command(&["relay", "inspect", "-"], &[]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut pipe = child.stdin.take().unwrap();
    // Until it is gone too.
    while pipe.write_all(&bytes(SYNC)).is_ok() {}
    let done = Done::from(child.wait_with_output().unwrap());
    assert_eq!((done.status, done.err.as_str()), (Some(0), ""));
}

#[test]
fn help_promises_what_there_is() {
    let place = Place::new();
    let help = place.run(&["relay", "--help"], &[]);
    let commands =
        help.fine().split("Instead of running it:").nth(1).unwrap().split("Options:").next().unwrap();
    let names: Vec<&str> = commands.lines().filter_map(|line| line.split_whitespace().next()).collect();
    for name in ["inspect", "replay", "tunnel", "help"] {
        assert!(names.contains(&name), "{names:?}");
    }
    assert!(help.out.contains("--listen") && help.out.contains("--outer"), "{}", help.out);
    assert!(inspect(&place, &["--help"]).fine().contains("--json"));
}
