//! Nodes of every kind, called over real sockets: who proves what he runs is asked, nobody else gets a byte.
#![allow(clippy::unwrap_used)]

mod peer;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use mainstay_attest::collateral::Collateral;
use mainstay_attest::sev::Roots;
use mainstay_attest::{Attested, Expectation, Kind, when};
use mainstay_attested::{Attester, Fetched, Ground, Judged, Missing, Trust};
use mainstay_wire::client::{
    Attest, Attestation, BadEndpoint, CallError, Clear, Client, Delivered, Fault, HttpReply, Judge, Options,
    Refused, TlsFault, Trial, Uplink,
};
use rcgen::KeyPair;
use tokio::sync::Notify;
use tokio::time::Instant;
use url::Url;

use peer::common::{Enclave, Intel, Told, certificate, read};
use peer::{Identity, Peer, chips, sev, sev_user, sgx, sgx_user, tdx, tdx_user};

/// When the tests' own Intel and AMD both vouch.
const NOW: &str = "2026-11-22T12:00:00Z";
const SECRET: &str = r#"{"jsonrpc":"2.0","id":1,"method":"eth_sendRawTransaction","params":["0x5ec4e7"]}"#;

static INTEL: LazyLock<Arc<Intel>> = LazyLock::new(|| Arc::new(Intel::new()));

fn now() -> SystemTime {
    when::read(NOW).unwrap()
}

/// What was said of a connection.
#[derive(Clone, Debug)]
struct Said {
    node: String,
    nonce: Option<Vec<u8>>,
    verdict: Result<Kind, String>,
    remembered: bool,
}

/// The tests' own Intel and AMD, and what is at hand of collateral.
#[derive(Default)]
struct Bench {
    trust: Arc<Trust>,
    at_hand: Mutex<BTreeMap<Missing, Arc<Collateral>>>,
    /// Comes when it is fetched.
    elsewhere: Option<Collateral>,
    wanted: Arc<Mutex<Vec<Missing>>>,
    fetch: Arc<Notify>,
    sourceless: bool,
    memory: Option<Attested>,
    said: Mutex<Vec<Said>>,
}

impl Bench {
    fn new() -> Self {
        let amd = Roots::from_pem(chips::ARK).unwrap();
        let trust = Trust { intel: INTEL.root(), amd, ..Trust::default() };
        Self { trust: Arc::new(trust), ..Self::default() }
    }

    fn with(self, collateral: Collateral) -> Self {
        self.lay(collateral);
        self
    }

    fn lay(&self, collateral: Collateral) {
        let platform = mainstay_attest::sgx::Platform { fmspc: collateral.fmspc(), authority: "platform" };
        let of = Missing { kind: collateral.kind(), platform };
        self.at_hand.lock().unwrap().insert(of, Arc::new(collateral));
    }

    fn said(&self) -> Vec<Said> {
        self.said.lock().unwrap().clone()
    }
}

/// All collateral that there may be.
fn bench() -> Bench {
    Bench::new().with(INTEL.read(&Told::default())).with(read(&INTEL.tdx_collateral("UpToDate")))
}

struct On(Arc<Bench>);

impl Ground for On {
    fn now(&self) -> SystemTime {
        now()
    }

    fn trust(&self) -> Arc<Trust> {
        self.0.trust.clone()
    }

    fn can(&self, kind: Kind) -> Result<(), String> {
        match kind {
            Kind::Sgx if self.0.sourceless => Err("set [attest] pccs".to_owned()),
            _ => Ok(()),
        }
    }

    fn collateral(&self, of: Missing) -> Option<Arc<Collateral>> {
        self.0.at_hand.lock().unwrap().get(&of).cloned()
    }

    fn fetching(&self, of: Missing) -> Option<Fetched> {
        self.0.wanted.lock().unwrap().push(of);
        let bench = self.0.clone();
        let fetched = async move {
            bench.fetch.notified().await;
            if let Some(collateral) = &bench.elsewhere {
                bench.lay(collateral.clone());
            }
        };
        self.0.elsewhere.is_some().then(|| Box::pin(fetched) as Fetched)
    }

