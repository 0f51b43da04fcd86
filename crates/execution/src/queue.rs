//! One execution client's (EL) queue of newPayload and forkchoiceUpdated, in the consensus client's order.
//!
//! An early answer to the consensus client must not make a slow EL see the head before its payload, so an EL gets one call
//! at a time. A newer forkchoiceUpdated without attributes takes the place of older ones to other heads that are still queued:
//! only the last head matters, while payloads all do. One to the very same head stays: whoever sent it is waiting for the same
//! answer, and being replaced on every node would make that SYNCING.

use std::collections::VecDeque;

/// What the queue has to know of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// newPayload.
    Payload,
    /// forkchoiceUpdated to `head`.
    Head {
        /// The head's hash.
        head: String,
        /// With attributes: it starts a build.
        builds: bool,
    },
}

/// A call in the queue.
#[derive(Debug)]
pub struct Item<T> {
    /// What it is.
    pub kind: Kind,
    /// Bytes of its body.
    pub size: usize,
    /// The call.
    pub call: T,
}

/// The queue, bounded by calls and bytes.
#[derive(Debug)]
pub struct Fifo<T> {
    items: VecDeque<Item<T>>,
    /// All heads in the queue are this one. An EL that hangs has a full queue, mostly of one head: it isn't to be gone through with
    /// each call.
    only_head: Option<String>,
    bytes: usize,
    max_items: usize,
    max_bytes: usize,
}

impl<T> Fifo<T> {
    /// An empty queue.
    #[must_use]
    pub fn new(max_items: usize, max_bytes: usize) -> Self {
        Self { items: VecDeque::new(), only_head: None, bytes: 0, max_items, max_bytes }
    }

    /// Puts a call at the end. Returns the calls that it replaced.
    ///
    /// # Errors
    /// The call itself, if the queue is full.
    pub fn push(&mut self, item: Item<T>) -> Result<Vec<T>, T> {
        let mut replaced = Vec::new();
        if let Kind::Head { head, builds } = &item.kind
            && self.only_head.as_ref() != Some(head)
        {
            self.only_head = None;
            if !builds {
                replaced = self.drop_heads_but(head);
                self.only_head = Some(head.clone());
            }
        }
        let full = self.items.len() >= self.max_items || self.bytes + item.size > self.max_bytes;
        if full && !self.items.is_empty() {
            return Err(item.call);
        }
        self.bytes += item.size;
        self.items.push_back(item);
        Ok(replaced)
    }

    fn drop_heads_but(&mut self, head: &str) -> Vec<T> {
        let mut replaced = Vec::new();
        // Once around, in place: with an EL that hangs this is every call.
        for _ in 0..self.items.len() {
            let Some(old) = self.items.pop_front() else { break };
            if matches!(&old.kind, Kind::Head { head: older, .. } if older != head) {
                self.bytes -= old.size;
                replaced.push(old.call);
            } else {
                self.items.push_back(old);
            }
        }
        replaced
    }

    /// Takes the first call.
    pub fn pop(&mut self) -> Option<T> {
        let item = self.items.pop_front()?;
        self.bytes -= item.size;
        Some(item.call)
    }

    /// Takes all calls out.
    pub fn clear(&mut self) -> Vec<T> {
        self.bytes = 0;
        self.items.drain(..).map(|item| item.call).collect()
    }

