//! `mainstay relay inspect`: frames of the Antelope net protocol, decoded.
//!
//! Where they come from ([`source`]) and in which form ([`lines`], else raw) is settled first; then every frame is shown as soon as it is
//! whole ([`show`]), as a live stream may go on for days. What can't be decoded is shown in its place, and told by the exit status.

mod lines;
mod show;
mod source;

use std::io::{self, ErrorKind, Read, StdoutLock, Write};
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command};
use mainstay_antelope::{FrameError, Splitter};

use self::lines::Lines;
use self::show::Form;
use self::source::Source;

/// What is read at once, in bytes.
const READ: usize = 64 * 1024;
/// As many first bytes tell a stream of frames from text.
const TELLING: usize = 4;

/// Its command line.
pub(super) fn subcommand() -> Command {
    Command::new("inspect")
        .about("Print the frames of a live or stored stream, decoded")
        .after_help(
            "A stream is frames as they are on the wire, or lines of hex with whole frames in each (blanks between digits don't matter). \
             Nothing is sent to a node that is listened to.\n\n\
             With --json every frame is an object on a line: its type, type_name, every field under the protocol's name for it \
             (ids, keys and bytes in hex, times in nanoseconds as text), for blocks also block_num and id; one that can't be decoded is \
             {\"error\":…,\"offset\":…}, with its place in the stream in bytes.\n\n\
             Exit status: 0 if every frame was decoded, 1 if one was not or reading failed, 2 if there is nothing to read from.",
        )
        .arg(
            Arg::new("from")
                .value_name("HOST:PORT | FILE | -")
                .required(true)
                .help("Where to read: a node's p2p listener, a file, or - for standard input"),
        )
        .arg(
            Arg::new("json")
                .long("json")
                .action(ArgAction::SetTrue)
                .help("One JSON object a frame instead of text"),
        )
}

/// Runs it.
pub(super) fn command(matches: &ArgMatches) -> ExitCode {
    let from = matches.get_one::<String>("from").map_or("", String::as_str);
    let mut source = match source::open(from) {
        Ok(source) => source,
        Err(why) => {
            eprintln!("error: {from}: {why}");
            return ExitCode::from(crate::WRONG_CONFIG);
        }
    };
    let form = if matches.get_flag("json") { Form::Json } else { Form::Text };
    let mut shown = Shown { form, out: io::stdout().lock(), frames: 0, wrong: false };
    match inspect(&mut source, &mut shown) {
        Ok(()) => {}
        // Who reads has seen enough.
        Err(Stop::Writing(why)) if why.kind() == ErrorKind::BrokenPipe => return ExitCode::SUCCESS,
        Err(Stop::Writing(why)) => {
            eprintln!("error: cannot write: {why}");
            return ExitCode::FAILURE;
        }
        Err(Stop::Reading(why)) => {
            eprintln!("error: {from}: cannot read on: {why}");
            return ExitCode::FAILURE;
        }
    }
    if source.live && shown.frames == 0 && !shown.wrong {
        eprintln!(
            "error: {from}: closed without a frame: a node that has enough peers does so \
             (its p2p-max-nodes-per-host and max-clients)"
        );
        return ExitCode::FAILURE;
    }
    if shown.wrong { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Why it ended early.
enum Stop {
    Reading(io::Error),
    Writing(io::Error),
}

fn inspect(source: &mut Source, shown: &mut Shown<'_>) -> Result<(), Stop> {
    let mut buffer = vec![0; READ];
    let mut start = Vec::new();
    while !source.live && start.len() < TELLING {
        match read(source, &mut buffer)? {
            0 => break,
            length => start.extend_from_slice(&buffer[..length]),
        }
    }
    if !source.live && lines::are(&start) {
        in_lines(source, &start, &mut buffer, shown)
    } else {
        raw(source, &start, &mut buffer, shown)
    }
}

fn raw(source: &mut Source, start: &[u8], buffer: &mut [u8], shown: &mut Shown<'_>) -> Result<(), Stop> {
    let mut splitter = Splitter::default();
    splitter.push(start);
    loop {
        if let Err(why) = shown.all_of(&mut splitter, 0)? {
            let hint = match splitter.offset() {
                0 if !source.live => " (neither a stream of frames nor lines of hex)",
                _ => "",
            };
            return shown.error(&format!("{why}{hint}; what follows can't be told apart"), splitter.offset());
        }
        match read(source, buffer)? {
            0 => return shown.end(&splitter, 0, "the stream"),
            length => splitter.push(&buffer[..length]),
        }
    }
}

fn in_lines(source: &mut Source, start: &[u8], buffer: &mut [u8], shown: &mut Shown<'_>) -> Result<(), Stop> {
    let mut lines = Lines::default();
    lines.push(start);
    let mut offset = 0;
    let mut line = |number: u64, bytes: Result<Vec<u8>, String>, shown: &mut Shown<'_>| {
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(why) => return shown.error(&format!("line {number}: {why}"), offset),
        };
        let mut splitter = Splitter::default();
        splitter.push(&bytes);
        let base = offset;
        offset += bytes.len() as u64;
        match shown.all_of(&mut splitter, base)? {
            Ok(()) => shown.end(&splitter, base, &format!("line {number}")),
            Err(why) => shown.error(&format!("line {number}: {why}"), base + splitter.offset()),
        }
    };
    loop {
        while let Some((number, bytes)) = lines.next() {
            line(number, bytes, shown)?;
        }
        match read(source, buffer)? {
            0 => break,
            length => lines.push(&buffer[..length]),
        }
    }
    match lines.last() {
        Some((number, bytes)) => line(number, bytes, shown),
        None => Ok(()),
    }
}

fn read(source: &mut Source, buffer: &mut [u8]) -> Result<usize, Stop> {
    loop {
        match source.bytes.read(buffer) {
            Err(why) if why.kind() == ErrorKind::Interrupted => {}
            done => return done.map_err(Stop::Reading),
        }
    }
}

/// What has been printed.
struct Shown<'a> {
    form: Form,
    out: StdoutLock<'a>,
    frames: u64,
    /// Whether something was not as it should be.
    wrong: bool,
}

impl Shown<'_> {
    /// Prints the frames that are whole; the inner error is the stream's.
    fn all_of(&mut self, splitter: &mut Splitter, base: u64) -> Result<Result<(), FrameError>, Stop> {
        loop {
            let offset = base + splitter.offset();
            let frame = match splitter.split() {
                Ok(Some(frame)) => frame,
                Ok(None) => return Ok(Ok(())),
                Err(why) => return Ok(Err(why)),
            };
            self.frames += 1;
            match frame.message() {
                Ok(message) => self.line(&show::frame(self.form, offset, &frame, &message))?,
                Err(why) => self.error(&format!("{}: {why}", frame.kind().name()), offset)?,
            }
        }
    }

    /// Nothing may be left where `what` ends.
    fn end(&mut self, splitter: &Splitter, base: u64, what: &str) -> Result<(), Stop> {
        match splitter.pending() {
            0 => Ok(()),
            left => {
                let why = format!("{what} ends within a frame, {left} bytes after its beginning");
                self.error(&why, base + splitter.offset())
            }
        }
    }

    fn error(&mut self, why: &str, offset: u64) -> Result<(), Stop> {
        self.wrong = true;
        self.line(&show::error(self.form, offset, why))
    }

    fn line(&mut self, line: &str) -> Result<(), Stop> {
        // Standard output keeps no line to itself, so each is seen at once.
        writeln!(self.out, "{line}").map_err(Stop::Writing)
    }
}
