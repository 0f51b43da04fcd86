use mainstay_e2e::lodestar::Validators;
use mainstay_e2e::pair::Pair;
use mainstay_e2e::{Lab, Result, attestations, scenario};
use std::time::Duration;

async fn show(
    lab: &Lab,
    pair: &Pair,
    at: usize,
    epochs: std::ops::RangeInclusive<u64>,
    what: &str,
) -> Result<()> {
    for epoch in epochs {
        lab.say(format!("{what}: {}", attestations::of_epoch(&pair.beacon[at], epoch).await?));
    }
    Ok(())
}

#[test]
fn explore() {
    let what = std::env::var("EXPLORE").unwrap_or_default();
    scenario("explore", Duration::from_secs(400), async |lab| {
        let mut pair = Pair::start(lab, Duration::from_secs(3)).await?;
        lab.say(format!("two beacon nodes answer, slot 0 in {:?}", pair.chain.time_to(0)));
        let urls = [pair.beacon[0].api().to_owned(), pair.beacon[1].api().to_owned()];
        let _validators = Validators::start(lab, &pair.chain, &[&urls[0], &urls[1]])?;
        show(lab, &pair, 1, 0..=0, "healthy").await?;
        for fault in what.split(',') {
            let epoch = pair.chain.now() / 8 + 1;
            tokio::time::sleep(pair.chain.time_to(epoch * 8) + Duration::from_millis(200)).await;
            lab.say(format!("{fault} in slot {}", pair.chain.now()));
            match fault {
                "kill" => pair.beacon[0].kill()?,
                "freeze" => pair.beacon[0].freeze()?,
                "el" => pair.execution[0].stop().await?,
                "relay" => pair.stop_relay(),
                _ => {}
            }
            tokio::time::sleep(pair.chain.slot() * 5).await;
            match fault {
                "kill" => pair.beacon[0].restart(lab).await?,
                "freeze" => pair.beacon[0].thaw()?,
                "el" => pair.execution[0].restart(lab).await?,
                "relay" => pair.start_relay(),
                _ => {}
            }
            lab.say(format!("{fault} healed in slot {}", pair.chain.now()));
            show(lab, &pair, 1, epoch..=epoch + 1, &format!("{fault}, by 2")).await?;
            show(lab, &pair, 0, epoch..=epoch + 1, &format!("{fault}, by 1")).await?;
            for bn in &pair.beacon {
                let s = mainstay_e2e::rpc::get(&format!("{}/eth/v1/node/syncing", bn.api())).await;
                lab.say(format!("{s:?}"));
            }
        }
        panic!("keep");
    });
}