    fn remembered(&self, _: &[u8], _: &Expectation, _: SystemTime) -> Option<Attested> {
        self.0.memory.clone()
    }

    fn judged(&self, judged: &Judged<'_>) {
        let verdict = judged.verdict.map(|attested| attested.kind).map_err(ToString::to_string);
        let nonce = judged.nonce.map(<[u8]>::to_vec);
        let node = judged.node.to_string();
        assert!(!judged.certificate.is_empty() && judged.at == now());
        let said = Said { node, nonce, verdict, remembered: judged.remembered };
        self.0.said.lock().unwrap().push(said);
    }
}

fn options(bench: &Arc<Bench>) -> Options {
    let attest = Attestation::new(Attester::new(Arc::new(On(bench.clone()))));
    Options { attest: Some(attest), ..Options::default() }
}

fn client(url: &str, bench: &Arc<Bench>) -> Client {
    Client::new(&Url::parse(url).unwrap(), options(bench)).unwrap()
}

async fn post(client: &Client) -> Result<HttpReply, CallError> {
    client.post(Bytes::from_static(SECRET.as_bytes()), None, soon()).await
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

/// The call failed before anything was sent, and the server has got nothing.
#[track_caller]
fn refused(outcome: Result<HttpReply, CallError>, part: &str) {
    let error = outcome.unwrap_err();
    assert_eq!((error.fault, error.delivered), (Fault::Unattested, Delivered::No), "{error}");
    assert!(error.to_string().starts_with("not attested: ") && error.to_string().contains(part), "{error}");
}

/// However its server sees it: shaken off, nothing received.
async fn got_nothing(peer: &Peer) {
    let seen = peer.sees(|seen| !seen.is_empty() && seen.iter().all(|one| one.over)).await;
    for one in seen {
        assert_eq!(one.received, b"", "{one:?}");
        assert!(matches!(one.shaken, None | Some(Err(_))), "{one:?}");
    }
}

#[tokio::test]
async fn a_node_of_each_kind_is_called_once_it_has_proved_what_it_runs() {
    for versions in peer::VERSIONS {
        for (kind, user, peer) in [
            (Kind::Sgx, sgx_user(), Peer::speaking(versions, sgx(&INTEL, &Enclave::default())).await),
            (Kind::Sev, sev_user(), Peer::speaking(versions, sev(now(), |_| {})).await),
            (Kind::Tdx, tdx_user(), Peer::speaking(versions, tdx(INTEL.clone(), now())).await),
        ] {
            let bench = Arc::new(bench());
            let client = client(&peer.url(&user), &bench);
            for _ in 0..2 {
                assert!(post(&client).await.unwrap().body.ends_with(b"\"from the enclave\"}"));
            }
            // One connection did for both.
            let [seen] = &peer.seen()[..] else { panic!("{:?}", peer.seen()) };
            let received = String::from_utf8(seen.received.clone()).unwrap();
            assert_eq!(received.matches(SECRET).count(), 2);
            assert!(!received.to_lowercase().contains("authorization"), "{received}");
            assert!(!received.contains(&user[..12]), "{received}");
            assert_eq!(seen.offered, 0);
            let [said] = &bench.said()[..] else { panic!("{:?}", bench.said()) };
            assert_eq!(said.verdict, Ok(kind));
            assert!(said.node.contains(&user[..12]));
            assert_eq!(said.nonce.is_some(), kind != Kind::Sgx);
        }
    }
}

#[tokio::test]
async fn each_connection_is_verified_with_a_nonce_of_its_own() {
    for (user, peer) in [
        (sev_user(), Peer::start(sev(now(), |_| {})).await),
        (tdx_user(), Peer::start(tdx(INTEL.clone(), now())).await),
        (sgx_user(), Peer::start(sgx(&INTEL, &Enclave::default())).await),
    ] {
        let bench = Arc::new(bench());
        let options = Options { idle_timeout: Duration::ZERO, ..options(&bench) };
        let client = Client::new(&Url::parse(&peer.url(&user)).unwrap(), options).unwrap();
        for _ in 0..3 {
            post(&client).await.unwrap();
        }
        let (seen, said) = (peer.seen(), bench.said());
        assert_eq!((seen.len(), said.len()), (3, 3));
        assert!(seen.iter().all(|one| !one.resumed && one.shaken == Some(Ok(()))), "{seen:?}");
        if user.starts_with("SGX") {
            continue;
        }
        let mut names: Vec<String> = seen.iter().map(|one| one.name.clone().unwrap()).collect();
        for (name, said) in names.iter().zip(&said) {
            assert_eq!(name.len(), 40);
            // Letter by letter what was verified.
            use base64::Engine as _;
            let sent = base64::engine::general_purpose::STANDARD.decode(name).unwrap();
            assert_eq!(said.nonce.as_ref(), Some(&sent));
        }
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 3);
    }
}

