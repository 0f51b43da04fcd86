//! Collateral of a running process: asked for ahead of time, of a service or of files, kept, and refused where it isn't Intel's.
#![allow(clippy::unwrap_used)]

mod collateral;
#[path = "../../../tests/metrics.rs"]
mod metrics;
mod peer;

use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, SystemTime};

use collateral::{Does, Service};
use mainstay_attest::collateral::pcs;
use mainstay_attest::collateral::{Collateral, Fmspc};
use mainstay_attest::sgx::Platform;
use mainstay_attest::uri::MrEnclave;
use mainstay_attest::{Attested, Expectation, Kind, Refusal, Steps, when};
use mainstay_attested::{Config, Ground, Judged, Keeper, Missing, Trust};
use peer::common::{FMSPC, Intel, Told, read};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use serde_json::Value;
use url::Url;

static INTEL: LazyLock<Intel> = LazyLock::new(Intel::new);
const PATIENCE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

/// A keeper and its clock.
struct Scene {
    keeper: Arc<Keeper>,
    now: Arc<Mutex<SystemTime>>,
    running: Option<tokio::task::JoinHandle<()>>,
}

impl Drop for Scene {
    fn drop(&mut self) {
        if let Some(running) = &self.running {
            running.abort();
        }
    }
}

/// Signed once: no two signatures are the same.
static GOOD: LazyLock<Value> = LazyLock::new(|| INTEL.collateral(&Told::default()));

fn good() -> Value {
    GOOD.clone()
}

fn sgx() -> Missing {
    Missing { kind: Kind::Sgx, platform: Platform { fmspc: Fmspc(FMSPC), authority: "platform" } }
}

fn config() -> Config {
    Config { trust: Trust { intel: INTEL.root(), ..Trust::default() }, ..Config::default() }
}

fn asking(service: &Service) -> Config {
    Config { service: Some(pcs::Service::new(&service.url()).unwrap()), ..config() }
}

impl Scene {
    fn of(config: Config) -> Self {
        let now = Arc::new(Mutex::new(when::read("2026-11-15T00:00:00Z").unwrap()));
        let clock = now.clone();
        let keeper = Arc::new(Keeper::new(config, Arc::new(move || *clock.lock().unwrap())));
        Self { keeper, now, running: None }
    }

    fn running(config: Config) -> Self {
        let mut scene = Self::of(config);
        scene.running = Some(tokio::spawn(scene.keeper.clone().run()));
        scene
    }

    fn pass(&self, time: Duration) {
        *self.now.lock().unwrap() += time;
    }

    /// Meets a platform, and waits until what that gave rise to has ended.
    async fn met(&self, of: Missing) -> Option<Collateral> {
        self.keeper.collateral(of);
        if let Some(fetching) = self.keeper.fetching(of) {
            tokio::time::timeout(PATIENCE, fetching).await.expect("the fetch ends");
        }
        self.keeper.collateral(of).map(|collateral| (*collateral).clone())
    }

    fn page(&self) -> String {
        let mut registry = Registry::default();
        self.keeper.register(&mut registry);
        let mut page = String::new();
        encode(&mut page, &registry).unwrap();
        page
    }
}

#[tokio::test]
async fn a_platform_that_is_met_gets_its_collateral_and_nobody_waits_in_a_handshake() {
    for does in [Does::Has(good()), Does::HasInHex(good())] {
        let service = Service::start(does).await;
        let scene = Scene::running(asking(&service));
        assert_eq!(scene.keeper.can(Kind::Sgx), Ok(()));
        assert_eq!(scene.keeper.collateral(sgx()), None);
        assert_eq!(scene.met(sgx()).await, Some(read(&good())));
        let v4 = "/sgx/certification/v4";
        assert_eq!(
            service.asked(),
            [
                format!("{v4}/pckcrl?ca=platform&encoding=der"),
                format!("{v4}/qe/identity"),
                format!("{v4}/rootcacrl"),
                format!("{v4}/tcb?fmspc=00906EA10000"),
            ]
        );
        // It is at hand from now on.
        assert!(scene.keeper.fetching(sgx()).is_none());
        assert_eq!(service.asked().len(), 4);
        assert!(scene.page().contains("mainstay_attest_collateral_fetches_total{outcome=\"ok\"} 1"));
    }
}

#[tokio::test]
async fn tdx_is_asked_for_where_it_is() {
    let tdx = INTEL.tdx_collateral("UpToDate");
    let service = Service::start(Does::Has(tdx.clone())).await;
    let scene = Scene::running(asking(&service));
    let of = Missing { kind: Kind::Tdx, ..sgx() };
    assert_eq!(scene.met(of).await, Some(read(&tdx)));
    assert!(service.asked().contains(&"/tdx/certification/v4/tcb?fmspc=00906EA10000".to_owned()));
    assert!(service.asked().contains(&"/tdx/certification/v4/qe/identity".to_owned()));
}

