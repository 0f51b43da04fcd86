#![allow(clippy::unwrap_used)]

use super::*;
use crate::{
    chain,
    el::{El, ElConfig},
    fault::{Family, Fault},
    server::{ElHandle, ElServer},
};

const SECRET: &str = "0101010101010101010101010101010101010101010101010101010101010101";

async fn pair(versions: Versions) -> (Cl, ElHandle) {
    let secret = Secret::from_hex(SECRET).unwrap();
    let genesis = chain::genesis(1, 1_800_000_000);
    let mut el = ElConfig::new("el1", genesis.clone());
    el.verify_hash = true;
    let (el, _) = ElServer::start(El::with(el), secret.clone()).await.unwrap();
    let config = ClConfig {
        versions,
        epoch: 2,
        id: Some("sim".to_owned()),
        ..ClConfig::new(Url::parse(&el.url()).unwrap(), secret, genesis)
    };
    (Cl::new(config).unwrap(), el)
}

#[tokio::test(start_paused = true)]
async fn a_block_in_every_slot_on_every_fork() {
    for versions in [Versions::CANCUN, Versions::PRAGUE, Versions::OSAKA] {
        let (mut cl, el) = pair(versions).await;
        let start = Instant::now();
        for slot in 1..=6 {
            let report = cl.next().await;
            assert!(report.built, "{report:?}");
            assert_eq!((report.slot, report.missed.as_deref()), (slot, None));
            assert_eq!(report.payload_status.as_deref(), Some("VALID"));
            assert_eq!(report.fcu_status.as_deref(), Some("VALID"));
            assert_eq!(report.block.unwrap().number, slot);
        }
        assert_eq!(start.elapsed().as_secs(), 12);
        assert_eq!(el.head().hash, cl.head().hash);
        assert_eq!(el.head().timestamp, 1_800_000_012);
        let (fcu, get) = (el.count(Family::ForkchoiceUpdated), el.count(Family::GetPayload));
        assert_eq!((fcu, get, el.count(Family::NewPayload)), (12, 6, 6));
        assert!(el.with(|el| el.finalized() != Hash::ZERO && el.safe() != el.finalized()));
        assert_eq!(el.calls()[0].claims.as_ref().unwrap().id.as_deref(), Some("sim"));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_valid_is_missed_and_never_built_on() {
    let (mut cl, el) = pair(Versions::OSAKA).await;
    cl.next().await;
    for (fault, why) in [
        (Fault::LieSyncing.on(Family::NewPayload), "newPayload: SYNCING"),
        (Fault::Lie.on(Family::NewPayload), "newPayload: INVALID"),
        (Fault::LieSyncing.on(Family::ForkchoiceUpdated), "forkchoiceUpdated: SYNCING"),
        (Fault::NullPayloadId.into(), "forkchoiceUpdated: no payloadId"),
        (Fault::RpcError(-38001).on(Family::GetPayload), "getPayload: error -38001"),
        (Fault::HttpError(502, String::new()).into(), "forkchoiceUpdated: HTTP 502"),
        (Fault::Hang.on(Family::GetPayload), "getPayload: timeout"),
    ] {
        el.set(fault);
        let report = cl.next().await;
        assert_eq!((report.built, report.missed.as_deref()), (false, Some(why)));
        assert_eq!(cl.head().number, 1);
    }
    el.heal();
    let report = cl.next().await;
    assert!(report.built, "{report:?}");
    assert_eq!(report.block.unwrap().number, 2);
}

#[tokio::test(start_paused = true)]
async fn a_dead_endpoint_costs_slots_and_no_more() {
    let (mut cl, el) = pair(Versions::OSAKA).await;
    cl.next().await;
    el.set(Fault::Down);
    let report = cl.next().await;
    assert!(report.missed.unwrap().starts_with("forkchoiceUpdated: "));
    el.heal();
    assert!(cl.next().await.built);
}

#[tokio::test(start_paused = true)]
async fn slots_that_pass_while_a_call_hangs_are_each_reported() {
    let (mut cl, el) = pair(Versions::OSAKA).await;
    el.set(Fault::Hang.on(Family::NewPayload).times(1));
    let report = cl.next().await;
    assert_eq!((report.slot, report.missed.as_deref()), (1, Some("newPayload: timeout")));
    assert_eq!(report.took.as_secs(), 8);
    for slot in 2..=4 {
        let report = cl.next().await;
        assert_eq!(report.slot, slot);
        assert!(report.missed.unwrap().contains("busy"));
    }
    let report = cl.next().await;
    assert!(report.built && report.slot >= 5, "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn it_runs_on_its_own_until_stopped() {
    let (cl, el) = pair(Versions::OSAKA).await;
    let (handle, mut reports) = cl.start();
    for _ in 0..3 {
        assert!(reports.recv().await.unwrap().built);
    }
    handle.stop();
    drop(handle);
    loop {
        match reports.recv().await {
            Ok(_) => {}
            Err(error) => break assert_eq!(error, broadcast::error::RecvError::Closed),
        }
    }
    assert!(el.head().number <= 4);
}
