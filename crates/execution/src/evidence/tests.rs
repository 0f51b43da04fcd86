#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::{Body, Id, MAX_BODY, Record, Reply, Store, StoreError, list, load};

const TIME: u64 = 1_795_231_026_068;

/// A split vote of three nodes, with white space in the request that must stay.
pub(super) fn record(time: u64) -> Record {
    let reply = |node: &str, vote: &str, took_ms, body: Option<&'static str>| Reply {
        node: node.to_owned(),
        client: (node == "geth-1").then(|| "Geth 1.17.8".to_owned()),
        vote: vote.to_owned(),
        took_ms,
        status: body.map(|_| 200),
        error: body.is_none().then(|| "no reply within 7.5 s".to_owned()),
        body: body.map(|body| Body::from(Bytes::from_static(body.as_bytes()))),
    };
    Record {
        id: Id::new(time),
        time,
        method: "engine_newPayloadV4".to_owned(),
        block: Some("0xab".to_owned()),
        number: Some(7),
        verdict: "SYNCING".to_owned(),
        cause: "split vote".to_owned(),
        mainstay: "0.1.0".to_owned(),
        request: Body::from(Bytes::from_static(
            br#"{"jsonrpc":"2.0", "id":1,"method":"engine_newPayloadV4","params":[{"blockHash":"0xab"}]}"#,
        )),
        replies: vec![
            reply(
                "geth-1",
                "VALID",
                Some(12),
                Some(
                    r#"{"jsonrpc":"2.0","id":1,"result":{"status":"VALID","latestValidHash":"0xab","validationError":null}}"#,
                ),
            ),
            reply(
                "geth-2",
                "INVALID",
                Some(31),
                Some(
                    r#"{"jsonrpc":"2.0","id":1,"result":{"status":"INVALID","latestValidHash":null,"validationError":"bad state root"}}"#,
                ),
            ),
            reply("hung", "timeout", None, None),
        ],
    }
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn what_is_saved_is_what_is_loaded() {
    let dir = tempfile::tempdir().unwrap();
    let saved = record(TIME);
    let path = Store::open(dir.path(), 10, 1 << 20).unwrap().save(&saved).unwrap();

    let loaded = load(dir.path(), saved.id.as_str()).unwrap();
    assert_eq!(loaded.request, saved.request);
    assert_eq!(loaded.request.verbatim(), saved.request.verbatim());
    assert_eq!(loaded.replies[1].body, saved.replies[1].body);
    assert_eq!(loaded.replies[2].error.as_deref(), Some("no reply within 7.5 s"));
    assert_eq!((loaded.time, loaded.number, loaded.id), (TIME, Some(7), saved.id.clone()));

    let text = fs::read_to_string(path).unwrap();
    assert!(
        text.contains(std::str::from_utf8(saved.request.kept()).unwrap()),
        "the request is not verbatim: {text}"
    );
    assert_eq!(names(dir.path()), [format!("{}.json", saved.id)]);
}

#[test]
fn the_oldest_go_first_when_there_are_too_many() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), 3, 1 << 20).unwrap();
    // Saved out of order: time counts, not the order of saving.
    for offset in [4, 0, 3, 1, 2] {
        store.save(&record(TIME + offset)).unwrap();
        assert!(names(dir.path()).len() <= 3);
    }
    let times: Vec<u64> =
        list(dir.path()).unwrap().into_iter().map(|entry| entry.record.unwrap().time).collect();
    assert_eq!(times, [TIME + 2, TIME + 3, TIME + 4]);
}

#[test]
fn the_oldest_go_first_when_they_are_too_big() {
    let dir = tempfile::tempdir().unwrap();
    let size = record(TIME).to_json().unwrap().len() as u64;
    let store = Store::open(dir.path(), 100, 2 * size + 10).unwrap();
    for offset in 0..5 {
        store.save(&record(TIME + offset)).unwrap();
    }
    assert_eq!(names(dir.path()).len(), 2);

    // A smaller bound takes hold when the store is opened.
    Store::open(dir.path(), 100, size + 10).unwrap();
    let left = list(dir.path()).unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].record.as_ref().unwrap().time, TIME + 4);
}

#[test]
fn a_record_over_the_bound_is_refused_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), 100, 100).unwrap();
    assert!(matches!(store.save(&record(TIME)), Err(StoreError::TooLarge { .. })));
    assert!(names(dir.path()).is_empty());
}

