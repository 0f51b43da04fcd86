//! What every backend tells its watchers, in one place.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::{Name, Reach, Seen, StoreError};

/// The documents that are watched, as last seen.
pub(crate) struct Board {
    /// For the log.
    place: String,
    topics: Mutex<HashMap<Name, Topic>>,
}

struct Topic {
    sender: watch::Sender<Seen>,
    /// Counts the values posted, so that an answer that took its time doesn't hide a newer one.
    posted: u64,
    /// Whether the log says that it is lost.
    warned: bool,
}

/// What [`Board::begin`] saw before a read.
#[derive(Clone, Copy)]
pub(crate) struct Ticket(u64);

impl Board {
    pub(crate) fn new(place: String) -> Self {
        Self { place, topics: Mutex::default() }
    }

    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    pub(crate) fn watch(&self, name: &Name) -> watch::Receiver<Seen> {
        self.topics().entry(name.clone()).or_insert_with(Topic::new).sender.subscribe()
    }

    pub(crate) fn names(&self) -> Vec<Name> {
        self.topics().keys().cloned().collect()
    }

    /// Before the store is asked for a document.
    pub(crate) fn begin(&self, name: &Name) -> Ticket {
        Ticket(self.topics().get(name).map_or(0, |topic| topic.posted))
    }

    /// What a read that began with `ticket` gave; it is left out if a newer value has been posted since.
    pub(crate) fn read(&self, name: &Name, ticket: Ticket, result: &Result<Option<Bytes>, StoreError>) {
        let mut topics = self.topics();
        let Some(topic) = topics.get_mut(name).filter(|topic| topic.posted == ticket.0) else { return };
        match result {
            Ok(value) => self.show(topic, name, value.clone()),
            Err(error) => self.lose(topic, name, error),
        }
    }

    /// A value that is in place for certain.
    pub(crate) fn post(&self, name: &Name, value: Option<Bytes>) {
        if let Some(topic) = self.topics().get_mut(name) {
            topic.posted += 1;
            self.show(topic, name, value);
        }
    }

    /// After a change whose outcome will be read: reads that began before it don't count.
    pub(crate) fn invalidate(&self, name: &Name) {
        if let Some(topic) = self.topics().get_mut(name) {
            topic.posted += 1;
        }
    }

    fn show(&self, topic: &mut Topic, name: &Name, value: Option<Bytes>) {
        if std::mem::take(&mut topic.warned) {
            tracing::info!(document = name.file(), store = self.place, "store is back");
        }
        let seen = Seen { value, reach: Reach::Ok };
        topic.sender.send_if_modified(|last| {
            let news = *last != seen;
            *last = seen;
            news
        });
    }

    fn lose(&self, topic: &mut Topic, name: &Name, error: &StoreError) {
        let text = error.to_string();
        if !std::mem::replace(&mut topic.warned, true) {
            tracing::warn!(
                document = name.file(),
                store = self.place,
                error = text,
                "store is lost: the last value known is used, changes are refused"
            );
        }
        topic.sender.send_if_modified(|last| {
            let since = match &last.reach {
                Reach::Lost { why, .. } if **why == *text => return false,
                Reach::Lost { since, .. } => *since,
                Reach::Ok => Instant::now(),
            };
            last.reach = Reach::Lost { why: Arc::from(text.as_str()), since };
            true
        });
    }

    fn topics(&self) -> std::sync::MutexGuard<'_, HashMap<Name, Topic>> {
        // Nothing under this lock panics half way.
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Topic {
    fn new() -> Self {
        let reach = Reach::Lost { why: Arc::from("not asked yet"), since: Instant::now() };
        Self { sender: watch::Sender::new(Seen { value: None, reach }), posted: 0, warned: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: Name = Name::new("a", "a.json");

    fn value(text: &'static str) -> Option<Bytes> {
        Some(Bytes::from_static(text.as_bytes()))
    }

    #[tokio::test]
    async fn a_slow_read_does_not_hide_a_newer_value() {
        let board = Board::new("here".into());
        let seen = board.watch(&NAME);
        let ticket = board.begin(&NAME);
        board.post(&NAME, value("new"));
        board.read(&NAME, ticket, &Ok(value("old")));
        assert_eq!(seen.borrow().value, value("new"));
        board.read(&NAME, board.begin(&NAME), &Ok(value("newest")));
        assert_eq!(seen.borrow().value, value("newest"));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_lost_keeps_its_value_and_the_time_of_the_first_loss() {
        let board = Board::new("here".into());
        let seen = board.watch(&NAME);
        board.post(&NAME, value("kept"));
        let began = Instant::now();
        for why in ["refused", "timed out"] {
            board.read(&NAME, board.begin(&NAME), &Err(StoreError::Unreachable(why.into())));
            tokio::time::advance(std::time::Duration::from_secs(1)).await;
            let seen = seen.borrow().clone();
            assert_eq!(seen.value, value("kept"));
            assert_eq!(seen.reach, Reach::Lost { why: Arc::from(why), since: began });
        }
        board.read(&NAME, board.begin(&NAME), &Ok(None));
        assert_eq!(*seen.borrow(), Seen { value: None, reach: Reach::Ok });
    }
}
