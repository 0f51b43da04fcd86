//! Claims in a real Redis, and what goes wrong on the way there.

use std::sync::Arc;
use std::time::Duration;

use mainstay_antelope::{Name, Slot};
use mainstay_relay::claims::{Answer, Bid, Claims, Published, open};
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::LONG;
use crate::contract::{self, bid, chain, id};
use crate::servers::many::cluster;
use crate::servers::server::Redis;
use crate::servers::{eventually, within};
use crate::stores::proxy::{Mode, Proxy};

/// For claims that aren't. Longer than a relay waits, as machines of tests are busy.
const SHORT: Duration = Duration::from_millis(150);
const OURS: Name = Name(1 << 60);

fn at(port: u16, timeout: Duration) -> Arc<dyn Claims> {
    open(&format!("redis://127.0.0.1:{port}"), timeout).unwrap()
}

/// Asks, so that it is known whether a block has its slot.
async fn has(claims: &dyn Claims, bid: Bid) -> bool {
    claims.claim(Bid { may_win: false, parent_public: true, ..bid }).await == Ok(Answer::Same)
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
    for what in [format!("claim:{OURS}:7"), format!("id:{}", mine.id)] {
        let left: u64 = redis.cli(&["PTTL", &key(&what)]).await.trim().parse().unwrap();
        assert!((120_000..=240_000).contains(&left), "{what}: {left} ms");
    }
    assert_eq!(redis.cli(&["TTL", &key(&format!("last:{OURS}"))]).await, "-1\n");
    assert_eq!(redis.cli(&["--raw", "GET", &key(&format!("last:{OURS}"))]).await, "100 7\n");
    // Who only asks keeps nothing alive, and who loses writes nothing.
    assert_eq!(redis.cli(&["DBSIZE"]).await, "3\n");
    claims.claim(bid(mine.key.chain, 7, id(100, 2))).await.unwrap();
    assert_eq!(redis.cli(&["DBSIZE"]).await, "3\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_answer_may_have_been_yes_and_the_same_block_is_told_so() {
    let redis = Redis::start(&[]).await;
    let proxy = Proxy::start(redis.port).await;
    let (claims, direct) = (at(proxy.port, SHORT), at(redis.port, LONG));
    let first = bid(chain(), 7, id(100, 1));
    eventually(10, "a claim", async || claims.claim(first).await.is_ok()).await;

    for (slot, mode) in [(8, Mode::Delay(SHORT * 3)), (9, Mode::Deaf)] {
        proxy.set(mode);
        let late = bid(first.key.chain, slot, id(93 + slot, 1));
        claims.claim(late).await.unwrap_err();
        eventually(10, "it was granted", async || has(&*direct, late).await).await;
        // Nobody else gets the slot, whoever asks.
        let rival = bid(first.key.chain, slot, id(93 + slot, 2));
        assert_eq!(direct.claim(rival).await, Ok(Answer::Lost(Some(late.id))));
        proxy.set(Mode::Pass);
        eventually(10, "an answer", async || claims.claim(late).await.is_ok()).await;
        assert_eq!(claims.claim(late).await, Ok(Answer::Same));
        assert_eq!(claims.claim(rival).await, Ok(Answer::Lost(Some(late.id))));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_gives_up_sooner_spoils_nothing() {
    let redis = Redis::start(&[]).await;
    let proxy = Proxy::start(redis.port).await;
    let claims = at(proxy.port, LONG);
    let first = bid(chain(), 7, id(100, 1));
    eventually(10, "a claim", async || claims.claim(first).await.is_ok()).await;
    proxy.set(Mode::Hang);
    let next = bid(first.key.chain, 8, id(101, 1));
    assert!(tokio::time::timeout(Duration::from_millis(40), claims.claim(next)).await.is_err());
    proxy.set(Mode::Pass);
    assert!(matches!(within(10, claims.claim(next)).await, Ok(Answer::Granted | Answer::Same)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_finds_back_from_every_fault_by_itself() {
    let redis = Redis::start(&[]).await;
    let proxy = Proxy::start(redis.port).await;
    let claims = at(proxy.port, SHORT);
    let chain = chain();
    let mut slot = 0;
    for mode in [Mode::Cut, Mode::Hang, Mode::Deaf, Mode::Delay(SHORT * 4), Mode::Cut] {
        proxy.set(mode);
        let error = within(10, claims.claim(bid(chain, 1000, id(1000, 1)))).await;
        // One that was on its way may have been answered.
        assert!(error.is_err(), "{mode:?}: {error:?}");
        assert!(within(10, claims.latest(chain, OURS)).await.is_err(), "{mode:?}");
        proxy.set(Mode::Pass);
        // Nobody asks: it reconnects on its own.
        let before = proxy.accepted();
        if mode == Mode::Cut {
            eventually(10, "a new connection", async || proxy.accepted() > before).await;
        }
        slot += 1;
        let next = bid(self::chain(), slot, id(slot, 1));
        eventually(10, "an answer", async || claims.claim(next).await.is_ok()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_away_is_not_overrun() {
    let redis = Redis::start(&[]).await;
    let proxy = Proxy::start(redis.port).await;
    proxy.set(Mode::Cut);
    let claims = at(proxy.port, SHORT);
    let began = Instant::now();
    for slot in 0..2000 {
        within(10, claims.claim(bid(chain(), slot, id(slot, 1)))).await.unwrap_err();
    }
    // Pauses of 50 ms and more; however long it has taken.
    let most = began.elapsed().as_millis() / 50 + 2;
    assert!(proxy.accepted() as u128 <= most, "{} connections in {most} pauses", proxy.accepted());
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
    eventually(10, "an answer", async || claims.latest(mine.key.chain, OURS).await.is_ok()).await;
    assert_eq!(claims.claim(mine).await, Ok(Answer::Same));
    assert_eq!(claims.claim(bid(mine.key.chain, 7, id(100, 2))).await, Ok(Answer::Lost(Some(mine.id))));
    let latest = Published { number: 100, slot: Slot(7) };
    assert_eq!(claims.latest(mine.key.chain, OURS).await, Ok(Some(latest)));
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
    eventually(10, "an answer", async || claims.latest(mine.key.chain, OURS).await.is_ok()).await;
    assert_eq!(claims.latest(mine.key.chain, OURS).await, Ok(None));
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
    set(&format!("last:{OURS}"), "foreign").await;
    for error in
        [claims.claim(mine).await.unwrap_err(), claims.latest(mine.key.chain, OURS).await.unwrap_err()]
    {
        assert!(!error.to_string().contains("foreign") && !error.to_string().contains("hush"), "{error}");
    }
    set(&format!("claim:{OURS}:7"), "foreign").await;
    let error = claims.claim(mine).await.unwrap_err().to_string();
    assert!(error.contains("who else writes there") && !error.contains("foreign"), "{error}");
    assert!(error.contains(&redis.port.to_string()), "{error}");
}
