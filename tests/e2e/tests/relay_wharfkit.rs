//! A peer with a codec of its own (wharfkit's) before a real nodeos, with `mainstay relay` between: what it says arrives, what it gets is
//! the chain, and of its two blocks for one slot one goes out.
#![cfg(target_arch = "x86_64")]

use std::process::Command;
use std::time::Duration;

use mainstay_e2e::gate::Gate;
use mainstay_e2e::nodeos::devnet::PRODUCER;
use mainstay_e2e::nodeos::frames::Header;
use mainstay_e2e::nodeos::key::hex;
use mainstay_e2e::nodeos::pack::{Action, name};
use mainstay_e2e::nodeos::tap::{Tap, Way};
use mainstay_e2e::nodeos::{Nodeos, Part};
use mainstay_e2e::process::Process;
use mainstay_e2e::rpc::text;
use mainstay_e2e::{Result, ensure, scenario, until};
use serde_json::{Value, json};

const BLOCKS: u32 = 20;
const LIMIT: Duration = Duration::from_secs(60);
const WIF: &str = "5KQwrPbwdL6PhXujxW37FSSQZ1JiwsST4cqQzDeyXtP79zkvFD3";

#[test]
fn a_peer_with_another_codec_syncs_and_is_heard_and_gets_one_block_a_slot_out() {
    scenario("relay-wharfkit", Duration::from_secs(180), async |lab| {
        let part = Part { producers: &["eosio"], first: true, ..Part::default() };
        let node = Nodeos::start(lab, "public", part).await?;
        let chain = node.chain();
        until("some blocks", LIMIT, async || Ok((chain.head().await?.number > BLOCKS).then_some(()))).await?;
        let outer = Tap::start("to the public node", Some(node.address())).await?;
        let gate = Gate::start(lab, &[outer.address()], &[]).await?;

        let accounts = ["wharfkitaaaa", "wharfkitbbbb"];
        let transactions = accounts.map(|account| hex(&Action::new_account(account, &chain.key()).data));
        let order = json!({
            "peer": gate.address(),
            "chain": chain.head().await?.chain,
            "genesis": chain.block(1).await?.id,
            "upTo": BLOCKS,
            "secret": WIF,
            "transactions": transactions,
            "producer": PRODUCER,
            "limit": LIMIT.as_millis() as u64,
        });
        let mut command = Command::new("node");
        command
            .arg(lab.tools.devnet.join("wharfkit/peer.mjs"))
            .arg(&lab.tools.wharfkit)
            .arg(order.to_string());
        let mut peer = Process::spawn(lab, "wharfkit", command)?;
        let told = until("wharfkit to be done", LIMIT, async || {
            let log = std::fs::read_to_string(peer.log())?;
            let told = log.lines().find_map(|line| serde_json::from_str::<Value>(line).ok());
            if told.is_none() {
                peer.must_run()?;
            }
            Ok(told)
        })
        .await?;

        let synced = told["synced"].as_array().map(Vec::as_slice).unwrap_or_default();
        ensure!(synced.len() >= BLOCKS as usize - 1, "it got {} blocks", synced.len());
        for block in synced {
            let number = u32::try_from(block["number"].as_u64().unwrap_or_default())?;
            let known = chain.block(number).await?;
            let same = text(block, "/id")? == known.id && text(block, "/previous")? == known.previous;
            ensure!(same, "it got {block}, the node has {known:?}");
        }
        lab.say(format!("{} told wharfkit {} blocks", told["agent"], synced.len()));
        for account in accounts {
            until(&format!("account {account}"), LIMIT, async || {
                Ok(chain.has_account(account).await?.then_some(()))
            })
            .await?;
        }
        lab.say("its transactions are in the chain, as they are and compressed");

        let out = || -> Vec<Header> {
            let up = outer.blocks().into_iter().filter(|passed| passed.way == Way::Up);
            up.map(|passed| passed.block).filter(|block| block.producer == name(PRODUCER)).collect()
        };
        let first = text(&told, "/made/0")?;
        until("its first block", LIMIT, async || Ok((!out().is_empty()).then_some(()))).await?;
        suppressed(&gate).await?;
        let out: Vec<String> = out().iter().map(|block| hex(&block.id)).collect();
        ensure!(out == [first.clone()], "{out:?} went out, not just {first}");
        Ok(())
    });
}

/// Waits until it has kept one block back.
async fn suppressed(gate: &Gate) -> Result<()> {
    until("the second block to be kept back", LIMIT, async || {
        Ok((gate.metric("mainstay_relay_blocks_total", &[r#"verdict="lost""#]).await? == 1).then_some(()))
    })
    .await
}
