//! Claims in etcd (v3, 3.4 or newer), by its JSON gateway: that takes nothing but the HTTP client that is here already.
//!
//! For chain C, with C, ids and names as text:
//!
//! | key | holds | for |
//! |---|---|---|
//! | `/PREFIX/C/claim/PRODUCER/SLOT` | the id | its lease |
//! | `/PREFIX/C/id/ID` | nothing: it is the id of a claim | its lease |
//! | `/PREFIX/C/last/PRODUCER/number`, `…/slot` | what was published last, in eight hexadecimal digits | good |
//! | `/PREFIX/C/outer/PRODUCER/PEER` | the relay that uses this outer peer, as [`User::text`] | a lease of [`USE_TTL`] |
//!
//! A bid is one transaction: if there is no claim, the parent is one (where it isn't known to be public), and number and slot of the last published are
//! less, put all four; else read them, and say by [`Answer::of`] what that comes to. etcd compares values as bytes, hence the digits. So there is
//! nothing to remember from one bid to the next, and one round trip whoever won the last slot; two for the very first slot of a producer.
//!
//! **Reads** are linearizable: those of a transaction are, unless all of them ask not to be. A member without a leader is told to say so at once.
//!
//! **Leases** are shared by the claims of two minutes and never renewed: a lease for each claim would be a second write in each claim's 40 ms, and one that
//! is renewed would keep all claims for ever. A new one is granted in the background every minute, and claims outlive the process by what is left of theirs.

mod address;
mod api;
mod member;
mod members;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mainstay_antelope::{Id, Name};
use mainstay_wire::client::{Again, Client, Tls};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};
use url::Url;

use super::warm::Warm;
use super::{Answer, Bid, BoxFuture, CLAIM_TTL, Claims, Published, UNHURRIED, Unavailable, Uses};
use crate::siblings::{USE_TTL, User};
pub(super) use address::EtcdAddress;
use api::{Keys, Outcome};
use member::{Member, Trouble};
use members::Members;

const TXN: &str = "/v3/kv/txn";
const RANGE: &str = "/v3/kv/range";
const GRANT: &str = "/v3/lease/grant";

/// How long a lease lasts.
const LEASE: Duration = CLAIM_TTL.saturating_mul(3);
/// A new one is granted after so long.
const RENEW: Duration = Duration::from_secs(60);
/// And nothing is claimed with one that is older than this.
const LAST_USE: Duration = CLAIM_TTL.saturating_mul(2);
/// How long a member has to answer a question of which nothing hangs; for authentication it works for some 100 ms.
const PROBE: Duration = Duration::from_secs(1);
/// Transactions for one bid. The first one settles it, but for a producer's first slot, and where a lease has gone.
const TRIES: usize = 4;

/// Keeps claims in etcd.
pub(super) struct EtcdClaims {
    shared: Arc<Shared>,
    timeout: Duration,
    warm: Warm,
}

struct Shared {
    members: Members,
    prefix: String,
    lease: Mutex<Option<Lease>>,
    place: String,
}

#[derive(Clone)]
struct Lease {
    id: String,
    /// When it was asked for.
    since: Instant,
}

impl EtcdClaims {
    /// Connects in the background; `timeout` is for each answer. Call it within a tokio runtime.
    pub(super) fn open(address: EtcdAddress, timeout: Duration) -> Result<Self, String> {
        let place = address.to_string();
        let tls = match (&address.ca, &address.identity) {
            (None, None) => None,
            (ca, identity) => {
                let identity = identity.as_ref().map(|(certificate, key)| (&**certificate, &**key));
                Some(Tls::from_pem(ca.as_deref(), identity).map_err(|error| error.to_string())?)
            }
        };
        let scheme = if address.tls { "https" } else { "http" };
        let mut members = Vec::new();
        for host in &address.hosts {
            let url =
                Url::parse(&format!("{scheme}://{host}/")).map_err(|error| format!("{host}: {error}"))?;
            let options = mainstay_wire::client::Options { tls: tls.clone(), ..Member::options() };
            let client = Client::new(&url, options).map_err(|error| format!("{host}: {error}"))?;
            members.push(Arc::new(Member::new(host.to_string(), client, address.user.clone())));
        }
        let members = Members::new(members);
        let shared = Arc::new(Shared { members, prefix: address.prefix, lease: Mutex::default(), place });
        let mut warm = Warm::default();
        for member in shared.members.all() {
            let (shared, member, limit) = (Arc::clone(&shared), Arc::clone(member), timeout.max(PROBE));
            let place = format!("etcd {}", member.place);
            warm = warm.and(place, move || probe(Arc::clone(&shared), Arc::clone(&member), limit));
        }
        Ok(Self { shared, timeout, warm })
    }

