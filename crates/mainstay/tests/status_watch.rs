//! `mainstay status --watch`: on a terminal, in a pipe, as JSON, and across a restart.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Termios, Winsize, tcgetattr, tcsetwinsize};
use serde_json::Value;
use support::http::ask;
use support::{Place, Running, SOON};

/// An engine, and the address of its admin listener.
fn engine(place: &Place) -> (Running, String) {
    let flags = ["-n", "http://127.0.0.1:1#name=el1", "-j", "jwt.hex", "--log-format", "logfmt"];
    let ports = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    let mut running = place.start(&[&["engine"], &flags[..], &ports].concat(), &[]);
    running.address("engine");
    let admin = running.address("admin");
    (running, admin)
}

/// One address, whichever process is behind it: a port that was given back could be another's by the time it is bound again.
struct Front {
    address: String,
    behind: Arc<Mutex<Option<String>>>,
}

impl Front {
    fn of(admin: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let behind = Arc::new(Mutex::new(Some(admin.to_owned())));
        let front = Self { address, behind: behind.clone() };
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let behind = behind.lock().unwrap().clone();
                // Nobody: the connection is closed.
                let Some(server) = behind.and_then(|address| TcpStream::connect(address).ok()) else {
                    continue;
                };
                for (mut from, mut to) in
                    [(client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client)]
                {
                    std::thread::spawn(move || {
                        let _ = std::io::copy(&mut from, &mut to);
                        let _ = to.shutdown(std::net::Shutdown::Both);
                    });
                }
            }
        });
        front
    }

    fn leads_to(&self, admin: Option<&str>) {
        *self.behind.lock().unwrap() = admin.map(str::to_owned);
    }
}

fn watch(place: &Place, front: &Front, flags: &[&str]) -> Running {
    place.start(&[&["status", "--watch", "--admin-listen", &front.address], flags].concat(), &[])
}

#[test]
fn a_pipe_gets_a_page_for_each_change_across_a_restart() {
    let place = Place::new();
    let (mut running, admin) = engine(&place);
    let front = Front::of(&admin);
    let mut watch = watch(&place, &front, &[]);
    watch.line(&[&front.address]);
    watch.line(&["engine engine: "]);
    watch.line(&["  el1  "]);

    ask(&admin, "POST", "/api/v1/engine/engine/nodes/el1/cordon", "").fine();
    watch.line(&["engine engine el1: ", "cordon"]);
    watch.line(&["engine engine: "]);

    front.leads_to(None);
    running.signal(Signal::TERM);
    assert_eq!(running.ended(), Some(0));
    watch.line(&[&front.address, "NO ANSWER: "]);
    let (_again, admin) = engine(&place);
    front.leads_to(Some(&admin));
    watch.line(&[&front.address, "answers again, after "]);
    watch.line(&["engine engine: "]);

    watch.signal(Signal::TERM);
    assert_eq!(watch.ended(), Some(0));
    let told = |part: &str| watch.seen.iter().filter(|line| line.contains(part)).count();
    assert_eq!((told("NO ANSWER"), told("answers again")), (1, 1), "once each: {:#?}", watch.seen);
    assert!(!watch.seen.iter().any(|line| line.contains('\u{1b}')), "{:#?}", watch.seen);
}

#[test]
fn json_is_a_line_for_each_change() {
    let place = Place::new();
    let (_running, admin) = engine(&place);
    let front = Front::of(&admin);
    front.leads_to(None);
    let mut watch = watch(&place, &front, &["--json"]);
    let mut next = || -> Value { serde_json::from_str(&watch.line(&[""])).unwrap() };
    let lost = next();
    assert!(lost["error"].is_string() && lost["at"].is_string(), "nobody answers yet: {lost}");
    front.leads_to(Some(&admin));
    let first = next();
    assert_eq!(first["roles"][0]["role"], "engine", "{first}");
    assert!(first.get("error").is_none() && first.get("changes").is_none(), "{first}");

    ask(&admin, "POST", "/api/v1/engine/engine/nodes/el1/cordon", "").fine();
    // The node may be told to be down before that.
    while !next()["changes"].to_string().contains("cordon") {}
    front.leads_to(None);
    while next().get("error").is_none() {}
    front.leads_to(Some(&admin));
    let back = next();
    assert!(back["back_after_seconds"].is_u64() && back["roles"].is_array(), "{back}");
}

/// `mainstay status --watch` as the foreground process of a terminal.
struct Terminal {
    keyboard: File,
    user: OwnedFd,
    pieces: Receiver<Vec<u8>>,
    seen: String,
    child: Child,
}