#[tokio::test]
async fn who_runs_something_else_gets_nothing() {
    let wrong =
        peer::common::Enclave { measured: mainstay_attest::uri::MrEnclave([1; 32]), ..Enclave::default() };
    let (other_sev, other_tdx) = {
        let text = sev_user();
        (text, tdx_user())
    };
    let debug = Enclave { flags: 0x07, ..Enclave::default() };
    let ordinary = |_: Option<&str>| -> Identity {
        let key = KeyPair::generate().unwrap();
        (certificate(&key, &[]), key)
    };
    for (user, peer, part) in [
        (sgx_user(), Peer::start(sgx(&INTEL, &wrong)).await, "enclave: MRENCLAVE is 0101"),
        (sgx_user(), Peer::start(sgx(&INTEL, &debug)).await, "attributes: a debug enclave"),
        (sgx_user(), Peer::start(sgx(&Intel::new(), &Enclave::default())).await, "platform: "),
        (sgx_user(), Peer::start(ordinary).await, "evidence: "),
        (other_sev.clone(), Peer::start(sev(now(), other_pcr)).await, "measurements: PCR 4 is "),
        (other_sev.clone(), Peer::start(ordinary).await, "evidence: "),
        // Evidence of another kind, however good.
        (other_sev, Peer::start(tdx(INTEL.clone(), now())).await, "evidence: the document is of DcapTdx"),
        (other_tdx.clone(), Peer::start(sev(now(), |_| {})).await, "evidence: the document is of AzureSev"),
        (other_tdx, Peer::start(tdx(Arc::new(Intel::new()), now())).await, "platform: "),
    ] {
        let bench = Arc::new(bench());
        let client = client(&peer.url(&user), &bench);
        refused(post(&client).await, part);
        got_nothing(&peer).await;
        let [said] = &bench.said()[..] else { panic!("{:?}", bench.said()) };
        assert!(said.verdict.as_ref().unwrap_err().starts_with(part), "{said:?}");
    }
}

fn other_pcr(scene: &mut chips::Scene) {
    scene.pcrs.insert(4, [0x44; 32]);
    scene.signed = scene.pcrs.clone();
}

/// A certificate is there for everyone to see: whoever shows it has to hold its key.
#[tokio::test]
async fn evidence_of_somebody_else_is_worth_nothing() {
    for versions in peer::VERSIONS {
        let (sgx, sev, tdx) =
            (sgx(&INTEL, &Enclave::default()), sev(now(), |_| {}), tdx(INTEL.clone(), now()));
        // Of the same kind as the real one, so that nothing but the signature is wrong.
        let p384 = || KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        let p256 = || KeyPair::generate().unwrap();
        for (user, peer) in [
            (sgx_user(), Peer::speaking(versions, move |name| (sgx(name).0, p384())).await),
            (sev_user(), Peer::speaking(versions, move |name| (sev(name).0, p256())).await),
            (tdx_user(), Peer::speaking(versions, move |name| (tdx(name).0, p256())).await),
        ] {
            let bench = Arc::new(bench());
            let error = post(&client(&peer.url(&user), &bench)).await.unwrap_err();
            assert_eq!(
                (error.fault, error.delivered),
                (Fault::Tls(TlsFault::Unusable), Delivered::No),
                "{error}"
            );
            got_nothing(&peer).await;
            // Nobody is told that it holds.
            assert!(bench.said().is_empty(), "{:?}", bench.said());
        }
    }
}

