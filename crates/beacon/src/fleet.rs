//! What guards mean for one another: heads, the chain that they are on, and who stays when none is well.

use crate::finding::Finding;
use crate::guard::Grade;

/// What identifies a chain, and which fork of it a node is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// `genesis_validators_root` and `genesis_fork_version`.
    pub genesis: (String, String),
    /// When it began, in seconds of Unix time.
    pub genesis_time: u64,
    /// Length of a slot in milliseconds.
    pub slot_millis: u64,
    /// Slots of an epoch.
    pub slots_per_epoch: u64,
}

impl Chain {
    /// The slot at a time in seconds of Unix time; `None` before genesis.
    #[must_use]
    pub fn slot(&self, unix_millis: u64) -> Option<u64> {
        let since = unix_millis.checked_sub(self.genesis_time.checked_mul(1000)?)?;
        since.checked_div(self.slot_millis)
    }
}

/// The fork of a node's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fork {
    /// `current_version`.
    pub version: String,
    /// The epoch at which it began.
    pub epoch: u64,
    /// The epoch of the head that says so.
    pub head_epoch: u64,
}

/// What is known of a guard's node that others are judged by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Slot of its head.
    pub head: Option<u64>,
    /// Its chain.
    pub chain: Option<Chain>,
    /// Its fork.
    pub fork: Option<Fork>,
    /// Whether it may be a measure for others: its own hard checks hold.
    pub counts: bool,
}

/// Whether the head of guard `me` is at most `max_lag` slots behind the best of the others that count.
///
/// A head in the future is no measure: one slot ahead of the clock is clocks, more is wrong.
#[must_use]
pub fn lag(all: &[Known], me: usize, max_lag: u64, clock: Option<u64>) -> Finding {
    let Some(head) = all[me].head else { return Finding::hard("its head is not known") };
    let believable = |head: &u64| clock.is_none_or(|clock| *head <= clock + 1);
    let others = all.iter().enumerate().filter(|(i, known)| *i != me && known.counts);
    let best = others.filter_map(|(_, known)| known.head).filter(believable).max();
    match best {
        Some(best) if best.saturating_sub(head) > max_lag => {
            Finding::soft(format!("head {head}, {} slots behind the best of the others", best - head))
        }
        Some(best) => Finding::good(format!("head {head}, best of the others {best}")),
        None => Finding::good(format!("head {head}, no other to compare")),
    }
}

/// Whether guard `me` is on the chain and the fork that most guards are on; in a tie the guard that was named first is right.
#[must_use]
pub fn same_chain(all: &[Known], me: usize) -> Finding {
    let Some(mine) = &all[me].chain else { return Finding::hard("its genesis is not known") };
    let chains: Vec<&Chain> = all.iter().filter_map(|known| known.chain.as_ref()).collect();
    let votes = |chain: &Chain| chains.iter().filter(|other| other.genesis == chain.genesis).count();
    // The first of the greatest: `max_by_key` would take the last.
    let right = chains.iter().rev().max_by_key(|chain| votes(chain));
    if let Some(right) = right.filter(|right| right.genesis != mine.genesis) {
        return Finding::hard(format!(
            "genesis {}, that of the others is {}",
            mine.genesis.0, right.genesis.0
        ));
    }
    let Some(fork) = &all[me].fork else {
        return Finding::good(format!("genesis {}", mine.genesis.0));
    };
    let forks: Vec<&Fork> = all
        .iter()
        .filter(|known| known.chain.as_ref().is_some_and(|chain| chain.genesis == mine.genesis))
        .filter_map(|known| known.fork.as_ref())
        .collect();
    let votes = |fork: &Fork| forks.iter().filter(|other| agree(fork, other)).count();
    let right = forks.iter().rev().max_by_key(|fork| votes(fork));
    match right {
        Some(right) if !agree(fork, right) => {
            Finding::hard(format!("fork {}, that of the others is {}", fork.version, right.version))
        }
        _ => Finding::good(format!("genesis {}, fork {}", mine.genesis.0, fork.version)),
    }
}

/// Whether two heads may belong to one chain: where the older fork's head has passed the epoch at which the newer began,
/// it should have changed too.
fn agree(one: &Fork, other: &Fork) -> bool {
    let (older, newer) = if one.epoch <= other.epoch { (one, other) } else { (other, one) };
    one.version == other.version || (older.epoch < newer.epoch && older.head_epoch < newer.epoch)
}

/// Which guards let requests through. Those that are good; and if that are fewer than `min_fit`, the best of those that are
/// unfit for soft reasons only, the ones let through so far before others, then by the order in which they were named.
#[must_use]
pub fn let_through(grades: &[Grade], open: &[bool], min_fit: usize) -> Vec<bool> {
    let mut let_through: Vec<bool> = grades.iter().map(|grade| *grade == Grade::Good).collect();
    let missing = min_fit.saturating_sub(let_through.iter().filter(|open| **open).count());
    let mut soft: Vec<usize> =
        (0..grades.len()).filter(|&i| matches!(grades[i], Grade::Warming { .. } | Grade::Soft(_))).collect();
    soft.sort_by_key(|&i| (failing(grades[i]), !open.get(i).copied().unwrap_or(false), i));
    for i in soft.into_iter().take(missing) {
        let_through[i] = true;
    }
    let_through
}

fn failing(grade: Grade) -> usize {
    match grade {
        Grade::Soft(count) => count,
        Grade::Good | Grade::Warming { .. } => 0,
        Grade::Hard => usize::MAX,
    }
}

#[cfg(test)]
mod tests;
