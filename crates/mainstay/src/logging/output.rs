//! The thread that writes log lines, and the bounded queue before it.

use std::io::{self, BufWriter, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use tracing_subscriber::fmt::MakeWriter;

use super::limit::{LeftOut, Limit};

/// Lines that may wait for a slow reader; more are dropped and counted.
const QUEUE: usize = 8192;
/// How often what was left out is looked at, at least.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// How long the end of the process waits for lines still queued.
const LAST_LINES: Duration = Duration::from_secs(1);

enum Message {
    Line(Vec<u8>),
    /// Answered once everything before it is written.
    Flush(SyncSender<()>),
}

/// Where the subscriber writes.
#[derive(Clone)]
pub(crate) struct Output {
    queue: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
}

/// Writes out what is queued when it is dropped, for a second at most.
pub(crate) struct Guard {
    queue: SyncSender<Message>,
}

/// Starts the thread.
pub(crate) fn start(limit: Arc<Limit>) -> (Output, Guard) {
    let (queue, lines) = sync_channel(QUEUE);
    let dropped = Arc::new(AtomicU64::new(0));
    let output = Output { queue: queue.clone(), dropped: Arc::clone(&dropped) };
    // Without the thread (no memory for its stack) lines are dropped: the process serves all the same.
    let _ =
        std::thread::Builder::new().name("log".into()).spawn(move || write_lines(&lines, &dropped, &limit));
    (output, Guard { queue })
}

fn write_lines(lines: &Receiver<Message>, dropped: &AtomicU64, limit: &Limit) {
    let mut out = BufWriter::with_capacity(64 << 10, io::stdout());
    loop {
        let mut next = match lines.recv_timeout(TELL_EVERY) {
            Ok(first) => Some(first),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        while let Some(message) = next {
            match message {
                // A closed pipe is no reason to stop: whoever depends on us does not read the log.
                Message::Line(line) => drop(out.write_all(&line)),
                Message::Flush(done) => {
                    let _ = out.flush();
                    let _ = done.try_send(());
                }
            }
            next = lines.try_recv().ok();
        }
        let _ = out.flush();
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            tracing::warn!(lost, "log lines were dropped, what reads the log is too slow");
        }
        for left_out in limit.ended() {
            let LeftOut { message, node, lines } = left_out;
            tracing::warn!(lines, like = message, of_node = node, "lines of one cause were left out");
        }
    }
}

impl<'a> MakeWriter<'a> for Output {
    type Writer = &'a Output;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

impl Write for &Output {
    /// The subscriber hands over a whole line at once.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.queue.try_send(Message::Line(line.to_vec())).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[allow(clippy::disallowed_methods, reason = "the process ends: nothing runs that could be held up")]
impl Drop for Guard {
    fn drop(&mut self) {
        let until = Instant::now() + LAST_LINES;
        let (done, written) = sync_channel(1);
        let mut message = Message::Flush(done);
        while let Err(TrySendError::Full(back)) = self.queue.try_send(message) {
            if Instant::now() >= until {
                return;
            }
            message = back;
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = written.recv_timeout(until.saturating_duration_since(Instant::now()));
    }
}