#[tokio::test]
async fn it_is_fetched_again_ahead_of_its_end_and_the_old_one_serves_meanwhile() {
    let service = Service::start(Does::Has(good())).await;
    let scene = Scene::running(Config { refresh_ahead: 3 * DAY, ..asking(&service) });
    let old = scene.met(sgx()).await.unwrap();
    scene.pass(12 * DAY);
    assert_eq!(scene.met(sgx()).await, Some(old.clone()));
    assert_eq!(service.asked().len(), 4);

    // A service that is out of order changes nothing about what is at hand.
    service.does(Does::Status(500));
    scene.pass(2 * DAY);
    assert_eq!(scene.met(sgx()).await, Some(old.clone()));
    service.is_asked(5).await;
    let newer = INTEL.collateral(&Told {
        issued: "2026-11-20T00:00:00Z",
        next: "2026-12-20T00:00:00Z",
        ..Told::default()
    });
    service.does(Does::Has(newer.clone()));
    scene.pass(DAY / 24);
    assert_eq!(scene.met(sgx()).await, Some(read(&newer)));
}

#[tokio::test]
async fn what_is_wrong_isn_t_kept_and_is_asked_for_again() {
    let theirs = Intel::new().collateral(&Told::default());
    let another = INTEL.collateral(&Told { fmspc: [1; 6], ..Told::default() });
    let tdx = INTEL.tdx_collateral("UpToDate");
    let stale = INTEL.collateral(&Told {
        issued: "2026-10-01T00:00:00Z",
        next: "2026-11-14T00:00:00Z",
        ..Told::default()
    });
    let mut mixed = good();
    mixed["pck_crl"] = theirs["pck_crl"].clone();
    let service = Service::start(Does::Down).await;
    let scene = Scene::running(asking(&service));
    for does in [
        Does::Down,
        Does::Status(404),
        Does::Status(503),
        Does::Refuses(404, good()),
        Does::Says(""),
        Does::Says("<html>"),
        Does::Says("{}"),
        Does::Has(theirs),
        Does::Has(mixed),
        Does::Has(another),
        Does::Has(tdx),
        Does::Has(stale),
    ] {
        service.does(does);
        assert_eq!(scene.met(sgx()).await, None);
        // Not before its time.
        assert!(scene.keeper.fetching(sgx()).is_none());
        scene.pass(Duration::from_secs(600));
    }
    assert!(scene.page().contains("mainstay_attest_collateral_fetches_total{outcome=\"failed\"} 12"));
    service.does(Does::Has(good()));
    assert_eq!(scene.met(sgx()).await, Some(read(&good())));
}

#[tokio::test]
async fn one_that_hangs_holds_nobody_up() {
    let service = Service::start(Does::Hangs).await;
    let scene = Scene::running(asking(&service));
    assert_eq!(scene.keeper.collateral(sgx()), None);
    service.is_asked(4).await;
    assert!(scene.keeper.fetching(sgx()).is_some());
    assert_eq!(scene.keeper.collateral(sgx()), None);
    // Another platform's is fetched beside it.
    let other = Missing { platform: Platform { fmspc: Fmspc([1; 6]), ..sgx().platform }, ..sgx() };
    let collateral = INTEL.collateral(&Told { fmspc: [1; 6], ..Told::default() });
    service.does(Does::Has(collateral.clone()));
    assert_eq!(scene.met(other).await, Some(read(&collateral)));
    assert_eq!(scene.keeper.collateral(sgx()), None);
}

