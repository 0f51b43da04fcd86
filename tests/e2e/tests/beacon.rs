//! scratch
use mainstay_e2e::guards::Guards;
use mainstay_e2e::lodestar::Validators;
use mainstay_e2e::pair::Pair;
use mainstay_e2e::peering::peers;
use mainstay_e2e::{Lab, Result, attestations, scenario};
use std::time::Duration;

async fn look(lab: &Lab, pair: &Pair, guards: &Guards) {
    for at in [0, 1] {
        let api = pair.beacon[at].api();
        let s = mainstay_e2e::rpc::get(&format!("{api}/eth/v1/node/syncing")).await;
        lab.say(format!(
            "   node {} {s:?} peers {:?} guard {:?}",
            at + 1,
            peers(api).await,
            guards.closed(at).await
        ));
    }
}

#[test]
fn explore() {
    let what = std::env::var("EXPLORE").unwrap_or_default();
    scenario("explore", Duration::from_secs(500), async |lab| {
        let mut pair = Pair::start(lab, Duration::from_secs(3)).await?;
        lab.say(format!("two beacon nodes answer, slot 0 in {:?}", pair.chain.time_to(0)));
        let guards = Guards::start(lab, &pair, [1, 0]).await?;
        look(lab, &pair, &guards).await;
        let _validators = Validators::start(lab, &pair.chain, &[guards.url(0), guards.url(1)])?;
        let mut shown = 0;
        for fault in what.split(',') {
            let epoch = pair.chain.now() / 8 + 1;
            tokio::time::sleep(pair.chain.time_to(epoch * 8) + Duration::from_millis(200)).await;
            look(lab, &pair, &guards).await;
            lab.say(format!("{fault} in slot {} epoch {epoch}", pair.chain.now()));
            match fault {
                "kill" => pair.beacon[0].kill()?,
                "freeze" => pair.beacon[0].freeze()?,
                "el" => pair.execution[0].stop().await?,
                "part" => pair.part().await?,
                _ => {}
            }
            lab.say(format!("closes: {:?}", guards.closes(0, Duration::from_secs(5)).await));
            tokio::time::sleep(pair.chain.slot() * 4).await;
            match fault {
                "kill" => pair.beacon[0].restart(lab).await?,
                "freeze" => pair.beacon[0].thaw()?,
                "el" => pair.execution[0].restart(lab).await?,
                "part" => pair.meet(),
                _ => {}
            }
            lab.say(format!("{fault} healed in slot {}", pair.chain.now()));
            lab.say(format!("opens: {:?}", guards.opens(0, Duration::from_secs(40)).await));
            lab.say(format!("opens in slot {}", pair.chain.now()));
            while shown + 2 < pair.chain.now() / 8 {
                lab.say(format!("{}", attestations::of_epoch(&pair.beacon[1], shown).await?));
                shown += 1;
            }
        }
        let end = pair.chain.now() / 8 + 1;
        while shown <= end {
            lab.say(format!("{}", attestations::of_epoch(&pair.beacon[1], shown).await?));
            shown += 1;
        }
        look(lab, &pair, &guards).await;
        panic!("keep");
    });
}
