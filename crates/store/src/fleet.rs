//! The limits of nodes, shared by all live instances.
//!
//! Each instance has a [`Portion`] of every node's slots; portions of different instances don't overlap, so that together
//! they never give a node more than it has. How they come to them, and the one case in which that can't be kept (an
//! instance that goes on while it alone is cut off from the store), is written in `roll.rs`.

mod portion;
mod roll;

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::{Name, Reach, Store, StoreError, Swap};
pub use portion::Portion;
use roll::{BEAT, Draft, Roll, Seat};

static FLEET: Name = Name::new("mainstay:fleet", "fleet.json");
/// How often one beat is tried when others write at the same time.
const TRIES: usize = 20;
/// While work that no longer fits is in flight, it is looked after this often.
const SHRINKING: Duration = Duration::from_millis(100);
/// How long leaving may take, while the last of the work ends.
const LEAVING: Duration = Duration::from_secs(5);

/// What this instance has of every node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// How many instances are live, this one included; 0 before the store was reached.
    pub live: usize,
    /// Which of them this is, from 0.
    pub index: usize,
    /// What it may use: nothing for the first seconds, and the last one as long as the store is lost.
    pub portion: Portion,
    /// Whether the store can be reached.
    pub reach: Reach,
}

/// A place in the fleet. Dropped without [`Fleet::leave`], others take it for dead after some seconds.
pub struct Fleet {
    share: watch::Receiver<Share>,
    leave: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Fleet {
    /// Takes a place in the fleet that shares `store`.
    ///
    /// `limit` is called with a portion, often with the same one: from its return on no work may be admitted beyond
    /// [`Portion::slots`] of each node, and it gives whether all that is in flight is within that. It must be quick. It is
    /// called with [`Portion::NONE`] at once. Nobody else gets what this instance gives up before it has said yes.
    pub fn join(store: Arc<dyn Store>, limit: impl Fn(Portion) -> bool + Send + Sync + 'static) -> Self {
        limit(Portion::NONE);
        let reach = Reach::Lost { why: Arc::from("not asked yet"), since: Instant::now() };
        let (sender, share) = watch::channel(Share { live: 0, index: 0, portion: Portion::NONE, reach });
        let (leave, left) = oneshot::channel();
        let keeper = Keeper { store, limit: Box::new(limit), seat: Seat::new(new_id()), share: sender };
        Self { share, leave: Some(leave), task: tokio::spawn(keeper.keep(left)) }
    }

    /// This instance's share, from now on.
    pub fn watch(&self) -> watch::Receiver<Share> {
        self.share.clone()
    }

    /// Admits no more work, and gives up the place once nothing is in flight, for the others to have it at once. Waits some
    /// seconds at most; then the others take it for dead, some seconds later.
    pub async fn leave(mut self) {
        if let Some(leave) = self.leave.take() {
            // The task ends by itself only when it is told to.
            let _ = leave.send(());
            let _ = tokio::time::timeout(LEAVING, &mut self.task).await;
        }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Of this process and no other one, without a source of randomness of our own.
fn new_id() -> String {
    let random = RandomState::new().build_hasher().finish();
    format!("{random:016x}-{:x}", std::process::id())
}

struct Keeper {
    store: Arc<dyn Store>,
    limit: Box<dyn Fn(Portion) -> bool + Send + Sync>,
    seat: Seat,
    share: watch::Sender<Share>,
}

/// How a beat went.
enum Beat {
    /// All that is in flight is within the share.
    Fits,
    /// Not yet.
    Shrinks,
    /// This instance is off the roll.
    Gone,
}

impl Keeper {
    async fn keep(mut self, mut left: oneshot::Receiver<()>) {
        let mut leaving = false;
        loop {
            let began = Instant::now();
            let next = match self.beat().await {
                Ok(Beat::Gone) => return,
                Ok(Beat::Fits) => BEAT,
                Ok(Beat::Shrinks) => SHRINKING,
                Err(error) => {
                    self.lose(&error);
                    BEAT
                }
            };
            tokio::select! {
                () = tokio::time::sleep_until(began + next) => {}
                Ok(()) = &mut left, if !leaving => {
                    leaving = true;
                    // At once, even if the store can't be told.
                    (self.limit)(Portion::NONE);
                    self.seat.leave();
                }
            }
        }
    }

    /// Shows that this instance lives, and takes what it may.
    async fn beat(&mut self) -> Result<Beat, StoreError> {
        let mut current = self.store.read(&FLEET).await?;
        for _ in 0..TRIES {
            let turn = self.seat.read(parse(current.as_ref()), Instant::now().into_std());
            let fits = (self.limit)(turn.shrunk);
            let draft = self.seat.write(turn, fits);
            match self.store.swap(&FLEET, current.as_ref(), encode(&draft.roll)?).await? {
                Swap::Done => {
                    self.seat.written(&draft);
                    (self.limit)(draft.granted);
                    self.show(&draft);
                    return Ok(match (draft.left, fits) {
                        (true, _) => Beat::Gone,
                        (false, true) => Beat::Fits,
                        (false, false) => Beat::Shrinks,
                    });
                }
                Swap::Changed(now) => current = now,
            }
        }
        Err(StoreError::Busy(format!("others write the roll of {} all the time", self.store.place())))
    }

    fn show(&self, draft: &Draft) {
        let share = Share { live: draft.live, index: draft.index, portion: draft.granted, reach: Reach::Ok };
        self.share.send_if_modified(|last| {
            let news = *last != share;
            if news {
                tracing::info!(live = share.live, portion = ?share.portion, "share of the nodes' slots");
            }
            *last = share;
            news
        });
    }

    fn lose(&self, error: &StoreError) {
        let portion = self.seat.used();
        self.share.send_if_modified(|last| {
            let why = error.to_string();
            let since = match &last.reach {
                Reach::Lost { why: before, .. } if **before == *why && last.portion == portion => {
                    return false;
                }
                Reach::Lost { since, .. } => *since,
                Reach::Ok => {
                    tracing::warn!(error = why, "the share of the nodes' slots stays as it is");
                    Instant::now()
                }
            };
            last.portion = portion;
            last.reach = Reach::Lost { why: Arc::from(why), since };
            true
        });
    }
}

/// A roll that can't be read is none: the members write a new one, with what they use.
fn parse(value: Option<&Bytes>) -> Option<Roll> {
    value.and_then(|value| serde_json::from_slice(value).ok())
}

fn encode(roll: &Roll) -> Result<Bytes, StoreError> {
    match serde_json::to_vec(roll) {
        Ok(bytes) => Ok(bytes.into()),
        Err(error) => Err(StoreError::Unreadable(format!("the roll can't be written: {error}"))),
    }
}
