//! Claims in Redis: one script for a bid, over keys of one hash tag, so that it is one step in a Cluster too.
//!
//! For chain C, with C, ids and names as text:
//!
//! | key | holds | for |
//! |---|---|---|
//! | `mainstay:relay:{C}:claim:PRODUCER:SLOT` | the id | [`KEPT`] |
//! | `mainstay:relay:{C}:id:ID` | nothing: it is the id of a claim | [`KEPT`] |
//! | `mainstay:relay:{C}:last:PRODUCER` | number and slot last published, as `123 456` | good |
//! | `mainstay:relay:{C}:outer:PRODUCER:PEER` | the relay that uses this outer peer, as [`User::text`] | [`USE_TTL`] |
//!
//! A user in Redis needs EVAL, GET and SET there. It takes Redis 6 or newer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mainstay_antelope::{Id, Name, Slot};
use mainstay_store::{RedisAddress, RedisScripts, StoreError};
use tokio::time::Instant;

use super::warm::Warm;
use super::{Answer, Bid, BoxFuture, CLAIM_TTL, Claims, Published, UNHURRIED, Unavailable, Uses};
use crate::siblings::{USE_TTL, User};

/// How long a claim is kept: so that whoever asks at the end of [`CLAIM_TTL`] still finds it.
const KEPT: Duration = CLAIM_TTL.saturating_mul(2);
/// How long a server has to answer a question of which nothing hangs.
const PROBE: Duration = Duration::from_millis(500);

/// [`Answer::of`] in one step. Keys: the claim, the last published, the parent as a claim's id, the block as one. Arguments: id, number, slot,
/// whether the parent is public, whether the slot may be claimed, for how many milliseconds.
const CLAIM: &str = "\
local holder = redis.call('GET', KEYS[1])
if holder == ARGV[1] then return {'same'} end
if ARGV[4] ~= '1' and not redis.call('GET', KEYS[3]) then return {'orphan'} end
if holder then return {'lost', holder} end
if ARGV[5] ~= '1' then return {'lost'} end
local last = redis.call('GET', KEYS[2])
if last then
  local number, slot = string.match(last, '^(%d+) (%d+)$')
  if tonumber(ARGV[2]) <= tonumber(number) or tonumber(ARGV[3]) <= tonumber(slot) then return {'lost'} end
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[6])
redis.call('SET', KEYS[4], '', 'PX', ARGV[6])
redis.call('SET', KEYS[2], ARGV[2] .. ' ' .. ARGV[3])
return {'granted'}";

/// [`Claims::using`]. Keys: what is used. Arguments: by whom, that with all that is to be written down, for how many milliseconds.
const USE: &str = "\
local users = {}
for at, key in ipairs(KEYS) do
  local user = redis.call('GET', key)
  if user and string.match(user, '^%S*') ~= ARGV[1] then
    users[at] = user
  else
    redis.call('SET', key, ARGV[2], 'PX', ARGV[3])
    users[at] = ''
  end
end
return users";

const LATEST: &str = "return {redis.call('GET', KEYS[1])}";

/// Keeps claims in Redis.
pub(super) struct RedisClaims {
    scripts: Arc<RedisScripts>,
    timeout: Duration,
    warm: Warm,
}

impl RedisClaims {
    /// Connects in the background; `timeout` is for each answer. Call it within a tokio runtime.
    pub(super) fn open(address: RedisAddress, timeout: Duration) -> Result<Self, StoreError> {
        let scripts = Arc::new(RedisScripts::open(address)?);
        let asked = Arc::clone(&scripts);
        let warm =
            Warm::default().and(scripts.place().to_owned(), move || probe(Arc::clone(&asked), timeout));
        Ok(Self { scripts, timeout, warm })
    }

    async fn run(
        &self,
        script: &str,
        keys: &[String],
        arguments: &[&str],
    ) -> Result<Vec<Option<Bytes>>, Unavailable> {
        let asking = async {
            let answer = self.scripts.run(script, keys, arguments, Instant::now() + self.timeout).await;
            answer.map_err(|error| Unavailable(error.to_string()))
        };
        self.warm.watch(asking).await
    }

