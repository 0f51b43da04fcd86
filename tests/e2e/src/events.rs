//! A client of a beacon node's event stream, which opens it again whenever it ends.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, header};
use http_body_util::BodyExt;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::Result;
use crate::rpc::send;

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(200);

/// What became of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A head event.
    Head,
    /// The stream was open and has ended.
    Ended,
    /// It was refused with this status.
    Refused(u16),
}

/// A running client; it ends when dropped.
pub struct Events {
    notes: Arc<Mutex<Vec<(Instant, Note)>>>,
    _tasks: JoinSet<()>,
}

impl Events {
    /// Listens to the head events of the beacon node at `api`.
    pub fn listen(api: &str) -> Events {
        let notes = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = JoinSet::new();
        let (url, kept) = (format!("{api}/eth/v1/events?topics=head"), notes.clone());
        tasks.spawn(async move {
            loop {
                // Where nobody is there it is tried again, as event sources do.
                let _ = listen(&url, &kept).await;
                tokio::time::sleep(PAUSE).await;
            }
        });
        Events { notes, _tasks: tasks }
    }

    /// What has come since `since`, with the same as the last left out.
    pub fn since(&self, since: Instant) -> Vec<Note> {
        let notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut notes: Vec<Note> =
            notes.iter().filter(|(at, _)| *at >= since).map(|(_, note)| note.clone()).collect();
        notes.dedup();
        notes
    }
}

async fn listen(url: &str, notes: &Mutex<Vec<(Instant, Note)>>) -> Result<()> {
    let note = |note| notes.lock().unwrap_or_else(PoisonError::into_inner).push((Instant::now(), note));
    let request = Request::get(url).header(header::ACCEPT, "text/event-stream").body(Bytes::new())?;
    let reply = send(request).await?;
    if !reply.status().is_success() {
        note(Note::Refused(reply.status().as_u16()));
        return Ok(());
    }
    let mut body = reply.into_body();
    while let Some(Ok(frame)) = body.frame().await {
        if frame.data_ref().is_some_and(|data| data.starts_with(b"event: head")) {
            note(Note::Head);
        }
    }
    note(Note::Ended);
    Ok(())
}