#[tokio::test]
async fn it_outlives_the_process_in_a_folder() {
    let service = Service::start(Does::Has(good())).await;
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("deep/collateral");
    let config = Config { dir: Some(dir.clone()), ..asking(&service) };
    assert!(Scene::running(config.clone()).met(sgx()).await.is_some());
    let names = |dir: &Path| -> Vec<String> {
        std::fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    };
    assert_eq!(names(&dir), ["sgx-00906EA10000-platform.json"]);

    // Nobody runs it, nobody is asked.
    service.does(Does::Down);
    let again = Scene::of(config.clone());
    assert_eq!(again.keeper.collateral(sgx()).as_deref(), Some(&read(&good())));
    let processor = Missing { platform: Platform { authority: "processor", ..sgx().platform }, ..sgx() };
    assert_eq!(again.keeper.collateral(processor), None);
    assert!(again.keeper.fetching(sgx()).is_none());
    // It is old by then: still at hand, and fetched.
    let late = Scene::of(config.clone());
    late.pass(10 * DAY);
    assert!(late.keeper.collateral(sgx()).is_some() && late.keeper.fetching(sgx()).is_some());

    let file = dir.join("sgx-00906EA10000-platform.json");
    let kept = std::fs::read_to_string(&file).unwrap();
    for bad in ["", "{}", &kept[..kept.len() / 2], &kept.replace("UpToDate", "uptodate")] {
        std::fs::write(&file, bad).unwrap();
        assert_eq!(Scene::of(config.clone()).keeper.collateral(sgx()), None, "{bad}");
    }
    std::fs::write(&file, &kept).unwrap();
    let mut file = file;
    for other in [
        "sgx-00906EA10000-platform.json.77.new",
        "notes-00906EA10000-platform.json",
        "sgx-00906EA1-platform.json",
        "sgx-00906EA10000.json",
    ] {
        let renamed = dir.join(other);
        std::fs::rename(&file, &renamed).unwrap();
        assert_eq!(Scene::of(config.clone()).keeper.collateral(sgx()), None, "{other}");
        file = renamed;
    }
}

#[tokio::test]
async fn files_are_looked_at_before_anybody_is_asked_and_read_again() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("collateral.json");
    std::fs::write(&file, good().to_string()).unwrap();
    let content = Arc::new(read(&good()));
    let config = Config { files: vec![file.clone()], collateral: vec![content.clone()], ..config() };
    let scene = Scene::running(config.clone());
    assert_eq!(scene.keeper.can(Kind::Tdx), Ok(()));
    assert_eq!(scene.keeper.collateral(sgx()), Some(content));
    // Its owner puts a newer one in its place before it ends.
    let told = Told { issued: "2026-11-20T00:00:00Z", next: "2026-12-20T00:00:00Z", ..Told::default() };
    let newer = INTEL.collateral(&told);
    std::fs::write(&file, newer.to_string()).unwrap();
    scene.pass(10 * DAY);
    assert_eq!(scene.met(sgx()).await, Some(read(&newer)));

    // A service is asked where the files have nothing.
    let service =
        Service::start(Does::Has(INTEL.collateral(&Told { fmspc: [1; 6], ..Told::default() }))).await;
    let scene = Scene::running(Config { service: asking(&service).service, ..config });
    let other = Missing { platform: Platform { fmspc: Fmspc([1; 6]), ..sgx().platform }, ..sgx() };
    assert!(scene.met(other).await.is_some());
    assert_eq!(service.asked().len(), 4);
}

#[tokio::test]
async fn a_file_that_ends_soon_gives_way_to_the_service() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("collateral.json");
    std::fs::write(&file, good().to_string()).unwrap();
    let told = Told { issued: "2026-11-20T00:00:00Z", next: "2026-12-20T00:00:00Z", ..Told::default() };
    let newer = INTEL.collateral(&told);
    let service = Service::start(Does::Has(newer.clone())).await;
    let scene = Scene::running(Config { files: vec![file], ..asking(&service) });
    scene.pass(10 * DAY);
    assert_eq!(scene.met(sgx()).await, Some(read(&newer)));
}

#[test]
fn without_a_source_no_such_node_can_be_verified() {
    let scene = Scene::of(config());
    assert_eq!(scene.keeper.can(Kind::Sev), Ok(()));
    for kind in [Kind::Sgx, Kind::Tdx] {
        let why = scene.keeper.can(kind).unwrap_err();
        assert!(why.contains("[attest] collateral_url"), "{why}");
    }
}

fn attested() -> Attested {
    Attested {
        kind: Kind::Sgx,
        steps: Steps::default(),
        measured: vec![],
        tcb_status: Some("UpToDate".to_owned()),
        warnings: vec!["PCR 14 is another".to_owned()],
        until: when::read("2026-12-01T00:00:00Z").unwrap(),
    }
}

/// Tells a keeper of a verdict.
fn judge(scene: &Scene, node: &Url, verdict: Result<&Attested, &Refusal>, nonce: Option<&[u8]>) {
    let expectation = Expectation::of(node).unwrap().unwrap();
    let at = scene.keeper.now();
    let judged = Judged {
        node,
        expectation: &expectation,
        certificate: b"der",
        nonce,
        verdict,
        remembered: false,
        at,
    };
    scene.keeper.judged(&judged);
}

fn node(number: u8) -> Url {
    Url::parse(&format!("https://SGX_{}@node.local:8545/rpc", const_hex::encode([number; 32]))).unwrap()
}

