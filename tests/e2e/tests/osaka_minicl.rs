//! The current fork, which Lodestar 1.5.1 does not know: a simulated consensus client builds blocks on
//! three geths and an EthereumJS through mainstay.

use std::time::Duration;

use mainstay_e2e::execution::{Execution, Genesis};
use mainstay_e2e::mainstay::Mainstay;
use mainstay_e2e::minicl::MiniCl;
use mainstay_e2e::{ensure, ethereumjs, geth, scenario};

const BLOCKS: u64 = 20;
const CATCH_UP: Duration = Duration::from_secs(20);

#[test]
fn blocks_of_the_current_fork_are_built_and_reach_every_node() {
    scenario("osaka-minicl", Duration::from_secs(150), async |lab| {
        let a = geth::start(lab, "a", Genesis::Osaka).await?;
        let mut b = geth::start(lab, "b", Genesis::Osaka).await?;
        let c = geth::start(lab, "c", Genesis::Osaka).await?;
        // Another implementation, twenty times slower, and without getPayloadV5: its own payload is never
        // to be had, so each block must come from a geth.
        let straggler = ethereumjs::start(lab, "ethereumjs", Genesis::Osaka).await?;
        let nodes = [
            ("ethereumjs", straggler.endpoint().url()),
            ("a", a.endpoint().url()),
            ("b", b.endpoint().url()),
            ("c", c.endpoint().url()),
        ];
        let mainstay = Mainstay::start(lab, &nodes, &[]).await?;
        let mut cl = MiniCl::new(mainstay.engine().clone(), Genesis::Osaka).await?;
        lab.say("four nodes behind mainstay");

        while cl.head().number < BLOCKS {
            cl.step().await?;
            match cl.head().number {
                3 => b.restart_cleanly().await?,
                8 => {
                    b.kill()?;
                    lab.say("b is killed at block 8");
                }
                14 => {
                    b.restart().await?;
                    lab.say(format!("b is back at block {}", b.head().await?.number));
                }
                _ => {}
            }
        }
        lab.say(format!("{BLOCKS} blocks, every answer VALID"));
        let nodes: [&Execution; 4] = [&a, &b, &c, &straggler];
        for node in nodes {
            let head = cl.head();
            node.reaches(head.number, &head.hash, CATCH_UP).await?;
            lab.say(format!("{} is at the tip", node.name()));
        }
        let urls = nodes.map(|node| node.endpoint().url());
        mainstay.alive(&urls, CATCH_UP).await?;
        let evidence = mainstay.evidence()?;
        ensure!(evidence.is_empty(), "nobody disagreed, but there is evidence: {evidence:?}");
        Ok(())
    });
}
