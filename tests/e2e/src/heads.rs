//! Compares the heads of execution clients with the chain, slot by slot.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;

use crate::execution::{Execution, block};
use crate::lodestar::{Chain, Lodestar, block_at};
use crate::rpc::Endpoint;
use crate::{Failure, Result, ensure, until};

/// An execution client that is frozen shall not hold it up for long.
const LIMIT: Duration = Duration::from_millis(500);

/// What an execution client had for its head in one slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// The slot.
    pub slot: u64,
    /// The execution client's name.
    pub name: String,
    /// How many slots its head was older than the chain's.
    pub lag: std::result::Result<u64, String>,
}

impl fmt::Display for Look {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.lag {
            Ok(lag) => write!(f, "slot {}: {} lags by {lag}", self.slot, self.name),
            Err(why) => write!(f, "slot {}: {}: {why}", self.slot, self.name),
        }
    }
}

/// A running comparison; it ends when dropped.
pub struct Heads {
    looks: Arc<Mutex<Vec<Look>>>,
    _tasks: JoinSet<()>,
}

impl Heads {
    /// From now on the heads of `executions` are compared with the chain of `producer` near each slot's end.
    pub fn watch(producer: &Lodestar, chain: &Chain, executions: &[&Execution]) -> Heads {
        let looks = Arc::new(Mutex::new(Vec::new()));
        let mut watch = Watch {
            api: producer.api().to_owned(),
            slots: HashMap::new(),
            tip: 0,
            executions: executions
                .iter()
                .map(|one| (one.name().to_owned(), one.endpoint().clone()))
                .collect(),
        };
        let (kept, chain) = (looks.clone(), chain.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut slot = chain.now();
            loop {
                slot = chain.now().max(slot + 1);
                // A block gets most of its slot to come to everyone.
                tokio::time::sleep(chain.time_to(slot) + chain.slot() * 3 / 4).await;
                let found = watch.look(slot).await;
                kept.lock().unwrap_or_else(PoisonError::into_inner).extend(found);
            }
        });
        Heads { looks, _tasks: tasks }
    }

    /// What was seen in slots `first` to `last`.
    pub fn between(&self, first: u64, last: u64) -> Vec<Look> {
        let looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        looks.iter().filter(|look| (first..=last).contains(&look.slot)).cloned().collect()
    }

    /// Waits until slot `last` has been looked at and gives what was seen from `first` on.
    async fn through(&self, chain: &Chain, first: u64, last: u64) -> Result<Vec<Look>> {
        let limit = chain.time_to(last + 1) + chain.slot();
        until(&format!("the look at slot {last}"), limit, async || {
            let found = self.between(first, last);
            Ok(found.iter().any(|look| look.slot == last).then_some(found))
        })
        .await
    }

    /// In each slot from `first` to `last` the head of each of `names` was a block of the chain, at most `lag` slots old. Waits for the
    /// last of them.
    ///
    /// # Errors
    /// Names every look at which it was not.
    pub async fn kept(&self, chain: &Chain, names: &[&str], first: u64, last: u64, lag: u64) -> Result<u64> {
        let looks = self.through(chain, first, last).await?;
        let looks: Vec<&Look> = looks.iter().filter(|look| names.contains(&look.name.as_str())).collect();
        ensure!(!looks.is_empty(), "nothing was seen of {names:?} in slots {first} to {last}");
        let wrong: Vec<String> = looks
            .iter()
            .filter(|look| look.lag.as_ref().is_ok_and(|found| *found > lag) || look.lag.is_err())
            .map(ToString::to_string)
            .collect();
        ensure!(wrong.is_empty(), "heads older than {lag} slots: {wrong:#?}");
        Ok(looks.iter().filter_map(|look| look.lag.as_ref().ok()).max().copied().unwrap_or_default())
    }
}

struct Watch {
    api: String,
    /// The slot of each block of the chain, by the hash of its payload.
    slots: HashMap<String, u64>,
    tip: u64,
    executions: Vec<(String, Endpoint)>,
}

impl Watch {
    async fn look(&mut self, slot: u64) -> Vec<Look> {
        let mut asked = JoinSet::new();
        for (name, endpoint) in self.executions.clone() {
            asked.spawn(async move {
                let found = tokio::time::timeout(LIMIT, block(&endpoint, "latest")).await;
                (name, found.unwrap_or_else(|_| Err(Failure::new("no answer"))))
            });
        }
        let found = asked.join_all().await;
        let chain = self.follow().await;
        let lag = |head: Result<Option<crate::execution::Block>>| {
            chain.as_ref().map_err(|why| format!("the producer: {why}"))?;
            let head = head.map_err(|why| why.to_string())?.ok_or("no head")?;
            match self.slots.get(&head.hash) {
                Some(slot) => Ok(self.tip.saturating_sub(*slot)),
                None if head.number == 0 => Ok(self.tip),
                None => Err(format!("block {} ({}) is none of the chain's", head.number, head.hash)),
            }
        };
        found.into_iter().map(|(name, head)| Look { slot, name, lag: lag(head) }).collect()
    }

    /// Reads the blocks that have come since the last time. There is one producer, so none of them goes away.
    async fn follow(&mut self) -> Result<()> {
        let head = block_at(&self.api, "head").await?.ok_or_else(|| Failure::new("no head"))?;
        for slot in self.tip + 1..=head.slot {
            if let Some(block) =
                block_at(&self.api, &slot.to_string()).await?.filter(|block| block.slot == slot)
            {
                self.slots.insert(block.hash, slot);
            }
        }
        self.tip = head.slot;
        Ok(())
    }
}