    /// Within the time that there is.
    async fn limited<T>(
        &self,
        asking: impl AsyncFnOnce(&Shared, Instant) -> Result<T, Unavailable>,
    ) -> Result<T, Unavailable> {
        let deadline = Instant::now() + self.timeout;
        let asking = async {
            let answer = timeout_at(deadline, asking(&self.shared, deadline)).await;
            answer.unwrap_or_else(|_| Err(self.shared.unavailable("no answer in time")))
        };
        self.warm.watch(asking).await
    }
}

impl Claims for EtcdClaims {
    fn claim(&self, bid: Bid) -> BoxFuture<'_, Result<Answer, Unavailable>> {
        Box::pin(self.limited(async move |shared: &Shared, deadline| shared.bid(&bid, deadline).await))
    }

    fn latest(&self, chain: Id, producer: Name) -> BoxFuture<'_, Result<Option<Published>, Unavailable>> {
        Box::pin(
            self.limited(async move |shared: &Shared, deadline| {
                shared.latest(chain, producer, deadline).await
            }),
        )
    }

    fn using(&self, uses: Uses) -> BoxFuture<'_, Result<Vec<Option<User>>, Unavailable>> {
        Box::pin(async move {
            let deadline = Instant::now() + UNHURRIED;
            let answer = timeout_at(deadline, self.shared.using(&uses, deadline)).await;
            answer.unwrap_or_else(|_| Err(self.shared.unavailable("no answer in time")))
        })
    }
}

impl Shared {
    async fn bid(&self, bid: &Bid, deadline: Instant) -> Result<Answer, Unavailable> {
        let keys = Keys::of(&self.prefix, bid);
        let mut first = false;
        for _ in 0..TRIES {
            let (body, lease) = if bid.may_win {
                let lease = self.lease(deadline).await?;
                (keys.take(bid, &lease, first), Some(lease))
            } else {
                (keys.look(), None)
            };
            let answer = match self.members.ask(TXN, &body, deadline).await {
                Ok(answer) => answer,
                Err(Trouble::NoLease) => {
                    self.forget(lease.as_deref()).await;
                    continue;
                }
                Err(Trouble::Other(why)) => return Err(Unavailable(why)),
            };
            let found = match api::read(&answer, bid.may_win) {
                Some(Outcome::Done) => return Ok(Answer::Granted),
                Some(Outcome::Found(found)) => found,
                None => return Err(self.foreign("a claim")),
            };
            match Answer::of(bid, found.holder.as_ref(), found.parent_claimed, found.latest) {
                // It asked for the wrong thing.
                Answer::Granted => first = found.latest.is_none(),
                settled => return Ok(settled),
            }
        }
        Err(self.unavailable("it changed under every try"))
    }

    async fn latest(
        &self,
        chain: Id,
        producer: Name,
        deadline: Instant,
    ) -> Result<Option<Published>, Unavailable> {
        let body = api::latest(&self.prefix, chain, producer);
        match self.members.ask(TXN, &body, deadline).await {
            Ok(answer) => api::read_latest(&answer).ok_or_else(|| self.foreign("what was published last")),
            Err(Trouble::Other(why)) => Err(Unavailable(why)),
            Err(Trouble::NoLease) => Err(self.unavailable("an answer to another question")),
        }
    }