/// Evidence with its key, from a connection before this one.
#[tokio::test]
async fn evidence_of_another_connection_is_refused() {
    let (sev, tdx) = (sev(now(), |_| {}), tdx(INTEL.clone(), now()));
    let old = "abcd".repeat(10);
    let (sev, tdx) = (sev(Some(&old)), tdx(Some(&old)));
    for (user, (certificate, key)) in [(sev_user(), sev), (tdx_user(), tdx)] {
        let key = key.serialize_der();
        let again = move |_: Option<&str>| (certificate.clone(), KeyPair::try_from(&key[..]).unwrap());
        let peer = Peer::start(again).await;
        refused(post(&client(&peer.url(&user), &Arc::new(bench()))).await, "nonce: ");
        got_nothing(&peer).await;
    }
}

#[tokio::test]
async fn without_collateral_or_with_what_has_expired_nobody_is_called() {
    let expired = Told { issued: "2026-10-01T00:00:00Z", next: "2026-11-20T00:00:00Z", ..Told::default() };
    for (bench, part) in [
        (Bench::new(), "collateral: there is none for FMSPC 00906EA10000"),
        (Bench::new().with(INTEL.read(&expired)), "collateral: expired on 2026-11-20"),
    ] {
        let bench = Arc::new(bench);
        let peer = Peer::start(sgx(&INTEL, &Enclave::default())).await;
        refused(post(&client(&peer.url(&sgx_user()), &bench)).await, part);
        got_nothing(&peer).await;
        assert_eq!(peer.seen().len(), 1);
        assert_eq!(bench.wanted.lock().unwrap().len(), 1);
    }
    let peer = Peer::start(tdx(INTEL.clone(), now())).await;
    refused(
        post(&client(&peer.url(&tdx_user()), &Arc::new(Bench::new()))).await,
        "collateral: there is none",
    );
    got_nothing(&peer).await;
}

/// The first call to a node of a new platform: the handshake is refused, not held up, and another made once the collateral is there.
#[tokio::test]
async fn collateral_that_is_being_fetched_is_waited_for_between_two_connections() {
    for (user, collateral, peer) in [
        (sgx_user(), INTEL.read(&Told::default()), Peer::start(sgx(&INTEL, &Enclave::default())).await),
        (tdx_user(), read(&INTEL.tdx_collateral("UpToDate")), Peer::start(tdx(INTEL.clone(), now())).await),
    ] {
        let bench = Arc::new(Bench { elsewhere: Some(collateral), ..Bench::new() });
        let client = client(&peer.url(&user), &bench);
        let calling = tokio::spawn(async move { post(&client).await });
        // The first connection is over before anything is fetched.
        let seen = peer.sees(|seen| seen.first().is_some_and(|one| one.over)).await;
        assert_eq!((seen.len(), &seen[0].received[..]), (1, &b""[..]));
        bench.fetch.notify_one();
        assert!(calling.await.unwrap().is_ok());
        assert_eq!(peer.seen().len(), 2);
        assert_eq!(bench.said().len(), 2);
    }
    // It is tried again once.
    let of_another = Told { fmspc: [9; 6], ..Told::default() };
    let bench = Arc::new(Bench { elsewhere: Some(INTEL.read(&of_another)), ..Bench::new() });
    bench.fetch.notify_one();
    let peer = Peer::start(sgx(&INTEL, &Enclave::default())).await;
    refused(post(&client(&peer.url(&sgx_user()), &bench)).await, "collateral: there is none");
    assert_eq!(peer.seen().len(), 2);
}

#[tokio::test]
async fn what_is_remembered_of_a_certificate_is_not_verified_again() {
    let good = Peer::start(sgx(&INTEL, &Enclave::default())).await;
    let bench = Arc::new(bench());
    post(&client(&good.url(&sgx_user()), &bench)).await.unwrap();
    let known = mainstay_attested::verify(
        &sgx(&INTEL, &Enclave::default())(None).0,
        &mainstay_attested::Terms {
            expectation: &Expectation::parse(&sgx_user()).unwrap(),
            nonce: None,
            trust: &bench.trust,
            collateral: &|of| bench.at_hand.lock().unwrap().get(&of).cloned(),
            now: now(),
        },
    )
    .unwrap();
    // No collateral: nothing could be verified.
    let memory = Arc::new(Bench { memory: Some(known), ..Bench::new() });
    post(&client(&good.url(&sgx_user()), &memory)).await.unwrap();
    assert!(memory.said()[0].remembered);
    // Evidence that was made for one connection is never remembered for another.
    let peer = Peer::start(sev(now(), other_pcr)).await;
    refused(post(&client(&peer.url(&sev_user()), &memory)).await, "measurements: ");
}