impl Terminal {
    fn open(place: &Place, front: &Front, columns: u16, rows: u16) -> Self {
        let user = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&user).unwrap();
        unlockpt(&user).unwrap();
        let name = ptsname(&user, Vec::new()).unwrap();
        let side = || File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
        let sized = Self::sized(columns, rows);
        tcsetwinsize(&user, sized).unwrap();
        // Its session has this terminal, so keys become signals.
        let mut command = Command::new("/usr/bin/setsid");
        command.arg("--ctty").arg(env!("CARGO_BIN_EXE_mainstay"));
        command.args(["status", "--watch", "--admin-listen", &front.address]);
        command.current_dir(place.path()).env_clear();
        let child = command.stdin(side()).stdout(side()).stderr(side()).spawn().unwrap();
        drop(command);
        let mut screen = File::from(user.try_clone().unwrap());
        let keyboard = File::from(user.try_clone().unwrap());
        let (piece, pieces) = channel();
        std::thread::spawn(move || {
            let mut part = vec![0; 4096];
            while let Ok(read @ 1..) = screen.read(&mut part) {
                if piece.send(part[..read].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { keyboard, user, pieces, seen: String::new(), child }
    }

    fn sized(columns: u16, rows: u16) -> Winsize {
        Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 }
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().try_into().unwrap()).unwrap()
    }

    fn modes(&self) -> Termios {
        tcgetattr(&self.user).unwrap()
    }

    /// Waits for this on the screen; what came until then is looked at no more.
    #[track_caller]
    #[allow(clippy::disallowed_methods, reason = "it waits for a process, with a deadline")]
    fn shows(&mut self, part: &str) -> String {
        // It is drawn each second, so that something comes is no sign that this will.
        let until = Instant::now() + SOON;
        loop {
            if let Some(at) = self.seen.find(part) {
                let rest = self.seen.split_off(at + part.len());
                return std::mem::replace(&mut self.seen, rest);
            }
            match self.pieces.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(piece) => self.seen.push_str(&String::from_utf8_lossy(&piece)),
                Err(why) => panic!("{part:?} isn't shown ({why}), but {:?}", self.seen),
            }
        }
    }

    fn types(&mut self, keys: &[u8]) {
        self.keyboard.write_all(keys).unwrap();
    }

    /// The exit status.
    #[track_caller]
    fn ended(&mut self) -> Option<i32> {
        support::http::eventually("it ends", || self.child.try_wait().unwrap().is_some());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const ENTER: &str = "\u{1b}[?1049h\u{1b}[?7l\u{1b}[?25l";
const LEAVE: &str = "\u{1b}[?25h\u{1b}[?7h\u{1b}[?1049l";

#[test]
fn a_terminal_is_drawn_on_and_left_as_it_was() {
    let place = Place::new();
    let (_running, admin) = engine(&place);
    let front = Front::of(&admin);
    let mut terminal = Terminal::open(&place, &front, 40, 12);
    let modes = format!("{:?}", terminal.modes());
    terminal.shows(ENTER);
    terminal.shows("engine engine: ");
    // One whole drawing.
    terminal.shows("\u{1b}[H");
    let drawn = terminal.shows("\u{1b}[J");
    let lines: Vec<&str> = drawn.trim_end_matches("\u{1b}[J").split("\r\n").collect();
    assert!(lines.len() <= 12, "{lines:#?}");
    for line in &lines {
        // The terminal makes "\r\n" of each "\n".
        let shown = line.trim_end_matches('\r').strip_suffix("\u{1b}[K").unwrap();
        assert!(shown.chars().count() <= 40, "{shown:?}");
    }
    assert!(lines[0].contains('…') && !drawn.contains("Ctrl-C ends"), "there is no room for it: {lines:#?}");

    tcsetwinsize(&terminal.user, Terminal::sized(120, 40)).unwrap();
    terminal.shows("Ctrl-C ends");

    front.leads_to(None);
    terminal.shows("NO ANSWER for ");
    front.leads_to(Some(&admin));
    terminal.shows("answers again, after ");

    // Ctrl-Z, and on.
    terminal.types(b"\x1a");
    terminal.shows(LEAVE);
    support::http::eventually(
        "it is stopped",
        || matches!(waitpid(Some(terminal.pid()), WaitOptions::UNTRACED | WaitOptions::NOHANG), Ok(Some((_, status))) if status.stopped()),
    );
    kill_process(terminal.pid(), Signal::CONT).unwrap();
    terminal.shows(ENTER);
    terminal.shows("Ctrl-C ends");

    terminal.types(b"\x03");
    terminal.shows(LEAVE);
    assert_eq!(terminal.ended(), Some(0));
    assert_eq!(format!("{:?}", terminal.modes()), modes);
    assert!(!terminal.seen.contains('\u{1b}'), "nothing is drawn after that: {:?}", terminal.seen);
}

#[test]
fn it_ends_with_its_terminal() {
    let place = Place::new();
    let (_running, admin) = engine(&place);
    let front = Front::of(&admin);
    let mut terminal = Terminal::open(&place, &front, 80, 24);
    terminal.shows("engine engine: ");
    kill_process(terminal.pid(), Signal::HUP).unwrap();
    terminal.shows(LEAVE);
    support::http::eventually("it ends", || terminal.child.try_wait().unwrap().is_some());
    let status = terminal.child.wait().unwrap();
    assert_eq!((status.code(), status.signal()), (Some(0), None));
}
