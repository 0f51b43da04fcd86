//! Nodes that are to prove what they run before they are called, judged by a judge of the tests' own. (What real ones look at is
//! `mainstay-attested`'s.)
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Bed, CALL, Node, ms};
use http::Method;
use mainstay_store::MemoryStore;
use mainstay_wire::client::{Attest, Attestation, Judge, Trial};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use url::Url;

const MEASURED: &str = "f94ccbe6a504676b2edbefdcb8781a512913f7d8864c6f88592a843d0f9d4a66";

/// Takes nobody.
#[derive(Default)]
struct Strict(Arc<AtomicUsize>);

impl Attest for Strict {
    fn node(&self, _: &Url) -> Result<Arc<dyn Judge>, String> {
        Ok(Arc::new(Self(self.0.clone())))
    }
}

impl Judge for Strict {
    fn begin(&self) -> Result<Box<dyn Trial>, String> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Err("enclave: MRENCLAVE is another".to_owned())
    }
}

/// A node that counts the bytes which come to it.
async fn listener() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let received = Arc::new(AtomicUsize::new(0));
    let count = received.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let count = count.clone();
            tokio::spawn(async move {
                while let Ok(read @ 1..) = stream.read(&mut [0; 256]).await {
                    count.fetch_add(read, Ordering::SeqCst);
                }
            });
        }
    });
    (format!("https://SGX_{MEASURED}@{address}"), received)
}

#[tokio::test]
async fn a_node_that_proves_nothing_is_unfit_with_the_reason_and_others_are_asked() {
    for health in ["ethereum", "net_version", "none"] {
        let good = Node::new().await;
        let (uri, received) = listener().await;
        let text = format!("health = \"{health}\"\n");
        let bed = Bed::judged(&[uri, good.uri.clone()], &text, Attestation::new(Strict::default())).await;
        let is_unfit = |bed: &Bed| {
            let view = &bed.views()[0];
            !view.fit && view.reason == "unfit: not attested: enclave: MRENCLAVE is another"
        };
        bed.until("unfit with the reason", is_unfit).await;
        for _ in 0..5 {
            assert_eq!(bed.post(CALL).await.status, 200, "{health}");
        }
        assert_eq!(received.load(Ordering::SeqCst), 0, "{health}");
        assert!(bed.views()[0].uri.starts_with("https://SGX_***@127.0.0.1:"), "{}", bed.views()[0].uri);
        // It stays so however often it is looked at.
        bed.handle.recheck().await;
        assert!(is_unfit(&bed), "{:?}", bed.views()[0]);
    }
}

/// Traffic meets it before a probe does: nothing was sent, so another node is asked.
#[tokio::test]
async fn a_call_that_meets_it_goes_to_another_node() {
    let good = Node::new().await;
    let (uri, received) = listener().await;
    let judge = Strict::default();
    let tries = judge.0.clone();
    let text = "health = \"none\"\nprobe_interval = \"1h\"\n";
    let bed = Bed::judged(&[uri, good.uri.clone()], text, Attestation::new(judge)).await;
    for _ in 0..20 {
        assert_eq!(bed.post(CALL).await.status, 200);
    }
    assert!(tries.load(Ordering::SeqCst) > 0);
    assert_eq!(received.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn what_cannot_be_judged_is_not_added_even_by_force() {
    let (uri, received) = listener().await;
    let store = Arc::new(MemoryStore::new());
    let bed = Bed::on(store, &[], "").await;
    let add = async |bed: &Bed, uri: &str, force: bool| {
        let reply = bed.ask(Method::POST, "/nodes", &format!(r#"{{"uri":"{uri}","force":{force}}}"#)).await;
        (reply.status.as_u16(), String::from_utf8(reply.body.to_vec()).unwrap())
    };
    for force in [false, true] {
        for (uri, part) in [
            (uri.clone(), "asks that the node attests"),
            (uri.replace("SGX_", "SGX_ab"), "followed by 66 digits"),
            (uri.replace(MEASURED, ""), "any enclave"),
            (uri.replace("https", "http"), "reached by https"),
            (uri.replace("SGX_", "sEv_"), "in capitals"),
        ] {
            let (status, text) = add(&bed, &uri, force).await;
            assert_eq!(status, 400, "{uri}: {text}");
            assert!(text.contains(part) && !text.contains(&MEASURED[..8]), "{uri}: {text}");
        }
    }
    assert!(bed.views().is_empty());

    let bed = Bed::judged(&[], "", Attestation::new(Strict::default())).await;
    let (status, text) = add(&bed, &uri, false).await;
    assert_eq!(status, 400, "{text}");
    assert!(text.contains("healthcheck failed: not attested: enclave: MRENCLAVE is another"), "{text}");
    // By force it is added, and as unfit as ever.
    assert_eq!(add(&bed, &uri, true).await, (200, String::new()));
    bed.until("there", |bed| bed.views().len() == 1 && !bed.views()[0].fit).await;
    assert_eq!(received.load(Ordering::SeqCst), 0);
    tokio::time::timeout(ms(20_000), bed.handle.remove(&uri)).await.unwrap().unwrap();
    assert!(bed.views().is_empty());
}
