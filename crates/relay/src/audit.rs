//! The audit log: what was decided of our producers' blocks, in the form that `mainstay relay replay` reads.
//!
//! A line for each block that was decided about, those that went out too: without them nobody could tell why another one didn't. What came from outside first and what is the public parent of a block
//! that isn't in the file stands before it as public. Times are seconds since 2000, as slots count, so that a file may be continued.
//!
//! Who decides never waits for it: lines that find no place are counted, and an alarm tells of them.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mainstay_antelope::{Id, Name, Slot};
use serde_json::json;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::oneshot;

use crate::egress::{Block, Leg};
use crate::highest::Highest;
use crate::{Pass, Suppress, Verdict};

/// Decisions that wait to be written.
const QUEUE: usize = 4096;
/// Ids of which it is remembered that the file has them.
const NOTED: usize = 4096;
/// For the last lines, at the end.
const FAREWELL: Duration = Duration::from_secs(1);

/// One decision.
#[derive(Clone, Debug)]
pub(crate) struct Decision {
    pub(crate) at: SystemTime,
    pub(crate) chain: Id,
    pub(crate) leg: Leg,
    pub(crate) node: Arc<str>,
    pub(crate) block: Block,
    /// Whether its parent is public.
    pub(crate) parent_public: bool,
    pub(crate) verdict: Verdict,
}

enum Message {
    Decision(Box<Decision>),
    End(oneshot::Sender<()>),
}

/// Where decisions go to be written.
pub(crate) struct Audit {
    send: Sender<Message>,
    broken: Arc<AtomicBool>,
}

impl Audit {
    /// Opens the file; needs a runtime. When it has `limit` bytes it becomes `FILE.1`, and the one before that is gone.
    ///
    /// # Errors
    /// It can't be written.
    pub(crate) fn open(path: &Path, limit: u64, producers: Vec<Name>) -> io::Result<Self> {
        let mut log = Log {
            path: path.to_owned(),
            limit,
            file: None,
            size: 0,
            noted: Highest::default(),
            outside: Highest::default(),
            producers,
        };
        log.reopen()?;
        let (send, receive) = channel(QUEUE);
        let broken = Arc::new(AtomicBool::new(false));
        let is_broken = broken.clone();
        tokio::task::spawn_blocking(move || write(receive, log, &is_broken));
        Ok(Self { send, broken })
    }

    /// Takes a decision to be written. Whether it is: there is a place for it, and the last ones could be written.
    pub(crate) fn tell(&self, decision: Decision) -> bool {
        self.send.try_send(Message::Decision(Box::new(decision))).is_ok()
            && !self.broken.load(Ordering::Relaxed)
    }

    /// Waits until all that was told is written.
    pub(crate) async fn finish(&self) {
        let (done, written) = oneshot::channel();
        let finishing = async {
            if self.send.send(Message::End(done)).await.is_ok() {
                let _ = written.await;
            }
        };
        let _ = tokio::time::timeout(FAREWELL, finishing).await;
    }
}

/// Writes until nobody is left who could tell something.
fn write(mut receive: Receiver<Message>, mut log: Log, broken: &AtomicBool) {
    while let Some(message) = receive.blocking_recv() {
        match message {
            Message::Decision(decision) => {
                let written = log.write(&decision);
                if written.is_err() {
                    log.file = None;
                }
                broken.store(written.is_err(), Ordering::Relaxed);
            }
            Message::End(done) => {
                let _ = done.send(());
            }
        }
    }
}

/// The file.
struct Log {
    path: PathBuf,
    limit: u64,
    file: Option<File>,
    size: u64,
    noted: Highest<Id, (), NOTED>,
    /// Of which it has that they came from outside.
    outside: Highest<Id, (), NOTED>,
    producers: Vec<Name>,
}

impl Log {
    fn reopen(&mut self) -> io::Result<()> {
        let file = OpenOptions::new().create(true).append(true).open(&self.path)?;
        self.size = file.metadata()?.len();
        self.file = Some(file);
        self.noted.clear();
        self.outside.clear();
        Ok(())
    }

    fn write(&mut self, decision: &Decision) -> io::Result<()> {
        if self.file.is_none() {
            self.reopen()?;
        }
        if self.size >= self.limit {
            let mut old = self.path.clone().into_os_string();
            old.push(".1");
            std::fs::rename(&self.path, old)?;
            self.reopen()?;
        }
        let mut text = String::new();
        if self.noted.len() == 0 {
            text.push_str(&head(decision.chain, &self.producers));
        }
        if decision.parent_public && !self.noted.has(&decision.block.previous) {
            text.push_str(&outside(decision, decision.block.previous));
        }
        if decision.verdict == Verdict::Pass(Pass::Public) && !self.outside.has(&decision.block.id) {
            text.push_str(&outside(decision, decision.block.id));
            self.outside.insert(decision.block.id, ());
        }
        text.push_str(&line(decision));
        self.noted.insert(decision.block.previous, ());
        self.noted.insert(decision.block.id, ());
        self.size += text.len() as u64;
        // In one piece, so that lines of two processes don't mix.
        self.file.as_mut().map_or(Ok(()), |file| file.write_all(text.as_bytes()))
    }
}