#[tokio::test]
async fn a_client_far_away_verifies_too_and_speaks_http1() {
    let bench = Arc::new(bench());
    let url = |peer: &Peer| Url::parse(&peer.url(&sev_user())).unwrap();
    let good = Peer::start(sev(now(), |_| {})).await;
    let call = |peer: &Peer| {
        let uplink = Uplink::new(&url(peer), options(&bench), Clear::Http2).unwrap();
        async move { uplink.post(Bytes::from_static(SECRET.as_bytes()), None, soon()).await }
    };
    call(&good).await.unwrap();
    assert!(good.received().starts_with(b"POST / HTTP/1.1\r\n"));
    let bad = Peer::start(sev(now(), other_pcr)).await;
    refused(call(&bad).await, "measurements: ");
    got_nothing(&bad).await;
}

#[tokio::test]
async fn a_node_can_be_connected_to_without_being_asked_anything() {
    let good = Peer::start(sev(now(), |_| {})).await;
    let bench = Arc::new(bench());
    let client_of = |peer: &Peer| client(&peer.url(&sev_user()), &bench);
    let client = client_of(&good);
    client.reach(soon()).await.unwrap();
    assert_eq!(good.received(), b"");
    post(&client).await.unwrap();
    assert_eq!(good.seen().len(), 1);
    let bad = Peer::start(sev(now(), other_pcr)).await;
    assert_eq!(client_of(&bad).reach(soon()).await.unwrap_err().fault, Fault::Unattested);
}

#[test]
fn a_node_that_cannot_be_judged_has_no_client() {
    let bench = Arc::new(Bench { sourceless: true, ..bench() });
    let made = |url: &str, options: Options| Client::new(&Url::parse(url).unwrap(), options).map(|_| ());
    let sgx = format!("https://{}@127.0.0.1:1", sgx_user());
    assert_eq!(made(&sgx, options(&bench)), Err(BadEndpoint::Unjudged("set [attest] pccs".to_owned())));
    assert_eq!(made(&sgx, Options::default()), Err(BadEndpoint::Attested));
    let in_clear = sgx.replace("https", "http");
    assert_eq!(made(&in_clear, options(&bench)), Err(BadEndpoint::Attested));
    assert_eq!(made(&format!("https://{}@127.0.0.1:1", sev_user()), options(&bench)), Ok(()));
    let short = made("https://SGX_00@127.0.0.1:1", options(&bench)).unwrap_err().to_string();
    assert!(short.contains("64 hex digits"), "{short}");
}

/// Takes whatever is shown, for no longer than one request.
struct Credulous;

impl Attest for Credulous {
    fn node(&self, _: &Url) -> Result<Arc<dyn Judge>, String> {
        Ok(Arc::new(Self))
    }
}

impl Judge for Credulous {
    fn begin(&self) -> Result<Box<dyn Trial>, String> {
        Ok(Box::new(Self))
    }
}

impl Trial for Credulous {
    fn judge(&self, _: &[u8]) -> Result<(), Refused> {
        Ok(())
    }

    fn held(&self) -> Duration {
        Duration::ZERO
    }
}

#[tokio::test]
async fn a_connection_is_used_for_no_longer_than_its_evidence_holds() {
    let peer = Peer::start(sgx(&INTEL, &Enclave::default())).await;
    let options = Options { attest: Some(Attestation::new(Credulous)), ..Options::default() };
    let client = Client::new(&Url::parse(&peer.url(&sgx_user())).unwrap(), options).unwrap();
    for _ in 0..3 {
        post(&client).await.unwrap();
    }
    assert_eq!(peer.seen().len(), 3);
}