#[test]
fn what_a_crash_left_goes_away_and_what_is_being_written_stays() {
    let dir = tempfile::tempdir().unwrap();
    let abandoned = dir.path().join("20261121T031706.123Z-0001-9f3a.json.tmp");
    let fresh = dir.path().join("20261121T031706.123Z-0002-9f3a.json.tmp");
    fs::write(&abandoned, "{").unwrap();
    fs::write(&fresh, "{").unwrap();
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_millis(TIME);
    File::options().write(true).open(&abandoned).unwrap().set_modified(long_ago).unwrap();

    Store::open(dir.path(), 10, 1 << 20).unwrap();
    assert!(!abandoned.exists());
    assert!(fresh.exists());
    assert!(list(dir.path()).unwrap().is_empty());
}

#[test]
fn a_corrupt_record_hides_no_other_and_its_error_quotes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), 10, 1 << 20).unwrap();
    let good = record(TIME);
    store.save(&good).unwrap();
    let corrupt = "20261121T031707.000Z-0001-9f3a";
    fs::write(dir.path().join(format!("{corrupt}.json")), r#"{"id": "hunter2"}"#).unwrap();
    store.save(&record(TIME + 2)).unwrap();

    let entries = list(dir.path()).unwrap();
    assert_eq!(entries.len(), 3);
    assert_eq!(entries.iter().filter(|entry| entry.record.is_ok()).count(), 2);
    let error = load(dir.path(), corrupt).unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }));
    assert!(!error.to_string().contains("hunter2"), "{error}");
    assert!(load(dir.path(), good.id.as_str()).is_ok());
}

#[test]
fn files_of_others_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("notes.json"), "mine").unwrap();
    fs::create_dir(dir.path().join("20261121T031706.123Z-0001-9f3a.json")).unwrap();
    let store = Store::open(dir.path(), 1, 1 << 20).unwrap();
    for offset in 0..3 {
        store.save(&record(TIME + offset)).unwrap();
    }
    assert_eq!(names(dir.path()).len(), 3);
    assert!(dir.path().join("notes.json").exists());
}

#[test]
fn a_body_that_is_too_long_is_cut_off_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let mut big = record(TIME);
    big.request = Body::from(Bytes::from(vec![b'7'; MAX_BODY + 1]));
    assert!(big.request.verbatim().is_none());
    Store::open(dir.path(), 10, 1 << 30).unwrap().save(&big).unwrap();

    let loaded = load(dir.path(), big.id.as_str()).unwrap();
    assert_eq!(loaded.request.kept().len(), MAX_BODY);
    assert_eq!(loaded.request.note(), Some("truncated: the first 8388608 of 8388609 bytes"));
}

#[test]
fn a_body_that_is_no_json_is_kept_as_text() {
    let dir = tempfile::tempdir().unwrap();
    let mut odd = record(TIME);
    odd.replies[0].body = Some(Body::from(Bytes::from_static(b"<html>502\xff\"}")));
    odd.replies[1].body = Some(Body::from(Bytes::new()));
    Store::open(dir.path(), 10, 1 << 20).unwrap().save(&odd).unwrap();

    let loaded = load(dir.path(), odd.id.as_str()).unwrap();
    let body = loaded.replies[0].body.as_ref().unwrap();
    assert_eq!(body.kept().as_ref(), "<html>502\u{fffd}\"}".as_bytes());
    assert_eq!(body.note(), Some("not JSON"));
    assert!(loaded.replies[1].body.as_ref().unwrap().kept().is_empty());
}

#[test]
fn debug_text_holds_no_payload() {
    assert!(!format!("{:?}", record(TIME)).contains("blockHash"));
}

#[test]
fn failures_are_returned_with_the_path() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Store::open(&file.join("below"), 1, 1).unwrap_err();
    assert!(error.to_string().contains("below"), "{error}");

    let gone = dir.path().join("gone");
    let store = Store::open(&gone, 1, 1 << 20).unwrap();
    fs::remove_dir(&gone).unwrap();
    assert!(matches!(store.save(&record(TIME)), Err(StoreError::Io { .. })));
    assert!(list(&gone).is_err());
}

#[test]
fn stores_that_share_a_directory_do_not_fail_each_other() {
    let dir = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let store = Store::open(dir.path(), 2, 1 << 20).unwrap();
            scope.spawn(move || {
                for offset in 0..20 {
                    store.save(&record(TIME + offset)).unwrap();
                }
            });
        }
    });
    assert!(names(dir.path()).len() <= 2, "{:?}", names(dir.path()));
}