    /// Looks who uses what, then writes down what nobody else does. Who writes last of two who looked at the same moment has it, which the other one
    /// is told the next time.
    async fn using(&self, uses: &Uses, deadline: Instant) -> Result<Vec<Option<User>>, Unavailable> {
        let ask = async |function, body| match self.members.ask(function, &body, deadline).await {
            Ok(answer) => Ok(answer),
            Err(Trouble::Other(why)) => Err(Unavailable(why)),
            Err(Trouble::NoLease) => Err(self.unavailable("an answer to another question")),
        };
        let keys = api::used(&self.prefix, uses);
        let answer = ask(TXN, api::look_up(&keys)).await?;
        let users =
            api::read_users(&answer, keys.len()).ok_or_else(|| self.foreign("who uses an outer peer"))?;
        let users: Vec<Option<User>> =
            users.into_iter().map(|user| user.filter(|user| user.id != uses.user.id)).collect();
        let free = keys.iter().zip(&users).filter(|(_, user)| user.is_none());
        let free: Vec<&String> = free.map(|(key, _)| key).collect();
        if !free.is_empty() {
            let answer = ask(GRANT, api::lease(USE_TTL.as_secs())).await?;
            let lease = api::read_lease(&answer).ok_or_else(|| self.foreign("a lease"))?;
            ask(TXN, api::write(&free, &uses.user.text(), &lease)).await?;
        }
        Ok(users)
    }

    /// One that lasts for [`CLAIM_TTL`] at least.
    async fn lease(&self, deadline: Instant) -> Result<String, Unavailable> {
        // Held while one is granted, so that one does it for all; who waits has a deadline.
        let mut lease = self.lease.lock().await;
        if let Some(lease) = &*lease
            && lease.since.elapsed() < LAST_USE
        {
            return Ok(lease.id.clone());
        }
        let since = Instant::now();
        let answer = self.members.ask(GRANT, &api::lease(LEASE.as_secs()), deadline).await;
        let answer = answer.map_err(|trouble| match trouble {
            Trouble::Other(why) => Unavailable(why),
            Trouble::NoLease => self.unavailable("an answer to another question"),
        })?;
        let id = api::read_lease(&answer).ok_or_else(|| self.foreign("a lease"))?;
        *lease = Some(Lease { id: id.clone(), since });
        Ok(id)
    }

    /// The lease is gone, if nobody has seen to that yet.
    async fn forget(&self, gone: Option<&str>) {
        self.lease.lock().await.take_if(|lease| Some(&*lease.id) == gone);
    }

    /// Grants a new lease if it is time, and nobody is at it.
    async fn renew(&self, member: &Member, deadline: Instant) -> Result<(), Trouble> {
        let Ok(lease) = self.lease.try_lock() else { return Ok(()) };
        if lease.as_ref().is_some_and(|lease| lease.since.elapsed() < RENEW) {
            return Ok(());
        }
        // Claims go on with the one that there is.
        drop(lease);
        let since = Instant::now();
        let answer = member.ask(GRANT, &api::lease(LEASE.as_secs()), Again::IfItBreaks, deadline).await?;
        let id = api::read_lease(&answer).ok_or_else(|| member.trouble("it grants no lease"))?;
        *self.lease.lock().await = Some(Lease { id, since });
        Ok(())
    }

    fn unavailable(&self, why: &str) -> Unavailable {
        Unavailable(format!("{}: {why}", self.place))
    }

    fn foreign(&self, what: &str) -> Unavailable {
        self.unavailable(&format!("what it keeps as {what} is none; who else writes there?"))
    }
}

/// Asks one member for what isn't there, twice at a time: two nodes behind a relay have their blocks at the same time.
async fn probe(shared: Arc<Shared>, member: Arc<Member>, limit: Duration) -> Result<(), Unavailable> {
    let mut began = Instant::now();
    let deadline = began + limit;
    let body: Bytes = api::probe(&shared.prefix);
    let ask = || member.ask(RANGE, &body, Again::IfItBreaks, deadline);
    let (one, other) = tokio::join!(ask(), ask());
    let asked = one.and(other).map(drop);
    let outcome = match asked {
        Ok(()) => {
            // It answers questions; whether it writes too is another look.
            began = Instant::now();
            shared.renew(&member, deadline).await
        }
        trouble => trouble,
    };
    member.looked_at(began, &outcome);
    outcome.map_err(|trouble| match trouble {
        Trouble::Other(why) => Unavailable(why),
        Trouble::NoLease => shared.unavailable("an answer to another question"),
    })
}
