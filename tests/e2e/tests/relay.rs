//! Real nodeos behind `mainstay relay`: two nodes with one producer's key, and a public network that shall never see it.
#![cfg(target_arch = "x86_64")]

use std::time::Duration;

use mainstay_e2e::nodeos::devnet::Devnet;
use mainstay_e2e::scenario;

#[test]
fn directly() {
    scenario("relay", Duration::from_secs(300), async |lab| {
        let mut net = Devnet::start(lab).await?;
        for taps in &net.inner {
            taps[0].lead_to(Some(net.outer[0].address().to_owned()));
        }
        net.join(lab).await?;
        lab.say("joined");
        let first = net.next_round();
        net.round(lab, "idle", first).await?;
        let first = net.next_round();
        net.part(first).await?;
        lab.say("pushed");
        let round = net.round(lab, "parted", first).await;
        lab.say(format!("{round:?}"));
        Ok(())
    });
}
