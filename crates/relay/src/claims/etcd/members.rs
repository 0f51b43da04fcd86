//! Several members as one. The one that answered last is asked first; if it hasn't answered after a part of the time, or says no, the next one is
//! asked too, and the first answer counts. Those that were of no use when they were last looked at aren't asked at all. What was asked is the same whoever answers and however often it is done: a claim of the same block once more is
//! "the same".

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use mainstay_wire::client::Again;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::member::{Member, Trouble};

pub(super) struct Members {
    all: Vec<Arc<Member>>,
    /// Who is asked first.
    first: AtomicUsize,
}

impl Members {
    /// At least one.
    pub(super) fn new(all: Vec<Arc<Member>>) -> Self {
        Self { all, first: AtomicUsize::new(0) }
    }

    pub(super) fn all(&self) -> &[Arc<Member>] {
        &self.all
    }

    /// Asks one after the other, and the first one once more, on a fresh connection: it may be its connections that are dead. One that breaks is
    /// replaced at once; one to a machine that is gone, or moved, says nothing. What has begun goes on without who asks, up to the deadline, so that its
    /// connection can be kept.
    pub(super) async fn ask(
        &self,
        function: &'static str,
        body: &Bytes,
        deadline: Instant,
    ) -> Result<Bytes, Trouble> {
        let mut why = BTreeMap::new();
        let first = self.first.load(Ordering::Relaxed);
        let mut able = Vec::with_capacity(self.all.len() + 1);
        for at in (0..self.all.len()).map(|it| (first + it) % self.all.len()) {
            match self.all[at].away() {
                None => able.push(at),
                Some(trouble) => drop(why.insert(at, trouble)),
            }
        }
        able.extend(able.first().copied());
        let attempts = able.len();
        // The last one has two parts.
        let part = deadline.saturating_duration_since(Instant::now()) / (attempts as u32 + 1);
        let (tell, mut told) = mpsc::channel(attempts.max(1));
        let mut pending = 0;
        for (attempt, at) in able.into_iter().enumerate() {
            let is_last = attempt + 1 == attempts;
            let again = if is_last { Again::Fresh } else { Again::IfItBreaks };
            let (member, body, tell) = (Arc::clone(&self.all[at]), body.clone(), tell.clone());
            tokio::spawn(async move {
                let answer = member.ask(function, &body, again, deadline).await;
                if answer.is_ok() {
                    member.has_answered();
                }
                // Nobody may listen any longer.
                let _ = tell.try_send((at, answer));
            });
            pending += 1;
            let until = if is_last { deadline } else { (Instant::now() + part).min(deadline) };
            // Until somebody says yes, or everybody no, or the part is over.
            while pending > 0 {
                let Ok(Some((at, answer))) = timeout_at(until, told.recv()).await else { break };
                pending -= 1;
                match answer {
                    Ok(answer) => {
                        self.first.store(at, Ordering::Relaxed);
                        return Ok(answer);
                    }
                    Err(Trouble::NoLease) => return Err(Trouble::NoLease),
                    Err(trouble) => drop(why.insert(at, trouble)),
                }
            }
        }
        Err(self.failed(why))
    }

    /// With what is wrong with each.
    fn failed(&self, mut why: BTreeMap<usize, Trouble>) -> Trouble {
        let each = self.all.iter().enumerate().map(|(at, member)| match why.remove(&at) {
            Some(Trouble::Other(why)) => why,
            Some(Trouble::NoLease) | None => format!("etcd {}: no answer in time", member.place),
        });
        Trouble::Other(each.collect::<Vec<_>>().join("; "))
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::atomic::AtomicBool;
    use std::time::Duration;

    use mainstay_wire::client::{Client, Dial, Dialled, Duplex};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
    use url::Url;

    use super::*;

    /// A server that is gone without a farewell, and comes back: what was open then says nothing for ever, and what is opened anew is well.
    #[derive(Default)]
    struct Server {
        is_gone: Arc<AtomicBool>,
        opened: AtomicUsize,
    }

    impl Dial for Server {
        fn dial(&self) -> Dialled<'_> {
            self.opened.fetch_add(1, Ordering::Relaxed);
            let (ours, theirs) = duplex(4096);
            let is_old = !self.is_gone.load(Ordering::Relaxed);
            tokio::spawn(serve(theirs, self.is_gone.clone(), is_old));
            Box::pin(async { io::Result::Ok(Box::new(ours) as Box<dyn Duplex>) })
        }
    }

    async fn serve(mut stream: DuplexStream, is_gone: Arc<AtomicBool>, is_old: bool) {
        let mut asked = Vec::new();
        while matches!(stream.read_buf(&mut asked).await, Ok(1..)) {
            if !asked.ends_with(b"question") {
                continue;
            }
            asked.clear();
            // Both of the first two are under way at once, so that neither takes the other's connection.
            tokio::time::sleep(Duration::from_millis(10)).await;
            if is_old && is_gone.load(Ordering::Relaxed) {
                return std::future::pending().await;
            }
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nanswer").await;
        }
    }

    /// There are more of the dead ones than there are tries.
    #[tokio::test(start_paused = true)]
    async fn where_all_kept_connections_say_nothing_the_last_try_has_a_fresh_one() {
        let server = Arc::new(Server::default());
        let url = Url::parse("http://127.0.0.1:9/").unwrap();
        let client = Client::over(server.clone(), &url, Member::options()).unwrap();
        let members = Members::new(vec![Arc::new(Member::new("here".to_owned(), client, None))]);
        let body = Bytes::from_static(b"question");
        let ask = || members.ask("/v3/kv/txn", &body, Instant::now() + Duration::from_secs(3));
        let (one, two, three) = tokio::join!(ask(), ask(), ask());
        assert!(one.and(two).and(three).is_ok());
        assert_eq!(server.opened.load(Ordering::Relaxed), 3);
        server.is_gone.store(true, Ordering::Relaxed);
        let began = Instant::now();
        assert_eq!(ask().await, Ok(Bytes::from_static(b"answer")));
        let took = began.elapsed();
        assert!(
            (Duration::from_secs(1)..Duration::from_millis(1100)).contains(&took),
            "{took:?}: a part of the time"
        );
        assert_eq!(server.opened.load(Ordering::Relaxed), 4);
    }

    /// The look was begun before the answer came: the next claim isn't to wait for another look.
    #[tokio::test(start_paused = true)]
    async fn who_answers_after_a_look_that_failed_is_asked_again() {
        let url = Url::parse("http://127.0.0.1:9/").unwrap();
        let client = Client::over(Arc::new(Server::default()), &url, Member::options()).unwrap();
        let members = Members::new(vec![Arc::new(Member::new("here".to_owned(), client, None))]);
        let body = Bytes::from_static(b"question");
        let ask = || members.ask("/v3/kv/txn", &body, Instant::now() + Duration::from_secs(3));
        let failed = async {
            tokio::time::sleep(Duration::from_millis(5)).await;
            let member = &members.all()[0];
            member.looked_at(Instant::now(), &Err::<(), _>(member.trouble("connection reset")));
            assert!(ask().await.is_err(), "it is of no use yet");
        };
        let (answer, ()) = tokio::join!(ask(), failed);
        assert!(answer.is_ok());
        assert!(ask().await.is_ok());
    }
}
