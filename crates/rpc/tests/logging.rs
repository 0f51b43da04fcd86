//! The line of a request: the names are prio-load-balancer's.

#![allow(clippy::unwrap_used)]

mod common;

use std::io::Write;
use std::sync::{Arc, Mutex};

use common::{Bed, CALL, Node};
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

#[tokio::test]
async fn the_line_of_a_request() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber =
        tracing_subscriber::fmt().json().flatten_event(true).with_writer(move || writer.clone()).finish();
    // Of this thread: the test's runtime has no other.
    let _default = tracing::subscriber::set_default(subscriber);
    let node = Node::new().await;
    let uri = node.uri.replace("http://", "http://me:hunter2@");
    let bed = Bed::of(&[uri], "log_service = \"validation\"\n").await;
    bed.until("it is fit", |bed| bed.views()[0].fit).await;
    assert_eq!(bed.post_with(&[("x-request-id", "r1"), ("X-Fast-Track", "true")], CALL).await.status, 200);
    bed.until("it is logged", |_| {
        String::from_utf8_lossy(&lines.0.lock().unwrap()).contains("Request completed")
    })
    .await;
    let all = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
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
