//! The list of nodes that instances share.

mod json;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::tasks::Tasks;
use crate::{Name, Reach, Seen, Store, StoreError, Swap};

/// In Redis the key and the bytes that prio-load-balancer uses: both may run on one list during a move. Its own default
/// prefix makes that `prio-load-balancer:prio-load-balancer:nodes`.
static NODES: Name = Name::new("prio-load-balancer:nodes", "nodes.json");
/// How long a change is tried when others change the list at the same time; one of them succeeds each time.
const TRYING: Duration = Duration::from_secs(3);

/// The list as it was last seen.
#[derive(Clone, PartialEq, Eq)]
pub struct Listed {
    /// The nodes as they were written, in the order in which they were added; the last ones known while the store is lost.
    pub nodes: Arc<[String]>,
    /// Whether that is what the store has.
    pub reach: Reach,
}

/// Without the addresses: they may hold credentials.
impl fmt::Debug for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listed").field("nodes", &self.nodes.len()).field("reach", &self.reach).finish()
    }
}

/// Whether two addresses mean one node.
type Same = fn(&str, &str) -> bool;

/// The list of nodes in a store. Clones share it.
///
/// An unreadable list is moved aside where the store is this instance's own (a warning says to where) and taken for an
/// empty one. In a shared store it stays: it counts as lost, with the last nodes known, until somebody repairs it.
#[derive(Clone)]
pub struct NodeList {
    inner: Arc<Inner>,
    _tasks: Arc<Tasks>,
}

struct Inner {
    store: Arc<dyn Store>,
    same: Same,
    seen: watch::Receiver<Seen>,
    listed: watch::Sender<Listed>,
    /// Held while `listed` is brought up to what `seen` shows, so that it never goes back.
    refreshing: Mutex<()>,
}

impl NodeList {
    /// Reads the list and follows it from then on. `same` tells which addresses mean one node. A store that can't be
    /// reached is no error: the list is empty then and shows it. Waits no longer than the store's deadline.
    pub async fn open(store: Arc<dyn Store>, same: Same) -> Self {
        let mut seen = store.watch(&NODES);
        let nothing = Listed { nodes: Arc::from([]), reach: seen.borrow_and_update().reach.clone() };
        let listed = watch::Sender::new(nothing);
        let inner = Arc::new(Inner { store, same, seen: seen.clone(), listed, refreshing: Mutex::default() });
        // Whether it worked is on `seen`.
        let _ = inner.store.read(&NODES).await;
        inner.refresh().await;
        let following = Arc::clone(&inner);
        let task = tokio::spawn(async move {
            while seen.changed().await.is_ok() {
                following.refresh().await;
            }
        });
        Self { inner, _tasks: Arc::new(Tasks::new([task.abort_handle()])) }
    }

    /// The list and whether the store can be reached, from now on.
    pub fn watch(&self) -> watch::Receiver<Listed> {
        self.inner.listed.subscribe()
    }

    /// What [`NodeList::watch`] shows now.
    pub fn current(&self) -> Listed {
        self.inner.listed.borrow().clone()
    }

    /// Where the list is kept, without credentials.
    pub fn place(&self) -> &str {
        self.inner.store.place()
    }

    /// The list as the store has it now.
    ///
    /// # Errors
    /// The store could not be asked, or the list can't be read.
    pub async fn load(&self) -> Result<Vec<String>, StoreError> {
        let value = self.inner.store.read(&NODES).await?;
        self.inner.refresh().await;
        self.inner.parse(value.as_ref())
    }

    /// Adds a node at the end; `false` if it was there already. The list that [`NodeList::watch`] shows has it on return.
    ///
    /// # Errors
    /// As [`NodeList::edit`].
    pub async fn add(&self, uri: &str) -> Result<bool, StoreError> {
        let same = self.inner.same;
        self.edit(|nodes| {
            let missing = !nodes.iter().any(|node| same(node, uri));
            if missing {
                nodes.push(uri.to_owned());
            }
            missing
        })
        .await
    }

    /// Removes a node, however often it is there; `false` if it wasn't.
    ///
    /// # Errors
    /// As [`NodeList::edit`].
    pub async fn remove(&self, uri: &str) -> Result<bool, StoreError> {
        let same = self.inner.same;
        self.edit(|nodes| {
            let before = nodes.len();
            nodes.retain(|node| !same(node, uri));
            nodes.len() != before
        })
        .await
    }

