//! `mainstay relay replay` as an operator uses it.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::Write;
use std::process::Stdio;

use serde_json::{Value, json};
use support::{Done, Place};

const DIVERGED: &str = include_str!("../../relay/tests/vectors/round_diverged.json");
const KILL_IDLE: &str = include_str!("../../relay/tests/vectors/round_kill_idle.json");
const LOST_ROUND: &str = include_str!("../../relay/tests/vectors/lost_round_trace.jsonl");

fn replay(content: &str, arguments: &[&str]) -> Done {
    let place = Place::new();
    place.file("round.json", content);
    place.run(&[&["relay", "replay", "round.json"], arguments].concat(), &[])
}

fn objects(done: &Done) -> Vec<Value> {
    done.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The round that was recorded while legs disagreed, as JSON to be changed.
fn diverged() -> Value {
    serde_json::from_str(DIVERGED).unwrap()
}

#[test]
fn recorded_rounds_give_their_verdicts() {
    for (recording, blocks, wins) in [(DIVERGED, 46, 24), (KILL_IDLE, 27, 24), (LOST_ROUND, 260, 10)] {
        let done = replay(recording, &["--json"]);
        done.fine();
        let objects = objects(&done);
        assert_eq!(objects.len(), blocks);
        assert_eq!(objects.iter().filter(|block| block["verdict"] == "win").count(), wins);
        assert!(objects.iter().all(|block| block["agrees"] == true && block["recorded"].is_string()));
        let text = replay(recording, &[]);
        let last = text.fine().lines().last().unwrap();
        assert!(last.starts_with(&format!("{blocks} blocks: ")), "{last}");
        assert!(
            last.ends_with("0 slots with two public blocks; every recorded verdict is the same"),
            "{last}"
        );
    }
}

#[test]
fn a_block_is_told_with_its_verdict_and_why() {
    let text = replay(DIVERGED, &[]);
    let lines: Vec<&str> = text.fine().lines().collect();
    assert_eq!(
        lines[8],
        "    1.8063  leg 2         1500 000005dc717f73620eadb52c9efaa8e63894e89eadb4008b5fc2c547ff8d1db2 prodx         \
         slot 1697094796 ( 4)  suppress  lost     the slot went to \
         000005dc19aa05e291684508da3d7002a742310fb174d4f6a92d1315cd1c1993"
    );
    let objects = objects(&replay(DIVERGED, &["--json"]));
    let object = &objects[10];
    assert_eq!(
        *object,
        json!({
            "at": 2.25, "leg": 2, "block_num": 1501, "slot": 1_697_094_797, "producer": "prodx", "passes": false,
            "verdict": "tainted", "why": "previous is not public", "recorded": "tainted", "agrees": true,
            "id": object["id"], "previous": objects[8]["id"],
        })
    );
}

#[test]
fn a_verdict_that_differs_is_told_and_fails() {
    let mut round = diverged();
    round["blocks"][8]["verdict"] = json!("win");
    let done = replay(&round.to_string(), &[]);
    assert_eq!((done.status, done.err.as_str()), (Some(1), ""));
    let wrong: Vec<&str> = done.out.lines().filter(|line| line.contains("[recorded: win]")).collect();
    assert_eq!(wrong.len(), 1);
    assert!(wrong[0].contains("suppress  lost"), "{}", wrong[0]);
    assert!(done.out.ends_with("; 1 of 46 recorded verdicts differ\n"), "{}", done.out);
    let objects = objects(&replay(&round.to_string(), &["--json"]));
    assert_eq!(objects[8]["agrees"], false);
}

/// As far as one needs it: by its fields instead of its bytes, without verdicts, as lines, with a clock.
#[test]
fn a_recording_may_say_less_or_more() {
    let full = objects(&replay(DIVERGED, &["--json"]));
    let mut round = diverged();
    for block in round["blocks"].as_array_mut().unwrap() {
        let block = block.as_object_mut().unwrap();
        block.remove("hex");
        block.remove("verdict");
    }
    let bare = objects(&replay(&round.to_string(), &["--json"]));
    assert_eq!(bare.len(), full.len());
    for (bare, full) in bare.iter().zip(&full) {
        assert_eq!((&bare["id"], &bare["verdict"]), (&full["id"], &full["verdict"]));
        assert_eq!((&bare["recorded"], &bare["agrees"]), (&Value::Null, &json!(true)));
    }

    let mut lines = json!({"producers": ["prodx"], "public_before": round["public_before"]}).to_string();
    for block in round["blocks"].as_array().unwrap() {
        lines.push_str(&format!("\n\n{block}"));
    }
    assert_eq!(objects(&replay(&lines, &["--json"])), bare);

    // A relay whose clock is two seconds behind: what comes is too early.
    let slot = round["blocks"][0]["slot"].as_u64().unwrap();
    round["began"] = json!(946_684_800_000 + 500 * slot - 2000);
    let early = objects(&replay(&round.to_string(), &["--json"]));
    assert!(early.iter().all(|block| block["verdict"] == "future" && block["passes"] == false));
}

#[test]
fn without_a_word_of_what_was_public_the_first_block_builds_on_it() {
    let mut round = diverged();
    round.as_object_mut().unwrap().remove("public_before");
    let blocks = objects(&replay(&round.to_string(), &["--json"]));
    // The second round builds on blocks of others that aren't in the recording.
    assert_eq!((&blocks[0]["verdict"], &blocks[45]["verdict"]), (&json!("win"), &json!("tainted")));
    round["public_before"] = json!([]);
    let blocks = objects(&replay(&round.to_string(), &["--json"]));
    assert!(blocks.iter().all(|block| block["verdict"] == "tainted"));
}

#[test]
fn who_is_ours_may_be_said() {
    for flags in [&["--producer", "eosio,prody"][..], &["--producer", "eosio", "--producer", "prody"]] {
        let blocks = objects(&replay(DIVERGED, &[flags, &["--json"]].concat()));
        assert!(blocks.iter().all(|block| block["verdict"] == "other" && block["passes"] == true));
    }
    let mut round = diverged();
    round.as_object_mut().unwrap().remove("producer");
    // By its verdicts.
    replay(&round.to_string(), &[]).fine();
    for block in round["blocks"].as_array_mut().unwrap() {
        block.as_object_mut().unwrap().remove("verdict");
    }
    replay(&round.to_string(), &[]).refused(&[
        "error: round.json: producer: it isn't told whose blocks are decided about; say it with --producer NAME",
    ]);
    replay(&round.to_string(), &["--producer", "prodx"]).fine();
    let done = replay(DIVERGED, &["--producer", "Prodx"]);
    assert_eq!(done.status, Some(2));
    assert!(
        done.err.contains("'Prodx'") && done.err.contains("a name has up to 12 characters"),
        "{}",
        done.err
    );
}

#[test]
fn a_recording_may_come_by_a_pipe() {
    let place = Place::new();
    let mut command = place.command(&["relay", "replay", "-"], &[]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(KILL_IDLE.as_bytes()).unwrap();
    let done = Done::from(child.wait_with_output().unwrap());
    assert_eq!(done.fine().lines().count(), 28);
}

#[test]
fn what_is_wrong_is_told_with_file_and_path() {
    let id = "00000001".repeat(8);
    let change = |path: &str, value: Value| {
        let mut round = diverged();
        *round.pointer_mut(path).unwrap() = value;
        round.to_string()
    };
    let first = DIVERGED.split("\"hex\": \"").nth(1).unwrap().split('"').next().unwrap();
    let event = |more: Value| {
        let mut event = json!({"at": 0, "leg": 1, "dir": "inner->outer"});
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        format!("{{\"producer\": \"prodx\"}}\n{event}\n")
    };
    for (content, told) in [
        (String::new(), "not JSON: EOF while parsing a value at line 1 column 0"),
        ("{\"blocks\": [}".to_owned(), "not JSON: expected value at line 1 column 13"),
        ("[]".to_owned(), "an object with \"blocks\" is expected, or such with an event on each line"),
        ("{\"blocks\": 5}".to_owned(), "blocks: a list is expected"),
        ("{\"blocks\": [5]}".to_owned(), "blocks[0]: an object is expected"),
        (
            change("/producer", json!("PRODX")),
            "producer: a name has up to 12 characters of a-z, 1-5 and '.', and maybe a 13th up to 'j'",
        ),
        (change("/producer", json!(5)), "producer: a text is expected"),
        (change("/public_before/1", json!("00")), "public_before[1]: 64 hex digits are expected"),
        (change("/public_before", json!("00")), "public_before: a list of texts is expected"),
        (change("/blocks/3/hex", json!("xx")), "blocks[3].hex: hex digits are expected"),
        (change("/blocks/3/hex", json!("050000000700")), "blocks[3].hex: the frame isn't whole"),
        (change("/blocks/3/hex", json!("00000000")), "blocks[3].hex: a frame of length 0"),
        (change("/blocks/3/hex", json!(format!("{first}00"))), "blocks[3].hex: 1 bytes follow the frame"),
        (
            change("/blocks/3/hex", json!("020000000700")),
            "blocks[3].hex: slot: 4 bytes are needed, 1 are left (at byte 5 of the frame)",
        ),
        (
            change("/blocks/3/block_id", json!(id)),
            "blocks[3].block_id: the block in hex is 000005da691cbc71ac628c83654e039a7bfbb29c533520ee8100168a80d2c7b2",
        ),
        (
            change("/blocks/3/verdict", json!("won")),
            "blocks[3].verdict: one of win, same, public, history, other, open, lost, tainted, future, old, copy, closed, dup_suppressed is expected",
        ),
        (change("/blocks/3/leg", json!(-1)), "blocks[3].leg: a whole number is expected"),
        (change("/blocks/3/at", json!("soon")), "blocks[3].at: seconds are expected"),
        (change("/blocks/3/at", json!(1e300)), "blocks[3].at: seconds are expected"),
        (event(json!({"hex": "00"})), "line 2: hex: the frame isn't whole"),
        (event(json!({"hex": first, "dir": "up"})), "line 2: dir: inner->outer or outer->inner is expected"),
        (
            event(json!({"block_id": id})),
            "line 2: block_id: nothing before it has this block's hex, nor is there \"previous\" here",
        ),
        (
            event(json!({"block_id": id, "previous": id})),
            "line 2: previous: its number is not the one before the block's",
        ),
        (
            event(json!({"block_id": id, "previous": "0".repeat(64)})),
            "line 2: slot: a slot's number is expected",
        ),
        (
            event(json!({"block_id": id, "previous": "0".repeat(64), "slot": 5}))
                .replace("\"producer\"", "\"title\""),
            "line 2: producer: who made it is expected",
        ),
        (event(json!({})) + "{\"began\": \"today\"}", "line 3: began: milliseconds since 1970 are expected"),
        (
            "{\"at\": 1}\n{\"at\"".to_owned(),
            "line 2: not JSON: EOF while parsing an object at line 1 column 5",
        ),
        ("{\"at\": 1}\n[]".to_owned(), "line 2: an object is expected"),
    ] {
        replay(&content, &[]).refused(&[&format!("error: round.json: {told}")]);
    }
    let place = Place::new();
    for (from, told) in [("none.json", "no such file; - is standard input"), (".", "is a folder, not a file")]
    {
        place.run(&["relay", "replay", from], &[]).refused(&[&format!("error: {from}: {told}")]);
    }
    std::fs::write(place.path().join("raw"), [b'{', 0xff]).unwrap();
    place.run(&["relay", "replay", "raw"], &[]).refused(&["error: raw: not text: byte 1 is not UTF-8"]);
}

#[test]
fn help_tells_the_form_and_the_exit_status() {
    let help = replay("", &["--help"]);
    for told in ["ROUND.json | -", "--producer", "--json", "Exit status", "README"] {
        assert!(help.fine().contains(told), "{told}: {}", help.out);
    }
}