#[test]
fn a_result_is_remembered_for_its_expectation_and_for_its_time() {
    let scene = Scene::of(config());
    let remembered = |number| {
        let expectation = Expectation::Sgx(MrEnclave([number; 32]));
        scene.keeper.remembered(b"der", &expectation, scene.keeper.now()).is_some()
    };
    let refusal = Refusal::new(Steps::default(), "enclave", "another");
    judge(&scene, &node(1), Err(&refusal), None);
    // Made for one connection.
    judge(&scene, &node(1), Ok(&attested()), Some(&[1; 30]));
    assert!(!remembered(1));
    judge(&scene, &node(1), Ok(&attested()), None);
    assert!(remembered(1) && !remembered(2));
    scene.pass(Duration::from_secs(3_599));
    assert!(remembered(1));
    scene.pass(Duration::from_secs(1));
    assert!(!remembered(1));
}

#[test]
fn what_is_remembered_isn_t_remembered_for_longer_for_having_been_used() {
    let scene = Scene::of(config());
    judge(&scene, &node(1), Ok(&attested()), None);
    scene.pass(Duration::from_secs(3_000));
    let expectation = Expectation::Sgx(MrEnclave([1; 32]));
    let known = scene.keeper.remembered(b"der", &expectation, scene.keeper.now()).unwrap();
    scene.keeper.judged(&Judged {
        node: &node(1),
        expectation: &expectation,
        certificate: b"der",
        nonce: None,
        verdict: Ok(&known),
        remembered: true,
        at: scene.keeper.now(),
    });
    scene.pass(Duration::from_secs(600));
    assert!(scene.keeper.remembered(b"der", &expectation, scene.keeper.now()).is_none());
}

#[test]
fn each_node_s_last_verdict_is_known() {
    let scene = Scene::of(config());
    assert_eq!(scene.keeper.known(&node(1)), None);
    judge(&scene, &node(1), Ok(&attested()), None);
    let refusal = Refusal::new(Steps::default(), "enclave", "MRENCLAVE is another");
    judge(&scene, &node(2), Err(&refusal), None);
    let shown = |number| serde_json::to_value(&*scene.keeper.known(&node(number)).unwrap()).unwrap();
    assert_eq!(
        shown(1),
        serde_json::json!({
            "form": "sgx", "verdict": "held", "step": null, "reason": null, "measured": [], "tcb_status": "UpToDate",
            "warnings": ["PCR 14 is another"], "at": "2026-11-15T00:00:00Z", "until": "2026-12-01T00:00:00Z",
        })
    );
    let other = shown(2);
    assert_eq!(
        (&other["verdict"], &other["step"], &other["until"]),
        (&"refused".into(), &"enclave".into(), &Value::Null)
    );
    assert_eq!(other["reason"], "MRENCLAVE is another");
    // What it says now is what counts.
    scene.pass(DAY);
    judge(&scene, &node(1), Err(&refusal), None);
    assert_eq!(
        (shown(1)["verdict"].clone(), shown(1)["at"].clone()),
        ("refused".into(), "2026-11-16T00:00:00Z".into())
    );
}

#[tokio::test]
async fn the_catalogue_is_what_the_golden_file_says() {
    let service = Service::start(Does::Has(good())).await;
    let scene = Scene::running(asking(&service));
    scene.met(sgx()).await.unwrap();
    judge(&scene, &node(1), Ok(&attested()), None);
    let page = scene.page();
    metrics::check(&page, "metrics-attest.txt");
    for start in [
        r#"mainstay_attest_verdicts_total{form="sgx",verdict="held"} 1"#,
        r#"mainstay_attest_node_held{node="https://SGX_***@node.local:8545/rpc",form="sgx"} 1"#,
        r#"mainstay_attest_node_warnings{node="https://SGX_***@node.local:8545/rpc",form="sgx"} 1"#,
        r#"mainstay_attest_node_until_timestamp_seconds{node="https://SGX_***@node.local:8545/rpc",form="sgx"} 1796083200"#,
        r#"mainstay_attest_collateral_until_timestamp_seconds{form="sgx",fmspc="00906EA10000",authority="platform"} 1796083200"#,
    ] {
        assert!(page.contains(start), "no {start} in {page}");
    }
    // Another enclave at the same address: the worse of both.
    let refusal = Refusal::new(Steps::default(), "enclave", "another");
    judge(&scene, &node(2), Err(&refusal), None);
    let page = scene.page();
    assert!(
        page.contains(
            r#"mainstay_attest_node_held{node="https://SGX_***@node.local:8545/rpc",form="sgx"} 0"#
        ),
        "{page}"
    );
    assert!(!page.contains("0101010101"), "{page}");
}