    /// Puts a list there if the store has none; `false` if it has another one, be it empty.
    ///
    /// # Errors
    /// The store could not be asked. Nothing was changed then, except where [`StoreError::Unknown`] says that nobody knows.
    pub async fn put_back(&self, nodes: &[String]) -> Result<bool, StoreError> {
        let put = self.inner.store.swap(&NODES, None, Bytes::from(json::write(nodes))).await?;
        self.inner.refresh().await;
        Ok(put == Swap::Done)
    }

    /// Changes the list in one step: `change` gets the list and gives whether it changed it. It is called again when
    /// another instance was quicker.
    ///
    /// # Errors
    /// The store could not be asked, has something else in the list's place, or others changed it all the time. Nothing was
    /// changed then, here or there, except where [`StoreError::Unknown`] says that nobody knows.
    pub async fn edit(&self, mut change: impl FnMut(&mut Vec<String>) -> bool) -> Result<bool, StoreError> {
        let inner = &self.inner;
        let mut current = inner.store.read(&NODES).await?;
        let deadline = Instant::now() + TRYING;
        while Instant::now() < deadline {
            let mut nodes = match inner.parse(current.as_ref()) {
                Ok(nodes) => nodes,
                Err(unreadable) => {
                    let value = current.unwrap_or_default();
                    let moved = inner.set_aside(&value, &unreadable).await?;
                    current = inner.store.read(&NODES).await?;
                    if !moved && current.as_ref() == Some(&value) {
                        return Err(unreadable);
                    }
                    continue;
                }
            };
            if !change(&mut nodes) {
                inner.refresh().await;
                return Ok(false);
            }
            let value = Bytes::from(json::write(&nodes));
            match inner.store.swap(&NODES, current.as_ref(), value).await? {
                Swap::Done => {
                    inner.refresh().await;
                    return Ok(true);
                }
                Swap::Changed(now) => current = now,
            }
        }
        Err(StoreError::Busy(format!(
            "others have changed the list of nodes in {} for {} s: try again",
            inner.store.place(),
            TRYING.as_secs()
        )))
    }
}

impl Inner {
    fn parse(&self, value: Option<&Bytes>) -> Result<Vec<String>, StoreError> {
        value.map_or_else(|| Ok(Vec::new()), |value| json::read(value)).map_err(|why| {
            let (file, place) = (NODES.file(), self.store.place());
            StoreError::Unreadable(format!("the list of nodes ({file}) in {place} is unreadable: {why}"))
        })
    }

    /// Shows what the store was last seen to have.
    async fn refresh(&self) {
        let seen = self.seen.borrow().clone();
        if let Some(value) = &seen.value
            && let Err(unreadable) = self.parse(Some(value))
            && let Err(error) = self.set_aside(value, &unreadable).await
        {
            tracing::warn!(error = %error, "an unreadable list of nodes could not be moved aside");
        }
        // Again, after the await, and with nobody else showing anything meanwhile.
        let _alone = self.refreshing.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = self.seen.borrow().clone();
        let parsed = self.parse(seen.value.as_ref());
        self.listed.send_if_modified(|last| {
            let next = match parsed {
                Ok(nodes) => Listed { nodes: nodes.into(), reach: seen.reach },
                Err(unreadable) => {
                    let since = match &last.reach {
                        Reach::Lost { since, .. } => *since,
                        Reach::Ok => Instant::now(),
                    };
                    let why = Arc::from(unreadable.to_string());
                    Listed { nodes: Arc::clone(&last.nodes), reach: Reach::Lost { why, since } }
                }
            };
            let news = *last != next;
            *last = next;
            news
        });
    }

    /// Whether the store moved it.
    async fn set_aside(&self, value: &Bytes, why: &StoreError) -> Result<bool, StoreError> {
        let moved = self.store.set_aside(&NODES, value).await?;
        if let Some(to) = &moved {
            tracing::warn!(error = %why, kept = to, "an unreadable list of nodes was moved aside: it is empty now");
        }
        Ok(moved.is_some())
    }
}
