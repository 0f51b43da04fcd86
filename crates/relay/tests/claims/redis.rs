//! Claims in a real Redis, and what goes wrong on the way there.

use std::sync::Arc;
use std::time::Duration;

use mainstay_antelope::Slot;
use mainstay_relay::claims::{Answer, Claims, Published, open};
use mainstay_store::{RedisAddress, RedisScripts};
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::LONG;
use crate::contract::{self, PRODUCER, bid, chain, id};
use crate::faults::{self, Rivals, SHORT};
use crate::servers::eventually;
use crate::servers::many::cluster;
use crate::servers::server::Redis;
use crate::stores::proxy::{Mode, Proxy};

fn at(port: u16, timeout: Duration) -> Arc<dyn Claims> {
    faults::at("redis", port, timeout)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_server_keeps_the_contract() {
    let redis = Redis::start(&[]).await;
    let (one, other) = (at(redis.port, LONG), at(redis.port, LONG));
    contract::holds(&*one).await;
    let both = [Arc::clone(&one), Arc::clone(&other)];
    let handle = Handle::current();
    let random = move || contract::answers_as_the_ledger_does(&handle, &both, 64);
    tokio::task::spawn_blocking(random).await.unwrap();
    contract::one_winner(one, other, 3000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_keeps_the_contract() {
    let servers = cluster().await;
    let url = |at: usize| format!("redis-cluster://127.0.0.1:{}", servers[at].port);
    let (one, other) = (open(&url(0), LONG).unwrap(), open(&url(1), LONG).unwrap());
    contract::holds(&*one).await;
    let both = [Arc::clone(&one), Arc::clone(&other)];
    let handle = Handle::current();
    let random = move || contract::answers_as_the_ledger_does(&handle, &both, 16);
    tokio::task::spawn_blocking(random).await.unwrap();
    contract::one_winner(one, other, 500).await;
}

#[tokio::test]
async fn a_claim_goes_after_a_while_and_the_last_published_stays() {
    let redis = Redis::start(&[]).await;
    let claims = at(redis.port, LONG);
    let mine = bid(chain(), 7, id(100, 1));
    claims.claim(mine).await.unwrap();
    let key = |what: &str| format!("mainstay:relay:{{{}}}:{what}", mine.key.chain);
    for what in [format!("claim:{PRODUCER}:7"), format!("id:{}", mine.id)] {
        let left: u64 = redis.cli(&["PTTL", &key(&what)]).await.trim().parse().unwrap();
        assert!((120_000..=240_000).contains(&left), "{what}: {left} ms");
    }
    assert_eq!(redis.cli(&["TTL", &key(&format!("last:{PRODUCER}"))]).await, "-1\n");
    assert_eq!(redis.cli(&["--raw", "GET", &key(&format!("last:{PRODUCER}"))]).await, "100 7\n");
    // Who only asks keeps nothing alive, and who loses writes nothing.
    assert_eq!(redis.cli(&["DBSIZE"]).await, "3\n");
    claims.claim(bid(mine.key.chain, 7, id(100, 2))).await.unwrap();
    assert_eq!(redis.cli(&["DBSIZE"]).await, "3\n");
}

#[tokio::test]
async fn what_a_relay_uses_goes_after_a_while() {
    let redis = Redis::start(&[]).await;
    let uses = contract::uses(chain(), &contract::user("x", 3), &[(PRODUCER, "c:9876")]);
    at(redis.port, LONG).using(uses.clone()).await.unwrap();
    let key = format!("mainstay:relay:{{{}}}:outer:{PRODUCER}:c:9876", uses.chain);
    assert_eq!(redis.cli(&["--raw", "GET", &key]).await, "x 3 relay x on host\n");
    let left: u64 = redis.cli(&["PTTL", &key]).await.trim().parse().unwrap();
    assert!((10_000..=20_000).contains(&left), "{left} ms");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_have_died_unnoticed_cost_no_claim() {
    let redis = Redis::start(&[]).await;
    faults::connections_that_have_died_unnoticed_cost_no_claim("redis", redis.port).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_answer_may_have_been_yes_and_the_same_block_is_told_so() {
    let redis = Redis::start(&[]).await;
    faults::a_late_answer_may_have_been_yes_and_the_same_block_is_told_so("redis", redis.port).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_gives_up_sooner_spoils_nothing() {
    let redis = Redis::start(&[]).await;
    faults::whoever_gives_up_sooner_spoils_nothing("redis", redis.port).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_finds_back_from_every_fault_by_itself() {
    let redis = Redis::start(&[]).await;
    faults::it_finds_back_from_every_fault_by_itself("redis", redis.port).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_away_is_not_overrun() {
    let redis = Redis::start(&[]).await;
    faults::a_server_that_is_away_is_not_overrun("redis", redis.port, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rivals_behind_proxies_that_fail_never_both_win() {
    let redis = Redis::start(&[]).await;
    let proxies = [Proxy::start(redis.port).await, Proxy::start(redis.port).await];
    let mut rivals = Rivals::start([0, 1].map(|it| at(proxies[it].port, SHORT)));
    rivals.go_on(100).await;
    for mode in [Mode::Deaf, Mode::Hang, Mode::Cut, Mode::Delay(SHORT)] {
        for proxy in &proxies {
            proxy.set(mode);
            rivals.go_on(20).await;
            proxy.set(Mode::Pass);
        }
        rivals.go_on(20).await;
    }
    rivals.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_takes_longer_than_a_claim_is_made_all_the_same() {
    // Its greeting is a question and an answer.
    let redis = Redis::start(&["--requirepass", "hush"]).await;
    let proxy = Proxy::start(redis.port).await;
    proxy.set(Mode::Delay(Duration::from_millis(300)));
    let address = RedisAddress::parse(&format!("redis://:hush@127.0.0.1:{}", proxy.port)).unwrap();
    let scripts = RedisScripts::open(address).unwrap();
    let run = async |limit| scripts.run("return {'here'}", &[], &[], Instant::now() + limit).await;
    run(Duration::from_millis(20)).await.unwrap_err();
    assert_eq!(run(LONG).await.unwrap(), [Some("here".into())]);
    assert_eq!(proxy.accepted(), 1);
}

#[tokio::test]
async fn a_restart_with_its_data_changes_nothing() {
    let mut redis = Redis::start(&["--appendonly", "yes", "--appendfsync", "always"]).await;
    let claims = at(redis.port, LONG);
    let mine = bid(chain(), 7, id(100, 1));
    assert_eq!(claims.claim(mine).await, Ok(Answer::Granted));
    redis.kill();
    claims.claim(mine).await.unwrap_err();
    redis.restart().await;
    eventually(10, "an answer", async || claims.latest(mine.key.chain, PRODUCER).await.is_ok()).await;
    assert_eq!(claims.claim(mine).await, Ok(Answer::Same));
    assert_eq!(claims.claim(bid(mine.key.chain, 7, id(100, 2))).await, Ok(Answer::Lost(Some(mine.id))));
    let latest = Published { number: 100, slot: Slot(7) };
    assert_eq!(claims.latest(mine.key.chain, PRODUCER).await, Ok(Some(latest)));
}

/// The README says what relays know by themselves then.
#[tokio::test]
async fn a_restart_without_its_data_forgets() {
    let mut redis = Redis::start(&[]).await;
    let claims = at(redis.port, LONG);
    let mine = bid(chain(), 7, id(100, 1));
    assert_eq!(claims.claim(mine).await, Ok(Answer::Granted));
    redis.kill();
    redis.restart().await;
    eventually(10, "an answer", async || claims.latest(mine.key.chain, PRODUCER).await.is_ok()).await;
    assert_eq!(claims.latest(mine.key.chain, PRODUCER).await, Ok(None));
    assert_eq!(claims.claim(bid(mine.key.chain, 7, id(100, 2))).await, Ok(Answer::Granted));
}

#[tokio::test]
async fn what_is_wrong_is_said_without_content_and_credentials() {
    let redis = Redis::start(&["--requirepass", "hush"]).await;
    let open = |password| open(&format!("redis://:{password}@127.0.0.1:{}", redis.port), LONG).unwrap();
    let mine = bid(chain(), 7, id(100, 1));
    let error = open("hushhush").claim(mine).await.unwrap_err().to_string();
    assert!(error.contains("password") && !error.contains("hush"), "{error}");
    let auth = ["--no-auth-warning", "-a", "hush"];
    let set = async |what: &str, value: &str| {
        let key = format!("mainstay:relay:{{{}}}:{what}", mine.key.chain);
        redis.cli(&[&auth[..], &["SET", &key, value]].concat()).await;
    };
    let claims = open("hush");
    set(&format!("last:{PRODUCER}"), "foreign").await;
    for error in
        [claims.claim(mine).await.unwrap_err(), claims.latest(mine.key.chain, PRODUCER).await.unwrap_err()]
    {
        assert!(!error.to_string().contains("foreign") && !error.to_string().contains("hush"), "{error}");
    }
    set(&format!("claim:{PRODUCER}:7"), "foreign").await;
    let error = claims.claim(mine).await.unwrap_err().to_string();
    assert!(error.contains("who else writes there") && !error.contains("foreign"), "{error}");
    assert!(error.contains(&redis.port.to_string()), "{error}");
}
