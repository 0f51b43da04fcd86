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

use mainstay_relay::claims::{MemoryClaims, open};

/// For claims that are to be answered.
const LONG: Duration = Duration::from_secs(5);

#[tokio::test]
async fn memory_keeps_the_contract() {
    contract::holds(&MemoryClaims::default()).await;
    contract::holds(&*open("memory", LONG).unwrap()).await;
}
