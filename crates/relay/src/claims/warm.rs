//! Connections to a store that are there when they are needed.
//!
//! A producer has its slots every two minutes, and the first claim of a round has 40 ms. So the store is asked for nothing much once a second:
//! a connection that has died is found and replaced before somebody waits for it, and at once after somebody had no
//! answer. A server is asked one question at a time, and after one that failed comes a pause that gets longer, so that a store that comes back isn't
//! overrun.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::Unavailable;

/// Between two questions while all is well.
const EVERY: Duration = Duration::from_secs(1);
/// The shortest pause, and the longest one while it isn't.
const SOON: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_millis(500);

/// Asks until it is dropped.
#[derive(Default)]
pub(super) struct Warm {
    nudges: Vec<Arc<Notify>>,
    tasks: Vec<AbortHandle>,
}

impl Warm {
    /// With one more server. `probe` asks it, over the connections that claims take; it has a deadline of its own. `place` is for the log. Call it
    /// within a tokio runtime.
    pub(super) fn and<P, F>(mut self, place: String, probe: P) -> Self
    where
        P: Fn() -> F + Send + 'static,
        F: Future<Output = Result<(), Unavailable>> + Send + 'static,
    {
        let nudge = Arc::new(Notify::new());
        self.tasks.push(tokio::spawn(keep(place, probe, Arc::clone(&nudge))).abort_handle());
        self.nudges.push(nudge);
        self
    }

    /// Waits for an answer. If there is none, or nobody waits any longer, the connections are looked at.
    pub(super) async fn watch<T>(
        &self,
        asking: impl Future<Output = Result<T, Unavailable>>,
    ) -> Result<T, Unavailable> {
        let mut unanswered = Unanswered(&self.nudges);
        let answer = asking.await;
        if answer.is_ok() {
            unanswered.0 = &[];
        }
        answer
    }
}

impl Drop for Warm {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

/// Tells when dropped.
struct Unanswered<'a>(&'a [Arc<Notify>]);

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        self.0.iter().for_each(|nudge| nudge.notify_one());
    }
}

async fn keep<P, F>(place: String, probe: P, nudge: Arc<Notify>)
where
    P: Fn() -> F,
    F: Future<Output = Result<(), Unavailable>>,
{
    let mut pause = SOON;
    let mut well = true;
    loop {
        match probe().await {
            Ok(()) => {
                if !well {
                    tracing::info!(%place, "what keeps claims answers again");
                }
                well = true;
                pause = SOON;
                // Not more often than that, however many had no answer.
                tokio::time::sleep(SOON).await;
                let _ = tokio::time::timeout(EVERY, nudge.notified()).await;
            }
            Err(error) => {
                if well {
                    tracing::warn!(%place, %error, "what keeps claims doesn't answer");
                }
                well = false;
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::time::Instant;

    use super::*;

    type Asked = Arc<Mutex<Vec<Duration>>>;

    /// When it was asked, in paused time, where questions fail for `away` from the start.
    fn warm(away: Duration) -> (Warm, Asked) {
        let asked = Asked::default();
        let (began, seen) = (Instant::now(), Arc::clone(&asked));
        let warm = Warm::default().and("here".into(), move || {
            seen.lock().unwrap().push(began.elapsed());
            let failed = began.elapsed() < away;
            async move { if failed { Err(Unavailable("away".into())) } else { Ok(()) } }
        });
        (warm, asked)
    }

    fn millis(asked: &Asked) -> Vec<u128> {
        asked.lock().unwrap().iter().map(Duration::as_millis).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn once_a_second_and_with_longer_pauses_while_it_fails() {
        let (_warm, asked) = warm(Duration::from_millis(4000));
        tokio::time::sleep(Duration::from_millis(6700)).await;
        assert_eq!(
            millis(&asked),
            [0, 50, 150, 350, 750, 1250, 1750, 2250, 2750, 3250, 3750, 4250, 5300, 6350]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn at_once_when_somebody_has_no_answer() {
        let (warm, asked) = warm(Duration::ZERO);
        tokio::time::sleep(Duration::from_millis(300)).await;
        let failed = async { Err::<(), _>(Unavailable("late".into())) };
        assert!(warm.watch(failed).await.is_err());
        tokio::time::sleep(Duration::from_millis(300)).await;
        // Who gives up is no other case.
        let silent = std::future::pending::<Result<(), _>>();
        assert!(tokio::time::timeout(Duration::from_millis(40), warm.watch(silent)).await.is_err());
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(warm.watch(async { Ok(()) }).await.is_ok());
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(millis(&asked), [0, 300, 640]);
    }

    #[tokio::test(start_paused = true)]
    async fn many_without_an_answer_are_one_question() {
        let (warm, asked) = warm(Duration::ZERO);
        for _ in 0..1000 {
            assert!(warm.watch(async { Err::<(), _>(Unavailable("late".into())) }).await.is_err());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(millis(&asked).len() <= 21, "{:?}", millis(&asked));
        drop(warm);
        let before = millis(&asked).len();
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(millis(&asked).len(), before);
    }
}
