//! Claims, wherever they are kept: in memory, in a real Redis and in a real etcd they give the same answers, and no fault on the way makes two
//! winners.
#![allow(clippy::unwrap_used)]

/// Real servers, as the store's own tests have them.
#[path = "../../store/tests/common/mod.rs"]
mod servers;
mod stores;

#[path = "claims/contract.rs"]
mod contract;
#[path = "claims/etcd.rs"]
mod etcd;
#[path = "claims/faults.rs"]
mod faults;
#[path = "claims/redis.rs"]
mod redis;

use std::time::Duration;

use mainstay_relay::claims::{Claims as _, MemoryClaims, open};
use mainstay_relay::siblings::USE_TTL;

/// For claims that are to be answered.
const LONG: Duration = Duration::from_secs(5);

#[tokio::test]
async fn memory_keeps_the_contract() {
    contract::holds(&MemoryClaims::default()).await;
    contract::holds(&*open("memory", LONG).unwrap()).await;
}

#[tokio::test(start_paused = true)]
async fn who_is_gone_uses_nothing_after_a_while() {
    let (claims, chain) = (MemoryClaims::default(), contract::chain());
    let by = |id| contract::uses(chain, &contract::user(id, 1), &[(contract::PRODUCER, "c:9876")]);
    claims.using(by("x")).await.unwrap();
    tokio::time::advance(USE_TTL - Duration::from_millis(1)).await;
    assert_eq!(claims.using(by("y")).await, Ok(vec![Some(contract::user("x", 1))]));
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(claims.using(by("y")).await, Ok(vec![None]));
    // Who writes it anew keeps it.
    for _ in 0..3 {
        tokio::time::advance(USE_TTL / 2).await;
        assert_eq!(claims.using(by("y")).await, Ok(vec![None]));
    }
    assert_eq!(claims.using(by("x")).await, Ok(vec![Some(contract::user("y", 1))]));
}
