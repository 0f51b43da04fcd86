//! What systemd, or whoever speaks its language, is told of the process (`sd_notify(3)`, `sd_watchdog_enabled(3)`). Nothing where nobody asks.

use sd_notify::NotifyState;
use tracing::warn;

/// It serves. `taken_over`: from a process that systemd has known till now, so it is told who is the main one from here on.
pub(crate) fn ready(taken_over: bool) {
    let pid = NotifyState::MainPid(std::process::id());
    tell(&if taken_over { vec![pid, NotifyState::Ready] } else { vec![NotifyState::Ready] });
    if let Some(limit) = sd_notify::watchdog_enabled() {
        // Of the runtime on which everything else runs: if that hangs, nothing is told any more.
        tokio::spawn(async move {
            let mut beat = tokio::time::interval(limit / 2);
            loop {
                beat.tick().await;
                tell(&[NotifyState::Watchdog]);
            }
        });
    }
}

/// It is about to end.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// It reads its settings anew.
pub(crate) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(why) => warn!(%why, "cannot tell the service manager of a reload"),
    }
}

/// It has read them; what came of it, for `systemctl status`.
pub(crate) fn reloaded(what: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(what)]);
}

fn tell(what: &[NotifyState<'_>]) {
    if let Err(why) = sd_notify::notify(what) {
        warn!(%why, "cannot tell the service manager");
    }
}
