//! Claims in a real etcd, alone and as a cluster of three that loses members.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mainstay_antelope::Slot;
use mainstay_relay::claims::{Answer, Claims, Published, open};
use serde_json::{Value, json};
use tokio::runtime::Handle;

use crate::LONG;
use crate::contract::{self, PRODUCER, bid, chain, id};
use crate::faults::{self, Rivals, SHORT};
use crate::servers::tls::certificates;
use crate::servers::{eventually, within};
use crate::stores::etcd::{Cluster, Etcd};

fn at(port: u16, timeout: Duration) -> Arc<dyn Claims> {
    faults::at("etcd", port, timeout)
}

/// Everything that it keeps: keys, values and leases.
async fn all(etcd: &Etcd) -> Vec<(String, String, Option<String>)> {
    let range = etcd.post("/v3/kv/range", &json!({ "key": "AA==", "range_end": "AA==" })).await;
    let text = |value: &Value| {
        String::from_utf8(STANDARD.decode(value.as_str().unwrap_or_default()).unwrap()).unwrap()
    };
    let kvs = range["kvs"].as_array().cloned().unwrap_or_default();
    kvs.iter()
        .map(|kv| (text(&kv["key"]), text(&kv["value"]), kv["lease"].as_str().map(str::to_owned)))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_member_keeps_the_contract() {
    let etcd = Etcd::start().await;
    let (one, other) = (at(etcd.port, LONG), at(etcd.port, LONG));
    contract::holds(&*one).await;
    let both = [Arc::clone(&one), Arc::clone(&other)];
    let handle = Handle::current();
    let random = move || contract::answers_as_the_ledger_does(&handle, &both, 48);
    tokio::task::spawn_blocking(random).await.unwrap();
    contract::one_winner(one, other, 2000).await;
}

#[tokio::test]
async fn a_claim_goes_with_its_lease_and_the_last_published_stays() {
    let etcd = Etcd::start().await;
    let claims = open(&format!("etcd://127.0.0.1:{}/some/where", etcd.port), LONG).unwrap();
    let mine = bid(chain(), 7, id(100, 1));
    claims.claim(mine).await.unwrap();
    let kept = all(&etcd).await;
    let of = |what: &str| format!("/some/where/{}/{what}", mine.key.chain);
    let keys: Vec<&str> = kept.iter().map(|(key, ..)| &**key).collect();
    let [claim, own] = [of(&format!("claim/{PRODUCER}/00000007")), of(&format!("id/{}", mine.id))];
    let [number, slot] = ["number", "slot"].map(|what| of(&format!("last/{PRODUCER}/{what}")));
    assert_eq!(keys, [&claim, &own, &number, &slot]);
    assert_eq!((&*kept[0].1, &*kept[2].1, &*kept[3].1), (&*mine.id.to_string(), "00000064", "00000007"));
    let leases: Vec<bool> = kept.iter().map(|(.., lease)| lease.is_some()).collect();
    assert_eq!(leases, [true, true, false, false]);
    let lease = kept[0].2.clone().unwrap();
    let left = etcd.post("/v3/kv/lease/timetolive", &json!({ "ID": lease })).await;
    let left: u64 = left["TTL"].as_str().unwrap().parse().unwrap();
    assert!((120..=360).contains(&left), "{left} s");
    // Who loses or only asks writes nothing.
    claims.claim(bid(mine.key.chain, 7, id(100, 2))).await.unwrap();
    assert_eq!(all(&etcd).await, kept);

    // Somebody takes the lease away: the claims go, another one is granted without anybody noticing.
    etcd.post("/v3/kv/lease/revoke", &json!({ "ID": lease })).await;
    assert_eq!(all(&etcd).await.len(), 2);
    let next = bid(mine.key.chain, 8, id(101, 1));
    assert_eq!(claims.claim(next).await, Ok(Answer::Granted));
    assert_eq!(claims.claim(bid(mine.key.chain, 7, id(100, 2))).await, Ok(Answer::Lost(None)));
}

#[tokio::test]
async fn what_a_relay_uses_goes_with_its_lease() {
    let etcd = Etcd::start().await;
    let uses = contract::uses(chain(), &contract::user("x", 3), &[(PRODUCER, "c:9876")]);
    at(etcd.port, LONG).using(uses.clone()).await.unwrap();
    let kept = all(&etcd).await;
    let [(key, value, Some(lease))] = &kept[..] else { panic!("{kept:?}") };
    assert_eq!(*key, format!("/mainstay/relay/{}/outer/{PRODUCER}/c:9876", uses.chain));
    assert_eq!(value, "x 3 relay x on host");
    let left = etcd.post("/v3/kv/lease/timetolive", &json!({ "ID": lease })).await;
    let left: u64 = left["TTL"].as_str().unwrap().parse().unwrap();
    assert!((10..=20).contains(&left), "{left} s");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_answer_may_have_been_yes_and_the_same_block_is_told_so() {
    let etcd = Etcd::start().await;
    faults::a_late_answer_may_have_been_yes_and_the_same_block_is_told_so("etcd", etcd.port).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_have_died_unnoticed_cost_no_claim() {
    let etcd = Etcd::start().await;
    faults::connections_that_have_died_unnoticed_cost_no_claim("etcd", etcd.port).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_say_nothing_cost_a_part_of_the_time() {
    let etcd = Etcd::start().await;
    faults::connections_that_say_nothing_cost_a_part_of_the_time("etcd", etcd.port).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_gives_up_sooner_spoils_nothing() {
    let etcd = Etcd::start().await;
    faults::whoever_gives_up_sooner_spoils_nothing("etcd", etcd.port).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_finds_back_from_every_fault_by_itself() {
    let etcd = Etcd::start().await;
    faults::it_finds_back_from_every_fault_by_itself("etcd", etcd.port).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_away_is_not_overrun() {
    let etcd = Etcd::start().await;
    faults::a_server_that_is_away_is_not_overrun("etcd", etcd.port, 2).await;
}

#[tokio::test]
async fn a_restart_changes_nothing() {
    let mut etcd = Etcd::start().await;
    let claims = at(etcd.port, LONG);
    let mine = bid(chain(), 7, id(100, 1));
    assert_eq!(claims.claim(mine).await, Ok(Answer::Granted));
    etcd.kill();
    claims.claim(mine).await.unwrap_err();
    etcd.restart().await;
    eventually(10, "an answer", async || claims.latest(mine.key.chain, PRODUCER).await.is_ok()).await;
    assert_eq!(claims.claim(mine).await, Ok(Answer::Same));
    assert_eq!(claims.claim(bid(mine.key.chain, 7, id(100, 2))).await, Ok(Answer::Lost(Some(mine.id))));
    let latest = Published { number: 100, slot: Slot(7) };
    assert_eq!(claims.latest(mine.key.chain, PRODUCER).await, Ok(Some(latest)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_hangs_or_is_dead_costs_a_part_of_the_time() {
    let mut cluster = Cluster::start().await;
    let leader = cluster.next_leader(0, None).await;
    let [bad, good] = [(leader + 1) % 3, (leader + 2) % 3];
    cluster.members[bad].freeze(true);
    let claims = open(&cluster.url([bad, good, leader]), LONG).unwrap();
    let first = bid(chain(), 7, id(100, 1));
    assert_eq!(claims.claim(first).await, Ok(Answer::Granted));
    cluster.members[bad].freeze(false);
    cluster.members[bad].kill();
    let claims = open(&cluster.url([bad, good, leader]), LONG).unwrap();
    assert_eq!(claims.claim(first).await, Ok(Answer::Same));

    // One that is left of three has no leader, and says so at once.
    cluster.members[leader].kill();
    eventually(20, "no leader", async || {
        let error = claims.claim(bid(first.key.chain, 8, id(101, 1))).await.err();
        error.is_some_and(|error| error.to_string().contains("leader"))
    })
    .await;
    cluster.members[leader].restart().await;
    eventually(20, "a claim", async || {
        matches!(claims.claim(bid(first.key.chain, 9, id(102, 1))).await, Ok(Answer::Granted | Answer::Same))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rivals_never_both_win_while_leaders_are_killed_frozen_and_cut_off() {
    let mut cluster = Cluster::start().await;
    let open = |order| open(&cluster.url(order), SHORT).unwrap();
    let mut rivals = Rivals::start([open([0, 1, 2]), open([2, 0, 1])]);
    rivals.go_on(50).await;

    let killed = cluster.next_leader(0, None).await;
    cluster.members[killed].kill();
    let next = cluster.next_leader((killed + 1) % 3, Some(killed)).await;
    rivals.go_on(50).await;
    cluster.members[killed].restart().await;
    rivals.go_on(50).await;

    cluster.members[next].freeze(true);
    let other = (next + 1) % 3;
    let third = cluster.next_leader(other, Some(next)).await;
    rivals.go_on(50).await;
    cluster.members[next].freeze(false);
    rivals.go_on(50).await;

    // It goes on believing that it leads, for a while; clients reach it all the time.
    cluster.cut_off(Some(third));
    let last = cluster.next_leader((third + 1) % 3, Some(third)).await;
    assert_ne!(last, third);
    rivals.go_on(50).await;
    cluster.cut_off(None);
    eventually(20, "one cluster", async || {
        let leaders = [cluster.leader(0).await, cluster.leader(1).await, cluster.leader(2).await];
        leaders[0].is_some() && leaders.iter().all(|leader| *leader == leaders[0])
    })
    .await;
    rivals.go_on(50).await;
    rivals.end().await;
}

#[tokio::test]
async fn a_member_that_is_cut_off_grants_nothing() {
    let cluster = Cluster::start().await;
    let alone = cluster.next_leader(0, None).await;
    let mine = bid(chain(), 7, id(100, 1));
    let there = at(cluster.members[alone].port, LONG);
    assert_eq!(there.claim(mine).await, Ok(Answer::Granted));
    cluster.cut_off(Some(alone));
    cluster.next_leader((alone + 1) % 3, Some(alone)).await;
    let next = bid(mine.key.chain, 8, id(101, 1));
    assert!(within(10, there.claim(next)).await.is_err());
    assert!(within(10, there.latest(mine.key.chain, PRODUCER)).await.is_err());
    let elsewhere = at(cluster.members[(alone + 1) % 3].port, LONG);
    let rival = bid(mine.key.chain, 8, id(101, 2));
    assert_eq!(elsewhere.claim(rival).await, Ok(Answer::Granted));
    cluster.cut_off(None);
    eventually(20, "an answer", async || there.claim(next).await == Ok(Answer::Lost(Some(rival.id)))).await;
}

#[tokio::test]
async fn a_user_with_a_password() {
    let mut etcd = Etcd::start().await;
    let say = async |function: &str, body: Value| {
        etcd.post(&format!("/v3/auth/{function}"), &body).await;
    };
    for name in ["root", "relay", "other"] {
        say("user/add", json!({ "name": name, "password": "hush" })).await;
        say("role/add", json!({ "name": name })).await;
        say("user/grant", json!({ "user": name, "role": name })).await;
    }
    let [key, range_end] = ["/mainstay/relay/", "/mainstay/relay0"].map(|key| STANDARD.encode(key));
    let perm = json!({ "permType": "READWRITE", "key": key, "range_end": range_end });
    say("role/grant", json!({ "name": "relay", "perm": perm })).await;
    // Before it wants a password, and from then on.
    let open = |user: &str| open(&format!("etcd://{user}127.0.0.1:{}", etcd.port), LONG).unwrap();
    let claims = open("relay:hush@");
    let mine = bid(chain(), 7, id(100, 1));
    assert_eq!(claims.claim(mine).await, Ok(Answer::Granted));
    say("enable", json!({})).await;
    assert_eq!(claims.claim(mine).await, Ok(Answer::Same));
    for (user, about) in [
        ("", "wants one"),
        ("relay:hushhush@", "does not accept the user or password"),
        ("nobody:hush@", "does not accept the user or password"),
        ("other:hush@", "lacks a permission"),
    ] {
        let error = open(user).claim(mine).await.unwrap_err().to_string();
        assert!(error.contains(about) && !error.contains("hush"), "{user}: {error}");
    }
    // It forgets whom it has given tokens.
    etcd.kill();
    claims.claim(mine).await.unwrap_err();
    let mut etcd = etcd;
    etcd.restart_any().await;
    eventually(20, "an answer", async || claims.claim(mine).await == Ok(Answer::Same)).await;
}

#[tokio::test]
async fn tls_with_certificates_on_both_sides() {
    let files = certificates();
    let file = |name: &str| files.path().join(name).to_str().unwrap().to_owned();
    let [ca, certificate, key] = ["ca.pem", "server.pem", "server.key"].map(file);
    let options =
        ["--cert-file", &certificate, "--key-file", &key, "--client-cert-auth", "--trusted-ca-file", &ca];
    let etcd = Etcd::start_with("https", &options).await;
    let open = |options: &str| open(&format!("etcds://127.0.0.1:{}?{options}", etcd.port), LONG).unwrap();
    let mine = bid(chain(), 7, id(100, 1));
    let claims = open(&format!("ca={ca}&cert={certificate}&key={key}"));
    eventually(10, "a claim", async || claims.claim(mine).await.is_ok()).await;
    assert_eq!(claims.claim(mine).await, Ok(Answer::Same));
    for options in [format!("ca={ca}"), String::new()] {
        let error = open(&options).claim(mine).await.unwrap_err().to_string();
        assert!(error.contains(&etcd.port.to_string()), "{error}");
    }
}

#[tokio::test]
async fn what_is_wrong_is_said_without_content() {
    let etcd = Etcd::start().await;
    let claims = at(etcd.port, LONG);
    let mine = bid(chain(), 7, id(100, 1));
    let key = STANDARD.encode(format!("/mainstay/relay/{}/claim/{PRODUCER}/00000007", mine.key.chain));
    etcd.post("/v3/kv/put", &json!({ "key": key, "value": STANDARD.encode("foreign") })).await;
    let error = claims.claim(mine).await.unwrap_err().to_string();
    assert!(error.contains("who else writes there") && !error.contains("foreign"), "{error}");
    assert!(error.contains(&etcd.port.to_string()), "{error}");
}
