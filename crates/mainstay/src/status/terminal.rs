//! A terminal that is drawn on, and left as it was.
//!
//! Nothing of its modes is changed, so that there is nothing to restore but the other screen, the cursor and the wrapping of lines.

use std::io::{self, Write as _};

use rustix::process::{Signal, getpid, kill_process};
use rustix::termios::tcgetwinsize;

/// The other screen, no wrapping, no cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?7l\x1b[?25l";
/// All of it taken back.
const LEAVE: &str = "\x1b[?25h\x1b[?7h\x1b[?1049l";
/// What a terminal has that doesn't say.
const USUAL: (usize, usize) = (80, 24);

/// Left when it is dropped.
pub(super) struct Screen(());

impl Screen {
    /// Takes the terminal.
    pub(super) fn enter() -> io::Result<Self> {
        // From here on: what has been written of it is taken back even if the rest can't be.
        let screen = Self(());
        put(ENTER)?;
        Ok(screen)
    }

    /// Columns and rows as they are now.
    pub(super) fn size() -> (usize, usize) {
        match tcgetwinsize(io::stdout()) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
            _ => USUAL,
        }
    }

    /// Draws over what is there, without a moment in which nothing is.
    pub(super) fn show(&mut self, lines: &[String]) -> io::Result<()> {
        let text: Vec<String> = lines.iter().map(|line| format!("{line}\x1b[K")).collect();
        put(&format!("\x1b[H{}\x1b[J", text.join("\r\n")))
    }

    /// Gives the terminal back, stops this process as Ctrl-Z does, and takes the terminal again once it goes on.
    pub(super) fn stop_process(&mut self) {
        let _ = put(LEAVE);
        let _ = kill_process(getpid(), Signal::STOP);
        let _ = put(ENTER);
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = put(LEAVE);
    }
}

fn put(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