    /// Calls in the queue.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether it is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn payload(name: &str) -> Item<String> {
        Item { kind: Kind::Payload, size: 10, call: name.into() }
    }

    fn head(name: &str, builds: bool) -> Item<String> {
        let head = name.trim_end_matches('*').to_owned();
        Item { kind: Kind::Head { head, builds }, size: 1, call: name.into() }
    }

    fn drain(fifo: &mut Fifo<String>) -> String {
        std::iter::from_fn(|| fifo.pop()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_consensus_clients_order_is_kept() {
        let mut fifo = Fifo::new(10, 1000);
        for item in [payload("p1"), head("h1", false), payload("p2"), head("h2", true)] {
            assert_eq!(fifo.push(item), Ok(vec![]));
        }
        assert_eq!(drain(&mut fifo), "p1 h1 p2 h2");
        assert_eq!(fifo.bytes, 0);
    }

    #[test]
    fn a_newer_head_replaces_older_ones_and_never_a_payload() {
        let mut fifo = Fifo::new(10, 1000);
        for item in [payload("p1"), head("h1", false), payload("p2")] {
            assert_eq!(fifo.push(item), Ok(vec![]));
        }
        assert_eq!(fifo.push(head("h2", false)), Ok(vec!["h1".to_owned()]));
        assert_eq!(drain(&mut fifo), "p1 p2 h2");
    }

    #[test]
    fn a_head_that_builds_replaces_nothing_and_is_kept_for_its_own_head() {
        let mut fifo = Fifo::new(10, 1000);
        assert_eq!(fifo.push(head("h1", false)), Ok(vec![]));
        assert_eq!(fifo.push(head("h1*", true)), Ok(vec![]));
        assert_eq!(fifo.push(head("h2", false)), Ok(vec!["h1".to_owned(), "h1*".to_owned()]));
        assert_eq!(drain(&mut fifo), "h2");
    }

    #[test]
    fn a_repeated_head_replaces_nothing_so_that_both_get_the_answer() {
        let mut fifo = Fifo::new(10, 1000);
        for item in [head("h1*", true), head("h1", false), head("h1", false)] {
            assert_eq!(fifo.push(item), Ok(vec![]));
        }
        assert_eq!(drain(&mut fifo), "h1* h1 h1");
    }

    proptest! {
        /// As if the whole queue were gone through with each call.
        #[test]
        fn only_heads_but_the_newest_go(steps in prop::collection::vec((0u8..6, 0u8..3), 0..60)) {
            let mut fifo = Fifo::new(8, 1000);
            let mut model: Vec<Item<String>> = Vec::new();
            for (n, (step, which)) in steps.into_iter().enumerate() {
                let (name, builds) = (which.to_string(), step == 1);
                let kind = match step {
                    0 => {
                        let first = (!model.is_empty()).then(|| model.remove(0).call);
                        prop_assert_eq!(fifo.pop(), first);
                        continue;
                    }
                    1..=3 => Kind::Head { head: name.clone(), builds },
                    _ => Kind::Payload,
                };
                let goes = |item: &Item<String>| {
                    matches!(&kind, Kind::Head { builds: false, .. })
                        && matches!(&item.kind, Kind::Head { head, .. } if *head != name)
                };
                let replaced: Vec<String> = model.iter().filter(|item| goes(item)).map(|item| item.call.clone()).collect();
                model.retain(|item| !goes(item));
                let item = || Item { kind: kind.clone(), size: 1, call: n.to_string() };
                let pushed = fifo.push(item());
                if model.len() < 8 {
                    model.push(item());
                    prop_assert_eq!(pushed, Ok(replaced));
                } else {
                    prop_assert_eq!(pushed, Err(n.to_string()));
                }
                prop_assert_eq!(fifo.len(), model.len());
            }
        }
    }

    #[test]
    fn it_is_bounded_by_calls_and_bytes_but_takes_one_large_call() {
        let mut fifo = Fifo::new(2, 15);
        assert_eq!(fifo.push(payload("a")), Ok(vec![]));
        assert_eq!(fifo.push(payload("b")), Err("b".to_owned()));
        assert_eq!(fifo.push(head("h", true)), Ok(vec![]));
        assert_eq!(fifo.push(head("i", true)), Err("i".to_owned()));
        assert_eq!(fifo.clear().len(), 2);
        let huge = Item { kind: Kind::Payload, size: 1000, call: "huge".to_owned() };
        assert_eq!(fifo.push(huge), Ok(vec![]));
        assert_eq!(fifo.len(), 1);
    }
}
