//! HAProxy's agent checks: whoever connects gets one line, and the connection is closed.
//!
//! HAProxy 2.6 configuration manual, section 5.2, `agent-check`. `ready` ends a `drain` that was said before; it is said for a minute only,
//! since it would end what an operator of HAProxy's has set as well.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::core::{Core, Look, Post};

const READY_FOR: Duration = Duration::from_secs(60);
/// HAProxy reads no longer lines.
const LONGEST: usize = 200;
const WRITE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(100);

/// Answers until `stop`.
pub(crate) async fn serve(core: Arc<Core>, post: Arc<Post>, listener: TcpListener, stop: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let line = core.look(&post, |look| line(&look));
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
    // A comma, a space or a tab ends nothing after the #, a line's end would.
    let why: String =
        why.join("; ").chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(LONGEST).collect();
    format!("{ready}down#{why}\n")
}
