//! A newcomer's path: every command of docs/quickstart.md, as it stands there, in a clean folder.
//!
//! A block ```` ```sh serve ```` goes on in another terminal; ```` ```sh run ```` is run, and has to show what the comments behind it say,
//! in the end: what takes a few slots is looked at again. Only ports are others, so that nobody is disturbed.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "it runs programs with the PATH that it has"
)]

mod support;

use std::collections::BTreeMap;
use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

use rustix::process::{Pid, Signal, kill_process_group};
use support::http::eventually;
use support::markdown::{Page, page, root};
use support::{Place, dev};

const PAGE: &str = "docs/quickstart.md";
const SECTIONS: [&str; 6] = [
    "See it work",
    "engine: before execution clients",
    "sync: execution clients without a consensus client of their own",
    "rpc: urgent requests first",
    "beacon: no work through an unfit node",
    "relay: one public block for each slot",
];

#[test]
fn the_simulated_network() {
    walk(SECTIONS[0]);
}

#[test]
fn engine() {
    walk(SECTIONS[1]);
}

#[test]
fn sync() {
    walk(SECTIONS[2]);
}

#[test]
fn rpc() {
    walk(SECTIONS[3]);
}

#[test]
fn beacon() {
    walk(SECTIONS[4]);
}

#[test]
fn relay() {
    walk(SECTIONS[5]);
}

#[test]
fn no_section_is_left_out() {
    let page = page(Path::new(PAGE));
    let with_steps = headings(&page).into_iter().filter(|(name, _)| !steps(&page, name).is_empty());
    assert_eq!(with_steps.map(|(name, _)| name).collect::<Vec<_>>(), SECTIONS);
    let marked = page.blocks.iter().filter(|block| block.is("sh") && block.info != "sh").count();
    assert_eq!(SECTIONS.iter().map(|name| steps(&page, name).len()).sum::<usize>(), marked);
}

/// A block of commands, and what it shows.
struct Step {
    serve: bool,
    text: String,
    line: usize,
    shows: Vec<String>,
}

fn headings(page: &Page) -> Vec<(String, usize)> {
    let heading = |(line, text): &(usize, String)| Some((text.strip_prefix("## ")?.to_owned(), *line));
    page.prose.iter().filter_map(heading).collect()
}

fn steps(page: &Page, section: &str) -> Vec<Step> {
    let headings = headings(page);
    let at = headings.iter().position(|(name, _)| name == section).unwrap();
    let (from, to) = (headings[at].1, headings.get(at + 1).map_or(usize::MAX, |(_, line)| *line));
    let blocks = page.blocks.iter().filter(|block| (from..to).contains(&block.line));
    blocks
        .filter(|block| ["sh run", "sh serve"].contains(&block.info.as_str()))
        .map(|block| {
            let end = block.line + block.text.lines().count();
            let behind = page.prose.iter().skip_while(|(line, _)| *line <= end);
            let shows = behind.map_while(|(_, line)| line.strip_prefix("<!-- shows: ")?.strip_suffix(" -->"));
            let (serve, text, line) = (block.info == "sh serve", block.text.clone(), block.line);
            Step { serve, text, line, shows: shows.map(str::to_owned).collect() }
        })
        .collect()
}

#[track_caller]
fn walk(section: &str) {
    let page = page(Path::new(PAGE));
    let place = Place::new();
    std::os::unix::fs::symlink(root().join("crates"), place.path().join("crates")).unwrap();
    let mut walker = Walker { place, ports: BTreeMap::new(), serving: Vec::new() };
    for step in steps(&page, section) {
        let text = walker.moved(&step.text);
        if step.serve { walker.serve(&text) } else { walker.run(&step, &text) }
    }
}

struct Walker {
    place: Place,
    /// By the one that the page names.
    ports: BTreeMap<u16, u16>,
    serving: Vec<Child>,
}

impl Walker {
    /// The commands with ports that are free.
    fn moved(&mut self, text: &str) -> String {
        // What `dev` takes if nobody says otherwise has to be said to be moved.
        let asked = dev(&[])
            .join(" ")
            .replacen(":0", ":7000", 1)
            .replacen(":0", ":7700", 1)
            .replacen(":0", ":7701", 1);
        let mut text = text.replace("mainstay dev\n", &format!("mainstay {asked}\n"));
        let mut from = 0;
        while let Some(at) = text[from..].find("127.0.0.1:") {
            let start = from + at + "127.0.0.1:".len();
            let digits = text[start..].find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len() - start);
            let port = self.port(text[start..start + digits].parse().unwrap()).to_string();
            text.replace_range(start..start + digits, &port);
            from = start + port.len();
        }
        text
    }

    fn port(&mut self, named: u16) -> u16 {
        *self.ports.entry(named).or_insert_with(free_port)
    }

    fn command(&mut self, text: &str) -> Command {
        let mut command = Command::new("bash");
        let built = Path::new(env!("CARGO_BIN_EXE_mainstay")).parent().unwrap();
        let path = format!("{}:{}", built.display(), std::env::var("PATH").unwrap());
        let admin = format!("127.0.0.1:{}", self.port(7700));
        command
            .arg("-c")
            .arg(format!("set -euo pipefail\n{text}"))
            .current_dir(self.place.path())
            .env_clear();
        command.envs([("PATH", path.as_str()), ("MAINSTAY_ADMIN_LISTEN", &admin)]);
        command.env("TMPDIR", self.place.path()).stdin(Stdio::null());
        command
    }

    /// Starts what goes on, and waits until it listens.
    fn serve(&mut self, text: &str) {
        let log = self.place.path().join(format!("serving-{}.log", self.serving.len()));
        let out = File::create(&log).unwrap();
        let mut command = self.command(text);
        command.stdout(out.try_clone().unwrap()).stderr(out).process_group(0);
        self.serving.push(command.spawn().unwrap());
        let words: Vec<&str> = text.split_whitespace().collect();
        for pair in
            words.windows(2).filter(|pair| ["--listen", "--admin-listen", "--control"].contains(&pair[0]))
        {
            eventually(&format!("{text} listens on {}", pair[1]), || TcpStream::connect(pair[1]).is_ok());
        }
    }

    /// Runs it until it shows what it is to show.
    fn run(&mut self, step: &Step, text: &str) {
        let shows: Vec<String> = step.shows.iter().map(|shown| self.moved(shown)).collect();
        let mut last = String::new();
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            eventually(&format!("{PAGE}:{} shows {shows:?}", step.line), || {
                let done = self.command(text).output().unwrap();
                last = format!(
                    "{}{}",
                    String::from_utf8_lossy(&done.stdout),
                    String::from_utf8_lossy(&done.stderr)
                );
                done.status.success() && shows.iter().all(|shown| last.contains(shown))
            });
        }));
        assert!(outcome.is_ok(), "{PAGE}:{}: it showed:\n{last}\ninstead of {shows:#?}", step.line);
    }
}

impl Drop for Walker {
    fn drop(&mut self) {
        for child in &mut self.serving {
            let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
            let _ = child.wait();
        }
    }
}

/// A port below those that systems give out themselves, so that nobody else is given it meanwhile.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + u16::try_from(std::process::id() % 400).unwrap() * 25;
    loop {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
