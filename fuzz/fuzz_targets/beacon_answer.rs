//! Any bytes as a node's answer to mainstay's own checks: nothing panics, what is read is what JSON says, and what operators are told
//! is one short line. The first byte says how much of it is the first of two answers.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use mainstay_beacon::fleet::{Known, lag, same_chain};
use mainstay_beacon::reading::{self, Subnets, SyncRules, Syncing};
use mainstay_beacon::{Finding, Verdict};
use serde_json::Value;

fuzz_target!(|input: &[u8]| {
    let [cut, rest @ ..] = input else { return };
    let (one, two) = rest.split_at(rest.len() * usize::from(*cut) / 256);
    let json: Value = serde_json::from_slice(rest).unwrap_or_default();
    let number = |value: &Value| value.as_u64().or_else(|| value.as_str()?.parse().ok());

    if let Some(said) = Syncing::read(rest) {
        assert_eq!(number(&json["data"]["head_slot"]), Some(said.head_slot));
        assert_eq!(json["data"]["is_syncing"], Value::Bool(said.is_syncing));
        for (max_distance, clock) in [(None, None), (Some(8), None), (Some(8), Some(u64::MAX))] {
            let found = said.judge(SyncRules { max_distance, optimistic: false }, clock);
            told(&found);
            let bad = said.is_syncing || said.el_offline || said.is_optimistic;
            assert_eq!(found.verdict == Verdict::Hard, bad);
            assert!(!found.is_good() || max_distance.is_none_or(|max| said.sync_distance <= max));
        }
    }
    if let Some(connected) = reading::peer_count(rest) {
        assert_eq!(number(&json["data"]["connected"]), Some(connected));
        let found = reading::enough_peers(connected, 64);
        told(&found);
        assert_eq!(found.is_good(), connected >= 64);
    }
    if let Some(has) = reading::attnets(rest) {
        told(&has.judge(Subnets::ALL));
        assert!(has.judge(has).is_good());
        let text = has.to_string();
        assert!(text.is_empty() || text.parse() == Ok(has), "{text}");
    }
    if let Some(chain) = reading::chain(one, two) {
        let _ = chain.slot(u64::MAX);
        let fork = reading::fork(br#"{"data":{"current_version":"0x01","epoch":"2"}}"#, u64::MAX, &chain);
        let known = |head| Known { head, chain: Some(chain.clone()), fork: fork.clone(), counts: true };
        let all = [known(Some(0)), known(Some(u64::MAX)), known(None), Known::default()];
        for me in 0..all.len() {
            told(&lag(&all, me, 2, None));
            told(&same_chain(&all, me));
        }
        if let Some(fork) = reading::fork(rest, 7, &chain) {
            assert!(fork.version.len() <= 66);
        }
    }
    let (one, two) = (Bytes::copy_from_slice(one), Bytes::copy_from_slice(two));
    match reading::execution(&one, &two) {
        Ok(said) => {
            for genesis in [None, Some(1_795_231_000), Some(u64::MAX)] {
                let found = said.judge(Some(60), genesis, 1_795_231_030);
                told(&found);
                assert_eq!(found.verdict == Verdict::Hard, said.syncing);
            }
        }
        Err(found) => {
            told(&found);
            assert!(!found.is_good());
        }
    }
});

fn told(found: &Finding) {
    let Finding { saw, .. } = found;
    assert!(!saw.is_empty() && saw.len() <= 300 && !saw.contains(char::is_control), "{saw:?}");
}
