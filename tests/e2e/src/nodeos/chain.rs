//! A node's chain, over its HTTP API.

use std::time::Duration;

use serde_json::{Value, json};

use crate::nodeos::key::{Key, hex, unhex32};
use crate::nodeos::pack::Action;
use crate::rpc::{post, text, unix_time};
use crate::{Failure, Result, fail};

/// Half seconds that a slot takes.
pub const SLOT: Duration = Duration::from_millis(500);
/// When slot 0 was: the year 2000.
const SLOTS_BEGAN: Duration = Duration::from_secs(946_684_800);

/// A block that a node knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Its number.
    pub number: u32,
    /// Its id, in hex.
    pub id: String,
    /// The id of the one before it.
    pub previous: String,
    /// Its slot.
    pub slot: u32,
    /// Its producer.
    pub producer: String,
}

/// What a node says of itself.
#[derive(Clone, Debug)]
pub struct Head {
    /// The chain's id, in hex.
    pub chain: String,
    /// The number of its newest block.
    pub number: u32,
    /// The id of that.
    pub id: String,
    /// The id of its newest block that can't be undone.
    pub last_irreversible: String,
}

/// A client of one node.
pub struct Chain {
    url: String,
    key: Key,
}

impl Chain {
    pub(crate) fn new(url: String) -> Result<Chain> {
        Ok(Chain { url, key: Key::development()? })
    }

    async fn call(&self, method: &str, body: Value) -> Result<Value> {
        let url = format!("{}/v1/chain/{method}", self.url);
        let (status, answer) = post(&url, &body).await?;
        if !status.is_success() {
            fail!("{method}: {status}: {}", String::from_utf8_lossy(&answer));
        }
        Ok(serde_json::from_slice(&answer)?)
    }

    /// Where it stands.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn head(&self) -> Result<Head> {
        let info = self.call("get_info", json!({})).await?;
        Ok(Head {
            chain: text(&info, "/chain_id")?,
            number: small(&info, "/head_block_num")?,
            id: text(&info, "/head_block_id")?,
            last_irreversible: text(&info, "/last_irreversible_block_id")?,
        })
    }

    /// The block of this number on its chain.
    ///
    /// # Errors
    /// If there is none.
    pub async fn block(&self, number: u32) -> Result<Block> {
        let block = self.call("get_block", json!({ "block_num_or_id": number })).await?;
        Ok(Block {
            number: small(&block, "/block_num")?,
            id: text(&block, "/id")?,
            previous: text(&block, "/previous")?,
            slot: slot(&text(&block, "/timestamp")?)?,
            producer: text(&block, "/producer")?,
        })
    }

    /// Its blocks from this slot on up to its newest, oldest first.
    ///
    /// # Errors
    /// If it does not answer, or its blocks are no chain.
    pub async fn since(&self, slot: u32) -> Result<Vec<Block>> {
        let mut blocks: Vec<Block> = Vec::new();
        let mut number = self.head().await?.number;
        while number > 1 {
            let block = self.block(number).await?;
            if let Some(next) = blocks.last()
                && next.previous != block.id
            {
                // It has changed its branch meanwhile.
                number = self.head().await?.number;
                blocks.clear();
                continue;
            }
            if block.slot < slot {
                break;
            }
            blocks.push(block);
            number -= 1;
        }
        blocks.reverse();
        Ok(blocks)
    }

    /// Whether it has this account.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn has_account(&self, account: &str) -> Result<bool> {
        let url = format!("{}/v1/chain/get_account", self.url);
        let (status, _) = post(&url, &json!({ "account_name": account })).await?;
        Ok(status.is_success())
    }

    /// The producers of the schedule that is in force.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn schedule(&self) -> Result<Vec<String>> {
        let schedule = self.call("get_producer_schedule", json!({})).await?;
        let Some(producers) = schedule["active"]["producers"].as_array() else {
            fail!("no schedule in {schedule}");
        };
        producers.iter().map(|producer| text(producer, "/producer_name")).collect()
    }

    /// Signs a transaction of this action alone and hands it over; it is in the node's next block.
    ///
    /// # Errors
    /// If the node refuses it.
    pub async fn push(&self, action: &Action) -> Result<()> {
        let head = self.head().await?;
        let (chain, reference) = (unhex32(&head.chain)?, unhex32(&head.last_irreversible)?);
        let now = u32::try_from(unix_time().as_secs())?;
        // About every second signature is one that nodes take.
        for expiration in now + 60..now + 110 {
            let transaction = action.transaction(expiration, reference);
            if let Some(signature) = self.key.sign(&chain, &transaction)? {
                let body = json!({
                    "signatures": [signature],
                    "compression": "none",
                    "packed_context_free_data": "",
                    "packed_trx": hex(&transaction),
                });
                self.call("push_transaction", body).await?;
                return Ok(());
            }
        }
        fail!("no signature of fifty is one that nodes take")
    }

    /// The key of every account.
    pub fn key(&self) -> Vec<u8> {
        self.key.public()
    }
}

fn small(value: &Value, pointer: &str) -> Result<u32> {
    let number = value.pointer(pointer).and_then(Value::as_u64);
    let number = number.ok_or_else(|| Failure::new(format!("no number at {pointer} in {value}")))?;
    Ok(u32::try_from(number)?)
}

/// The slot that is now.
pub fn now() -> u32 {
    let since = unix_time().saturating_sub(SLOTS_BEGAN);
    u32::try_from(since.as_millis() / SLOT.as_millis()).unwrap_or(u32::MAX)
}

/// How long it is until `slot` begins.
pub fn time_to(slot: u32) -> Duration {
    (SLOTS_BEGAN + SLOT * slot).saturating_sub(unix_time())
}

/// The slot of a time as nodes write it: `2026-11-21T22:30:00.500`, UTC.
fn slot(time: &str) -> Result<u32> {
    let wrong = || Failure::new(format!("not a time: {time}"));
    let mut parts = time.split(['-', 'T', ':', '.']).map(|part| part.parse::<u32>());
    let mut next = || parts.next().and_then(std::result::Result::ok).ok_or_else(wrong);
    let (year, month, day) = (next()?, next()?, next()?);
    let (hours, minutes, seconds, millis) = (next()?, next()?, next()?, next()?);
    if year < 2000 || !(1..=12).contains(&month) || day == 0 {
        return Err(wrong());
    }
    // A year of months from March on ends with the day that not every year has.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    // 1 January 2000 by the same count.
    let days = days - 730_425;
    Ok(((days * 24 + hours) * 60 + minutes) * 120 + seconds * 2 + millis / 500)
}

#[cfg(test)]
mod tests {
    use super::slot;

    #[test]
    fn times_are_slots() {
        assert_eq!(slot("2000-01-01T00:00:00.000").unwrap(), 0);
        assert_eq!(slot("2000-01-01T00:00:00.500").unwrap(), 1);
        assert_eq!(slot("2000-03-01T00:00:00.000").unwrap(), 60 * 172_800);
        // From the vectors: unix time 1,795,229,910 and 3,094,168,447.5.
        assert_eq!(slot("2026-11-21T02:58:30.000").unwrap(), 1_697_090_220);
        assert_eq!(slot("2068-01-19T03:14:07.500").unwrap(), u32::MAX);
        assert!(slot("yesterday").is_err());
    }
}