    async fn bid(&self, bid: Bid) -> Result<Answer, Unavailable> {
        let (chain, slot) = (bid.key.chain, bid.key.slot.0.to_string());
        let keys = [
            key(chain, &format!("claim:{}:{slot}", bid.key.producer)),
            last(chain, bid.key.producer),
            key(chain, &format!("id:{}", bid.previous)),
            key(chain, &format!("id:{}", bid.id)),
        ];
        let flag = |it| if it { "1" } else { "0" };
        let (id, number) = (bid.id.to_string(), bid.id.block_num().to_string());
        let kept = KEPT.as_millis().to_string();
        let arguments = [&id, &number, &slot, flag(bid.parent_public), flag(bid.may_win), &kept];
        let answer = self.run(CLAIM, &keys, &arguments).await?;
        let mut words = answer.iter().flatten().map(|word| &word[..]);
        let told = match (words.next(), words.next()) {
            (Some(b"granted"), None) => Some(Answer::Granted),
            (Some(b"same"), None) => Some(Answer::Same),
            (Some(b"orphan"), None) => Some(Answer::Orphan),
            (Some(b"lost"), None) => Some(Answer::Lost(None)),
            (Some(b"lost"), Some(holder)) => read_id(holder).map(|holder| Answer::Lost(Some(holder))),
            _ => None,
        };
        told.ok_or_else(|| self.foreign("a claim"))
    }

    async fn published(&self, chain: Id, producer: Name) -> Result<Option<Published>, Unavailable> {
        let answer = self.run(LATEST, &[last(chain, producer)], &[]).await?;
        let Some(text) = answer.iter().flatten().next() else { return Ok(None) };
        read_last(text).map(Some).ok_or_else(|| self.foreign("what was published last"))
    }

    async fn uses(&self, uses: Uses) -> Result<Vec<Option<User>>, Unavailable> {
        let place = |(producer, what): &(Name, String)| key(uses.chain, &format!("outer:{producer}:{what}"));
        let keys: Vec<String> = uses.what.iter().map(place).collect();
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let arguments = [&uses.user.id, &uses.user.text(), &USE_TTL.as_millis().to_string()];
        let arguments = arguments.map(String::as_str);
        let answer = self.scripts.run(USE, &keys, &arguments, Instant::now() + UNHURRIED).await;
        let answer = answer.map_err(|error| Unavailable(error.to_string()))?;
        if answer.len() != keys.len() {
            return Err(self.foreign("who uses an outer peer"));
        }
        let text = |user: Option<Bytes>| user.map(|user| String::from_utf8_lossy(&user).into_owned());
        Ok(answer.into_iter().map(|user| text(user).and_then(|user| User::read(&user))).collect())
    }

    fn foreign(&self, what: &str) -> Unavailable {
        Unavailable(format!(
            "{}: what it keeps as {what} is none; who else writes there?",
            self.scripts.place()
        ))
    }
}

impl Claims for RedisClaims {
    fn claim(&self, bid: Bid) -> BoxFuture<'_, Result<Answer, Unavailable>> {
        Box::pin(self.bid(bid))
    }

    fn latest(&self, chain: Id, producer: Name) -> BoxFuture<'_, Result<Option<Published>, Unavailable>> {
        Box::pin(self.published(chain, producer))
    }

    fn using(&self, uses: Uses) -> BoxFuture<'_, Result<Vec<Option<User>>, Unavailable>> {
        Box::pin(self.uses(uses))
    }
}

/// Asks for what isn't there.
async fn probe(scripts: Arc<RedisScripts>, timeout: Duration) -> Result<(), Unavailable> {
    let deadline = Instant::now() + timeout.max(PROBE);
    let answer = scripts.run(LATEST, &["mainstay:relay:probe".to_owned()], &[], deadline).await;
    answer.map(drop).map_err(|error| Unavailable(error.to_string()))
}

fn key(chain: Id, what: &str) -> String {
    format!("mainstay:relay:{{{chain}}}:{what}")
}

fn last(chain: Id, producer: Name) -> String {
    key(chain, &format!("last:{producer}"))
}

fn read_id(text: &[u8]) -> Option<Id> {
    const_hex::decode_to_array(text).ok().map(Id)
}

fn read_last(text: &[u8]) -> Option<Published> {
    let (number, slot) = std::str::from_utf8(text).ok()?.split_once(' ')?;
    Some(Published { number: number.parse().ok()?, slot: Slot(slot.parse().ok()?) })
}
