//! HAProxy's agent checks: whoever connects gets one line, and the connection is closed.
//!
//! HAProxy 2.6 configuration manual, section 5.2, `agent-check`: words separated by spaces, tabs or commas, then
//! `#` and a description. `ready` ends a `drain` that was said before; it is said for a minute only,
//! since it would end what an operator of HAProxy's has set as well.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::core::{Core, Look};

const READY_FOR: Duration = Duration::from_secs(60);
/// HAProxy reads no longer lines.
const LONGEST: usize = 200;
const WRITE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(100);

/// Answers until `stop`.
pub(crate) async fn serve(core: Arc<Core>, guard: usize, listener: TcpListener, stop: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let line = core.look(&core.post(guard), |look| line(&look));
                tokio::spawn(tokio::time::timeout(WRITE, tell(stream, line)));
            }
            // No file descriptor is left, say.
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

async fn tell(mut stream: TcpStream, line: String) {
    // Whoever hangs up has no interest in the answer.
    let _ = stream.write_all(line.as_bytes()).await;
    let _ = stream.shutdown().await;
}

fn line(look: &Look<'_>) -> String {
    if look.guard.is_drained() {
        return "drain\n".to_owned();
    }
    let recently = |at| clock::now().saturating_duration_since(at) < READY_FOR;
    let ready = if look.undrained.is_some_and(recently) { "ready " } else { "" };
    if look.open {
        return format!("{ready}up\n");
    }
    let why: Vec<String> =
        look.reasons.iter().map(|reason| format!("{}: {}", reason.check, reason.saw)).collect();
    // Without the blank HAProxy takes it all for a word that it doesn't know, and leaves the server up.
    format!("{ready}down #{}\n", shown(&why.join("; ")))
}

/// What follows the `#` goes to the line's end, blanks and commas included.
fn shown(why: &str) -> String {
    why.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_short_line() {
        for (why, told) in [
            ("syncing: is_syncing: true, sync_distance: 9", "syncing: is_syncing: true, sync_distance: 9"),
            ("a\tb\r\nup\u{b}é", "abup"),
        ] {
            assert_eq!(shown(why), told);
        }
        assert_eq!(shown(&"x ".repeat(1000)).len(), LONGEST);
    }
}
