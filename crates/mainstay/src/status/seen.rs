//! What a watch has seen so far, and what of it is news. Pure.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

/// How long it is told that somebody answers again.
const TOLD_FOR: Duration = Duration::from_secs(10);

/// The last answer, and whether there is one now.
#[derive(Debug, Default)]
pub(super) struct Seen {
    roles: Option<Value>,
    changes: Vec<Value>,
    /// Since when nobody answers, and why.
    lost: Option<(Instant, String)>,
    /// When somebody answered again, and after how long.
    back: Option<(Instant, Duration)>,
}

/// Something that is worth a block.
#[derive(Debug, PartialEq)]
pub(super) enum News {
    /// The first answer.
    First,
    /// What the process lists as changed, in its form.
    Changed(Vec<Value>),
    /// Nobody answers any more, or yet.
    Lost(String),
    /// Somebody answers again: this process, or one that was started since.
    Back { after: Duration, changes: Vec<Value> },
}

impl Seen {
    /// Takes in what came of asking: roles and changes, or why there is no answer.
    pub(super) fn take(&mut self, now: Instant, answer: Result<(Value, Vec<Value>), String>) -> Option<News> {
        let (roles, changes) = match answer {
            Ok(answer) => answer,
            Err(why) => {
                self.back = None;
                // The reason may be another one by and by, which is no news.
                if let Some((_, told)) = &mut self.lost {
                    *told = why;
                    return None;
                }
                self.lost = Some((now, why.clone()));
                return Some(News::Lost(why));
            }
        };
        let is_first = self.roles.replace(roles).is_none();
        // A process that was restarted has a list of its own, so it is compared by what stands in it.
        let new: Vec<Value> =
            changes.iter().filter(|change| !self.changes.contains(change)).cloned().collect();
        self.changes = changes;
        if let Some((since, _)) = self.lost.take() {
            if is_first {
                return Some(News::First);
            }
            let after = now.duration_since(since);
            self.back = Some((now, after));
            return Some(News::Back { after, changes: new });
        }
        if is_first {
            return Some(News::First);
        }
        (!new.is_empty()).then_some(News::Changed(new))
    }

    /// The last answer's roles.
    pub(super) fn roles(&self) -> Option<&Value> {
        self.roles.as_ref()
    }

    /// The last answer's changes, the oldest first.
    pub(super) fn changes(&self) -> &[Value] {
        &self.changes
    }

    /// For how long nobody has answered, and why.
    pub(super) fn lost(&self, now: Instant) -> Option<(Duration, &str)> {
        self.lost.as_ref().map(|(since, why)| (now.duration_since(*since), why.as_str()))
    }

    /// After how long somebody answered again, for some seconds.
    pub(super) fn back(&self, now: Instant) -> Option<Duration> {
        self.back.filter(|(at, _)| now.duration_since(*at) < TOLD_FOR).map(|(_, after)| after)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(age: u64, changes: &[u64]) -> Result<(Value, Vec<Value>), String> {
        let changes = changes.iter().map(|at| json!({"at_ms": at})).collect();
        Ok((json!({"roles": [{"since_seconds": age}]}), changes))
    }

    fn change(at: u64) -> Value {
        json!({"at_ms": at})
    }

    #[tokio::test(start_paused = true)]
    async fn news_are_what_the_process_calls_a_change() {
        let (now, mut seen) = (Instant::now(), Seen::default());
        for (case, given, news) in [
            ("the first is shown, whatever changed before", answer(1, &[1]), Some(News::First)),
            ("ages move on", answer(2, &[1]), None),
            ("one more", answer(3, &[1, 2]), Some(News::Changed(vec![change(2)]))),
            (
                "the list is full and its oldest gone",
                answer(4, &[2, 3, 4]),
                Some(News::Changed(vec![change(3), change(4)])),
            ),
            ("nothing", answer(5, &[2, 3, 4]), None),
            ("a new process has an empty list", answer(0, &[]), None),
        ] {
            assert_eq!(seen.take(now, given), news, "{case}");
        }
        assert_eq!(seen.roles(), Some(&json!({"roles": [{"since_seconds": 0}]})));
    }

    #[tokio::test(start_paused = true)]
    async fn who_goes_and_comes_back_is_told_once() {
        let (start, mut seen) = (Instant::now(), Seen::default());
        let at = |seconds| start + Duration::from_secs(seconds);
        let gone = |why: &str| Err(why.to_owned());
        assert_eq!(seen.take(at(0), gone("refused")), Some(News::Lost("refused".to_owned())));
        assert_eq!(seen.take(at(1), gone("timeout")), None);
        assert_eq!(seen.lost(at(3)), Some((Duration::from_secs(3), "timeout")), "the latest reason");
        assert_eq!(seen.take(at(4), answer(0, &[])), Some(News::First), "it was never there before");
        assert_eq!((seen.lost(at(4)), seen.back(at(4))), (None, None));

        assert_eq!(seen.take(at(5), gone("reset")), Some(News::Lost("reset".to_owned())));
        assert!(seen.roles().is_some(), "what was seen last stays");
        let back = News::Back { after: Duration::from_secs(7), changes: vec![change(9)] };
        assert_eq!(seen.take(at(12), answer(0, &[9])), Some(back));
        assert_eq!(seen.back(at(21)), Some(Duration::from_secs(7)));
        assert_eq!(seen.back(at(22)), None, "told long enough");
    }
}
