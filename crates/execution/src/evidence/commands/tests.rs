#![allow(clippy::unwrap_used)]

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::{CommandError, clean, list, replay, show};
use crate::evidence::tests::record;
use crate::evidence::{Body, MAX_BODY, Store};

const TIME: u64 = 1_795_231_026_068;

fn kept() -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let record = record(TIME);
    Store::open(dir.path(), 10, 1 << 20).unwrap().save(&record).unwrap();
    (dir, record.id.to_string())
}

#[test]
fn list_has_a_line_a_record_and_survives_a_corrupt_one() {
    let (dir, id) = kept();
    let corrupt = "20261121T031707.000Z-0001-9f3a";
    std::fs::write(dir.path().join(format!("{corrupt}.json")), "{").unwrap();

    let text = list(dir.path()).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(
        lines[1].starts_with(&id) && lines[1].contains("geth-1 VALID, geth-2 INVALID, hung timeout"),
        "{text}"
    );
    assert!(lines[2].starts_with(corrupt) && lines[2].contains("unreadable"), "{text}");
}

#[test]
fn an_empty_directory_is_said_to_be_so() {
    let dir = tempfile::tempdir().unwrap();
    assert!(list(dir.path()).unwrap().starts_with("no evidence in "));
}

#[test]
fn show_says_who_said_what() {
    let (dir, id) = kept();
    let text = show(dir.path(), &id).unwrap();
    for part in [
        "2026-11-21 03:17:06.068 UTC",
        "split vote",
        "engine_newPayloadV4",
        "7 0xab",
        "geth-1  VALID    12 ms  Geth 1.17.8  VALID, latestValidHash 0xab",
        "geth-2  INVALID  31 ms  ?            INVALID, \"bad state root\"",
        "hung    timeout  -      ?            no reply within 7.5 s",
    ] {
        assert!(text.contains(part), "no {part:?} in:\n{text}");
    }
}

#[test]
fn the_beginning_of_a_name_is_enough_if_it_is_one() {
    let (dir, id) = kept();
    assert!(show(dir.path(), &id[..12]).is_ok());
    assert!(show(dir.path(), "").is_err());
    assert!(show(dir.path(), "../x").is_err());
}

#[test]
fn a_nodes_words_cannot_drive_a_terminal() {
    assert_eq!(clean("a\u{1b}[2Jb\r\n", 20), "a [2Jb  ");
    assert_eq!(clean("abc", 2), "ab…");
}

#[tokio::test]
async fn replay_posts_the_request_as_it_was() {
    let (dir, id) = kept();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let node = url::Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    let served = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\"0xab\"}]}") {
            assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0);
        }
        let body = r#"{"jsonrpc":"2.0","id":1,"result":{"status":"VALID","latestValidHash":"0xab","validationError":null}}"#;
        let reply = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        stream.write_all(reply.as_bytes()).await.unwrap();
        String::from_utf8(request).unwrap()
    });
    let secret = mainstay_wire::jwt::Secret::from_hex(&"11".repeat(32)).unwrap();

    let text = replay(dir.path(), &id, &node, Some(&secret), SystemTime::UNIX_EPOCH, Duration::from_secs(10))
        .await
        .unwrap();
    let request = served.await.unwrap();
    assert!(request.contains("Bearer "), "{request}");
    assert!(request.ends_with(
        r#"{"jsonrpc":"2.0", "id":1,"method":"engine_newPayloadV4","params":[{"blockHash":"0xab"}]}"#
    ));
    assert!(text.contains("now   VALID, latestValidHash 0xab in "), "{text}");
    assert!(text.contains("then  verdict SYNCING, geth-1 VALID"), "{text}");
    assert!(!text.contains("127.0.0.1"), "{text}");
}

#[tokio::test]
async fn a_request_that_was_cut_off_is_not_replayed() {
    let dir = tempfile::tempdir().unwrap();
    let mut record = record(TIME);
    record.request = Body::from(Bytes::from(vec![b'1'; MAX_BODY + 1]));
    Store::open(dir.path(), 10, 1 << 30).unwrap().save(&record).unwrap();
    let node = url::Url::parse("http://127.0.0.1:1/").unwrap();
    let result =
        replay(dir.path(), record.id.as_str(), &node, None, SystemTime::UNIX_EPOCH, Duration::from_secs(1))
            .await;
    assert!(matches!(result, Err(CommandError::NotReplayable(note)) if note.contains("truncated")));
}
