#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::finding::Verdict;

const RULES: SyncRules = SyncRules { max_distance: Some(8), optimistic: false };

fn syncing(rest: &str) -> String {
    format!(r#"{{"data":{{"head_slot":"100",{rest}}}}}"#)
}

#[test]
fn what_a_beacon_node_says_of_its_sync() {
    for (rest, clock, verdict) in [
        (
            r#""sync_distance":"0","is_syncing":false,"is_optimistic":false,"el_offline":false"#,
            None,
            Verdict::Good,
        ),
        (r#""sync_distance":"0","is_syncing":false"#, None, Verdict::Good),
        (r#""sync_distance":0,"is_syncing":false"#, None, Verdict::Good),
        (r#""sync_distance":"8","is_syncing":false"#, Some(108), Verdict::Good),
        (r#""sync_distance":"9","is_syncing":false"#, None, Verdict::Soft),
        (r#""sync_distance":"0","is_syncing":false"#, Some(109), Verdict::Soft),
        (r#""sync_distance":"0","is_syncing":false"#, Some(90), Verdict::Good),
        (r#""sync_distance":"0","is_syncing":true"#, None, Verdict::Hard),
        (r#""sync_distance":"0","is_syncing":false,"is_optimistic":true"#, None, Verdict::Hard),
        (r#""sync_distance":"0","is_syncing":false,"el_offline":true"#, None, Verdict::Hard),
    ] {
        let read = Syncing::read(syncing(rest).as_bytes()).unwrap();
        assert_eq!(read.judge(RULES, clock).verdict, verdict, "{rest} at {clock:?}");
    }
    let optimistic =
        Syncing::read(syncing(r#""sync_distance":"0","is_syncing":false,"is_optimistic":true"#).as_bytes());
    assert!(optimistic.unwrap().judge(SyncRules { optimistic: true, ..RULES }, None).is_good());
    for unreadable in [
        "",
        "{}",
        r#"{"data":null}"#,
        r#"{"data":{"head_slot":"x","sync_distance":"0","is_syncing":false}}"#,
        r#"{"data":{"head_slot":"1","sync_distance":"-1","is_syncing":false}}"#,
        r#"{"data":{"head_slot":"1","sync_distance":"0"}}"#,
        r#"{"data":{"head_slot":"1","sync_distance":"0","is_syncing":"false"}}"#,
        "<html>",
        r#"{"data":["1","0",false,false,false]}"#,
        r#"[{"head_slot":"1","sync_distance":"0","is_syncing":false}]"#,
    ] {
        assert_eq!(Syncing::read(unreadable.as_bytes()), None, "{unreadable}");
    }
}

#[test]
fn peers() {
    assert_eq!(
        peer_count(
            br#"{"data":{"disconnected":"12","connecting":"34","connected":"56","disconnecting":"5"}}"#
        ),
        Some(56)
    );
    assert_eq!(peer_count(br#"{"data":{"connected":56}}"#), Some(56));
    for unreadable in [&br#"{"data":{}}"#[..], br#"{"data":[7]}"#, br#"[{"connected":"7"}]"#] {
        assert_eq!(peer_count(unreadable), None);
    }
    assert!(enough_peers(64, 64).is_good());
    assert_eq!(enough_peers(63, 64), Finding::soft("63 peers, at least 64"));
}

#[test]
fn subnets_are_written_read_and_compared() {
    for text in ["0", "63", "0-63", "0-1", "1,3,5-9,60-63"] {
        assert_eq!(text.parse::<Subnets>().unwrap().to_string(), text);
    }
    assert_eq!("all".parse::<Subnets>().unwrap(), Subnets::ALL);
    for wrong in ["", "64", "5-4", "a", "1-", "-1", "1;2"] {
        assert!(wrong.parse::<Subnets>().is_err(), "{wrong}");
    }
    let identity =
        |bits: &str| attnets(format!(r#"{{"data":{{"metadata":{{"attnets":"{bits}"}}}}}}"#).as_bytes());
    // Subnet 0 and 9, as SSZ writes them.
    assert_eq!(identity("0x0102000000000000").unwrap().to_string(), "0,9");
    assert_eq!(identity("0x0000000000000080").unwrap().to_string(), "63");
    assert_eq!(identity("0x01"), None);
    assert_eq!(identity("0xzz02000000000000"), None);
    let has = identity("0x0300000000000000").unwrap();
    assert!(has.judge("0-1".parse().unwrap()).is_good());
    assert_eq!(has.judge("0-3,9".parse().unwrap()), Finding::soft("2 of 5 subnets, lacks 2-3,9"));
}

const GENESIS: &[u8] = br#"{"data":{"genesis_validators_root":"0xAB","genesis_time":"1795231026","genesis_fork_version":"0x03000001"}}"#;

#[test]
fn the_chain_and_its_fork() {
    let spec = |rest: &str| format!(r#"{{"data":{{"SLOTS_PER_EPOCH":"8"{rest}}}}}"#);
    let read = |rest: &str| chain(GENESIS, spec(rest).as_bytes());
    let it = read(r#","SECONDS_PER_SLOT":"3""#).unwrap();
    assert_eq!(it.genesis, ("0xab".to_owned(), "0x03000001".to_owned()));
    assert_eq!((it.genesis_time, it.slot_millis, it.slots_per_epoch), (1_795_231_026, 3000, 8));
    assert_eq!(read(r#","SECONDS_PER_SLOT":"12","SLOT_DURATION_MS":"6000""#).unwrap().slot_millis, 6000);
    for rest in ["", r#","SECONDS_PER_SLOT":"0""#, r#","SECONDS_PER_SLOT":"18446744073709551615""#] {
        assert_eq!(read(rest), None, "{rest}");
    }
    let body = br#"{"data":{"previous_version":"0x00","current_version":"0x0A","epoch":"4"}}"#;
    let expected = Fork { version: "0x0a".to_owned(), epoch: 4, head_epoch: 12 };
    assert_eq!(fork(body, 100, &it), Some(expected));
    // They stand in replies and logs: nothing but what they should be.
    for version in ["", "0x", "06", "0xg0", "0x00\\n", "0x<b>", &format!("0x{}", "0".repeat(65))] {
        let body = format!(r#"{{"data":{{"current_version":"{version}","epoch":"4"}}}}"#);
        assert_eq!(fork(body.as_bytes(), 100, &it), None, "{version}");
        let genesis = String::from_utf8_lossy(GENESIS).replace("0xAB", version);
        assert!(!genesis.contains("0xAB"));
        assert_eq!(
            chain(genesis.as_bytes(), spec(r#","SECONDS_PER_SLOT":"3""#).as_bytes()),
            None,
            "{version}"
        );
    }
}

#[test]
fn an_execution_node() {
    let judged = |syncing: &str, block: &str, genesis: Option<u64>| {
        let wrap = |result: &str| Bytes::from(format!(r#"{{"jsonrpc":"2.0","id":1,{result}}}"#));
        execution(&wrap(syncing), &wrap(block)).map(|said| said.judge(Some(60), genesis, 1060))
    };
    let ask = |syncing: &str, block: &str| judged(syncing, block, None);
    let block = r#""result":{"number":"0x10","timestamp":"0x3e8"}"#;
    for (syncing, verdict) in [
        (r#""result":false"#, Verdict::Good),
        (
            r#""result":{"currentBlock":"0x5","highestBlock":"0x5","txIndexRemainingBlocks":"0x9"}"#,
            Verdict::Good,
        ),
        (r#""result":{"currentBlock":"0x4","highestBlock":"0x5"}"#, Verdict::Hard),
    ] {
        assert_eq!(ask(syncing, block).unwrap().verdict, verdict, "{syncing}");
    }
    let old = r#""result":{"number":"0x10","timestamp":"0x3e7"}"#;
    assert_eq!(ask(r#""result":false"#, old).unwrap(), Finding::soft("block 16 is 61 s old, at most 60 s"));
    let first = r#""result":{"number":"0x0","timestamp":"0x0"}"#;
    for (genesis, age) in [(None, Some(1060)), (Some(999), Some(61)), (Some(1000), None), (Some(2000), None)]
    {
        let verdict = age.map_or(Finding::good("in sync, block 0"), |age| {
            Finding::soft(format!("block 0 is {age} s old, at most 60 s"))
        });
        assert_eq!(judged(r#""result":false"#, first, genesis).unwrap(), verdict, "genesis {genesis:?}");
    }
    for (syncing, block, saw) in [
        (r#""error":{"code":-32601,"message":"no"}"#, block, "eth_syncing: error -32601"),
        (r#""result":null"#, block, "eth_syncing: unreadable answer"),
        (r#""result":false"#, r#""result":null"#, "eth_getBlockByNumber: unreadable answer"),
        (r#""result":false"#, r#""result":{"number":"0x1"}"#, "eth_getBlockByNumber: unreadable answer"),
    ] {
        assert_eq!(ask(syncing, block).unwrap_err(), Finding::hard(saw));
    }
}

proptest! {
    #[test]
    fn nothing_panics(one in proptest::collection::vec(any::<u8>(), 0..200), other in ".{0,200}") {
        for body in [&one[..], other.as_bytes()] {
            let _ = Syncing::read(body);
            let _ = peer_count(body);
            let _ = attnets(body);
            let _ = chain(GENESIS, body);
            let _ = chain(body, body);
            let _ = execution(&Bytes::copy_from_slice(body), &Bytes::copy_from_slice(body));
        }
    }
}
