//! The line of a request: the names are prio-load-balancer's.

#![allow(clippy::unwrap_used)]

mod common;

use std::io::Write;
use std::sync::{Arc, Mutex};

use common::{Bed, CALL, Node};
use mainstay_store::{MemoryStore, NodeList};
use serde_json::Value;

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Lines {
    /// All that is logged on this thread as long as the guard is there: a test's runtime has no other.
    fn here() -> (Self, tracing::subscriber::DefaultGuard) {
        let lines = Self::default();
        let writer = lines.clone();
        let subscriber =
            tracing_subscriber::fmt().json().flatten_event(true).with_writer(move || writer.clone()).finish();
        (lines, tracing::subscriber::set_default(subscriber))
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// A node that was taken out of the settings is still on the list.
#[tokio::test]
async fn at_the_start_nodes_are_named_that_the_settings_dont_name() {
    let (lines, _guard) = Lines::here();
    let store = Arc::new(MemoryStore::new());
    let list = NodeList::open(store.clone(), |one, other| one == other).await;
    for node in ["http://me:hunter2@kept:1", "http://set:2?_workers=4", "http://kept:3"] {
        list.add(node).await.unwrap();
    }
    let bed = Bed::on(store.clone(), &["http://set:2".to_owned(), "http://new:4".to_owned()], "").await;
    assert_eq!(bed.views().len(), 4);
    let told = |text: &str| -> Vec<String> {
        text.lines().filter(|line| line.contains("settings don't name")).map(str::to_owned).collect()
    };
    let [line] = &told(&lines.text())[..] else { panic!("one line: {}", lines.text()) };
    let line: Value = serde_json::from_str(line).unwrap();
    assert_eq!(line["nodes"], "http://***@kept:1, http://kept:3");
    drop(bed);
    list.remove("http://kept:3").await.unwrap();
    list.remove("http://me:hunter2@kept:1").await.unwrap();
    let _bed = Bed::on(store, &["http://set:2".to_owned(), "http://new:4".to_owned()], "").await;
    assert_eq!(told(&lines.text()).len(), 1, "there is nothing to say any more");
}

#[tokio::test]
async fn the_line_of_a_request() {
    let (lines, _guard) = Lines::here();
    let node = Node::new().await;
    let uri = node.uri.replace("http://", "http://me:hunter2@");
    let bed = Bed::of(&[uri], "log_service = \"validation\"\n").await;
    bed.until("it is fit", |bed| bed.views()[0].fit).await;
    assert_eq!(bed.post_with(&[("x-request-id", "r1"), ("X-Fast-Track", "true")], CALL).await.status, 200);
    bed.until("it is logged", |_| lines.text().contains("Request completed")).await;
    let all = lines.text();
    assert!(!all.contains("hunter2") && !all.contains("me:"), "{all}");
    let line = all.lines().find(|line| line.contains("Request completed")).unwrap();
    let line: Value = serde_json::from_str(line).unwrap();
    for (name, value) in [
        ("message", Value::from("Request completed")),
        ("level", "INFO".into()),
        ("service", "validation".into()),
        ("reqID", "r1".into()),
        ("requestIsHighPrio", false.into()),
        ("requestIsFastTrack", true.into()),
        ("payloadSize", CALL.len().into()),
        ("statusCode", 200.into()),
        ("nodeURI", format!("http://***@{}", node.address).into()),
        ("requestTries", 1.into()),
        ("outcome", "ok".into()),
    ] {
        assert_eq!(line[name], value, "{name} in {line}");
    }
    for name in
        ["durationMs", "durationUs", "simDurationUs", "queueDurationUs", "queueItems", "queueItemsFastTrack"]
            .into_iter()
            .chain(["queueItemsHighPrio", "queueItemsLowPrio", "startQueueSize", "startQueueSizeFastTrack"])
            .chain([
                "startQueueSizeHighPrio",
                "startQueueSizeLowPrio",
                "endQueueSize",
                "endQueueSizeFastTrack",
            ])
            .chain(["endQueueSizeHighPrio", "endQueueSizeLowPrio"])
    {
        assert!(line[name].is_u64(), "{name} in {line}");
    }
}

/// For whoever tries out what reads the log; a line of each level, and the status that goes with the last.
#[tokio::test]
async fn a_line_of_each_level_if_that_is_set() {
    let (lines, _guard) = Lines::here();
    let bed = Bed::of(&[], "error_test_api = true\n").await;
    let reply = bed.get("/debug/testLogLevels").await;
    assert_eq!((reply.status.as_u16(), reply.body.len()), (500, 0));
    for level in ["INFO", "WARN", "ERROR"] {
        let wanted = format!("a line of level {}", level.to_lowercase());
        let line = lines.text().lines().find(|line| line.contains(&wanted)).map(str::to_owned);
        assert!(line.unwrap().contains(level), "{level}");
    }
    let bed = Bed::of(&[], "").await;
    assert_eq!(bed.get("/debug/testLogLevels").await.status, 404);
}