/// Seconds since the first slot.
fn seconds(at: SystemTime) -> f64 {
    let epoch = UNIX_EPOCH + Duration::from_millis(Slot(0).unix_millis());
    at.duration_since(epoch).unwrap_or_default().as_micros() as f64 / 1e6
}

fn head(chain: Id, producers: &[Name]) -> String {
    let producers: Vec<String> = producers.iter().map(Name::to_string).collect();
    let head = json!({"chain_id": chain, "producers": producers, "began": Slot(0).unix_millis()});
    format!("{head}\n")
}

/// A block is known from outside.
fn outside(decision: &Decision, id: Id) -> String {
    let line = json!({
        "at": seconds(decision.at),
        "leg": decision.leg.0,
        "dir": "outer->inner",
        "block_id": id,
    });
    format!("{line}\n")
}

fn line(decision: &Decision) -> String {
    let Decision { at, leg, node, block, verdict, .. } = decision;
    let mut line = json!({
        "at": seconds(*at),
        "leg": leg.0,
        "node": &**node,
        "block_num": block.number(),
        "block_id": block.id,
        "previous": block.previous,
        "slot": block.slot,
        "producer": block.producer,
        "verdict": verdict.word(),
        "why": verdict.to_string(),
    });
    if let Verdict::Suppress(Suppress::Lost { winner: Some(winner) }) = verdict {
        line["winner"] = json!(winner);
    }
    format!("{line}\n")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::replay::{read, replay};

    fn id(number: u32, content: u8) -> Id {
        let mut id = [content; 32];
        id[..4].copy_from_slice(&number.to_be_bytes());
        Id(id)
    }

    /// A decision about block `number` of a round; number 1 is public before.
    fn decision(leg: u64, number: u32, content: u8, on: u8, verdict: Verdict) -> Decision {
        let slot = Slot(1_700_000_000 + number);
        let block = Block { producer: Name(9), slot, id: id(number, content), previous: id(number - 1, on) };
        Decision {
            at: UNIX_EPOCH + Duration::from_millis(slot.unix_millis()),
            chain: Id([9; 32]),
            leg: Leg(leg),
            node: if leg == 1 { "a" } else { "b" }.into(),
            block,
            parent_public: verdict != Verdict::Suppress(Suppress::Tainted),
            verdict,
        }
    }

    fn round() -> Vec<Decision> {
        let (win, same) = (Verdict::Pass(Pass::Win), Verdict::Pass(Pass::Same));
        let lost = Verdict::Suppress(Suppress::Lost { winner: Some(id(3, 0)) });
        vec![
            decision(1, 2, 0, 0, win),
            decision(2, 2, 0, 0, same),
            decision(1, 3, 0, 0, win),
            decision(2, 3, 7, 0, lost),
            decision(1, 4, 0, 0, win),
            decision(2, 4, 7, 7, Verdict::Suppress(Suppress::Tainted)),
        ]
    }

    #[tokio::test]
    async fn what_is_written_can_be_replayed_and_comes_to_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        // Twice, as after a restart.
        for _ in 0..2 {
            let audit = Audit::open(&path, 1 << 20, vec![Name(9)]).unwrap();
            for decision in round() {
                assert!(audit.tell(decision));
            }
            audit.finish().await;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let first: Vec<&str> = text.lines().take(8).collect();
        let recording = read(&first.join("\n")).unwrap();
        let outcome = replay(&recording, &recording.producers);
        let verdicts: Vec<&str> = outcome.blocks.iter().map(|block| block.verdict).collect();
        assert_eq!(verdicts, ["win", "same", "win", "lost", "win", "tainted"]);
        assert!(outcome.blocks.iter().all(|block| block.agrees) && outcome.doubles.is_empty());
        let lost: serde_json::Value = serde_json::from_str(first[5]).unwrap();
        assert_eq!(
            (&lost["node"], &lost["verdict"], &lost["winner"]),
            (&json!("b"), &json!("lost"), &json!(id(3, 0)))
        );
        assert_eq!(text.lines().count(), 16);
        assert_eq!(read(&text).unwrap().producers, [Name(9), Name(9)]);
    }

    #[tokio::test]
    async fn files_are_bounded_and_each_can_be_read_by_itself() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let audit = Audit::open(&path, 2000, vec![Name(9)]).unwrap();
        for _ in 0..20 {
            for decision in round() {
                while !audit.tell(decision.clone()) {
                    tokio::task::yield_now().await;
                }
            }
        }
        audit.finish().await;
        let names: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|it| it.unwrap().file_name()).collect();
        assert_eq!(names.len(), 2, "{names:?}");
        for name in names {
            let text = std::fs::read_to_string(folder.path().join(name)).unwrap();
            assert!(text.len() < 3500 && text.starts_with("{\"began\":946684800000,"), "{text}");
            read(&text).unwrap();
        }
    }

    #[tokio::test]
    async fn a_place_that_cannot_be_written_is_told() {
        assert!(Audit::open(Path::new("/nowhere/audit.jsonl"), 1, Vec::new()).is_err());
    }
}
